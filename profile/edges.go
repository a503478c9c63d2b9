package profile

import (
	"math"
	"slices"

	"millrace.dev/record"
)

// Bins is the largest number of bins of a column of numbers, without the one for what is above all of the training data.
const Bins = 127

// edges returns the upper ends of bins for sorted values, at most bins of them. Where no more values differ, each has a
// bin of its own. Otherwise the bins have about equal numbers of values, but for a value that fills more than one: that has a bin
// to itself, with an edge just below it. Each edge is one of the values, the first the smallest and the last the largest.
func edges(sorted []float64, bins int) []float64 {
	if len(sorted) == 0 {
		return nil
	}
	distinct := slices.Compact(slices.Clone(sorted))
	if len(distinct) <= bins {
		return distinct
	}
	// Each heavy value takes up to two edges, the others share what is left by their number.
	heavy := heavyValues(sorted, bins)
	var light []float64
	for _, v := range sorted {
		if _, is := slices.BinarySearch(heavy, v); !is {
			light = append(light, v)
		}
	}
	out := []float64{distinct[0], distinct[len(distinct)-1]}
	for _, v := range heavy {
		out = append(out, v)
		if i, _ := slices.BinarySearch(distinct, v); i > 0 {
			out = append(out, distinct[i-1])
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if rest := bins - len(out); rest > 0 && len(light) > 0 {
		for i := 1; i <= rest; i++ {
			out = append(out, light[i*(len(light)-1)/(rest+1)])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// heavyValues returns the values that come more often than a share of two in bins, ascending; at most a quarter of bins.
func heavyValues(sorted []float64, bins int) []float64 {
	var out []float64
	for from := 0; from < len(sorted); {
		to := from
		for to < len(sorted) && sorted[to] == sorted[from] {
			to++
		}
		if (to-from)*bins > 4*len(sorted) {
			out = append(out, sorted[from])
		}
		from = to
	}
	return out
}

// binner finds bins. The edges are cut up into cells of equal width, on the scale of [key]: a number's cell says from which
// bin on to look, mostly the right one.
type binner struct {
	keys  [Bins + 1]uint64 // of the edges, and the largest after them
	base  uint64           // the key at which cells begin: of the first edge, or of the second if the first is 0
	shift uint64
	first [binCells]uint8 // by cell: the first bin that has something in it
}

const binCells = 2048

func newBinner(edges []float64) *binner {
	b := &binner{}
	for i := range b.keys {
		b.keys[i] = math.MaxUint64
		if i < len(edges) {
			b.keys[i] = key(edges[i])
		}
	}
	if len(edges) == 0 {
		return b
	}
	from := edges[:1]
	if edges[0] == 0 && len(edges) > 1 { // there are more floats between 0 and 1 than beyond
		from = edges[1:2]
	}
	b.base = key(from[0])
	for (key(edges[len(edges)-1])-b.base)>>b.shift >= binCells-1 {
		b.shift++
	}
	bin := uint8(0)
	for cell := range b.first {
		least := b.base + uint64(cell)<<b.shift
		for cell > 0 && bin < uint8(len(edges)) && b.keys[bin] < least {
			bin++
		}
		b.first[cell] = bin
	}
	return b
}

// key maps numbers to integers of the same order; -0 is 0.
func key(x float64) uint64 {
	b := math.Float64bits(x + 0)
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

// bin returns the bin of x, which is no NaN: the number of edges below it.
func (b *binner) bin(x float64) int {
	k := key(x)
	i := b.first[min((max(k, b.base)-b.base)>>b.shift, binCells-1)]
	for b.keys[i%(Bins+1)] < k {
		i++
	}
	return int(i)
}

// seconds returns a time in seconds since 1970.
func seconds(us int64) float64 {
	if us == record.MissingTime {
		return math.NaN()
	}
	return float64(us) / 1e6
}
