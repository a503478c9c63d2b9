//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"millrace.dev"
	"millrace.dev/stream"
)

// The topics of the application, which are its name, a dash and these.
const (
	clicks    = "clicks"    // key: the user; value: text
	views     = "views"     // key: the user; value: text
	orders    = "orders"    // key: the order; value: the customer, and text
	customers = "customers" // key: the customer; value: text
	visits    = "visits"    // key: the visit; value: text
)

func inputs() []string { return []string{clicks, views, orders, customers, visits} }

const (
	sessions = "sessions"
	windows  = "windows"
	sliding  = "sliding"
	matches  = "matches"
	rows     = "rows"
	recent   = "recent"
)

func outputs() []string { return []string{sessions, windows, sliding, matches, rows, recent} }

const application = "soak"

func topic(name string) string { return application + "-" + name }

// grace is how much older than the newest a record of the load may be, and more.
const grace = 2 * time.Second

// define declares the application: sessions and tumbling windows of clicks and sliding windows of views, whose rows are kept for
// retention, clicks that are joined with the views shortly before, orders with their customers, and visits, of which there are always
// new ones: their rows are deleted when they are older than retention.
func define(retention time.Duration) *stream.Topology {
	text := stream.String()
	t := stream.New(application)
	click := stream.From(t, topic(clicks), text, text)
	users := stream.GroupByKey(click)
	active := stream.WindowedBySessions(users, stream.Sessions(gapOf(retention)).Grace(grace))
	stream.CountSessions(active, sessions, stream.Retention(retention), stream.EmitOnCommit()).ToStream().To(topic(sessions))
	window := stream.WindowedBy(users, stream.Tumbling(windowOf(retention)).Grace(grace))
	stream.CountWindows(window, windows, stream.Retention(retention), stream.EmitOnCommit()).ToStream().To(topic(windows))
	before := stream.JoinWindow{Before: viewOf(retention), Grace: grace}
	view := stream.From(t, topic(views), text, text)
	near := stream.WindowedBy(stream.GroupByKey(view), stream.Sliding(viewOf(retention)).Grace(grace))
	stream.CountWindows(near, sliding, stream.Retention(retention), stream.EmitOnCommit()).ToStream().To(topic(sliding))
	both := func(a, b string) string { return a[:min(len(a), 16)] + ";" + b[:min(len(b), 16)] }
	stream.JoinStream(click, view, matches, before, both).Values(text).To(topic(matches))
	order := stream.TableFrom(t, orders, topic(orders), text, text)
	customer := stream.TableFrom(t, customers, topic(customers), text, text)
	owner := func(_, o string) (string, bool) {
		c, _, ok := strings.Cut(o, ";")
		return c, ok
	}
	stream.JoinForeignKey(order, customer, rows, owner, both).ToStream().Values(text).To(topic(rows))
	stream.TableFrom(t, visits, topic(visits), text, text, stream.TTL(retention)).ToStream().To(topic(recent))
	return t
}

// gapOf, windowOf and viewOf are a part of the retention in whole milliseconds.
func gapOf(retention time.Duration) time.Duration { return (retention / 60).Truncate(time.Millisecond) }

func windowOf(retention time.Duration) time.Duration {
	return (retention / 10).Truncate(time.Millisecond)
}

func viewOf(retention time.Duration) time.Duration {
	return (retention / 30).Truncate(time.Millisecond)
}

// runApp is what the process that is watched does: it runs the application until it gets a SIGTERM, and answers for metrics.
func runApp(ctx context.Context, args []string, messages io.Writer) error {
	f := flag.NewFlagSet("soak app", flag.ContinueOnError)
	f.SetOutput(messages)
	broker := f.String("broker", "", "the `address` of a broker")
	state := f.String("state", "", "the `folder` of the state")
	address := f.String("http", "", "where to answer for metrics and profiles")
	retention := f.Duration("retention", 5*time.Minute, "of windows")
	if err := f.Parse(args); err != nil {
		return err
	}
	a, err := millrace.NewApp(define(*retention), millrace.Config{
		Brokers: []string{*broker}, StateDir: *state, Log: slog.New(slog.NewTextHandler(messages, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", a.Handler())
	mux.HandleFunc("/debug/pprof/", pprof.Index) // to see what it is that grows
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	err = a.Run(ctx)
	closed := server.Close()
	if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("metrics: %w", failed))
	}
	return errors.Join(err, closed)
}
