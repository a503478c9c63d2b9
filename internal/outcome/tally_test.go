package outcome

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/internal/experiment"
)

func metrics(t *testing.T, names ...string) (list []experiment.Metric) {
	t.Helper()
	for _, name := range names {
		m, err := experiment.ParseMetric(name)
		check(t, err)
		list = append(list, m)
	}
	return list
}

func newTestTally(t *testing.T, rows Rows, names ...string) *Tally {
	t.Helper()
	return NewTally(rows, TallyOptions{
		Pipeline: "houses", Partition: 3, Metrics: metrics(t, names...), Remember: 10 * 24 * time.Hour, Join: Options{Horizon: 24 * time.Hour, Grace: time.Hour},
	})
}

// TestTallyAgainstWhatItAddsUp has units with many records on many days, in random order, with restarts between.
func TestTallyAgainstWhatItAddsUp(t *testing.T) {
	t.Parallel()
	const day = 86_400_000
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		rows := memory{}
		tally := newTestTally(t, rows, "squared_error", "absolute_error")
		type sums struct{ y, x, d float64 }
		units := map[string]*sums{}
		var events []Event
		for i := range 300 {
			p := Prediction{
				Topic: "p", Source: strconv.Itoa(i), Model: "m@1", Experiment: "x", Arm: strconv.Itoa(rng.IntN(2)), At: rng.Int64N(5 * day), Value: float64(rng.IntN(100)),
				Baseline: math.NaN(), Unit: strconv.Itoa(rng.IntN(40)), HasUnit: true,
			}
			if p.Arm == "1" {
				p.Baseline = float64(rng.IntN(100))
				p.Model = fmt.Sprintf("m@%d", 1+rng.IntN(2))
			}
			events = append(events, Event{Kind: Seen, Prediction: p})
			if rng.IntN(4) > 0 {
				events = append(events, Event{Kind: Labelled, Prediction: p, Label: float64(rng.IntN(100)), LabelledAt: p.At + rng.Int64N(day)})
			} else {
				events = append(events, Event{Kind: Overdue, Prediction: p})
			}
		}
		var flushed map[string]*Cohort
		flush := func() {
			check(t, tally.Flush(func(key string, c *Cohort) error {
				b, err := c.Append(nil)
				check(t, err)
				read, err := DecodeCohort(b)
				check(t, err)
				flushed[key] = read
				return nil
			}))
		}
		flushed = map[string]*Cohort{}
		for i := range events {
			e := &events[i]
			check(t, tally.Add(e))
			u := units[e.Prediction.Arm+e.Prediction.Unit]
			if u == nil {
				u = &sums{}
				units[e.Prediction.Arm+e.Prediction.Unit] = u
			}
			if e.Kind == Labelled {
				b := e.Prediction.Baseline
				if math.IsNaN(b) {
					b = e.Prediction.Value
				}
				y, x := e.Prediction.Value-e.Label, b-e.Label
				*u = sums{u.y + float64(y*y), u.x + float64(x*x), u.d + 1}
			}
			if rng.IntN(20) == 0 {
				flush()
				if rng.IntN(2) == 0 { // a restart
					tally = newTestTally(t, rows, "squared_error", "absolute_error")
					check(t, tally.Load())
				}
			}
		}
		flush()
		var want experiment.Cross
		for _, u := range units {
			if u.d > 0 {
				check(t, want.Add(u.y, u.x, u.d))
			}
		}
		var got Cohort
		days := map[string]bool{}
		for key, c := range flushed {
			if key != c.Key() || c.Partition != 3 {
				t.Errorf("the cohort %s of partition %d has the key %s", c.Key(), c.Partition, key)
			}
			got.Merge(c)
			days[c.Day] = true
		}
		if *got.Metrics["squared_error"] != want || got.Units != int64(len(units)) || got.Records != 300 || got.Resolved+got.Expired != 300 || len(days) != 5 {
			t.Errorf("seed %d: %+v, %+v, want %+v of %d units", seed, got, got.Metrics["squared_error"], want, len(units))
		}
	}
}

func TestUnitsAreForgotten(t *testing.T) {
	t.Parallel()
	rows := memory{}
	tally := newTestTally(t, rows, "squared_error")
	const day = int64(86_400_000)
	at := func(d int64, unit string) *Event {
		return &Event{Kind: Seen, Prediction: Prediction{Topic: "p", Experiment: "x", At: d * day, Unit: unit, HasUnit: true, Baseline: math.NaN()}}
	}
	count := func() (n int) {
		for key := range rows {
			if key[0] == rowUnit {
				n++
			}
		}
		return n
	}
	for _, e := range []*Event{at(1, "a"), at(1, "b"), at(3, "a"), at(2, "a"), at(2, "c")} {
		check(t, tally.Add(e))
	}
	sweep := func(now int64, want int) {
		t.Helper()
		for more := true; more; {
			var err error
			more, err = tally.Sweep(now, 1)
			check(t, err)
		}
		if got := count(); got != want {
			t.Errorf("%d units are left on day %g, want %d", got, float64(now)/float64(day), want)
		}
	}
	// A unit is kept for a day, an hour and ten days after the end of its last day.
	sweep(13*day, 3)
	sweep(13*day+3_600_000, 2)
	sweep(14*day+3_600_000, 1)
	check(t, tally.Add(at(1, "late")))
	sweep(14*day+3_600_000, 1)
	sweep(15*day+3_600_000, 0)
	for key := range rows {
		t.Errorf("the row %q is left", key)
	}
	check(t, tally.Add(at(20, "a")))
	check(t, tally.Flush(func(string, *Cohort) error { return nil }))
	if got := tally.cohorts["p/x///1970-01-21/3"]; got == nil || got.Units != 1 {
		t.Errorf("a unit that comes again is %+v", got)
	}
}

func TestLargeLossesOfAUnit(t *testing.T) {
	t.Parallel()
	tally := newTestTally(t, memory{}, "squared_error")
	var c *Cohort
	add := func(value float64) {
		e := Event{Kind: Labelled, Prediction: Prediction{Topic: "p", Experiment: "x", Unit: "a", HasUnit: true, Value: value, Baseline: math.NaN()}}
		e.Kind = Seen
		check(t, tally.Add(&e))
		e.Kind = Labelled
		check(t, tally.Add(&e))
		check(t, tally.Flush(func(_ string, x *Cohort) error {
			c = x
			return nil
		}))
		b, err := c.Append(nil)
		check(t, err)
		_, err = DecodeCohort(b)
		check(t, err)
	}
	add(3)
	add(0.9e35) // most of what fits
	add(0.9e35) // which is too much for the unit
	add(1)
	if x := c.Metrics["squared_error"]; x.D.Float64() != 3 || c.Excluded["squared_error"] != 1 || x.Units != 1 {
		t.Errorf("%+v, %v excluded", x, c.Excluded)
	}
}

func TestDelayBuckets(t *testing.T) {
	t.Parallel()
	bounds := DelayBounds()
	if !slices.IsSorted(bounds) {
		t.Errorf("bounds %v", bounds)
	}
	for ms, want := range map[int64]int{-5: 0, 0: 0, 60_000: 0, 60_001: 1, bounds[len(bounds)-1]: len(bounds) - 1, math.MaxInt64: len(bounds)} {
		if got := delay(ms); got != want {
			t.Errorf("%d ms are in bucket %d, want %d", ms, got, want)
		}
	}
}

func TestOutcomeText(t *testing.T) {
	t.Parallel()
	label, at, baseline := 3.5, int64(9), 1.25
	o := &Outcome{
		Version: 1, Pipeline: "houses", Status: Resolved, Topic: "p", Source: "housing/0/1", Model: "houses@1", Experiment: "x", Arm: "new", PredictedAt: 4,
		Prediction: 1e300, Baseline: &baseline, Label: &label, LabelledAt: &at,
	}
	b, err := o.Append(nil, "the id", "a\"<b")
	check(t, err)
	if !strings.HasSuffix(string(b), `,"labelled_at":9,"the id":"a\"\u003cb"}`) {
		t.Errorf("text %s", b)
	}
	got, err := DecodeOutcome(b)
	check(t, err)
	if d := gocmp.Diff(o, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if b, err := o.Append(nil, "label", "x"); err != nil || strings.Contains(string(b), `"x"}`) {
		t.Errorf("the join field replaces one of its own: %s, %v", b, err)
	}
	for field := range map[string]bool{"version": true, "labelled_at": true, "unpaired": true} {
		if !Reserved(field) {
			t.Errorf("%s is not reserved", field)
		}
	}
	good := `{"version":1,"pipeline":"h","status":"expired","topic":"p","source":"s/0/1","predicted_at":1,"prediction":2,"more":[1]}`
	if _, err := DecodeOutcome([]byte(good)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		``, `null`, `[]`, `{}`, `{"version":2}`, `{"version":"1"}`, good + good, strings.Replace(good, "expired", "lost", 1), strings.Replace(good, `"p"`, `""`, 1),
		strings.Replace(good, "expired", "resolved", 1), strings.Replace(good, `"more":[1]`, `"label":1`, 1), strings.Replace(good, `"predicted_at":1`, `"predicted_at":-1`, 1),
		strings.Replace(good, `"prediction":2`, `"prediction":1e999`, 1), strings.Replace(good, `"more":[1]`, `"unpaired":true,"baseline":1`, 1),
		strings.Replace(good, `"h"`, `"`+strings.Repeat("h", 600)+`"`, 1), strings.Repeat(" ", MaxBytes) + good,
	} {
		if o, err := DecodeOutcome([]byte(bad)); err == nil {
			t.Errorf("%.100s is %+v", bad, o)
		}
	}
}

// TestLargestCohort: a tally can read again whatever it has written, also where the pipeline file has had other metrics before.
func TestLargestCohort(t *testing.T) {
	t.Parallel()
	rows, name := memory{}, strings.Repeat("\x01", maxName)
	p := Prediction{Topic: name, Model: name, Experiment: name, Arm: name, Baseline: math.NaN()}
	const files = 3
	for file := range files {
		var names []string
		for i := range MaxMetrics {
			names = append(names, fmt.Sprintf("pinball_%.15f", (float64(i)+float64(file)/7+1.0/3)/(MaxMetrics+1)))
		}
		tally := NewTally(rows, TallyOptions{Pipeline: name, Metrics: metrics(t, names...), Curve: true})
		check(t, tally.Load())
		for i := range 3000 { // in all bins of the curve
			p.Source, p.Value = strconv.Itoa(i), 1/(1+math.Exp((float64(i)-1500)/90))
			check(t, tally.Add(&Event{Kind: Seen, Prediction: p}))
			check(t, tally.Add(&Event{Kind: Labelled, Prediction: p, Label: float64(i % 2)}))
		}
		check(t, tally.Flush(func(string, *Cohort) error { return nil }))
	}
	again := NewTally(rows, TallyOptions{})
	check(t, again.Load())
	again.Cohorts(func(c *Cohort) {
		if c.Resolved != files*3000 || len(c.Metrics) != files*MaxMetrics {
			t.Errorf("%d resolved, %d metrics", c.Resolved, len(c.Metrics))
		}
	})
}

func TestBadCohorts(t *testing.T) {
	t.Parallel()
	good := `{"version":1,"pipeline":"h","topic":"p","experiment":"x/y","arm":"a b","model":"m@1","day":"2026-11-29","partition":2,"records":3,"resolved":1,"expired":1,` +
		`"unpaired":0,"forced":0,"units":2,"delays":[1,0,0,0,0,0,0,0,0,0,0,0],"metrics":{"squared_error":{"units":1,"y":4,"x":4,"d":1,"yy":16,"xx":16,"dd":1,"yx":16,"yd":4,"xd":4}},"excluded":{}}`
	c, err := DecodeCohort([]byte(good))
	check(t, err)
	if key := c.Key(); key != "p/x%2Fy/a%20b/m@1/2026-11-29/2" {
		t.Errorf("key %s", key)
	}
	replace := func(old, by string) string { return strings.Replace(good, old, by, 1) }
	for _, bad := range []string{
		``, `{}`, `[1]`, replace(`"version":1`, `"version":9`), replace("2026-11-29", "2026-13-29"), replace(`"partition":2`, `"partition":-1`), replace(`"records":3`, `"records":1`),
		replace(`"records":3`, `"records":-3`), replace(`[1,0,`, `[2,0,`), replace(`[1,0,`, `[0,`), replace(`[1,0,`, `[-1,2,`), replace(`"units":2`, `"units":0`), replace(`"yy":16`, `"yy":1`),
		replace(`"unpaired":0`, `"unpaired":2`), replace(`{"squared_error":{`, `{"x":null,"squared_error":{`), replace(`"excluded":{}`, `"excluded":{"x":-1}`),
		replace(`"records":3`, `"records":9223372036854775807`), replace(`"topic":"p"`, `"topic":""`),
	} {
		if c, err := DecodeCohort([]byte(bad)); err == nil {
			t.Errorf("%.200s is %+v", bad, c)
		}
	}
}

func FuzzDecodeCohort(f *testing.F) {
	f.Add([]byte(`{"version":1,"topic":"p","day":"2026-11-29","records":1,"resolved":1,"units":1,"delays":[1,0,0,0,0,0,0,0,0,0,0,0],"metrics":{"a":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCohort(b)
		if err != nil {
			return
		}
		var sum Cohort
		sum.Merge(c)
		text, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeCohort(text); err != nil {
			t.Errorf("%s was read, and written as %s: %v", b, text, err)
		}
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	f.Add([]byte(`{"version":1,"status":"expired","topic":"p","source":"s/0/1"}`))
	f.Add([]byte(`{"version":1,"status":"resolved","topic":"p","source":"s/0/1","label":1,"labelled_at":5,"baseline":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOutcome(b)
		if err != nil {
			return
		}
		text, err := o.Append(nil, "id", "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeOutcome(text); err != nil {
			t.Errorf("%s was read, and written as %s: %v", b, text, err)
		}
	})
}
