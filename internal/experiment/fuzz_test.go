package experiment

import (
	"encoding/json"
	"math"
	"testing"
)

// FuzzSums decodes sums that anyone may have written: what is taken gives answers that are probabilities and can be encoded.
func FuzzSums(f *testing.F) {
	f.Add([]byte(`{"units":2,"y":4,"x":3,"d":3,"yy":10,"xx":5,"dd":5,"yx":5,"yd":7,"xd":4,"cubes":[28,11,19,7,8,13,9,6,6,9]}`))
	f.Add([]byte(`{"units":200,"y":[4e9,1e-9],"x":3,"d":300,"yy":1e20,"xx":5,"dd":500,"yx":5,"yd":7e10,"xd":4,"cubes":[1e60]}`))
	f.Add([]byte(`{"pairs":300,"sum":1,"squares":3e140,"cubes":1e200}`))
	f.Add([]byte(`{"low":0,"high":1e-300,"n":300,"sum":0,"spread":1e-310}`))
	f.Add([]byte(`[[3,1,2],[500,2,2]]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(what string, p float64, v any, err error) {
			if err != nil {
				return
			}
			if !(p >= 0 && p <= 1) {
				t.Errorf("%s: p is %v, of %s", what, p, b)
			}
			if _, err := json.Marshal(v); err != nil {
				t.Errorf("%s: %v, of %s", what, err, b)
			}
		}
		g, err := NewGuards(0, 1, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		var c Cross
		if json.Unmarshal(b, &c) == nil {
			twice := c
			twice.Merge(&c)
			for _, o := range []Options{{}, {Test: Fixed}, {Plain: true, Horizon: 100}} {
				if got, err := Compare(&c, &twice, o); err == nil {
					check("compare", got.P, got, nil)
				}
			}
			if d, err := g.Loss("loss", &c, 0.1); err == nil {
				check("loss", d.P, d, nil)
			}
		}
		var p Paired
		if json.Unmarshal(b, &p) == nil {
			if j, err := p.Judge(Options{}, 1); err == nil {
				check("judge", j.P, j, nil)
			}
			if d, err := g.Mean("mean", &p, 1); err == nil {
				check("mean", d.P, d, nil)
			}
		}
		var n Bounded
		if json.Unmarshal(b, &n) == nil {
			if d, err := g.Bounded("bounded", &n, n.Low); err == nil {
				check("bounded", d.P, d, nil)
			}
		}
		var s Curve
		if json.Unmarshal(b, &s) == nil {
			if a, err := s.AUC(); err == nil {
				check("area", a.Area, a, nil)
				if d, err := a.Unpaired(a, 0.05); err == nil && math.IsNaN(d.P) {
					t.Errorf("area: p is %v, of %s", d.P, b)
				}
			}
		}
	})
}
