package experiment

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

type unit struct{ y, x, d float64 }

// exactSpread computes a centred sum with 2,000 bits.
func exactSpread(units []unit, a, b func(unit) float64) float64 {
	f := func(x float64) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(x) }
	ab, sa, sb := f(0), f(0), f(0)
	for _, u := range units {
		ab.Add(ab, f(0).Mul(f(a(u)), f(b(u))))
		sa.Add(sa, f(a(u)))
		sb.Add(sb, f(b(u)))
	}
	out, _ := ab.Sub(ab, sa.Mul(sa, sb).Quo(sa, f(float64(len(units))))).Float64()
	return out
}

func near(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if !(got == want || math.Abs(got-want) <= relative*math.Abs(want)) {
		t.Errorf("%s: got %.17g, want %.17g", what, got, want)
	}
}

func TestCrossStaysExact(t *testing.T) {
	t.Parallel()
	for _, scale := range []float64{1, 1e12, 1e60, 1e-20} {
		random := rand.New(rand.NewPCG(1, 2))
		draw := func() unit {
			loss := scale * (1e6 + random.NormFloat64())
			return unit{loss, loss + scale*random.ExpFloat64(), float64(1 + random.IntN(5))}
		}
		var c Cross
		units := make([]unit, 100)
		for i := range units {
			units[i] = draw()
			if err := c.Add(units[i].y, units[i].x, units[i].d); err != nil {
				t.Fatal(err)
			}
		}
		for range 250_000 { // a unit that gets one more outcome replaces its contribution
			i := random.IntN(len(units))
			if err := c.Remove(units[i].y, units[i].x, units[i].d); err != nil {
				t.Fatal(err)
			}
			units[i] = draw()
			if err := c.Add(units[i].y, units[i].x, units[i].d); err != nil {
				t.Fatal(err)
			}
		}
		y, x, d := func(u unit) float64 { return u.y }, func(u unit) float64 { return u.x }, func(u unit) float64 { return u.d }
		wy, wx, wd := weights{1, 0, 0}, weights{0, 1, 0}, weights{0, 0, 1}
		near(t, "yy", 99*c.variance(wy), exactSpread(units, y, y), 1e-12)
		near(t, "xx", 99*c.variance(wx), exactSpread(units, x, x), 1e-12)
		near(t, "dd", 99*c.variance(wd), exactSpread(units, d, d), 1e-12)
		near(t, "yx", 99*c.covariance(wy, wx), exactSpread(units, y, x), 1e-10)
		near(t, "yd", 99*c.covariance(wy, wd), exactSpread(units, y, d), 1e-10)
		near(t, "xd", 99*c.covariance(wx, wd), exactSpread(units, x, d), 1e-10)
		diff := func(u unit) float64 { return u.x - u.y }
		near(t, "x-y", 99*c.variance(weights{-1, 1, 0}), exactSpread(units, diff, diff), 1e-8) // the test's own difference is rounded
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		for _, u := range units {
			if err := c.Remove(u.y, u.x, u.d); err != nil {
				t.Fatal(err)
			}
		}
		if c != (Cross{}) {
			t.Errorf("something is left of no units: %+v", c)
		}
	}
}

func TestCrossMerges(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var whole, left, right Cross
	for i := range 1000 {
		y := math.Trunc(1e9 * random.ExpFloat64())
		part := &left
		if i%3 == 0 {
			part = &right
		}
		if err := whole.Add(y, y+1, 2); err != nil {
			t.Fatal(err)
		}
		if err := part.Add(y, y+1, 2); err != nil {
			t.Fatal(err)
		}
	}
	left.Merge(&right)
	if left != whole {
		t.Errorf("whole numbers: merged %+v, want %+v", left, whole)
	}
}

func TestCrossJSON(t *testing.T) {
	t.Parallel()
	var c Cross
	for _, u := range []unit{{1, 2, 1}, {3, 1, 2}} {
		if err := c.Add(u.y, u.x, u.d); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"units":2,"y":4,"x":3,"d":3,"yy":10,"xx":5,"dd":5,"yx":5,"yd":7,"xd":4,"cubes":[28,11,19,7,8,13,9,6,6,9]}`
	if b, err := json.Marshal(c); err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	if err := c.Add(0.1, 0.7, 1); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Cross
	if err := json.Unmarshal(b, &back); err != nil || back != c {
		t.Errorf("%s: read %+v, %v, want %+v", b, back, err, c)
	}
	for _, bad := range []string{
		`{"units":-1}`, `{"units":0,"y":1}`, `{"units":2}`, `[]`, `{"units":1e300}`,
		`{"units":2,"y":4,"x":3,"d":1,"yy":10,"xx":5,"dd":5,"yx":5,"yd":7,"xd":4}`,        // fewer records than units
		`{"units":2,"y":4,"x":3,"d":2.5,"yy":10,"xx":5,"dd":5,"yx":5,"yd":7,"xd":4}`,      // not whole
		`{"units":2,"y":4,"x":3,"d":3,"yy":7,"xx":5,"dd":5,"yx":5,"yd":7,"xd":4}`,         // negative variance
		`{"units":2,"y":4,"x":3,"d":3,"yy":10,"xx":5,"dd":5,"yx":7.5,"yd":7,"xd":4}`,      // Cauchy-Schwarz
		`{"units":2,"y":4,"x":3,"d":3,"yy":10,"xx":5,"dd":5,"yx":[5,1],"yd":7,"xd":4}`,    // not a rest
		`{"units":2,"y":4,"x":3,"d":3,"yy":10,"xx":5,"dd":5,"yx":[5,0,0],"yd":7,"xd":4}`,  // three parts
		`{"units":2,"y":4,"x":3,"d":3,"yy":1e300,"xx":5,"dd":5,"yx":[5,0],"yd":7,"xd":4}`, // beyond the range
		`{"units":1,"y":4,"x":3,"d":1,"yy":17,"xx":9,"dd":1,"yx":12,"yd":4,"xd":3}`,       // one unit has one square
	} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestCrossRefuses(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for _, u := range []unit{{nan, 1, 1}, {1, nan, 1}, {inf, 1, 1}, {1, -inf, 1}, {1, 1, nan}, {1, 1, 0}, {1, 1, 1.5}, {1, 1, -1}, {1e71, 1, 1}, {1, 1, inf}} {
		var c Cross
		if err := c.Add(u.y, u.x, u.d); err == nil || c != (Cross{}) {
			t.Errorf("%v was added: %+v", u, c)
		}
		if err := c.Remove(u.y, u.x, u.d); err == nil || c != (Cross{}) {
			t.Errorf("%v was removed: %+v", u, c)
		}
	}
	var c Cross
	if err := c.Add(1, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(1, 1, 2); err == nil {
		t.Error("more records were removed than there are")
	}
}
