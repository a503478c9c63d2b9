package batch

import (
	"cmp"
	"math"
	"slices"

	"millrace.dev/gbm"
	"millrace.dev/internal/stat"
	"millrace.dev/model"
)

// How fine an evaluation is.
const (
	gridBins   = 24   // about so many bins between the outermost edges
	gridTail   = 0.01 // the part of the labels and predictions that may lie beyond them on either side
	errorTail  = 0.02
	groupCount = 10
)

// outcomePair is a row of the test part. The sort of pairs makes what follows independent of the order of the rows.
type outcomePair struct{ prediction, label float64 }

func (p outcomePair) error() float64 { return p.prediction - p.label }

// evaluate describes the errors on the test part; mean is the mean label of the training rows.
func evaluate(f *gbm.Forest, s *set, mean float64) *model.Evaluation {
	predictions := make([]float64, s.frame.Rows)
	f.Score(&s.frame, predictions)
	pairs := make([]outcomePair, len(predictions))
	for i := range pairs {
		pairs[i] = outcomePair{predictions[i], s.label[i]}
	}
	return describe(pairs, mean)
}

// describe describes the errors of pairs, which it sorts.
func describe(pairs []outcomePair, mean float64) *model.Evaluation {
	slices.SortFunc(pairs, func(a, b outcomePair) int {
		return cmp.Or(cmp.Compare(a.prediction, b.prediction), cmp.Compare(a.label, b.label))
	})
	e := &model.Evaluation{Rows: len(pairs)}
	e.MeanRMSE, e.MeanMAE = errorsOfMean(pairs, mean)
	e.Edges, e.Grid = gridOf(pairs)
	errs := make([]float64, len(pairs))
	for i, p := range pairs {
		errs[i] = p.error()
	}
	slices.Sort(errs)
	e.ErrorEdges = edgesOf(errs, errorTail)
	e.ErrorCounts = make([]int, len(e.ErrorEdges)+1)
	for _, x := range errs {
		e.ErrorCounts[binOf(e.ErrorEdges, x)]++
	}
	e.Groups = groupsOf(pairs)
	e.Absolute, e.Relative = errorQuantiles(pairs)
	return e
}

// errorsOfMean returns the errors of predicting mean for every row.
func errorsOfMean(pairs []outcomePair, mean float64) (rmse, mae float64) {
	var squared, absolute stat.Sum
	for _, p := range pairs {
		d := p.label - mean
		squared.Add(float64(d * d))
		absolute.Add(math.Abs(d))
	}
	n := float64(len(pairs)) // of no rows: 0/0
	return math.Sqrt(squared.Float64() / n), absolute.Float64() / n
}

// gridOf counts the pairs in two dimensions, with the same edges for both.
func gridOf(pairs []outcomePair) (edges []float64, grid []int) {
	both := make([]float64, 0, 2*len(pairs))
	for _, p := range pairs {
		both = append(both, p.label, p.prediction)
	}
	slices.Sort(both)
	edges = edgesOf(both, gridTail)
	n := len(edges) + 1
	grid = make([]int, n*n)
	for _, p := range pairs {
		grid[binOf(edges, p.label)*n+binOf(edges, p.prediction)]++
	}
	return edges, grid
}

// edgesOf returns edges for sorted values: multiples of 1, 2 or 5 times a power of ten, of which the outermost have a part
// tail of the values beyond them, or less.
func edgesOf(sorted []float64, tail float64) []float64 {
	low, high := stat.Rank(sorted, tail), stat.Rank(sorted, 1-tail)
	step := niceStep((float64(high/2) - float64(low/2)) / (gridBins / 2)) // halves, so that the difference is finite
	if !(step > 0) {
		if len(sorted) == 0 {
			return nil
		}
		return []float64{low}
	}
	var edges []float64
	first := math.Floor(low / step)
	for i := range model.MaxEvaluationBins - 1 {
		edge := float64((first + float64(i)) * step)
		if len(edges) == 0 || edge > edges[len(edges)-1] { // a step can be less than what tells large numbers apart
			edges = append(edges, edge)
		}
		if edge >= high {
			break
		}
	}
	return edges
}

// niceStep returns the smallest of 1, 2 and 5 times a power of ten that is x or more; 0 if x is not above 0, or too small or
// large for that.
func niceStep(x float64) float64 {
	if !(x > 1e-300 && x < 1e300) {
		return 0
	}
	power := 1.0
	for power > x { // one rounding after the other is the same on every machine; math.Pow need not be
		power /= 10
	}
	for power*10 <= x {
		power *= 10
	}
	for _, m := range []float64{1, 2, 5} {
		if step := float64(m * power); step >= x {
			return step
		}
	}
	return float64(10 * power)
}

// binOf returns the bin of x: the number of edges below it.
func binOf(edges []float64, x float64) int {
	i, _ := slices.BinarySearch(edges, x)
	return i
}

// groupsOf cuts pairs, sorted by prediction, into about as many groups of about one size as groupCount says. Equal predictions
// stay together.
func groupsOf(pairs []outcomePair) []model.ErrorGroup {
	var groups []model.ErrorGroup
	for begin := 0; begin < len(pairs); {
		end := max(begin+1, (len(groups)+1)*len(pairs)/groupCount)
		if len(groups) == groupCount-1 {
			end = len(pairs)
		}
		for end < len(pairs) && pairs[end].prediction == pairs[end-1].prediction {
			end++
		}
		groups = append(groups, groupOf(pairs[begin:end]))
		begin = end
	}
	return groups
}

func groupOf(pairs []outcomePair) model.ErrorGroup {
	var sum, absolute stat.Sum
	errs := make([]float64, len(pairs))
	for i, p := range pairs {
		errs[i] = p.error()
		sum.Add(errs[i])
		absolute.Add(math.Abs(errs[i]))
	}
	slices.Sort(errs)
	n := float64(len(pairs))
	return model.ErrorGroup{
		Upper: pairs[len(pairs)-1].prediction, Rows: len(pairs), Bias: sum.Float64() / n, MAE: absolute.Float64() / n,
		Low: stat.Rank(errs, 0.1), Median: stat.Rank(errs, 0.5), High: stat.Rank(errs, 0.9),
	}
}

// errorQuantiles returns quantiles of the absolute error, and of that error as a part of the label. A label of 0, or so small
// that the part is no number, has none.
func errorQuantiles(pairs []outcomePair) (absolute, relative []model.ErrorQuantile) {
	var abs, rel []float64
	for _, p := range pairs {
		x := math.Abs(p.error())
		abs = append(abs, x)
		if r := x / math.Abs(p.label); !math.IsNaN(r) && !math.IsInf(r, 0) {
			rel = append(rel, r)
		}
	}
	return quantilesOf(abs), quantilesOf(rel)
}

func quantilesOf(values []float64) []model.ErrorQuantile {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	var list []model.ErrorQuantile
	for _, p := range []float64{0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1} {
		list = append(list, model.ErrorQuantile{P: p, Error: stat.Rank(values, p)})
	}
	return list
}
