package feature

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"millrace.dev/internal/stat"
)

func addLabelFits(m map[string]function) {
	addFit(m, "mdl_bucket(x, class)", "the bucket of x, where the training rows' classes tell the buckets apart best (Fayyad and Irani's minimum description length); "+
		"the class is an expression that may use the label, and by default is the label",
		&fitting{args: "nt", class: 2, result: outputKind, learn: newMDLFit, lower: lowerMDL},
		wholeOption("bins", 50, 2, 1000, "how many buckets at most"), numberOption("stop", 0, 0, 1, "the information that a split has to bring"),
		numberOption("min_share", 0, 0, 0.5, "the least share of the training rows in a bucket"),
		textOption("output", outputOneHot, "an element for each bucket, or the number of the bucket", outputOneHot, outputIndex))
	addFit(m, "target_mean(text, target)", "the mean target of the training rows with the same text, drawn to the mean of all as if smoothing more rows had that; for a training row, of the rows in other folds; "+
		"the target is an expression that may use the label, and by default is the label; missing for texts that were not seen, which are counted",
		&fitting{args: "tn", class: 2, result: resultKind(kindNumber), learn: newTargetFit, lower: lowerTarget},
		wholeOption("folds", 5, 2, 100, "the parts of the training rows"), numberOption("smoothing", 10, 0, 1e9, "rows of the mean of all"))
}

// mdlFit learns the splits that tell classes apart. Classes are told apart by a hash of their names, so that learners of
// parts of the rows agree.
type mdlFit struct {
	*stat.Sample
	o options
}

func newMDLFit(o options) learner {
	s, err := stat.NewSample(sampleRows, sampleSeed)
	if err != nil {
		panic("feature: " + err.Error()) // the size is a constant
	}
	return &mdlFit{s, o}
}

func (f *mdlFit) add(r *fitRows) {
	for i, x := range r.args[0].number {
		if class := r.args[1].text[i]; r.keep[i] && x == x && class.ok {
			f.AddClass(uint64(r.id[i]), x, stat.MurmurString(class.s, stat.MurmurSeed)&math.MaxInt32)
		}
	}
}

func (f *mdlFit) merge(o learner) { f.Merge(o.(*mdlFit).Sample) } //nolint:errcheck,forcetypeassert // learners of one call

func (f *mdlFit) learn() (fitted, error) {
	if f.N() == 0 {
		return fitted{}, nil
	}
	values, classes := f.Pairs()
	m := stat.MDL{MaxBins: f.o.whole("bins"), Stop: f.o.number("stop"), MinBinPercentage: 100 * f.o.number("min_share")}
	cuts, err := m.Cuts(values, classes)
	if err != nil {
		return fitted{}, err
	}
	return fitted{numbers: slices.Concat([]float64{-math.MaxFloat64}, cuts, []float64{math.MaxFloat64})}, nil
}

func lowerMDL(s *scope, c *call, args []ref, o options, f fitted) ref {
	if f.numbers == nil {
		return s.coded(c, s.missing(c), nil, o.text("output"), false)
	}
	return s.buckets(c, args[0], f.numbers, o.text("output"))
}

// targetFit learns the mean of the target for each text, in each fold apart.
type targetFit struct {
	texts     map[string]*folded
	folds     int
	smoothing float64
	tooLarge  bool
}

// folded has the folds in which a text has rows, ascending.
type folded struct{ folds []group }

// group sums up rows of a fold.
type group struct {
	fold int
	n    int64
	sum  stat.SparseSum
}

func newTargetFit(o options) learner {
	return &targetFit{texts: map[string]*folded{}, folds: o.whole("folds"), smoothing: o.number("smoothing")}
}

func (f *targetFit) add(r *fitRows) {
	for i, t := range r.args[0].text {
		if target := r.args[1].number[i]; r.keep[i] && t.ok && target == target {
			if g := f.of(t.s); g != nil {
				fold := g.of(foldOf(r.id[i], f.folds))
				fold.n++
				fold.sum.Add(target)
			}
		}
	}
}

// of returns what is known of a text, or nil if there are too many texts.
func (f *targetFit) of(t string) *folded {
	g := f.texts[t]
	if g == nil && !f.tooLarge {
		if len(f.texts) == maxLevels {
			f.texts, f.tooLarge = nil, true
			return nil
		}
		g = &folded{}
		f.texts[clone(t)] = g
	}
	return g
}

func (g *folded) of(fold int) *group {
	i, ok := slices.BinarySearchFunc(g.folds, fold, func(g group, fold int) int { return g.fold - fold })
	if !ok {
		g.folds = slices.Insert(g.folds, i, group{fold: fold})
	}
	return &g.folds[i]
}

func (f *targetFit) merge(o learner) {
	g := o.(*targetFit) //nolint:errcheck,forcetypeassert // learners of one call
	if g.tooLarge {
		f.texts, f.tooLarge = nil, true
	}
	for t, theirs := range g.texts {
		if mine := f.of(t); mine != nil {
			for i := range theirs.folds {
				mine.of(theirs.folds[i].fold).merge(&theirs.folds[i])
			}
		}
	}
}

func (g *group) merge(o *group) {
	g.n += o.n
	g.sum.Merge(&o.sum)
}

// without returns the rows of g that are not in o, which is a part of g.
func (g *group) without(o *group) group {
	rest := group{n: g.n - o.n, sum: g.sum.Clone()}
	rest.sum.Remove(&o.sum)
	return rest
}

func (f *targetFit) learn() (fitted, error) {
	if f.tooLarge {
		return fitted{}, fmt.Errorf("there are more than %d texts in the training rows: take a text of fewer values, such as a part of it", maxLevels)
	}
	texts, err := sortedTexts(f.texts)
	if err != nil {
		return fitted{}, err
	}
	all, byFold := group{}, make([]group, f.folds)
	totals := make([]group, len(texts))
	for i, t := range texts {
		for k := range f.texts[t].folds {
			g := &f.texts[t].folds[k]
			totals[i].merge(g)
			byFold[g.fold].merge(g)
		}
		all.merge(&totals[i])
	}
	prior := all.prior()
	out := fitted{texts: texts, numbers: make([]float64, len(texts)), folds: make([][]float64, f.folds)}
	for i := range texts {
		out.numbers[i] = totals[i].smoothed(prior, f.smoothing)
	}
	for fold := range f.folds {
		out.folds[fold] = f.outside(fold, texts, totals, &all, &byFold[fold])
	}
	return out, nil
}

// outside returns the mean of each text over the rows outside of a fold.
func (f *targetFit) outside(fold int, texts []string, totals []group, all, inside *group) []float64 {
	others := all.without(inside)
	prior, means := others.prior(), make([]float64, len(texts))
	for i, t := range texts {
		rest := totals[i]
		for k := range f.texts[t].folds {
			if g := &f.texts[t].folds[k]; g.fold == fold {
				rest = totals[i].without(g)
			}
		}
		means[i] = rest.smoothed(prior, f.smoothing)
	}
	return means
}

// prior is the mean of the rows of all texts; that of no row at all is 0.
func (g *group) prior() float64 {
	if g.n == 0 {
		return 0
	}
	return g.sum.Mean(g.n)
}

// smoothed is the mean of the rows and of as many more of the prior as smoothing says. Without any it is the prior.
func (g *group) smoothed(prior, smoothing float64) float64 {
	weight := float64(g.n) + smoothing
	if g.n == 0 || !(weight > 0) {
		return prior
	}
	mean := (g.sum.Float64() + float64(smoothing*prior)) / weight
	if mean-mean != 0 { // the sum is beyond the range, though no mean is
		share := float64(g.n) / weight
		mean = float64(g.sum.Mean(g.n)*share) + float64(prior*(1-share))
	}
	return mean
}

// sortedTexts returns the keys of m in the order of their bytes.
func sortedTexts[V any](m map[string]V) ([]string, error) {
	var out []string
	for t := range m {
		if !utf8.ValidString(t) {
			return nil, errors.New("it has a text that is not UTF-8: mend the encoding of the data")
		}
		out = append(out, t)
	}
	slices.Sort(out)
	return out, nil
}

func lowerTarget(s *scope, c *call, args []ref, _ options, f fitted) ref {
	if len(f.texts) == 0 {
		return s.missing(c)
	}
	code := s.index(c, args[0], f.texts, 0)
	return s.add(c.node, value{op: opPick, args: []int32{code.id}, numbers: f.numbers, folds: f.folds})
}
