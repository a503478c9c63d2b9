package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzParse holds Parse to what it promises of any file and any override: it does not panic, every problem has a place in its
// text, what is printed is clean, and the same input gives the same answer.
func FuzzParse(f *testing.F) {
	f.Add(house, "train.gbm.ntrees=3")
	f.Add(minimal, "features.a=1")
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "kafka.sasl.password=x")
	}
	f.Fuzz(func(t *testing.T, text, set string) {
		o := Options{Env: lookup(map[string]string{"A": "a", "E": "", "X": "'}: #\n- ["})}
		if set != "" {
			o.Set = []string{set}
		}
		p, err := Parse("p.yaml", []byte(text), o)
		_, again := Parse("p.yaml", []byte(text), o)
		switch {
		case err == nil:
			if again != nil || p.Schema == nil || len(p.Inputs) == 0 || p.Name == "" || p.Source.Topic == p.Sink.Topic {
				t.Errorf("accepted: %+v, then %v", p, again)
			}
			return
		case again == nil || again.Error() != err.Error():
			t.Errorf("%v, then %v", err, again)
		}
		ps := asProblems(err)
		if len(ps) == 0 {
			t.Fatalf("an error without problems: %v", err)
		}
		for i := range ps {
			checkProblem(t, &ps[i], text, set)
		}
		checkOutput(t, ps)
	})
}

func checkProblem(t *testing.T, p *Problem, text, set string) {
	t.Helper()
	if p.File == "--set #1" {
		text = set
	} else if p.File != "p.yaml" {
		t.Errorf("file %q", p.File)
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	lines = slices.Collect(func(yield func(string) bool) { // a carriage return alone is a line break, if a wrong one
		for _, l := range lines {
			for part := range strings.SplitSeq(l, "\r") {
				if !yield(part) {
					return
				}
			}
		}
	})
	if p.Line < 1 || p.Line > len(lines) {
		t.Errorf("line %d of %d: %s", p.Line, len(lines), p)
		return
	}
	n := utf8.RuneCountInString(lines[p.Line-1])
	if p.Column < 1 || p.Column > n+1 || p.Length < 1 || p.Column+p.Length-1 > max(n, p.Column) {
		t.Errorf("column %d, length %d in a line of %d: %s", p.Column, p.Length, n, p)
	}
	if p.Message == "" || !utf8.ValidString(p.Message) || !utf8.ValidString(p.Hint) {
		t.Errorf("message %q, hint %q", p.Message, p.Hint)
	}
}

func checkOutput(t *testing.T, ps Problems) {
	t.Helper()
	var b strings.Builder
	if err := ps.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r == utf8.RuneError || r == '\n' || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r) {
			continue
		}
		t.Errorf("the output holds %q: %q", r, b.String())
		return
	}
	if !slices.IsSortedFunc(ps, func(a, b Problem) int {
		if a.order != b.order {
			return a.order - b.order
		}
		return a.at - b.at
	}) {
		t.Errorf("not sorted: %v", ps)
	}
}
