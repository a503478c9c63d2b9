package codec

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// nexter is what the readers have in common.
type nexter interface {
	Next() ([]byte, error)
	Line() int64
	Blank() int
}

// readAll returns what a reader gives, with "!" for a record that is too large, and the line of each.
func readAll(tb testing.TB, r nexter) (records []string, lines []int64) {
	tb.Helper()
	var raws [][]byte
	for {
		raw, err := r.Next()
		switch {
		case errors.Is(err, ErrTooLarge):
			raw = []byte("!")
		case errors.Is(err, io.EOF):
			for _, raw := range raws { // all of them are still as they were
				records = append(records, string(raw))
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				tb.Errorf("after the end: %v", err)
			}
			return records, lines
		case err != nil:
			tb.Fatal(err)
		}
		raws, lines = append(raws, raw), append(lines, r.Line())
	}
}

func TestLineReader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in    string
		want  []string
		lines []int64
		blank int
	}{
		"empty":           {"", nil, nil, 0},
		"one":             {"{}\n", []string{"{}"}, []int64{1}, 0},
		"no end":          {"{}\n{ }", []string{"{}", "{ }"}, []int64{1, 2}, 0},
		"CRLF":            {"{}\r\n{ }\r\n", []string{"{}", "{ }"}, []int64{1, 2}, 0},
		"blank lines":     {"\n{}\n\n \t\r\n{ }\n\n", []string{"{}", "{ }"}, []int64{2, 5}, 4},
		"only blank":      {"\n \n", nil, nil, 2},
		"bare CR is kept": {"a\rb\r\rc\n", []string{"a\rb\r\rc"}, []int64{1}, 0},
		"at the bound":    {"12345678\n1234567\r\n", []string{"12345678", "1234567"}, []int64{1, 2}, 0},
		"bound and CRLF":  {"12345678\r\nx\n", []string{"12345678", "x"}, []int64{1, 2}, 0},
		"too large":       {"a\n123456789\nb\n123456789\r\nc", []string{"a", "!", "b", "!", "c"}, []int64{1, 2, 3, 4, 5}, 0},
		"far too large":   {"a\n" + strings.Repeat("x", 1000) + "\nb\n", []string{"a", "!", "b"}, []int64{1, 2, 3}, 0},
		"last too large":  {"a\n" + strings.Repeat("x", 1000), []string{"a", "!"}, []int64{1, 2}, 0},
		"bound at end":    {"a\n12345678", []string{"a", "12345678"}, []int64{1, 2}, 0},
		"one over at end": {"a\n123456789", []string{"a", "!"}, []int64{1, 2}, 0},
	} {
		for how, in := range slow(c.in) {
			l, err := NewLineReader(in, 8)
			if err != nil {
				t.Fatal(err)
			}
			l.source.block = 4
			records, lines := readAll(t, l)
			if diff := cmp.Diff(c.want, records); diff != "" {
				t.Errorf("%s, %s: %s", name, how, diff)
			}
			if diff := cmp.Diff(c.lines, lines); diff != "" || l.Blank() != c.blank {
				t.Errorf("%s, %s: %d blank, lines %s", name, how, l.Blank(), diff)
			}
		}
	}
}

// slow returns readers of the same text that read in different ways.
func slow(text string) map[string]io.Reader {
	return map[string]io.Reader{
		"whole":          strings.NewReader(text),
		"byte by byte":   iotest.OneByteReader(strings.NewReader(text)),
		"error with end": iotest.DataErrReader(iotest.HalfReader(strings.NewReader(text))),
	}
}

func TestCSVReader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in     string
		header []string
		want   []string
		lines  []int64
		blank  int
	}{
		"header only":          {"a,b\n", []string{"a", "b"}, nil, nil, 0},
		"no end":               {"a,b", []string{"a", "b"}, nil, nil, 0},
		"rows":                 {"a,b\n1,2\n3,4", []string{"a", "b"}, []string{"1,2", "3,4"}, []int64{2, 3}, 0},
		"CRLF":                 {"a,b\r\n1,2\r\n", []string{"a", "b"}, []string{"1,2"}, []int64{2}, 0},
		"byte order mark":      {"\ufeffa,b\n1,2\n", []string{"a", "b"}, []string{"1,2"}, []int64{2}, 0},
		"mark and quotes":      {"\ufeff\"a\",b\n1,2\n", []string{"a", "b"}, []string{"1,2"}, []int64{2}, 0},
		"quoted header":        {"\"a \"\"x\"\"\",\"b\nc\"\n1,2\n", []string{`a "x"`, "b\nc"}, []string{"1,2"}, []int64{3}, 0},
		"blank lines":          {"\n\na\n\n1\n\r\n2\n", []string{"a"}, []string{"1", "2"}, []int64{5, 7}, 4},
		"blanks are no blank":  {"a\n \n", []string{"a"}, []string{" "}, []int64{2}, 0},
		"line end in quotes":   {"a,b\n1,\"x\ny\"\n3,4\n", []string{"a", "b"}, []string{"1,\"x\ny\"", "3,4"}, []int64{2, 4}, 0},
		"many line ends":       {"a,b\n\"\n\n\r\n\",\"\n\"\n3,4\n", []string{"a", "b"}, []string{"\"\n\n\r\n\",\"\n\"", "3,4"}, []int64{2, 7}, 0},
		"doubled quotes":       {"a,b\n\"\"\"\n\",\"\"\"\"\n3,4\n", []string{"a", "b"}, []string{"\"\"\"\n\",\"\"\"\"", "3,4"}, []int64{2, 4}, 0},
		"bare quote":           {"a,b\n1,x\"y\n3,4\n", []string{"a", "b"}, []string{"1,x\"y", "3,4"}, []int64{2, 3}, 0},
		"after quote":          {"a,b\n\"1\"x,\"\n3,4\n", []string{"a", "b"}, []string{"\"1\"x,\"", "3,4"}, []int64{2, 3}, 0},
		"unclosed":             {"a,b\n1,\"x\n3,4\n5,6", []string{"a", "b"}, []string{"1,\"x", "3,4", "5,6"}, []int64{2, 3, 4}, 0},
		"unclosed on 2nd line": {"a,b\n\"x\ny\",\"z\n3,4\n", []string{"a", "b"}, []string{"\"x\ny\",\"z", "3,4"}, []int64{2, 4}, 0},
		"unclosed at the end":  {"a,b\n1,\"", []string{"a", "b"}, []string{"1,\""}, []int64{2}, 0},
		"too large":            {"a,b\n1,234567890123456789\n3,4\n", []string{"a", "b"}, []string{"!", "3,4"}, []int64{2, 3}, 0},
		"far too large":        {"a,b\n1," + strings.Repeat("x", 1000) + "\n3,4\n", []string{"a", "b"}, []string{"!", "3,4"}, []int64{2, 3}, 0},
		"unclosed, too large":  {"a,b\n1,\"x\n" + strings.Repeat("3,4\n", 20), []string{"a", "b"}, append([]string{"!"}, strings.Fields(strings.Repeat("3,4\n", 20))...), upTo(2, 22), 0},
		"quoted at the bound":  {"a,b\n\"123456\n89\",1234\n3,4", []string{"a", "b"}, []string{"\"123456\n89\",1234", "3,4"}, []int64{2, 4}, 0},
		"at the bound":         {"a,b\n1234567890,23456\r\n3,4", []string{"a", "b"}, []string{"1234567890,23456", "3,4"}, []int64{2, 3}, 0},
	} {
		for how, in := range slow(c.in) {
			r, err := NewCSVReader(in, CSVReaderOptions{MaxBytes: 16})
			if err != nil {
				t.Errorf("%s, %s: %v", name, how, err)
				continue
			}
			r.source.block = 4
			records, lines := readAll(t, r)
			if diff := cmp.Diff(c.header, r.Header()); diff != "" {
				t.Errorf("%s, %s: header %s", name, how, diff)
			}
			if diff := cmp.Diff(c.want, records); diff != "" {
				t.Errorf("%s, %s: %s", name, how, diff)
			}
			if diff := cmp.Diff(c.lines, lines); diff != "" || r.Blank() != c.blank {
				t.Errorf("%s, %s: %d blank, lines %s", name, how, r.Blank(), diff)
			}
		}
	}
}

func upTo(first, last int64) []int64 {
	var all []int64
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

func TestNewCSVReaderRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                             "empty",
		"\n\n":                         "empty",
		"\ufeff":                       "empty",
		"a,,b\n":                       "column 2 has no name",
		"a,b,a\n":                      `"a" comes twice`,
		"a,\xff\n":                     "UTF-8",
		"a,b\"\n":                      "quote",
		"a,\"b\n1,2\n":                 "never closed",
		strings.Repeat("a", 20) + "\n": "too large",
	} {
		if _, err := NewCSVReader(strings.NewReader(in), CSVReaderOptions{MaxBytes: 16}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, o := range []CSVReaderOptions{{Comma: '\n'}, {MaxBytes: -1}} {
		if _, err := NewCSVReader(strings.NewReader("a\n"), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if _, err := NewLineReader(strings.NewReader(""), -1); err == nil {
		t.Error("bound: no error")
	}
}

func TestReaderErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	in := io.MultiReader(strings.NewReader("a\n1\n2"), iotest.ErrReader(broken))
	c, err := NewCSVReader(in, CSVReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := c.Next(); string(raw) != "1" || err != nil {
		t.Errorf("%q %v", raw, err)
	}
	for range 2 { // an error is final, and the cut line before it is not taken for a whole one
		if raw, err := c.Next(); !errors.Is(err, broken) || raw != nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%q %v", raw, err)
		}
	}
	if _, err := NewCSVReader(iotest.ErrReader(broken), CSVReaderOptions{}); !errors.Is(err, broken) {
		t.Error(err)
	}
	l, err := NewLineReader(iotest.ErrReader(broken), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Next(); !errors.Is(err, broken) {
		t.Error(err)
	}
	l, err = NewLineReader(stuck{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// What encoding/csv writes is read back, cell by cell.
func TestCSVRoundTrip(t *testing.T) {
	t.Parallel()
	cell := rapid.OneOf(rapid.String(), rapid.StringMatching(`[",\n\r a]{0,6}`), rapid.Just(""))
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(2, 5).Draw(t, "width")
		comma := rapid.SampledFrom([]byte{',', ';', '\t', '|'}).Draw(t, "comma")
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, width, width), 0, 5).Draw(t, "rows")
		header := strings.Split("abcde"[:width], "")
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		w.Comma = rune(comma)
		w.UseCRLF = false
		for _, row := range append([][]string{header}, rows...) {
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		r, err := NewCSVReader(&file, CSVReaderOptions{Comma: comma})
		if err != nil {
			t.Fatal(err)
		}
		s := splitter{comma: comma}
		for _, want := range rows {
			raw, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !s.split(raw) {
				t.Fatalf("%q: %+v", raw, s.fault)
			}
			var got []string
			for _, c := range s.cells {
				got = append(got, string(c.text))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q: %s", raw, diff)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

func TestCSVReaderRenames(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"a,b":                   "a|b",
		"a,a,a":                 "a|a (2)|a (3)",
		"a,a,a (2)":             "a|a (3)|a (2)",
		",,x":                   "column 1|column 2|x",
		"column 2,":             "column 2|column 2 (2)",
		"a,a (2),a,a (2),a (3)": "a|a (2)|a (4)|a (2) (2)|a (3)",
	} {
		r, err := NewCSVReader(strings.NewReader(header+"\n"), CSVReaderOptions{Rename: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Header(), "|"); got != want {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
		if got := strings.Join(r.Given(), ","); got != header {
			t.Errorf("%s: given as %s", header, got)
		}
	}
}
