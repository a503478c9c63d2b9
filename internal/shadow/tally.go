package shadow

import (
	"cmp"
	"math"
	"slices"

	"millrace.dev/internal/drift"
	"millrace.dev/internal/stat"
)

// Options say what a [Tally] counts.
type Options struct {
	// Beyond is the difference from which on, exclusive, a pair counts as different. Default: 0
	Beyond float64
	// Top is for how many pairs with the largest differences the report has room. Default: none
	Top int
}

// Tally takes pairs in, and describes them.
type Tally struct {
	options   Options
	pairs     int64
	same      int64
	different int64
	within    []int64
	diff      stat.Moments
	size      stat.Moments
	joint     joint
	sample    sample
	ranges    map[int32]*Range
	from, to  int64
	models    map[int32]*byModel
	top       []Found
}

type byModel struct{ diff, size stat.Moments }

// Found is a pair with where it was found.
type Found struct {
	Stream                Stream
	Production, Candidate Prediction
}

// Size returns the magnitude of the difference.
func (f *Found) Size() float64 { return math.Abs(f.Candidate.Value - f.Production.Value) }

// parts are of which parts of production's prediction the report says how many pairs differ by no more.
func parts() []float64 { return []float64{0.001, 0.01, 0.05, 0.1} }

// NewTally returns an empty tally.
func NewTally(o Options) *Tally {
	return &Tally{
		options: o, within: make([]int64, len(parts())), ranges: map[int32]*Range{}, models: map[int32]*byModel{},
		from: math.MaxInt64, to: math.MinInt64, sample: newSample(SampleSize),
	}
}

// Pairs returns how many pairs there are.
func (t *Tally) Pairs() int64 { return t.pairs }

// Add takes a pair in.
func (t *Tally) Add(s Stream, production, candidate *Prediction) {
	a, b := production.Value, candidate.Value
	d := b - a
	size := math.Abs(d)
	t.pairs++
	if math.Float64bits(a) == math.Float64bits(b) {
		t.same++
	}
	if size > t.options.Beyond {
		t.different++
	}
	for i, part := range parts() {
		if size <= float64(part*math.Abs(a)) {
			t.within[i]++
		}
	}
	t.diff.Add(d)
	t.size.Add(size)
	t.joint.add(a, b)
	t.sample.add(item{a: a, b: b, at: production.Timestamp}, rowOf(s.Source, production.Offset))
	r := t.ranges[s.Source]
	if r == nil {
		r = &Range{Partition: s.Source, From: production.Offset, To: production.Offset + 1}
		t.ranges[s.Source] = r
	}
	r.From, r.To, r.Pairs = min(r.From, production.Offset), max(r.To, production.Offset+1), r.Pairs+1
	if at := production.Timestamp; at >= 0 {
		t.from, t.to = min(t.from, at), max(t.to, at)
	}
	m := t.models[production.Model]
	if m == nil {
		m = &byModel{}
		t.models[production.Model] = m
	}
	m.diff.Add(d)
	m.size.Add(size)
	t.keepTop(Found{s, *production, *candidate})
}

// rowOf numbers a record of the source, for the sample.
func rowOf(partition int32, offset int64) uint64 { return uint64(partition)<<44 ^ uint64(offset) } //nolint:gosec // neither is negative

// keepTop keeps the pair if it is among those that differ most: of two that differ by the same, the earlier one.
func (t *Tally) keepTop(f Found) {
	if t.options.Top == 0 || f.Size() == 0 || len(t.top) == t.options.Top && order(&f, &t.top[len(t.top)-1]) > 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(t.top, f, func(a, b Found) int { return order(&a, &b) })
	t.top = slices.Insert(t.top, i, f)
	t.top = t.top[:min(len(t.top), t.options.Top)]
}

func order(a, b *Found) int {
	return cmp.Or(cmp.Compare(b.Size(), a.Size()), cmp.Compare(a.Stream.Source, b.Stream.Source), cmp.Compare(a.Production.Offset, b.Production.Offset))
}

// Top returns the pairs that differ most, the largest difference first. It must not be changed.
func (t *Tally) Top() []Found { return t.top }

// Leading returns production's model with the most pairs; of several the one with the lowest index, and 0 for none.
func (t *Tally) Leading() int32 {
	best, most := int32(0), int64(0)
	for m, of := range t.models {
		if n := of.diff.N(); n > most || n == most && m < best {
			best, most = m, n
		}
	}
	return best
}

// joint is how two values go together, kept as means and sums of products of distances from them (Welford).
type joint struct{ n, meanA, meanB, aa, bb, ab float64 }

func (j *joint) add(a, b float64) {
	j.n++
	da, db := a-j.meanA, b-j.meanB
	j.meanA += da / j.n
	j.meanB += db / j.n
	j.aa += float64(da * (a - j.meanA))
	j.bb += float64(db * (b - j.meanB))
	j.ab += float64(da * (b - j.meanB))
}

// correlation returns Pearson's correlation; NaN where one of the two does not vary.
func (j *joint) correlation() float64 {
	if !(j.aa > 0 && j.bb > 0) {
		return math.NaN()
	}
	return min(max(j.ab/(math.Sqrt(j.aa)*math.Sqrt(j.bb)), -1), 1)
}

// Into writes what was counted into a report. name returns the name of a model.
func (t *Tally) Into(r *Report, name func(int32) string) {
	r.Pairs, r.Agreement.Same, r.Agreement.Different, r.Agreement.Beyond = t.pairs, t.same, t.different, t.options.Beyond
	for i, part := range parts() {
		share := math.NaN()
		if t.pairs > 0 {
			share = float64(t.within[i]) / float64(t.pairs)
		}
		r.Agreement.Within = append(r.Agreement.Within, Within{part, drift.Number(share)})
	}
	r.Agreement.Correlation = drift.Number(t.joint.correlation())
	r.Difference = Difference{
		Mean: drift.Number(t.diff.Mean()), Deviation: drift.Number(t.diff.SampleDeviation()), MeanSize: drift.Number(t.size.Mean()),
		Least: drift.Number(t.diff.Min()), Largest: drift.Number(t.diff.Max()),
	}
	r.Partitions = []Range{}
	for _, p := range t.ranges {
		r.Partitions = append(r.Partitions, *p)
	}
	slices.SortFunc(r.Partitions, func(a, b Range) int { return cmp.Compare(a.Partition, b.Partition) })
	if t.from <= t.to {
		from, to := t.from, t.to
		r.From, r.To = &from, &to
	}
	r.Models = []ByModel{}
	for m, of := range t.models {
		r.Models = append(r.Models, ByModel{name(m), of.diff.N(), drift.Number(of.diff.Mean()), drift.Number(of.size.Mean())})
	}
	slices.SortFunc(r.Models, func(a, b ByModel) int { return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.Model, b.Model)) })
	t.sample.into(r)
}
