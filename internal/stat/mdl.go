package stat

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/detmath"
)

// MDL cuts the values of a number into bins within which the classes mix least, as few as the minimum description length
// principle justifies: U. Fayyad and K. Irani, "Multi-interval discretization of continuous-valued attributes for
// classification learning" (1993). Its parameters and the order of its cuts are those of Featran's MDL, which go back to
// github.com/sramirez/spark-MDLP-discretization, with two differences. Featran rounds values to float32, and when it cuts
// the left part of a cut further it overlooks the values next to the cut.
type MDL struct {
	// MaxBins is the largest number of bins. Wide parts are cut first. Default: 50.
	MaxBins int
	// MinBinPercentage is how many percent of the values, rounded down to a whole number of values, each side of a cut
	// must exceed. Default: 0.
	MinBinPercentage float64
	// Stop is the gain of information, in bits per value beyond what the principle asks for, that a cut must exceed.
	// Default: 0.
	Stop float64
}

// Validate tells whether the parameters are within bounds: MaxBins from 0 (the default) to 65,536, MinBinPercentage from 0
// to 100, and Stop at least 0.
func (m MDL) Validate() error {
	switch {
	case m.MaxBins < 0 || m.MaxBins > 1<<16:
		return fmt.Errorf("stat: %d bins: want 1 to 65,536", m.MaxBins)
	case !(m.MinBinPercentage >= 0 && m.MinBinPercentage <= 100):
		return fmt.Errorf("stat: bins of at least %v percent: want 0 to 100", m.MinBinPercentage)
	case !(m.Stop >= 0) || math.IsInf(m.Stop, 1):
		return fmt.Errorf("stat: a gain of more than %v bits: want a number that is not negative", m.Stop)
	}
	return nil
}

var errPairs = errors.New("stat: as many classes as values are needed, at most 2^24, and the values in ascending order")

// Cuts returns where values are cut, in ascending order: value x is in bin i where i cuts are at most x. A cut lies half
// way between two values. values and classes are as [Sample.Pairs] returns them; pairs of [NoClass] are left out. It takes
// time for each level of cuts in proportion to the pairs, and 28 bytes for each pair.
func (m MDL) Cuts(values []float64, classes []int32) ([]float64, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if len(values) != len(classes) || len(values) > 1<<24 || !slices.IsSorted(values) {
		return nil, errPairs
	}
	if m.MaxBins == 0 {
		m.MaxBins = 50
	}
	d := newDescription(values, classes)
	least := int(m.MinBinPercentage * float64(len(d.values)) / 100)
	var cuts []float64
	for queue := []part{{0, len(d.values)}}; len(queue) > 0 && len(cuts)+1 < m.MaxBins; queue = queue[1:] {
		p := queue[0]
		if at := d.cut(p, least, m.Stop); at > 0 {
			cuts = append(cuts, between(d.values[at-1], d.values[at]))
			queue = append(queue, part{p.from, at}, part{at, p.to})
		}
	}
	slices.Sort(cuts)
	return cuts, nil
}

// between returns the middle of a and b, where a < b: above a and at most b.
func between(a, b float64) float64 {
	middle := float64(a/2) + float64(b/2) // on their own: half of a tiny number is rounded
	if middle <= a || middle > b {
		return b
	}
	return middle
}

// part is a range of pairs.
type part struct{ from, to int }

// description is what is to be described: pairs in ascending order of their values, and the points between them that
// can be cuts. Entropies are whole numbers: n*log2(n) is held in units of 2^-30, so that sums of them can go up and down
// with the pairs and do not depend on the way.
type description struct {
	values   []float64
	classes  []int32 // from 0 on
	boundary []bool  // by pair: a cut before it can be the best
	nlogn    []int64 // by n, in units of 2^-30
	left     tally
	right    tally
}

const nlognUnit = 1 << 30

// tally counts pairs by class.
type tally struct {
	n       int
	of      []int // by class
	classes int   // that have a pair
	sum     int64 // of nlogn over the classes
}

func newDescription(values []float64, classes []int32) *description {
	d := &description{}
	dense := map[int32]int32{}
	for i, c := range classes {
		if c == NoClass || math.IsNaN(values[i]) || math.IsInf(values[i], 0) {
			continue
		}
		if _, ok := dense[c]; !ok {
			dense[c] = int32(len(dense))
		}
		d.values, d.classes = append(d.values, values[i]), append(d.classes, dense[c])
	}
	d.nlogn = make([]int64, len(d.values)+1)
	for n := 2; n < len(d.nlogn); n++ {
		d.nlogn[n] = int64(math.Round(float64(n) * (detmath.Log(float64(n)) / math.Ln2) * nlognUnit))
	}
	d.left.of, d.right.of = make([]int, len(dense)), make([]int, len(dense))
	d.boundary = boundaries(d.values, d.classes)
	return d
}

// boundaries returns the points where a cut can be the best one: between two values that are not both of one and the same
// class (theorem 1 of Fayyad and Irani).
func boundaries(values []float64, classes []int32) []bool {
	out := make([]bool, len(values))
	for i := 0; i < len(values); {
		next := i + 1
		for next < len(values) && values[next] == values[i] {
			next++
		}
		if i > 0 {
			out[i] = !uniform(classes, values, i, next)
		}
		i = next
	}
	return out
}

// uniform tells whether the pairs of the value from i up to next, and those of the value before, are of one class.
func uniform(classes []int32, values []float64, i, next int) bool {
	for k := i - 1; k >= 0 && values[k] == values[i-1]; k-- {
		if classes[k] != classes[i] {
			return false
		}
	}
	for k := i; k < next; k++ {
		if classes[k] != classes[i] {
			return false
		}
	}
	return true
}

// move counts a pair of class c in or out.
func (d *description) move(t *tally, c int32, by int) {
	before := t.of[c]
	after := before + by
	t.of[c], t.n = after, t.n+by
	t.sum += d.nlogn[after] - d.nlogn[before]
	switch {
	case before == 0:
		t.classes++
	case after == 0:
		t.classes--
	}
}

// bits returns the entropy of the classes in t, times the number of pairs, in units of 2^-30 bits.
func (d *description) bits(t *tally) int64 { return d.nlogn[t.n] - t.sum }

// cut returns the first pair to the right of the best cut of p; 0 if p should stay whole. Of equal cuts it is the lowest.
func (d *description) cut(p part, least int, stop float64) int {
	for _, c := range d.classes[p.from:p.to] {
		d.move(&d.right, c, 1)
	}
	n, classes, whole := d.right.n, d.right.classes, d.bits(&d.right)
	best, bestBits := 0, int64(math.MaxInt64)
	for i := p.from; i < p.to; i++ {
		if i > p.from && d.boundary[i] && d.left.n > least && d.right.n > least {
			split := d.bits(&d.left) + d.bits(&d.right)
			if split < bestBits && d.gain(n, classes, whole, split) > stop {
				best, bestBits = i, split
			}
		}
		d.move(&d.left, d.classes[i], 1)
		d.move(&d.right, d.classes[i], -1)
	}
	for _, c := range d.classes[p.from:p.to] {
		d.move(&d.left, c, -1)
	}
	return best
}

// gain returns by how many bits per value a cut shortens the description of n pairs, where it splits them as left and
// right are now. whole and split are the bits of the pairs without and with the cut.
func (d *description) gain(n, classes int, whole, split int64) float64 {
	mean := func(bits int64, n int) float64 { return float64(bits) / nlognUnit / float64(n) }
	k, left, right := float64(classes), float64(d.left.classes), float64(d.right.classes)
	delta := log3minus2(classes) - float64(k*mean(whole, n)) + float64(left*mean(d.bits(&d.left), d.left.n)) +
		float64(right*mean(d.bits(&d.right), d.right.n))
	cost := (detmath.Log(float64(n-1))/math.Ln2 + delta) / float64(n)
	return mean(whole-split, n) - cost
}

// log3minus2 returns log2(3^k - 2).
func log3minus2(k int) float64 {
	const log3 = 1.584962500721156181453738943947816508759814407692481060455
	if k > 33 { // 3^k - 2 and 3^k are the same float64
		return float64(log3 * float64(k))
	}
	power := 1.0
	for range k {
		power = float64(power * 3)
	}
	return detmath.Log(power-2) / math.Ln2
}
