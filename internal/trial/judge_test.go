package trial

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/rollout"
)

// world makes cohorts of an experiment up. What is not set is that of an experiment in which all is well.
type world struct {
	days    int       // 10
	perDay  int       // keys: 1000
	shares  []float64 // that the arms have: half each
	assign  []float64 // by which keys are assigned, if not by shares
	scale   []float64 // the error of each arm's model, beside the control's
	label   []float64 // the share of predictions that get a label: 0.9
	records int       // of a key: 1
	age     int       // how many days after the last one it is judged: 40

	judging  Judging
	settings []Setting
	by       rollout.By
}

const wait = 30 * 24 * time.Hour

func first() time.Time { return time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) }

func day(n int) string { return first().AddDate(0, 0, n).Format(time.DateOnly) }

// arms are named a, the control, b and c.
func (w *world) setup() *Setup {
	s := &Setup{
		Pipeline: "houses", Group: "houses", Topic: "predictions", Experiment: "sizes", Running: true, By: rollout.ByKey, Settings: w.settings,
		Metrics: []string{"squared_error", "absolute_error"}, Wait: wait, Judging: w.judging, Since: first(),
	}
	if w.by != "" {
		s.By = w.by
	}
	for i, share := range w.shares {
		s.Arms = append(s.Arms, Arm{Name: string(rune('a' + i)), Model: "houses@" + string(rune('1'+i)), Share: share})
	}
	return s
}

func (w *world) complete() {
	if w.days == 0 {
		w.days = 10
	}
	if w.perDay == 0 {
		w.perDay = 1000
	}
	if w.shares == nil {
		w.shares = []float64{0.5, 0.5}
	}
	if w.assign == nil {
		w.assign = w.shares
	}
	if w.scale == nil {
		w.scale = []float64{1, 1, 1}
	}
	if w.label == nil {
		w.label = []float64{0.9, 0.9, 0.9}
	}
	if w.records == 0 {
		w.records = 1
	}
	if w.age == 0 {
		w.age = 40
	}
	j := &w.judging
	if j.Test == "" {
		j.Test = experiment.Sequential
	}
	if j.Alpha == 0 {
		j.Alpha, j.Correction = 0.05, experiment.Holm
	}
	if j.MinUnits == 0 {
		j.MinUnits = 100
	}
	if j.Units == 0 {
		j.Units = 5000
	}
}

// cohorts makes up what happens to keys.
func (w *world) cohorts(t *testing.T, seed uint64) []*outcome.Cohort {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var all []*outcome.Cohort
	for d := range w.days {
		of := map[int]*outcome.Cohort{}
		for i := range w.shares {
			for p := range 2 {
				c := &outcome.Cohort{
					Version: 1, Pipeline: "houses", Partition: int32(p), Delays: make([]int64, len(outcome.DelayBounds())+1), Metrics: map[string]*experiment.Cross{},
					Group: outcome.Group{Topic: "predictions", Experiment: "sizes", Arm: string(rune('a' + i)), Model: "houses@" + string(rune('1'+i)), Day: day(d)},
				}
				for _, m := range []string{"squared_error", "absolute_error"} {
					c.Metrics[m] = &experiment.Cross{}
				}
				of[2*i+p], all = c, append(all, c)
			}
		}
		for k := range w.perDay {
			i, u := 0, r.Float64()
			for u -= w.assign[0]; u >= 0 && i+1 < len(w.assign); u -= w.assign[i] {
				i++
			}
			w.key(t, r, of[2*i+k%2], i, d)
		}
	}
	return all
}

// key makes up the predictions of a key.
func (w *world) key(t *testing.T, r *rand.Rand, c *outcome.Cohort, arm, d int) {
	c.Units++
	var y, x [2]float64
	n := 0.0
	for range w.records {
		c.Records++
		base := 100 * r.NormFloat64()
		own := base
		if arm > 0 {
			own = w.scale[arm] * (0.95*base + math.Sqrt(1-0.95*0.95)*100*r.NormFloat64())
		}
		if r.Float64() >= w.label[arm] {
			if d+30 < w.days+w.age-1 {
				c.Expired++
			}
			continue
		}
		c.Resolved++
		c.Delays[r.IntN(8)]++
		n++
		y[0], x[0] = y[0]+own*own, x[0]+base*base
		y[1], x[1] = y[1]+math.Abs(own), x[1]+math.Abs(base)
	}
	if n == 0 {
		return
	}
	for m, name := range []string{"squared_error", "absolute_error"} {
		if err := c.Metrics[name].Add(y[m], x[m], n); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) judge(t *testing.T, seed uint64, change func(*Setup, *Seen)) *Report {
	t.Helper()
	w.complete()
	s, seen := w.setup(), &Seen{Cohorts: w.cohorts(t, seed)}
	if change != nil {
		change(s, seen)
	}
	r, err := Judge(s, seen, first().AddDate(0, 0, w.days+w.age))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(r); err != nil || len(text) == 0 {
		t.Fatalf("%v: it cannot be written", err)
	}
	return r
}

// TestRefused counts for an arm what the control has predicted in its place.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := (&world{}).judge(t, 1, instead)
	whole := (&world{}).judge(t, 1, nil)
	if n := r.Arms[1].Instead; n == 0 || r.Arms[1].Units != whole.Arms[1].Units || r.Arms[1].Predictions != whole.Arms[1].Predictions || r.LeftOut.OtherModels != 0 {
		t.Errorf("%+v, want what is %+v without refusals", r.Arms[1], whole.Arms[1])
	}
}

func kinds(r *Report) []string {
	out := []string{}
	for _, w := range r.Warnings {
		out = append(out, w.Kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestJudge holds what is said of made-up experiments to what was made up.
func TestJudge(t *testing.T) {
	t.Parallel()
	noon := func(n int) time.Time { return first().AddDate(0, 0, n).Add(12 * time.Hour) }
	for name, c := range map[string]struct {
		world    world
		change   func(*Setup, *Seen)
		action   Action
		words    string // of the advice
		verdict  experiment.Verdict
		warnings []string
	}{
		"a better arm":                    {world: world{scale: []float64{1, 0.9}}, action: Promote, words: "stop for b: its RMSE is ", verdict: experiment.Better},
		"a worse arm":                     {world: world{scale: []float64{1, 1.1}}, action: Stop, words: "stop, and go on with a: the RMSE of b is ", verdict: experiment.Worse},
		"no difference":                   {world: world{}, action: Wait, words: "wait: the RMSE of b may be from -", verdict: experiment.NotYet},
		"no difference, margin":           {world: world{judging: Judging{Margin: 0.05}}, action: Stop, words: "there is no difference larger than 5.0%", verdict: experiment.NoDifference},
		"a little better, 1M":             {world: world{days: 20, perDay: 50_000, scale: []float64{1, 0.997}}, action: Promote, words: "stop for b: its RMSE is 0.", verdict: experiment.Better},
		"best of three":                   {world: world{shares: []float64{0.4, 0.3, 0.3}, scale: []float64{1, 0.95, 0.85}}, action: Promote, words: "stop for c: "},
		"one of three is worse":           {world: world{shares: []float64{0.4, 0.3, 0.3}, scale: []float64{1, 1, 1.2}}, action: Remove, words: "take out c: "},
		"few keys":                        {world: world{perDay: 10}, action: Wait, words: "too few keys", verdict: experiment.NotYet, warnings: []string{"too_few"}},
		"a broken ratio":                  {world: world{scale: []float64{1, 0.9}, assign: []float64{0.55, 0.45}}, action: Distrust, words: "keys contradict", warnings: []string{"sample_ratio"}},
		"unequal arrivals":                {world: world{label: []float64{0.95, 0.9}}, action: Distrust, words: "do not arrive alike", warnings: []string{"arrivals"}},
		"unequal, none missing":           {world: world{label: []float64{1, 0.98}}, action: Distrust, words: "do not arrive alike", warnings: []string{"arrivals"}},
		"unequal before mature":           {world: world{label: []float64{0.6, 0.4}, age: 1}, action: Distrust, words: "do not arrive alike", warnings: []string{"arrivals", "immature"}},
		"not mature":                      {world: world{age: 1}, action: Wait, verdict: experiment.NotYet, warnings: []string{"immature"}},
		"outcomes are behind":             {world: world{}, change: late, action: Wait, warnings: []string{"overdue"}},
		"three days":                      {world: world{days: 3}, action: Wait, warnings: []string{"short"}},
		"fixed, before its time":          {world: world{scale: []float64{1, 0.9}, judging: Judging{Test: experiment.Fixed, Units: 20_000}}, action: Wait, words: "the one look is at 20,000 keys", verdict: experiment.NotYet, warnings: []string{"peeking"}},
		"fixed, at its time":              {world: world{scale: []float64{1, 0.9}, judging: Judging{Test: experiment.Fixed}}, action: Promote, verdict: experiment.Better},
		"fixed, nothing found":            {world: world{judging: Judging{Test: experiment.Fixed}}, action: Stop, words: "no difference was shown at the planned size", verdict: experiment.NotYet},
		"no outcomes":                     {world: world{}, change: func(s *Setup, seen *Seen) { s.Metrics, seen.Cohorts = nil, nil }, action: Wait, words: "without losses"},
		"no losses":                       {world: world{}, change: func(s *Setup, _ *Seen) { s.Metrics = nil }, action: Wait, words: "without losses"},
		"nothing yet":                     {world: world{}, change: func(_ *Setup, seen *Seen) { seen.Cohorts = nil }, action: Wait, words: "too few", verdict: experiment.NotYet, warnings: []string{"too_few"}},
		"over, decided":                   {world: world{scale: []float64{1, 0.9}}, change: func(s *Setup, _ *Seen) { s.Running = false }, action: Promote, words: "it is over: stop for b"},
		"over, not decided":               {world: world{}, change: func(s *Setup, _ *Seen) { s.Running = false }, action: Wait, words: "it is over, and has decided nothing"},
		"another model before":            {world: world{}, change: otherModel, action: Wait, warnings: []string{"other_models"}},
		"other arms":                      {world: world{}, change: otherArm, action: Wait, warnings: []string{"other_arms"}},
		"better and worse":                {world: world{}, change: torn, action: Look, words: "decide: b is better by squared_error, and worse by absolute_error"},
		"changed shares":                  {world: world{settings: []Setting{{noon(-1), []float64{0.9, 0.1}}, {noon(4), []float64{0.5, 0.5}}}}, action: Wait, warnings: []string{"weights"}},
		"other records":                   {world: world{}, change: otherRecords, action: Distrust, words: "the records of the arms are not alike", warnings: []string{"baselines"}},
		"a refusing arm":                  {world: world{}, change: refusing, action: Wait, warnings: []string{"refused"}},
		"refused, by the control":         {world: world{}, change: instead, action: Wait},
		"refused, of keys that come back": {world: world{records: 8}, change: instead, action: Wait},
		"left out": {
			world: world{}, action: Wait, warnings: []string{"excluded", "strange", "unpaired"},
			change: func(_ *Setup, seen *Seen) {
				seen.Strange, seen.Cohorts[0].Unpaired, seen.Cohorts[0].Forced, seen.Cohorts[0].Excluded = 3, 2, 5, map[string]int64{"squared_error": 1}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const seed = 11
			r := c.world.judge(t, seed, c.change)
			if r.Advice.Action != c.action || !strings.Contains(r.Advice.Words, c.words) {
				t.Errorf("seed %d: %+v, want %s with %q", seed, r.Advice, c.action, c.words)
			}
			if c.verdict != "" && r.Comparisons[0].Verdict != c.verdict {
				t.Errorf("seed %d: %+v, want %s", seed, r.Comparisons[0], c.verdict)
			}
			if got := kinds(r); !slices.Equal(got, append([]string{}, c.warnings...)) {
				t.Errorf("seed %d: warnings %v, want %v: %+v", seed, got, c.warnings, r.Warnings)
			}
		})
	}
}

// late has predictions wait although their time is over.
func late(_ *Setup, seen *Seen) {
	for _, c := range seen.Cohorts {
		c.Expired /= 2
	}
	for i, c := range seen.Cohorts { // as many in both arms
		c.Expired = seen.Cohorts[i%2].Expired
	}
}

func otherModel(_ *Setup, seen *Seen) {
	c := *seen.Cohorts[0]
	c.Model = "houses@9"
	seen.Cohorts = append(seen.Cohorts, &c)
}

// instead has the model of b refuse some records of each key, which the control predicts in its place. A key is counted once, where its first
// record is.
func instead(_ *Setup, seen *Seen) {
	for _, c := range seen.Cohorts {
		if c.Arm != "b" {
			continue
		}
		other := *c
		other.Model, other.Units, other.Metrics = "houses@1", c.Units/5, map[string]*experiment.Cross{}
		other.Records, other.Resolved, other.Expired = c.Units/5, c.Units/5, 0
		other.Delays = make([]int64, len(c.Delays))
		c.Units -= other.Units
		c.Records -= other.Records
		c.Resolved -= other.Resolved
		seen.Cohorts = append(seen.Cohorts, &other)
	}
}

func otherArm(_ *Setup, seen *Seen) {
	c := *seen.Cohorts[0]
	c.Arm = "z"
	seen.Cohorts = append(seen.Cohorts, &c)
	topic, name := *seen.Cohorts[0], *seen.Cohorts[0] // of nobody here
	topic.Topic, name.Experiment = "shadow", "before"
	seen.Cohorts = append(seen.Cohorts, &topic, &name)
}

// torn makes b better by one metric, and worse by the other.
func torn(_ *Setup, seen *Seen) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range seen.Cohorts {
		for name, x := range c.Metrics {
			factor := 1.0
			if c.Arm == "b" {
				factor = map[string]float64{"squared_error": 0.8, "absolute_error": 1.2}[name]
			}
			n := x.Units
			*x = experiment.Cross{}
			for range n {
				base := 1 + r.Float64()
				_ = x.Add(factor*base, base, 1) // they are numbers
			}
		}
	}
}

// otherRecords gives b records that the control's model finds harder too.
func otherRecords(_ *Setup, seen *Seen) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range seen.Cohorts {
		for _, x := range c.Metrics {
			n := x.Units
			*x = experiment.Cross{}
			for range n {
				base := 1 + r.Float64()
				if c.Arm == "b" {
					base++
				}
				_ = x.Add(base, base, 1) // they are numbers
			}
		}
	}
}

func refusing(s *Setup, seen *Seen) {
	status := func(arm int, refused int64, took float64) rollout.ArmStatus {
		a := rollout.ArmStatus{Experiment: "sizes", Arm: s.Arms[arm].Name, Model: s.Arms[arm].Model, Records: 10_000, Refused: refused}
		if arm > 0 {
			a.Seconds = &experiment.Cross{}
			for i := range 500 {
				wobble := float64(i%7) / 100
				_ = a.Seconds.Add(took+wobble, 1+float64(i%5)/100, 10) // they are numbers
			}
		}
		return a
	}
	other := status(1, 10_000, 9)
	other.Experiment = "before"
	seen.Statuses = []*rollout.Status{
		{Instance: "one", Arms: []rollout.ArmStatus{status(0, 100, 0), status(1, 150, 1.5), other}}, {Instance: "two", Arms: []rollout.ArmStatus{status(0, 100, 0), status(1, 250, 1.5)}},
	}
}

// TestFigures holds figures to direct computations from what was made up.
func TestFigures(t *testing.T) {
	t.Parallel()
	w := &world{scale: []float64{1, 0.9}, records: 3}
	var seen *Seen
	r := w.judge(t, 5, func(s *Setup, x *Seen) { seen = x; refusing(s, x) })
	var sums [2]experiment.Cross
	var units [2]int64
	for _, c := range seen.Cohorts {
		arm := int(c.Arm[0] - 'a')
		sums[arm].Merge(c.Metrics["squared_error"])
		units[arm] += c.Units
	}
	want, err := experiment.Compare(&sums[0], &sums[1], experiment.Options{Alpha: 0.05, Level: 0.025})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Comparisons[0]
	if !reflect.DeepEqual(got.Comparison, want) || got.RMSE == nil || *got.RMSE != experiment.RootRatio(want.Relative) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got.AdjustedP != min(1, max(2*want.P, r.Comparisons[1].P)) && got.AdjustedP != 2*want.P {
		t.Errorf("p %g, adjusted %g", want.P, got.AdjustedP)
	}
	if got.Saved < 0.5 {
		t.Errorf("the baseline saves %g of the variance, want most of it: the errors have a correlation of 0.95", got.Saved)
	}
	if r.Arms[0].Units != units[0] || r.Ratio.Counts[1] != units[1] || r.Ratio.Broken {
		t.Errorf("%+v, %+v, want %v keys", r.Arms, r.Ratio, units)
	}
	if x := r.Mature; x == nil || x.Days != 10 || r.Recent != nil || x.Size < 2.5 || x.Size > 3 {
		t.Errorf("arrivals %+v, %+v: want ten mature days, and counts divided by about 3", r.Mature, r.Recent)
	}
	if s := r.Scoring; len(s) != 1 || s[0].Batches != 1000 || math.Abs(s[0].Ratio.Value-0.4998) > 0.01 || !(s[0].Ratio.Low < s[0].Ratio.Value && s[0].Ratio.High < 0.6) {
		t.Errorf("scoring times %+v, want half as much again", s)
	}
	if n := len(r.History); n != 20 || r.History[n-1].Difference != r.Comparisons[1].Shown() || r.History[0].Day != day(0) {
		t.Errorf("%d points of history, want ten for each metric, the last of which is that of now", n)
	}
	if first, last := r.History[4], r.History[18]; last.Difference.High-last.Difference.Low >= first.Difference.High-first.Difference.Low {
		t.Errorf("the interval does not become narrower: %+v, %+v", first, last)
	}
}

// TestNoDifferenceIsFound judges A/A experiments each day: hardly any of them ever says that there is a difference, and none that
// it cannot be trusted.
func TestNoDifferenceIsFound(t *testing.T) {
	t.Parallel()
	const n = 60
	wrong, distrusted := 0, 0
	for seed := range uint64(n) {
		w := &world{days: 15, perDay: 200}
		r := w.judge(t, seed, nil)
		for day := range r.History {
			p := &r.History[day]
			if p.Metric == "squared_error" && p.Difference.Excludes(0) {
				wrong++
				break
			}
		}
		if r.Advice.Action == Distrust {
			distrusted++
		}
		if r.Advice.Action == Promote {
			t.Errorf("seed %d: %+v", seed, r.Advice)
		}
	}
	if wrong > 4 || distrusted > 1 {
		t.Errorf("%d of %d found a difference at some look, and %d were not trusted", wrong, n, distrusted)
	}
}

// TestRatioAfterChanges says which days the sample ratio is tested on.
func TestRatioAfterChanges(t *testing.T) {
	t.Parallel()
	at := first().AddDate(0, 0, 4).Add(12 * time.Hour)
	settings := []Setting{{first().AddDate(0, 0, -1), []float64{0.9, 0.1}}, {at, []float64{0.5, 0.5}}}
	assigned := func(_ *Setup, seen *Seen) { // as the shares were
		for _, c := range seen.Cohorts {
			if dayStart(c.Day).Before(at) {
				c.Units = map[string]int64{"a": 450, "b": 50}[c.Arm]
				c.Metrics = nil
			}
		}
	}
	r := (&world{settings: settings}).judge(t, 3, assigned)
	if x := r.Ratio; !x.Tested || x.Broken || !strings.Contains(x.Why, "of the 5 whole days since the shares have changed, 2026-03-06 12:00 UTC") {
		t.Errorf("%+v: want the days since the change", x)
	}
	if r.Mature.Days != 5 {
		t.Errorf("%d days of arrivals, want those since the change", r.Mature.Days)
	}
	r = (&world{settings: settings, records: 2}).judge(t, 3, assigned)
	if x := r.Ratio; !x.Tested || x.Broken || x.Counts[0] != 4*900 || !strings.Contains(x.Why, "of the 4 whole days before the first change") {
		t.Errorf("%+v: want the days before the change, as keys come back", x)
	}
	r = (&world{by: rollout.ByPartition, assign: []float64{0.9, 0.1}}).judge(t, 3, nil)
	if x := r.Ratio; x.Tested || x.Broken || !strings.Contains(x.Why, "partitions") {
		t.Errorf("%+v: partitions need not have equally many keys", x)
	}
	settings[1].At = first().AddDate(1, 0, 0)
	r = (&world{settings: settings}).judge(t, 3, nil)
	if x := r.Ratio; x.Tested || !strings.Contains(x.Why, "not tested: there is no key of the 0 whole days") {
		t.Errorf("%+v: want no day", x)
	}
}

func TestFewArms(t *testing.T) {
	t.Parallel()
	if _, err := Judge(&Setup{Arms: []Arm{{Name: "a"}}}, &Seen{}, first()); err == nil {
		t.Error("an experiment of one arm was judged")
	}
}

// TestAreas ranks records of two arms, one of which is right more often.
func TestAreas(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 2))
	noise := func(c *outcome.Cohort) float64 { return map[string]float64{"a": 0.9, "b": 0.4}[c.Arm] }
	rep := (&world{perDay: 400}).judge(t, 1, func(_ *Setup, seen *Seen) {
		for _, c := range seen.Cohorts {
			c.Curve = &experiment.Curve{}
			for i := range c.Resolved {
				label := float64(i % 2)
				if err := c.Curve.Add((1-noise(c))*(0.25+label/2)+noise(c)*r.Float64(), label); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	if len(rep.AUC) != 2 || rep.AUC[0].Area == nil || rep.AUC[1].Area == nil || rep.AUC[0].Control != nil || rep.AUC[1].Control == nil {
		t.Fatalf("%+v", rep.AUC)
	}
	a, b := rep.AUC[0], rep.AUC[1]
	if *b.Area < *a.Area || b.Control.Low <= 0 || b.Control.Value != *b.Area-*a.Area || a.Ones+a.Zeros != rep.Arms[0].Resolved {
		t.Errorf("%+v: want b to be better", rep.AUC)
	}
	none := (&world{}).judge(t, 1, func(_ *Setup, seen *Seen) { seen.Cohorts[0].Curve = &experiment.Curve{} })
	if len(none.AUC) != 1 || none.AUC[0].Area != nil {
		t.Errorf("%+v: there is no label", none.AUC)
	}
}
