package detmath

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestTrigSpecialValues(t *testing.T) {
	t.Parallel()
	nan, inf, zero := math.NaN(), math.Inf(1), math.Copysign(0, -1)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"sin(0)", Sin(0), 0},
		{"sin(-0)", Sin(zero), zero},
		{"sin(tiny)", Sin(-5e-324), -5e-324},
		{"sin(inf)", Sin(inf), nan},
		{"sin(nan)", Sin(nan), nan},
		{"cos(0)", Cos(0), 1},
		{"cos(-inf)", Cos(-inf), nan},
		{"sin(1e22)", Sin(1e22), -0.8522008497671888}, // the classic of argument reduction
		{"sin of -0 turns", SinTurns(zero), zero},
		{"sin of inf turns", SinTurns(inf), nan},
		{"cos of nan turns", CosTurns(nan), nan},
		{"i0(0)", I0Scaled(0), 1},
		{"i0(-0)", I0Scaled(zero), 1},
		{"i0(tiny)", I0Scaled(5e-324), 1},
		{"i0(inf)", I0Scaled(inf), 0},
		{"i0(-inf)", I0Scaled(-inf), 0},
		{"i0(nan)", I0Scaled(nan), nan},
	} {
		if math.Float64bits(c.got) != math.Float64bits(c.want) && !(math.IsNaN(c.got) && math.IsNaN(c.want)) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	all := []float64{0, zero, 1, -1, inf, -inf, nan, 5e-324, math.MaxFloat64, -math.MaxFloat64}
	for _, y := range all {
		for _, x := range all {
			got, want := Atan2(y, x), math.Atan2(y, x)
			if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Errorf("atan2(%v, %v) = %v, want %v", y, x, got, want)
			}
		}
	}
}

// TestQuartersOfTurns has the angles at which an encoding of hours, days and months should be exact.
func TestQuartersOfTurns(t *testing.T) {
	t.Parallel()
	for n := -40; n <= 40; n++ {
		for _, turns := range []float64{float64(n) / 4, float64(n)/4 + 1<<40, float64(n)/4 - 1<<50} {
			sines := [4]float64{0, 1, 0, -1}
			s, c := SinTurns(turns), CosTurns(turns)
			if s != sines[n&3] || c != sines[(n+1)&3] {
				t.Errorf("%v turns: %v and %v", turns, s, c)
			}
		}
	}
}

func TestTrigAccuracy(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, for which the race detector finds nothing and needs ten times as long")
	}
	t.Parallel()
	pi := bigPi()
	r := rand.New(rand.NewPCG(5, 6))
	worst := map[string]float64{}
	check := func(name string, got float64, want *big.Float) { worst[name] = max(worst[name], ulps(got, want)) }
	radians := func(x float64) {
		q := newBig(x)
		q.Quo(q.Mul(q, bigInt(2)), pi)
		check("sin", Sin(x), bigSin(q, pi))
		check("cos", Cos(x), bigSin(q.Add(q, bigInt(1)), pi))
	}
	for i := range 700 {
		radians(r.NormFloat64() * 5)
		radians(math.Ldexp(r.NormFloat64(), r.IntN(1020)))
		radians(math.Ldexp(r.NormFloat64(), -r.IntN(60)))
		radians(float64(i-350) * (math.Pi / 4)) // next to multiples of π/4
		radians(float64(1+r.IntN(1_000_000)) * (math.Pi / 2))
		turns := r.NormFloat64()
		q := newBig(turns)
		q.Mul(q, bigInt(4))
		check("sin of turns", SinTurns(turns), bigSin(q, pi))
		check("cos of turns", CosTurns(turns), bigSin(q.Add(q, bigInt(1)), pi))
	}
	radians(0x1.6ac5b262ca1ffp+849) // the float64 that is closest to a multiple of π/2
	radians(math.MaxFloat64)
	t.Logf("worst errors in ulp: %v", worst)
	for name, w := range worst {
		if w >= 0.8 {
			t.Errorf("%s is off by %.3f ulp", name, w)
		}
	}
}

func TestAtan2Accuracy(t *testing.T) {
	t.Parallel()
	pi := bigPi()
	r := rand.New(rand.NewPCG(7, 8))
	worst := 0.0
	for range 800 {
		y, x := r.NormFloat64(), r.NormFloat64()
		if r.IntN(2) == 0 {
			y = math.Ldexp(y, r.IntN(60)-30)
		}
		want := bigAtan(new(big.Float).Quo(newBig(math.Abs(y)), newBig(math.Abs(x))))
		if x < 0 {
			want.Sub(pi, want)
		}
		if y < 0 {
			want.Neg(want)
		}
		worst = max(worst, ulps(Atan2(y, x), want))
	}
	t.Logf("worst error: %.3f ulp", worst)
	if worst >= 1 {
		t.Errorf("atan2 is off by %.3f ulp", worst)
	}
}

func TestI0Accuracy(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, for which the race detector finds nothing and needs ten times as long")
	}
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	worst := 0.0
	for i := range 300 {
		x := r.Float64() * 25
		switch i % 3 {
		case 1:
			x = math.Ldexp(x, -r.IntN(12))
		case 2:
			x = 19 + r.Float64()*300
		}
		worst = max(worst, ulps(I0Scaled(x), bigI0Scaled(x)))
	}
	t.Logf("worst error: %.3f ulp", worst)
	if worst >= 2.5 {
		t.Errorf("I0Scaled is off by %.3f ulp", worst)
	}
	if got, want := I0Scaled(1e300), 1/math.Sqrt(2*math.Pi)/1e150; math.Abs(got/want-1) > 1e-15 {
		t.Errorf("I0Scaled(1e300) = %v, want %v", got, want)
	}
}

// TestTrigSameEverywhere pins the bits of many results, as TestSameEverywhere does.
func TestTrigSameEverywhere(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	h := fnv.New64a()
	for range 50_000 {
		x := float64(int64(r.Uint64())) / (1 << 57)
		y := math.Float64frombits(r.Uint64())
		for _, v := range [...]float64{Sin(x), Cos(x), SinTurns(x), CosTurns(x), Atan2(x, 1), Atan2(1, x), Atan2(y, -x), Sin(y), Cos(y), I0Scaled(x)} {
			if v != v {
				v = math.NaN() // one NaN on every machine
			}
			h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
		}
	}
	if got, want := fmt.Sprintf("%016x", h.Sum64()), "f9a907e7b8827e85"; got != want {
		t.Errorf("the bits hash to %s, want %s", got, want)
	}
}

func BenchmarkTrig(b *testing.B) {
	for _, f := range []struct {
		name string
		f    func(float64) float64
		x    float64
	}{
		{"sin/near", Sin, 0.5},
		{"sin/far", Sin, 12345.6},
		{"sin/turns", SinTurns, 12345.6},
		{"atan2", func(x float64) float64 { return Atan2(x, 0.7) }, 0.5},
		{"i0/near", I0Scaled, 5},
		{"i0/far", I0Scaled, 50},
	} {
		b.Run(f.name, func(b *testing.B) {
			x := f.x
			for b.Loop() {
				x = f.x + float64(f.f(x)*1e-3)
			}
		})
	}
}
