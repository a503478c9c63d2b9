package stat

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func encoded(t *testing.T, m *Moments) []byte {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMomentsBinary(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, scale := range []float64{0, 1, -1, 1e9, -1e9, 1e-300, 1e300, -math.MaxFloat64, 5e-324} {
		var whole, left, right Moments
		for range 3000 {
			x := float64(scale * rng.Float64())
			whole.Add(x)
			if rng.IntN(3) == 0 {
				left.Add(x)
			} else {
				right.Add(x)
			}
		}
		want := encoded(t, &whole)
		back, rest, err := DecodeMoments(append(bytes.Clone(want), "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("scale %v, seed %d: %v, %q is left", scale, seed, err, rest)
		}
		if !bytes.Equal(encoded(t, &back), want) || back.Mean() != whole.Mean() || back.Deviation() != whole.Deviation() {
			t.Errorf("scale %v, seed %d: what was read differs", scale, seed)
		}
		r, _, err := DecodeMoments(encoded(t, &right))
		if err != nil {
			t.Fatal(err)
		}
		r.Merge(&left)
		if !bytes.Equal(encoded(t, &r), want) {
			t.Errorf("scale %v, seed %d: merged parts give other bytes", scale, seed)
		}
	}
	var none Moments
	if m, rest, err := DecodeMoments(encoded(t, &none)); err != nil || len(rest) > 0 || m.N() != 0 {
		t.Errorf("no number: %v %d %v", m.N(), rest, err)
	}
}

func FuzzDecodeMoments(f *testing.F) {
	var m Moments
	for _, x := range []float64{1, -2e6, 3.5e-7} {
		m.Add(x)
		b, _ := m.AppendBinary(nil) // it never fails
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := DecodeMoments(b)
		if err != nil {
			return
		}
		m.Merge(&m)
		m.Mean()
		again, _, err := DecodeMoments(encoded(t, &m))
		if err != nil || !bytes.Equal(encoded(t, &again), encoded(t, &m)) {
			t.Errorf("what was written is not read: %v", err)
		}
	})
}
