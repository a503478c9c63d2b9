package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/query"
	"millrace.dev/internal/server"
	"millrace.dev/internal/task"
	"millrace.dev/internal/window"
	"millrace.dev/record"
)

// JSON returns the aggregates of a key as of its newest record, by name, for queries. One that is missing is null, and so is one
// that compares with the record that asks.
func (c windowCodec) JSON(s *window.State) ([]byte, error) {
	values := make([]float64, len(c.names))
	s.Read(s.Time(), make([]window.Value, len(c.of.Spec().Args)), values)
	aggregates := map[string]*float64{}
	for i, name := range c.names {
		aggregates[name] = nil
		if !math.IsNaN(values[i]) && !math.IsInf(values[i], 0) {
			aggregates[name] = &values[i]
		}
	}
	return json.Marshal(struct {
		AsOf       any                 `json:"as_of"`
		Aggregates map[string]*float64 `json:"aggregates"`
	}{timeJSON(s.Time()), aggregates})
}

// timeJSON returns a time in microseconds as JSON shows it.
func timeJSON(micros int64) any {
	if micros == record.MissingTime {
		return nil
	}
	return time.UnixMicro(micros).UTC()
}

// JSON returns the latest row of a key by its columns, null where it was deleted, for queries.
func (c pastCodec) JSON(p past) ([]byte, error) {
	b, err := c.pasts.Get(p.bytes, record.MissingTime)
	if b == nil || err != nil {
		return []byte("null"), err
	}
	row, err := c.table.Schema.DecodeRow(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(columnsOf(c.table.Schema, row))
}

// columnsOf returns the values of a row by column.
func columnsOf(s *record.Schema, r *record.Row) map[string]any {
	columns := map[string]any{}
	for f := range s.Len() {
		var v any
		switch slot := s.Slot(f); s.Field(f).Type {
		case record.Numeric:
			if x := r.Numbers[slot]; !math.IsNaN(x) && !math.IsInf(x, 0) {
				v = x
			}
		case record.Time:
			v = timeJSON(r.Times[slot])
		default:
			if t := r.Texts[slot]; t.OK {
				v = t.S
			}
		}
		columns[s.Field(f).Name] = v
	}
	return columns
}

// queries answer about the rows of a pipeline that runs. nil is that nobody can ask.
type queries struct {
	config   *config.Query
	listener net.Listener
	server   *server.Server
	ended    chan error
}

// listenQueries listens for queries, where the pipeline file says so.
func (a *App) listenQueries(ctx context.Context, p *config.Pipeline) (*queries, error) {
	if p.Query.HTTP == "" {
		return nil, nil //nolint:nilnil // see queries
	}
	l, err := a.listenFor(ctx, "query", p.Query.HTTP, p.Query.Auth.Enabled(), false)
	if err != nil {
		return nil, err
	}
	return &queries{config: &p.Query, listener: l}, nil
}

// url returns where this instance can be asked, as those on its machine see it.
func (q *queries) url() string {
	if q == nil {
		return ""
	}
	scheme := "http://"
	if q.config.TLS.CertFile != "" {
		scheme = "https://"
	}
	return scheme + q.listener.Addr().String()
}

// address returns where other instances can ask this one, "" where that is not known.
func (q *queries) address() string {
	if q == nil {
		return ""
	}
	if q.config.Advertise != "" {
		return q.config.Advertise
	}
	if a, ok := q.listener.Addr().(*net.TCPAddr); !ok || a.IP.IsUnspecified() {
		return ""
	}
	return q.url()
}

// begin begins to answer.
func (q *queries) begin(ctx context.Context, a *App, p *config.Pipeline, e *engine.Engine, program *task.Program) error {
	if q == nil {
		return nil
	}
	transport, err := query.NewTransport(q.config.CAFile, q.config.TLS.CertFile, q.config.TLS.KeyFile)
	if err != nil {
		return certificateFault(q.config.CAFile, err)
	}
	api, err := query.New(query.Options{Engine: e, Program: program, Transport: transport, Timeout: q.config.Limits.Timeout, Log: a.Log})
	if err != nil {
		return err
	}
	router := server.NewRouter()
	if err := router.Add(api.Routes()...); err != nil {
		return err
	}
	o, err := a.guarded(ctx, "query", p.File, &q.config.TLS, &q.config.Auth, &q.config.Limits, nil, nil)
	if err != nil {
		return err
	}
	if q.server, err = server.New(router, o); err != nil {
		return &Error{Code: Usage, Op: "query", Where: p.File, Err: err}
	}
	if q.address() == "" {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "other instances do not know where this one answers queries", slog.String("listens", q.url()),
			slog.String("hint", "set query.advertise in the pipeline file"))
	}
	q.ended = make(chan error, 1)
	go func() { q.ended <- q.server.Serve(ctx, q.listener) }()
	a.Log.LogAttrs(ctx, slog.LevelInfo, "answering queries", slog.String("address", q.url()), slog.String("advertised", q.address()))
	return nil
}

// close ends what begin has begun, and what listens.
func (q *queries) close() {
	if q == nil {
		return
	}
	if q.ended == nil {
		_ = q.listener.Close() // nothing was accepted
		return
	}
	q.server.Close() //nolint:errcheck // only its listener can fail to close, and the process ends next
	<-q.ended        //nolint:errcheck // that the server was closed
}
