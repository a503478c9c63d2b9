package config

import (
	"strconv"
	"strings"
)

type scalarStyle uint8

const (
	plainStyle  scalarStyle = iota
	singleStyle             // 'single quotes'
	doubleStyle             // "double quotes"
	blockStyle              // literal | or folded >
)

// span is a part of a text: bytes from start to end.
type span struct{ start, end int }

// place returns the part of the source that gave length bytes at off of the scalar's value after substitution.
// Bytes that a variable gave have the place of its reference. Where the value cannot be followed exactly, the
// place is the whole scalar.
func (n *node) place(off, length int) (start, end int) {
	spans := n.spans()
	if spans == nil || len(n.segments) > 0 && !n.done {
		return n.start, n.end()
	}
	off = min(max(off, 0), len(n.text))
	length = min(max(length, 0), len(n.text)-off)
	start = spans[n.unexpanded(off).start].start
	if length == 0 {
		return start, start
	}
	last := n.unexpanded(off + length - 1)
	return start, max(start, spans[max(last.end-1, 0)].end)
}

// fromVariable tells whether a variable gave some of the length bytes at off of the text.
func (n *node) fromVariable(off, length int) bool {
	for _, s := range n.segments {
		if n.yaml[s.in:s.inEnd] != "$$" && off < s.outEnd && s.out < off+length {
			return true
		}
	}
	return false
}

// unexpanded returns the bytes of the YAML value that gave byte i of the text; for i past the text, its end.
func (n *node) unexpanded(i int) span {
	at := i
	for _, s := range n.segments {
		if i < s.out {
			break
		}
		if i < s.outEnd {
			return span{s.in, s.inEnd}
		}
		at = s.inEnd + i - s.outEnd
	}
	return span{at, at + 1}
}

// spans follows the YAML value of a scalar through its source: the place of each byte of the value, and one
// more, which is empty, for its end. It is nil where value and source do not agree.
func (n *node) spans() []span {
	if !n.followed {
		n.followed = true
		n.places = n.follow()
	}
	return n.places
}

// end returns the offset at which the text to underline ends: for a list or mapping, after its first character.
func (n *node) end() int {
	if n.kind != scalarNode {
		return min(n.start+1, len(n.src.text))
	}
	spans := n.spans()
	if spans == nil || n.style == blockStyle {
		return n.src.lineEnd(n.start)
	}
	end := spans[len(n.yaml)].end
	if n.style != plainStyle {
		end++ // the closing quote
	}
	return end
}

func (n *node) follow() []span {
	f := follower{src: n.src.text, value: n.yaml, at: n.start, spans: make([]span, 0, len(n.yaml)+1)}
	ok := true
	switch n.style {
	case plainStyle:
		ok = f.flow(0)
	case singleStyle:
		ok = f.open('\'') && f.flow('\'')
	case doubleStyle:
		ok = f.open('"') && f.flow('"')
	case blockStyle:
		ok = f.block(n.src)
	}
	if !ok || len(f.spans) != len(n.yaml) {
		return nil
	}
	return append(f.spans, span{f.at, f.at})
}

// follower walks a scalar's source and its value side by side.
type follower struct {
	src, value string
	at         int // in src
	spans      []span
}

func (f *follower) open(quote byte) bool {
	if f.at >= len(f.src) || f.src[f.at] != quote {
		return false
	}
	f.at++
	return true
}

// rest returns the part of the value that has no place yet.
func (f *follower) rest() string { return f.value[len(f.spans):] }

// same records that the next n bytes of the value stand at the current place of the source as they are.
func (f *follower) same(n int) bool {
	if !strings.HasPrefix(f.rest(), f.src[f.at:f.at+n]) {
		return false
	}
	for range n {
		f.spans = append(f.spans, span{f.at, f.at + 1})
		f.at++
	}
	return true
}

// instead records that text, the next part of the value, came of the next n bytes of the source, of which the
// first shown are its place.
func (f *follower) instead(text string, n, shown int) bool {
	if !strings.HasPrefix(f.rest(), text) {
		return false
	}
	for range len(text) {
		f.spans = append(f.spans, span{f.at, f.at + shown})
	}
	f.at += n
	return true
}

// flow follows a plain scalar (quote 0) or one in quotes.
func (f *follower) flow(quote byte) bool {
	for len(f.spans) < len(f.value) {
		if f.at >= len(f.src) || !f.step(quote) {
			return false
		}
	}
	for quote == '"' && strings.HasPrefix(f.src[f.at:], "\\") { // line breaks that add nothing
		if !f.step(quote) {
			return false
		}
	}
	return quote == 0 || f.at < len(f.src) && f.src[f.at] == quote
}

func (f *follower) step(quote byte) bool {
	c := f.src[f.at]
	if run := blankRun(f.src[f.at:]); run > 0 {
		switch breaks := strings.Count(f.src[f.at:f.at+run], "\n"); breaks {
		case 0:
			return f.same(run)
		case 1:
			return f.instead(" ", run, 1)
		default:
			return f.instead(strings.Repeat("\n", breaks-1), run, 1)
		}
	}
	switch {
	case quote == '"' && c == '\\':
		text, size, ok := unescape(f.src[f.at:])
		return ok && f.instead(text, size, size)
	case quote == '\'' && c == '\'':
		return strings.HasPrefix(f.src[f.at:], "''") && f.instead("'", 2, 2)
	default:
		return f.same(1)
	}
}

// blankRun returns the number of blanks and line breaks at the start of s.
func blankRun(s string) int {
	n := 0
	for n < len(s) && strings.IndexByte(" \t\r\n", s[n]) >= 0 {
		n++
	}
	return n
}

// unescape returns what the backslash sequence at the start of s stands for, and its size. An escaped line
// break stands for nothing, together with the blanks that follow it.
func unescape(s string) (text string, size int, ok bool) {
	if len(s) < 2 {
		return "", 0, false
	}
	var digits int
	switch s[1] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '\n', '\r':
		return "", 1 + blankRun(s[1:]), true
	default:
		names := "0abt\tnvfre \"/\\N_LP"
		values := []rune("\x00\a\b\t\t\n\v\f\r\x1b \"/\\\u0085\u00a0\u2028\u2029")
		i := strings.IndexByte(names, s[1])
		if i < 0 {
			return "", 0, false
		}
		return string(values[i]), 2, true
	}
	if len(s) < 2+digits {
		return "", 0, false
	}
	r, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	return string(rune(r)), 2 + digits, err == nil
}

// block follows a literal or folded block scalar. Its indentation is that of its first line with text, or, where
// the header gives one relative to an indentation that is not known here, the first at which all agrees.
func (f *follower) block(src *source) bool {
	header, _, _ := strings.Cut(src.text[f.at:src.lineEnd(f.at)], " ")
	first := src.line(f.at) + 1
	if d := strings.IndexAny(header, "123456789"); d >= 0 {
		least := int(header[d] - '0')
		for margin := least; margin <= least+8*maxDepth; margin++ {
			try := follower{src: f.src, value: f.value, at: f.at}
			if try.lines(src, first, margin) {
				f.at, f.spans = try.at, try.spans
				return true
			}
		}
		return false
	}
	for i := first; i < len(src.starts); i++ {
		if line := src.lineText(i); strings.Trim(line, " ") != "" {
			return f.lines(src, first, len(line)-len(strings.TrimLeft(line, " ")))
		}
	}
	return f.value == ""
}

// lines follows the lines of a block scalar from line i on: each gives its text after the margin.
func (f *follower) lines(src *source, i, margin int) bool {
	for ; i < len(src.starts) && len(f.spans) < len(f.value); i++ {
		line := src.lineText(i)
		if len(line) <= margin {
			continue // the line breaks around it are taken before the next line with text
		}
		if strings.Trim(line[:margin], " ") != "" {
			break // the scalar ends before it
		}
		f.at = src.starts[i] + margin
		text := line[margin:]
		for rest := f.rest(); !strings.HasPrefix(rest, text); rest = f.rest() {
			if !strings.HasPrefix(rest, "\n") && !strings.HasPrefix(rest, " ") {
				return false
			}
			f.spans = append(f.spans, span{f.at, f.at})
		}
		if !f.same(len(text)) {
			return false
		}
	}
	for strings.HasPrefix(f.rest(), "\n") {
		f.spans = append(f.spans, span{f.at, f.at})
	}
	return len(f.spans) == len(f.value)
}
