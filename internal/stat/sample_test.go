package stat

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func newSample(t interface{ Fatal(...any) }, size int) *Sample {
	s, err := NewSample(size, 7)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSampleSizes(t *testing.T) {
	t.Parallel()
	for size, ok := range map[int]bool{-1: false, 0: true, 1: true, maxSample: true, maxSample + 1: false} {
		if _, err := NewSample(size, 0); (err == nil) != ok {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if s := newSample(t, 0); s.size != DefaultSample {
		t.Errorf("the default is %d", s.size)
	}
}

// labelled is a row with its value and class.
type labelled struct {
	row   uint64
	value float64
	class int32
}

func addLabelled(s *Sample, r labelled) { s.AddClass(r.row, r.value, r.class) }

// TestSampleMerges holds samples that are merged in any way against the rows of the lowest hashes.
func TestSampleMerges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		classes := rapid.Bool().Draw(t, "classes")
		rows := make([]labelled, rapid.IntRange(0, 200).Draw(t, "rows"))
		for i := range rows {
			rows[i] = labelled{uint64(i), rapid.SampledFrom(hard()).Draw(t, "x"), NoClass}
			if classes && i%3 > 0 {
				rows[i].class = int32(i % 4)
			}
		}
		one := newSample(t, size)
		for _, r := range rows {
			addLabelled(one, r)
		}
		merged := parts(t, rows, func() *Sample { return newSample(t, size) }, addLabelled, (*Sample).Merge)

		slices.SortFunc(rows, func(a, b labelled) int {
			if mix64(a.row*0x9e3779b97f4a7c15+7) < mix64(b.row*0x9e3779b97f4a7c15+7) {
				return -1
			}
			return 1
		})
		n := len(rows)
		rows = rows[:min(n, size)]
		var keys []uint64
		for _, r := range rows {
			keys = append(keys, orderKey(r.value))
		}
		slices.Sort(keys)
		for _, s := range []*Sample{one, merged} {
			if s.N() != int64(n) || s.Len() != len(rows) || s.Exact() != (n <= size) {
				t.Fatalf("n %d, length %d, exact %v", s.N(), s.Len(), s.Exact())
			}
			for i, v := range s.Values() {
				if orderKey(v) != keys[i] {
					t.Fatalf("value %d is %v", i, v)
				}
			}
		}
		v1, c1 := one.Pairs()
		v2, c2 := merged.Pairs()
		if !slices.EqualFunc(v1, v2, equalBits) || !slices.Equal(c1, c2) {
			t.Fatal("the pairs differ")
		}
	})
}

func TestSampleIgnoresMissing(t *testing.T) {
	t.Parallel()
	s := newSample(t, 5)
	for i, v := range []float64{math.NaN(), 3, math.Inf(1), math.Inf(-1)} {
		s.Add(uint64(i), v)
	}
	if s.N() != 1 || s.Quantile(0.5) != 3 {
		t.Errorf("n %d, median %v", s.N(), s.Quantile(0.5))
	}
}

func TestSampleMergePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("samples of two sizes merge")
		}
	}()
	newSample(t, 5).Merge(newSample(t, 6))
}

// TestSampleErrors compares ranks of quantiles with the standard error that the documentation names. The rows come in
// order of their values, which a sample that went by position would suffer from.
func TestSampleErrors(t *testing.T) {
	t.Parallel()
	const n, size = 400_000, 4096
	s := newSample(t, size)
	for i := range n {
		s.Add(uint64(i), float64(i))
	}
	if len(s.hashes) > size+size/4+1 || cap(s.hashes) > size+size/4+1 {
		t.Errorf("room for %d rows", cap(s.hashes))
	}
	worst := 0.0
	for p := 0.01; p < 1; p += 0.01 {
		off := math.Abs(s.Quantile(p)/n-p) / math.Sqrt(p*(1-p)/size)
		worst = max(worst, off)
	}
	t.Logf("worst of 99 quantiles: %.2f standard errors", worst)
	if worst > 4 {
		t.Errorf("a quantile is off by %.2f standard errors", worst)
	}
}

func TestQuantileDefinitions(t *testing.T) {
	t.Parallel()
	nan, tens := math.NaN(), []float64{10, 20, 30, 40, 50}
	for _, c := range []struct {
		sorted       []float64
		p            float64
		rank, linear float64
	}{
		{tens, 0, 10, 10},
		{tens, 0.1, 10, 14},
		{tens, 0.2, 20, 18},
		{tens, 0.5, 30, 30},
		{tens, 0.99, 50, 49.6},
		{tens, 1, 50, 50},
		{tens, -3, 10, 10},
		{tens, 7, 50, 50},
		{tens, nan, nan, nan},
		{nil, 0.5, nan, nan},
		{tens[:1], 0.3, 10, 10},
		{[]float64{-math.MaxFloat64, math.MaxFloat64}, 0.5, math.MaxFloat64, 0},
	} {
		rank, linear := Rank(c.sorted, c.p), Interpolate(c.sorted, c.p)
		if !equalBits(rank, c.rank) || math.Abs(linear-c.linear) > 1e-12 || math.IsNaN(linear) != math.IsNaN(c.linear) {
			t.Errorf("%v at %v: %v and %v, want %v and %v", c.sorted, c.p, rank, linear, c.rank, c.linear)
		}
	}
	s := newSample(t, 0)
	for i, v := range tens {
		s.Add(uint64(i), v)
	}
	if diff := cmp.Diff([]float64{10, 30, 50}, s.Quantiles([]float64{0, 0.5, 1})); diff != "" {
		t.Error(diff)
	}
}

func TestSelectNth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.Uint64Range(0, 20), 1, 50).Draw(t, "keys")
		sorted := slices.Sorted(slices.Values(keys))
		n := rapid.IntRange(0, len(keys)-1).Draw(t, "n")
		selectNth(keys, n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		slices.Sort(keys[:n])
		if !slices.Equal(keys[:n], sorted[:n]) {
			t.Fatalf("the %d smallest are %v, want %v", n, keys[:n], sorted[:n])
		}
	})
}

func BenchmarkSample(b *testing.B) {
	x := make([]float64, 1<<20)
	for i := range x {
		x[i] = rand.Float64()
	}
	for b.Loop() {
		s := newSample(b, 0)
		for i, v := range x {
			s.Add(uint64(i), v)
		}
	}
	perValue(b, len(x))
}
