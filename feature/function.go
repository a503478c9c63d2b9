package feature

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// function is a function that expressions can call.
type function struct {
	usage    string
	min, max int // arguments; max 0 is any number
	build    func(s *scope, c *call) ref
	options  []option
	fit      *fitting // of a fitted function
	doc      string   // one sentence for the reference
}

// call is one call of a function.
type call struct {
	function
	name  string
	node  ast.Node
	args  []ast.Node
	named []*ast.BinaryNode // name: value
}

func newFunctions() map[string]function {
	m := map[string]function{}
	simple := func(n int, usages ...string) { // the instruction of the same name
		for _, u := range usages {
			name, _, _ := strings.Cut(u, "(")
			m[name] = function{usage: u, min: n, max: n, build: (*scope).simple}
		}
	}
	simple(1, "lower(text)", "upper(text)", "trim(text)", "len(text)", "number(text or bool)", "text(number or bool)",
		"abs(x)", "floor(x)", "ceil(x)", "round(x)", "sqrt(x)", "log(x)", "log1p(x)", "exp(x)", "is_missing(x)", "unix(time)")
	simple(2, "starts_with(text, prefix)", "ends_with(text, suffix)", "contains(text, part)", "days_since(time, start)")
	simple(3, "replace(text, old, new)")
	for _, name := range []string{"year", "month", "day", "hour", "minute", "second", "weekday", "day_of_year"} {
		m[name] = function{usage: name + `(time) or ` + name + `(time, "Europe/Paris")`, min: 1, max: 2, build: (*scope).datePart}
	}
	m["min"] = function{usage: "min(x, y, ...)", min: 2, max: 0, build: (*scope).extreme}
	m["max"] = function{usage: "max(x, y, ...)", min: 2, max: 0, build: (*scope).extreme}
	m["coalesce"] = function{usage: "coalesce(x, y, ...)", min: 2, max: 0, build: func(s *scope, c *call) ref { return s.coalesce(c.node, c.args) }}
	m["clip"] = function{usage: "clip(x, low, high)", min: 3, max: 3, build: (*scope).clip}
	m["between"] = function{usage: "between(x, low, high)", min: 3, max: 3, build: (*scope).between}
	m["matches"] = function{usage: `matches(text, "regex")`, min: 2, max: 2, build: func(s *scope, c *call) ref { return s.matches(c.node, c.args[0], c.args[1]) }}
	m["extract"] = function{usage: `extract(text, "regex") or extract(text, "regex", group)`, min: 2, max: 3, build: (*scope).extract}
	m["time"] = function{usage: `time("2014-05-02T15:04:05Z")`, min: 1, max: 1, build: (*scope).timeLiteral}
	addVectorFunctions(m)
	addFittedFunctions(m)
	addLibrary(m)
	m["column"] = function{usage: `column("name")`, min: 1, max: 1, build: (*scope).column}
	return m
}

// call checks a call.
func (s *scope) call(node ast.Node, name string, args []ast.Node) ref {
	f, ok := s.functions[name]
	if !ok {
		return s.fail(node, fmt.Sprintf("there is no function %q", name), s.functionHint(name))
	}
	c := &call{function: f, name: name, node: node}
	var late ast.Node
	if c.args, c.named, late = s.splitArguments(args); late != nil {
		return s.fail(late, "named arguments come after the others", "write "+f.usage)
	}
	for _, a := range c.args {
		if n, ok := s.strayName(a); ok {
			return s.check(n) // says what is wrong
		}
	}
	if n := len(c.args); n < f.min || f.max > 0 && n > f.max {
		return s.fail(node, fmt.Sprintf("%s cannot be called with %d arguments", name, n), "write "+f.usage)
	}
	if len(c.named) > 0 && len(f.options) == 0 {
		return s.fail(c.named[0].Left, name+" has no named arguments", "write "+f.usage)
	}
	return f.build(s, c)
}

func (s *scope) functionHint(name string) string {
	if name == "now" || name == "today" {
		return "expressions have no clock, so that training and running agree; use a time column"
	}
	for _, alias := range [][2]string{
		{"hasPrefix", "starts_with"},
		{"startsWith", "starts_with"},
		{"hasSuffix", "ends_with"},
		{"endsWith", "ends_with"},
		{"int", "number"},
		{"float", "number"},
		{"string", "text"},
		{"str", "text"},
		{"date", "time"},
		{"ln", "log"},
		{"pow", "x ** y"},
		{"isnull", "is_missing"},
		{"is_null", "is_missing"},
		{"isnan", "is_missing"},
		{"if", "condition ? a : b"},
		{"substr", "text[a:b]"},
		{"substring", "text[a:b]"},
		{"length", "len"},
		{"regex", "matches"},
		{"clamp", "clip"},
		{"ifnull", "coalesce"},
		{"timestamp", "unix"},
		{"concat", "a + b"},
		{"mod", "a % b"},
		{"dayofweek", "weekday"},
		{"date_diff", "days_since"},
	} {
		if strings.EqualFold(alias[0], name) {
			return "use " + alias[1]
		}
	}
	return suggest(name, slices.Collect(maps.Keys(s.functions)))
}

// types reports arguments of types that a function does not take.
func (c *call) types(s *scope) func([]ref) ref {
	return func(args []ref) ref {
		kinds := make([]string, len(args))
		for i, a := range args {
			kinds[i] = a.kind.String()
		}
		return s.fail(c.node, fmt.Sprintf("%s cannot be called with (%s)", c.name, strings.Join(kinds, ", ")), "write "+c.usage)
	}
}

func (s *scope) simple(c *call) ref {
	return s.apply(c.node, c.name, c.types(s), s.all(c.args)...)
}

func (s *scope) all(nodes []ast.Node) []ref {
	out := make([]ref, len(nodes))
	for i, n := range nodes {
		out[i] = s.check(n)
	}
	return out
}

func (s *scope) extreme(c *call) ref {
	return s.chain(c.node, c.name, c.types(s), s.all(c.args))
}

// clip is min(max(x, low), high).
func (s *scope) clip(c *call) ref {
	a := s.all(c.args)
	for _, r := range a {
		if !r.ok() {
			return ref{}
		}
		if r.kind != kindNumber {
			return c.types(s)(a)
		}
	}
	return s.apply(c.node, "min", nil, s.apply(c.node, "max", nil, a[0], a[1]), a[2])
}

// between is low <= x and x <= high.
func (s *scope) between(c *call) ref {
	a := s.all(c.args)
	mismatch := func([]ref) ref { return c.types(s)(a) }
	low := s.apply(c.node, "at_most", mismatch, a[1], a[0])
	if !low.ok() {
		return ref{}
	}
	return s.apply(c.node, "and", nil, low, s.apply(c.node, "at_most", mismatch, a[0], a[2]))
}

// datePart is year and its like: the second argument is the name of a time zone.
func (s *scope) datePart(c *call) ref {
	t := s.check(c.args[0])
	v := value{args: []int32{t.id}}
	if len(c.args) == 2 {
		name, ok := s.literalText(c, 1)
		if !ok {
			return ref{}
		}
		if v.zone = name; name == "UTC" {
			v.zone = ""
		} else if err := s.zone(name); err != nil {
			return s.fail(c.args[1], err.Error(), "want an IANA time zone, such as America/Los_Angeles")
		}
	}
	if !t.ok() {
		return ref{}
	}
	if t.kind != kindTime {
		return c.types(s)([]ref{t})
	}
	v.op = s.build.table.find(c.name, "d")
	return s.add(c.node, v)
}

// zone makes the table of a time zone unless it is made.
func (s *scope) zone(name string) error {
	if s.build.zones[name] != nil {
		return nil
	}
	z, err := newZone(name)
	if err != nil {
		return err
	}
	s.build.zones[name] = z
	return nil
}

// literalText returns argument i of a call that must be written as a text.
func (s *scope) literalText(c *call, i int) (string, bool) {
	n, ok := c.args[i].(*ast.StringNode)
	if !ok {
		s.fail(c.args[i], fmt.Sprintf("argument %d of %s must be a literal text", i+1, c.name), "write "+c.usage)
		return "", false
	}
	return n.Value, s.valid(n)
}

// timeLiteral is time("...").
func (s *scope) timeLiteral(c *call) ref {
	src, ok := s.literalText(c, 0)
	if !ok {
		return ref{}
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, src); err == nil {
			return s.constant(c.node, opTime, literal{time: t.UnixMicro()})
		}
	}
	return s.fail(c.args[0], "not a time", "write 2014-05-02, 2014-05-02 15:04:05 or 2014-05-02T15:04:05Z; without a zone it is UTC")
}

// column is column("name"), for names that are not words.
func (s *scope) column(c *call) ref {
	name, ok := s.literalText(c, 0)
	if !ok {
		return ref{}
	}
	return s.identifier(c.args[0], name)
}

func (s *scope) matches(node, x, pattern ast.Node) ref {
	c := &call{name: "matches", node: node, args: []ast.Node{x, pattern}, function: s.functions["matches"]}
	src, ok := s.pattern(c)
	t := s.check(x)
	if !ok || !t.ok() {
		return ref{}
	}
	if t.kind != kindText {
		return c.types(s)([]ref{t, {kind: kindText}})
	}
	return s.add(node, value{op: opMatches, args: []int32{t.id}, pattern: src})
}

// pattern checks the regular expression that is argument 1.
func (s *scope) pattern(c *call) (string, bool) {
	src, ok := s.literalText(c, 1)
	if !ok || s.build.patterns[src] != nil {
		return src, ok
	}
	re, err := compilePattern(src)
	if err == nil && len(s.build.patterns) == maxPatterns {
		err = fmt.Errorf("there are more than %d regular expressions", maxPatterns)
	}
	if err != nil {
		s.fail(c.args[1], err.Error(), "millrace takes RE2: no back references, no look-around")
		return "", false
	}
	s.build.patterns[src] = re
	return src, true
}

// extract is the text of a group of the first match.
func (s *scope) extract(c *call) ref {
	src, ok := s.pattern(c)
	t := s.check(c.args[0])
	if !ok {
		return ref{}
	}
	groups := s.build.patterns[src].NumSubexp()
	v := value{op: opExtract, args: []int32{t.id}, pattern: src, group: min(1, groups)}
	if len(c.args) == 3 {
		n, ok := c.args[2].(*ast.IntegerNode)
		if !ok || n.Value < 0 || n.Value > groups {
			return s.fail(c.args[2], fmt.Sprintf("the group must be a literal from 0 to %d", groups), "0 is the whole match")
		}
		v.group = n.Value
	}
	if !t.ok() {
		return ref{}
	}
	if t.kind != kindText {
		return c.types(s)([]ref{t, {kind: kindText}})
	}
	return s.add(c.node, v)
}
