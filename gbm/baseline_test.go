package gbm

import (
	"math"
	"testing"
)

// TestBaseline holds that the baseline is what a forest without trees predicts.
func TestBaseline(t *testing.T) {
	t.Parallel()
	for _, f := range []Forest{{link: LinkIdentity, initial: -3.5}, {link: LinkExp, initial: 12.25}, {link: LinkExp, initial: 1e6}} {
		want := f.initial
		if f.link == LinkExp {
			want = f.link.apply(f.initial)
		}
		if got := f.Baseline(); got != want || math.IsInf(got, 0) {
			t.Errorf("link %d of %v: %v, want %v", f.link, f.initial, got, want)
		}
	}
}
