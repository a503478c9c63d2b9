//go:build linux

// Soak runs an application with sessions, windows, a join of streams, a join of tables by a foreign key and a table whose rows
// expire under a steady load, and says whether anything that it takes grows: memory, disk, descriptors, goroutines, lag, latency.
// What is measured, and the rule of what is flat, stand in bench/README.md. It ends with status 1 if something grows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"millrace.dev/bench/internal/rig"
	"millrace.dev/e2e/kafkatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var err error
	if len(os.Args) > 1 && os.Args[1] == "app" {
		err = runApp(ctx, os.Args[2:], os.Stderr)
	} else {
		err = soakMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// soak is one run.
type soak struct {
	minutes   float64
	rate      int
	retention time.Duration
	warm      time.Duration
	every     time.Duration
	out       string
	messages  io.Writer
}

func (s *soak) parse(args []string) error {
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(s.messages)
	f.Float64Var(&s.minutes, "minutes", 30, "how long it runs")
	f.IntVar(&s.rate, "rate", 5000, "records a second")
	f.DurationVar(&s.retention, "retention", 5*time.Minute, "of windows")
	f.DurationVar(&s.every, "every", 5*time.Second, "the time between two samples")
	f.StringVar(&s.out, "out", "bench/soak", "the `folder` for soak.csv and soak.svg")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || s.minutes <= 0 || s.rate < 100 || s.retention < time.Second || s.every < 100*time.Millisecond {
		return errors.New("want flags with positive numbers, at least 100 records a second and a retention of a second, and nothing else")
	}
	s.warm = 2 * s.retention
	if s.length() <= s.warm {
		return fmt.Errorf("%v is no longer than the warm-up, which is twice the retention: %v", s.length(), s.warm)
	}
	return nil
}

func (s *soak) length() time.Duration { return time.Duration(s.minutes * float64(time.Minute)) }

// errGrows says that a series is not flat.
var errGrows = errors.New("not everything is flat")

func soakMain(ctx context.Context, args []string, out, messages io.Writer) error {
	s := &soak{messages: messages}
	if err := s.parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "millrace-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left over lies in the folder for such things
	var samples []sample
	err = rig.OnKafka(kafkatest.Options{HeapMB: 512, Config: s.broker()}, func(address string) error {
		var err error
		samples, err = s.run(ctx, address, dir)
		return err
	})
	if len(samples) > 0 {
		err = errors.Join(err, writeCSV(filepath.Join(s.out, "soak.csv"), samples), s.writeSVG(filepath.Join(s.out, "soak.svg"), samples))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d records a second for %v, a retention of %v, a warm-up of %v, %d samples\n\n", s.rate, s.length(), s.retention, s.warm, len(samples)) //nolint:errcheck // the next line tells
	ok, err := judge(out, samples, s.warm)
	if err == nil && !ok {
		return errGrows
	}
	return err
}

// broker returns settings under which what is on the broker's disk is of the same age all the time: small segments, that are
// compacted soon.
func (s *soak) broker() map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(max(d, time.Second).Milliseconds(), 10) }
	return map[string]string{
		"log.segment.bytes": "4194304", "log.roll.ms": ms(s.retention / 5), "log.retention.check.interval.ms": "5000",
		"log.cleaner.backoff.ms": "2000", "log.cleaner.min.cleanable.ratio": "0.2", "log.segment.delete.delay.ms": "2000", "log.cleaner.delete.retention.ms": ms(s.retention / 5),
	}
}

// run starts the application and the load, and takes samples until the time is over.
func (s *soak) run(ctx context.Context, address, dir string) (samples []sample, err error) {
	c, err := rig.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var topics []string
	for _, name := range append(inputs(), outputs()...) {
		topics = append(topics, topic(name))
	}
	if err := c.CreateFor(ctx, max(s.retention, time.Minute), topics...); err != nil {
		return nil, err
	}
	w := &watcher{c: c, state: filepath.Join(dir, "state"), kept: s.retention, short: map[string]bool{}}
	if w.metrics, err = rig.FreeAddress(ctx); err != nil {
		return nil, err
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w.p, err = rig.Start(ctx, rig.Command{
		Args: []string{own, "app", "-broker", address, "-state", w.state, "-http", w.metrics, "-retention", s.retention.String()},
		Dir:  dir, Name: "app",
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.p.Stop()) }()
	if err := w.answers(ctx); err != nil {
		return nil, err
	}
	loading, stop := context.WithCancel(ctx)
	l, ended := newLoad(s.rate), make(chan error, 2)
	go func() { ended <- l.run(loading, address) }()
	go func() { ended <- w.delays.follow(loading, c, topic(matches)) }()
	samples, err = s.watch(ctx, w, l)
	stop()
	return samples, errors.Join(err, <-ended, <-ended)
}

// answers waits until the process answers for its metrics.
func (w *watcher) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rig.Patience)
	defer cancel()
	for {
		if err := w.p.Alive(); err != nil {
			return err
		}
		if _, err := w.scrape(ctx); err == nil {
			return nil
		} else if rig.Pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
}

// watch takes samples, and fails if the load was not what it was to be.
func (s *soak) watch(ctx context.Context, w *watcher, l *load) (samples []sample, err error) {
	w.start = time.Now()
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for time.Since(w.start) < s.length() {
		select {
		case <-ctx.Done():
			return samples, ctx.Err()
		case <-ticker.C:
		}
		if err := w.p.Alive(); err != nil {
			return samples, err
		}
		if err := l.failed.Load(); err != nil {
			return samples, *err
		}
		now, err := w.sample(ctx)
		if err != nil {
			return samples, err
		}
		samples = append(samples, now)
		if len(samples)%12 == 0 {
			fmt.Fprintf(s.messages, "%4.0f s: %.0f MiB resident, %.0f MiB on disk, lag %.0f, p99 %.0f ms, %.0f records/s\n", //nolint:errcheck // progress alone
				now.at, now.resident, now.disk, now.lag, now.p99, now.records)
		}
	}
	if rate := float64(l.written.Load()) / time.Since(w.start).Seconds(); rate < 0.95*float64(s.rate) {
		return samples, fmt.Errorf("only %.0f records a second were written: want %d", rate, s.rate)
	}
	return samples, nil
}
