package app

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

const forgetful = `
version: 1
name: forgetful
schema: {numeric: [y, x], enum: [city], time: [{name: at, layouts: [unix_ms]}]}
source: {topic: in, key: city, event_time: at}
windows:
  sales: {key: city, over: 2h, grace: 1h, aggregates: {n: count()}}
features: {n: sales.n}
train: {data: data.jsonl, label: y, ignore: [at], gbm: {ntrees: 3, min_rows: 2}}
sink: {topic: out}
dead_letter: {topic: dlq}
`

// TestForget follows how many keys a window knows: those that have had no record for long are forgotten, others are not, and
// a few wrong clocks change nothing of that.
func TestForget(t *testing.T) {
	t.Parallel()
	a := &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	dir := t.TempDir()
	var data strings.Builder
	for i := range 40 {
		fmt.Fprintf(&data, `{"y":%d,"x":%d,"city":"c%d","at":%d}`+"\n", i%7, i%5, i%3, i)
	}
	for name, text := range map[string]string{"pipeline.yaml": forgetful, "data.jsonl": data.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := a.Load(filepath.Join(dir, "pipeline.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.ModelOf(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewScoring(p, m, ScoringOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	d := streamtest.New(t, Topology(p, m.Bundle.Plan, s), streamtest.StartAt(start))
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	known := func() int { return len(streamtest.StateOf(d, "sales", stream.String(), stream.Bytes())) }
	send := func(city string, at time.Time) {
		in.Pipe(city, fmt.Sprintf(`{"x":1,"city":%q,"at":%d}`, city, at.UnixMilli()), at.UnixMilli())
	}
	for i := range 50 { // keys with one record each
		send(fmt.Sprintf("old%d", i), start)
	}
	r := rand.New(rand.NewPCG(3, 3))
	if n := known(); n != 50 {
		t.Fatalf("%d keys", n)
	}
	fill := func(from time.Time, wrong time.Time) {
		for i := range 4 * ticks {
			at := from.Add(time.Duration(r.Int64N(int64(time.Minute))))
			if i%4 == 0 && !wrong.IsZero() {
				at = wrong
			}
			send("busy", at)
		}
	}
	fill(start.Add(time.Minute), time.Time{})
	fill(start.Add(2*time.Minute), start.AddDate(10, 0, 0)) // every fourth clock is wrong
	fill(start.Add(20*time.Hour), time.Time{})              // within the day
	if n := known(); n != 51 {
		t.Errorf("%d keys are known, want all: the clock says %v", n, d.Now())
	}
	d.Jump(72 * time.Hour)
	fill(start.Add(26*time.Hour), time.Time{}) // a record of the first hours could still come, and be within the grace
	if n := known(); n != 51 {
		t.Errorf("%d keys are known, want all", n)
	}
	fill(start.Add(30*time.Hour), time.Time{})
	fill(start.Add(34*time.Hour), time.Time{})
	if n := known(); n != 1 {
		t.Errorf("%d keys are known, want one", n)
	}
}
