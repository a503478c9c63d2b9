// Ours runs one of the topologies of bench/streams on millrace, until it gets a SIGTERM. The program on Kafka Streams
// that it is held against is bench/streams/peer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"millrace.dev"
	"millrace.dev/stream"
)

const (
	window = time.Minute
	grace  = 30 * time.Second
	gap    = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ours:", err)
		os.Exit(1)
	}
}

// job is what to run.
type job struct {
	topology, application, source, table, sink string
	each                                       bool    // update of a count is written, instead of the last one before a commit
	marks                                      []int64 // numbers of records, ascending
	profile                                    string  // the file that gets a profile of the processor time; "" is none
	config                                     millrace.Config
}

func parse(args []string, messages io.Writer) (j job, err error) {
	f := flag.NewFlagSet("ours", flag.ContinueOnError)
	f.SetOutput(messages)
	f.StringVar(&j.topology, "topology", "", "map, join, count, tumbling, sessions, tables or foreign-key")
	f.StringVar(&j.application, "application", "", "its name")
	f.StringVar(&j.source, "source", "", "the topic of the stream")
	f.StringVar(&j.table, "table", "", "the topic of the table")
	f.StringVar(&j.sink, "sink", "", "the topic of the output")
	f.BoolVar(&j.each, "each", false, "write each update of a count (default: the last one before a commit)")
	f.StringVar(&j.profile, "profile", "", "a `file` for a profile of the processor time (default: none)")
	f.StringVar(&j.config.StateDir, "state", "", "the folder of the state")
	f.Int64Var(&j.config.StateBytes, "state-bytes", 0, "the memory for state (default: millrace's)")
	f.Int64Var(&j.config.StateFileBytes, "state-file-bytes", 0, "of that the part for files (default: millrace's)")
	f.Func("memory", "the `bytes` that Go's runtime is to keep to (default: those of GOMEMLIMIT)", func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return errors.New("want a number above 0")
		}
		debug.SetMemoryLimit(n)
		return nil
	})
	f.StringVar(&j.config.Compression, "compression", "none", "none, snappy, lz4 or zstd")
	f.DurationVar(&j.config.CommitInterval, "commit", 0, "the time between two commits (default: millrace's)")
	brokers := f.String("brokers", "", "addresses with commas between them")
	guarantee := f.String("guarantee", "exactly_once", "at_least_once or exactly_once")
	marks := f.String("marks", "", "numbers of records, ascending, with commas between them: when so many records of the stream have been taken in, a line \"mark N\" goes to standard output")
	if err := f.Parse(args); err != nil {
		return j, err
	}
	for s := range strings.SplitSeq(*marks, ",") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return j, fmt.Errorf("marks: %w", err)
		}
		j.marks = append(j.marks, n)
	}
	j.config.Brokers, j.config.Guarantee = strings.Split(*brokers, ","), millrace.Guarantee(*guarantee)
	return j, nil
}

func run(ctx context.Context, args []string, out, messages io.Writer) error {
	j, err := parse(args, messages)
	if err != nil {
		return err
	}
	t, err := j.define(out)
	if err != nil {
		return err
	}
	j.config.Log = slog.New(slog.NewTextHandler(messages, &slog.HandlerOptions{Level: slog.LevelWarn}))
	app, err := millrace.NewApp(t, j.config)
	if err != nil {
		return err
	}
	if j.profile != "" {
		f, err := os.Create(j.profile)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // a profile that is cut off shows when it is read
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return app.Run(ctx)
}

// define declares the topology.
func (j *job) define(out io.Writer) (*stream.Topology, error) {
	t := stream.New(j.application)
	var taken atomic.Int64
	from := func(topic string) stream.Stream[string, string] {
		return stream.From(t, topic, stream.String(), stream.String()).Peek(func(*stream.Record[string, string]) {
			if n := taken.Add(1); slices.Contains(j.marks, n) {
				fmt.Fprintf(out, "mark %d\n", n) //nolint:errcheck // whoever waits for it notices
			}
		})
	}
	var (
		stores  []stream.StoreOption
		windows []stream.WindowOption
		tables  []stream.TableOption
	)
	if !j.each {
		once := stream.EmitOnCommit()
		stores, windows, tables = append(stores, once), append(windows, once), append(tables, once)
	}
	both := func(left, right string) string { return left + ";" + right }
	switch j.topology {
	case "map":
		stream.MapValues(from(j.source), func(v string) string { return v + ";mapped" }).To(j.sink)
	case "join":
		rows := stream.TableFrom(t, "rows", j.table, stream.String(), stream.String())
		stream.JoinTable(from(j.source), rows, "join", both).To(j.sink)
	case "count":
		stream.Count(stream.GroupByKey(from(j.source)), "counts", stores...).ToStream().To(j.sink)
	case "tumbling":
		windowed := stream.WindowedBy(stream.GroupByKey(from(j.source)), stream.Tumbling(window).Grace(grace))
		stream.CountWindows(windowed, "counts", windows...).ToStream().To(j.sink)
	case "sessions":
		sessions := stream.WindowedBySessions(stream.GroupByKey(from(j.source)), stream.Sessions(gap).Grace(grace))
		stream.CountSessions(sessions, "counts", windows...).ToStream().To(j.sink)
	case "tables":
		left, right := stream.ToTable(from(j.source), "left", tables...), stream.ToTable(from(j.table), "right", tables...)
		stream.JoinTables(left, right, both).ToStream().Values(stream.String()).To(j.sink)
	case "foreign-key":
		orders, customers := stream.ToTable(from(j.source), "orders", tables...), stream.ToTable(from(j.table), "customers", tables...)
		customer := func(_, order string) (string, bool) { return order[11:21], true }
		stream.JoinForeignKey(orders, customers, "join", customer, both).ToStream().Values(stream.String()).To(j.sink)
	default:
		return nil, errors.New("no such topology: " + j.topology)
	}
	return t, t.Err()
}
