package house

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func newTest(t testing.TB, o Options) *Generator {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func sales(g *Generator, n int) []Sale {
	s := make([]Sale, n)
	for i := range s {
		s[i] = g.Sale(int64(i))
	}
	return s
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, history := range []int{-1, maxHistory + 1} {
		if _, err := New(Options{History: history}); err == nil {
			t.Errorf("history %d: no error", history)
		}
	}
}

// TestSameEverywhere pins the bytes of many sales, so that another architecture, compiler or change of the code
// that makes other houses of the same seed fails here.
func TestSameEverywhere(t *testing.T) {
	t.Parallel()
	g := newTest(t, Options{Seed: 1, History: 5000})
	h := sha256.New()
	for i := range int64(20_000) {
		s := g.Sale(i)
		line := s.AppendCSV(nil)
		line = s.AppendJSON(line)
		line = fmt.Appendf(line, "%016x", math.Float64bits(s.LogPrice))
		h.Write(line)
	}
	const want = "4ad1e42ff658116efbec038dfee3faff8dddb838900302994f10bb870d79e4a8"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("the sales hash to %s, want %s", got, want)
	}
}

func TestSaleIsAFunctionOfItsNumber(t *testing.T) {
	t.Parallel()
	const n = 200
	g := newTest(t, Options{Seed: 5})
	want := sales(g, n)
	got := make([]Sale, n)
	var wg sync.WaitGroup
	for w := range 2 { // one goroutine makes the even ones, one the odd ones, both backwards
		wg.Go(func() {
			for i := n - 2 + w; i >= 0; i -= 2 {
				got[i] = g.Sale(int64(i))
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	other := newTest(t, Options{Seed: 6}).Sale(0)
	if other.Price == want[0].Price && other.SqftLot == want[0].SqftLot {
		t.Error("another seed makes the same house")
	}
}

func TestSaleIsPlausible(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g, err := New(Options{Seed: rapid.Uint64().Draw(t, "seed"), History: rapid.IntRange(0, maxHistory).Draw(t, "history")})
		if err != nil {
			t.Fatal(err)
		}
		s := g.Sale(rapid.Int64Range(0, math.MaxInt64).Draw(t, "sale"))
		for what, ok := range map[string]bool{
			"price":     s.Price > 0 && math.Mod(s.Price, 100) == 0 && s.Price < 1e8,
			"expected":  s.BestPrediction() > 0 && math.Abs(math.Log(s.Price/s.BestPrediction())) < sigma*maxNoise+0.1,
			"bedrooms":  s.Bedrooms >= 1 && s.Bedrooms <= 9 && s.Bedrooms == math.Trunc(s.Bedrooms),
			"bathrooms": s.Bathrooms >= 0.75 && s.Bathrooms <= 8 && math.Mod(s.Bathrooms, 0.25) == 0,
			"living":    s.SqftLiving >= 370 && s.SqftLiving <= 10_000 && s.SqftLiving == s.SqftAbove+s.SqftBasement,
			"above":     s.SqftAbove > 0 && s.SqftBasement >= 0,
			"lot":       s.SqftLot >= 600 && s.SqftLot <= 1_100_000,
			"floors":    s.Floors >= 1 && s.Floors <= 3 && math.Mod(s.Floors, 0.5) == 0,
			"water":     s.Waterfront == 0 || s.Waterfront == 1 && s.View >= 2,
			"view":      s.View >= 0 && s.View <= 4,
			"condition": s.Condition >= 1 && s.Condition <= 5,
			"built":     s.YrBuilt >= 1900 && s.YrBuilt <= 2014,
			"renovated": s.YrRenovated == 0 || s.YrRenovated >= s.YrBuilt && s.YrRenovated <= 2014,
			"place":     s.City != "" && strings.HasPrefix(s.StateZip, "WA 98") && len(s.StateZip) == 8 && s.Country == "USA",
			"texts":     !strings.ContainsAny(s.Street+s.City+s.StateZip+s.Country, ",\"\\\n"),
			"date":      !s.Date.Before(day(5, 2)) && s.Date.Before(day(5, 2+140)) && s.Date.Truncate(24*time.Hour).Equal(s.Date),
		} {
			if !ok {
				t.Errorf("%s: %+v", what, s)
			}
		}
	})
}

func day(month time.Month, d int) time.Time {
	return time.Date(2014, month, d, 0, 0, 0, 0, time.UTC)
}

func TestDates(t *testing.T) {
	t.Parallel()
	const n = 10_000
	g := newTest(t, Options{History: n})
	count := map[time.Weekday]int{}
	for i := range int64(3 * n) {
		d := g.date(i)
		count[d.Weekday()]++
		if i%n != 0 && d.Before(g.date(i-1)) {
			t.Fatalf("sale %d is before the one before", i)
		}
	}
	for _, c := range []struct {
		sale int64
		want time.Time
	}{
		{0, day(5, 2)},
		{n - 1, day(7, 10)},
		{n, day(7, 11)},
		{2*n - 1, day(9, 18)},
		{2 * n, day(7, 11)},
		{math.MaxInt64/n*n - 1, day(9, 18)},
	} {
		if got := g.date(c.sale); !got.Equal(c.want) {
			t.Errorf("sale %d is on %v, want %v", c.sale, got, c.want)
		}
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		want := workWeight
		if d == time.Sunday || d == time.Saturday {
			want = restWeight
		}
		if share := float64(count[d]) / (3 * n); math.Abs(share*weekWeight-float64(want)) > 0.1 {
			t.Errorf("%v has %.4f of the sales", d, share)
		}
	}
	if got := newTest(t, Options{}).date(DefaultHistory - 1); !got.Equal(day(7, 10)) {
		t.Errorf("the last sale of the default history is on %v", got)
	}
}

// TestMeanNoise integrates e**(sigma*noise) over the density of Student's t, by Simpson's rule.
func TestMeanNoise(t *testing.T) {
	t.Parallel()
	density := func(x float64) float64 { // Γ(7/2) / (sqrt(6π) Γ(3)) = 15 / (16 sqrt 6)
		return 15 / (16 * math.Sqrt(6)) * math.Pow(1+x*x/6, -3.5)
	}
	const steps = 1 << 16
	limit := maxNoise / unitStudent6
	h := 2 * limit / steps
	var inside, mean float64
	for i := range steps + 1 {
		w := 2.0
		switch {
		case i == 0 || i == steps:
			w = 1
		case i%2 == 1:
			w = 4
		}
		x := -limit + float64(i)*h
		inside += w * h / 3 * density(x)
		mean += w * h / 3 * density(x) * math.Exp(sigma*unitStudent6*x)
	}
	mean += (1 - inside) / 2 * (math.Exp(sigma*maxNoise) + math.Exp(-sigma*maxNoise))
	if math.Abs(mean-meanNoise) > 1e-5 {
		t.Errorf("the mean is %.6f, the constant %v", mean, meanNoise)
	}
	if math.Abs(unitStudent6*unitStudent6*6/4-1) > 1e-12 {
		t.Errorf("unitStudent6 = %v", unitStudent6)
	}
}

func TestLogConstants(t *testing.T) {
	t.Parallel()
	if ln2000 != math.Log(2000) || ln7700 != math.Log(7700) {
		t.Errorf("log 2000 = %v, log 7700 = %v", math.Log(2000), math.Log(7700))
	}
}

func TestCeiling(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, for which the race detector finds nothing and needs ten times as long")
	}
	t.Parallel()
	const n = 100_000
	mean := 0.0
	for seed := range uint64(5) {
		s := sales(newTest(t, Options{Seed: seed, History: n}), n)
		c := Ceiling(s)
		t.Logf("seed %d: R2 of a perfect model on %d sales: %.4f", seed, n, c)
		if c < 0.87 || c > 0.905 {
			t.Errorf("seed %d: ceiling %.4f, want about 0.887", seed, c)
		}
		mean += c / 5
		ratio := 0.0
		for i := range s {
			ratio += s[i].Price / s[i].BestPrediction() / n
		}
		if math.Abs(ratio-1) > 0.002 {
			t.Errorf("seed %d: prices are %.4f of their means on average", seed, ratio)
		}
	}
	if math.Abs(mean-0.887) > 0.005 {
		t.Errorf("mean ceiling %.4f, want about 0.887", mean)
	}
}

func TestCeilingByHand(t *testing.T) {
	t.Parallel()
	sale := func(price, mean float64) Sale {
		return Sale{Price: price, LogPrice: math.Log(mean / meanNoise)}
	}
	if c := Ceiling([]Sale{sale(1, 1), sale(3, 3)}); math.Abs(c-1) > 1e-12 {
		t.Errorf("without noise: %v", c)
	}
	if c := Ceiling([]Sale{sale(1, 2), sale(3, 2)}); math.Abs(c) > 1e-12 {
		t.Errorf("nothing but noise: %v", c)
	}
	for _, s := range [][]Sale{nil, {sale(1, 1)}, {sale(2, 1), sale(2, 3)}} {
		if c := Ceiling(s); !math.IsNaN(c) {
			t.Errorf("%d sales at one price: %v", len(s), c)
		}
	}
}

func TestAllocations(t *testing.T) {
	g := newTest(t, Options{})
	buf := make([]byte, 0, 1024)
	s := g.Sale(3)
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"Sale", 1, func() { s = g.Sale(3) }}, // the street
		{"AppendCSV", 0, func() { buf = s.AppendCSV(buf[:0]) }},
		{"AppendJSON", 0, func() { buf = s.AppendJSON(buf[:0]) }},
		{"AppendListing", 0, func() { buf = s.AppendListing(buf[:0]) }},
	} {
		if got := testing.AllocsPerRun(100, c.f); got > c.most {
			t.Errorf("%s allocates %v times, want %v", c.name, got, c.most)
		}
	}
}

func BenchmarkSale(b *testing.B) {
	g := newTest(b, Options{Seed: 1})
	for i := int64(0); b.Loop(); i++ {
		g.Sale(i)
	}
}

func BenchmarkListing(b *testing.B) {
	g := newTest(b, Options{Seed: 1})
	var buf []byte
	for i := int64(0); b.Loop(); i++ {
		s := g.Sale(i)
		buf = s.AppendListing(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "bytes/listing")
}
