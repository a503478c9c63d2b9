package feature

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"millrace.dev/record"
)

// Fitter learns from training rows what a plan needs: the levels of its enum inputs, and what fitted functions learn.
// Fitters that saw parts of the rows merge to what one fitter of all rows is, in any order: the plan is the same bit for
// bit. A Fitter is for one goroutine at a time.
type Fitter struct {
	plan   *Plan
	m      *machine
	wanted []*fit
	flat   int        // the results that are arguments of fitted functions; then come inputs
	inputs []int      // by result behind those: the input
	levels []levelSet // by input; those of numbers stay empty
	fields []levelSet // by level block: the levels of its field
	keep   []bool
	seen   []bool // by position of a level block's tables
	rows   fitRows
	made   [][]text // by result that is an input: the texts of the tile, if it has some
}

// fit is a fitted function that learns.
type fit struct {
	*wanted
	learner learner
	result  int // of its first argument
	args    []fitColumn
}

// levelSet is a set of levels with a bound: one level more and it is only known to be too large.
type levelSet struct {
	levels   map[string]struct{}
	most     int
	tooLarge bool
}

func newLevelSet(most int) levelSet { return levelSet{levels: map[string]struct{}{}, most: most} }

// add adds a copy of level.
func (s *levelSet) add(level string) {
	if _, ok := s.levels[level]; ok || s.tooLarge {
		return
	}
	if len(s.levels) == s.most {
		s.levels, s.tooLarge = nil, true
		return
	}
	s.levels[strings.Clone(level)] = struct{}{}
}

func (s *levelSet) merge(o *levelSet) {
	if o.tooLarge {
		s.levels, s.tooLarge = nil, true
	}
	for l := range o.levels {
		s.add(l)
	}
}

// sorted returns the levels by bytes; never nil.
func (s *levelSet) sorted() []string {
	out := make([]string, 0, len(s.levels))
	for l := range s.levels {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

// NewFitter returns a fitter that has seen no rows.
func (p *Plan) NewFitter() *Fitter {
	f := &Fitter{plan: p}
	l := p.layout
	if l == nil {
		var err error
		if l, err = f.prepare(); err != nil {
			panic("feature: " + err.Error()) // the whole of which this is a part could be compiled
		}
	} else {
		for k := range p.inputs {
			f.inputs = append(f.inputs, k)
		}
	}
	f.made = make([][]text, len(f.inputs))
	f.m = newMachine(l, tile)
	f.m.training = true // what is fitted on top of a target_mean must not see a row's own label either
	for range p.inputs {
		f.levels = append(f.levels, newLevelSet(maxLevels))
	}
	for range l.levels {
		f.fields = append(f.fields, newLevelSet(maxSeeds))
	}
	return f
}

// prepare lays out a program of what can be computed before anything more is fitted: the arguments of the fitted
// functions that are next, and inputs.
func (f *Fitter) prepare() (*layout, error) {
	p := f.plan
	var results []int32
	for _, w := range p.ready {
		f.wanted = append(f.wanted, &fit{wanted: w, learner: w.spec.learn(w.options), result: len(results), args: make([]fitColumn, len(w.args))})
		results = append(results, w.args...)
	}
	f.flat = len(results)
	for k, id := range p.results {
		if !p.build.waits(id) {
			f.inputs = append(f.inputs, k)
			results = append(results, id)
		}
	}
	prog, err := p.build.program(results, p.results, p.declared.Tables, p.windows)
	if err != nil {
		return nil, err
	}
	return newLayoutOf(p.schema, prog, prog.results, f.flat, p.build.patterns)
}

// Add adds the rows i of b for which keep[i] holds, or all rows if keep is nil. Rejected rows are left out. The number of
// a row, its offset, says which fold it is in, and whether it is in a sample: it has to be another for each row.
func (f *Fitter) Add(b *record.Batch, keep []bool, e Enrichment) {
	f.keep = keep
	f.m.begin(b, e)
	for offset := 0; offset < b.Len(); offset += tile {
		n := min(tile, b.Len()-offset)
		f.m.runRows(f, offset, n)
		f.learn(b, offset, n)
	}
	for i := range f.m.levels {
		f.addLevels(b, i)
	}
	f.m.end()
	f.keep = nil
}

// learn hands the rows of a tile to the levels and to the fitted functions. Only now is it known which rows a look-up rejects.
func (f *Fitter) learn(b *record.Batch, offset, n int) {
	for k, made := range f.made {
		for i, t := range made {
			if t.ok && f.keeps(offset+i) {
				f.levels[f.inputs[k]].add(t.s)
			}
		}
		f.made[k] = made[:0]
	}
	if len(f.wanted) == 0 {
		return
	}
	f.rows.keep, f.rows.id = f.rows.keep[:0], f.rows.id[:0]
	for i := range n {
		f.rows.keep = append(f.rows.keep, f.keeps(offset+i))
		f.rows.id = append(f.rows.id, b.Raw(offset+i).Offset)
	}
	for _, w := range f.wanted {
		f.rows.args = w.args
		w.learner.add(&f.rows)
	}
}

// argument returns the column of result k, if that is an argument of a fitted function.
func (f *Fitter) argument(k int) *fitColumn {
	if k >= f.flat {
		return nil
	}
	i := sort.Search(len(f.wanted), func(i int) bool { return f.wanted[i].result > k }) - 1
	return &f.wanted[i].args[k-f.wanted[i].result]
}

func (f *Fitter) keeps(row int) bool {
	return (f.keep == nil || f.keep[row]) && f.m.batch.Problem(row) == nil
}

// addLevels adds the levels of block i that occur in the kept rows, and what the inputs make of them.
func (f *Fitter) addLevels(b *record.Batch, i int) {
	s := &f.m.levels[i]
	f.seen = resized(f.seen[:0], s.size)
	clear(f.seen)
	for row, c := range b.Codes(f.m.fields[f.m.layout.levels[i].field]) {
		if f.keeps(row) {
			f.seen[c+1] = true
		}
	}
	for p, seen := range f.seen {
		if seen && p > 0 {
			f.fields[i].add(s.dict.Level(int32(p - 1)))
		}
	}
	for k, src := range f.m.sources {
		if src.levels != i {
			continue
		}
		for p, t := range s.tables[src.table].text[:s.size] {
			if f.seen[p] && t.ok {
				f.levels[f.inputs[k-f.flat]].add(t.s)
			}
		}
	}
}

// The sink of the machine: the arguments of fitted functions are copied, since registers are used again, and so are the texts
// of inputs, which are levels.

func (f *Fitter) numbers(k, _ int, v []float64) {
	if c := f.argument(k); c != nil {
		c.number = append(c.number[:0], v...)
	}
}

func (f *Fitter) bools(k, _ int, v []uint8) {
	if c := f.argument(k); c != nil {
		c.flag = append(c.flag[:0], v...)
	}
}

func (f *Fitter) times(int, int, []int64) {} // no fitted function takes a time

func (f *Fitter) texts(k, _ int, v []text) {
	if c := f.argument(k); c != nil {
		c.text = append(c.text[:0], v...)
		return
	}
	f.made[k-f.flat] = append(f.made[k-f.flat][:0], v...)
}

// Merge adds what o, a fitter of the same plan, has seen. It leaves o as it is.
func (f *Fitter) Merge(o *Fitter) {
	if f.plan != o.plan {
		panic("feature: the fitters are of different plans")
	}
	for i := range f.wanted {
		f.wanted[i].learner.merge(o.wanted[i].learner)
	}
	for k := range f.levels {
		f.levels[k].merge(&o.levels[k])
	}
	for i := range f.fields {
		f.fields[i].merge(&o.fields[i])
	}
}

// Plan returns the plan with what the rows have said: see [Plan] on passes. The levels of an enum input are its texts in
// the rows seen, sorted by bytes. An input of more than 65,535 levels, or with a level that is not UTF-8, is an error, and
// so is what a fitted function cannot learn; the error joins an [*Error] for each.
func (f *Fitter) Plan() (*Plan, error) {
	var errs []*Error
	learned := maps.Clone(f.plan.fits)
	if learned == nil {
		learned = map[string]fitted{}
	}
	for _, w := range f.wanted {
		what, err := w.learner.learn()
		if err != nil {
			errs = append(errs, &Error{Feature: w.feature, Msg: err.Error()})
			continue
		}
		learned[w.print] = what
	}
	levels := maps.Clone(f.plan.found)
	if levels == nil {
		levels = map[string][]string{}
	}
	for _, k := range f.inputs {
		in := &f.plan.inputs[k]
		if _, ok := levels[in.name]; ok || in.kind != kindText {
			continue
		}
		list, e := f.levels[k].result(in.name)
		if e != nil {
			errs = append(errs, e)
			continue
		}
		levels[in.name] = list
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	p := *f.plan
	if f.plan.waits() {
		next, err := compileFitted(f.plan.declared, learned)
		if err != nil {
			return nil, err
		}
		p = *next
	} else {
		p.inputs = slices.Clone(p.inputs)
	}
	p.found, p.foundFields, p.seeds = levels, f.fieldLevels(), nil
	for k := range p.inputs {
		if list, ok := levels[p.inputs[k].name]; ok && p.inputs[k].kind == kindText {
			p.setLevels(k, list)
		}
	}
	if p.layout != nil {
		p.seeds = p.findSeeds()
	}
	return &p, nil
}

// result returns the levels of an input.
func (s *levelSet) result(name string) ([]string, *Error) {
	if s.tooLarge {
		return nil, &Error{
			Feature: name, Msg: fmt.Sprintf("it has more than %d levels in the training rows", maxLevels),
			Hint: "list it in ignore, or derive a feature of fewer levels",
		}
	}
	levels := s.sorted()
	if slices.ContainsFunc(levels, func(l string) bool { return !utf8.ValidString(l) }) {
		return nil, &Error{Feature: name, Msg: "it has a level that is not UTF-8", Hint: "mend the encoding of the data"}
	}
	return levels, nil
}

// fieldLevels returns the levels of the enum fields that were seen, now or in an earlier pass, as far as they can be
// kept.
func (f *Fitter) fieldLevels() map[int][]string {
	out := maps.Clone(f.plan.foundFields)
	if out == nil {
		out = map[int][]string{}
	}
	for i := range f.fields {
		field, set := f.m.layout.levels[i].field, &f.fields[i]
		if set.tooLarge {
			continue
		}
		levels := set.sorted()
		if !slices.ContainsFunc(levels, func(l string) bool { return !utf8.ValidString(l) }) {
			out[field] = levels
		}
	}
	return out
}

// findSeeds returns the levels of the enum fields that expressions use and no input is, in the order of the schema.
func (p *Plan) findSeeds() []seed {
	var out []seed
	direct := p.directFields()
	for i := range p.layout.levels {
		field := p.layout.levels[i].field
		if levels, ok := p.foundFields[field]; ok && !direct[field] {
			out = append(out, seed{field, levels})
		}
	}
	slices.SortFunc(out, func(a, b seed) int { return a.field - b.field })
	return out
}
