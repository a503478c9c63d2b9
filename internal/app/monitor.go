package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/metrics"
	"millrace.dev/internal/task"
)

// serveMonitoring answers /metrics, /livez and /readyz until stop is called.
func (a *App) serveMonitoring(ctx context.Context, addr string, r *Running) (stop func(), err error) {
	return a.serveEngine(ctx, addr, r.engine, r.program, newCollector(r))
}

// serveEngine is serveMonitoring for an engine and more collectors.
func (a *App) serveEngine(ctx context.Context, addr string, e *engine.Engine, p *task.Program, more ...prometheus.Collector) (stop func(), err error) {
	handler, err := metrics.NewHandler(e, p, more...)
	if err != nil {
		return nil, err
	}
	return a.serve(ctx, addr, handler)
}

// serve answers at an address until stop is called.
func (a *App) serve(ctx context.Context, addr string, handler http.Handler) (stop func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e.Err // the place is told already
		}
		return nil, &Error{Code: Failed, Op: "listen", Where: addr, Err: err, Hint: "choose another address with --http, or stop what listens there"}
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
