package gbm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"

	"millrace.dev/record"
)

// Options are the settings of a training run that do not change the forest.
type Options struct {
	// Threads is the number of threads, at least 1. Default (0): GOMAXPROCS.
	Threads int
	// Progress, if not nil, is called after each tree, by the goroutine that called [Train].
	Progress func(Round)
}

// Round is the state of training after a tree.
type Round struct {
	// Trees is the number of trees so far.
	Trees int
	// Loss is the root mean squared error of the training rows on the scale on which trees are fitted: that
	// of the label, or of its logarithm. Without sampling it never rises.
	Loss float64
	// RMSE and MAE are the errors on the validation set, on the label's scale; NaN if there is none.
	RMSE, MAE float64
}

// History tells how training went.
type History struct {
	// Rounds holds the state before the first tree and after each tree: Rounds[i].Trees is i.
	Rounds []Round
	// Best is the number of trees of the forest. It is less than the number of rounds where early stopping
	// has cut trees off.
	Best int
	// Stopped tells that training ended early because the stopping metric no longer improved.
	Stopped bool
}

// Train fits a forest. valid may be nil, unless early stopping is on, and must have the columns of train. The
// forest is the same, bit for bit, for any number of threads. Errors are: every fault of p ([*ParamError]) and
// of the data, and the context's cause when ctx is done; ctx is looked at before each tree.
//
// Training ends before ntrees trees if no split lowers the error any more and no sampling is on.
func Train(ctx context.Context, p Params, train Dataset, valid *Dataset, o Options) (*Forest, *History, error) {
	if err := check(&p, &train, valid, &o); err != nil {
		return nil, nil, err
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	workers := newPool(threads)
	defer workers.Close()
	t := newTrainer(&p, workers, train)
	if valid != nil {
		t.watch = newWatch(workers, t, train.Label, *valid)
	}
	h, err := t.run(ctx, o.Progress)
	if err != nil {
		return nil, nil, err
	}
	f, err := t.forest(h.Best)
	return f, h, err
}

func check(p *Params, train, valid *Dataset, o *Options) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if o.Threads < 0 {
		return fmt.Errorf("gbm: %d threads: want at least 1, or 0 for one per processor", o.Threads)
	}
	errs := []error{train.check("training", p.LabelTransform == TransformLog)}
	switch {
	case valid != nil:
		err := valid.check("validation", p.LabelTransform == TransformLog)
		if err == nil && errs[0] == nil {
			if err = sameColumns(train.Frame.Columns, valid.Frame.Columns); err != nil {
				err = fmt.Errorf("gbm: validation data: %w", err)
			}
		}
		errs = append(errs, err)
	case p.StoppingRounds > 0:
		errs = append(errs, errors.New("gbm: stopping_rounds needs validation data"))
	}
	return errors.Join(errs...)
}

// trainer is the state of a run.
type trainer struct {
	p       *Params
	pool    *pool
	m       *matrix
	frame   *record.Frame
	target  *target
	initial float64   // the first prediction, on the target's scale
	score   []float64 // the prediction of each row, on the target's scale

	// packed holds, for each row, its residual in units of 2^-quantum in the upper bits and 1 in the lower
	// countBits, so that one addition sums both. No sum over rows can overflow: see [trainer.quantise].
	packed    []int64
	countBits uint
	quantum   int
	magnitude float64 // the sum of the residuals' magnitudes

	order, spare []uint32 // rows by node; scratch of the same length
	trees        [][]node
	gains        [][]float64 // of each node of each tree, in squared units of the target
	watch        *watch

	// The tree under construction, and scratch.
	nodes        []node
	nodeGains    []float64
	leaves       []leafRun
	columns      []int
	drawn        []int
	columnStream *rand.PCG
	finders      []finder
	free         []*histogram
	private      []*histogram
	partial      []partialSums
	lefts        []int
	sides        []uint8
	chunkSums    [][2]float64
	chunks       [][]uint32
}

func newTrainer(p *Params, workers *pool, d Dataset) *trainer {
	n := d.Frame.Rows
	t := &trainer{
		p: p, pool: workers, frame: d.Frame, m: newMatrix(workers, d.Frame, p),
		target: newTarget(workers, d.Label, p.LabelTransform == TransformLog),
		score:  make([]float64, n), packed: make([]int64, n), countBits: uint(bits.Len(uint(n))),
		order: make([]uint32, n), spare: make([]uint32, n),
		finders: make([]finder, workers.n), partial: make([]partialSums, workers.n), lefts: make([]int, workers.n),
	}
	t.initial = mean(t.target.y)
	for i := range t.score {
		t.score[i] = t.initial
	}
	return t
}

// mean returns the mean of y; the second pass takes back the rounding of the first, so that the mean of a
// constant is the constant.
func mean(y []float64) float64 {
	n := float64(len(y))
	var sum, rest float64
	for _, v := range y {
		sum += v
	}
	m := sum / n
	for _, v := range y {
		rest += v - m
	}
	return m + rest/n
}

// sampling tells whether trees see different rows or inputs.
func (t *trainer) sampling() bool {
	return t.p.SampleRate < 1 || t.p.ColSampleRate < 1 || t.p.ColSampleRatePerTree < 1
}

// run grows the trees.
func (t *trainer) run(ctx context.Context, progress func(Round)) (*History, error) {
	stop := newStopper(t.p)
	h := &History{Rounds: []Round{t.round()}}
	stop.done(h.Rounds[0])
	for tree := range t.p.NTrees {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("gbm: training stopped after %d trees: %w", tree, context.Cause(ctx))
		}
		t.quantise()
		t.draw(tree)
		nodes := t.grow(t.drawColumns(tree))
		if len(nodes) == 1 && !t.sampling() {
			break // and so would be every further tree
		}
		t.trees = append(t.trees, nodes)
		t.gains = append(t.gains, t.nodeGains)
		t.advance(nodes)
		r := t.round()
		h.Rounds = append(h.Rounds, r)
		if progress != nil {
			progress(r)
		}
		if stop.done(r) {
			h.Stopped = true
			break
		}
	}
	h.Best = len(t.trees)
	if t.p.StoppingRounds > 0 {
		h.Best = stop.best
	}
	return h, nil
}

// round measures the state after the trees so far.
func (t *trainer) round() Round {
	y, score := t.target.y, t.score
	squares, sizes := t.pool.sum2(&t.chunkSums, len(y), func(lo, hi int) (a, b float64) {
		for i, v := range y[lo:hi] {
			d := v - score[lo+i]
			a += float64(d * d)
			b += math.Abs(d)
		}
		return a, b
	})
	t.magnitude = sizes
	loss := math.Ldexp(math.Sqrt(squares/float64(len(y))), t.target.exp)
	r := Round{Trees: len(t.trees), Loss: loss, RMSE: math.NaN(), MAE: math.NaN()}
	if t.watch != nil {
		r.RMSE, r.MAE = t.watch.errors()
	}
	return r
}

// quantise turns residuals into integers. With 2^countBits > n rows, the upper part has 63-countBits bits and a
// sign. The unit is the power of two for which the sum of all magnitudes stays below 2^(62-countBits); rounding
// adds at most n/2, which the last bit takes up. The unit is thus relative to the mean residual, not to the
// largest, and a power of two loses nothing of a residual but bits below it.
func (t *trainer) quantise() {
	y, score, packed := t.target.y, t.score, t.packed
	_, exp := math.Frexp(t.magnitude)
	t.quantum = min(62-int(t.countBits)-exp, 1000)
	scale := math.Ldexp(1, t.quantum)
	shift := t.countBits
	t.pool.each(len(y), rowChunk, func(_, lo, hi int) {
		for i, v := range y[lo:hi] {
			q := math.RoundToEven(float64((v - score[lo+i]) * scale))
			packed[lo+i] = int64(q)<<shift + 1
		}
	})
}

// draw sets the row order to the rows of a tree.
func (t *trainer) draw(tree int) {
	if t.p.SampleRate >= 1 {
		t.order = t.order[:t.m.rows]
		t.pool.each(len(t.order), rowChunk, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				t.order[i] = uint32(i)
			}
		})
		return
	}
	n := t.m.rows
	t.chunks = append(t.chunks[:0], make([][]uint32, (n+rowChunk-1)/rowChunk)...)
	t.pool.each(n, rowChunk, func(c, lo, hi int) {
		t.chunks[c] = sampleRows(t.spare[lo:lo], stream(t.p.Seed, drawRows, uint64(tree), uint64(c)), lo, hi, t.p.SampleRate)
	})
	t.order = t.order[:0]
	for _, c := range t.chunks {
		t.order = append(t.order, c...)
	}
}

// drawColumns returns the inputs that a tree may use.
func (t *trainer) drawColumns(tree int) []int {
	t.columnStream = stream(t.p.Seed, drawColumns, uint64(tree), 0)
	cols := make([]int, len(t.m.inputs))
	for i := range cols {
		cols[i] = i
	}
	return sampleColumns(cols, t.columnStream, t.p.ColSampleRatePerTree)
}

// advance adds a tree's leaf values to the predictions.
func (t *trainer) advance(nodes []node) {
	if t.watch != nil {
		t.watch.add(nodes)
	}
	if t.p.SampleRate < 1 { // the rows that were not drawn are in no leaf
		pr := newProgram(t.frame.Columns, [][]node{nodes})
		t.pool.each(t.m.rows, rowChunk, func(_, lo, hi int) { pr.add(t.frame.Columns, lo, t.score[lo:hi]) })
		return
	}
	t.pool.each(len(t.order), rowChunk, func(_, lo, hi int) {
		i, _ := slices.BinarySearchFunc(t.leaves, lo+1, func(l leafRun, at int) int { return cmp.Compare(l.hi, at) })
		for ; lo < hi; i++ {
			l := &t.leaves[i]
			end := min(hi, l.hi)
			for _, r := range t.order[lo:end] {
				t.score[r] += l.value
			}
			lo = end
		}
	})
}

// forest returns the first n trees on the label's scale.
func (t *trainer) forest(n int) (*Forest, error) {
	columns := t.frame.Columns
	f := &Forest{initial: math.Ldexp(t.initial, t.target.exp), trees: t.trees[:n], gain: make([]float64, len(columns))}
	if t.p.LabelTransform == TransformLog {
		f.link = LinkExp
	}
	for k, tree := range f.trees {
		for i := range tree {
			if nd := &tree[i]; nd.input == leaf {
				nd.value = math.Ldexp(nd.value, t.target.exp)
			} else {
				f.gain[nd.input] += t.gains[k][i]
			}
		}
	}
	for i := range columns {
		c := &columns[i]
		f.inputs = append(f.inputs, record.Column{Name: c.Name, Type: c.Type, Levels: slices.Clone(c.Levels)})
	}
	if err := f.finish(); err != nil {
		return nil, fmt.Errorf("gbm: the trained forest is not valid: %w", err)
	}
	return f, nil
}
