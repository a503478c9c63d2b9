package config

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// oneValue parses "key: " and a scalar and returns the scalar's node.
func oneValue(t interface{ Fatalf(string, ...any) }, text string) *node {
	src := newSource("test", 0, text)
	ps := &problemList{}
	src.checkText(ps)
	root := parseYAML(src, ps)
	if err := ps.problems(); err != nil || root == nil || root.get("key") == nil {
		t.Fatalf("%q: %v", text, err)
		return nil
	}
	return root.get("key").value
}

// writer writes a scalar in one of YAML's styles, and its value beside it.
type writer struct {
	t           *rapid.T
	text, value strings.Builder
}

func (w *writer) pick(label string, list ...string) string {
	return rapid.SampledFrom(list).Draw(w.t, label)
}

// word is what every style can hold as it is.
func (w *writer) word() {
	s := w.pick("word", "a", "sqft_living", "+", "é", "東京", "\U0001F3E0", "x-1", "<=", "(b)")
	w.text.WriteString(s)
	w.value.WriteString(s)
}

// gap is one space, some, or a fold.
func (w *writer) gap(foldable bool) {
	kind := w.pick("gap", " ", "   ", "fold", "folds")
	switch {
	case foldable && kind == "fold":
		w.text.WriteString(w.pick("blanks", "", " ") + w.pick("break", "\n", "\r\n") + w.pick("indent", "  ", "     "))
		w.value.WriteString(" ")
	case foldable && kind == "folds":
		w.text.WriteString(w.pick("breaks", "\n\n  ", "\n \n\n   ", "\r\n\r\n  "))
		w.value.WriteString(strings.Repeat("\n", strings.Count(w.text.String()[lastWord(w.text.String()):], "\n")-1))
	default:
		s := strings.Trim(kind, "folds")
		if s == "" {
			s = " "
		}
		w.text.WriteString(s)
		w.value.WriteString(s)
	}
}

func lastWord(s string) int { return len(strings.TrimRight(s, " \r\n")) }

// special is a character that the style has to write in another way.
func (w *writer) special(style string) {
	switch style {
	case "single":
		w.text.WriteString("''")
		w.value.WriteString("'")
	case "double":
		e := w.pick("escape", `\"`, `\\`, `\n`, `\t`, `\u00e9`, `\U0001F3E0`, `\x41`, `\/`, `\0`, `\_`, `\e`)
		s, _, _ := unescape(e)
		w.text.WriteString(e)
		w.value.WriteString(s)
		if w.pick("break", "no", "yes") == "yes" {
			w.text.WriteString("\\\n    ")
		}
	}
}

func (w *writer) scalar(style string) {
	quote := map[string]string{"single": "'", "double": `"`}[style]
	w.text.WriteString(quote)
	w.word()
	for range rapid.IntRange(0, 8).Draw(w.t, "words") {
		w.gap(true)
		w.word()
		if quote != "" {
			w.special(style)
			w.word()
		}
	}
	w.text.WriteString(quote)
}

func (w *writer) block(style string) {
	margin := w.pick("margin", "  ", "     ")
	indicator := w.pick("indicator", "", strconv.Itoa(len(margin)))
	chomp := w.pick("chomp", "", "-", "+")
	w.text.WriteString(style + indicator + chomp + w.pick("comment", "", "  # comment") + "\n")
	lines := rapid.IntRange(1, 5).Draw(w.t, "lines")
	for i := range lines {
		w.text.WriteString(margin)
		if i > 0 && style == "|" && w.pick("deeper", "no", "yes") == "yes" {
			w.text.WriteString("  ")
			w.value.WriteString("  ")
		}
		w.word()
		w.gap(false)
		w.word()
		blank := rapid.IntRange(0, 2).Draw(w.t, "blank lines")
		w.text.WriteString("\n" + strings.Repeat("\n", blank))
		switch {
		case i == lines-1 && chomp == "-":
		case i == lines-1 && chomp == "":
			w.value.WriteString("\n")
		case style == "|" || i == lines-1:
			w.value.WriteString(strings.Repeat("\n", 1+blank))
		case blank == 0:
			w.value.WriteString(" ")
		default:
			w.value.WriteString(strings.Repeat("\n", blank))
		}
	}
	w.text.WriteString("after: 1\n")
}

// TestPlaces checks that every character of a scalar, in every style, is found in the source.
func TestPlaces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		style := rapid.SampledFrom([]string{"plain", "single", "double", "|", ">"}).Draw(t, "style")
		w := &writer{t: t}
		if style == "|" || style == ">" {
			w.block(style)
		} else {
			w.scalar(style)
		}
		text := "# c\nkey:  " + w.text.String()
		n := oneValue(t, text)
		if n.yaml != w.value.String() {
			t.Fatalf("%q has the value %q, not %q: the test is wrong", text, n.yaml, w.value.String())
		}
		n.text, n.done = n.yaml, true
		if n.spans() == nil {
			t.Fatalf("%q: not followed", text)
		}
		last := 0
		for i, r := range n.text {
			start, end := n.place(i, utf8.RuneLen(r))
			got := text[start:end]
			escaped, _, _ := unescape(got)
			switch {
			case got == string(r), style == "single" && got == "''" && r == '\'', style == "double" && escaped == string(r):
			case (r == ' ' || r == '\n') && strings.Trim(got, " \r\n") == "":
			case r == '\n' && strings.HasPrefix(style, "|") || r == '\n' && style == ">" || r == ' ' && style == ">":
			default:
				t.Fatalf("%q: character %d, %q, has the place %q", text, i, r, got)
			}
			if start < last {
				t.Fatalf("%q: the place of character %d is before that of the one before it", text, i)
			}
			last = start
		}
	})
}

func TestPlaceOfVariables(t *testing.T) {
	t.Parallel()
	n := oneValue(t, `key: "a$${x ${LONG} 'b' ${NONE:-} c"`)
	d := decoder{ps: &problemList{}, env: lookup(map[string]string{"LONG": "0123456789"})}
	if !d.expand(n) || n.text != "a${x 0123456789 'b'  c" {
		t.Fatalf("%q %v", n.text, d.ps.problems())
	}
	for _, c := range []struct {
		off, length int
		want        string
	}{
		{0, 1, "a"},
		{1, 1, "$$"},
		{1, 3, "$${x"},
		{5, 1, "${LONG}"},
		{9, 3, "${LONG}"},
		{14, 4, "${LONG} 'b"},
		{17, 1, "b"},
		{21, 1, "c"},
		{22, 0, ""},
		{22, 9, ""},
		{-1, 100, `a$${x ${LONG} 'b' ${NONE:-} c`},
	} {
		start, end := n.place(c.off, c.length)
		if got := n.src.text[start:end]; got != c.want {
			t.Errorf("%d, %d: %q, want %q", c.off, c.length, got, c.want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line          string
		start, n      int
		before, under int
		text          string
	}{
		{"abc", 1, 1, 1, 1, "abc"},
		{"", 0, 0, 0, 1, ""},
		{"abc", 3, 0, 3, 1, "abc"},
		{"\tab\tc", 4, 1, 8, 1, "    ab  c"},
		{"a\tb", 1, 1, 1, 3, "a   b"},
		{"東京 x", 7, 1, 5, 1, "東京 x"},
		{"東京 x", 0, 6, 0, 4, "東京 x"},
		{"e\u0301x", 3, 1, 1, 1, "e\u0301x"},
		{"a\x1b[31mb", 6, 1, 6, 1, "a\ufffd[31mb"},
		{"a\xffb", 2, 1, 2, 1, "a\ufffdb"},
		{"a\u202eb", 4, 1, 2, 1, "a\ufffdb"},
	} {
		text, before, under := excerpt(c.line, c.start, c.n)
		if text != c.text || before != c.before || under != c.under {
			t.Errorf("%q: %q, %d, %d", c.line, text, before, under)
		}
	}
}

// TestExcerptOfLongLines checks that the carets of a long line stay under the text at fault and in view.
func TestExcerptOfLongLines(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		filler := rapid.SampledFrom([]string{"x", "東", "\t", "é"}).Draw(t, "filler")
		left := strings.Repeat(filler, rapid.IntRange(0, 300).Draw(t, "left"))
		right := strings.Repeat(filler, rapid.IntRange(0, 300).Draw(t, "right"))
		text, before, under := excerpt(left+"MARK"+right, len(left), 4)
		if w := width(text); w > excerptWidth+1 || before+under > w {
			t.Fatalf("%d columns, carets at %d to %d: %q", w, before, before+under, text)
		}
		column := 0
		for i := range text {
			if column == before {
				if !strings.HasPrefix(text[i:], "MARK"[:under]) || under != 4 {
					t.Fatalf("%d carets under %q", under, text[i:])
				}
				return
			}
			column = width(text[:i]) + width(string([]rune(text[i:])[0]))
		}
		t.Fatalf("no caret in %q", text)
	})
}

func width(s string) int {
	n := 0
	for _, r := range s {
		_, w := shown(r, n)
		n += w
	}
	return n
}
