package stat

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDistinct(t *testing.T) {
	t.Parallel()
	var d Distinct
	if d.Estimate() != 0 {
		t.Errorf("nothing is %d texts", d.Estimate())
	}
	worst, next := 0.0, 10
	for i := 1; i <= 3_000_000; i++ {
		d.AddHash(mix64(uint64(i) * 0x9e3779b97f4a7c15))
		if i == next {
			off := float64(d.Estimate())/float64(i) - 1
			t.Logf("%8d: %+.3f %%", i, 100*off)
			worst, next = max(worst, math.Abs(off)), next*5/4
		}
	}
	if worst > 0.025 {
		t.Errorf("off by %.2f %%, the standard error is 0.8 %%", 100*worst)
	}
}

func TestDistinctMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := texts(t, 1000, 80)
		var one Distinct
		for _, s := range list {
			one.Add(s)
		}
		if merged := parts(t, list, func() *Distinct { return &Distinct{} }, (*Distinct).Add, (*Distinct).Merge); *merged != one {
			t.Fatal("the registers differ")
		}
		slices.Sort(list)
		if n := uint64(len(slices.Compact(list))); one.Estimate() != n && one.Estimate()+1 != n && one.Estimate() != n+1 {
			t.Fatalf("%d, want %d", one.Estimate(), n)
		}
	})
}

// TestDistinctExtremes has hashes of the first and last registers, and of all values.
func TestDistinctExtremes(t *testing.T) {
	t.Parallel()
	var d Distinct
	for i := range uint64(distinctCells) {
		d.AddHash(i << (64 - distinctBits))
	}
	if d.registers[0] != distinctMost || d.Estimate() == 0 {
		t.Errorf("register %d, estimate %d", d.registers[0], d.Estimate())
	}
	var one Distinct
	if one.AddHash(math.MaxUint64); one.registers[distinctCells-1] != 1 || one.Estimate() != 1 {
		t.Errorf("register %d, estimate %d", one.registers[distinctCells-1], one.Estimate())
	}
}

func BenchmarkDistinct(b *testing.B) {
	list := make([]string, 1<<14)
	for i := range list {
		list[i] = fmt.Sprintf("WA %d", 98000+i%500)
	}
	var d Distinct
	for b.Loop() {
		for _, s := range list {
			d.Add(s)
		}
	}
	perValue(b, len(list))
}
