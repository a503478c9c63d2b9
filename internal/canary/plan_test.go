package canary

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/experiment"
)

func at(x float64) *float64 { return &x }

// usual are the limits of a pipeline file that says nothing else.
func usual() Limits {
	return Limits{Errors: at(0.005), Latency: at(2), Drift: at(0.1), Loss: at(0.02), Change: 0.5, Squared: true, Alpha: 0.05}
}

func readings(t *testing.T, l *Limits, e *Evidence) []Reading {
	t.Helper()
	all, err := l.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// world makes records of a candidate.
type world struct {
	*rand.Rand

	broken, changed, slower, worse float64 // shares; factors of the time and of the mean squared error
}

// sees adds n records, a tenth as many batches, and as many labels.
func (w *world) sees(t *testing.T, e *Evidence, n int) {
	t.Helper()
	for i := range n {
		e.Records++
		e.Compared++
		if w.Float64() < w.broken {
			e.Refused, e.Broken = e.Refused+1, e.Broken+1
		}
		if w.Float64() < w.changed {
			e.Changed++
		}
		// Errors of prices have heavy tails, and those of two models on a record are alike. The mean of exp(s N) is exp(s²/2).
		base := math.Exp(0.8*w.NormFloat64()) * w.NormFloat64()
		own := base*math.Sqrt(w.worse-0.02) + math.Sqrt(0.02*math.Exp(2*0.8*0.8))*w.NormFloat64()
		if err := e.Losses.Add(own*own, base*base, 1); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 { // half of the batches take longer than the median, whatever else
			slot := 0
			if w.slower*math.Exp(0.3*w.NormFloat64()) >= 2 {
				slot = 1
			}
			if e.Ratios == nil {
				e.Ratios = []experiment.Step{{Value: 1}, {Value: 2}}
			}
			e.Ratios[slot].Count++
		}
	}
}

// TestGuards has each guard see what it is there for, and no other one.
func TestGuards(t *testing.T) {
	t.Parallel()
	for guard, w := range map[string]*world{
		Errors: {broken: 1.0 / 70, slower: 1, worse: 1}, Drift: {changed: 0.2, slower: 1, worse: 1},
		Latency: {slower: 3, worse: 1}, Loss: {slower: 1, worse: 1.05 * 1.05},
	} {
		w.Rand = rand.New(rand.NewPCG(3, 4))
		limits, e := usual(), &Evidence{}
		for looks := 0; ; looks++ {
			w.sees(t, e, 100)
			var alarms []string
			for _, r := range readings(t, &limits, e) {
				if r.Alarm {
					alarms = append(alarms, r.Guard)
				}
			}
			if text := strings.Join(alarms, " "); text == guard {
				t.Logf("%s: after %d records", guard, e.Records)
				break
			} else if text != "" || looks == 500 {
				t.Fatalf("%s: alarms %q after %d records", guard, text, e.Records)
			}
		}
	}
}

// TestFalseAlarms lets candidates in that are at the edge of all tolerances: with 60 looks, at most the declared share is taken back.
func TestFalseAlarms(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("many simulations")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	limits := usual()
	const runs, looks = 400, 60
	alarms := map[string]int{}
	for i := range runs {
		w := &world{Rand: rand.New(rand.NewPCG(seed, uint64(i))), broken: 0.005, changed: 0.1, slower: 2, worse: 1.02 * 1.02}
		e := &Evidence{}
		for range looks {
			w.sees(t, e, 50)
			d, err := (&Plan{Steps: []float64{0.1, 1}, MinRecords: 1 << 40, Limits: limits}).Decide(Position{}, e, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if d.Guard != nil {
				alarms[d.Guard.Guard]++
				alarms["any"]++
				break
			}
		}
	}
	t.Logf("%d candidates at the edge of all tolerances: %v were taken back", runs, alarms)
	// 5 % of 400 are 20; more than 35 have a probability below 0.001 then.
	if alarms["any"] > 35 {
		t.Errorf("%d of %d were taken back, 5 %% are allowed", alarms["any"], runs)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	p := &Plan{Steps: []float64{0.01, 0.1, 1}, Hold: time.Minute, Timeout: time.Hour, MinRecords: 100, MinOutcomes: 10, Limits: usual()}
	begin := time.Unix(1000, 0)
	labelled := &Evidence{Records: 500}
	for range 10 {
		if err := labelled.Losses.Add(1, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	broken := &Evidence{Records: 1000, Refused: 100, Broken: 100}
	for name, tc := range map[string]struct {
		at    Position
		e     *Evidence
		after time.Duration
		want  Action
		why   string
	}{
		"too few records":      {Position{}, &Evidence{Records: 99}, time.Hour, Wait, "99 of 100 records"},
		"of the step":          {Position{Records: 450}, &Evidence{Records: 500}, time.Hour, Wait, "50 of 100 records"},
		"too soon":             {Position{}, &Evidence{Records: 100}, 59 * time.Second, Wait, "another 1s"},
		"the next":             {Position{}, &Evidence{Records: 100}, time.Minute, Advance, ""},
		"no labels":            {Position{Step: 1}, &Evidence{Records: 500}, time.Hour, Wait, "0 of 10 keys with labels"},
		"all":                  {Position{Step: 1}, labelled, time.Hour, Finish, ""},
		"nothing comes":        {Position{}, &Evidence{}, time.Hour + time.Minute, RollBack, "too little was seen in 1h1m0s at 1 %: 0 of 100 records"},
		"an alarm":             {Position{}, broken, 0, RollBack, "errors: 10 % of 1000 records refused that the control predicts, at least "},
		"an alarm at any time": {Position{Step: 1}, broken, time.Hour, RollBack, "errors: "},
	} {
		tc.at.Since = begin
		d, err := p.Decide(tc.at, tc.e, begin.Add(tc.after))
		if err != nil || d.Action != tc.want || !strings.HasPrefix(d.Why, tc.why) || (d.Guard != nil) != (tc.e == broken) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	p.Timeout = 0
	if d, err := p.Decide(Position{Since: begin}, &Evidence{}, begin.Add(1e6*time.Hour)); err != nil || d.Action != Wait {
		t.Errorf("%+v, %v", d, err)
	}
	for share, want := range map[float64]int{0: 0, 0.01: 1, 0.05: 1, 0.1: 2, 1: 2} {
		if n := p.Next(share); n != want {
			t.Errorf("after %v comes %d", share, n)
		}
	}
}

// TestNoGuards looks at nothing, and says so.
func TestNoGuards(t *testing.T) {
	t.Parallel()
	if r := readings(t, &Limits{Alpha: 0.05}, &Evidence{Records: 10, Broken: 10}); r != nil {
		t.Error(r)
	}
	zero := usual()
	zero.Errors = at(0)
	for _, r := range readings(t, &zero, &Evidence{Records: 1000, Refused: 1, Broken: 1}) {
		if r.Alarm != (r.Guard == Errors) { // nothing is tolerated
			t.Errorf("%+v", r)
		}
	}
	for _, r := range readings(t, &zero, &Evidence{}) {
		if r.Alarm || r.Words == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	for _, tc := range []struct {
		a, b float64
		want bool
	}{
		{100, 100, false}, {100, 150, false}, {100, 201, true}, {201, 100, true}, {0, 0, false}, {0, 1e-300, true}, {-1, 1, true},
		{math.MaxFloat64, -math.MaxFloat64, true}, {math.MaxFloat64, math.MaxFloat64, false}, {inf, 1, true}, {inf, inf, false}, {-100, -120, false},
	} {
		if got := Differs(tc.a, tc.b, 0.5); got != tc.want {
			t.Errorf("%v and %v: %v", tc.a, tc.b, got)
		}
	}
}
