package report

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/profile"
)

// houses returns a profile with a column of each kind.
func houses() *profile.Profile {
	p := &profile.Profile{Rows: 1000}
	area := profile.Column{
		Name: "sqft_living", Role: profile.Field, Kind: profile.Number, Rows: 1000, Missing: 12, Min: 370, Max: 13540, Mean: 2132.4, Deviation: 957, Distinct: 558,
	}
	for i := range 40 {
		x := float64(i) / 39
		area.Edges = append(area.Edges, 370+13170*x*x)
		area.Counts = append(area.Counts, 24)
	}
	area.Counts[0] += 28
	area.Counts = append(area.Counts, 0)
	floors := profile.Column{
		Name: "floors", Role: profile.Field, Kind: profile.Number, Rows: 1000, Min: 1, Max: 3.5, Mean: 1.5, Deviation: 0.5, Distinct: 6,
		Edges: []float64{1, 1.5, 2, 2.5, 3, 3.5}, Counts: []uint64{500, 100, 300, 50, 49, 1, 0},
	}
	day := profile.Column{Name: "date", Role: profile.Field, Kind: profile.Time, Rows: 1000, Min: 1398988800, Max: 1404950400, Mean: 1402000000, Distinct: 70}
	for i := range 70 {
		day.Edges = append(day.Edges, 1398988800+86400*float64(i))
		day.Counts = append(day.Counts, uint64(10+i%5))
	}
	day.Counts = append(day.Counts, 160)
	city := profile.Column{
		Name: "city", Role: profile.Field, Kind: profile.Level, Rows: 1000, Distinct: 4, Levels: []string{"Renton", "Seattle", "", strings.Repeat("long ", 60)},
		Counts: []uint64{200, 600, 100, 90, 10},
	}
	street := profile.Column{
		Name: strings.Repeat("street", 30), Role: profile.Field, Kind: profile.Text, Rows: 1000, Distinct: 998, Top: []profile.Frequent{{Text: "2520 Mulberry Walk NE", N: 4}},
	}
	nan := math.NaN()
	nothing := profile.Column{Name: "nothing", Role: profile.Feature, Kind: profile.Number, Rows: 1000, Missing: 1000, Min: nan, Max: nan, Mean: nan, Deviation: nan, Counts: []uint64{0}}
	p.Columns = []profile.Column{area, floors, day, city, street, nothing}
	return p
}

// later returns houses as they might come later.
func later() *profile.Profile {
	p := houses()
	p.Columns = append(p.Columns[:4], p.Columns[5:]...)
	for i := range p.Columns {
		p.Columns[i].Distinct = 0 // as in a window
	}
	p.Columns[1].Counts = []uint64{0, 0, 500, 100, 300, 50, 50}
	p.Columns[3].Counts = []uint64{250, 500, 100, 0, 150}
	p.Columns = append(p.Columns, profile.Column{Name: "new", Role: profile.Field, Kind: profile.Number, Rows: 1000, Min: 1, Max: 1, Mean: 1, Edges: []float64{1}, Counts: []uint64{1000, 0}})
	return p
}

// golden compares with a file of testdata; MILLRACE_UPDATE=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("MILLRACE_UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// checkText wants lines of 100 characters at most, without spaces at their ends.
func checkText(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 100 || line != strings.TrimRight(line, " ") || strings.ContainsAny(line, "\x00\x1b\u202e") {
			t.Errorf("a line of %d characters: %q", n, line)
		}
	}
}

// checkPage wants a page that loads nothing, runs nothing, and holds no text of the data as markup.
func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"<script", "<link", "<img", "url(", "@import", "src=", "href=", "javascript:", "onload", "ZgotmplZ", "\x00", "\x1b", "\u202e", "<b>bold", "%!"} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("the page holds %q: %q", bad, page[max(0, i-60):min(len(page), i+60)])
		}
	}
	if n := strings.Count(page, "http"); n != strings.Count(page, `xmlns="http://www.w3.org/2000/svg"`)+strings.Count(page, "http-equiv") {
		t.Error("the page names a resource of the network")
	}
	for _, tag := range []string{"details", "svg", "div", "section", "dl", "figure", "span"} {
		if open, closed := strings.Count(page, "<"+tag+" ")+strings.Count(page, "<"+tag+">"), strings.Count(page, "</"+tag+">"); open != closed {
			t.Errorf("%d <%s> and %d </%s>", open, tag, closed, tag)
		}
	}
}

func TestProfileText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := ProfileText(&b, houses()); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String())
	golden(t, "profile.txt", b.Bytes())
}

func TestDiffText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	notes := map[string][]string{"floors": {"PSI 4.2 is above 0.25: fail"}}
	if err := DiffText(&b, Side{"houses@3", houses()}, Side{"house-sales", later()}, notes); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String())
	golden(t, "diff.txt", b.Bytes())
}

func TestProfilePages(t *testing.T) {
	t.Parallel()
	var p, d, again bytes.Buffer
	if err := Profile(&p, houses(), "houses.csv", nil); err != nil {
		t.Fatal(err)
	}
	checkPage(t, p.String())
	if err := Diff(&d, Side{"houses@3", houses()}, Side{"house-sales", later()}, map[string][]string{"floors": {"PSI <b>bold</b>"}}, nil); err != nil {
		t.Fatal(err)
	}
	checkPage(t, d.String())
	for _, want := range []string{"PSI &lt;b&gt;", "columns that differ", "not there → number", "4 of 7"} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("the page of two profiles has no %q", want)
		}
	}
	if err := Profile(&again, houses(), "houses.csv", nil); err != nil || !bytes.Equal(p.Bytes(), again.Bytes()) {
		t.Errorf("the same profile gives another page: %v", err)
	}
}

// hostile returns a profile of numbers and names at random, as bad as they can be.
func hostile(r *rand.Rand) *profile.Profile {
	numbers := []float64{0, 1, -1, 1e-300, -1e300, 1e300, math.MaxFloat64, -math.MaxFloat64, 5e-324, 1e15, 0.1, 2014, math.NaN()}
	names := []string{"", "a", strings.Repeat("n", 200), "<b>bold</b>", "\x00\x1b[2J\u202e", "日本語の列", "\xff", "a b", `"quoted"`, "{{.}}", "%!s(MISSING)"[:1]}
	one := func() float64 { return numbers[r.IntN(len(numbers))] }
	p := &profile.Profile{Rows: r.Uint64() >> r.IntN(64)}
	for range r.IntN(6) {
		c := profile.Column{
			Name: names[r.IntN(len(names))], Role: profile.Field, Kind: []profile.Kind{profile.Number, profile.Time, profile.Level, profile.Text}[r.IntN(4)],
			Rows: r.Uint64() >> r.IntN(64), Min: one(), Max: one(), Mean: one(), Deviation: one(), Distinct: r.Uint64() >> r.IntN(64),
		}
		c.Missing = c.Rows >> r.IntN(64)
		switch c.Kind {
		case profile.Number, profile.Time:
			for range r.IntN(130) {
				if x := one() * r.Float64(); !math.IsNaN(x) && (len(c.Edges) == 0 || x > c.Edges[len(c.Edges)-1]) {
					c.Edges = append(c.Edges, x)
				}
			}
		case profile.Level:
			for range r.IntN(40) {
				c.Levels = append(c.Levels, names[r.IntN(len(names))])
			}
		default:
			c.Top = []profile.Frequent{{Text: names[r.IntN(len(names))], N: r.Uint64()}}
		}
		if c.Kind != profile.Text {
			for range max(len(c.Edges), len(c.Levels)) + 1 {
				c.Counts = append(c.Counts, r.Uint64()>>r.IntN(64))
			}
		}
		p.Columns = append(p.Columns, c)
	}
	return p
}

func TestHostileProfiles(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		a, b := hostile(r), hostile(r)
		var page, text bytes.Buffer
		if err := Profile(&page, a, "<b>bold</b>\x1b", nil); err != nil {
			t.Fatal(seed, err)
		}
		if err := Diff(&page, Side{"\u202e", a}, Side{"<b>bold", b}, nil, nil); err != nil {
			t.Fatal(seed, err)
		}
		checkPage(t, page.String())
		if err := ProfileText(&text, a); err != nil {
			t.Fatal(seed, err)
		}
		if err := DiffText(&text, Side{"a", a}, Side{"b", b}, nil); err != nil {
			t.Fatal(seed, err)
		}
		checkText(t, text.String())
		if t.Failed() {
			t.Fatalf("seed %d: %+v", seed, a)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	sum := func(x []float64) (s float64) {
		for _, v := range x {
			s += v
		}
		return s
	}
	p := houses()
	for i := range p.Columns {
		c := &p.Columns[i]
		if !numeric(c) {
			continue
		}
		s := newSpread(c)
		counts := s.counts(c)
		if got, want := sum(counts)+(s.below+s.above)*float64(c.Present()), float64(c.Present()); math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s: %v values are drawn or said to lie outside, want %v", c.Name, got, want)
		}
	}
	floors := &p.Columns[1]
	s := newSpread(floors)
	if diff := cmp.Diff([]float64{500, 100, 300, 50, 49, 1}, s.counts(floors)); diff != "" {
		t.Error(diff)
	}
	window := *floors // has the same bins, and does not know how many values differ
	window.Distinct = 0
	s = newSpread(floors, &window)
	if diff := cmp.Diff(s.counts(floors), s.counts(&window)); diff != "" {
		t.Error(diff)
	}
	tail := profile.Column{Kind: profile.Number, Rows: 1000, Min: 0, Max: 1e6, Distinct: 1000}
	for i := range 100 {
		tail.Edges, tail.Counts = append(tail.Edges, float64(i)), append(tail.Counts, 10)
	}
	tail.Edges[99], tail.Counts = 1e6, append(tail.Counts, 0)
	s = newSpread(&tail)
	if last := s.bins[len(s.bins)-1].High; last > 200 {
		t.Errorf("a long tail is drawn up to %v", last)
	}
	if s.counts(&tail); s.above < 0.005 || s.above > 0.02 {
		t.Errorf("%v lie above", s.above)
	}
	if d := elsewhere(pair{floors, floors}); d != 0 {
		t.Errorf("a column is %v away from itself", d)
	}
	moved := *floors
	moved.Counts = []uint64{0, 0, 0, 0, 0, 0, 1000}
	moved.Max = 9
	if d := elsewhere(pair{floors, &moved}); d < 0.99 {
		t.Errorf("all values are elsewhere, and the distance is %v", d)
	}
}

// TestDiffMarks marks what checks have found, and nothing that they have not; without checks, what differs by much.
func TestDiffMarks(t *testing.T) {
	t.Parallel()
	a := houses()
	notes := map[string][]string{}
	for i := range a.Columns {
		notes[a.Columns[i].Name] = []string{"as expected by chance"}
	}
	for _, c := range []struct {
		moved map[string]bool
		want  string
	}{
		{map[string]bool{}, fmt.Sprintf("0 of %d", len(a.Columns))},
		{map[string]bool{a.Columns[0].Name: true}, fmt.Sprintf("1 of %d", len(a.Columns))},
		{nil, fmt.Sprintf("%d of %d", len(a.Columns), len(a.Columns))},
	} {
		var page bytes.Buffer
		if err := Diff(&page, Side{"a", a}, Side{"b", a}, notes, c.moved); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(page.String(), c.want) {
			t.Errorf("%v: the page does not say %s", c.moved, c.want)
		}
	}
}
