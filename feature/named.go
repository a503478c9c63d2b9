package feature

import (
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
)

// The parser has no named arguments. In one, as in f(x, top: 20), the colon is handed to it as namedMark, an operator
// that binds strongest and that the language does not have otherwise; this keeps every position.
const namedMark = '^'

// markNames replaces the colons of named arguments in src, and returns the positions, in code points, where it did.
func markNames(src string) (string, map[int]bool) {
	if !strings.Contains(src, ":") {
		return src, nil
	}
	tokens, err := lexer.Lex(file.NewSource(src))
	if err != nil {
		return src, nil // the parser says what is wrong
	}
	out := []byte(src)
	marks := map[int]bool{}
	var open []string // the brackets around a token
	for i, t := range tokens {
		switch {
		case t.Is(lexer.Bracket, "(", "[", "{"):
			open = append(open, t.Value)
		case t.Is(lexer.Bracket, ")", "]", "}"):
			open = open[:max(0, len(open)-1)]
		case t.Is(lexer.Operator, ":") && len(open) > 0 && open[len(open)-1] == "(" && beginsArgument(tokens[:i]):
			out[runeOffset(src, t.From)] = namedMark
			marks[t.From] = true
		}
	}
	return string(out), marks
}

// beginsArgument tells whether the last token is a word with which an argument of a call begins: the first one has a name
// where a pipe hands over another, as in city | one_hot(top: 20).
func beginsArgument(tokens []lexer.Token) bool {
	n := len(tokens)
	if n < 2 || !tokens[n-1].Is(lexer.Identifier) {
		return false
	}
	return tokens[n-2].Is(lexer.Operator, ",") || n > 2 && tokens[n-2].Is(lexer.Bracket, "(") && tokens[n-3].Is(lexer.Identifier)
}

// betweenWords makes "x in low .. high" of "x between low and high", in place, since the parser has no such operator: a
// range binds stronger than a comparison and weaker than arithmetic. It adds the positions of these ranges, in code points,
// to marks.
func betweenWords(src string, marks map[int]bool) (string, map[int]bool) {
	if !strings.Contains(src, "between") {
		return src, marks
	}
	tokens, err := lexer.Lex(file.NewSource(src))
	if err != nil {
		return src, marks // the parser says what is wrong
	}
	type open struct{ token, depth int } // a between that waits for its and
	var waiting []open
	depth, out := 0, []byte(src)
	for i, t := range tokens {
		depth += bracket(t)
		for n := len(waiting); n > 0 && waiting[n-1].depth > depth; n-- {
			waiting = waiting[:n-1]
		}
		switch n := len(waiting); {
		case t.Is(lexer.Identifier, "between") && endsOperand(tokens[:i]):
			waiting = append(waiting, open{i, depth})
		case t.Is(lexer.Operator, "and") && n > 0 && waiting[n-1].depth == depth:
			copy(out[runeOffset(src, tokens[waiting[n-1].token].From):], "in     ")
			copy(out[runeOffset(src, t.From):], ".. ")
			waiting = waiting[:n-1]
			if marks == nil {
				marks = map[int]bool{}
			}
			marks[t.From] = true
		}
	}
	return string(out), marks
}
