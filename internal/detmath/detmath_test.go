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

func TestSpecialValues(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"exp(0)", Exp(0), 1},
		{"exp(inf)", Exp(inf), inf},
		{"exp(-inf)", Exp(-inf), 0},
		{"exp(nan)", Exp(nan), nan},
		{"exp(710)", Exp(710), inf},
		{"exp(-746)", Exp(-746), 0},
		{"log(1)", Log(1), 0},
		{"log(0)", Log(0), -inf},
		{"log(-1)", Log(-1), nan},
		{"log(inf)", Log(inf), inf},
		{"log(nan)", Log(nan), nan},
	} {
		if math.Float64bits(c.got) != math.Float64bits(c.want) && !(math.IsNaN(c.got) && math.IsNaN(c.want)) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

// ulps returns how many units in the last place got is away from want.
func ulps(got float64, want *big.Float) float64 {
	w, _ := want.Float64()
	if w == 0 || math.IsInf(w, 0) {
		return 0
	}
	d := new(big.Float).Sub(new(big.Float).SetFloat64(got), want)
	unit := math.Abs(math.Nextafter(w, math.Inf(1)) - w)
	e, _ := d.Quo(d, new(big.Float).SetFloat64(unit)).Float64()
	return math.Abs(e)
}

// bigExp returns e**x with 200 bits, by Taylor's series of x/2**k.
func bigExp(x float64) *big.Float {
	const k = 20
	r := new(big.Float).SetPrec(200).SetFloat64(x)
	r.SetMantExp(r, -k)
	sum, term := big.NewFloat(1).SetPrec(200), big.NewFloat(1).SetPrec(200)
	for i := 1; i < 40; i++ {
		term.Quo(term.Mul(term, r), new(big.Float).SetInt64(int64(i)))
		sum.Add(sum, term)
	}
	for range k {
		sum.Mul(sum, sum)
	}
	return sum
}

func TestAccuracy(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var worstExp, worstLog float64
	for range 3000 {
		x := r.NormFloat64() * 20
		worstExp = max(worstExp, ulps(Exp(x), bigExp(x)))
		// log(y) is right when exp of it, corrected by one Newton step in high precision, is: l + (y-e^l)/e^l.
		y := math.Exp(r.NormFloat64() * 30)
		l := Log(y)
		e := bigExp(l)
		c := new(big.Float).Sub(new(big.Float).SetFloat64(y), e)
		worstLog = max(worstLog, ulps(l, c.Add(c.Quo(c, e), new(big.Float).SetPrec(200).SetFloat64(l))))
	}
	t.Logf("worst error: exp %.3f ulp, log %.3f ulp", worstExp, worstLog)
	if worstExp >= 1 || worstLog >= 1 {
		t.Errorf("exp is off by %.3f ulp, log by %.3f ulp", worstExp, worstLog)
	}
}

// TestSameEverywhere pins the bits of many results, so that another architecture or compiler that rounds
// differently fails here.
func TestSameEverywhere(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	h := fnv.New64a()
	for range 100_000 {
		x := float64(int64(r.Uint64())) / (1 << 57) // exact on every machine: -64..64
		h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(Exp(x))))
		h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(Log(math.Abs(x)))))
	}
	if got, want := fmt.Sprintf("%016x", h.Sum64()), "db277a65783f3951"; got != want {
		t.Errorf("the bits hash to %s, want %s", got, want)
	}
}

func BenchmarkExp(b *testing.B) {
	x := 12.345
	for b.Loop() {
		x = 12 + Exp(x-13)/10
	}
}
