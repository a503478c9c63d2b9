package gbm

import (
	"math"

	"millrace.dev/record"
)

// watch follows the errors on the validation set.
type watch struct {
	pool   *pool
	frame  *record.Frame
	label  []float64
	link   Link
	exp    int       // score is in units of 2^exp
	score  []float64 // the prediction of each row before the link
	labels int       // the labels' largest magnitude is at most 2^labels
	sums   [][2]float64
}

func newWatch(p *pool, t *trainer, trained []float64, d Dataset) *watch {
	w := &watch{pool: p, frame: d.Frame, label: d.Label, exp: t.target.exp, score: make([]float64, d.Frame.Rows)}
	if t.p.LabelTransform == TransformLog {
		w.link = LinkExp
	}
	var largest float64
	for _, labels := range [][]float64{trained, d.Label} { // predictions are as large as the labels trained on
		for _, y := range labels {
			largest = max(largest, math.Abs(y))
		}
	}
	_, w.labels = math.Frexp(largest)
	w.labels = max(w.labels, -1000)
	for i := range w.score {
		w.score[i] = t.initial
	}
	return w
}

// add adds a tree to the predictions.
func (w *watch) add(nodes []node) {
	pr := newProgram(w.frame.Columns, [][]node{nodes})
	w.pool.each(len(w.score), rowChunk, func(_, lo, hi int) { pr.add(w.frame.Columns, lo, w.score[lo:hi]) })
}

// errors returns the root mean squared and the mean absolute error on the label's scale. Sums are taken of
// errors in units of the largest label, so that their squares do not overflow.
func (w *watch) errors() (rmse, mae float64) {
	unit := math.Ldexp(1, -w.labels)
	squares, sizes := w.pool.sum2(&w.sums, len(w.label), func(lo, hi int) (a, b float64) {
		for i := lo; i < hi; i++ {
			p := w.link.apply(math.Ldexp(w.score[i], w.exp))
			d := float64(p*unit) - float64(w.label[i]*unit)
			a += float64(d * d)
			b += math.Abs(d)
		}
		return a, b
	})
	n := float64(len(w.label))
	return math.Ldexp(math.Sqrt(squares/n), w.labels), math.Ldexp(sizes/n, w.labels)
}

// stopper decides when training ends.
type stopper struct {
	rounds    int
	tolerance float64
	mae       bool
	best      int     // the number of trees with the lowest metric
	lowest    float64 // that metric
	mark      float64 // the metric at the last improvement that counts
	since     int     // trees since then
}

func newStopper(p *Params) *stopper {
	return &stopper{
		rounds: p.StoppingRounds, tolerance: p.StoppingTolerance, mae: p.StoppingMetric == MetricMAE,
		lowest: math.Inf(1), mark: math.Inf(1),
	}
}

// done takes the state after a tree and tells whether training should end.
func (s *stopper) done(r Round) bool {
	if s.rounds == 0 {
		return false
	}
	metric := r.RMSE
	if s.mae {
		metric = r.MAE
	}
	if metric < s.lowest {
		s.lowest, s.best = metric, r.Trees
	}
	if metric < s.mark-float64(s.mark*s.tolerance) || math.IsInf(s.mark, 1) {
		s.mark, s.since = metric, 0
		return false
	}
	s.since++
	return s.since >= s.rounds
}
