package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// succession is a stream of flats during which one model takes over from another.
type succession struct {
	driver *streamtest.Driver
	base   *app.Scoring
	next   *app.Scoring
	want   map[string][]string // the predictions of files, by model
	start  time.Time
}

// newSuccession trains two models, and runs the first.
func newSuccession(t *testing.T, lines []string) *succession {
	t.Helper()
	a, file := newWatched(t)
	if _, err := a.Train(t.Context(), app.TrainOptions{File: file, Set: []string{"train.gbm.ntrees=3"}, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	p, err := a.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &succession{want: map[string][]string{}, start: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
	data := filepath.Join(t.TempDir(), "flats.jsonl")
	if err := os.WriteFile(data, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var list []*app.Scoring
	for _, ref := range []string{"rents@1", "rents@2"} {
		m, err := a.LoadModel(t.Context(), p.Model, p.Name, ref)
		if err != nil {
			t.Fatal(err)
		}
		s, err := app.NewScoring(p, m, app.ScoringOptions{Threads: 2, Now: func() time.Time { return c.start.Add(24 * time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
		var out bytes.Buffer
		if _, err := a.Predict(t.Context(), app.PredictOptions{File: file, Model: ref, Data: data, Out: "-", Stdout: &out}); err != nil {
			t.Fatal(err)
		}
		c.want[ref] = strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	c.base, c.next = list[0], list[1]
	c.driver = streamtest.New(t, app.Topology(p, c.base.Bundle.Plan, c.base), streamtest.Partitions(2),
		streamtest.Partitions(1, "rents.checks", "rents-control"), streamtest.StartAt(c.start))
	return c
}

// TestModelsGoOver has a model take over while records come, and tasks crash: each partition goes over once, each prediction is
// that of a file with the model that it names, and windows are those of the model that has predicted their records.
func TestModelsGoOver(t *testing.T) {
	t.Parallel()
	const records, at, step = 1200, 750, 6 * time.Second // two hours; in the middle of the second one
	r := rand.New(rand.NewPCG(7, 7))
	start := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var lines []string
	for i := range records {
		area, city := flat(r, 0)
		lines = append(lines, fmt.Sprintf(`{"at":%q,"area":%d,"city":"c%d"}`, start.Add(time.Duration(i)*step).Format(time.RFC3339), area, city))
	}
	c := newSuccession(t, lines)
	in := streamtest.NewInput(c.driver, "flats", stream.String(), stream.String())
	for i, line := range lines {
		switch i {
		case at - 50:
			c.base.Expect(c.next)
		case at:
			c.serve(t, 5, nil, c.next)
		case at + 20:
			c.driver.Abort()
		case at + 100:
			c.driver.Crash()
		}
		in.Pipe(fmt.Sprint("k", i), line, start.Add(time.Duration(i)*step).UnixMilli())
		c.driver.Advance(step)
	}
	c.driver.Advance(2 * time.Hour)
	numbers := map[string]int{}
	for i, line := range lines {
		numbers[line] = i
	}
	total := 0
	for partition := range int32(2) {
		was := "rents@1"
		for _, raw := range c.driver.Raw("predictions", partition) {
			ref := headerOf(&raw, "millrace.model")
			if ref != was && was != "rents@1" {
				t.Fatalf("partition %d goes back to %s", partition, ref)
			}
			was = ref
			head, _, _ := strings.Cut(string(raw.Value), `,"prediction"`)
			if want := c.want[ref][numbers[head+"}"]]; string(raw.Value) != want {
				t.Fatalf("%s with %s, want %s", raw.Value, ref, want)
			}
			total++
		}
		if was != "rents@2" {
			t.Errorf("partition %d stays with %s", partition, was)
		}
	}
	if total != records {
		t.Errorf("%d predictions of %d records", total, records)
	}
	c.checkWindows(t, records)
}

// checkWindows wants the windows of both models in the hour in which one took over, and of one in the others.
func (c *succession) checkWindows(t *testing.T, records int) {
	t.Helper()
	rows, models := map[int64]uint64{}, map[int64][]string{}
	for _, w := range c.windows(t) {
		hour := (*w.From - c.start.UnixMilli()) / time.Hour.Milliseconds()
		rows[hour] += w.Rows
		models[hour] = append(models[hour], w.Model)
		if w.Foreign != 0 || w.Late != 0 {
			t.Errorf("hour %d: %d foreign parts, %d late", hour, w.Foreign, w.Late)
		}
	}
	if rows[0]+rows[1] != uint64(records) || rows[0] != uint64(records/2) {
		t.Errorf("windows have %v records", rows)
	}
	if fmt.Sprint(models[0], len(models[1])) != "[rents@1] 2" {
		t.Errorf("windows of %v", models)
	}
	if checked := c.base.Checked(); checked.Windows["ok"]+checked.Windows["skipped"] != 3 { // a part may be too small to be judged
		t.Errorf("%+v", checked)
	}
}

func (c *succession) window(t *testing.T, raw *record.Raw) (w app.WindowResult) {
	t.Helper()
	if err := json.Unmarshal(raw.Value, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// headerOf returns the last header of a name.
func headerOf(r *record.Raw, name string) string {
	text := ""
	for _, h := range r.Headers {
		if h.Key == name {
			text = string(h.Value)
		}
	}
	return text
}

// serve has models serve from an epoch on.
func (c *succession) serve(t *testing.T, epoch int64, split *rollout.Split, models ...*app.Scoring) {
	t.Helper()
	if err := c.base.Serve(epoch, split, models...); err != nil {
		t.Fatal(err)
	}
	c.driver.SetEpoch(epoch)
}
