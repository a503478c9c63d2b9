package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"millrace.dev/internal/engine"
)

// serveMonitoring answers /metrics, /livez and /readyz until stop is called.
func (a *App) serveMonitoring(ctx context.Context, addr string, r *Running) (stop func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e.Err // the place is told already
		}
		return nil, &Error{Code: Failed, Op: "listen", Where: addr, Err: err, Hint: "choose another address with --http, or stop what listens there"}
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(newCollector(r), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", health(r, func(s engine.State) bool { return s != engine.Failed && s != engine.Stalled }))
	mux.HandleFunc("GET /readyz", health(r, func(s engine.State) bool { return s == engine.Running }))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.Log.LogAttrs(ctx, slog.LevelError, "monitoring stopped", slog.Any("error", err))
		}
	}()
	a.Log.LogAttrs(ctx, slog.LevelInfo, "monitoring", slog.String("address", l.Addr().String()))
	return func() {
		_ = s.Close() // only its listener can fail to close, and the process ends next
		<-done
	}, nil
}

// health answers 200 where ok holds for the engine's state, else 503, and names the state.
func health(r *Running, ok func(engine.State) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := r.Stats()
		if !ok(s.State) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintf(w, "%s since %s\n", s.State, s.Since.UTC().Format(time.RFC3339)) // nobody to tell
	}
}

// collector makes metrics of what a pipeline has done, when they are asked for.
type collector struct {
	r                                                            *Running
	records, predictions, dead, commits, aborts, rebalances, lag *prometheus.Desc
	latency, state, model, missing, unseen                       *prometheus.Desc
}

func newCollector(r *Running) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_"+name, help, labels, nil)
	}
	return &collector{
		r:           r,
		records:     desc("records_total", "Records of the source topic whose result is committed."),
		predictions: desc("predictions_total", "Committed predictions."),
		dead:        desc("dead_letters_total", "Committed dead letters.", "stage", "class"),
		commits:     desc("commits_total", "Commits: transactions under exactly-once."),
		aborts:      desc("aborts_total", "Transactions that were undone and processed again."),
		rebalances:  desc("rebalances_total", "Changes of this instance's partitions."),
		lag:         desc("lag_offsets", "Offsets of the topics that are read that are not committed.", "topic", "partition"),
		latency:     desc("latency_seconds", "Time from a record's timestamp to the commit of its result."),
		state:       desc("state", "1 for the state that the pipeline is in.", "state"),
		model:       desc("model_info", "1 for the model in use.", "model", "digest"),
		missing:     desc("input_missing_total", "Values that a model input lacked.", "input"),
		unseen:      desc("input_unseen_total", "Levels of a model input that training has not seen.", "input"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.r.Stats()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter(c.records, s.Records)
	counter(c.predictions, s.Written)
	counter(c.commits, s.Commits)
	counter(c.aborts, s.Aborts)
	counter(c.rebalances, s.Rebalances)
	for k, n := range s.DeadLetters {
		counter(c.dead, n, k.Stage, k.Class)
	}
	for p, n := range s.Lag {
		gauge(c.lag, float64(n), p.Topic, strconv.Itoa(int(p.Partition)))
	}
	gauge(c.state, 1, string(s.State))
	gauge(c.model, 1, c.r.Model, c.r.Digest)
	for i, in := range c.r.inputs {
		var missing, unseen uint64
		for _, w := range c.r.workers {
			n := w.Counts()[i]
			missing, unseen = missing+n.Missing, unseen+n.Unseen
		}
		counter(c.missing, missing, in.Name)
		counter(c.unseen, unseen, in.Name)
	}
	buckets := map[float64]uint64{}
	for d := time.Millisecond; d < time.Minute; d *= 2 {
		buckets[d.Seconds()] = s.Latency.CountUpTo(d)
	}
	ch <- prometheus.MustNewConstHistogram(c.latency, s.Latency.Count, s.Latency.Sum.Seconds(), buckets)
}
