package trial

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"millrace.dev/internal/experiment"
)

func planning() *Planning {
	return &Planning{
		Metric: "absolute_error", Arms: []Arm{{Name: "a", Share: 0.8}, {Name: "b", Share: 0.15}, {Name: "c", Share: 0.05}}, Comparisons: 4,
		Judging: Judging{Test: experiment.Sequential, Alpha: 0.05}, Effect: 0.05, Power: 0.8, Mean: 100, Deviation: 80, PerDay: 1000,
		Labels: Labels{Share: 0.5, Horizon: 10},
	}
}

// TestPlan holds a plan to the design that it is made of.
func TestPlan(t *testing.T) {
	t.Parallel()
	p := planning()
	got, err := p.Plan()
	if err != nil {
		t.Fatal(err)
	}
	want, err := experiment.Design{Deviation: 80, Effect: 5, Weights: [2]float64{0.8, 0.05}, Alpha: 0.05, Power: 0.8, Comparisons: 4}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	units := int64(math.Ceil(float64(want.Control+want.Treatment) / 0.85))
	if got.Arm != "c" || got.Control != want.Control || got.Units != units {
		t.Errorf("%+v, want %+v and %d keys in all arms", got, want, units)
	}
	if days := float64(units)/500 + 10; math.Abs(got.Days-days) > 1e-6 {
		t.Errorf("%g days, want %g: half of the keys have a label, after ten days at the latest", got.Days, days)
	}
	if got.Fixed >= got.Units || got.Ratio <= 1 {
		t.Errorf("one look takes %d keys, and looks at any time %d", got.Fixed, got.Units)
	}
	if n := len(got.Table); n != 6 || got.Table[0].Days != 14 || !slices.IsSortedFunc(got.Table, func(a, b Findable) int { return -int(math.Copysign(1, a.Effect-b.Effect)) }) {
		t.Errorf("%+v: want less to be found the longer it takes, from the time on when there are labels", got.Table)
	}
	// What is found at the planned size is what was planned for.
	p.PerDay = float64(got.Units)
	p.Labels = Labels{Share: 1, Horizon: 0}
	again, err := p.Plan()
	if err != nil || math.Abs(again.Days-1) > 1e-6 {
		t.Errorf("%+v, %v: want a day", again, err)
	}
}

// TestPlanLeast: nothing is judged from fewer keys than min_units, however much the baseline explains.
func TestPlanLeast(t *testing.T) {
	t.Parallel()
	p := planning()
	p.Correlation, p.MinUnits, p.Test = 1, 100, experiment.Fixed
	got, err := p.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if got.Treatment < 100 || got.Control < 1600 || got.Control > 1601 || got.Units < 2000 || got.Units > 2002 || got.Fixed != got.Units {
		t.Errorf("%d and %d keys of %d, %d for one look: want 100 in the smallest arm", got.Control, got.Treatment, got.Units, got.Fixed)
	}
}

// TestPlanOfRoots plans for a difference of the RMSE.
func TestPlanOfRoots(t *testing.T) {
	t.Parallel()
	p := planning()
	p.Metric = "squared_error"
	for _, effect := range []float64{0.01, 0.02, 0.3} {
		if got := p.relative(p.absolute(effect)); math.Abs(got-effect) > 1e-12 {
			t.Errorf("%g becomes %g", effect, got)
		}
	}
	if got, want := p.absolute(0.02), 100*(1-0.98*0.98); math.Abs(got-want) > 1e-9 {
		t.Errorf("2%% of the RMSE are %g of the squared error, want %g", got, want)
	}
	if got := p.relative(1000); got != 1 {
		t.Errorf("more than all is %g", got)
	}
}

func TestPlanWants(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Planning){
		"two arms":                 func(p *Planning) { p.Arms = p.Arms[:1] },
		"need a share":             func(p *Planning) { p.Arms[1].Share, p.Arms[2].Share = 0.2, 0 },
		"difference to be found":   func(p *Planning) { p.Effect = 1 },
		"mean loss is above 0":     func(p *Planning) { p.Mean = 0 },
		"get a label":              func(p *Planning) { p.Labels.Share = 0 },
		"standard deviation":       func(p *Planning) { p.Deviation = -1 },
		"correlation":              func(p *Planning) { p.Correlation = 2 },
		"power":                    func(p *Planning) { p.Power = 0.01 },
		"more than 100000 days":    func(p *Planning) { p.PerDay = 1e-3 },
		"mean loss is above 0, no": func(p *Planning) { p.Mean = math.NaN() },
	} {
		p := planning()
		change(p)
		if _, err := p.Plan(); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(want, ", no")) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestOutcomesOverDays compares the number of labels after some days with a simulation.
func TestOutcomesOverDays(t *testing.T) {
	t.Parallel()
	p := planning()
	p.Labels = Labels{Share: 0.8, Horizon: 12, Bounds: []float64{1, 3, 7, 20}, Delays: []int64{50, 20, 20, 10, 0}}
	r := rand.New(rand.NewPCG(8, 8))
	const n = 200_000
	for _, days := range []float64{0.5, 1, 2, 5, 10, 40} {
		labelled := 0
		for range n {
			at, took := days*r.Float64(), 7+5*r.Float64() // none takes longer than the horizon
			switch u := r.Float64(); {
			case u < 0.5:
				took = r.Float64()
			case u < 0.7:
				took = 1 + 2*r.Float64()
			case u < 0.9:
				took = 3 + 4*r.Float64()
			default:
			}
			if at+took <= days {
				labelled++
			}
		}
		want := 1000 * days * 0.8 * float64(labelled) / n
		if got := p.outcomes(days); math.Abs(got-want) > 0.02*want+5 {
			t.Errorf("after %g days %g have a label, want about %g", days, got, want)
		}
		if back := p.days(p.outcomes(days)); math.Abs(back-days) > 1e-6 {
			t.Errorf("%g days become %g", days, back)
		}
	}
}

// TestPast reads rates, spreads and labels from cohorts.
func TestPast(t *testing.T) {
	t.Parallel()
	w := &world{}
	w.complete()
	all := w.cohorts(t, 1)
	p := PastOf(all, "predictions", "sizes", "a", "absolute_error", func(string) bool { return true })
	if p.Days != 10 || p.PerDay != 1000 || math.Abs(p.Labels.Share-0.9) > 0.01 || math.Abs(p.Control.Mean-80) > 2 || math.Abs(p.Treatment.Correlation-0.9) > 0.05 {
		t.Errorf("%+v", p)
	}
	if none := PastOf(all, "predictions", "other", "a", "absolute_error", func(string) bool { return true }); none.Control.Units != 0 || none.PerDay != 0 || none.Days != 0 {
		t.Errorf("%+v: there is no such experiment", none)
	}
	if got := perDay(map[string]int64{"2026-03-01": 3, "2026-03-02": 9}); got != 9 {
		t.Errorf("%g keys a day, want those of the larger of two", got)
	}
	if got := perDay(map[string]int64{"2026-03-01": 3, "2026-03-02": 9, "2026-03-05": 1, "2026-03-04": 6}); got != 5 {
		t.Errorf("%g keys a day, want 15 in three days, one of which has none", got)
	}
}
