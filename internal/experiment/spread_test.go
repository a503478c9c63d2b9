package experiment

import (
	"math"
	"math/rand/v2"
	"testing"
)

// spreadOf makes units of one to three records up, whose losses have a correlation with the baseline's, and returns their numbers too.
func spreadOf(t *testing.T, seed uint64, n int, factor float64) (*Cross, [][3]float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	c, all := &Cross{}, make([][3]float64, n)
	for i := range all {
		d := float64(1 + r.IntN(3))
		x := d * (5 + r.NormFloat64())
		all[i] = [3]float64{factor * (x + d*0.5*r.NormFloat64()), x, d}
		if err := c.Add(all[i][0], all[i][1], d); err != nil {
			t.Fatal(err)
		}
	}
	return c, all
}

func TestSpread(t *testing.T) {
	t.Parallel()
	c, all := spreadOf(t, 1, 2000, 1)
	var y, x, d, dd float64
	for _, u := range all {
		y, x, d, dd = y+u[0], x+u[1], d+u[2], dd+u[2]*u[2]
	}
	n := float64(len(all))
	var vy, vx, vyx float64
	for _, u := range all {
		a, b := (u[0]-y/d*u[2])/(d/n), (u[1]-x/d*u[2])/(d/n)
		vy, vx, vyx = vy+a*a, vx+b*b, vyx+a*b
	}
	want := Spread{Units: 2000, Records: int64(d), Mean: y / d, Deviation: math.Sqrt(vy / (n - 1)), Correlation: vyx / math.Sqrt(vy*vx), Size: dd / d}
	got := c.Spread()
	for name, pair := range map[string][2]float64{
		"mean": {got.Mean, want.Mean}, "deviation": {got.Deviation, want.Deviation}, "correlation": {got.Correlation, want.Correlation}, "size": {got.Size, want.Size},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9*math.Abs(pair[1]) {
			t.Errorf("%s %.12g, want %.12g", name, pair[0], pair[1])
		}
	}
	if got.Units != want.Units || got.Records != want.Records {
		t.Errorf("%+v, want %+v", got, want)
	}
	if s := (&Cross{}).Spread(); s != (Spread{Size: 1}) {
		t.Errorf("%+v of no units", s)
	}
}

// TestBeside holds the ratio of sums to the truth in many samples: the interval of one look misses it in about one of 20.
func TestBeside(t *testing.T) {
	t.Parallel()
	const n, factor = 1000, 1.3
	missed := 0
	for seed := range uint64(n) {
		c, _ := spreadOf(t, seed, 200, factor)
		i, err := c.Beside(Options{Test: Fixed})
		if err != nil {
			t.Fatal(err)
		}
		if i.Excludes(factor - 1) {
			missed++
		}
		always, err := c.Beside(Options{})
		if err != nil || always.Low >= i.Low || always.High <= i.High || always.Value != i.Value {
			t.Fatalf("%+v, %v: want it to be wider than %+v, as it holds at any time", always, err, i)
		}
	}
	if missed < 25 || missed > 80 {
		t.Errorf("%d of %d intervals miss the truth, want about 50", missed, n)
	}
	few, _ := spreadOf(t, 1, 20, 1)
	if i, err := few.Beside(Options{}); err != nil || i.Bounded() {
		t.Errorf("%+v, %v: 20 units are too few", i, err)
	}
	if i, err := (&Cross{}).Beside(Options{}); err != nil || !math.IsNaN(i.Value) {
		t.Errorf("%+v, %v of no units", i, err)
	}
}

// TestAlike finds baselines alike where only the arm's model differs, and not where the records do.
func TestAlike(t *testing.T) {
	t.Parallel()
	const n = 400
	alarms := 0
	for seed := range uint64(n) {
		a, _ := spreadOf(t, 2*seed, 300, 1)
		b, _ := spreadOf(t, 2*seed+1, 300, 0.5) // a much better model
		c, err := Alike(a, b, Options{Test: Fixed})
		if err != nil {
			t.Fatal(err)
		}
		if c.Significant() {
			alarms++
		}
	}
	if alarms < 5 || alarms > 40 {
		t.Errorf("%d of %d samples are called different at a rate of 5 %%, want about 20", alarms, n)
	}
	a, _ := spreadOf(t, 1, 3000, 1)
	b := &Cross{}
	r := rand.New(rand.NewPCG(9, 9))
	for range 3000 {
		x := 5.5 + r.NormFloat64()
		if err := b.Add(x, x, 1); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Alike(a, b, Options{Alpha: 0.001})
	if err != nil || !c.Significant() || math.Abs(c.Relative.Value-0.1) > 0.02 {
		t.Errorf("%+v, %v: want the baseline to be higher by a tenth", c, err)
	}
	if c, err := Alike(a, &Cross{}, Options{}); err != nil || c.Significant() || c.Enough {
		t.Errorf("%+v, %v: of no units nothing is known", c, err)
	}
}

// TestPlanOfLargeEffects plans for what a few units show, which comes to an end.
func TestPlanOfLargeEffects(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]Design{
		"nothing varies":  {Deviation: 10, Effect: 1, Correlation: 1},
		"a large effect":  {Deviation: 1e-9, Effect: 1e9},
		"the other test":  {Deviation: 10, Effect: 1e9, Test: Fixed},
		"opposite losses": {Deviation: 10, Effect: 1, Correlation: -1},
	} {
		p, err := d.Plan()
		if err != nil || p.Control < 2 || p.Treatment < 2 || name != "opposite losses" && p.Control > 100 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
