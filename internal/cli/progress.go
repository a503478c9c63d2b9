package cli

import (
	"fmt"
	"time"

	"millrace.dev/internal/chart"
)

// progress returns a function that shows how far something is: on a terminal in one line that is rewritten, else
// not at all. done removes the line.
func (c *cli) progress(what string) (show func(string), done func()) {
	var last time.Time
	show = func(s string) {
		if now := time.Now(); now.Sub(last) >= 100*time.Millisecond {
			last = now
			c.err.show(what + ": " + s)
		}
	}
	return show, func() { c.err.show("") }
}

// number writes x for a person: six digits, with a comma between groups of three.
func number(x float64) string { return chart.Number(x) }

// grouped writes n with a comma between groups of three digits.
func grouped(n int64) string { return chart.Grouped(n) }

// count writes "1 record" or "7 records".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", grouped(int64(n)), noun)
}
