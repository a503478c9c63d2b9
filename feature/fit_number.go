package feature

import (
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/stat"
)

func addNumberFits(m map[string]function) {
	number := func(usage, doc string, f *fitting, o ...option) {
		f.args = "n"
		addFit(m, usage, doc, f, o...)
	}
	center := flagOption("center", true, "whether the mean is taken off; else the result has the mean of x")
	scale := flagOption("scale", true, "whether to divide by the standard deviation")
	number("standard(x)", "x less its mean, divided by its population standard deviation; 0 where all training rows have one value",
		&fitting{result: resultKind(kindNumber), learn: newMomentsFit, lower: lowerStandard}, center, scale)
	number("min_max(x)", "x moved from its range in the training rows to the range from low to high; what lies outside becomes the nearer end, and is counted",
		&fitting{result: resultKind(kindNumber), check: checkMinMax, learn: newMomentsFit, lower: lowerMinMax},
		numberOption("low", 0, -1e300, 1e300, "the least result"), numberOption("high", 1, -1e300, 1e300, "the largest result"))
	number("max_abs(x)", "x divided by its largest absolute value in the training rows; what lies outside becomes -1 or 1, and is counted",
		&fitting{result: resultKind(kindNumber), learn: newMomentsFit, lower: lowerMaxAbs})
	number("impute(x)", "x, or where it is missing its mean or median in the training rows",
		&fitting{result: resultKind(kindNumber), learn: newImputeFit, lower: lowerImpute}, textOption("by", "median", "what stands for a missing x", "median", "mean"))
	output := textOption("output", outputOneHot, "an element for each bucket, or the number of the bucket", outputOneHot, outputIndex)
	number("quantile_bucket(x)", "the bucket of x, where each has as many training rows as the others as nearly as can be; what lies outside of their range is in the bucket of the nearer end, and is counted",
		&fitting{result: outputKind, learn: newQuantileFit, lower: lowerQuantileBucket}, wholeOption("buckets", 4, 2, 1000, "how many"), output)
	both := []option{
		flagOption("lower", true, "whether a low x is an outlier"), flagOption("upper", true, "whether a high x is an outlier"),
	}
	number("iqr_outlier(x)", "whether x is below the first quartile of the training rows or above the third by more than factor times their distance",
		&fitting{result: resultKind(kindBool), learn: newQuartileFit, lower: lowerOutlier}, append(both, numberOption("factor", 1.5, 0, 1e6, "how far"))...)
	number("quantile_outlier(x)", "whether x is in the first or the last of some buckets of equally many training rows",
		&fitting{result: resultKind(kindBool), learn: newTailFit, lower: lowerOutlier}, append(both, wholeOption("buckets", 3, 3, 1000, "how many"))...)
	addFit(m, "z_score(x, key)", "x less the mean of its key in the training rows, divided by the key's population standard deviation; missing for a key that was not seen, which is counted",
		&fitting{args: "nt", result: resultKind(kindNumber), learn: newKeyedFit, lower: lowerZScore}, wholeOption("min_count", 2, 1, 1e9, "the training rows that a key needs"))
}

// addFit adds a fitted function, all of whose arguments have to be given but the class.
func addFit(m map[string]function, usage, doc string, f *fitting, o ...option) {
	n := len(f.args)
	least := n
	if f.class > 0 {
		least--
	}
	m[nameOf(usage)] = function{usage: usage, min: least, max: n, build: (*scope).fittedCall, options: o, fit: f, doc: doc}
}

func outputKind(o options) kind {
	if o.text("output") == outputIndex {
		return kindNumber
	}
	return kindVector
}

// momentsFit learns the moments of a number: what it holds is mean, deviation, min, max; nothing if there was no value.
type momentsFit struct{ stat.Moments }

func newMomentsFit(options) learner { return &momentsFit{} }

func (f *momentsFit) add(r *fitRows) {
	for i, x := range r.args[0].number {
		if r.keep[i] && x == x {
			f.Add(x)
		}
	}
}

func (f *momentsFit) merge(o learner) { f.Merge(&o.(*momentsFit).Moments) } //nolint:errcheck,forcetypeassert // learners of one call

func (f *momentsFit) learn() (fitted, error) {
	if f.N() == 0 {
		return fitted{}, nil
	}
	return fitted{numbers: []float64{f.Mean(), f.Deviation(), f.Min(), f.Max()}}, nil
}

// missing is the result of a function that had no training value at all.
func (s *scope) missing(c *call) ref { return s.constant(c.node, opNumber, literal{missing: true}) }

func (s *scope) number(c *call, x float64) ref {
	return s.constant(c.node, opNumber, literal{number: x})
}

func lowerStandard(s *scope, c *call, args []ref, o options, f fitted) ref {
	if f.numbers == nil {
		return s.missing(c)
	}
	mean, deviation := f.numbers[0], f.numbers[1]
	x := s.apply(c.node, "sub", nil, args[0], s.number(c, mean))
	if o.flag("scale") && deviation > 0 {
		x = s.apply(c.node, "div", nil, x, s.number(c, deviation))
	}
	if !o.flag("center") {
		x = s.apply(c.node, "add", nil, x, s.number(c, mean))
	}
	return x
}

// inRange brings x into a range, and counts what was outside.
func (s *scope) inRange(c *call, x ref, low, high float64) ref {
	return s.add(c.node, value{op: opWithin, args: []int32{x.id}, numbers: []float64{low, high}, owner: s.name})
}

func checkMinMax(o options) string {
	if !(o.number("low") < o.number("high")) {
		return "low must be below high"
	}
	return ""
}

func lowerMinMax(s *scope, c *call, args []ref, o options, f fitted) ref {
	low, high := o.number("low"), o.number("high")
	if f.numbers == nil {
		return s.missing(c)
	}
	least, most := f.numbers[2], f.numbers[3]
	x := s.inRange(c, args[0], least, most)
	if math.IsInf(most-least, 0) { // halves have a distance
		x, least, most = s.apply(c.node, "div", nil, x, s.number(c, 2)), least/2, most/2
	}
	x = s.apply(c.node, "sub", nil, x, s.number(c, least))
	if width := most - least; width > 0 {
		x = s.apply(c.node, "div", nil, x, s.number(c, width))
	}
	return s.apply(c.node, "add", nil, s.apply(c.node, "mul", nil, x, s.number(c, high-low)), s.number(c, low))
}

func lowerMaxAbs(s *scope, c *call, args []ref, _ options, f fitted) ref {
	if f.numbers == nil {
		return s.missing(c)
	}
	most := max(-f.numbers[2], f.numbers[3])
	x := s.inRange(c, args[0], -most, most)
	if most == 0 {
		return x
	}
	return s.apply(c.node, "div", nil, x, s.number(c, most))
}

// sampleRows is the number of training rows that quantiles are computed of: all, or as many at random. The rank of a
// quantile p is then off by about sqrt(p(1-p)/sampleRows), 0.2 % for the median.
const sampleRows = 1 << 16

// sampleSeed draws the rows, for good.
const sampleSeed = 0x6d696c6c72616365

// sampleFit learns quantiles of a number.
type sampleFit struct {
	*stat.Sample
	of func(*stat.Sample) []float64
}

func newSampleFit(of func(*stat.Sample) []float64) learner {
	s, err := stat.NewSample(sampleRows, sampleSeed)
	if err != nil {
		panic("feature: " + err.Error()) // the size is a constant
	}
	return &sampleFit{s, of}
}

func (f *sampleFit) add(r *fitRows) {
	for i, x := range r.args[0].number {
		if r.keep[i] && x == x {
			f.Add(uint64(r.id[i]), x)
		}
	}
}

func (f *sampleFit) merge(o learner) { f.Merge(o.(*sampleFit).Sample) } //nolint:errcheck,forcetypeassert // learners of one call

func (f *sampleFit) learn() (fitted, error) {
	if f.N() == 0 {
		return fitted{}, nil
	}
	return fitted{numbers: f.of(f.Sample)}, nil
}

// newQuantileFit learns the splits between buckets. A split lies right above the value at its rank, so that a value that
// equals it is in the lower bucket.
func newQuantileFit(o options) learner {
	n := o.whole("buckets")
	return newSampleFit(func(s *stat.Sample) []float64 {
		values := s.Values()
		splits := []float64{values[0]}
		for k := 1; k < n; k++ {
			splits = append(splits, above(stat.Rank(values, float64(k)/float64(n))))
		}
		return append(splits, values[len(values)-1])
	})
}

// above returns the next number, which for the largest one is itself: no literal is infinite.
func above(x float64) float64 { return clamped(math.Nextafter(x, math.Inf(1))) }

// clamped brings infinite numbers back into the range.
func clamped(x float64) float64 { return min(max(x, -math.MaxFloat64), math.MaxFloat64) }

// lowerQuantileBucket makes buckets of ascending splits: of equal ones, only the last of the buckets between them can
// have values, and it keeps its number. A value outside of the training rows' is in the bucket of the nearest, and counted.
func lowerQuantileBucket(s *scope, c *call, args []ref, o options, f fitted) ref {
	n, output := o.whole("buckets"), o.text("output")
	if f.numbers == nil {
		return s.coded(c, s.missing(c), indexNames(n), output, false)
	}
	x := s.inRange(c, args[0], f.numbers[0], f.numbers[n])
	splits := []float64{-math.MaxFloat64}
	picks := []float64{0}
	for k := 1; k < n; k++ {
		split := f.numbers[k]
		if split == math.MaxFloat64 { // no value is above it
			break
		}
		if split > splits[len(splits)-1] {
			splits, picks = append(splits, split), append(picks, float64(k))
		} else {
			picks[len(picks)-1] = float64(k)
		}
	}
	code := s.add(c.node, value{op: opBucket, args: []int32{x.id}, numbers: append(splits, math.MaxFloat64)})
	code = s.add(c.node, value{op: opPick, args: []int32{code.id}, numbers: picks})
	return s.coded(c, code, indexNames(n), output, false)
}

func newQuartileFit(o options) learner {
	factor := o.number("factor")
	return newSampleFit(func(s *stat.Sample) []float64 {
		values := s.Values()
		first, third := stat.Rank(values, 0.25), stat.Rank(values, 0.75)
		reach := float64(factor * clamped(third-first))
		return []float64{clamped(first - reach), clamped(third + reach)}
	})
}

func newTailFit(o options) learner {
	n := float64(o.whole("buckets"))
	return newSampleFit(func(s *stat.Sample) []float64 {
		values := s.Values()
		return []float64{above(stat.Rank(values, 1/n)), stat.Rank(values, (n-1)/n)}
	})
}

// lowerOutlier tests whether x is outside of two bounds.
func lowerOutlier(s *scope, c *call, args []ref, o options, f fitted) ref {
	if f.numbers == nil {
		return s.constant(c.node, opBool, literal{missing: true})
	}
	out := s.constant(c.node, opBool, literal{})
	if o.flag("lower") {
		out = s.apply(c.node, "or", nil, out, s.apply(c.node, "less", nil, args[0], s.number(c, f.numbers[0])))
	}
	if o.flag("upper") {
		out = s.apply(c.node, "or", nil, out, s.apply(c.node, "less", nil, s.number(c, f.numbers[1]), args[0]))
	}
	return out
}

func newImputeFit(o options) learner {
	if o.text("by") == "mean" {
		return newMomentsFit(o)
	}
	return newSampleFit(func(s *stat.Sample) []float64 { return []float64{stat.Interpolate(s.Values(), 0.5)} })
}

func lowerImpute(s *scope, c *call, args []ref, _ options, f fitted) ref {
	if f.numbers == nil {
		return args[0]
	}
	return s.apply(c.node, "coalesce", nil, args[0], s.number(c, f.numbers[0]))
}

// keyedFit learns the moments of a number for each of many keys.
type keyedFit struct {
	keys     map[string]*stat.SparseMoments
	least    int
	tooLarge bool
}

func newKeyedFit(o options) learner {
	return &keyedFit{keys: map[string]*stat.SparseMoments{}, least: o.whole("min_count")}
}

func (f *keyedFit) add(r *fitRows) {
	for i, x := range r.args[0].number {
		if k := r.args[1].text[i]; r.keep[i] && x == x && k.ok {
			if m := f.of(k.s); m != nil {
				m.Add(x)
			}
		}
	}
}

// of returns the moments of a key, or nil if there are too many keys.
func (f *keyedFit) of(key string) *stat.SparseMoments {
	m := f.keys[key]
	if m == nil && !f.tooLarge {
		if len(f.keys) == maxLevels {
			f.keys, f.tooLarge = nil, true
			return nil
		}
		m = &stat.SparseMoments{}
		f.keys[clone(key)] = m
	}
	return m
}

func (f *keyedFit) merge(o learner) {
	g := o.(*keyedFit) //nolint:errcheck,forcetypeassert // learners of one call
	if g.tooLarge {
		f.keys, f.tooLarge = nil, true
	}
	for k, m := range g.keys {
		if mine := f.of(k); mine != nil {
			mine.Merge(m)
		}
	}
}

func (f *keyedFit) learn() (fitted, error) {
	if f.tooLarge {
		return fitted{}, fmt.Errorf("there are more than %d keys in the training rows: take a key of fewer values, such as a part of it", maxLevels)
	}
	var out fitted
	keys, err := sortedTexts(f.keys)
	if err != nil {
		return fitted{}, err
	}
	for _, k := range keys {
		if f.keys[k].N() >= int64(f.least) {
			out.texts = append(out.texts, k)
		}
	}
	for _, k := range out.texts { // the means, then the deviations
		out.numbers = append(out.numbers, f.keys[k].Mean())
	}
	for _, k := range out.texts {
		out.numbers = append(out.numbers, f.keys[k].Deviation())
	}
	return out, nil
}

func lowerZScore(s *scope, c *call, args []ref, _ options, f fitted) ref {
	n := len(f.texts)
	if n == 0 {
		return s.missing(c)
	}
	deviations := slices.Clone(f.numbers[n:])
	for i := range deviations {
		if deviations[i] == 0 {
			deviations[i] = 1
		}
	}
	code := s.index(c, args[1], f.texts, 0)
	mean := s.add(c.node, value{op: opPick, args: []int32{code.id}, numbers: f.numbers[:n]})
	deviation := s.add(c.node, value{op: opPick, args: []int32{code.id}, numbers: deviations})
	return s.apply(c.node, "div", nil, s.apply(c.node, "sub", nil, args[0], mean), deviation)
}

// index returns the code of a text among labels, counted and missing where there is none.
func (s *scope) index(c *call, t ref, labels []string, buckets int) ref {
	code := s.add(c.node, value{op: opIndex, args: []int32{t.id}, texts: slices.Clone(labels), group: buckets})
	return s.add(c.node, value{op: opSeen, args: []int32{code.id}, owner: s.name})
}
