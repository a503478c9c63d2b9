package feature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is a fault in an expression or in the list of inputs, for the person who wrote it. [Compile] and
// [CompilePredicate] report every fault they find, joined; [Errors] takes the joined error apart.
type Error struct {
	Feature string // the feature or input at fault; "" for a predicate
	Offset  int    // where in the expression, in bytes from 0
	Length  int    // of the part at fault, in bytes; 0 where no part of an expression is at fault
	Msg     string // what is wrong
	Hint    string // what to do, or ""
}

// Error returns the fault as one line of text.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Feature != "" {
		fmt.Fprintf(&b, "feature %q: ", e.Feature)
	}
	b.WriteString(e.Msg)
	if e.Length > 0 {
		fmt.Fprintf(&b, " (at byte %d)", e.Offset)
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

// Errors returns the faults that an error of [Compile], [CompilePredicate] or [Fitter.Plan] holds, in order.
func Errors(err error) []*Error {
	if one, ok := err.(*Error); ok { //nolint:errorlint // the tree is walked here
		return []*Error{one}
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case interface{ Unwrap() []error }:
		var out []*Error
		for _, sub := range e.Unwrap() {
			out = append(out, Errors(sub)...)
		}
		return out
	case interface{ Unwrap() error }:
		return Errors(e.Unwrap())
	default:
		return nil
	}
}

// join returns errs as one error.
func join(errs []*Error) error {
	all := make([]error, len(errs))
	for i, e := range errs {
		all[i] = e
	}
	return errors.Join(all...)
}

// suggest returns a hint that names the candidate nearest to name, or "" if none is near.
func suggest(name string, candidates []string) string {
	best, least := "", 1+max(1, len([]rune(name))/3)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := distance(strings.ToLower(name), strings.ToLower(c))
		if d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance returns the Levenshtein distance of two texts, in code points.
func distance(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	row := make([]int, len(rb)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range ra {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range rb {
			cost := 1
			if x == y {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(rb)]
}
