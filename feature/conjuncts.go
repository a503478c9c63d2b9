package feature

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

// Conjuncts returns the conditions that expr joins with `and`, in order; one that is not such a conjunction is its
// own only condition. A row meets expr if and only if it meets all of them. The error is an [*Error].
func Conjuncts(expr string) ([]string, error) {
	if _, _, err := parse(expr); err != nil {
		return nil, err
	}
	return conjuncts(expr), nil
}

// conjuncts is Conjuncts for a text that may not be an expression: then it returns none.
func conjuncts(expr string) []string {
	root, _, err := parse(expr)
	if err != nil {
		return nil
	}
	if b, ok := root.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		at := b.Location() // of the operator
		left, right := conjuncts(expr[:runeOffset(expr, at.From)]), conjuncts(expr[runeOffset(expr, at.To):])
		if left != nil && right != nil { // else there are brackets around the whole: it is not worth taking apart
			return append(left, right...)
		}
	}
	return []string{strings.TrimSpace(expr)}
}
