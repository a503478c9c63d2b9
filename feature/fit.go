package feature

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"millrace.dev/record"
)

// Fitter finds the levels of a plan's enum inputs in training rows. Fitters that saw parts of the rows merge to
// what one fitter of all rows is, in any order. A Fitter is for one goroutine at a time.
type Fitter struct {
	plan   *Plan
	m      *machine
	inputs []levelSet // by input; those of numbers stay empty
	fields []levelSet // by level block: the levels of its field
	keep   []bool
	seen   []bool // by position of a level block's tables
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
	f := &Fitter{plan: p, m: newMachine(p.layout, tile)}
	for range p.inputs {
		f.inputs = append(f.inputs, newLevelSet(maxLevels))
	}
	for range p.layout.levels {
		f.fields = append(f.fields, newLevelSet(maxSeeds))
	}
	return f
}

// Add adds the rows i of b for which keep[i] holds, or all rows if keep is nil. Rejected rows are left out.
func (f *Fitter) Add(b *record.Batch, keep []bool) {
	f.keep = keep
	f.m.run(b, f)
	for i := range f.m.levels {
		f.addLevels(b, i)
	}
	f.keep = nil
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
				f.inputs[k].add(t.s)
			}
		}
	}
}

// The sink of the machine: the texts of rows.
func (f *Fitter) numbers(int, int, []float64) {}
func (f *Fitter) bools(int, int, []uint8)     {}
func (f *Fitter) times(int, int, []int64)     {}

func (f *Fitter) texts(k, offset int, v []text) {
	for i, t := range v {
		if t.ok && f.keeps(offset+i) {
			f.inputs[k].add(t.s)
		}
	}
}

// Merge adds what o, a fitter of the same plan, has seen. It leaves o as it is.
func (f *Fitter) Merge(o *Fitter) {
	if f.plan != o.plan {
		panic("feature: the fitters are of different plans")
	}
	for k := range f.inputs {
		f.inputs[k].merge(&o.inputs[k])
	}
	for i := range f.fields {
		f.fields[i].merge(&o.fields[i])
	}
}

// Plan returns the fitted plan: the levels of each enum input are its texts in the rows seen, sorted by bytes. An
// input of more than 65,535 levels, or with a level that is not UTF-8, is an error that joins an [*Error] for each.
func (f *Fitter) Plan() (*Plan, error) {
	p := *f.plan
	p.inputs, p.seeds = slices.Clone(p.inputs), nil
	var errs []*Error
	for k := range p.inputs {
		in := &p.inputs[k]
		if in.kind != kindText {
			continue
		}
		if f.inputs[k].tooLarge {
			errs = append(errs, &Error{
				Feature: in.name, Msg: fmt.Sprintf("it has more than %d levels in the training rows", maxLevels),
				Hint: "list it in ignore, or derive a feature of fewer levels",
			})
			continue
		}
		levels := f.inputs[k].sorted()
		if slices.ContainsFunc(levels, func(l string) bool { return !utf8.ValidString(l) }) {
			errs = append(errs, &Error{Feature: in.name, Msg: "it has a level that is not UTF-8", Hint: "mend the encoding of the data"})
			continue
		}
		p.setLevels(k, levels)
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	p.seeds = f.seeds()
	return &p, nil
}

// seeds returns the levels of the enum fields that expressions use and no input is, in the order of the schema.
func (f *Fitter) seeds() []seed {
	var out []seed
	direct := f.plan.directFields()
	for i := range f.fields {
		field, set := f.plan.layout.levels[i].field, &f.fields[i]
		if direct[field] || set.tooLarge {
			continue
		}
		levels := set.sorted()
		if slices.ContainsFunc(levels, func(l string) bool { return !utf8.ValidString(l) }) {
			continue
		}
		out = append(out, seed{field, levels})
	}
	slices.SortFunc(out, func(a, b seed) int { return a.field - b.field })
	return out
}
