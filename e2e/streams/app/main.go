// Command app is the applications that the tests of package streams torture: a join, a count and a window, and a join by a
// foreign key with sessions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"millrace.dev"
	"millrace.dev/e2e/streams/topology"
	"millrace.dev/stream"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	brokers := flag.String("brokers", "", "addresses, separated by commas")
	state := flag.String("state", "", "the state folder")
	id := flag.String("id", "", "the instance's name")
	guarantee := flag.String("guarantee", "exactly_once", "exactly_once or at_least_once")
	name := flag.String("application", topology.Name, topology.Name+" or "+topology.Relations)
	addr := flag.String("http", "", "where to answer for metrics")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	declare := map[string]func() *stream.Topology{topology.Name: topology.New, topology.Relations: topology.NewRelations}[*name]
	if declare == nil {
		return errors.New("no such application: " + *name)
	}
	a, err := millrace.NewApp(declare(), millrace.Config{
		Brokers: strings.Split(*brokers, ","), StateDir: *state, InstanceID: *id, Guarantee: millrace.Guarantee(*guarantee),
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	if *addr != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", *addr)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 5 * time.Second}
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				slog.Error("metrics", slog.Any("error", err))
			}
		}()
		defer func() { _ = s.Close() }()
	}
	return a.Run(ctx)
}
