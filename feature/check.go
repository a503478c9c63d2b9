package feature

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"millrace.dev/record"
)

// checker gives every expression a type and turns it into values of a builder. It goes on after a fault; what
// depends on a faulty part is invalid and not reported again.
type checker struct {
	schema    *record.Schema
	build     *builder
	functions map[string]function
	features  []*declared
	byName    map[string]*declared
	path      []*declared // the features being checked, each needed by the one before it
	errs      []*Error

	tables    []Table
	windows   []window
	taken     map[string]string // names of tables and windows, and which they are
	labelName string            // the column that only fitting may see; "" is none
	vectors   []vector
	fits      map[string]fitted // by the print of the call
	ready     []*wanted         // what can be fitted next

	inputNames map[string]bool
	rules      *ruleScope // of rules; nil in features and predicates
}

// declared is a feature, and how far it has been checked.
type declared struct {
	Spec
	state  int // unseen, open or done
	result ref
}

const (
	unseen = iota
	open
	done
)

func newChecker(s *record.Schema) *checker {
	return &checker{schema: s, build: newBuilder(), functions: newFunctions(), byName: map[string]*declared{}, inputNames: map[string]bool{}}
}

// scope is the expression of one feature, or of a predicate, while it is checked.
type scope struct {
	*checker
	name string
	src  string
	memo map[ast.Node]ref // the parser shares nodes: a < b < c is (a < b) and (b < c)

	marks   map[int]bool // where the colons of named arguments are
	fitOnly bool         // the label may be used
}

// expression checks src, the expression of the feature called name.
func (c *checker) expression(name, src string) ref {
	node, marks, e := parse(src)
	if e != nil {
		e.Feature = name
		c.errs = append(c.errs, e)
		return ref{}
	}
	s := &scope{checker: c, name: name, src: src, marks: marks, memo: map[ast.Node]ref{}}
	r := s.check(node)
	if r.kind == kindNil {
		return s.fail(node, "nil alone has no type", "")
	}
	return r
}

// feature checks a feature unless that was done.
func (c *checker) feature(d *declared) ref {
	if d.state == unseen {
		d.state = open
		c.path = append(c.path, d)
		d.result = c.named(c.expression(d.Name, d.Expr), d.Name)
		c.path = c.path[:len(c.path)-1]
		d.state = done
	}
	return d.result
}

// fail reports a fault at node and returns the invalid ref.
func (s *scope) fail(node ast.Node, msg, hint string) ref {
	offset, length := byteSpan(s.src, balance(s.src, span(node)))
	s.errs = append(s.errs, &Error{Feature: s.name, Offset: offset, Length: length, Msg: msg, Hint: hint})
	return ref{}
}

func (s *scope) check(node ast.Node) ref {
	if isNil(node) {
		return ref{}
	}
	if r, ok := s.memo[node]; ok {
		return r
	}
	r := s.node(node)
	s.memo[node] = r
	return r
}

func (s *scope) node(node ast.Node) ref {
	switch n := node.(type) {
	case *ast.NilNode:
		return ref{kind: kindNil}
	case *ast.IntegerNode:
		f := float64(n.Value)
		if f >= 1<<63 || int(f) != n.Value {
			return s.fail(n, "a number cannot hold this integer exactly", "compare long identifiers as texts")
		}
		return s.constant(n, opNumber, literal{number: f})
	case *ast.FloatNode:
		return s.constant(n, opNumber, literal{number: n.Value})
	case *ast.BoolNode:
		return s.constant(n, opBool, literal{flag: n.Value})
	case *ast.StringNode:
		return s.text(n)
	case *ast.IdentifierNode:
		return s.identifier(n, unmark(n.Value))
	case *ast.UnaryNode:
		return s.unary(n)
	case *ast.BinaryNode:
		return s.binary(n)
	case *ast.ConditionalNode:
		return s.conditional(n)
	case *ast.SliceNode:
		return s.slice(n)
	case *ast.MemberNode:
		return s.member(n)
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			return s.fail(n.Callee, "values have no methods", "write the function before its arguments: lower(city)")
		}
		return s.call(n, unmark(callee.Value), n.Arguments)
	case *ast.BuiltinNode:
		return s.call(n, n.Name, n.Arguments)
	default:
		return s.unsupported(node)
	}
}

// noSource says what is wrong where a member looks like a column of a table or an aggregate of a window, and is none; "" is
// nothing.
func (s *scope) noSource(m *ast.MemberNode) (msg, hint string) {
	if _, ok := m.Property.(*ast.StringNode); !ok {
		return "", ""
	}
	base, keyed := m.Node, false
	if inner, ok := base.(*ast.MemberNode); ok {
		base, keyed = inner.Node, true
	}
	id, ok := base.(*ast.IdentifierNode)
	if !ok {
		return "", ""
	}
	name := unmark(id.Value)
	var tables, windows []string
	for i := range s.tables {
		tables = append(tables, s.tables[i].Name)
	}
	for i := range s.windows {
		windows = append(windows, s.windows[i].Name)
	}
	_, field := s.schema.Index(name)
	switch {
	case s.byName[name] != nil || field:
		return "", "" // a value
	case keyed && slices.Contains(windows, name):
		return name + " is a window, which has its key already", "write " + name + ".aggregate"
	case keyed:
		return fmt.Sprintf("there is no table %q", name), suggest(name, tables)
	default:
		return fmt.Sprintf("there is no window %q", name), suggest(name, windows)
	}
}

// unsupported reports the parts of the parser's language that millrace does not have.
func (s *scope) unsupported(node ast.Node) ref {
	switch n := node.(type) {
	case *ast.MemberNode, *ast.ChainNode:
		if m, ok := n.(*ast.MemberNode); ok {
			if msg, hint := s.noSource(m); msg != "" {
				return s.fail(node, msg, hint)
			}
			if name, ok := m.Node.(*ast.IdentifierNode); ok {
				if _, ok := s.table(unmark(name.Value)); ok {
					return s.fail(node, "a row of the table "+name.Value+" is no value", "name a column of it: "+name.Value+"[key].column")
				}
			}
			if _, index := m.Property.(*ast.StringNode); !index {
				return s.fail(node, "one character of a text cannot be taken by its index", "write text[a:b]")
			}
		}
		return s.fail(node, "values have no members", `name a column that has a dot in its name as column("a.b")`)
	case *ast.ArrayNode:
		return s.fail(node, "a list can only stand to the right of in", "")
	case *ast.BytesNode:
		return s.fail(node, "there are no byte literals", "write a text: \"...\"")
	case *ast.SequenceNode, *ast.VariableDeclaratorNode:
		return s.fail(node, "an expression has no variables and no sequences", "declare another feature and use its name")
	default:
		return s.fail(node, "this is not supported in an expression", "")
	}
}

// add adds a value that node computes.
func (s *scope) add(node ast.Node, v value) ref {
	r, err := s.build.add(v)
	if err != nil {
		return s.fail(node, err.Error(), "")
	}
	return r
}

func (s *scope) constant(node ast.Node, op opcode, l literal) ref {
	return s.add(node, value{op: op, lit: l})
}

// apply adds the instruction called name on args. An instruction that does not exist for their types is
// reported through mismatch.
func (s *scope) apply(node ast.Node, name string, mismatch func([]ref) ref, args ...ref) ref {
	v, letters := value{args: make([]int32, len(args))}, make([]byte, len(args))
	for i, a := range args {
		if !a.ok() {
			return ref{}
		}
		v.args[i], letters[i] = a.id, '?'
		if a.kind != kindNil {
			letters[i] = a.kind.letter()
		}
	}
	if v.op = s.build.table.find(name, string(letters)); v.op == opNone {
		return mismatch(args)
	}
	return s.add(node, v)
}

func (s *scope) text(n *ast.StringNode) ref {
	if !s.valid(n) {
		return ref{}
	}
	return s.constant(n, opText, literal{text: n.Value})
}

// valid tells whether a literal text is UTF-8, and reports one that is not: escapes can make one.
func (s *scope) valid(n *ast.StringNode) bool {
	ok := utf8.ValidString(n.Value)
	if !ok {
		s.fail(n, "the text is not UTF-8", "")
	}
	return ok
}

// identifier returns the column or feature called name.
func (s *scope) identifier(node ast.Node, name string) ref {
	if i, ok := s.schema.Index(name); ok {
		if name == s.labelName && !s.fitOnly {
			return s.fail(node, "it uses the label, which the records of a stream do not have yet", "a feature is made of what is known when the prediction is")
		}
		if s.rules != nil && len(s.path) == 0 {
			s.rules.name(name)
		}
		return s.add(node, value{op: opColumn, field: i, kind: fieldKind(s.schema.Field(i).Type)})
	}
	d, ok := s.byName[name]
	if !ok && s.taken[name] != "" {
		return s.fail(node, fmt.Sprintf("%s is a %s, not a value", name, s.taken[name]), "write "+map[string]string{"table": name + "[key].column", "window": name + ".aggregate"}[s.taken[name]])
	}
	if !ok && s.rules != nil && s.rules.waits(name) {
		s.rules.name(name)
		return s.add(node, value{op: opColumn, kind: kindNumber, field: s.rules.number})
	}
	if !ok {
		return s.unknown(node, name)
	}
	if d.state == open {
		from := slices.Index(s.path, d)
		names := make([]string, 0, len(s.path)-from+1)
		for _, p := range append(slices.Clone(s.path[from:]), d) {
			names = append(names, p.Name)
		}
		return s.fail(node, "a feature cannot depend on itself: "+strings.Join(names, " -> "), "")
	}
	if s.rules != nil {
		return s.ruleFeature(node, d)
	}
	return s.feature(d)
}

func (s *scope) unknown(node ast.Node, name string) ref {
	var hint string
	switch _, isFunction := s.functions[name]; {
	case name == "null" || name == "None" || name == "NULL" || name == "NaN" || name == "missing":
		hint = "nil is the missing value; is_missing(x) tests for it"
	case isFunction:
		hint = fmt.Sprintf("%s is a function: write %s", name, s.functions[name].usage)
	default:
		hint = suggest(name, s.names())
	}
	return s.fail(node, fmt.Sprintf("no column or feature is called %q", name), hint)
}

// names returns what an identifier can stand for.
func (c *checker) names() []string {
	out := make([]string, 0, c.schema.Len()+len(c.features))
	for i := range c.schema.Len() {
		out = append(out, c.schema.Field(i).Name)
	}
	for _, d := range c.features {
		out = append(out, d.Name)
	}
	for name := range c.taken {
		out = append(out, name)
	}
	return out
}

// member checks table[key].column and window.aggregate.
func (s *scope) member(n *ast.MemberNode) ref {
	property, ok := n.Property.(*ast.StringNode)
	if !ok {
		return s.unsupported(n)
	}
	if s.rules != nil {
		return s.fail(n, "a rule looks up no rows and reads no windows", "make a feature of it that is an input of the model, and use its name")
	}
	switch of := n.Node.(type) {
	case *ast.IdentifierNode:
		name := unmark(of.Value)
		if w := slices.IndexFunc(s.windows, func(w window) bool { return w.Name == name }); w >= 0 {
			return s.aggregateOf(n, w, property.Value)
		}
		if _, ok := s.table(name); ok {
			return s.fail(n, fmt.Sprintf("a column of the table %s needs a key", name), "write "+name+"[key]."+property.Value)
		}
	case *ast.MemberNode:
		name, ok := of.Node.(*ast.IdentifierNode)
		if !ok {
			break
		}
		if t, ok := s.table(unmark(name.Value)); ok {
			key := s.check(of.Property)
			if key.ok() && key.kind != kindText {
				return s.fail(of.Property, fmt.Sprintf("the key of a table is a text, not a %s", key.kind), "text(x) makes a text of a number")
			}
			if !key.ok() {
				return ref{}
			}
			return s.cell(n, t, key, property.Value)
		}
	}
	return s.unsupported(n)
}

func fieldKind(t record.Type) kind {
	switch t {
	case record.Numeric:
		return kindNumber
	case record.Enum, record.String:
		return kindText
	case record.Time:
		return kindTime
	default:
		return kindInvalid
	}
}
