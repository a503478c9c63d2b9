package chart

import (
	"fmt"
	"strings"
	"unicode"
)

// OneLine returns a text without what a terminal or a browser would obey: line breaks, escapes and changes of the writing
// direction become \u001b and the like, and what is no UTF-8 the replacement character. Names hold texts of the data, and
// whoever writes that data must not decide what the person who approves a model sees.
func OneLine(s string) string {
	obeyed := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar ||
			0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe // no characters
	}
	if !strings.ContainsFunc(s, obeyed) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == unicode.ReplacementChar:
			b.WriteRune(r)
		case obeyed(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ellipsis ends a text that was cut.
const ellipsis = "…"

// Shorten returns s with at most n characters, 1 or more: a longer text is cut and ends with an ellipsis.
func Shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return strings.TrimRight(string(r[:n-1]), " ") + ellipsis
	}
	return s
}

// advances has the widths of the characters from the space to the tilde in DejaVu Sans, in hundredths of the font's size.
const advances = "" +
	"\x20\x29\x2e\x54\x40\x60\x4e\x1c\x28\x28\x32\x54\x20\x25\x20\x22" + // space to /
	"\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x22\x22\x54\x54\x54\x36" + // 0 to ?
	"\x64\x45\x45\x46\x4d\x40\x3a\x4e\x4c\x1e\x1e\x42\x38\x57\x4b\x4f" + // @ to O
	"\x3d\x4f\x46\x40\x3e\x4a\x45\x63\x45\x3e\x45\x28\x22\x28\x54\x32" + // P to _
	"\x32\x3e\x40\x37\x40\x3e\x24\x40\x40\x1c\x1c\x3a\x1c\x62\x40\x3e" + // ` to o
	"\x40\x40\x2a\x35\x28\x40\x3c\x52\x3c\x3c\x35\x40\x22\x40\x54" // p to ~

// width estimates how wide a text is, in units of the font's size, from above.
func width(s string) float64 {
	sum := 0
	for _, r := range s {
		sum += advance(r)
	}
	return float64(sum) / 100
}

// advance estimates the width of a character, in hundredths of the font's size.
func advance(r rune) int {
	switch {
	case ' ' <= r && r <= '~':
		return int(advances[r-' '])
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r == '·' || r == '…' || r == '−' || r == '–' || r == '²' || r == '×':
		return 101
	case r < 0x250: // Latin
		return 101
	case r < 0x530: // more Latin, Greek, Cyrillic
		return 122
	case r == 0xfdfa || r == 0xfdfb || r == 0xfdfd: // whole phrases of Arabic
		return 1200
	default:
		return 145
	}
}

// cut returns s in at most w units of the font's size, with an ellipsis where it was cut; "" where not even that fits.
func cut(s string, w float64) string {
	if width(s) <= w {
		return s
	}
	room := int(w*100) - advance('…')
	if room < 0 {
		return ""
	}
	for i, r := range s {
		if room -= advance(r); room < 0 {
			return strings.TrimRight(s[:i], " ") + ellipsis
		}
	}
	return s // not reached: all of s is wider than w
}
