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

func (f *mdlFit) merge(o learner) { f.Merge(o.(*mdlFit).Sample) } //nolint:forcetypeassert // learners of one call

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
	texts     map[string][]group // by fold
	folds     int
	smoothing float64
	tooLarge  bool
}

// group sums up rows.
type group struct {
	n   int64
	sum stat.Sum
}

func newTargetFit(o options) learner {
	return &targetFit{texts: map[string][]group{}, folds: o.whole("folds"), smoothing: o.number("smoothing")}
}

func (f *targetFit) add(r *fitRows) {
	for i, t := range r.args[0].text {
		if target := r.args[1].number[i]; r.keep[i] && t.ok && target == target {
			if g := f.of(t.s); g != nil {
				fold := &g[foldOf(r.id[i], f.folds)]
				fold.n++
				fold.sum.Add(target)
			}
		}
	}
}

func (f *targetFit) of(t string) []group {
	g := f.texts[t]
	if g == nil && !f.tooLarge {
		if len(f.texts) == maxLevels {
			f.texts, f.tooLarge = nil, true
			return nil
		}
		g = make([]group, f.folds)
		f.texts[clone(t)] = g
	}
	return g
}

func (f *targetFit) merge(o learner) {
	g := o.(*targetFit) //nolint:forcetypeassert // learners of one call
	if g.tooLarge {
		f.texts, f.tooLarge = nil, true
	}
	for t, theirs := range g.texts {
		if mine := f.of(t); mine != nil {
			for i := range theirs {
				mine[i].merge(&theirs[i])
			}
		}
	}
}

func (g *group) merge(o *group) {
	g.n += o.n
	g.sum.Merge(&o.sum)
}

func (f *targetFit) learn() (fitted, error) {
	if f.tooLarge {
		return fitted{}, fmt.Errorf("there are more than %d texts in the training rows: take a text of fewer values, such as a part of it", maxLevels)
	}
	var out fitted
	for t := range f.texts {
		if !utf8.ValidString(t) {
			return fitted{}, errors.New("it has a text that is not UTF-8: mend the encoding of the data")
		}
		out.texts = append(out.texts, t)
	}
	slices.Sort(out.texts)
	out.numbers = f.means(out.texts, -1)
	for fold := range f.folds {
		out.folds = append(out.folds, f.means(out.texts, fold))
	}
	return out, nil
}

// means returns the smoothed mean of each text, over the rows outside of one fold. A text without such rows has the mean
// of all texts; the mean of no row at all is 0.
func (f *targetFit) means(texts []string, without int) []float64 {
	groups := make([]group, len(texts))
	var all group
	for i, t := range texts {
		for fold := range f.texts[t] {
			if fold != without {
				groups[i].merge(&f.texts[t][fold])
			}
		}
		all.merge(&groups[i])
	}
	prior := 0.0
	if all.n > 0 {
		prior = all.sum.Float64() / float64(all.n)
	}
	means := make([]float64, len(texts))
	for i := range groups {
		means[i] = prior
		if weight := float64(groups[i].n) + f.smoothing; weight > 0 {
			means[i] = (groups[i].sum.Float64() + float64(f.smoothing*prior)) / weight
		}
	}
	return means
}

func lowerTarget(s *scope, c *call, args []ref, _ options, f fitted) ref {
	if len(f.texts) == 0 {
		return s.missing(c)
	}
	code := s.index(c, args[0], f.texts, 0)
	return s.add(c.node, value{op: opPick, args: []int32{code.id}, numbers: f.numbers, folds: f.folds})
}
