package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"millrace.dev/internal/api"
	"millrace.dev/internal/config"
	"millrace.dev/internal/metrics"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
	"millrace.dev/internal/trace"
)

// ServeOptions say what to serve.
type ServeOptions struct {
	Files    []string // the pipeline files, one for each model; what is of the server is taken from the first
	Set      []string // overrides of all of them
	HTTP     string   // the address; "" is that of the file
	Threads  int      // 0 is one for each processor
	Insecure bool     // listen where other machines can reach it, though nobody has to say who they are
	Started  func(*Serving)
}

// Serving is a server at work.
type Serving struct {
	Address string   // that it listens at
	URL     string   // the same, with its scheme
	Models  []string // name@version of each, at the start
	Routes  []server.Route
	models  *serve.Models
}

// Served is what a server has done.
type Served struct {
	Requests uint64 `json:"requests"` // of which all rows were predicted or refused
	Rows     uint64 `json:"rows"`
	Busy     uint64 `json:"busy"` // requests that were not taken
	Swaps    uint64 `json:"swaps"`
}

// Stats returns what the server has done so far. It is safe for concurrent use.
func (s *Serving) Stats() *Served {
	sum := &Served{}
	for _, m := range s.models.Stats() {
		sum.Swaps += m.Swaps
		for i := range m.Versions {
			v := &m.Versions[i]
			sum.Requests += v.Requests
			sum.Rows += v.Rows
			sum.Busy += v.Busy
		}
	}
	return sum
}

// Serve answers requests for predictions until ctx ends, and returns what was done; nil if it did not begin. Requests that are under way
// then are answered.
func (a *App) Serve(ctx context.Context, o ServeOptions) (*Served, error) {
	pipelines, err := a.toServe(&o)
	if err != nil {
		return nil, err
	}
	first := pipelines[0]
	l, err := a.listen(ctx, first.Serve.HTTP, first.Serve.Auth.Enabled(), o.Insecure)
	if err != nil {
		return nil, err
	}
	defer l.Close() //nolint:errcheck // it is closed already, or nothing was accepted
	options := serve.Options{
		Workers: o.Threads, MaxRows: first.Serve.Batch.MaxRows, MaxWait: first.Serve.Batch.MaxWait, Keep: first.Serve.VersionsKept,
		Refresh: first.Serve.Refresh, Now: a.Now, Log: a.Log,
	}
	var sources []*serveSource
	for _, p := range pipelines {
		s, err := a.serveSource(ctx, p)
		if err != nil {
			return nil, err
		}
		defer s.close()
		sources = append(sources, s)
		options.Models = append(options.Models, serve.ModelOptions{Name: p.Name, Source: s})
	}
	models, err := serve.New(options)
	if err != nil {
		return nil, err
	}
	defer models.Close()
	s := &Serving{Address: l.Addr().String(), URL: "http://" + l.Addr().String(), models: models}
	if first.Serve.TLS.CertFile != "" {
		s.URL = "https://" + s.Address
	}
	tracer, sent := a.tracer(ctx)
	defer sent()
	h, routes, err := a.serveHandler(ctx, pipelines, models, sources, tracer)
	if err != nil {
		return nil, err
	}
	s.Routes = routes
	began := false
	err = a.answer(ctx, &first.Serve, h, l, models, func() error {
		for _, s := range sources {
			if err := s.start(ctx); err != nil {
				return err
			}
		}
		if err := models.Start(ctx); err != nil {
			return err
		}
		began = true
		for _, i := range models.Index() {
			if i.Promoted {
				s.Models = append(s.Models, i.Name+"@"+i.Version)
			}
		}
		a.Log.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("address", s.Address), slog.Any("models", s.Models))
		if o.Started != nil {
			o.Started(s)
		}
		return nil
	})
	if !began {
		return nil, err
	}
	return s.Stats(), err
}

// toServe reads the pipeline files.
func (a *App) toServe(o *ServeOptions) ([]*config.Pipeline, error) {
	if len(o.Files) == 0 {
		return nil, &Error{Code: Usage, Op: "serve", Err: errors.New("no pipeline file is named")}
	}
	var all []*config.Pipeline
	of := map[string]string{}
	for _, file := range o.Files {
		p, err := a.Load(file, o.Set)
		if err != nil {
			return nil, err
		}
		if other, ok := of[p.Name]; ok {
			return nil, &Error{
				Code: Usage, Op: "serve", Where: file, Err: fmt.Errorf("its model is called %s, as that of %s is", p.Name, other),
				Hint: "requests name a model: give each a name of its own",
			}
		}
		of[p.Name] = file
		all = append(all, p)
	}
	if o.HTTP != "" {
		all[0].Serve.HTTP = o.HTTP
	}
	return all, nil
}

// listen listens at an address. One that other machines can reach has to be protected, or be meant to be insecure.
func (a *App) listen(ctx context.Context, addr string, protected, insecure bool) (net.Listener, error) {
	return a.listenFor(ctx, "serve", addr, protected, insecure)
}

// listenFor is listen for a section of the pipeline file.
func (a *App) listenFor(ctx context.Context, section, addr string, protected, insecure bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &Error{Code: Usage, Op: "listen", Where: addr, Err: errors.New("want host:port"), Hint: "such as 127.0.0.1:8080"}
	}
	open := !protected && !loopback(host)
	if open && !insecure {
		hint := "set " + section + ".auth in the pipeline file, or listen at 127.0.0.1"
		if section == "serve" {
			hint += ", or say that this is meant: --insecure"
		}
		return nil, &Error{Code: Usage, Op: "listen", Where: addr, Err: errors.New("other machines would reach it, and nobody has to say who they are"), Hint: hint}
	}
	if open {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "whoever reaches the server may do everything: nobody has to say who they are",
			slog.String("address", addr), slog.String("hint", "set serve.auth in the pipeline file"))
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e.Err // the place is told already
		}
		return nil, &Error{Code: Failed, Op: "listen", Where: addr, Err: err, Hint: "choose another address, or stop what listens there"}
	}
	return l, nil
}

// loopback tells whether a host is this machine alone.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// serveHandler returns what answers the requests of a server that is set up as the first pipeline file says.
func (a *App) serveHandler(ctx context.Context, pipelines []*config.Pipeline, models *serve.Models, sources []*serveSource, tracer *trace.Tracer) (*server.Server, []server.Route, error) {
	p := pipelines[0]
	var s *server.Server
	counts, err := metrics.NewServe(metrics.ServeOptions{
		Models: models,
		Server: func() server.Stats {
			if s == nil { // the metrics are asked for what they are called before there is a server
				return server.Stats{}
			}
			return s.Stats()
		},
		Tables: func() (all []metrics.ServeTable) {
			for _, from := range sources {
				all = append(all, from.tables.stats(from.pipeline.Name)...)
			}
			return all
		},
	})
	if err != nil {
		return nil, nil, err
	}
	registries, err := a.mlflowServer(pipelines)
	if err != nil {
		return nil, nil, err
	}
	routes, err := api.New(api.Options{Models: models, Metrics: counts.Handler(), MLflow: registries, MaxMessage: int(p.Serve.Limits.BodyBytes), Version: a.Version, Log: a.Log, Now: a.Now})
	if err != nil {
		return nil, nil, err
	}
	router := server.NewRouter()
	if err := router.Add(routes.Routes()...); err != nil {
		return nil, nil, err
	}
	o, err := a.serverOptions(ctx, p, tracer)
	if err != nil {
		return nil, nil, err
	}
	o.Observe = counts.Observe
	if s, err = server.New(router, o); err != nil {
		return nil, nil, &Error{Code: Usage, Op: "serve", Where: p.File, Err: err}
	}
	return s, router.Routes(), nil
}

// answer answers at a listener until ctx ends, and then what is under way. From the beginning on it tells who asks that the models are
// not ready, until start has made them so: that may wait long for what tables need, and whoever watches the process must not take it
// for dead.
func (a *App) answer(ctx context.Context, c *config.Serve, s *server.Server, l net.Listener, models *serve.Models, start func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	if err := start(); err != nil {
		err = errors.Join(err, s.Close())
		<-ended //nolint:errcheck // it was closed before it has done anything
		return err
	}
	select {
	case err := <-ended:
		return errors.Join(err, s.Close())
	case <-ctx.Done():
	}
	a.Log.LogAttrs(ctx, slog.LevelInfo, "ending: what is under way is answered", slog.Duration("within", c.Limits.Drain))
	models.Drain() // whoever sends requests is told first
	s.BeginDrain()
	after := context.WithoutCancel(ctx)
	_ = pause(after, c.Limits.DrainNotice) // it cannot be interrupted
	drain, cancel := context.WithTimeout(after, c.Limits.Drain)
	defer cancel()
	err := s.Drain(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "requests were cut off: they were not answered in time", slog.String("hint", "raise serve.limits.drain"))
		err = nil
	}
	return errors.Join(err, <-ended)
}
