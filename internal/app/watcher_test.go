package app_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/internal/app"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

const watchedPipeline = `
version: 1
name: rents
schema: {time: [at], numeric: [rent, area], enum: [city]}
source: {topic: flats, event_time: at}
features: {large: area > 120}
train: {data: rents.csv, label: rent, ignore: [at], gbm: {ntrees: 10, min_rows: 2}}
checks:
  window: {every: 1h, grace: 5m, on_fail: pause}
sink: {topic: predictions}
dead_letter: {topic: flats.dlq}
`

// flat draws a flat; shifted, of the larger ones.
func flat(r *rand.Rand, shift int) (area, city int) { return 50 + shift + r.IntN(150), r.IntN(3) }

// newWatched trains a pipeline whose windows are checked.
func newWatched(t *testing.T) (*app.App, string) {
	t.Helper()
	dir := t.TempDir()
	a := &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	r := rand.New(rand.NewPCG(5, 5))
	var csv strings.Builder
	csv.WriteString("at,rent,area,city\n")
	for i := range 2000 {
		area, city := flat(r, 0)
		fmt.Fprintf(&csv, "2026-01-01T00:%02d:00Z,%d,%d,c%d\n", i%60, area*(10+city), area, city)
	}
	for name, text := range map[string]string{"pipeline.yaml": watchedPipeline, "rents.csv": csv.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "pipeline.yaml")
	if _, err := a.Train(t.Context(), app.TrainOptions{File: file, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	return a, file
}

// TestWindowsAreChecked holds the results of windows to be the same whatever happens to the tasks that count them, and
// to tell a window of other records from those like the training data.
func TestWindowsAreChecked(t *testing.T) {
	t.Parallel()
	a, file := newWatched(t)
	p, err := a.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.LoadModel(t.Context(), p.Model, p.Name, "rents@1")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var want []app.WindowResult
	var lines strings.Builder
	for turn, partitions := range []int{1, 3, 3} {
		s, err := app.NewScoring(p, m, app.ScoringOptions{Threads: 2, Now: func() time.Time { return start.Add(24 * time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		d := streamtest.New(t, app.Topology(p, m.Bundle.Plan, s), streamtest.Partitions(partitions), streamtest.Partitions(1, "rents.checks", "rents-control"), streamtest.StartAt(start))
		in := streamtest.NewInput(d, "flats", stream.String(), stream.String())
		r := rand.New(rand.NewPCG(7, 7))
		for i := range 3 * 600 { // three hours, the third of larger flats
			at := start.Add(time.Duration(i) * 6 * time.Second)
			area, city := flat(r, i/1200*40)
			value := fmt.Sprintf(`{"at":%q,"area":%d,"city":"c%d"}`, at.Format(time.RFC3339), area, city)
			if i%100 == 99 {
				value = "no record"
			}
			if turn == 0 {
				lines.WriteString(value + "\n")
			}
			in.Pipe(fmt.Sprint("k", i%50), value, at.UnixMilli())
			d.Advance(6 * time.Second)
			if turn == 2 && i%400 == 150 {
				[]func(){d.Crash, d.LoseState, d.Abort}[i/400%3]()
			}
		}
		d.Advance(2 * time.Hour)
		var got []app.WindowResult
		for _, raw := range d.Raw("rents.checks", 0) {
			var w app.WindowResult
			if err := json.Unmarshal(raw.Value, &w); err != nil {
				t.Fatal(err)
			}
			w.Judged, w.Untimed, w.Late = 0, 0, 0
			got = append(got, w)
		}
		if turn > 0 {
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("turn %d: %s", turn, diff)
			}
			continue
		}
		want = got
		if len(want) != 3 {
			t.Fatalf("%d windows are over, want 3", len(want))
		}
		for i, w := range want {
			result := []string{"ok", "ok", "fail"}[i]
			if w.Result != result || w.Rows != 594 || *w.From != start.Add(time.Duration(i)*time.Hour).UnixMilli() {
				t.Errorf("window %d: %s with %d rows from %d", i, w.Result, w.Rows, *w.From)
			}
		}
		moved := map[string]bool{}
		for _, f := range want[2].Findings {
			if f.Severity == "fail" {
				moved[f.Column] = true
			}
		}
		if !moved["area"] || !moved["prediction"] || !moved["large"] || moved["city"] {
			t.Errorf("moved: %v", moved)
		}
		control := d.Raw("rents-control", 0)
		if len(control) != 1 || !strings.Contains(string(control[0].Value), `"paused"`) {
			t.Errorf("the control topic: %v", control)
		}
		checked := s.Checked()
		if checked.Windows["ok"] != 2 || checked.Windows["fail"] != 1 || !slices.Equal([]string{checked.Last.Action}, []string{"pause"}) {
			t.Errorf("%+v", checked)
		}
	}
	sameAsOfData(t, a, file, lines.String(), want)
}

// TestSlowPartitions holds windows of partitions with a record now and then to be over soon after their end.
func TestSlowPartitions(t *testing.T) {
	t.Parallel()
	a, file := newWatched(t)
	p, err := a.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.LoadModel(t.Context(), p.Model, p.Name, "rents@1")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	s, err := app.NewScoring(p, m, app.ScoringOptions{Threads: 1, Now: func() time.Time { return start.Add(24 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	d := streamtest.New(t, app.Topology(p, m.Bundle.Plan, s), streamtest.Partitions(2), streamtest.Partitions(1, "rents.checks", "rents-control"), streamtest.StartAt(start))
	in := streamtest.NewInput(d, "flats", stream.String(), stream.String())
	for i := range 4 * 90 { // four hours
		at := d.Now()
		in.Pipe(fmt.Sprint("k", i), fmt.Sprintf(`{"at":%q,"area":70,"city":"c1"}`, at.Format(time.RFC3339)), at.UnixMilli())
		d.Advance(40 * time.Second)
	}
	list := d.Raw("rents.checks", 0)
	if len(list) != 3 {
		t.Fatalf("%d windows are over", len(list))
	}
	for i, raw := range list {
		var w app.WindowResult
		if err := json.Unmarshal(raw.Value, &w); err != nil {
			t.Fatal(err)
		}
		end := start.Add(time.Duration(i+1)*time.Hour + 5*time.Minute) // with the grace
		if after := time.UnixMilli(w.Judged).Sub(end); after < 0 || after > 5*time.Minute || w.Rows != 90 || w.Late != 0 {
			t.Errorf("window %d is over after %v, with %d records, %d late", i, after, w.Rows, w.Late)
		}
	}
}

// sameAsOfData holds batch to judge the windows of a file as the stream has judged those of the same records.
func sameAsOfData(t *testing.T, a *app.App, file, lines string, want []app.WindowResult) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "flats.jsonl")
	if err := os.WriteFile(data, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := a.WindowsOf(t.Context(), app.DriftOptions{File: file, Data: data, Model: "rents@1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []app.WindowResult
	for _, w := range list {
		text, err := json.Marshal(w) // a result of the stream is one that was read
		if err != nil {
			t.Fatal(err)
		}
		var back app.WindowResult
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		back.Judged, back.Untimed, back.Late = 0, 0, 0
		got = append(got, back)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
}

// TestWindowsOfAnotherSize keeps apart what was counted for other windows: their numbers and columns mean something else, and a state
// that is restored would have records be late for ever.
func TestWindowsOfAnotherSize(t *testing.T) {
	t.Parallel()
	a, file := newWatched(t)
	seen := map[string]string{}
	for window, same := range map[string]bool{
		"every: 1h": true, "every: 60m": true, "every: 1h, grace: 1m": true, "every: 1h, false_alarms: 5%": true,
		"every: 2h": false, "every: 3600": false, "every: 1h, columns: [area]": false, "every: 1h, columns: [city]": false,
	} {
		text := strings.Replace(watchedPipeline, "every: 1h, grace: 5m, on_fail: pause", window, 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := a.Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := a.LoadModel(t.Context(), p.Model, p.Name, "rents@1")
		if err != nil {
			t.Fatal(err)
		}
		by := app.CountedBy(p, m)
		if same {
			window = "the same"
		}
		if before, ok := seen[window]; ok && before != by {
			t.Errorf("%s is counted by %s, and by %s", window, before, by)
		}
		seen[window] = by
	}
	all := map[string]bool{}
	for _, by := range seen {
		all[by] = true
	}
	if len(all) != 5 {
		t.Errorf("%v: %d differ, want 5", seen, len(all))
	}
}
