package app_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
	"millrace.dev/streamtest"
)

const insteadFile = `
version: 1
name: flats
schema: {numeric: [rent, size], enum: [city]}
source: {topic: flats}
train: {data: all.csv, label: rent, gbm: {ntrees: 3, min_rows: 5}}
checks: {record: [{name: known_city, rule: city in training, otherwise: fail}, {name: large, rule: size < 60, otherwise: warn}]}
sink: {topic: out}
dead_letter: {topic: dlq}
`

// TestInstead has a candidate refuse records that the control predicts, by a rule that ends the run: they get what the control says of them,
// with the rules that they break by it, and the run goes on.
func TestInstead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	file := filepath.Join(dir, "pipeline.yaml")
	all, narrow := []byte("rent,size,city\n"), []byte("rent,size,city\n")
	for i := range 200 {
		line := fmt.Sprintf("%d,%d,c%d\n", 200+8*(20+i%90), 20+i%90, i%4)
		all = append(all, line...)
		if i%4 != 3 {
			narrow = append(narrow, line...)
		}
	}
	for name, text := range map[string][]byte{"pipeline.yaml": []byte(insteadFile), "all.csv": all, "narrow.csv": narrow} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := a.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	slots, err := assign.New([]float64{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	split := &rollout.Split{Experiment: "test", By: rollout.ByKey, Salt: "s"}
	var scorings []*app.Scoring
	for i, data := range []string{"all.csv", "narrow.csv"} {
		if _, err := a.Train(t.Context(), app.TrainOptions{File: file, Threads: 1, Set: []string{"train.data=" + filepath.Join(dir, data)}}); err != nil {
			t.Fatal(err)
		}
		m, err := a.LoadModel(t.Context(), p.Model, p.Name, fmt.Sprintf("flats@%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		s, err := app.NewScoring(p, m, app.ScoringOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		scorings = append(scorings, s)
		split.Arms = append(split.Arms, rollout.Arm{Name: []string{"control", "new"}[i], Model: m.Ref, Digest: m.Digest, Slots: slots[i]})
	}
	d := streamtest.New(t, app.Topology(p, scorings[0].Bundle.Plan, scorings[0]))
	if err := scorings[0].Serve(1, split, scorings...); err != nil {
		t.Fatal(err)
	}
	d.SetEpoch(1)
	for i := range 80 {
		value := fmt.Sprintf(`{"size":%d,"city":"c%d"}`, 20+i, i%4)
		d.PipeRaw("flats", record.Raw{Key: fmt.Append(nil, i), Value: []byte(value), Timestamp: 1})
	}
	out := d.Raw("out", 0)
	if len(out) != 80 {
		t.Fatalf("%d of 80 records", len(out))
	}
	for i := range out {
		r := &out[i]
		model, refused, checks := "flats@2", "", ""
		if strings.Contains(string(r.Value), `"c3"`) {
			model, refused = "flats@1", "known_city"
		}
		var size int
		if _, err := fmt.Sscanf(string(r.Value), `{"size":%d`, &size); err != nil {
			t.Fatal(err)
		}
		if size >= 60 {
			checks = "large"
		}
		if headerOf(r, "millrace.model") != model || headerOf(r, "millrace.refused") != refused || headerOf(r, "millrace.checks") != checks || headerOf(r, "millrace.arm") != "new" {
			t.Errorf("%s has %v, want model %s, refused %q, checks %q", r.Value, r.Headers, model, refused, checks)
		}
	}
}
