package app

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/record"
)

const warmFile = `
version: 1
name: flats
kafka: {brokers: %q}
schema: {numeric: [rent, size], enum: [zip], time: [date]}
source: {topic: flats, key: zip%s}
windows:
  recent: {key: zip, over: 30d, grace: 0s, aggregates: {n: count(), mean: mean(size)}}
features: {n: recent.n, relative: size / recent.mean}
train: {data: flats.csv, label: rent, ignore: [date, zip], gbm: {min_rows: 2, ntrees: 20}}
sink: {topic: out}
dead_letter: {topic: dlq}
state: {dir: state}
`

// newWarm returns a pipeline with a window that makes most of the label. Its messages are an hour apart, and so are the days of the
// field date.
func newWarm(t *testing.T, eventTime string) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{file: filepath.Join(dir, "pipeline.yaml"), logs: &syncBuffer{}}
	var err error
	if f.broker, err = devbroker.Start(t.Context(), devbroker.Options{Dir: filepath.Join(dir, "broker"), Addr: "127.0.0.1:0", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.broker.Close() }) // the test is over
	for _, name := range []string{"flats", "out", "dlq"} {
		if err := f.broker.CreateTopic(name, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	training, r, seen := []byte("rent,size,zip,date\n"), rand.New(rand.NewPCG(3, 3)), map[int]int{}
	for i := range 600 {
		zip, size := r.IntN(4), 20+r.IntN(100)
		training = fmt.Appendf(training, "%d,%d,z%d,%s\n", 100*seen[zip]+size, size, zip, time.UnixMilli(warmTime(i)).UTC().Format(time.DateTime))
		seen[zip]++
	}
	for name, text := range map[string]string{f.file: fmt.Sprintf(warmFile, f.broker.Addr(), eventTime), filepath.Join(dir, "flats.csv"): string(training)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.app = &App{Log: slog.New(slog.NewTextHandler(f.logs, nil)), Now: time.Now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	if _, err := f.app.Train(t.Context(), TrainOptions{File: f.file, By: "ada", Threads: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.registry(t).Approve(t.Context(), "flats@1", "flats", registry.Decision{By: "eve", Reason: "fine"}); err != nil {
		t.Fatal(err)
	}
	if f.client, err = kafka.New(kafka.Config{Brokers: []string{f.broker.Addr()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.logs.String())
		}
	})
	return f
}

func warmTime(i int) int64 { return 1_700_000_000_000 + int64(i)*3_600_000 }

// list writes records n to m.
func (f *fleet) list(t *testing.T, n, m int) {
	t.Helper()
	p, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "flats"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := n; i < m; i++ {
		zip := fmt.Sprintf("z%d", i*7%4)
		at := warmTime(i)
		r := record.Raw{Key: []byte(zip), Timestamp: at, Value: fmt.Appendf(nil, `{"size":%d,"zip":%q,"date":%q}`, 20+i*13%100, zip, time.UnixMilli(at).UTC().Format(time.DateTime))}
		if err := p.Send(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestShadowWarm: a shadow that begins where production is knows what production's windows know; one whose windows do not look back
// does not.
func TestShadowWarm(t *testing.T) {
	t.Parallel()
	const before, all = 300, 500
	f := newWarm(t, ", event_time: date")
	w := f.start(t, "one")
	f.list(t, 0, before)
	f.settle(t, w, before)
	begun := func(set []string, n int) (*ShadowBegin, error) {
		return f.shadow(t, ShadowOptions{Model: "@champion", Set: set}, func(*Running) bool { return f.logs.count("shadow begins") >= n })
	}
	// It is stopped while it warms up.
	own := []string{"shadow.topic=warm", "shadow.group=warm", "shadow.state_dir=" + t.TempDir()}
	began, err := begun(own, 1)
	if err != nil || began.Resumed {
		t.Fatal(err, began)
	}
	total := int64(0)
	for p, at := range began.From {
		if began.Read[p] != 0 {
			t.Errorf("partition %d is read from %d on, and windows go by a field", p, began.Read[p])
		}
		total += at
	}
	if total != before {
		t.Errorf("it begins at %v, of %d records", began.From, before)
	}
	f.list(t, before, all)
	f.settle(t, w, all)
	if began, err = begun(own, 2); err != nil || !began.Resumed || len(began.From) == 0 {
		t.Fatal(err, began)
	}
	until := func(set []string) func(*Running) bool {
		return func(*Running) bool {
			lag, err := f.client.Lag(context.WithoutCancel(t.Context()), set[1][len("shadow.group="):], "flats")
			for _, n := range lag {
				if n > 0 {
					return false
				}
			}
			return err == nil && f.moved(t, set[1][len("shadow.group="):])
		}
	}
	if _, err := f.shadow(t, ShadowOptions{Model: "@champion", Set: own}, until(own)); err != nil {
		t.Fatal(err)
	}
	r, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Set: own})
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != all-before || r.Agreement.Same != r.Pairs || r.Production.Alone.Lacking+r.Candidate.Alone.Lacking+r.Candidate.Alone.Before != 0 {
		t.Errorf("%d pairs, %+v, %+v, %+v", r.Pairs, r.Agreement, r.Production.Alone, r.Candidate.Alone)
	}

	// One that does not look back predicts otherwise: the window matters.
	cold := []string{"shadow.topic=cold", "shadow.group=cold", "shadow.state_dir=" + t.TempDir()}
	f.at(t, "cold", began.From)
	if _, err := f.shadow(t, ShadowOptions{Model: "@champion", WarmUp: "0s", Set: cold}, until(cold)); err != nil {
		t.Fatal(err)
	}
	r, err = f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Set: cold, Top: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != all-before || r.Agreement.Same > r.Pairs/2 || len(r.Top) != 1 || r.Top[0].Lacks == "" {
		t.Errorf("%d pairs of one whose windows do not look back, %+v, %+v", r.Pairs, r.Agreement, r.Top)
	}
}

// moved tells whether nothing of the application's own topics waits for the group.
func (f *fleet) moved(t *testing.T, group string) bool {
	t.Helper()
	committed, err := f.client.Committed(context.WithoutCancel(t.Context()), group)
	if err != nil {
		return false
	}
	for topic := range committed {
		lag, err := f.client.Lag(context.WithoutCancel(t.Context()), group, topic)
		if err != nil {
			return false
		}
		for _, n := range lag {
			if n > 1 { // a marker
				return false
			}
		}
	}
	return true
}

// at has a group begin at some offsets.
func (f *fleet) at(t *testing.T, group string, from kafka.Offsets) {
	t.Helper()
	if err := f.client.Place(t.Context(), group, kafka.PositionsOf("flats", from)); err != nil {
		t.Fatal(err)
	}
}

// TestShadowWarmByTimes: where windows go by the times of messages, reading begins as much earlier as they reach.
func TestShadowWarmByTimes(t *testing.T) {
	t.Parallel()
	const before = 2000 // hours, which are 83 days
	f := newWarm(t, "")
	w := f.start(t, "one")
	f.list(t, 0, before)
	f.settle(t, w, before)
	for i, c := range []struct {
		warm string
		days int
	}{{"", 30}, {"10d", 10}, {"0s", 0}, {"all", 100}} {
		set := []string{"shadow.topic=s" + c.warm, "shadow.group=g" + c.warm, "shadow.state_dir=" + t.TempDir()}
		began, err := f.shadow(t, ShadowOptions{Model: "@champion", WarmUp: c.warm, Set: set}, func(*Running) bool { return f.logs.count("shadow begins") > i })
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for p, at := range began.From {
			n += at - began.Read[p]
		}
		// Partitions end at other times, by some records.
		if want := int64(min(24*c.days, before)); n < want-30 || n > want+80 {
			t.Errorf("--warm-up %q reads %d records before, want about %d", c.warm, n, want)
		}
	}
}
