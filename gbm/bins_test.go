package gbm

import (
	"math"
	"slices"
	"testing"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		counts []int
		limit  int
		want   []int
	}{
		"none":               {nil, 3, nil},
		"one":                {[]int{7}, 3, []int{1}},
		"all fit":            {[]int{5, 1, 9}, 3, []int{1, 2, 3}},
		"equal":              {[]int{1, 1, 1, 1, 1, 1}, 3, []int{2, 4, 6}},
		"one large":          {[]int{1, 1, 100, 1, 1}, 3, []int{2, 3, 5}},
		"two large, no room": {[]int{1, 50, 1, 50, 1}, 2, []int{3, 5}},
	} {
		if got := groups(c.counts, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestGroupsProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.SliceOf(rapid.IntRange(1, 50)).Draw(t, "counts")
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		ends := groups(counts, limit)
		if len(ends) > limit {
			t.Fatalf("%d groups", len(ends))
		}
		if len(counts) <= limit && len(ends) != len(counts) {
			t.Fatalf("%d groups for %d counts", len(ends), len(counts))
		}
		last := 0
		for _, e := range ends {
			if e <= last {
				t.Fatalf("ends %v", ends)
			}
			last = e
		}
		if last != len(counts) {
			t.Fatalf("ends %v for %d counts", ends, len(counts))
		}
	})
}

func TestMiddle(t *testing.T) {
	t.Parallel()
	tiny := math.SmallestNonzeroFloat64
	for _, c := range []struct{ a, b, want float64 }{
		{1, 2, 1.5},
		{-3, 3, 0},
		{math.MaxFloat64 / 2, math.MaxFloat64, math.MaxFloat64 * 0.75},
		{-math.MaxFloat64, math.MaxFloat64, 0},
		{1, math.Nextafter(1, 2), 1},
		{0, tiny, 0},
		{5, math.Inf(1), 5},
		{math.Inf(-1), 5, math.Inf(-1)},
		{math.Inf(-1), math.Inf(1), math.Inf(-1)},
	} {
		if got := middle(c.a, c.b); got != c.want {
			t.Errorf("middle(%g, %g) = %g, want %g", c.a, c.b, got, c.want)
		}
	}
}

// TestNumericBins checks that a bin's values and its cuts agree with the rule x <= cut goes left.
func TestNumericBins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, 2, math.NaN(), math.Inf(1), math.Inf(-1)})), 1, 80).Draw(t, "values")
		limit := rapid.IntRange(2, 10).Draw(t, "limit")
		b := numericBins(values, limit, 1)
		if b.n > limit || len(b.cuts) != max(0, b.n-1) || !slices.IsSorted(b.cuts) {
			t.Fatalf("%+v", b)
		}
		for _, v := range values {
			k := b.bin(v)
			if math.IsNaN(v) {
				if k != b.n {
					t.Fatalf("missing is in bin %d of %d", k, b.n)
				}
				continue
			}
			for i, cut := range b.cuts {
				if (v <= cut) != (k <= i) {
					t.Fatalf("%g is in bin %d, but cut %d is %g", v, k, i, cut)
				}
			}
		}
	})
}

func TestEnumBins(t *testing.T) {
	t.Parallel()
	c := &record.Column{Type: record.Enum, Levels: []string{"e", "d", "c", "b", "a", "unseen"}}
	for code, n := range []int{1, 50, 1, 1, 1, 0} {
		for range n {
			c.Codes = append(c.Codes, int32(code))
		}
	}
	c.Codes = append(c.Codes, record.MissingCode)
	// In byte order: a b c | d | e. The unseen level and missing have the bin after them.
	b := enumBins(c, 3)
	if b.n != 3 || !slices.Equal(b.levelBins, []uint16{2, 1, 0, 0, 0, 3}) || b.levelBin(record.MissingCode) != 3 {
		t.Errorf("%+v", b)
	}
	if b := enumBins(c, 10); b.n != 5 || !slices.Equal(b.levelBins, []uint16{4, 3, 2, 1, 0, 5}) {
		t.Errorf("%+v", b)
	}
}

// TestSampledBins checks that the quantiles of a column too long to sort are good ones.
func TestSampledBins(t *testing.T) {
	t.Parallel()
	values := make([]float64, 3*binSample)
	for i := range values {
		values[i] = float64(i * 7919 % len(values))
	}
	b := numericBins(values, 100, 1)
	if b.n < 95 || b.n > 100 {
		t.Errorf("%d bins", b.n)
	}
	count := make([]int, b.n)
	for _, v := range values {
		count[b.bin(v)]++
	}
	fair := len(values) / b.n
	for k, n := range count[:b.n-1] { // the last takes what is left
		if n < fair/2 || n > 2*fair {
			t.Errorf("bin %d has %d rows, a fair share is %d", k, n, fair)
		}
	}
}
