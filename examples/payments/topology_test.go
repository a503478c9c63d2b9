package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

func TestTopology(t *testing.T) {
	t.Parallel()
	streamtest.Golden(t, newTopology(), "testdata/topology.golden")
}

// pipe writes the records of a file to a topic.
func pipe[V any](t *testing.T, d *streamtest.Driver, topic string, key func(V) string) {
	t.Helper()
	b, err := os.ReadFile("data/" + topic + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	in := streamtest.NewInput(d, topic, stream.String(), stream.JSON[V]())
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var v V
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		in.PipeNext(key(v), v)
	}
}

// start runs the application on the data of the example.
func start(t *testing.T, opts ...streamtest.Option) *streamtest.Driver {
	t.Helper()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := streamtest.New(t, newTopology(), append([]streamtest.Option{streamtest.StartAt(noon)}, opts...)...)
	pipe(t, d, accountsTopic, func(a Account) string { return a.Card })
	pipe(t, d, merchantsTopic, func(m Merchant) string { return m.Merchant })
	return d
}

func payments(t *testing.T, d *streamtest.Driver) {
	t.Helper()
	pipe(t, d, paymentsTopic, func(p Payment) string { return p.Card })
}

func alerts(d *streamtest.Driver) []Alert {
	return streamtest.NewOutput(d, alertsTopic, stream.String(), stream.JSON[Alert]()).ReadValues()
}

// wantAlerts is what the data of the example lead to.
func wantAlerts() []Alert {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return []Alert{
		{From: noon, Activity: Activity{Payments: 3, Total: 277, Limit: 200, Highest: 0.8}},
		{From: noon.Add(time.Minute), Activity: Activity{Payments: 6, Total: 30, Limit: 1000, Highest: 0.20125}},
	}
}

func TestPayments(t *testing.T) {
	t.Parallel()
	d := start(t)
	payments(t, d)
	if diff := cmp.Diff(wantAlerts(), alerts(d)); diff != "" {
		t.Errorf("alerts (-want +got)\n%s", diff)
	}
	scored := streamtest.NewOutput(d, scoredTopic, stream.String(), stream.JSON[Enriched]())
	if n := scored.Len(); n != 13 {
		t.Errorf("%d payments were scored", n)
	}
	want := map[string]int{"score/unknown_card": 1, "score/bad_amount": 1, "activity/late": 1}
	if diff := cmp.Diff(want, d.Dropped()); diff != "" {
		t.Errorf("dropped (-want +got)\n%s", diff)
	}
	if n := len(d.Raw(deadTopic, 0)); n != 3 {
		t.Errorf("%d dead letters", n)
	}
}

// TestQuietMinute has a minute end although no payment comes any more.
func TestQuietMinute(t *testing.T) {
	t.Parallel()
	d := start(t)
	in := streamtest.NewInput(d, paymentsTopic, stream.String(), stream.JSON[Payment]())
	in.PipeNext("card-2", Payment{ID: "p", Card: "card-2", Merchant: "m-2", Amount: 201, At: d.Now()})
	d.Advance(time.Minute)
	if got := alerts(d); len(got) != 0 {
		t.Errorf("too early: %v", got)
	}
	d.Advance(time.Minute)
	if got := alerts(d); len(got) != 1 || got[0].Total != 201 {
		t.Errorf("got %v, want an alert", got)
	}
}

// TestCrashes has the application crash at every point of a round: the alerts are the same.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, point := range []streamtest.CrashPoint{streamtest.BeforeFlush, streamtest.BeforeCommit, streamtest.AfterCommit} {
		for skip := range 15 {
			d := start(t, streamtest.OnDisk())
			d.CrashAt(point, skip)
			payments(t, d)
			if diff := cmp.Diff(wantAlerts(), alerts(d)); diff != "" {
				t.Errorf("crash %v, after %d: alerts (-want +got)\n%s", point, skip, diff)
			}
		}
	}
}
