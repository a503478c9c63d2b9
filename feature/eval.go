package feature

import (
	"slices"

	"millrace.dev/record"
)

// Counts counts the rows, rejected ones aside, in which an input had no value for the model.
type Counts struct {
	Missing uint64 `json:"missing"` // no value: it was absent, or its arithmetic had no finite result
	Unseen  uint64 `json:"unseen"`  // a level that the training rows did not have; not among Missing
}

// Evaluator computes the inputs of a model. It is for one goroutine at a time.
type Evaluator struct {
	plan   *Plan
	m      *machine
	frame  record.Frame
	counts []Counts
	codes  [][]int32 // by input that depends on one enum field alone: the code of each position of its table
	broken []Broken  // of the rules
}

// The codes of a level that the model does not have. The frame has record.MissingCode for both.
const (
	codeMissing = record.MissingCode
	codeUnseen  = record.MissingCode - 1
)

// NewEvaluator returns an evaluator of the plan, none of whose functions waits for being fitted. As long as an enum input
// has no levels, every level is unseen.
func (p *Plan) NewEvaluator() *Evaluator {
	if p.layout == nil {
		panic("feature: the plan is not fitted")
	}
	return &Evaluator{
		plan: p, m: newMachine(p.layout, tile), frame: record.Frame{Columns: p.Inputs()},
		counts: make([]Counts, len(p.inputs)), codes: make([][]int32, len(p.inputs)),
	}
}

// Eval computes the inputs of every row of b, whose schema must have the columns of [Plan.Used], with what the plan needs
// beside it. The frame is the evaluator's, and valid until the next Eval. Rows that are rejected have inputs too, which
// mean nothing.
func (e *Evaluator) Eval(b *record.Batch, with Enrichment) *record.Frame {
	n := b.Len()
	e.frame.Rows = n
	for k := range e.frame.Columns {
		c := &e.frame.Columns[k]
		if c.Type == record.Enum {
			c.Codes = resized(c.Codes[:0], n)
		} else {
			c.Numbers = resized(c.Numbers[:0], n)
		}
	}
	e.broken = e.broken[:0]
	e.m.run(b, with, e)
	slices.SortFunc(e.broken, byRow)
	for k, src := range e.m.sources {
		if src.levels >= 0 {
			e.translate(k, src)
			e.gather(k, src)
		}
	}
	return &e.frame
}

// Counts returns the counts of each input, over every Eval so far. The slice is a copy.
func (e *Evaluator) Counts() []Counts { return slices.Clone(e.counts) }

// Fits returns the features with fitted functions that count, for [Evaluator.FittedCounts]; nil as long as the plan waits
// for being fitted.
func (p *Plan) Fits() []string {
	if p.layout == nil {
		return nil
	}
	return slices.Clone(p.layout.owners)
}

// FittedCounts returns, for each of [Plan.Fits], the rows in which a fitted function had no value to work on, and those
// in which it met a label or a number that the training rows did not have: each row once, however many calls and labels of
// the feature it went through, and on both sides if these differ. The slice is a copy.
func (e *Evaluator) FittedCounts() []Counts {
	return slices.Clone(e.m.fitted[:len(e.plan.layout.owners)]) // features that are there for rules alone come after them
}

// HasFolds tells whether training rows have other inputs than others: those of functions such as target_mean, which must
// not tell a row its own label.
func (p *Plan) HasFolds() bool {
	return slices.ContainsFunc(p.prog.values, func(v value) bool { return len(v.folds) > 0 })
}

// NewTrainingEvaluator returns an evaluator for the training rows: see [Plan.HasFolds].
func (p *Plan) NewTrainingEvaluator() *Evaluator {
	e := p.NewEvaluator()
	e.m.training = true
	return e
}

func (e *Evaluator) numbers(k, offset int, v []float64) {
	dst := e.frame.Columns[k].Numbers[offset : offset+len(v)]
	for i, x := range v {
		if x != x {
			x = nan() // one NaN on every machine
			e.missing(k, offset+i)
		}
		dst[i] = x
	}
}

func (e *Evaluator) bools(k, offset int, v []uint8) {
	if k >= len(e.frame.Columns) {
		e.rule(k-len(e.frame.Columns), offset, v)
		return
	}
	dst := e.frame.Columns[k].Numbers[offset : offset+len(v)]
	numberBool(dst, v)
	for i, x := range v {
		if x == unknown {
			e.missing(k, offset+i)
		}
	}
}

func (e *Evaluator) texts(k, offset int, v []text) {
	dst, codes := e.frame.Columns[k].Codes[offset:offset+len(v)], e.plan.inputs[k].codes
	for i, t := range v {
		c := codeOf(codes, t)
		if c < 0 {
			c = e.noLevel(k, offset+i, c)
		}
		dst[i] = c
	}
}

func (e *Evaluator) times(int, int, []int64) {} // no input is a time

func codeOf(codes map[string]int32, t text) int32 {
	if !t.ok {
		return codeMissing
	}
	if c, ok := codes[t.s]; ok {
		return c
	}
	return codeUnseen
}

// translate brings the codes of input k up to date with the table that it comes from.
func (e *Evaluator) translate(k int, src source) {
	s, codes := &e.m.levels[src.levels], e.plan.inputs[k].codes
	e.codes[k] = resized(e.codes[k][:min(s.fresh, len(e.codes[k]))], s.size)
	for p := s.fresh; p < s.size; p++ {
		e.codes[k][p] = codeOf(codes, s.tables[src.table].text[p])
	}
}

// gather fills input k by the levels of the rows.
func (e *Evaluator) gather(k int, src source) {
	table, rows := e.codes[k], e.m.batch.Codes(e.m.fields[e.m.layout.levels[src.levels].field])
	dst := e.frame.Columns[k].Codes[:len(rows)]
	for i, level := range rows {
		c := table[level+1]
		if c < 0 {
			c = e.noLevel(k, i, c)
		}
		dst[i] = c
	}
}

func (e *Evaluator) missing(k, row int) {
	if e.m.batch.Problem(row) == nil {
		e.counts[k].Missing++
	}
}

// noLevel counts a row whose level is not the model's, and returns the code that the frame has for it.
func (e *Evaluator) noLevel(k, row int, c int32) int32 {
	switch {
	case e.m.batch.Problem(row) != nil:
	case c == codeMissing:
		e.counts[k].Missing++
	default:
		e.counts[k].Unseen++
	}
	return record.MissingCode
}
