package feature

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"
)

// parse returns the tree of an expression, and where the colons of its named arguments are.
func parse(src string) (ast.Node, map[int]bool, *Error) {
	switch {
	case len(src) > maxExpression:
		return nil, nil, &Error{Length: len(src), Msg: "the expression is longer than 16 KiB", Hint: "split it into several features"}
	case !utf8.ValidString(src):
		return nil, nil, &Error{Length: len(src), Msg: "the expression is not UTF-8"}
	case strings.TrimSpace(src) == "":
		return nil, nil, &Error{Length: len(src), Msg: "the expression is empty"}
	}
	words, marks := markNames(src)
	words, marks = betweenWords(words, marks)
	tree, err := parser.Parse(callWords(words))
	if err == nil {
		return tree.Node, marks, nil
	}
	e := &Error{Length: len(src), Msg: err.Error()}
	if fe, ok := errors.AsType[*file.Error](err); ok {
		e.Offset, e.Length = byteSpan(src, fe.Location)
		e.Msg, e.Hint = explain(fe.Message)
	}
	return nil, nil, e
}

// The parser takes "matches" and "contains" for operators wherever they stand, and "count" and "sum" for functions of
// lists. As names of functions of ours they are handed to it with callMark for their first letter, which keeps every
// position.
const callMark = "$"

// callWords marks the words "matches" and "contains" of src that stand where an operand begins, and "count" and "sum"
// before a bracket.
func callWords(src string) string {
	if !slices.ContainsFunc(markedWords(), func(w string) bool { return strings.Contains(src, w) }) {
		return src
	}
	tokens, err := lexer.Lex(file.NewSource(src))
	if err != nil {
		return src // the parser says what is wrong
	}
	var out []byte
	for i, t := range tokens {
		operand := t.Is(lexer.Operator, "matches", "contains") && !endsOperand(tokens[:i])
		if operand || t.Is(lexer.Identifier, "count", "sum") && i+1 < len(tokens) && tokens[i+1].Is(lexer.Bracket, "(") {
			if out == nil {
				out = []byte(src)
			}
			out[runeOffset(src, t.From)] = callMark[0]
		}
	}
	if out == nil {
		return src
	}
	return string(out)
}

func markedWords() []string { return []string{"matches", "contains", "count", "sum"} }

// endsOperand tells whether what comes after tokens is an operator of two operands.
func endsOperand(tokens []lexer.Token) bool {
	n := len(tokens)
	if n > 0 && tokens[n-1].Is(lexer.Operator, "not") { // as in: x not matches "y"
		n--
	}
	if n == 0 {
		return false
	}
	switch t := tokens[n-1]; t.Kind {
	case lexer.Operator, lexer.EOF:
		return false
	case lexer.Bracket:
		return t.Is(lexer.Bracket, ")", "]", "}")
	default:
		return true
	}
}

// unmark returns the name that callWords marked.
func unmark(name string) string {
	if rest, ok := strings.CutPrefix(name, callMark); ok {
		for _, w := range markedWords() {
			if w[1:] == rest {
				return w
			}
		}
	}
	return name
}

// byteSpan turns the parser's position, in code points, into an offset and a length in bytes, both inside src
// and the length above 0.
func byteSpan(src string, at file.Location) (offset, length int) {
	offset = runeOffset(src, at.From)
	if offset == len(src) { // the end: point at the last character
		_, n := utf8.DecodeLastRuneInString(src)
		offset -= n
	}
	_, n := utf8.DecodeRuneInString(src[offset:])
	return offset, max(runeOffset(src, at.To)-offset, n)
}

// runeOffset returns where in s the code point with number n begins, or the length of s.
func runeOffset(s string, n int) int {
	for i := range s {
		if n <= 0 {
			return i
		}
		n--
	}
	return len(s)
}

// explain words a message of the parser for people, and adds a hint where the cause is a common one.
func explain(msg string) (text, hint string) {
	const unexpected = `^unexpected token (\w+)(?:\((.*)\))?$`
	m := regexp.MustCompile(unexpected).FindStringSubmatch(msg)
	switch {
	case m == nil:
		return strings.ToLower(msg[:1]) + strings.TrimSuffix(msg[1:], "."), ""
	case m[1] == "EOF":
		return "the expression ends too early", ""
	}
	switch m[2] {
	case `"="`:
		hint = "== compares"
	case `"&"`:
		hint = `write "and"`
	case `"between"`:
		hint = "write x between low and high"
	case `":"`:
		hint = "named arguments come after the others: one_hot(city, top: 20)"
	case `"is"`:
		hint = "write == to compare, is_missing(x) to test for a missing value"
	case `"else"`, `"then"`:
		hint = "write condition ? a : b"
	}
	return "unexpected " + m[2], hint
}

// balance extends a part of src so that each of its brackets has the other one: the tree has no positions of
// closing brackets, nor of any around a part.
func balance(src string, at file.Location) file.Location {
	tokens, err := lexer.Lex(file.NewSource(src))
	if err != nil {
		return at
	}
	first, last, depth, lowest := len(tokens), -1, 0, 0
	for i, t := range tokens {
		if t.From >= at.From && t.To <= at.To {
			first, last = min(first, i), i
			depth += bracket(t)
			lowest = min(lowest, depth)
		}
	}
	for i, need := first-1, -lowest; need > 0 && i >= 0; i-- {
		need -= bracket(tokens[i])
		at.From = tokens[i].From
	}
	for i, need := last+1, depth-lowest; need > 0 && i < len(tokens); i++ {
		need += bracket(tokens[i])
		at.To = tokens[i].To
	}
	return at
}

// bracket is 1 for a token that opens a bracket, -1 for one that closes it, and 0 for the others.
func bracket(t lexer.Token) int {
	switch {
	case t.Is(lexer.Bracket, "(", "[", "{"):
		return 1
	case t.Is(lexer.Bracket, ")", "]", "}"):
		return -1
	default:
		return 0
	}
}

// span returns the part of the expression that node stands for, as far as the tree tells: from its first token
// to its last, without closing brackets.
func span(node ast.Node) file.Location {
	at, seen := file.Location{From: -1}, map[ast.Node]bool{}
	var walk func(ast.Node)
	walk = func(n ast.Node) {
		if isNil(n) || seen[n] {
			return
		}
		seen[n] = true
		if _, skip := n.(*ast.ConditionalNode); !skip { // the parser gives it no position of its own
			loc := n.Location()
			if at.From < 0 || loc.From < at.From {
				at.From = loc.From
			}
			at.To = max(at.To, loc.To)
		}
		for _, c := range children(n) {
			walk(c)
		}
	}
	walk(node)
	return file.Location{From: max(at.From, 0), To: at.To}
}

func isNil(n ast.Node) bool {
	if n == nil {
		return true
	}
	m, ok := n.(*ast.MemberNode) // the one type of which the parser can make a typed nil
	return ok && m == nil
}

// children returns the nodes below n that can be part of an expression we take.
func children(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.UnaryNode:
		return []ast.Node{n.Node}
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.SliceNode:
		return []ast.Node{n.Node, n.From, n.To}
	case *ast.MemberNode:
		return []ast.Node{n.Node, n.Property}
	case *ast.ChainNode:
		return []ast.Node{n.Node}
	case *ast.CallNode:
		return append([]ast.Node{n.Callee}, n.Arguments...)
	case *ast.BuiltinNode:
		return n.Arguments
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.SequenceNode:
		return n.Nodes
	default:
		return nil
	}
}
