package app

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/record"
)

const candidatesFile = `
version: 1
name: flats
kafka: {brokers: %q}
schema: {numeric: [rent, size, age, floor], enum: [city]}
source: {topic: flats}
train: {data: all.csv, label: rent, gbm: {min_rows: 5, max_depth: 5, learn_rate: 0.1}}
checks: {record: [{name: known_city, rule: city in training, otherwise: dead_letter}]}
sink: {topic: out}
dead_letter: {topic: dlq}
outcomes: {topic: let, horizon: 30d}
canary: {steps: [10%%, 50%%, 100%%], hold: 0s, min_records: 100, min_outcomes: 100, guards: {without: [latency]}}
`

// The candidates, by the numbers of their versions.
const (
	champion = iota + 1
	better
	worse   // by about 5 % of the RMSE
	narrow  // it has not seen a city
	slow    // it has a hundred times as many trees
	foolish // it was trained on rents in cents
)

// flatOf returns a flat, and its rent.
func flatOf(r *rand.Rand) (city string, size, age, floor, rent float64) {
	n := r.IntN(20)
	size, age, floor = float64(20+r.IntN(130)), float64(r.IntN(100)), float64(r.IntN(8))
	rent = 300 + size*(8+float64(n%7)) + 4*math.Abs(age-50) + 30*floor*float64(n%3)
	return fmt.Sprintf("c%d", n), size, age, floor, rent * math.Exp(0.1*r.NormFloat64())
}

// candidates is a fleet with other models, and with a stream of flats whose rents become known at once.
type candidates struct {
	*fleet

	t    *testing.T
	sent int
}

func newCandidates(t *testing.T) *candidates {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{file: filepath.Join(dir, "pipeline.yaml"), logs: &syncBuffer{}}
	f.startBroker(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = f.broker.Close() }) // the test is over
	for _, name := range []string{"flats", "out", "dlq", "let"} {
		if err := f.broker.CreateTopic(name, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(f.file, fmt.Appendf(nil, candidatesFile, f.broker.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	writeFlats(t, dir)
	f.app = &App{Log: slog.New(slog.NewTextHandler(f.logs, nil)), Now: time.Now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	for i, set := range []string{"ntrees=40", "ntrees=60", "ntrees=27", "ntrees=40", "ntrees=4000", "ntrees=40"} {
		data := map[int]string{narrow: "narrow.csv", foolish: "cents.csv"}[i+1]
		if data == "" {
			data = "all.csv"
		}
		if _, err := f.app.Train(t.Context(), TrainOptions{File: f.file, By: "ada", Threads: 1, Set: []string{"train.gbm." + set, "train.data=" + filepath.Join(dir, data)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.registry(t).Approve(t.Context(), fmt.Sprintf("flats@%d", i+1), "flats", registry.Decision{By: "eve", Reason: "fine"}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if f.client, err = kafka.New(kafka.Config{Brokers: []string{f.broker.Addr()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.logs.String())
		}
	})
	return &candidates{fleet: f, t: t}
}

// writeFlats writes the training data of the candidates.
func writeFlats(t *testing.T, dir string) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	files := map[string][][]string{"all.csv": nil, "narrow.csv": nil, "cents.csv": nil}
	for range 3000 {
		city, size, age, floor, rent := flatOf(r)
		row := func(rent float64) []string {
			return []string{strconv.FormatFloat(rent, 'f', 2, 64), fmt.Sprint(size), fmt.Sprint(age), fmt.Sprint(floor), city}
		}
		files["all.csv"] = append(files["all.csv"], row(rent))
		files["cents.csv"] = append(files["cents.csv"], row(100*rent))
		if city != "c7" {
			files["narrow.csv"] = append(files["narrow.csv"], row(rent))
		}
	}
	for name, rows := range files {
		out, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := csv.NewWriter(out)
		if err := errors.Join(w.WriteAll(append([][]string{{"rent", "size", "age", "floor", "city"}}, rows...)), out.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// flow has flats and their rents come until the test is over.
func (c *candidates) flow() {
	p, err := c.client.NewProducer(kafka.ProducerConfig{Topic: "flats"})
	if err != nil {
		c.t.Fatal(err)
	}
	let, err := c.client.NewProducer(kafka.ProducerConfig{Topic: "let"})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		r := rand.New(rand.NewPCG(8, 9))
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; {
			for range 60 {
				city, size, age, floor, rent := flatOf(r)
				key, now := fmt.Appendf(nil, "k%d", i), time.Now().UnixMilli()
				value := fmt.Appendf(nil, `{"size":%v,"age":%v,"floor":%v,"city":%q}`, size, age, floor, city)
				err := errors.Join(p.Send(ctx, &record.Raw{Key: key, Value: value, Timestamp: now}),
					let.Send(ctx, &record.Raw{Key: key, Value: fmt.Appendf(nil, `{"rent":%v}`, rent), Timestamp: now + 1}))
				if err != nil {
					done <- err
					return
				}
				i++
			}
			if err := errors.Join(p.Flush(ctx), let.Flush(ctx)); err != nil {
				done <- err
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				done <- nil
				return
			}
		}
	}()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			c.t.Error(err)
		}
		p.Close()
		let.Close()
	})
}

// outcomes has predictions joined with rents until the test is over.
func (c *candidates) outcomes() {
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := c.app.Outcomes(ctx, OutcomesOptions{
			File: c.file, InstanceID: "joins", CreateTopics: true, StateDir: filepath.Join(filepath.Dir(c.file), "joined"), Started: func(*OutcomesRunning) { close(started) },
		})
		done <- err
	}()
	select {
	case <-started:
	case err := <-done:
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			c.t.Error(err)
		}
	})
}

func (c *candidates) options(version int, set ...string) CanaryOptions {
	return CanaryOptions{
		File: c.file, Set: set, Model: fmt.Sprintf("flats@%d", version), By: "ada", Reason: "the review of May", Timeout: 20 * time.Second, Every: 50 * time.Millisecond,
	}
}

// touched counts the records that an arm of an experiment has in the topics, as whoever reads them does.
func (c *candidates) touched(experiment string) map[string]int64 {
	n := map[string]int64{}
	for _, topic := range []string{"out", "dlq"} {
		for _, r := range c.read(c.t, topic) {
			got := map[string]string{}
			for _, h := range r.Headers {
				got[h.Key] = string(h.Value)
			}
			if got["millrace.experiment"] == experiment && got["millrace.arm"] == "canary" {
				n[topic]++
			}
		}
	}
	return n
}

// TestCanary has each candidate judged by the guard that should see what is wrong with it, and lets the better one in.
func TestCanary(t *testing.T) {
	t.Parallel()
	c := newCandidates(t)
	one, two := c.start(t, "one"), c.start(t, "two")
	c.settled(t, one, two)
	c.outcomes()
	c.flow()
	for _, tc := range []struct {
		version int
		guard   string
		set     []string
	}{
		{worse, "loss", nil}, {narrow, "errors", nil}, {slow, "latency", []string{"canary.guards.without=drift"}}, {foolish, "drift", []string{"canary.guards.without=loss"}},
	} {
		version := tc.version
		r, err := c.app.Canary(t.Context(), c.options(version, append([]string{"canary.min_outcomes=20000"}, tc.set...)...))
		if r == nil {
			t.Fatal(err)
		}
		code, _ := Explain(err)
		if code != Refused || r.Verdict != registry.VerdictRolledBack || r.Guard != tc.guard || !strings.Contains(err.Error(), tc.guard+": ") {
			t.Errorf("flats@%d: %v, %+v", version, err, r)
		}
		t.Log(r.Why)
		one.says(t, "flats@1")
		two.says(t, "flats@1")
		c.holdTouched(t, r)
		c.holdLog(t, r)
	}
	r, err := c.app.Canary(t.Context(), c.options(better))
	if err != nil {
		t.Fatal(err)
	}
	one.says(t, "flats@2")
	var shares []float64
	for _, s := range r.Steps {
		shares = append(shares, s.Share)
	}
	if r.Verdict != registry.VerdictPassed || !slices.Equal(shares, []float64{0.1, 0.5, 1}) {
		t.Errorf("%+v", r)
	}
	v, err := c.registry(t).Resolve(t.Context(), "@champion", "flats")
	if err != nil || v.Number != better || len(v.Trials) != 0 {
		t.Error(v, err)
	}
	if _, err := c.app.Canary(t.Context(), c.options(better)); codeIs(err) != Nothing {
		t.Error(err)
	}
}

func codeIs(err error) Code {
	code, _ := Explain(err)
	return code
}

// holdTouched wants a canary that was taken back to have counted the records that were given to it.
func (c *candidates) holdTouched(t *testing.T, r *Canaried) {
	t.Helper()
	got := map[string]int64{}
	for _, topic := range r.Touched {
		var n int64
		for _, p := range topic.Partitions {
			n += p.Records
		}
		if n != topic.Records {
			t.Errorf("%+v", topic)
		}
		got[topic.Topic] = topic.Records
	}
	if want := c.touched(r.Experiment); !r.Complete || got["out"] != want["out"] || got["dlq"] != want["dlq"] || got["out"] == 0 {
		t.Errorf("%s: touched %v, want %v", r.Experiment, got, want)
	}
}

// holdLog wants the audit log to have the whole of a canary that was taken back.
func (c *candidates) holdLog(t *testing.T, r *Canaried) {
	t.Helper()
	v, events, err := c.registry(t).Show(t.Context(), r.Model, "")
	if err != nil || len(v.Trials) != 0 {
		t.Fatal(v.Trials, err)
	}
	first, last := events[2], events[len(events)-1]
	if first.Trial == nil || first.Trial.Phase != registry.TrialStarted || first.Trial.Share != 0.1 || first.Group != "flats" {
		t.Errorf("%+v", first)
	}
	if e := last.Trial; e == nil || e.Phase != registry.TrialEnded || e.Verdict != registry.VerdictRolledBack || e.Guard != r.Guard || len(e.Touched) == 0 || len(e.Guards) == 0 {
		t.Errorf("%+v", last)
	}
}
