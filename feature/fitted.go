package feature

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"millrace.dev/record"
)

// A fitted function learns something from the training rows before it can be computed: the mean of a number, the labels
// of a text. Its call stays an opCall until a [Fitter] has seen the rows; then the expressions are compiled again, and the
// call becomes ordinary instructions that carry what was learned as literals. So the stored plan has no fitted functions,
// and nothing that was learned can get lost on the way.

var errNotFitted = errors.New("the plan is not fitted yet")

// pending is a call that waits for the training rows.
type pending struct {
	Function string    `json:"function"`
	Options  []setting `json:"options,omitempty"`
}

// setting is the value of a named argument.
type setting struct {
	Name    string    `json:"name"`
	Number  *float64  `json:"number,omitempty"`
	Flag    *bool     `json:"bool,omitempty"`
	Text    *string   `json:"text,omitempty"`
	Numbers []float64 `json:"numbers,omitempty"`
}

// fitted is what a function has learned.
type fitted struct {
	numbers []float64
	texts   []string
	folds   [][]float64
}

// learner learns from rows. Learners that saw parts of the rows merge to what one of all rows is, in any order.
type learner interface {
	// add takes rows of a tile.
	add(t *fitRows)
	merge(o learner)
	// learn returns what the rows say. The error is for people.
	learn() (fitted, error)
}

// fitRows are rows of a tile with the arguments of a fitted function.
type fitRows struct {
	keep []bool // which rows count
	id   []int64
	args []fitColumn
}

// fitColumn is an argument, in the list of its type.
type fitColumn struct {
	number []float64
	flag   []uint8
	text   []text
}

// fitting says how a fitted function learns and what becomes of its call then.
type fitting struct {
	args   string // the types of its arguments, one letter each
	class  int    // the argument, from 1, that may be left out, may use the label and is needed for fitting alone; 0 is none
	result func(o options) kind
	check  func(o options) string // what is wrong with options together, or ""; nil: nothing can be
	learn  func(o options) learner
	lower  func(s *scope, c *call, args []ref, o options, f fitted) ref
}

// wanted is a fitted function whose arguments can be computed.
type wanted struct {
	print   string // of the call
	feature string
	spec    *fitting
	options options
	args    []int32
}

// fittedCall checks a call of a fitted function.
func (s *scope) fittedCall(c *call) ref {
	if s.rules != nil {
		return s.fail(c.node, c.name+" learns from the training rows, and a rule does not", "make a feature of it that is an input of the model, and use its name")
	}
	o, ok := s.options(c)
	args := s.fittedArguments(c)
	if args == nil || !ok {
		return ref{}
	}
	if c.fit.check != nil {
		if wrong := c.fit.check(o); wrong != "" {
			return s.fail(c.node, wrong, "")
		}
	}
	v := value{op: opCall, kind: c.fit.result(o), call: &pending{c.name, o.settings(c.options)}}
	waits := false
	for _, a := range args {
		id := s.whole(a)
		v.args = append(v.args, id)
		waits = waits || s.build.waits(id)
	}
	own := s.build.print(&v)
	if f, ok := s.fits[own]; ok {
		return c.fit.lower(s, c, args, o, f)
	}
	if !waits && !slices.ContainsFunc(s.ready, func(w *wanted) bool { return w.print == own }) {
		s.ready = append(s.ready, &wanted{own, s.name, c.fit, o, v.args})
	}
	r := s.add(c.node, v)
	if r.kind == kindVector {
		return s.waitingVector(r.id)
	}
	return r
}

// fittedArguments checks the arguments, by their types, and returns nil after a fault.
func (s *scope) fittedArguments(c *call) []ref {
	args := make([]ref, 0, len(c.fit.args))
	for i, n := range c.args {
		outer := s.fitOnly
		s.fitOnly = outer || i+1 == c.fit.class
		a := s.check(n)
		s.fitOnly = outer
		if !a.ok() {
			return nil
		}
		args = append(args, a)
	}
	if c.fit.class == len(args)+1 {
		label, ok := s.label()
		if !ok {
			s.fail(c.node, c.name+" needs a label", "write "+c.usage)
			return nil
		}
		args = append(args, label)
	}
	for i := range args {
		if i+1 == c.fit.class && c.fit.args[i] == 't' && (args[i].kind == kindBool || args[i].kind == kindNumber) {
			args[i] = s.apply(c.node, "text", nil, args[i])
		}
		if args[i].kind == kindNil || args[i].kind.letter() != c.fit.args[i] {
			c.types(s)(args)
			return nil
		}
	}
	return args
}

// label returns the label, for fitting.
func (s *scope) label() (ref, bool) {
	i, ok := s.schema.Index(s.labelName)
	if !ok {
		return ref{}, false
	}
	r, err := s.build.add(value{op: opColumn, field: i, kind: fieldKind(s.schema.Field(i).Type)})
	return r, err == nil
}

// waits tells whether a value needs a call that is not fitted.
func (b *builder) waits(id int32) bool { return b.waiting[id] }

// print returns a text that tells v from other values, whatever else the builder holds: two compilations of the same
// expression have the same one, as long as what was fitted inside it is the same.
func (b *builder) print(v *value) string {
	own := *v
	own.args = nil
	h := sha256.New()
	h.Write(encodeValue(b.table, &own))
	h.Write([]byte(v.foldsKey()))
	for _, a := range v.args {
		h.Write([]byte(b.prints[a]))
	}
	return string(h.Sum(nil))
}

// foldsKey tells values of opPick apart whose numbers are the same, and are others in some fold.
func (v *value) foldsKey() string {
	if v.folds == nil {
		return ""
	}
	sum := sha256.Sum256(encodeJSON(v.folds))
	return string(sum[:])
}

// resultKind returns a function for fitted functions whose result is of one type.
func resultKind(k kind) func(options) kind { return func(options) kind { return k } }

// option describes a named argument.
type option struct {
	name        string
	kind        kind // number, bool or text
	list        bool // of numbers
	whole       bool // a whole number
	required    bool
	def         setting
	least, most float64 // of a number
	allowed     []string
	filled      bool   // a text that must not be empty
	doc         string // what it says, without its name: one sentence without a full stop
}

// options are the values of the named arguments, by name.
type options map[string]setting

func (o options) number(name string) float64 { return *o[name].Number }
func (o options) whole(name string) int      { return int(*o[name].Number) }
func (o options) flag(name string) bool      { return *o[name].Flag }
func (o options) text(name string) string    { return *o[name].Text }
func (o options) list(name string) []float64 { return o[name].Numbers }

// settings returns the options in the order in which they are declared, without those that have no value.
func (o options) settings(declared []option) []setting {
	var out []setting
	for _, d := range declared {
		if v, ok := o[d.name]; ok {
			v.Name = d.name
			out = append(out, v)
		}
	}
	return out
}

func numberOption(name string, def, least, most float64, doc string) option {
	return option{name: name, kind: kindNumber, def: setting{Number: &def}, least: least, most: most, doc: doc}
}

func wholeOption(name string, def, least, most int, doc string) option {
	o := numberOption(name, float64(def), float64(least), float64(most), doc)
	o.whole = true
	return o
}

func flagOption(name string, def bool, doc string) option {
	return option{name: name, kind: kindBool, def: setting{Flag: &def}, doc: doc}
}

func textOption(name, def, doc string, allowed ...string) option {
	return option{name: name, kind: kindText, def: setting{Text: &def}, allowed: allowed, doc: doc}
}

// markOption is a text that stands between others.
func markOption(name, def, doc string) option {
	o := textOption(name, def, doc)
	o.filled = true
	return o
}

func listOption(name, doc string) option {
	return option{name: name, kind: kindNumber, list: true, required: true, doc: doc}
}

// options reads the named arguments of a call, and fills in the others.
func (s *scope) options(c *call) (options, bool) {
	out, ok := options{}, true
	for _, n := range c.named {
		name := n.Left.(*ast.IdentifierNode).Value //nolint:errcheck,forcetypeassert // splitArguments has seen that it is one
		i := slices.IndexFunc(c.options, func(o option) bool { return o.name == name })
		_, again := out[name]
		switch {
		case i < 0:
			s.fail(n.Left, fmt.Sprintf("%s has no argument %q", c.name, name), c.optionHint(name))
			ok = false
		case again:
			s.fail(n.Left, fmt.Sprintf("the argument %q comes twice", name), "")
			ok = false
		default:
			v, valid := s.setting(n.Right, &c.options[i])
			out[name], ok = v, ok && valid
		}
	}
	for i := range c.options {
		o := &c.options[i]
		if _, given := out[o.name]; given {
			continue
		}
		if o.required {
			if ok {
				s.fail(c.node, fmt.Sprintf("%s needs the argument %q", c.name, o.name), "write "+c.usage)
			}
			ok = false
			continue
		}
		out[o.name] = o.def
	}
	return out, ok
}

func (c *call) optionHint(name string) string {
	var names []string
	for i := range c.options {
		names = append(names, c.options[i].name)
	}
	if len(names) == 0 {
		return "write " + c.usage
	}
	if hint := suggest(name, names); hint != "" {
		return hint
	}
	return "it has " + strings.Join(names, ", ")
}

// setting reads the value of a named argument, which is a literal.
func (s *scope) setting(node ast.Node, o *option) (setting, bool) {
	if o.list {
		list, ok := node.(*ast.ArrayNode)
		if !ok || len(list.Nodes) == 0 || len(list.Nodes) > maxList {
			s.fail(node, o.name+" takes a list of numbers", "write "+o.name+": [0, 10, 20]")
			return setting{}, false
		}
		var v setting
		for _, n := range list.Nodes {
			lit, ok := s.literalOf(n, kindNumber)
			if !ok {
				s.fail(n, o.name+" takes a list of numbers", "write "+o.name+": [0, 10, 20]")
				return setting{}, false
			}
			v.Numbers = append(v.Numbers, lit.number)
		}
		return v, true
	}
	lit, ok := s.literalOf(node, o.kind)
	if !ok {
		s.fail(node, fmt.Sprintf("%s takes a literal %s", o.name, o.kind), "")
		return setting{}, false
	}
	var v setting
	switch o.kind {
	case kindNumber:
		if v.Number = &lit.number; lit.number < o.least || lit.number > o.most || o.whole && lit.number != float64(int64(lit.number)) {
			s.fail(node, fmt.Sprintf("%s must be %s", o.name, o.wanted()), "")
			return setting{}, false
		}
	case kindBool:
		v.Flag = &lit.flag
	default:
		if o.filled && lit.text == "" {
			s.fail(node, o.name+" must not be empty", "")
			return setting{}, false
		}
		if v.Text = &lit.text; len(o.allowed) > 0 && !slices.Contains(o.allowed, lit.text) {
			s.fail(node, fmt.Sprintf("%s must be one of %s", o.name, strings.Join(o.allowed, ", ")), suggest(lit.text, o.allowed))
			return setting{}, false
		}
	}
	return v, true
}

// wanted describes the numbers that an option takes.
func (o *option) wanted() string {
	what := "a number"
	if o.whole {
		what = "a whole number"
	}
	return fmt.Sprintf("%s from %v to %v", what, o.least, o.most)
}

// literalOf returns the constant that a node is.
func (s *scope) literalOf(node ast.Node, k kind) (literal, bool) {
	r := s.check(node)
	if !r.ok() || r.kind != k || !s.build.values[r.id].isConst() || s.build.values[r.id].lit.missing {
		return literal{}, false
	}
	return s.build.values[r.id].lit, true
}

// splitArguments takes the named arguments out of those of a call. late is an argument without a name that comes after
// one, or nil.
func (s *scope) splitArguments(nodes []ast.Node) (args []ast.Node, named []*ast.BinaryNode, late ast.Node) {
	for _, n := range nodes {
		if b, ok := n.(*ast.BinaryNode); ok && b.Operator == string(namedMark) && s.marks[b.Location().From] {
			named = append(named, b)
			continue
		}
		if args = append(args, n); len(named) > 0 && late == nil {
			late = n
		}
	}
	return args, named, late
}

// strayName returns the name with which an expression begins, as in top: 2 + 1: its value is not a literal.
func (s *scope) strayName(n ast.Node) (ast.Node, bool) {
	for len(s.marks) > 0 {
		switch x := n.(type) {
		case *ast.BinaryNode:
			if x.Operator == string(namedMark) && s.marks[x.Location().From] {
				return x, true
			}
			n = x.Left
		case *ast.ConditionalNode:
			n = x.Cond
		case *ast.SliceNode:
			n = x.Node
		default:
			return nil, false
		}
	}
	return nil, false
}

// table returns the position of a table.
func (c *checker) table(name string) (int, bool) {
	i := slices.IndexFunc(c.tables, func(t Table) bool { return t.Name == name })
	return i, i >= 0
}

// cell is tables[key].field.
func (s *scope) cell(node ast.Node, table int, key ref, field string) ref {
	t := &s.tables[table]
	if t.Schema == nil {
		return ref{} // reported
	}
	i, ok := t.Schema.Index(field)
	if !ok {
		var names []string
		for i := range t.Schema.Len() {
			names = append(names, t.Schema.Field(i).Name)
		}
		return s.fail(node, fmt.Sprintf("the table %s has no column %q", t.Name, field), suggest(field, names))
	}
	row := s.add(node, value{op: opRow, args: []int32{key.id}, table: table})
	if !row.ok() {
		return ref{}
	}
	op := opCellText
	switch t.Schema.Field(i).Type {
	case record.Numeric:
		op = opCellNumber
	case record.Time:
		op = opCellTime
	case record.Enum, record.String:
	}
	return s.add(node, value{op: op, args: []int32{row.id}, table: table, field: i})
}
