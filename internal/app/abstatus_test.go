package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/trial"
	"millrace.dev/record"
)

// judged returns overrides of the pipeline file with an experiment whose outcomes are known within an hour.
func judged(more ...string) []string {
	return sizesTest(append([]string{"ab.min_units=20", "ab.units=1000", "outcomes.topic=rents", "outcomes.horizon=1h", "outcomes.grace=1h"}, more...)...)
}

// label writes the labels of keys from a number on, for all but every tenth: a rent that depends on the size of produce.
func (f *fleet) label(t *testing.T, from, n int) {
	t.Helper()
	p, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "rents"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := from; i < from+n; i++ {
		if i%10 == 3 {
			continue
		}
		r := record.Raw{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, `{"rent":%d}`, rentOf(i)), Timestamp: 2000 + int64(i)}
		if err := p.Send(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func rentOf(i int) int { return 100 + 8*(20+i%90) + i*7919%50 }

// joined joins what is there.
func (f *fleet) joined(t *testing.T, set ...string) {
	t.Helper()
	o := OutcomesOptions{File: f.file, Set: set, InstanceID: "outcomes", CreateTopics: true, StateDir: filepath.Join(t.TempDir(), "outcomes"), Once: true}
	if _, err := f.app.Outcomes(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// TestABStatus starts an experiment, predicts records with it, joins them with their labels, and holds what status says to a direct computation
// from the topics.
func TestABStatus(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if err := f.broker.CreateTopic("rents", 3, nil); err != nil {
		t.Fatal(err)
	}
	_, err := f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file})
	if code, _ := Explain(err); code != Nothing {
		t.Errorf("%v: there is no experiment", err)
	}
	_, err = f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged("ab.arms.control.model=flats@99")})
	if code, _ := Explain(err); code != Nothing {
		t.Errorf("%v: nobody has begun it", err)
	}
	one, two := f.start(t, "one"), f.start(t, "two")
	f.settled(t, one, two)
	if _, err := f.app.StartAB(t.Context(), f.ab(judged()...)); err != nil {
		t.Fatal(err)
	}
	r, err := f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Advice.Action != trial.Wait || !r.Running || r.Since == nil || len(r.Audit) != 1 || !warned(r, "no_cohorts") {
		t.Errorf("%+v: it has just begun", r)
	}
	const n = 400
	f.produce(t, 0, n)
	until(t, "all results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == n })
	f.label(t, 0, n)
	f.joined(t, judged()...)
	var page bytes.Buffer
	r, err = f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged(), HTML: "-", Stdout: &page})
	if err != nil {
		t.Fatal(err)
	}
	f.compare(t, r)
	if !strings.Contains(page.String(), "Experiment sizes") || !strings.Contains(page.String(), "</html>") {
		t.Error("there is no whole page")
	}
	until(t, "instances say what they have scored", func() bool {
		r, err = f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged()})
		return err == nil && r.Arms[0].Served+r.Arms[1].Served == n && len(r.Scoring) == 1
	})
	if r.Arms[0].Refused+r.Arms[1].Refused != n/5 || r.Scoring[0].Batches == 0 {
		t.Errorf("%+v, %+v: every fifth record is none", r.Arms, r.Scoring)
	}
	for require, ok := range map[Require]bool{RequireTrusted: true, RequireBetter: r.Advice.Action == trial.Promote, RequireDecided: r.Advice.Action != trial.Wait, "good": false} {
		got, err := f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged(), Require: require})
		if (err == nil) != ok || (got == nil) != (require == "good") {
			t.Errorf("%s: %v", require, err)
		}
	}
	f.afterwards(t, r)
}

func warned(r *trial.Report, kind string) bool {
	for _, w := range r.Warnings {
		if w.Kind == kind {
			return true
		}
	}
	return false
}

// compare holds a report to what is in the topics.
func (f *fleet) compare(t *testing.T, r *trial.Report) {
	t.Helper()
	var sums [2]experiment.Cross
	var predictions, resolved [2]int64
	for _, raw := range f.read(t, "out") {
		var key int
		if _, err := fmt.Sscanf(string(raw.Key), "k%d", &key); err != nil {
			t.Fatal(err)
		}
		headers := map[string]string{}
		for _, h := range raw.Headers {
			headers[h.Key] = string(h.Value)
		}
		arm := map[string]int{"control": 0, "new": 1}[headers["millrace.arm"]]
		predictions[arm]++
		if key%10 == 3 {
			continue
		}
		resolved[arm]++
		_, text, _ := strings.Cut(string(raw.Value), `"prediction":`)
		y, err := strconv.ParseFloat(strings.Trim(text, "} "), 64)
		if err != nil {
			t.Fatal(err)
		}
		x := y
		if b := headers["millrace.baseline"]; b != "" {
			if x, err = strconv.ParseFloat(b, 64); err != nil {
				t.Fatal(err)
			}
		}
		label := float64(rentOf(key))
		if err := sums[arm].Add((y-label)*(y-label), (x-label)*(x-label), 1); err != nil {
			t.Fatal(err)
		}
	}
	want, err := experiment.Compare(&sums[0], &sums[1], experiment.Options{Alpha: 0.05, Level: 0.025, Horizon: 1000, Least: 20})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Comparisons[0]
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(b)) || a == b }
	if got.Metric != "squared_error" || got.Arm != "new" || got.Control.Units != want.Control.Units || !near(got.Difference.Value, want.Difference.Value) ||
		!near(got.Difference.Low, want.Difference.Low) || !near(got.Relative.High, want.Relative.High) || !near(got.P, want.P) {
		t.Errorf("%+v %+v, want %+v", got, got.Comparison, want)
	}
	for i := range predictions {
		if a := r.Arms[i]; a.Predictions != predictions[i] || a.Resolved != resolved[i] || a.Units != predictions[i] || a.Pending != 0 {
			t.Errorf("%+v, want %d predictions, %d with a label", a, predictions[i], resolved[i])
		}
	}
	if r.Ratio == nil || !r.Ratio.Tested || r.Ratio.Broken || r.Mature == nil || r.Mature.Days != 1 || len(r.Days) != 1 || r.Days[0].Day != "1970-01-01" {
		t.Errorf("%+v, %+v, %+v", r.Ratio, r.Mature, r.Days)
	}
	if math.Abs(r.Arms[1].Share-0.4) > 1.0/assign.Slots {
		t.Errorf("a share of %g, want 0.4", r.Arms[1].Share)
	}
}

// afterwards looks at the experiment after its shares were changed, and when it is over: the arms are known from the audit log then.
func (f *fleet) afterwards(t *testing.T, before *trial.Report) {
	t.Helper()
	changed := judged("ab.arms.control.weight=50", "ab.arms.new.weight=50")
	if _, err := f.app.StartAB(t.Context(), f.ab(changed...)); err != nil {
		t.Fatal(err)
	}
	r, err := f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: changed})
	if err != nil {
		t.Fatal(err)
	}
	if !warned(r, "weights") || r.Arms[1].Share != 0.5 || r.Ratio.Tested || r.Since.Before(*before.Since) || len(r.Audit) != 2 {
		t.Errorf("%+v, %+v: the shares have changed, and no day is wholly under those of now", r, r.Ratio)
	}
	if _, err := f.app.StopAB(t.Context(), f.ab(changed...)); err != nil {
		t.Fatal(err)
	}
	over, err := f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged()})
	if err != nil {
		t.Fatal(err)
	}
	a := over.Arms
	if over.Running || len(a) != 2 || a[0].Name != "control" || a[0].Model != "flats@1" || a[1].Name != "new" || a[1].Model != "flats@2" || a[1].Share != 0.5 ||
		a[1].Predictions != before.Arms[1].Predictions || over.Comparisons[0].P != before.Comparisons[0].P {
		t.Errorf("%+v: want the experiment as it was", over)
	}
	_, err = f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: judged(), Experiment: "other"})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != Nothing {
		t.Errorf("%v: there was no such experiment", err)
	}
}

// TestABOfEquals has the same model in both arms: nobody says that one is better, at however many looks.
func TestABOfEquals(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if err := f.broker.CreateTopic("rents", 3, nil); err != nil {
		t.Fatal(err)
	}
	w := f.start(t, "one")
	f.settled(t, w)
	set := judged("ab.arms.new.model=flats@1", "ab.margin=5%", "ab.units=200", "ab.min_units=90")
	if _, err := f.app.StartAB(t.Context(), f.ab(set...)); err != nil {
		t.Fatal(err)
	}
	const each = 200 // so few that no partition has too many dead letters
	state := filepath.Join(t.TempDir(), "outcomes")
	for look, want := range []trial.Action{trial.Wait, trial.Stop} {
		f.produce(t, look*each, each)
		until(t, "all results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == (look+1)*each })
		f.label(t, look*each, each)
		if _, err := f.app.Outcomes(t.Context(), OutcomesOptions{File: f.file, Set: set, InstanceID: "outcomes", CreateTopics: true, StateDir: state, Once: true}); err != nil {
			t.Fatal(err)
		}
		r, err := f.app.ABStatus(t.Context(), ABStatusOptions{File: f.file, Set: set})
		if err != nil {
			t.Fatal(err)
		}
		if r.Advice.Action != want || r.Comparisons[0].P != 1 || r.Comparisons[0].Difference.Value != 0 {
			t.Errorf("look %d: %+v, %+v", look, r.Advice, r.Comparisons[0])
		}
	}
}

// TestABPlan plans by flags, and by what outcomes have said.
func TestABPlan(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if err := f.broker.CreateTopic("rents", 3, nil); err != nil {
		t.Fatal(err)
	}
	o := ABPlanOptions{File: f.file, Set: judged(), Effect: 0.02, Power: 0.8}
	_, err := f.app.ABPlan(t.Context(), o)
	if code, hint := Explain(err); code != Usage || !strings.Contains(hint, "--mean") {
		t.Errorf("%v, hint %q: nothing is known", err, hint)
	}
	number := func(x float64) *float64 { return &x }
	o.Mean, o.Deviation, o.Rate = number(100), number(150), number(500)
	p, err := f.app.ABPlan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want, err := experiment.Design{Deviation: 150, Effect: 100 * (1 - 0.98*0.98), Weights: [2]float64{60, 40}, Alpha: 0.05, Power: 0.8, Comparisons: 2}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if p.Units != want.Control+want.Treatment || p.Comparisons != 2 || math.Abs(p.Days-float64(p.Units)/500-1.0/24) > 0.01 || p.Known["mean"] != "the command line" || len(p.Table) != 7 {
		t.Errorf("%+v, want %+v", p, want)
	}
	w := f.start(t, "one")
	f.settled(t, w)
	f.produce(t, 0, 200)
	until(t, "all results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == 200 })
	f.label(t, 0, 200)
	f.joined(t, judged()...)
	o.Mean, o.Deviation, o.Rate = nil, nil, nil
	p, err = f.app.ABPlan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if p.PerDay != 160 || !(p.Mean > 0 && p.Deviation > 0) || math.Abs(p.LabelShare-140.0/160) > 1e-9 || !strings.Contains(p.Known["mean"], "outside of an experiment") || p.Correlation != 0 {
		t.Errorf("%+v: want what the 160 predictions say", p)
	}
}

// TestReadCohorts: what is no cohort is counted, and one of a later version ends it for as long as it is the last of its key.
func TestReadCohorts(t *testing.T) {
	t.Parallel()
	c := outcome.Cohort{Version: 1, Group: outcome.Group{Topic: "out", Day: "2026-11-29"}, Delays: make([]int64, len(outcome.DelayBounds())+1)}
	good, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, newer := []byte(c.Key()), []byte(`{"version":99}`)
	for name, test := range map[string]struct {
		records          []record.Raw
		cohorts, strange int
		refused          bool
	}{
		"one":                    {records: []record.Raw{{Key: key, Value: good}, {Key: key, Value: good}}, cohorts: 1},
		"taken back":             {records: []record.Raw{{Key: key, Value: good}, {Key: key}}},
		"under another key":      {records: []record.Raw{{Key: []byte("x"), Value: good}}, strange: 1},
		"rubbish":                {records: []record.Raw{{Key: key, Value: []byte("[")}, {Value: good}}, strange: 2},
		"later":                  {records: []record.Raw{{Key: key, Value: newer}}, refused: true},
		"later, without a key":   {records: []record.Raw{{Key: key, Value: good}, {Value: newer}}, cohorts: 1, strange: 1},
		"later, and taken back":  {records: []record.Raw{{Key: []byte("x"), Value: newer}, {Key: []byte("x")}, {Key: key, Value: good}}, cohorts: 1},
		"later, and overwritten": {records: []record.Raw{{Key: key, Value: newer}, {Key: key, Value: good}}, cohorts: 1},
	} {
		tap := func(_ context.Context, _ string, read func(*record.Raw)) error {
			for i := range test.records {
				read(&test.records[i])
			}
			return nil
		}
		all, strange, err := readCohorts(t.Context(), tap, "cohorts", func(*outcome.Cohort) bool { return true })
		if test.refused != isCode(err, Usage) || !test.refused && err != nil || len(all) != test.cohorts || strange != int64(test.strange) {
			t.Errorf("%s: %d cohorts, %d strange, %v", name, len(all), strange, err)
		}
	}
}
