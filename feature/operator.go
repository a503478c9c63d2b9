package feature

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
)

func (s *scope) unary(n *ast.UnaryNode) ref {
	x := s.check(n.Node)
	mismatch := func(args []ref) ref {
		hint := ""
		if n.Operator == "not" || n.Operator == "!" {
			hint = n.Operator + " binds stronger than a comparison: write not (a == b), or a != b"
		}
		return s.fail(n, fmt.Sprintf("%q cannot be applied to %s", n.Operator, args[0].kind), hint)
	}
	switch n.Operator {
	case "-":
		return s.apply(n, "neg", mismatch, x)
	case "+":
		if x.ok() && x.kind != kindNumber {
			return mismatch([]ref{x})
		}
		return x
	default: // "not", "!"
		return s.apply(n, "not", mismatch, x)
	}
}

func (s *scope) binary(n *ast.BinaryNode) ref {
	switch n.Operator {
	case "in":
		return s.in(n)
	case "matches":
		return s.matches(n, n.Left, n.Right)
	case "..":
		return s.fail(n, "there are no ranges", "write x between low and high")
	case "^":
		if s.marks[n.Location().From] {
			return s.fail(n, "a named argument stands in a call, and its value is a literal", "write f(x, name: 20)")
		}
		return s.fail(n, `there is no operator "^"`, `write "**" for a power`)
	case "??":
		return s.coalesce(n, []ast.Node{n.Left, n.Right})
	}
	a, b := s.check(n.Left), s.check(n.Right)
	mismatch := func([]ref) ref { return s.operands(n, a, b) }
	switch n.Operator {
	case "+":
		if a.kind == kindText {
			return s.apply(n, "concat", mismatch, a, b)
		}
		return s.apply(n, "add", mismatch, a, b)
	case ">":
		return s.apply(n, "less", mismatch, b, a)
	case ">=":
		return s.apply(n, "at_most", mismatch, b, a)
	case "!=":
		return s.apply(n, "not", mismatch, s.apply(n, "equal", mismatch, a, b))
	}
	name := map[string]string{
		"-": "sub", "*": "mul", "/": "div", "%": "mod", "**": "pow",
		"<": "less", "<=": "at_most", "==": "equal", "and": "and", "&&": "and", "or": "or", "||": "or",
		"contains": "contains", "startsWith": "starts_with", "endsWith": "ends_with",
	}[n.Operator]
	if name == "" {
		return s.fail(n, fmt.Sprintf("there is no operator %q", n.Operator), "")
	}
	return s.apply(n, name, mismatch, a, b)
}

// operands reports operands whose types an operator does not take.
func (s *scope) operands(n *ast.BinaryNode, a, b ref) ref {
	has := func(k kind) bool { return a.kind == k || b.kind == k }
	hint := ""
	switch {
	case n.Operator == "and" || n.Operator == "or" || n.Operator == "&&" || n.Operator == "||":
		hint = "both sides must be conditions, such as price > 0"
	case has(kindNil):
		hint = "is_missing(x) tests for a missing value"
	case has(kindTime) && has(kindText):
		hint = `a literal time is written time("2014-05-02")`
	case a.kind == kindTime && b.kind == kindTime && n.Operator == "-":
		hint = "days_since(a, b) is the time between two times"
	case has(kindTime):
		hint = "derive a number: year(t), days_since(a, b), unix(t)"
	case has(kindNumber) && has(kindText):
		hint = "number(t) and text(x) convert"
	case has(kindBool) && has(kindNumber):
		hint = "number(b) is 1 for true and 0 for false; x != 0 is a condition"
	}
	return s.fail(n, fmt.Sprintf("%q cannot be applied to %s and %s", n.Operator, a.kind, b.kind), hint)
}

// conditional checks a ? b : c.
func (s *scope) conditional(n *ast.ConditionalNode) ref {
	cond := s.check(n.Cond)
	if cond.ok() && cond.kind != kindBool {
		s.fail(n.Cond, fmt.Sprintf("a condition must be bool, not %s", cond.kind), "")
		cond = ref{}
	}
	both := s.unify([]ast.Node{n.Exp1, n.Exp2}, "the two results of a condition")
	if both == nil || !cond.ok() {
		return ref{}
	}
	return s.apply(n, "select", nil, cond, both[0], both[1])
}

// unify checks nodes, which must be of one type, and gives that type to every nil among them. It returns nil
// after a fault.
func (s *scope) unify(nodes []ast.Node, what string) []ref {
	refs, valid, common := make([]ref, len(nodes)), true, kindNil
	for i, n := range nodes {
		refs[i] = s.check(n)
		switch k := refs[i].kind; {
		case k == kindInvalid:
			valid = false
		case k == kindVector || k == kindRow:
			s.fail(n, fmt.Sprintf("%s cannot be a %s", what, k), "choose before the vector is made: one_hot(x > 1 ? a : b)")
			return nil
		case k != kindNil && common == kindNil:
			common = k
		case k != kindNil && k != common:
			s.fail(n, fmt.Sprintf("%s must be of one type, not %s and %s", what, common, k), "number(x) and text(x) convert")
			return nil
		}
	}
	if !valid {
		return nil
	}
	if common == kindNil {
		s.fail(nodes[0], "nil alone has no type", "")
		return nil
	}
	for i := range refs {
		if refs[i].kind == kindNil {
			refs[i] = s.constant(nodes[i], opNumber+opcode(common-kindNumber), literal{missing: true})
		}
	}
	return refs
}

// coalesce checks the first of several values that is not missing.
func (s *scope) coalesce(node ast.Node, nodes []ast.Node) ref {
	refs := s.unify(nodes, "the values to choose from")
	if refs == nil {
		return ref{}
	}
	return s.chain(node, "coalesce", nil, refs)
}

// chain applies an instruction of two arguments to many, from the left.
func (s *scope) chain(node ast.Node, name string, mismatch func([]ref) ref, refs []ref) ref {
	out := refs[0]
	for _, r := range refs[1:] {
		out = s.apply(node, name, mismatch, out, r)
	}
	return out
}

// slice checks t[a:b].
func (s *scope) slice(n *ast.SliceNode) ref {
	args := []ref{s.check(n.Node), {kind: kindNumber}}
	if n.From != nil {
		args[1] = s.check(n.From)
	} else {
		args[1] = s.constant(n, opNumber, literal{})
	}
	if n.To != nil {
		args = append(args, s.check(n.To))
	}
	return s.apply(n, "slice", func(args []ref) ref {
		if args[0].kind != kindText {
			return s.fail(n, fmt.Sprintf("only a text has parts, not a %s", args[0].kind), "text(x) makes a text of a number")
		}
		return s.fail(n, "the ends of a part are numbers", "")
	}, args...)
}

// in checks x in [...], x between low and high, and x in training.
func (s *scope) in(n *ast.BinaryNode) ref {
	if id, ok := n.Right.(*ast.IdentifierNode); ok && id.Value == trainingWord {
		return s.inTraining(n)
	}
	if r, ok := n.Right.(*ast.BinaryNode); ok && r.Operator == ".." && s.marks[r.Location().From] {
		c := &call{function: s.functions["between"], name: "between", node: n, args: []ast.Node{n.Left, r.Left, r.Right}}
		c.usage = "x between low and high"
		return s.between(c)
	}
	x := s.check(n.Left)
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok {
		return s.fail(n.Right, "in needs a list of literals", `write x in ["a", "b"]; x between low and high tests a range`)
	}
	valid := x.ok()
	v := value{args: []int32{x.id}, op: map[kind]opcode{kindNumber: opInNumber, kindText: opInText, kindTime: opInTime}[x.kind]}
	if valid && v.op == opNone {
		return s.fail(n.Left, fmt.Sprintf("in takes number, text or time, not %s", x.kind), "")
	}
	for _, node := range list.Nodes {
		valid = s.element(&v, node, x) && valid
	}
	if !valid {
		return ref{}
	}
	v.numbers, v.texts, v.times = sorted(v.numbers), sorted(v.texts), sorted(v.times)
	if n := len(list.Nodes); n == 0 || n > maxList {
		return s.fail(list, fmt.Sprintf("the list has %d elements: want 1 to %d", n, maxList), "")
	}
	return s.add(n, v)
}

// element adds one element of a list to v, and tells whether it could.
func (s *scope) element(v *value, node ast.Node, x ref) bool {
	r := s.check(node)
	switch {
	case !r.ok():
		return false
	case r.kind == kindVector || r.kind == kindRow:
		s.fail(node, "a list holds literals only", "")
		return false
	case r.kind == kindNil:
		s.fail(node, "a list cannot hold nil", "is_missing(x) tests for a missing value")
		return false
	case !s.build.values[r.id].isConst() || s.build.values[r.id].lit.missing:
		s.fail(node, "a list holds literals only", "")
		return false
	case x.ok() && r.kind != x.kind:
		s.fail(node, fmt.Sprintf("a %s in a list for a %s", r.kind, x.kind), "")
		return false
	}
	switch lit := s.build.values[r.id].lit; r.kind {
	case kindNumber:
		v.numbers = append(v.numbers, lit.number+0) // -0 is 0
	case kindText:
		v.texts = append(v.texts, lit.text)
	case kindTime:
		v.times = append(v.times, lit.time)
	default:
	}
	return true
}

func sorted[T float64 | string | int64](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
