package config

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxProblems bounds how many problems of one file are kept: more help nobody.
const maxProblems = 200

// Problem is one fault of a pipeline file, or of an override.
type Problem struct {
	File    string `json:"file"`           // the file as it was named, or "--set #1"
	Line    int    `json:"line"`           // from 1
	Column  int    `json:"column"`         // from 1, in characters
	Length  int    `json:"length"`         // of the text at fault, in characters, within its line; at least 1
	Message string `json:"message"`        // what is wrong
	Hint    string `json:"hint,omitempty"` // what to do, where it is known

	line           string // what may be shown of the line
	caret, carets  int    // bytes of line
	order, at, end int
}

// String returns the problem in one line, without its hint: "pipeline.yaml:3:5: train has no key ...".
func (p *Problem) String() string { return p.Place() + ": " + p.Message }

// Place returns where the problem is, as editors understand it: "pipeline.yaml:3:5"; of an override, "--set #1".
func (p *Problem) Place() string {
	if p.order > 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problems are the faults of a pipeline file, in the order of the file, those of overrides last. It is the
// error that [Load] and [Parse] return for a file that can be read but not used; it is never empty.
type Problems []Problem

// Error returns one line for each problem.
func (ps Problems) Error() string {
	var b strings.Builder
	for i := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(ps[i].String())
	}
	return b.String()
}

// WriteText writes the problems for a person: each with its line of the file, carets under the text at fault,
// and a hint. With color it marks them with ANSI colours. The error is that of w.
func (ps Problems) WriteText(w io.Writer, color bool) error {
	var b strings.Builder
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	for i := range ps {
		p := &ps[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s\n", paint("1", p.Place()), paint("31", p.Message))
		text, before, under := excerpt(p.line, p.caret, p.carets)
		number := strconv.Itoa(p.Line)
		if p.order > 0 {
			number = ""
		}
		fmt.Fprintf(&b, "  %s%s\n", gutter(number), text)
		fmt.Fprintf(&b, "  %s%s%s\n", gutter(strings.Repeat(" ", len(number))), strings.Repeat(" ", before), paint("31", strings.Repeat("^", under)))
		if p.Hint != "" {
			fmt.Fprintf(&b, "  %s %s\n", paint("36", "hint:"), p.Hint)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func gutter(number string) string {
	if number == "" {
		return ""
	}
	return number + " | "
}

// problemList collects problems.
type problemList struct {
	list []Problem
	full bool
}

// add reports a fault of the text from start to end, of which only the part in its first line is underlined.
func (ps *problemList) add(src *source, start, end int, message, hint string) {
	if len(ps.list) >= maxProblems {
		ps.full = true
		return
	}
	start = min(max(start, 0), len(src.text))
	end = min(max(end, start), len(src.text))
	ps.list = append(ps.list, Problem{Message: message, Hint: hint, order: src.order, at: start, end: end}.locate(src))
}

// locate fills in the place of p, and the part of its line that may be shown.
func (p Problem) locate(src *source) Problem {
	i := src.line(p.at)
	text := src.lineText(i)
	start := min(p.at-src.starts[i], len(text))
	end := min(p.end-src.starts[i], len(text))
	p.File = src.name
	p.Line, p.Column = src.position(p.at)
	p.Length = max(1, utf8.RuneCountInString(text[start:end]))
	if from, ok := src.masks[i]; ok && from < len(text) {
		text = text[:from] + "***"
		start = min(start, from)
		end = min(max(end, start), len(text))
		if start == from {
			end = len(text)
		}
	}
	if i == 0 && strings.HasPrefix(text, bom) {
		text, start, end = text[len(bom):], max(start-len(bom), 0), max(end-len(bom), 0)
	}
	p.line, p.caret, p.carets = text, start, end-start
	return p
}

// problems returns what was collected, sorted and without repetitions, or nil.
func (ps *problemList) problems() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.at, b.at), cmp.Compare(a.end, b.end), cmp.Compare(a.Message, b.Message))
	})
	list := slices.CompactFunc(ps.list, func(a, b Problem) bool {
		return a.order == b.order && a.at == b.at && a.end == b.end && a.Message == b.Message
	})
	if ps.full {
		last := list[len(list)-1]
		last.Message, last.Hint = fmt.Sprintf("too many problems: the first %d are shown", len(list)), ""
		list = append(list, last)
	}
	return Problems(list)
}

const (
	tabWidth     = 4
	excerptWidth = 100 // columns of the terminal
)

// excerpt returns the part of line to show for the bytes from start to start+n: with tabs as spaces and without
// characters that would change the terminal; and, in columns of the terminal, where the carets begin and how
// many there are.
func excerpt(line string, start, n int) (text string, before, carets int) {
	var b strings.Builder
	column, first, last := 0, -1, -1
	for i, r := range line {
		if i >= start && first < 0 {
			first = column
		}
		if i >= start+n && last < 0 {
			last = column
		}
		r, w := shown(r, column)
		if r == '\t' {
			b.WriteString(strings.Repeat(" ", w))
		} else {
			b.WriteRune(r)
		}
		column += w
	}
	if first < 0 {
		first = column
	}
	if last < 0 {
		last = column
	}
	return window(b.String(), column, first, max(1, last-first))
}

// window cuts a shown line to the width of an excerpt, so that its carets stay in view.
func window(text string, width, before, carets int) (string, int, int) {
	if width <= excerptWidth {
		return text, before, carets
	}
	const room = excerptWidth - 2 // an ellipsis at either end
	from := 0
	if before+min(carets, room/2) > room {
		from = min(before-room/4, width-room)
	}
	var b strings.Builder
	column, left, right := 0, -1, 0 // what is shown begins and ends at these columns
	for _, r := range text {
		_, w := shown(r, column)
		if column >= from && column+w <= from+room {
			if left < 0 {
				left = column
			}
			b.WriteRune(r)
			right = column + w
		}
		column += w
	}
	before, carets = before-left, min(carets, right-before)
	cut := b.String()
	if left > 0 {
		cut, before = "…"+cut, before+1
	}
	if right < width {
		cut += "…"
	}
	return cut, before, max(1, carets)
}

// shown returns the character that stands for r in an excerpt, and how many columns it takes at column.
func shown(r rune, column int) (rune, int) {
	switch {
	case r == '\t':
		return '\t', tabWidth - column%tabWidth
	case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029 || r == 0xfeff:
		return '\ufffd', 1
	case r < 0x300:
		return r, 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return r, 0
	case unicode.Is(wide(), r):
		return r, 2
	default:
		return r, 1
	}
}

// wide returns the characters that take two columns: East Asian Width W and F of Unicode Standard Annex 11,
// by block.
func wide() *unicode.RangeTable {
	return &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x1100, 0x115f, 1},
			{0x231a, 0x231b, 1},
			{0x2329, 0x232a, 1},
			{0x23e9, 0x23ec, 1},
			{0x25fd, 0x25fe, 1},
			{0x2614, 0x2615, 1},
			{0x2648, 0x2653, 1},
			{0x26aa, 0x26ab, 1},
			{0x2705, 0x2705, 1},
			{0x274c, 0x274c, 1},
			{0x2e80, 0x303e, 1},
			{0x3041, 0x4dbf, 1},
			{0x4e00, 0xa4cf, 1},
			{0xa960, 0xa97c, 1},
			{0xac00, 0xd7a3, 1},
			{0xf900, 0xfaff, 1},
			{0xfe10, 0xfe19, 1},
			{0xfe30, 0xfe6f, 1},
			{0xff01, 0xff60, 1},
			{0xffe0, 0xffe6, 1},
		},
		R32: []unicode.Range32{
			{0x16fe0, 0x18cff, 1},
			{0x1b000, 0x1b2ff, 1},
			{0x1f300, 0x1f64f, 1},
			{0x1f680, 0x1f6ff, 1},
			{0x1f7e0, 0x1f7eb, 1},
			{0x1f900, 0x1f9ff, 1},
			{0x1fa70, 0x1faff, 1},
			{0x20000, 0x3fffd, 1},
		},
	}
}
