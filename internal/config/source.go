package config

import (
	"regexp"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// source is the text of a pipeline file or of one override, with its lines. A byte offset into text is a
// position; lines and columns are made of it only for people. Not safe for concurrent use.
type source struct {
	name   string
	order  int // problems are sorted by it first: 0 is the file, overrides follow
	text   string
	starts []int       // the byte offset of each line
	masks  map[int]int // line to the byte offset in it from which it is hidden, because a secret may stand there
}

const bom = "\ufeff"

func newSource(name string, order int, text string) *source {
	s := &source{name: name, order: order, text: text, starts: []int{0}, masks: map[int]int{}}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n', text[i] == '\r' && (i+1 == len(text) || text[i+1] != '\n'):
			s.starts = append(s.starts, i+1)
		}
	}
	s.maskSecrets()
	return s
}

// line returns the number of the line that holds offset off, from 0.
func (s *source) line(off int) int { return sort.SearchInts(s.starts, off+1) - 1 }

// lineText returns line i, from 0, without its line break.
func (s *source) lineText(i int) string {
	end := len(s.text)
	if i+1 < len(s.starts) {
		end = s.starts[i+1]
	}
	return strings.TrimRight(s.text[s.starts[i]:end], "\r\n")
}

// lineEnd returns the offset at which the line that holds off ends, without its line break.
func (s *source) lineEnd(off int) int {
	i := s.line(off)
	return s.starts[i] + len(s.lineText(i))
}

// position returns line and column of off, both from 1. The column counts characters; a byte order mark is none.
func (s *source) position(off int) (line, column int) {
	i := s.line(off)
	before := s.text[s.starts[i]:min(off, s.starts[i]+len(s.lineText(i)))]
	if i == 0 {
		before = strings.TrimPrefix(before, bom)
	}
	return i + 1, utf8.RuneCountInString(before) + 1
}

// cursor turns line and column, as the YAML parser gives them, into offsets. Positions that come in the order
// of the text cost no more than one pass over it, however long a line is.
type cursor struct {
	src                 *source
	line, column, start int // the last answer
}

// offset returns the offset of a line and a column, both from 1 and in characters. A place past the end of its
// line or of the text becomes that end.
func (c *cursor) offset(line, column int) int {
	line = min(max(line, 1), len(c.src.starts))
	column = max(column, 1)
	if line != c.line || column < c.column {
		c.line, c.column, c.start = line, 1, c.src.starts[line-1]
		if line == 1 && strings.HasPrefix(c.src.text, bom) {
			c.start += len(bom)
		}
	}
	end := len(c.src.text)
	if line < len(c.src.starts) {
		end = c.src.starts[line]
	}
	for c.column < column && c.start < end && c.src.text[c.start] != '\n' && c.src.text[c.start] != '\r' {
		_, n := utf8.DecodeRuneInString(c.src.text[c.start:])
		c.start += n
		c.column++
	}
	return c.start
}

// mask hides the line of off from off on, where a secret begins, and the lines on which it can go on: up to its closing
// quote or, in a flow mapping, brace, and those that are indented deeper.
func (s *source) mask(off int) {
	first := s.line(off)
	if from, ok := s.masks[first]; ok && from <= off-s.starts[first] {
		return // what follows was hidden with it
	}
	before := s.text[s.starts[first]:off]
	last := first
	if off < len(s.text) && (s.text[off] == '"' || s.text[off] == '\'') {
		last = s.line(closing(s.text, off+1, s.text[off:off+1]))
	} else if strings.ContainsAny(before, "{[") {
		last = s.line(closing(s.text, off, "}"))
	}
	depth := indent(s.lineText(first))
	for i := first; i < len(s.starts); i++ {
		text := s.lineText(i)
		if i > last && strings.TrimSpace(text) != "" && indent(text) <= depth {
			break
		}
		from := 0
		if i == first {
			from = off - s.starts[first]
		}
		if old, ok := s.masks[i]; !ok || from < old {
			s.masks[i] = from
		}
	}
}

// closing returns the offset of the next mark, past escaped ones, or the end of the text.
func closing(text string, from int, mark string) int {
	for i := from; i < len(text); i++ {
		switch {
		case text[i] == '\\' && mark == `"`, mark == "'" && strings.HasPrefix(text[i:], "''"):
			i++
		case text[i] == mark[0]:
			return i
		}
	}
	return len(text)
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// maskSecrets hides what follows a key that looks like one of a secret, also where the text is no YAML.
func (s *source) maskSecrets() {
	re := regexp.MustCompile(`(?i)[a-z0-9_.-]*(?:pass?w|passphrase|secret)[a-z0-9_.-]*["']?[ \t]*[:=][ \t]*`)
	for _, m := range re.FindAllStringIndex(s.text, -1) {
		key := strings.TrimRight(s.text[m[0]:m[1]], " \t:=\"'")
		if !strings.HasSuffix(strings.ToLower(key), "_file") {
			s.mask(min(m[1], s.lineEnd(m[0])))
		}
	}
}

// checkText reports every character that a pipeline file may not hold: what is not UTF-8, control characters,
// line breaks other than LF and CR LF, and the invisible characters that reorder a line on the screen.
func (s *source) checkText(ps *problemList) {
	for i, r := range s.text {
		if r >= ' ' && r < 0x7f || r == '\t' || r == '\n' {
			continue
		}
		var msg string
		switch {
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(s.text[i:]); n > 1 {
				continue // the replacement character itself, which is legal
			}
			ps.add(s, i, i+1, "this byte is not UTF-8 text", "save the file with the encoding UTF-8")
			return // in another encoding every line has one
		case r == '\r':
			if strings.HasPrefix(s.text[i+1:], "\n") {
				continue
			}
			msg = "a carriage return alone ends no line"
		case r == 0xfeff && i == 0:
			continue
		case r == 0xfeff:
			msg = "a byte order mark is allowed only at the start"
		case r == 0x85 || r == 0x2028 || r == 0x2029:
			msg = "this line separator is not a line break here"
		case unicode.IsControl(r) || r == 0xfffe || r == 0xffff:
			msg = "control characters are not allowed"
		case unicode.Is(unicode.Bidi_Control, r):
			msg = "characters that change the direction of text are not allowed"
		default:
			continue
		}
		ps.add(s, i, i+utf8.RuneLen(r), msg, `write it as an escape, such as "\u2028", in a text with double quotes`)
	}
}
