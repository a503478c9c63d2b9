package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
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
func number(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	if math.Abs(x) < 1000 {
		return strconv.FormatFloat(x, 'g', 6, 64)
	}
	return grouped(int64(math.Round(x)))
}

// grouped writes n with a comma between groups of three digits.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// count writes "1 record" or "7 records".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", grouped(int64(n)), noun)
}
