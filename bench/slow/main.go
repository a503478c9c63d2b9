//go:build linux

// Command slow measures what requests to millrace serve take while thousands of connections are open that send a part of a
// request, or nothing: beside what they take without those, in turns. Everything runs on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace.dev/bench/internal/rig"
	"millrace.dev/internal/house"
)

const (
	seed     = 1
	history  = 20_000 // past sales to train on
	requests = 1000   // records that are sent, again and again
)

const pipelineFile = `version: 1
name: house-prices
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: housing}
features:
  age: year(date) - yr_built
  renovated: yr_renovated > 0
  living_share: sqft_living / sqft_lot
train:
  data: sales.csv
  where: price > 0 and price < 5000000
  label: price
  ignore: [date, street, country]
  gbm: {ntrees: 120, max_depth: 5, label_transform: log}
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
`

type bench struct {
	millrace string
	slow     int // connections
	limit    int // of the server
	rate     int // requests a second
	length   time.Duration
	rounds   int
	dir      string
	records  [][]byte
}

func main() {
	b := bench{}
	flag.StringVar(&b.millrace, "millrace", "bin/millrace", "the program to measure")
	flag.IntVar(&b.slow, "connections", 10_000, "slow connections that are open")
	flag.IntVar(&b.limit, "limit", 20_000, "serve.limits.connections: below -connections, those that say nothing give way to others")
	flag.IntVar(&b.rate, "rate", 200, "requests a second, each when it is due, whatever became of the one before")
	flag.DurationVar(&b.length, "length", 20*time.Second, "of each measurement")
	flag.IntVar(&b.rounds, "rounds", 5, "measurements with slow connections, and as many without")
	attack := flag.String("attack", "", "hold slow connections to this address: the program calls itself so")
	flag.Parse()
	if err := b.start(*attack); err != nil {
		fmt.Fprintln(os.Stderr, "slow:", err)
		os.Exit(1)
	}
}

func (b *bench) start(attack string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if attack != "" {
		hold(ctx, os.Stdout, attack, b.slow)
		return nil
	}
	return b.run(ctx)
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "millrace-slow-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	address, err := rig.FreeAddress(ctx)
	if err != nil {
		return err
	}
	server, err := rig.Start(ctx, rig.Command{Name: "serve", Dir: b.dir, Args: []string{
		b.millrace, "serve", "--http", address, "--set", fmt.Sprintf("serve.limits.connections=%d", b.limit),
		"--set", fmt.Sprintf("serve.limits.connections_per_client=%d", min(b.limit, b.slow)),
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	c := newClients(address, b.records)
	defer c.close()
	if err := c.ready(ctx, server); err != nil {
		return err
	}
	if _, err := c.measure(ctx, b.rate, b.length/2); err != nil { // the first one pays for what is done once
		return err
	}
	var without, with []result
	for round := range b.rounds {
		for _, slow := range []bool{round%2 == 1, round%2 == 0} {
			r, err := b.measure(ctx, c, server, address, slow)
			if err != nil {
				return err
			}
			if slow {
				with = append(with, r)
			} else {
				without = append(without, r)
			}
		}
	}
	memory, err := server.Resident(rig.ResidentMost)
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, report(b, without, with, memory))
	return err
}

// measure measures requests, beside slow connections or without any.
func (b *bench) measure(ctx context.Context, c *clients, server *rig.Process, address string, slow bool) (result, error) {
	if err := rig.Pause(ctx, time.Second); err != nil { // that those of before are gone
		return result{}, err
	}
	if !slow {
		return c.timed(ctx, server, b.rate, b.length)
	}
	var held float64
	open := make(chan struct{})
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	// It stands for machines that are not here: what it computes must not take the processors from the server.
	attack, err := rig.Start(ctx, rig.Command{
		Name: "attack", Dir: b.dir, Args: []string{"nice", "-n", "19", self, "-attack", address, "-connections", strconv.Itoa(b.slow)},
		Line: func(_ *rig.Process, line string) {
			if line == "open" {
				close(open)
			}
			_, _ = fmt.Sscanf(line, "held %f", &held)
		},
	})
	if err != nil {
		return result{}, err
	}
	select {
	case <-open:
	case <-attack.Ended():
		return result{}, attack.Alive()
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
	r, err := c.timed(ctx, server, b.rate, b.length)
	err = errors.Join(err, attack.Stop())
	r.held = held
	return r, err
}

// prepare makes the folder of the pipeline and an approved model.
func (b *bench) prepare(ctx context.Context) error {
	var err error
	if b.millrace, err = filepath.Abs(b.millrace); err != nil {
		return err
	}
	g, err := house.New(house.Options{Seed: seed, History: history})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "sales.csv"), g.CSV(history), 0o600); err != nil {
		return err
	}
	for i := range int64(requests) {
		s := g.Sale(history + i)
		b.records = append(b.records, s.AppendListing(nil)) // without the price, as a stream has it
	}
	if err := os.WriteFile(filepath.Join(b.dir, "pipeline.yaml"), []byte(pipelineFile), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{{"train"}, {"model", "approve", "house-prices@1", "--by", "bench", "--reason", "to be measured"}} {
		cmd := exec.CommandContext(ctx, b.millrace, args...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("millrace %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// report returns the medians, and the ratio of those of p99.
func report(b *bench, without, with []result, memory float64) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, "%d requests a second, %s; medians of %d measurements each (least to most)\n\n", b.rate, b.length, b.rounds)
	fmt.Fprintln(out, "| | p50 ms | p99 ms | most ms | processor of the server | failed |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|")
	line := func(name string, all []result) {
		ms := func(value func(result) time.Duration) string {
			least, most := slices.MinFunc(all, func(x, y result) int { return int(value(x) - value(y)) }), slices.MaxFunc(all, func(x, y result) int { return int(value(x) - value(y)) })
			show := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1e3) }
			return fmt.Sprintf("%s (%s to %s)", show(rig.Median(all, value)), show(value(least)), show(value(most)))
		}
		failed := 0
		for _, r := range all {
			failed += r.failed
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %.0f %% | %d |\n", name, ms(func(r result) time.Duration { return r.p50 }), ms(func(r result) time.Duration { return r.p99 }),
			ms(func(r result) time.Duration { return r.most }), 100*rig.Median(all, func(r result) float64 { return r.busy }), failed)
	}
	line("alone", without)
	line(fmt.Sprintf("beside %d slow connections", b.slow), with)
	p99 := func(r result) time.Duration { return r.p99 }
	ratios := make([]string, len(with))
	for i := range with {
		ratios[i] = fmt.Sprintf("%.2f", float64(with[i].p99)/float64(without[i].p99))
	}
	fmt.Fprintf(out, "\np99 beside them is %.2f times that alone (by round: %s); %.0f were open on average; the server's memory was %.0f MiB at most\n",
		float64(rig.Median(with, p99))/float64(rig.Median(without, p99)), strings.Join(ratios, ", "), rig.Median(with, func(r result) float64 { return r.held }), memory)
	return out.String()
}
