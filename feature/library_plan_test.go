package feature

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"regexp/syntax"
	"runtime/debug"
	"strings"
	"testing"

	"millrace.dev/record"
)

// TestReplacementsAreBounded makes texts that would be beyond the bound many times over.
func TestReplacementsAreBounded(t *testing.T) {
	t.Parallel()
	full := "pad_left('a', 65536, 'a')"
	for _, c := range []struct{ expr, want string }{
		{"len(replace_regex(" + full + ", 'a', 'b'))", "65536"},
		{"len(replace_regex(" + full + ", 'a$', 'bb'))", "missing"},
		{"len(replace_regex(" + full + ", '.*', '" + strings.Repeat("$0", 5000) + "'))", "missing"},
		{"len(replace_regex(" + full + ", 'aa', 'b'))", "32768"},
		{"len(title(" + full + "))", "65536"},
		{"len(digits(" + full + "))", "0"},
		{"count_matches(" + full + ", 'a')", "65536"},
	} {
		if got := evalOne(t, c.expr); got != c.want {
			t.Errorf("%.60s: %s, want %s", c.expr, got, c.want)
		}
	}
}

// TestPatternsAreBounded compares the estimate of a pattern's size with the program that package regexp makes of it.
func TestPatternsAreBounded(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{
		"a", "(a{10}){10}", "(a{1000}){1000}", "((a?){31}){31}", "((a*)*)*", "(?:a{0,900}){2}", "[a-zA-Z]{500}", `\pL{300}`, `(?i)straße{99}`, "(x+x+)+y",
		"((((a{9}){9}){9}){9}){9}", "(abc|def){700}", "^(a|b|c|d|e)*$", "(?:(?:a?){30}b?){30}",
	} {
		tree, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			if _, err := compilePattern(pattern); err == nil {
				t.Errorf("%q: package regexp does not take it", pattern)
			}
			continue
		}
		if _, err := compilePattern(pattern); err != nil {
			if !strings.Contains(err.Error(), "too large") {
				t.Errorf("%q: %v", pattern, err)
			}
			continue
		}
		p, err := syntax.Compile(tree.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Inst) > 2*maxPatternOps {
			t.Errorf("%q has %d instructions", pattern, len(p.Inst))
		}
	}
}

func librarySpecs() []Spec {
	return []Spec{
		{"circle", "sin(price) + cos(price / 7) * cycle_sin(price, 24) - cycle_cos(price, 7) + sign(price - 300) + trunc(price / 3) + bin(price, 100)"},
		{"mises", "von_mises(price % 6, bedrooms, floors, 1) + von_mises(price % 1440, 720, 20, 0.004363323129985824)"},
		{"place", "haversine(47.6 + price / 1e6, -122 - bedrooms / 10, 47.5, -122.3)"},
		{"cell", "geohash(47.6 + price / 1e6, -122 - bedrooms / 10, 5)"},
		{"day", "week(date) + quarter(date) + days_in_month(date, 'Asia/Tokyo') + minute_of_day(date) + second_of_day(date, 'America/Los_Angeles') + number(is_weekend(date))"},
		{"words", "title(street) + digits(street) + pad_left(text(bedrooms), 3, '0')"},
		{"part", "split_part(street, ' ', -1)"},
		{"counts", "word_count(street) + hash_bucket(street, 1000)"},
	}
}

func libraryInputs() []string {
	return []string{"circle", "mises", "place", "cell", "day", "words", "part", "counts"}
}

// everyLibrarySpec has every instruction of the library, over randomSchema.
func everyLibrarySpec() []Spec {
	return []Spec{
		{"l1", "sin(x) + cos(y) + sign(x) + trunc(y) + cycle_sin(x, y) + cycle_cos(x, 24) + bin(x, y) + von_mises(x, y, x, 1) + haversine(x, y, x, 2)"},
		{"l2", "word_count(e) + hash_bucket(s, x) + count_matches(u, 'a+') + number(is_weekend(d))"},
		{"l3", "week(d) + quarter(g) + days_in_month(d, 'Asia/Tokyo') + minute_of_day(d) + second_of_day(d, 'Europe/Paris') + number(is_weekend(g, 'Asia/Tokyo'))"},
		{"l4", "geohash(x, y, 5) + title(e) + digits(s) + split_part(s, ' ', x) + pad_left(u, y, e) + replace_regex(s, '(a)(b)?', '$2$1')"},
	}
}

func TestReadLibrary(t *testing.T) {
	t.Parallel()
	specs := everyLibrarySpec()
	p := compile(t, randomSchema(), specs, "l1", "l2", "l3", "l4")
	exercise(t, p)
	b := encoded(t, p)
	if back, err := ReadPlan(b); err != nil || !bytes.Equal(encoded(t, back), b) {
		t.Errorf("read, the plan differs; %v", err)
	}
	// A plan of an unknown hand can have more groups than a compiled one, and a replacement that is no literal.
	more := strings.Replace(string(b), `"pattern":"(a)(b)?"`, `"pattern":"`+strings.Repeat("(a?)", 10)+`"`, 1)
	if back, err := ReadPlan([]byte(more)); err != nil {
		t.Error(err)
	} else {
		exercise(t, back)
	}
}

// TestLibrarySameBitsEverywhere is TestSameBitsEverywhere for the library.
func TestLibrarySameBitsEverywhere(t *testing.T) {
	t.Parallel()
	const want = "bac3f88e534d46159aeb902562db974f32e639272553928a3866c914264f4a6e"
	s := houseSchema(t)
	b := houseBatch(t, s, nil, 3000)
	frame := fitOn(t, compile(t, s, librarySpecs(), libraryInputs()...), b).NewEvaluator().Eval(b, Enrichment{})
	h := sha256.New()
	for _, c := range frame.Columns {
		for i := range frame.Rows {
			if c.Type == record.Enum {
				h.Write(binary.LittleEndian.AppendUint64(nil, uint64(c.Codes[i])))
			} else {
				h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(c.Numbers[i])))
			}
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// TestLibraryAllocates nothing, but for what package regexp needs for the matches that it finds.
func TestLibraryAllocates(t *testing.T) { //nolint:paralleltest // it counts allocations
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s := houseSchema(t)
	p := compile(t, s, append(librarySpecs(), Spec{"none", "count_matches(street, '#') + len(replace_regex(street, '#', ''))"}), append(libraryInputs(), "none")...)
	if raceDetector {
		p = compile(t, s, librarySpecs(), libraryInputs()...) // package regexp's pool then forgets at random
	}
	p = fitOn(t, p, houseBatch(t, s, nil, 700))
	e, b := p.NewEvaluator(), houseBatch(t, s, p.Levels(), 700)
	for range 10 {
		e.Eval(b, Enrichment{})
	}
	if n := testing.AllocsPerRun(10, func() { e.Eval(b, Enrichment{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLibrary(b *testing.B) {
	for _, spec := range []Spec{
		{"sin", "sin(price)"},
		{"cycle_sin", "cycle_sin(price, 1e9)"},
		{"far cycle_sin", "cycle_sin(price, 24)"},
		{"haversine", "haversine(47.6 + price / 1e9, -122, 47.5, -122.3)"},
		{"geohash", "len(geohash(47.6 + price / 1e9, -122, 6))"},
		{"von_mises", "von_mises(price % 1440, 720, 20, 0.004363323129985824)"},
		{"title", "len(title(street))"},
		{"hash_bucket", "hash_bucket(street, 1000)"},
		{"pad_left", "len(pad_left(street, 30, '0'))"},
		{"split_part", "len(split_part(street, ' ', 2))"},
		{"replace_regex", "len(replace_regex(street, '[0-9]+', '#'))"},
		{"week", "week(date)"},
	} {
		b.Run(spec.Name, func(b *testing.B) {
			s := houseSchema(b)
			batch := houseBatch(b, s, nil, 1024)
			e := fitOn(b, compile(b, s, []Spec{spec}, spec.Name), batch).NewEvaluator()
			for b.Loop() {
				e.Eval(batch, Enrichment{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/row")
		})
	}
}
