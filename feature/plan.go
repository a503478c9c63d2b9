package feature

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"unicode/utf8"

	"millrace.dev/record"
)

// Spec declares a feature: a name, and the expression that computes it.
type Spec struct {
	Name string `json:"name"`
	Expr string `json:"expr"`
}

// Plan computes the inputs of a model from a record.Batch. It is immutable and safe for concurrent use.
//
// Compile gives a plan whose enum inputs have no levels yet; a [Fitter] finds them in the training rows.
type Plan struct {
	schema *record.Schema
	source []Spec
	inputs []input
	seeds  []seed
	prog   *program
	layout *layout
}

// input is one input of the model: the result of the same number of the program.
type input struct {
	name   string
	kind   kind             // number, bool or text
	levels []string         // of a text, sorted by bytes; nil until it is fitted
	codes  map[string]int32 // positions in levels
}

// seed holds the levels that training saw of an enum field that no input uses as it is.
type seed struct {
	field  int
	levels []string
}

// Compile compiles the features and returns the plan of inputs, which are the inputs of a model in their order:
// each is a numeric or an enum column of s, or a feature that is a number, a bool (0 or 1 to the model) or a text
// (an enum to the model). A feature may use columns, and features before and after it. Features that no input
// needs are checked, and are no part of the plan's program.
//
// The error joins an [*Error] for every fault; see [Errors].
func Compile(s *record.Schema, specs []Spec, inputs []string) (*Plan, error) {
	if len(specs) > maxFeatures || len(inputs) > maxInputs {
		return nil, fmt.Errorf("feature: %d features and %d inputs: at most %d and %d", len(specs), len(inputs), maxFeatures, maxInputs)
	}
	c := newChecker(s)
	for i := range specs {
		c.declare(specs[i])
	}
	for _, d := range c.features {
		c.feature(d)
	}
	p := &Plan{schema: s, source: slices.Clone(specs)}
	var results []int32
	for _, name := range inputs {
		r := c.input(name, slices.ContainsFunc(p.inputs, func(in input) bool { return in.name == name }))
		p.inputs = append(p.inputs, input{name: name, kind: r.kind})
		results = append(results, r.id)
	}
	if len(c.errs) > 0 {
		c.sortErrors()
		return nil, join(c.errs)
	}
	var err error
	if p.prog, err = c.build.program(results); err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	if p.layout, err = newLayout(s, p.prog, c.build.patterns); err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	return p, nil
}

// declare adds a feature. One whose name is taken is checked too, but nothing can refer to it.
func (c *checker) declare(spec Spec) {
	d := &declared{Spec: spec}
	c.features = append(c.features, d)
	e := &Error{Feature: spec.Name, Hint: "give it another name"}
	_, column := c.schema.Index(spec.Name)
	switch {
	case spec.Name == "" || !utf8.ValidString(spec.Name):
		e.Msg, e.Hint = "the name must be UTF-8 text that is not empty", ""
	case column:
		e.Msg = "the schema has a column of this name"
	case c.byName[spec.Name] != nil:
		e.Msg = "it is declared twice"
	default:
		c.byName[spec.Name] = d
		return
	}
	c.errs = append(c.errs, e)
}

// input returns the value of a model input.
func (c *checker) input(name string, again bool) ref {
	fail := func(msg, hint string) ref {
		c.errs = append(c.errs, &Error{Feature: name, Msg: msg, Hint: hint})
		return ref{}
	}
	if again {
		return fail("the model has this input twice", "")
	}
	if i, ok := c.schema.Index(name); ok {
		switch t := c.schema.Field(i).Type; t {
		case record.Time:
			return fail("a time column cannot be an input", "derive a feature, such as year("+name+"), or list the column in ignore")
		case record.String:
			return fail("a string column cannot be an input", "derive a feature, declare the column as enum, or list it in ignore")
		default:
			r, err := c.build.add(value{op: opColumn, field: i, kind: fieldKind(t)})
			if err != nil {
				return fail(err.Error(), "")
			}
			return r
		}
	}
	d := c.byName[name]
	if d == nil {
		return fail("no column or feature of this name can be an input", suggest(name, c.names()))
	}
	if r := c.feature(d); r.kind == kindTime {
		return fail("a time cannot be an input", "derive a number, such as year(...) or days_since(...)")
	}
	return d.result
}

// sortErrors puts the faults in the order in which the features are declared; the inputs come last.
func (c *checker) sortErrors() {
	rank := map[string]int{}
	for i, d := range slices.Backward(c.features) {
		rank[d.Name] = i
	}
	at := func(e *Error) int {
		if i, ok := rank[e.Feature]; ok {
			return i
		}
		return len(c.features)
	}
	sort.SliceStable(c.errs, func(i, j int) bool {
		a, b := c.errs[i], c.errs[j]
		if at(a) != at(b) {
			return at(a) < at(b)
		}
		return a.Offset < b.Offset
	})
}

// Schema returns the schema that the plan was compiled for.
func (p *Plan) Schema() *record.Schema { return p.schema }

// Source returns the features as they were declared. They are for reading only: the program decides.
func (p *Plan) Source() []Spec { return slices.Clone(p.source) }

// Inputs returns the inputs of the model in their order: name, type and, once fitted, levels; no data.
func (p *Plan) Inputs() []record.Column {
	out := make([]record.Column, len(p.inputs))
	for i, in := range p.inputs {
		out[i] = record.Column{Name: in.name, Type: record.Numeric}
		if in.kind == kindText {
			out[i].Type, out[i].Levels = record.Enum, slices.Clone(in.levels)
		}
	}
	return out
}

// Used returns the names of the columns that some input needs, in the order of the schema.
func (p *Plan) Used() []string {
	var out []string
	for _, f := range p.layout.fields {
		out = append(out, p.schema.Field(f).Name)
	}
	return out
}

// Fitted tells whether every enum input has its levels.
func (p *Plan) Fitted() bool {
	return !slices.ContainsFunc(p.inputs, func(in input) bool { return in.kind == kindText && in.levels == nil })
}

// Levels returns the levels of enum fields that training saw, for [record.NewBatch]: the codes of an enum field
// that is an input are then those of the model, and what is computed from a level is computed once and not for
// each batch. A field that only expressions use and that has more than 4,096 levels is left out.
func (p *Plan) Levels() map[string][]string {
	out := map[string][]string{}
	for _, s := range p.seeds {
		out[p.schema.Field(s.field).Name] = slices.Clone(s.levels)
	}
	for k, in := range p.inputs {
		if f, ok := p.direct(k); ok && in.levels != nil {
			out[p.schema.Field(f).Name] = slices.Clone(in.levels)
		}
	}
	return out
}

// direct returns the enum field that input k is, if it is one.
func (p *Plan) direct(k int) (field int, ok bool) {
	v := &p.prog.values[p.prog.results[k]]
	return v.field, v.op == opColumn && v.kind == kindText && p.schema.Field(v.field).Type == record.Enum
}

// directFields returns the enum fields that are inputs as they are.
func (p *Plan) directFields() map[int]bool {
	out := map[int]bool{}
	for k := range p.inputs {
		if f, ok := p.direct(k); ok {
			out[f] = true
		}
	}
	return out
}

// setLevels gives input k its levels, which are sorted.
func (p *Plan) setLevels(k int, levels []string) {
	in := &p.inputs[k]
	in.levels, in.codes = levels, make(map[string]int32, len(levels))
	for i, l := range levels {
		in.codes[l] = int32(i)
	}
}

var errNotSorted = errors.New("the levels are not sorted, or one comes twice")

// checkLevels tells whether levels can be those of an enum.
func checkLevels(levels []string, most int) error {
	if len(levels) > most {
		return fmt.Errorf("%d levels: at most %d", len(levels), most)
	}
	for i := range levels {
		if i > 0 && levels[i-1] >= levels[i] {
			return errNotSorted
		}
	}
	return nil
}
