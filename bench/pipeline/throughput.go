//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
)

// sample is one measurement of a copy or a pipeline at work: between the first commit that was seen and the last one.
type sample struct {
	perSecond float64 // records
	cpu       float64 // microseconds of processor time for a record
	resident  float64 // the most memory held, in MiB
}

// contestant is what is measured.
type contestant struct {
	name    string
	args    func(j job) []string
	checks  bool // it has checks
	samples []sample
}

func (b *bench) contestants(compression string) []*contestant {
	millrace := &contestant{name: "millrace run", args: func(j job) []string { return b.runArgs(&j) }}
	checked := &contestant{checks: true, name: "run with checks", args: func(j job) []string {
		return append(b.runArgs(&j), checkedPipeline, "--set", "checks.window.topic="+j.checks, "--state-dir", j.group)
	}}
	if compression != "snappy" || b.profiles != "" { // snappy is what `millrace run` writes
		engine := func(j job) []string { return append([]string{b.self, "engine"}, j.args()...) }
		millrace = &contestant{name: "engine", args: engine}
		checked = &contestant{checks: true, name: "checked engine", args: engine}
	}
	if b.checks {
		return []*contestant{millrace, checked}
	}
	copied := func(headers bool) func(job) []string {
		return func(j job) []string {
			j.headers = headers
			return append([]string{b.self, "copy"}, j.args()...)
		}
	}
	return []*contestant{{name: "bare copy", args: copied(false)}, {name: "copy with headers", args: copied(true)}, millrace}
}

// runArgs is the command line of `millrace run`.
func (b *bench) runArgs(j *job) []string {
	return []string{
		b.millrace, "run", "--model", modelRef, "--set", "kafka.brokers=" + j.broker, "--set", "group=" + j.group,
		"--set", "source.topic=" + j.source, "--set", "sink.topic=" + j.sink, "--set", "dead_letter.topic=" + j.letters,
		"--set", "guarantee=" + j.guarantee,
	}
}

// throughput holds `millrace run` against a bare copy, in turns, and prints what came out.
func (b *bench) throughput(ctx context.Context, broker string, c *rig.Cluster, compression string) error {
	source := c.Name("source")
	if err := c.Create(ctx, source); err != nil {
		return err
	}
	b.say("%s: writing %d records", broker, b.records)
	if err := b.fill(ctx, c, source, b.records, compression); err != nil {
		return err
	}
	for _, guarantee := range []string{exactlyOnce, "at_least_once"} {
		all := b.contestants(compression)
		for round := range b.counts {
			order := slices.Clone(all)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, who := range order {
				s, err := b.one(ctx, c, who, job{broker: c.Address(), source: source, guarantee: guarantee, compression: compression})
				if err != nil {
					return fmt.Errorf("%s: %w", who.name, err)
				}
				b.say("%s, %s, %s, %s: %.0f records/s, %.2f us, %.0f MiB", broker, guarantee, compression, who.name, s.perSecond, s.cpu, s.resident)
				who.samples = append(who.samples, s)
			}
		}
		if err := b.print(broker, guarantee, compression, all); err != nil {
			return err
		}
	}
	return c.Remove(ctx, source)
}

// one lets a contestant work through the topic once.
func (b *bench) one(ctx context.Context, c *rig.Cluster, who *contestant, j job) (s sample, err error) {
	j.group, j.sink, j.letters = c.Name("group"), c.Name("sink"), c.Name("letters")
	if err := c.Create(ctx, j.sink, j.letters); err != nil {
		return s, err
	}
	if who.checks {
		j.checks = c.Name("checks")
		if err := c.Create(ctx, j.checks); err != nil {
			return s, err
		}
	}
	if b.profiles != "" {
		kind, _, _ := strings.Cut(who.name, " ")
		j.profile = filepath.Join(b.profiles, fmt.Sprintf("%s-%s-%s.prof", kind, j.guarantee, j.compression))
	}
	p, err := b.start(ctx, "contestant", who.args(j)...)
	if err != nil {
		return s, err
	}
	s, err = b.observe(ctx, c, p, &j)
	if err == nil {
		s.resident, err = p.Resident(rig.ResidentMost)
	}
	if err := errors.Join(p.Stop(), err); err != nil {
		return s, err
	}
	n := 0
	if err := c.Read(ctx, j.sink, func(*kgo.Record) error { n++; return nil }); err != nil {
		return s, err
	}
	if n != b.records {
		return s, fmt.Errorf("wrote %d records of %d", n, b.records)
	}
	return s, c.Remove(ctx, j.sink, j.letters)
}

// observe watches a process until its group has committed all records.
func (b *bench) observe(ctx context.Context, c *rig.Cluster, p *rig.Process, j *job) (s sample, err error) {
	var first struct {
		at      time.Time
		records int64
		cpu     time.Duration
	}
	start, seen := time.Now(), int64(0)
	for {
		n, err := c.Committed(ctx, j.group, j.source)
		if err != nil && ctx.Err() != nil {
			return s, err
		}
		if err := p.Alive(); err != nil {
			return s, err
		}
		now := time.Now()
		cpu, err := p.CPU()
		if err != nil {
			return s, err
		}
		switch {
		case n > 0 && first.records == 0:
			first.at, first.records, first.cpu = now, n, cpu
			fallthrough
		case n > seen:
			start, seen = now, n
		case now.Sub(start) > rig.Patience:
			return s, errors.New("it does not go on")
		}
		if n >= int64(b.records) {
			work := float64(n - first.records)
			if work == 0 {
				return s, errors.New("it was too fast to be measured: use more -records")
			}
			s.perSecond = work / now.Sub(first.at).Seconds()
			s.cpu = float64((cpu - first.cpu).Microseconds()) / work
			return s, nil
		}
		if err := rig.Pause(ctx, 10*time.Millisecond); err != nil {
			return s, err
		}
	}
}

// print writes the table of the contestants, and the ratios of the last one to the others.
func (b *bench) print(broker, guarantee, compression string, all []*contestant) error {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s, %s, %s\trecords/s\tCPU us/record\tmax RSS MiB\t\n", broker, guarantee, compression) //nolint:errcheck // Flush tells
	for _, who := range all {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.0f\t\n", who.name, rig.Median(who.samples, func(s sample) float64 { return s.perSecond }), //nolint:errcheck // Flush tells
			rig.Median(who.samples, func(s sample) float64 { return s.cpu }), rig.Median(who.samples, func(s sample) float64 { return s.resident }))
	}
	type ratio struct{ perSecond, cpu float64 }
	last := all[len(all)-1]
	for _, who := range all[:len(all)-1] {
		ratios := make([]ratio, b.counts)
		for i := range ratios {
			full, other := last.samples[i], who.samples[i]
			ratios[i] = ratio{full.perSecond / other.perSecond, full.cpu / other.cpu}
		}
		fmt.Fprintf(w, "%s to %s\t%.2f\t%.2f\t\t\n", last.name, who.name, rig.Median(ratios, func(r ratio) float64 { return r.perSecond }), rig.Median(ratios, func(r ratio) float64 { return r.cpu })) //nolint:errcheck // Flush tells
	}
	fmt.Fprintln(w) //nolint:errcheck // Flush tells
	return w.Flush()
}
