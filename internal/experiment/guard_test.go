package experiment

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func guards(t *testing.T) *Guards {
	t.Helper()
	g, err := NewGuards(0.05, 5, 1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func pairedOf(t *testing.T, differences ...float64) *Paired {
	t.Helper()
	var p Paired
	for _, d := range differences {
		if err := p.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	return &p
}

// alternating returns n numbers around a mean, with a deviation of 1.
func alternating(n int, mean float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = mean - 1 + 2*float64(i%2)
	}
	return out
}

// TestGuardWords looks at the outcome, and at what the reader of an audit log is told.
func TestGuardWords(t *testing.T) {
	t.Parallel()
	g := guards(t)
	near(t, "error rate of each", g.Alpha(), 0.01, 1e-12)
	bounded, err := NewBounded(-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if err := bounded.Add(float64(i % 2)); err != nil {
			t.Fatal(err)
		}
	}
	cross := func(factor float64) *Cross {
		var c Cross
		for i := range 500 {
			x := 4 + float64(i%7)
			if err := c.Add(factor*x+float64(i%2), x, 1); err != nil {
				t.Fatal(err)
			}
		}
		return &c
	}
	for _, c := range []struct {
		ask     func() (*Decision, error)
		outcome Outcome
		words   string
	}{
		{func() (*Decision, error) { return g.Proportion("refused", 31, 1204, 0.005) }, Breaks, "31 of 1204 records: at least 1.323 % (99 % sure), more than the limit of 0.5 %"},
		{func() (*Decision, error) { return g.Proportion("refused", 0, 5000, 0.005) }, Passes, "within the limit of 0.5 %"},
		{func() (*Decision, error) { return g.Proportion("refused", 1, 100, 0.005) }, Undecided, "lies between"},
		{func() (*Decision, error) { return g.Proportion("refused", 0, 0, 0.005) }, Undecided, "0 of 0 records: from 0 % to 100 %"},
		{func() (*Decision, error) { return g.Proportion("refused", 1, 10, 0) }, Breaks, "1 of 10 records"},
		{func() (*Decision, error) { return g.Proportion("refused", 0, 10000, 0) }, Undecided, "0 of 10000 records"},
		{func() (*Decision, error) { return g.Proportion("refused", 5, 5, 0.01) }, Breaks, "5 of 5 records"},
		{func() (*Decision, error) { return g.Mean("latency", pairedOf(t, alternating(1000, 3)...), 2) }, Breaks, "a mean of 3 over 1000 pairs: at least 2."},
		{func() (*Decision, error) { return g.Mean("latency", pairedOf(t, alternating(1000, 1)...), 2) }, Passes, "at most 1."},
		{func() (*Decision, error) { return g.Mean("latency", pairedOf(t, alternating(50, 9)...), 2) }, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Mean("latency", &Paired{}, 2) }, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Mean("latency", pairedOf(t, make([]float64, 500)...), 2) }, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Mean("latency", pairedOf(t, make([]float64, 1000)...), 2) }, Passes, "at most 0 "},
		{func() (*Decision, error) {
			return g.Mean("latency", pairedOf(t, append(make([]float64, 5000), 1e6)...), 1)
		}, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Loss("loss", cross(1.2), 0.05) }, Breaks, "more than the limit of +5 %"},
		{func() (*Decision, error) { return g.Loss("loss", cross(0.9), 0.05) }, Passes, "within the limit of +5 %"},
		{func() (*Decision, error) { return g.Loss("loss", &Cross{}, 0.05) }, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Loss("loss", addedUp(t, unit{1, 0, 1}), 0.05) }, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Bounded("only one is right", bounded, 0.1) }, Breaks, "a mean of 0.5 over 2000 records: at least 0.4"},
		{func() (*Decision, error) { return g.Bounded("only one is right", bounded, 0.7) }, Passes, "at most 0.5"},
		{func() (*Decision, error) { return g.Bounded("only one is right", &Bounded{Low: -1, High: 1}, 0.7) }, Undecided, "from -1 to 1"},
		{func() (*Decision, error) { return g.Rate("restarts", 40, 100, 0.1) }, Breaks, "40 events in 100: at least 0.2"},
		{func() (*Decision, error) { return g.Rate("restarts", 40, 10000, 0.1) }, Passes, "at most 0.0"},
		{func() (*Decision, error) { return g.Rate("restarts", 0, 0, 0.1) }, Undecided, "too little to judge by yet"},
		{func() (*Decision, error) { return g.Quantile("latency", steps(2), steps(1), 0.9, 0.1) }, Breaks, "the 0.9 quantile of 1000 values is 1800, and of the baseline 900 (+100 %, with a limit of +10 %): it is shown"},
		{func() (*Decision, error) { return g.Quantile("latency", steps(1), steps(2), 0.9, 0.1) }, Undecided, "not known yet"},
		{func() (*Decision, error) { return g.Quantile("latency", nil, nil, 0.9, 0.1) }, Undecided, "(unknown"},
	} {
		d, err := c.ask()
		if err != nil {
			t.Error(err)
			continue
		}
		if d.Outcome != c.outcome || !strings.Contains(d.Why, c.words) {
			t.Errorf("%s: %s, %q, want %s, %q", d.Guard, d.Outcome, d.Why, c.outcome, c.words)
		}
		if (d.Outcome == Breaks) != (d.P <= d.Alpha) || math.IsNaN(d.P) {
			t.Errorf("%s: %s with p %v", d.Guard, d.Outcome, d.P)
		}
		if _, err := json.Marshal(d); err != nil {
			t.Error(err)
		}
	}
}

func steps(factor float64) []Step {
	out := make([]Step, 1000)
	for i := range out {
		out[i] = Step{factor * float64(i+1), 1}
	}
	return out
}

func TestGuardsRefuse(t *testing.T) {
	t.Parallel()
	g := guards(t)
	nan, inf := math.NaN(), math.Inf(1)
	bad := repeated(t, 3, unit{1, 1, 1})
	bad.YY.High = nan
	for name, ask := range map[string]func() (*Decision, error){
		"more hits than records": func() (*Decision, error) { return g.Proportion("g", 2, 1, 0.1) },
		"negative":               func() (*Decision, error) { return g.Proportion("g", -2, 1, 0.1) },
		"limit of NaN":           func() (*Decision, error) { return g.Proportion("g", 1, 1, nan) },
		"limit of 1":             func() (*Decision, error) { return g.Proportion("g", 1, 1, 1) },
		"mean: limit":            func() (*Decision, error) { return g.Mean("g", &Paired{}, nan) },
		"mean: sums":             func() (*Decision, error) { return g.Mean("g", &Paired{Pairs: 2, Squares: Total{-1, 0}}, 1) },
		"mean: cubes": func() (*Decision, error) {
			return g.Mean("g", &Paired{Pairs: 2, Squares: Total{2, 0}, Cubes: Total{1e9, 0}}, 1)
		},
		"loss: limit":     func() (*Decision, error) { return g.Loss("g", &Cross{}, -1) },
		"loss: sums":      func() (*Decision, error) { return g.Loss("g", bad, 1) },
		"bounded: limit":  func() (*Decision, error) { return g.Bounded("g", &Bounded{Low: 0, High: 1}, 2) },
		"bounded: none":   func() (*Decision, error) { return g.Bounded("g", &Bounded{}, 0) },
		"bounded: sum":    func() (*Decision, error) { return g.Bounded("g", &Bounded{Low: 0, High: 1, N: 2, Sum: Total{3, 0}}, 0) },
		"rate: limit":     func() (*Decision, error) { return g.Rate("g", 1, 1, 0) },
		"rate: exposure":  func() (*Decision, error) { return g.Rate("g", 1, inf, 1) },
		"quantile: limit": func() (*Decision, error) { return g.Quantile("g", nil, nil, 0.5, nan) },
		"quantile: share": func() (*Decision, error) { return g.Quantile("g", nil, nil, 0, 1) },
	} {
		if d, err := ask(); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for name, err := range map[string]error{
		"no guard": second(NewGuards(0.05, 0, 0, 0)), "alpha": second(NewGuards(0.6, 1, 0, 0)), "horizon": second(NewGuards(0, 1, -1, 0)),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func second(_ *Guards, err error) error { return err }

func TestBounded(t *testing.T) {
	t.Parallel()
	for _, bad := range [][2]float64{{1, 1}, {2, 1}, {math.NaN(), 1}, {0, math.Inf(1)}} {
		if _, err := NewBounded(bad[0], bad[1]); err == nil {
			t.Errorf("bounds %v", bad)
		}
	}
	b, err := NewBounded(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []float64{-0.1, 1.1, math.NaN()} {
		if err := b.Add(bad); err == nil {
			t.Errorf("%v was added", bad)
		}
	}
	for _, x := range []float64{0, 1, 0.5} {
		if err := b.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	// Distances from the mean before, with one half first: 0.5, 1 - 0.25, 0.5 - 0.5.
	near(t, "spread", b.Spread.High, 0.25+0.5625, 1e-15)
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var back Bounded
	if err := json.Unmarshal(text, &back); err != nil || back != *b {
		t.Errorf("%s: %+v, %v", text, back, err)
	}
	if err := back.Merge(b); err != nil || back.N != 6 || back.Sum.High != 3 {
		t.Errorf("%+v, %v", back, err)
	}
	if err := back.Merge(&Bounded{Low: 0, High: 2}); err == nil {
		t.Error("other bounds were merged")
	}
	for _, bad := range []string{`{"low":0,"high":1,"n":-1}`, `{"low":0,"high":1,"n":1,"sum":5}`, `{"low":0,"high":1,"n":1,"sum":1,"spread":5}`, `{"low":0,"high":1,"n":1,"sum":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// TestProportionExtremes asks for intervals at the ends: they hold the share, and are no NaN.
func TestProportionExtremes(t *testing.T) {
	t.Parallel()
	for _, horizon := range []float64{1, 100, 1e9} {
		g, err := NewGuards(1e-9, 3, horizon, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{1, 2, 10, 1e6, 1e12} {
			for _, k := range []int64{0, 1, n / 2, n - 1, n} {
				for _, limit := range []float64{0, 1e-12, 0.5, 1 - 1e-12} {
					d, err := g.Proportion("share", k, n, limit)
					if err != nil {
						t.Fatal(err)
					}
					e := d.Estimate
					if !(e.Low >= 0 && e.Low <= e.Value && e.Value <= e.High && e.High <= 1) || !(d.P >= 0 && d.P <= 1) {
						t.Errorf("%d of %d, horizon %v, limit %v: %+v", k, n, horizon, limit, d)
					}
				}
			}
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		pairs   *Paired
		options Options
		margin  float64
		want    Verdict
		words   string
	}{
		{"nothing", &Paired{}, Options{}, 1, NotYet, "no pair"},
		{"few", pairedOf(t, alternating(50, 5)...), Options{}, 1, NotYet, "50 pairs are too few: about 100 are needed"},
		{"better", pairedOf(t, alternating(200, -1)...), Options{Horizon: 200}, 0, Better, "the mean loss is lower by 1 (95 % confidence sequence -1.2"},
		{"worse", pairedOf(t, alternating(200, 1)...), Options{Test: Fixed}, 0, Worse, "the mean loss is higher by 1 (95 % interval 0.8"},
		{"the same", pairedOf(t, alternating(2000, 0)...), Options{}, 0.2, NoDifference, "differ by no more than 0.2"},
		{"no margin", pairedOf(t, alternating(2000, 0)...), Options{}, 0, NotYet, "may be chance"},
		{"all 0", pairedOf(t, make([]float64, 200)...), Options{}, 0.2, NotYet, "not believed before 5000 pairs"},
		{"all 0, as many as expected", pairedOf(t, make([]float64, 200)...), Options{Horizon: 200}, 0.2, NoDifference, "no more than 0.2"},
		{"one large difference", pairedOf(t, append(make([]float64, 999), 1e9)...), Options{Horizon: 200}, 0.2, NotYet, "are needed"},
	} {
		j, err := c.pairs.Judge(c.options, c.margin)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if j.Verdict != c.want || !strings.Contains(j.Why, c.words) || math.IsNaN(j.P) {
			t.Errorf("%s: %s, %q, p %v, want %s, %q", c.name, j.Verdict, j.Why, j.P, c.want, c.words)
		}
		if _, err := json.Marshal(j); err != nil {
			t.Error(err)
		}
	}
	if _, err := (&Paired{}).Judge(Options{}, math.NaN()); err == nil {
		t.Error("a margin of NaN")
	}
	var p Paired
	if err := p.Add(math.Inf(1)); err == nil {
		t.Error("an infinite difference")
	}
	text, err := json.Marshal(pairedOf(t, 0.1, 0.2, -0.7))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &p); err != nil || p != *pairedOf(t, 0.1, 0.2, -0.7) {
		t.Errorf("%s: %+v, %v", text, p, err)
	}
	for _, bad := range []string{`{"pairs":1}x`, `{"pairs":-1}`, `{"pairs":2,"sum":4,"squares":1}`, `{"pairs":2,"sum":0,"squares":2,"cubes":9}`} {
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	for _, m := range []McNemar{{}, {-1, -1}} {
		if _, p := m.ChiSquare(true); p != 1 || m.Exact() != 1 || m.Anytime(100) != 1 {
			t.Errorf("%+v", m)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p, err := Design{Deviation: 1, Effect: 0.2, Test: Fixed, PerDay: 100}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if p.Control != 394 || p.Treatment != 394 || p.Power < 0.8 || p.Power > 0.805 || p.Days != 7.88 || p.Horizon != 788 || p.Best != [2]float64{0.5, 0.5} || p.Ratio < 1.9 || p.Ratio > 1.93 {
		t.Errorf("%+v", p)
	}
	d, err := Design{Deviation: 1, Test: Fixed}.Detectable(788)
	if err != nil || math.Abs(d.Effect-0.2) > 1e-3 {
		t.Errorf("%+v, %v", d, err)
	}
	// Several comparisons, and the sequential test, need more; a baseline, less, most of all in the treatment.
	plain, err := Design{Deviation: 1, Effect: 0.2}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	family, err := Design{Deviation: 1, Effect: 0.2, Comparisons: 4}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	helped, err := Design{Deviation: 1, Effect: 0.2, Correlation: 0.9}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if plain.Control <= p.Control || family.Control <= plain.Control || helped.Control > plain.Control/4 || helped.Best[1] < 0.8 {
		t.Errorf("%+v, %+v, %+v", plain, family, helped)
	}
	twin, err := Design{Deviation: 1, Effect: 0.2, Correlation: 1}.Plan() // the baseline says all
	if err != nil || twin.Control > 20 {
		t.Errorf("%+v, %v", twin, err)
	}
	nan := math.NaN()
	for name, d := range map[string]Design{
		"deviation": {Deviation: nan, Effect: 1}, "none": {Effect: 1}, "effect": {Deviation: 1, Effect: nan}, "no effect": {Deviation: 1},
		"correlation": {Deviation: 1, Effect: 1, Correlation: 2}, "weights": {Deviation: 1, Effect: 1, Weights: [2]float64{1, 0}}, "power": {Deviation: 1, Effect: 1, Power: 1},
		"comparisons": {Deviation: 1, Effect: 1, Comparisons: -1}, "rate": {Deviation: 1, Effect: 1, PerDay: -1}, "alpha": {Deviation: 1, Effect: 1, Alpha: 0.7},
		"too small": {Deviation: 1, Effect: 1e-12}, "test": {Deviation: 1, Effect: 1, Test: "t"},
	} {
		if p, err := d.Plan(); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for _, units := range []int64{-1, 0, 3, 1 << 60} {
		if p, err := (Design{Deviation: 1}).Detectable(units); err == nil {
			t.Errorf("%d units: %+v", units, p)
		}
	}
	if w := Floor([]float64{0, 0}, 0.1); w[0] != 0.5 {
		t.Errorf("shares of nothing: %v", w)
	}
}
