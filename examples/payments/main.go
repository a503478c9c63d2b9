// Payments watches card payments: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"millrace.dev"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("payments", slog.Any("error", err))
		os.Exit(1)
	}
}

// run runs the application until it is interrupted.
func run(log *slog.Logger) (err error) {
	brokers := flag.String("brokers", "localhost:9092", "addresses of brokers, separated by commas")
	state := flag.String("state", "state", "the folder of this instance's state")
	instance := flag.String("instance", "", "the name of this instance, to take over from itself after a crash")
	addr := flag.String("http", "localhost:9090", "where to answer /metrics, /topology, /livez and /readyz")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app, err := millrace.NewApp(newTopology(), millrace.Config{
		Brokers: strings.Split(*brokers, ","), StateDir: *state, InstanceID: *instance, Log: log,
	})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: app.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		_ = server.Close()
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}()
	return app.Run(ctx)
}
