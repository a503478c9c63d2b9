package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/metrics"
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
	handler, err := metrics.NewHandler(r.engine, r.program, newCollector(r))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
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

// collector makes metrics of a pipeline's model, when they are asked for: the engine has its own.
type collector struct {
	r                                            *Running
	predictions, sampled, model, missing, unseen *prometheus.Desc
}

func newCollector(r *Running) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_"+name, help, labels, nil)
	}
	return &collector{
		r:           r,
		predictions: desc("predictions_total", "Committed predictions."),
		sampled:     desc("samples_total", "Committed samples of what was known of a record."),
		model:       desc("model_info", "1 for the model in use.", "model", "digest"),
		missing:     desc("input_missing_total", "Values that a model input lacked.", "input"),
		unseen:      desc("input_unseen_total", "Levels of a model input that training has not seen.", "input"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	stats := c.r.Stats()
	counter(c.predictions, stats.WrittenTo[c.r.sink])
	if c.r.samples != "" {
		counter(c.sampled, stats.WrittenTo[c.r.samples])
	}
	ch <- prometheus.MustNewConstMetric(c.model, prometheus.GaugeValue, 1, c.r.Model, c.r.Digest)
	for i, in := range c.r.inputs {
		var missing, unseen uint64
		for _, w := range c.r.workers {
			n := w.Counts()[i]
			missing, unseen = missing+n.Missing, unseen+n.Unseen
		}
		counter(c.missing, missing, in.Name)
		counter(c.unseen, unseen, in.Name)
	}
}
