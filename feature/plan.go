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

// Declaration is what a pipeline says about the inputs of its model.
type Declaration struct {
	Schema   *record.Schema
	Features []Spec
	// Inputs names the inputs of the model in their order: each is a numeric or an enum column of the schema, or a feature
	// that is a number, a bool (0 or 1 to the model), a text (an enum to the model) or a vector (a number for each element).
	Inputs []string
	// Label is the column that the model predicts: features cannot use it, but for what fitted functions learn. Default: ""
	Label string
	// Tables and Windows are what features can use beside columns and other features. Default: none
	Tables  []Table
	Windows []Window
	// Functions are what expressions can call beside the functions of the language. Default: none
	Functions []Function
}

// Plan computes the inputs of a model from a record.Batch. It is immutable and safe for concurrent use.
//
// Compile gives a plan that has to be fitted: a [Fitter] finds the levels of enum inputs in the training rows, and what
// fitted functions learn. A plan with fitted functions of what fitted functions compute needs several passes over the
// rows: until [Plan.Fitted], take a Fitter, and go on with the plan that it returns.
type Plan struct {
	schema *record.Schema
	source []Spec
	inputs []input
	seeds  []seed
	prog   *program
	layout *layout // nil as long as something waits for being fitted

	declared *Declaration // nil in a plan that was read, as is all that follows
	build    *builder
	results  []int32 // of the builder: the inputs
	windows  []window
	fits     map[string]fitted // what was learned, by the print of the call
	ready    []*wanted         // what can be learned next
	// The levels of inputs and fields that were seen in training.
	given       []Function // to ReadPlan
	found       map[string][]string
	foundFields map[int][]string
}

// input is one input of the model: the result of the same number of the program.
type input struct {
	name   string
	kind   kind             // number, bool or text; vector as long as that waits for being fitted
	levels []string         // of a text, sorted by bytes; nil until it is fitted
	codes  map[string]int32 // positions in levels
}

// seed holds the levels that training saw of an enum field that no input uses as it is.
type seed struct {
	field  int
	levels []string
}

// Compile compiles what a pipeline declares. A feature may use columns, tables, windows, and features before and after
// it. Features that no input needs are checked, and are no part of the plan's program.
//
// The error joins an [*Error] for every fault; see [Errors].
func Compile(d Declaration) (*Plan, error) {
	if len(d.Features) > maxFeatures || len(d.Inputs) > maxInputs {
		return nil, fmt.Errorf("feature: %d features and %d inputs: at most %d and %d", len(d.Features), len(d.Inputs), maxFeatures, maxInputs)
	}
	if err := checkFunctions(d.Functions); err != nil {
		return nil, err
	}
	d.Functions = slices.Clone(d.Functions)
	d.Features, d.Inputs, d.Tables, d.Windows = slices.Clone(d.Features), slices.Clone(d.Inputs), slices.Clone(d.Tables), slices.Clone(d.Windows)
	return compileFitted(&d, nil)
}

// compileFitted compiles d with what was fitted so far.
func compileFitted(d *Declaration, fits map[string]fitted) (*Plan, error) {
	c, p, err := checked(d, fits)
	if err != nil {
		return nil, err
	}
	if p.prog, err = c.build.program(p.results, p.results, c.tables, c.windows); err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	if p.waits() {
		return p, nil
	}
	if p.layout, err = newLayout(d.Schema, p.prog, c.build.patterns); err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	return p, nil
}

// checked checks all of d, and returns its plan without a program.
func checked(d *Declaration, fits map[string]fitted) (*checker, *Plan, error) {
	c := newChecker(d.Schema)
	c.fits, c.tables, c.labelName = fits, d.Tables, d.Label
	addUserFunctions(c.functions, d.Functions)
	c.sources(d)
	for i := range d.Features {
		c.declare(d.Features[i])
	}
	for _, w := range d.Windows {
		c.declareWindow(w)
	}
	for _, f := range c.features {
		c.feature(f)
	}
	p := &Plan{schema: d.Schema, source: d.Features, declared: d, fits: fits, ready: c.ready, build: c.build, windows: c.windows}
	for _, name := range d.Inputs {
		p.results = c.addInput(p, name, p.results)
	}
	if len(p.inputs) > maxInputs {
		c.errs = append(c.errs, &Error{Msg: fmt.Sprintf("the elements of vectors make %d inputs: at most %d", len(p.inputs), maxInputs), Hint: "give top or min_count, or use fewer vectors"})
	}
	if len(c.errs) > 0 {
		c.sortErrors()
		return nil, nil, join(c.errs)
	}
	p.ready = c.build.needed(p.ready, p.results)
	return c, p, nil
}

// waits tells whether some value of the program is of a call that is not fitted.
func (p *Plan) waits() bool {
	return slices.ContainsFunc(p.prog.values, func(v value) bool { return v.op == opCall })
}

// addInput adds the inputs that a name stands for: one, or one for each element of a vector.
func (c *checker) addInput(p *Plan, name string, results []int32) []int32 {
	r := c.input(name, c.inputNames[name])
	c.inputNames[name] = true
	if r.kind != kindVector {
		p.inputs = append(p.inputs, input{name: name, kind: r.kind})
		return append(results, r.id)
	}
	v := &c.vectors[r.id]
	if len(v.values) == 0 {
		p.inputs = append(p.inputs, input{name: name, kind: kindVector})
		return append(results, v.id)
	}
	for i, e := range v.values {
		element := name
		if v.names[i] != "" {
			element += "_" + v.names[i]
		}
		if v.names[i] != "" && c.inputNames[element] {
			c.errs = append(c.errs, &Error{Feature: name, Msg: fmt.Sprintf("its element %q has the name of another input", element), Hint: "give one of them another name"})
		}
		c.inputNames[element] = true
		p.inputs = append(p.inputs, input{name: element, kind: e.kind})
		results = append(results, e.id)
	}
	return results
}

// sources checks the names of tables and windows.
func (c *checker) sources(d *Declaration) {
	seen := map[string]string{}
	check := func(what, name string) {
		e := &Error{Feature: name, Hint: "give it another name"}
		_, column := c.schema.Index(name)
		switch {
		case name == "" || !utf8.ValidString(name):
			e.Msg, e.Hint = "the name of a "+what+" must be UTF-8 text that is not empty", ""
		case column:
			e.Msg = "the schema has a column of this name"
		case seen[name] != "":
			e.Msg = "there is a " + seen[name] + " of this name"
		default:
			seen[name] = what
			return
		}
		c.errs = append(c.errs, e)
	}
	fault := func(name, msg string) { c.errs = append(c.errs, &Error{Feature: name, Msg: msg}) }
	for _, t := range d.Tables {
		if check("table", t.Name); t.Schema == nil {
			fault(t.Name, "the table has no schema")
		}
	}
	for i := range d.Windows {
		w := &d.Windows[i]
		if check("window", w.Name); w.Size <= 0 || w.Hop < 0 || w.Grace < 0 {
			fault(w.Name, "the size of a window must be above 0, its hop and its grace not below")
		}
		if n := len(w.Aggregates); n == 0 || n > maxAggregates {
			fault(w.Name, fmt.Sprintf("the window has %d aggregates: want 1 to %d", n, maxAggregates))
		}
	}
	if len(d.Tables) > maxTables || len(d.Windows) > maxWindows {
		fault("", fmt.Sprintf("%d tables and %d windows: at most %d and %d", len(d.Tables), len(d.Windows), maxTables, maxWindows))
	}
	c.taken = seen
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
	case c.taken[spec.Name] != "":
		e.Msg = "there is a " + c.taken[spec.Name] + " of this name"
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
	if name == c.labelName && name != "" {
		return fail("the label cannot be an input", "list it in ignore")
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
	switch r := c.feature(d); r.kind {
	case kindTime:
		return fail("a time cannot be an input", "derive a number, such as year(...) or days_since(...)")
	case kindRow:
		return fail("a row of a table cannot be an input", "name a column of it: table[key].column")
	default:
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

// Inputs returns the inputs of the model in their order: name, type and, once fitted, levels; no data. A vector that has
// to be fitted is one numeric input until then.
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
	for _, f := range p.prog.fields(p.prog.live(p.prog.roots())) {
		out = append(out, p.schema.Field(f).Name)
	}
	return out
}

// Fitted tells whether every enum input has its levels, and every fitted function what it learns.
func (p *Plan) Fitted() bool {
	return p.layout != nil && !slices.ContainsFunc(p.inputs, func(in input) bool { return in.kind == kindText && in.levels == nil })
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

// WithLevels returns a fitted plan in which the enum inputs of these names have other levels than the training rows had:
// those that a model knows which was trained elsewhere. They are sorted by bytes.
func (p *Plan) WithLevels(levels map[string][]string) (*Plan, error) {
	if !p.Fitted() {
		return nil, errors.New("feature: the plan has to be fitted before its levels can be others")
	}
	out := *p
	out.inputs = slices.Clone(p.inputs)
	left := len(levels)
	for k := range out.inputs {
		in := &out.inputs[k]
		list, ok := levels[in.name]
		if !ok {
			continue
		}
		left--
		if in.kind != kindText {
			return nil, fmt.Errorf("feature: levels of the input %q, which is no enum", in.name)
		}
		if err := checkLevels(list, maxLevels); err != nil {
			return nil, fmt.Errorf("feature: input %q: %w", in.name, err)
		}
		if slices.ContainsFunc(list, func(l string) bool { return !utf8.ValidString(l) }) {
			return nil, fmt.Errorf("feature: input %q: a level that is not UTF-8", in.name)
		}
		out.setLevels(k, append([]string{}, list...))
	}
	if left > 0 {
		return nil, errors.New("feature: levels of an input that there is not")
	}
	return &out, nil
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
