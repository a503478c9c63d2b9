package cli

import (
	"fmt"
	"strings"
	"unicode"
)

// oneLine returns a text without what a terminal would obey: line breaks, escapes and changes of the writing direction
// become \u001b and the like. The names of inputs hold labels of the training data, and whoever writes that data must not
// decide what the person who approves a model sees.
func oneLine(s string) string {
	obeyed := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	}
	if !strings.ContainsFunc(s, obeyed) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if obeyed(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
