//go:build linux

// Pipeline measures the house pipeline on a Kafka topic. It holds `millrace run` against a bare copy of the topic with
// the same client library, broker and guarantee, side by side, and measures how long `millrace run` takes to start and
// how much memory it holds. Brokers, copies and pipelines are processes of their own, so that the processor time and
// the memory of each can be told apart. The tables go to standard output, progress to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"millrace.dev/bench/internal/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string, out, messages io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "copy":
			return copyMain(ctx, args[1:], messages)
		case "engine":
			return engineMain(ctx, args[1:], messages)
		}
	}
	return benchMain(ctx, args, out, messages)
}

// options say what is measured.
type options struct {
	millrace     string
	brokers      []string
	compressions []string
	records      int
	counts       int
	starts       int
	profiles     string
}

// bench carries one run of everything.
type bench struct {
	options

	dir      string
	self     string
	checks   bool
	out      io.Writer
	messages io.Writer
}

func benchMain(ctx context.Context, args []string, out, messages io.Writer) error {
	b := &bench{out: out, messages: messages}
	var brokers, compressions string
	f := flag.NewFlagSet("pipeline", flag.ContinueOnError)
	f.SetOutput(messages)
	f.StringVar(&b.millrace, "millrace", "bin/millrace", "the `binary` to measure")
	f.StringVar(&brokers, "brokers", "development,kafka", "the brokers: development, kafka, or both")
	f.StringVar(&compressions, "compressions", "snappy", "of what is written: none, snappy, lz4, zstd")
	f.IntVar(&b.records, "records", 200_000, "records of the topic")
	f.IntVar(&b.counts, "counts", 3, "measurements of each kind")
	f.IntVar(&b.starts, "starts", 5, "measurements of the start")
	f.BoolVar(&b.checks, "checks", false, "measure what checks of records and windows cost, instead of beside copies")
	f.StringVar(&b.profiles, "profiles", "", "a `folder` for profiles of copies and pipelines; then bench/pipeline runs the engine instead of the binary (default: none)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || b.records < 1 || b.counts < 1 || b.starts < 1 {
		return errors.New("want flags with positive numbers, and nothing else")
	}
	b.brokers, b.compressions = strings.Split(brokers, ","), strings.Split(compressions, ",")
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // what is left over lies in the folder for such things
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, name := range b.brokers {
		if err := b.onBroker(ctx, name); err != nil {
			return fmt.Errorf("broker %s: %w", name, err)
		}
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.messages, format+"\n", args...) //nolint:errcheck // progress alone
}

// onBroker starts a broker, measures on it, and stops it.
func (b *bench) onBroker(ctx context.Context, name string) error {
	switch name {
	case "development":
		return b.onDevelopment(ctx)
	case "kafka":
		return b.onKafka(ctx)
	default:
		return errors.New("no such broker")
	}
}

// measure runs every measurement on a broker.
func (b *bench) measure(ctx context.Context, name, address string) error {
	c, err := rig.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, compression := range b.compressions {
		if err := b.throughput(ctx, name, c, compression); err != nil {
			return err
		}
	}
	return b.startup(ctx, name, c)
}
