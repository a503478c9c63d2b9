package feature

import (
	"fmt"

	"millrace.dev/record"
)

// Kind is what the values of a feature are.
type Kind uint8

// The kinds of features.
const (
	KindNumber Kind = iota + 1
	KindBool
	KindText
	KindTime
	KindVector // a list of numbers: it has elements
	KindOther  // a row of a table, or a bag of words: only other features can do something with it
)

// String returns the word for k in messages.
func (k Kind) String() string {
	return [...]string{"", "number", "bool", "text", "time", "vector", "row"}[k]
}

// Probed describes a declared feature.
type Probed struct {
	Name string
	Kind Kind
	// Waits tells that the feature needs a fitted function: only a model has its values, and of a vector the elements too.
	Waits bool
	// Elements are the elements of a vector. Other features have one, of their own name, and KindOther none.
	Elements []Element

	first int // of its elements among all values
}

// Element is a number of a vector, or a feature that is no vector.
type Element struct {
	Name  string // as an input of the model has it
	Waits bool
}

// Value is the value of a feature for a record. Which of its fields holds it is said by Kind; of a vector's element that is
// KindNumber.
type Value struct {
	Kind    Kind
	Missing bool
	Number  float64
	Flag    bool
	Text    string
	Time    int64 // microseconds since 1970
}

// Probe computes all features that a pipeline declares, also those that no input of the model needs, for whoever looks at
// single records. What waits for being fitted it leaves out. It is for one goroutine at a time.
type Probe struct {
	plan     *Plan
	features []Probed
	values   *machine
	needed   *machine
	to       []int // by result of values: the position in out
	out      []Value
}

// NewProbe returns a probe of what a pipeline declares. The errors are those of [Compile].
func NewProbe(d Declaration) (*Probe, error) {
	if _, err := Compile(d); err != nil {
		return nil, err // a probe has no limits of its own
	}
	c, p, err := checked(&d, nil)
	if err != nil {
		return nil, err
	}
	pr := &Probe{plan: p}
	var results []int32
	use := append([]int32(nil), p.results...)
	for _, f := range c.features {
		results, use = pr.add(c, f, results, use)
	}
	shown := len(results)
	results = append(results, c.build.frontier(p.results)...)
	if p.prog, err = c.build.program(results, use, c.tables, c.windows); err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	for _, part := range []struct {
		m    **machine
		from []int32
	}{{&pr.values, p.prog.results[:shown]}, {&pr.needed, p.prog.results[shown:]}} {
		l, err := newLayoutOf(d.Schema, p.prog, part.from, len(part.from), c.build.patterns)
		if err != nil {
			return nil, fmt.Errorf("feature: %w", err)
		}
		*part.m = newMachine(l, tile)
	}
	return pr, nil
}

// add adds a feature: to results what can be computed of it, and to use all of it.
func (p *Probe) add(c *checker, d *declared, results, use []int32) (_, _ []int32) {
	f := Probed{Name: d.Name, first: len(p.out)}
	refs, names := []ref{d.result}, []string{d.Name}
	switch d.result.kind {
	case kindNumber:
		f.Kind = KindNumber
	case kindBool:
		f.Kind = KindBool
	case kindText:
		f.Kind = KindText
	case kindTime:
		f.Kind = KindTime
	case kindVector:
		f.Kind = KindVector
		v := &c.vectors[d.result.id]
		if refs, names = v.values, nil; len(refs) == 0 {
			f.Waits = true
			use = append(use, v.id)
		}
		for _, n := range v.names {
			if n != "" {
				n = "_" + n
			}
			names = append(names, d.Name+n)
		}
	default:
		f.Kind, refs = KindOther, nil
		use = append(use, d.result.id)
	}
	for i, r := range refs {
		e := Element{Name: names[i], Waits: c.build.waits(r.id)}
		use = append(use, r.id)
		if !e.Waits {
			results = append(results, r.id)
			p.to = append(p.to, len(p.out))
		}
		f.Waits = f.Waits || e.Waits
		f.Elements = append(f.Elements, e)
		p.out = append(p.out, Value{})
	}
	p.features = append(p.features, f)
	return results, use
}

// frontier returns all that roots need and that waits for nothing, as far as a program can give it to somebody.
func (b *builder) frontier(roots []int32) []int32 {
	var out []int32
	seen := map[int32]bool{}
	var visit func(id int32)
	visit = func(id int32) {
		if seen[id] {
			return
		}
		seen[id] = true
		v := &b.values[id]
		for _, a := range v.args {
			visit(a)
		}
		switch v.kind {
		case kindNumber, kindBool, kindText, kindTime:
			if !b.waits(id) {
				out = append(out, id)
			}
		default:
		}
	}
	for _, id := range roots {
		visit(id)
	}
	return out
}

// Plan returns a plan with the tables and windows that some feature or input needs. It cannot be evaluated; the positions
// of the look-ups of a probe are those of its tables and aggregates.
func (p *Probe) Plan() *Plan { return p.plan }

// Features describes the features in the order of their declaration. It must not be changed.
func (p *Probe) Features() []Probed { return p.features }

// Eval computes the features of the first row of b. They are valid until the next Eval.
func (p *Probe) Eval(b *record.Batch, with Enrichment) {
	p.values.run(b, with, (*probeSink)(p))
}

// Find makes the look-ups that the inputs of the model need, as far as they do not depend on what is fitted, and nothing else.
func (p *Probe) Find(b *record.Batch, with Enrichment) { p.needed.run(b, with, nothing{}) }

// Value returns element e of feature f, which must not wait, as of the last Eval.
func (p *Probe) Value(f, e int) Value { return p.out[p.features[f].first+e] }

// probeSink takes the values of the first row.
type probeSink Probe

func (p *probeSink) set(k, offset int, v Value) {
	if offset == 0 {
		p.out[p.to[k]] = v
	}
}

func (p *probeSink) numbers(k, offset int, v []float64) {
	p.set(k, offset, Value{Kind: KindNumber, Number: v[0], Missing: v[0] != v[0]})
}

func (p *probeSink) bools(k, offset int, v []uint8) {
	p.set(k, offset, Value{Kind: KindBool, Flag: v[0] == yes, Missing: v[0] == unknown})
}

func (p *probeSink) texts(k, offset int, v []text) {
	p.set(k, offset, Value{Kind: KindText, Text: clone(v[0].s), Missing: !v[0].ok})
}

func (p *probeSink) times(k, offset int, v []int64) {
	p.set(k, offset, Value{Kind: KindTime, Time: v[0], Missing: v[0] == missingTime})
}

// nothing is a sink that keeps nothing.
type nothing struct{}

func (nothing) numbers(int, int, []float64) {}
func (nothing) bools(int, int, []uint8)     {}
func (nothing) texts(int, int, []text)      {}
func (nothing) times(int, int, []int64)     {}
