//go:build linux

// Serve measures the highest rate of requests at which 99 of 100 are answered within a goal, for millrace serve in each of its
// protocols, and for MLServer, which serves the same trees with LightGBM. Tables go to standard output, progress to
// standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	if len(os.Args) > 3 && os.Args[1] == profiledCommand {
		os.Exit(profiled(os.Args[2], os.Args[3:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// largest is the most rows of a request.
const largest = 32

// options say what is measured.
type options struct {
	millrace string
	python   string
	turns    int
	goal     time.Duration
	short    time.Duration // a step of a search
	long     time.Duration // its last step
	only     string
	sizes    []int
	cpus     string
	profiles string
	messages io.Writer
}

// tell tells how far it is; nothing depends on whether somebody listens.
func (o *options) tell(format string, args ...any) { _, _ = fmt.Fprintf(o.messages, format, args...) }

// bench is a measurement under way.
type bench struct {
	options

	dir   string
	rows  []row
	ours  *server
	peers *server
}

func run(ctx context.Context, args []string, out, messages io.Writer) (err error) {
	b := &bench{options: options{messages: messages}}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.StringVar(&b.millrace, "millrace", "", "the program")
	flags.StringVar(&b.python, "python", "", "a Python that has lightgbm, mlserver and mlserver-lightgbm")
	flags.IntVar(&b.turns, "turns", 3, "how often each is measured, in turns")
	flags.DurationVar(&b.goal, "goal", 10*time.Millisecond, "the latency that 99 of 100 requests have to meet")
	flags.DurationVar(&b.short, "step", 500*time.Millisecond, "how long a rate of a search is tried")
	flags.DurationVar(&b.long, "last", 1500*time.Millisecond, "how long the rate that was found is measured")
	flags.StringVar(&b.only, "only", "", "only ways with this in their name")
	sizes := flags.String("rows", "1,32", "rows of a request")
	flags.StringVar(&b.cpus, "servers", "", "the processors for servers, as of taskset; for the generator, run it with taskset")
	flags.StringVar(&b.profiles, "profiles", "", "a folder: instead of measuring, flood millrace serve in each way, and leave profiles of its processor time there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > largest {
			return fmt.Errorf("-rows: %q is no number from 1 to %d", s, largest)
		}
		b.sizes = append(b.sizes, n)
	}
	if b.dir, err = os.MkdirTemp("", "millrace-serve-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if b.profiles != "" {
		return b.profile(ctx)
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return err
	}
	return b.compare(ctx, out)
}

// compare measures all ways in turns, and prints what came out.
func (b *bench) compare(ctx context.Context, out io.Writer) error {
	for _, n := range b.sizes {
		targets, err := b.targets(ctx, n)
		if err != nil {
			return err
		}
		results := make([][]*sample, len(targets))
		for turn := range b.turns {
			b.tell("turn %d of %d, %d rows a request\n", turn+1, b.turns, n)
			for k := range targets {
				i := k
				if turn%2 == 1 {
					i = len(targets) - 1 - k // there and back
				}
				f, err := b.measure(ctx, targets[i])
				if err != nil {
					return err
				}
				results[i] = append(results[i], f)
			}
		}
		for _, t := range targets {
			if err := t.close(); err != nil {
				return err
			}
		}
		if err := b.print(out, n, targets, results); err != nil {
			return err
		}
	}
	return nil
}

// targets opens connections for every way, and checks that each gives LightGBM's predictions for all rows.
func (b *bench) targets(ctx context.Context, n int) ([]*target, error) {
	var targets []*target
	for _, w := range ways() {
		if !strings.Contains(w.name, b.only) {
			continue
		}
		t, err := b.target(ctx, &w, n)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// target makes the requests of a way, and checks the answers to all of them.
func (b *bench) target(ctx context.Context, w *way, n int) (*target, error) {
	s := b.ours
	if w.peer {
		s = b.peers
	}
	t := &target{way: w, server: s, address: s.http, rows: n}
	if w.grpc {
		t.address = s.grpc
	}
	var err error
	if t.questions, err = w.questions(t.address, b.rows, n); err != nil {
		return nil, err
	}
	t.open(ctx)
	for i := range t.questions {
		if err := t.ask(t.clients[i%len(t.clients)], i, true); err != nil {
			return nil, err
		}
	}
	b.tell("%s: %d requests of %d rows have LightGBM's predictions, bit for bit\n", w.name, len(t.questions), n)
	return t, nil
}

// print prints the medians of all turns. The ratio is that of millrace's rate to MLServer's better one.
func (b *bench) print(out io.Writer, n int, targets []*target, results [][]*sample) error {
	medians := make([]*sample, len(targets))
	best := 0.0
	for i, list := range results {
		slices.SortFunc(list, func(x, y *sample) int { return int(x.rate - y.rate) })
		medians[i] = list[len(list)/2]
		if targets[i].peer {
			best = max(best, medians[i].rate)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d rows a request, p99 <= %v\trequests/s\tall turns\tpredictions/s\tp50 ms\tp99 ms\tp99.9 ms\tgenerator CPU\tserver CPU\tto MLServer\t\n", n, b.goal) //nolint:errcheck // Flush tells
	for i, f := range medians {
		ratio := "-"
		if best > 0 && !targets[i].peer {
			ratio = fmt.Sprintf("%.1f", f.rate/best)
		}
		if f.missed {
			ratio += " (p99 missed)"
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f to %.0f\t%.0f\t%s\t%s\t%s\t%.2f\t%.2f\t%s\t\n", targets[i].name, f.rate, results[i][0].rate, results[i][len(results[i])-1].rate, //nolint:errcheck // Flush tells
			f.rate*float64(n), ms(f.at(50)), ms(f.at(99)), ms(f.at(99.9)), f.generator, f.server, ratio)
	}
	fmt.Fprintln(w) //nolint:errcheck // Flush tells
	return w.Flush()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }
