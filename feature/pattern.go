package feature

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// compilePattern compiles a regular expression (RE2 syntax) that is small enough: a few bytes such as
// (a{1000}){1000} would otherwise become hundreds of megabytes.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the regular expression is longer than %d bytes", maxPattern)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			return nil, fmt.Errorf("not a regular expression: %s: %q", e.Code, e.Expr)
		}
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	if patternOps(tree) > maxPatternOps {
		return nil, fmt.Errorf("the regular expression is too large: it needs more than %d instructions", maxPatternOps)
	}
	return regexp.Compile(pattern)
}

// patternOps returns about how many instructions re compiles to; it stops counting soon after the bound.
func patternOps(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/64
	for _, sub := range re.Sub {
		if n > maxPatternOps {
			return n
		}
		n += patternOps(sub)
	}
	if re.Op == syntax.OpLiteral {
		n += len(re.Rune)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxPatternOps+1)
}
