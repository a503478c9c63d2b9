package feature

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

// evalOne evaluates an expression of any type over the columns of randomSchema, for one row in which x is 2.5, y is
// missing, e is "WA 98155", "odd name" is missing, s is "Zürich", u is missing, d is 2014-05-02 15:04:05.5 UTC and g
// is missing. The result is written as text: "missing", or the value.
func evalOne(t testing.TB, expr string) string {
	t.Helper()
	s := randomSchema()
	r := row{"x": 2.5, "e": "WA 98155", "s": "Zürich", "d": time.Date(2014, 5, 2, 15, 4, 5, 5e8, time.UTC)}
	b := fillBatch(record.NewBatch(s, nil), []row{r}, nil)
	p, err := Compile(Declaration{Schema: s, Features: []Spec{{"f", expr}}, Inputs: []string{"f"}})
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	in := p.inputs[0].kind
	f := p.NewFitter()
	f.Add(b, nil, Enrichment{})
	if p, err = f.Plan(); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	c := p.NewEvaluator().Eval(b, Enrichment{}).Columns[0]
	switch {
	case in == kindText && c.Codes[0] < 0, in != kindText && math.IsNaN(c.Numbers[0]):
		return "missing"
	case in == kindText:
		return fmt.Sprintf("%q", c.Levels[c.Codes[0]])
	case in == kindBool:
		return strconv.FormatBool(c.Numbers[0] == 1)
	default:
		return fmt.Sprint(c.Numbers[0])
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, want string }{
		// Arithmetic.
		{"x + 1", "3.5"},
		{"x - 1", "1.5"},
		{"x * 4", "10"},
		{"x / 2", "1.25"},
		{"x % 2", "0.5"},
		{"-x % 2", "-0.5"},
		{"x ** 2", "6.25"},
		{"-x ** 2", "-6.25"},
		{"2 ** 3 ** 2", "512"},
		{"2 ** -1", "0.5"},
		{"2 ** -1074", "5e-324"},
		{"(-8) ** 3", "-512"},
		{"(-8) ** 0.5", "missing"},
		{"0 ** -1", "missing"},
		{"0 ** 0", "1"},
		{"10 ** 400", "missing"},
		{"10 ** -400", "0"},
		{"9 ** 0.5", "3"},
		{"y ** 0", "missing"},
		{"x + y", "missing"},
		{"x / 0", "missing"},
		{"0 / 0", "missing"},
		{"x % 0", "missing"},
		{"1e308 * 10", "missing"},
		{"1e308 + 1e308 - 1e308", "missing"},
		{"-1e308 - 1e308", "missing"},
		{"1 / (1 / 0)", "missing"},
		{"+x", "2.5"},
		{"--x", "2.5"},
		{"0xff + 1_000 + 1e1", "1265"},
		// Functions of numbers.
		{"abs(-x)", "2.5"},
		{"floor(-x)", "-3"},
		{"ceil(-x)", "-2"},
		{"round(x)", "3"},
		{"round(-x)", "-3"},
		{"round(0.49999999999999994)", "0"},
		{"sqrt(x * x)", "2.5"},
		{"sqrt(-1)", "missing"},
		{"log(1)", "0"},
		{"log(0)", "missing"},
		{"log(-1)", "missing"},
		{"log1p(0)", "0"},
		{"log1p(1e-20)", "1e-20"},
		{"log1p(-1)", "missing"},
		{"log1p(-2)", "missing"},
		{"exp(0)", "1"},
		{"exp(710)", "missing"},
		{"exp(-800)", "0"},
		{"min(x, 1, 7)", "1"},
		{"max(x, 1, 7)", "7"},
		{"min(x, y)", "missing"},
		{"clip(x, 0, 1)", "1"},
		{"clip(x, 3, 4)", "3"},
		{"clip(x, 0, y)", "missing"},
		{"number(true) + number(false)", "1"},
		{"number(x > y)", "missing"},
		{"number(' -12.5e1 ')", "-125"},
		{"number('.5') + number('5.')", "5.5"},
		{"number('')", "missing"},
		{"number('.')", "missing"},
		{"number('1e')", "missing"},
		{"number('0x10')", "missing"},
		{"number('1_000')", "missing"},
		{"number('NaN')", "missing"},
		{"number('inf')", "missing"},
		{"number('1e999')", "missing"},
		{"number('12 3')", "missing"},
		{"number(u)", "missing"},
		{"number(e[3:])", "98155"},
		// Truth.
		{"x > 2", "true"},
		{"x >= 2.5 and x <= 2.5", "true"},
		{"x < y", "missing"},
		{"x == y", "missing"},
		{"x != y", "missing"},
		{"y == y", "missing"},
		{"x != 2.5", "false"},
		{"0 == -0.0", "true"},
		{"1 < x < 3", "true"},
		{"1 < x < 2", "false"},
		{"x > 2 or y > 2", "true"},
		{"x < 2 or y > 2", "missing"},
		{"x < 2 and y > 2", "false"},
		{"x > 2 && y > 2", "missing"},
		{"x > 2 || y > 2", "true"},
		{"not (x > 2)", "false"},
		{"!(y > 2)", "missing"},
		{"(x > 2) == (x > 1)", "true"},
		{"(x > 2) != (y > 1)", "missing"},
		{"between(x, 2.5, 3)", "true"},
		{"between(x, 2, 2.5)", "true"},
		{"between(x, 3, y)", "false"},
		{"between(x, 1, y)", "missing"},
		{"between(e, 'WA', 'WB')", "true"},
		{"between(d, time('2014-01-01'), time('2015-01-01'))", "true"},
		{"x in [1, 2.5, 2.5]", "true"},
		{"-x in [-2.5]", "true"},
		{"x not in [1, 2.5]", "false"},
		{"-0.0 in [0]", "true"},
		{"y in [1]", "missing"},
		{"e in ['WA 98155', 'b']", "true"},
		{"u in ['a']", "missing"},
		{"d in [time('2014-05-02')]", "false"},
		{"g in [time('2014-05-02')]", "missing"},
		{"x > 2 ? 1 : 2", "1"},
		{"x < 2 ? 1 : 2", "2"},
		{"x < y ? 1 : 2", "missing"},
		{"if x > 2 { 'a' } else if x > 1 { 'b' } else { 'c' }", `"a"`},
		{"x > 2 ? nil : 1", "missing"},
		{"x > 2 ? x : nil", "2.5"},
		{"x > 2 ? nil : g > d", "missing"},
		{"x > 2 ? nil : 'a'", "missing"},
		{"unix(x > 2 ? nil : d)", "missing"},
		{"is_missing(x > 2 ? nil : d)", "true"},
		{"y ?? 7", "7"},
		{"x ?? 7", "2.5"},
		{"y ?? y ?? 3", "3"},
		{"1 + (y ?? 2)", "3"},
		{"u ?? 'none'", `"none"`},
		{"column('odd name') ?? 'none'", `"none"`},
		{"(y > 1) ?? false", "false"},
		{"year(g ?? d)", "2014"},
		{"coalesce(y, y, 4, x)", "4"},
		{"is_missing(y)", "true"},
		{"is_missing(x)", "false"},
		{"is_missing(x / 0)", "true"},
		{"is_missing(u)", "true"},
		{"is_missing(e)", "false"},
		{"is_missing(g)", "true"},
		{"is_missing(y > 1)", "true"},
		// Texts.
		{"e + '!'", `"WA 98155!"`},
		{"e + u", "missing"},
		{"'' + ''", `""`},
		{"lower(e)", `"wa 98155"`},
		{"upper(s)", `"ZÜRICH"`},
		{"upper('straße')", `"STRAßE"`},
		{"lower('')", `""`},
		{"lower(u)", "missing"},
		{`trim(" \t a b\u00a0 ")`, `"a b"`},
		{"len(s)", "6"},
		{"len('')", "0"},
		{"len(u)", "missing"},
		{"e[3:]", `"98155"`},
		{"e[:2]", `"WA"`},
		{"e[3:5]", `"98"`},
		{"s[1:3]", `"ür"`},
		{"s[-3:]", `"ich"`},
		{"s[:-4]", `"Zü"`},
		{"s[-99:2]", `"Zü"`},
		{"s[4:99]", `"ch"`},
		{"s[9:]", `""`},
		{"s[3:3]", `""`},
		{"s[4:2]", `""`},
		{"s[0.5:]", "missing"},
		{"s[y:]", "missing"},
		{"u[1:]", "missing"},
		{"s[:1e300]", `"Zürich"`},
		{"s[-1e300:]", `"Zürich"`},
		{"starts_with(e, 'WA')", "true"},
		{"e startsWith 'WB'", "false"},
		{"ends_with(e, '155')", "true"},
		{"e endsWith ''", "true"},
		{"contains(e, ' 9')", "true"},
		{"e contains u", "missing"},
		{"e not contains 'x'", "true"},
		{"not contains(e, 'x')", "true"},
		{"matches(e, '^WA \\\\d{5}$')", "true"},
		{"e matches '^\\\\d'", "false"},
		{"e not matches ('^\\\\d')", "true"},
		{"u matches ''", "missing"},
		{"matches('', '')", "true"},
		{"extract(e, `(\\d\\d)(\\d+)`)", `"98"`},
		{"extract(e, `(\\d\\d)(\\d+)`, 2)", `"155"`},
		{"extract(e, `(\\d\\d)(\\d+)`, 0)", `"98155"`},
		{"extract(e, `\\d+`)", `"98155"`},
		{"extract(e, `x`)", "missing"},
		{"extract(e, `x*`)", `""`},
		{"extract(e, `(x)?W`, 1)", "missing"},
		{"replace(e, ' ', '--')", `"WA--98155"`},
		{"replace('aaa', 'aa', 'b')", `"ba"`},
		{"replace(e, '', 'x')", `"WA 98155"`},
		{"replace(e, 'WA ', '')", `"98155"`},
		{"replace(e, u, '')", "missing"},
		{"text(x)", `"2.5"`},
		{"text(-0.0)", `"0"`},
		{"text(98155)", `"98155"`},
		{"text(1e21)", `"1e+21"`},
		{"text(123456789012345680000.0)", `"123456789012345680000"`},
		{"text(0.000001)", `"0.000001"`},
		{"text(1e-7)", `"1e-07"`},
		{"text(y)", "missing"},
		{"text(x > 2)", `"true"`},
		{"text(y > 2)", "missing"},
		{"'a' < 'b'", "true"},
		{"'Z' < 'a'", "true"},
		{"e >= u", "missing"},
		{"e | lower() | replace(' ', '')", `"wa98155"`},
		// Times.
		{"year(d)", "2014"},
		{"month(d)", "5"},
		{"day(d)", "2"},
		{"hour(d)", "15"},
		{"minute(d)", "4"},
		{"second(d)", "5"},
		{"weekday(d)", "5"},
		{"weekday(time('2014-05-04'))", "7"},
		{"weekday(time('2014-05-05'))", "1"},
		{"day_of_year(d)", "122"},
		{"day_of_year(time('2000-12-31'))", "366"},
		{"year(g)", "missing"},
		{"hour(d, 'America/Los_Angeles')", "8"},
		{"hour(d, 'Asia/Kathmandu') * 100 + minute(d, 'Asia/Kathmandu')", "2049"},
		{"hour(d, 'UTC')", "15"},
		{"day(time('2014-03-09T09:59:59Z'), 'America/Los_Angeles')", "9"},
		{"hour(time('2014-03-09T09:59:59Z'), 'America/Los_Angeles')", "1"},
		{"hour(time('2014-03-09T10:00:00Z'), 'America/Los_Angeles')", "3"},
		{"unix(d)", "1.3990430455e+09"},
		{"unix(time('1969-12-31T23:59:59Z'))", "-1"},
		{"year(time('1969-12-31T23:59:59.999999Z'))", "1969"},
		{"days_since(d, time('2014-05-02 15:04:05'))", "5.787037037037037e-06"},
		{"days_since(time('2014-05-01'), time('2014-05-02'))", "-1"},
		{"days_since(g, d)", "missing"},
		{"d > time('2014-05-02')", "true"},
		{"d == g", "missing"},
		// Comments, brackets, and literals of several kinds.
		{"/* a */ ((x)) // b", "2.5"},
		{`"\u00fc" + 'b' + ` + "`c\\`", `"übc\\"`},
	} {
		if got := evalOne(t, c.expr); got != c.want {
			t.Errorf("%s: %s, want %s", c.expr, got, c.want)
		}
	}
}

// TestTextBound makes texts at and above the bound.
func TestTextBound(t *testing.T) {
	t.Parallel()
	double := "'aaaaaaaaaaaaaaaa'"
	for range 12 { // 16 * 2**12 is the bound
		double = fmt.Sprintf("replace(%s, 'a', 'aa')", double)
	}
	for _, c := range []struct{ expr, want string }{
		{"len(" + double + ")", "65536"},
		{"len(" + double + " + '')", "65536"},
		{"len(" + double + " + e)", "missing"},
		{"len(" + double + " + 'b')", "missing"},
		{"len(replace(" + double + ", 'a', 'ab'))", "missing"},
		{"len(upper(" + double + "))", "65536"},
		{"len(lower(replace(" + double + ", 'aa', 'Ⱥ')))", "missing"}, // 2 bytes become 3
	} {
		if got := evalOne(t, c.expr); got != c.want {
			t.Errorf("%s...: %s, want %s", strings.ReplaceAll(c.expr, "replace('", "")[:20], got, c.want)
		}
	}
}

// TestExtremeColumns has values that a decoder should not make, but could.
func TestExtremeColumns(t *testing.T) {
	t.Parallel()
	s := randomSchema()
	b := record.NewBatch(s, nil)
	for range 3 {
		b.Append(record.Raw{})
	}
	copy(b.Numbers(0), []float64{math.Inf(1), math.Float64frombits(0xfff8000000000123), 0})
	copy(b.Times(6), []int64{math.MaxInt64, math.MinInt64 + 1, 0})
	copy(b.Times(7), []int64{math.MinInt64 + 1, math.MaxInt64, 1})
	b.Texts(4).Set(0, []byte("a\xffb\xc3"))
	p := compile(t, s, []Spec{
		{"year", "year(d)"},
		{"zoned", "year(d, 'Asia/Kathmandu')"},
		{"days", "days_since(d, g)"},
		{"bigger", "x > 0"},
		{"len", "len(s)"},
		{"part", "s[1:2]"},
		{"low", "lower(s)"},
	}, "x", "year", "zoned", "days", "bigger", "len", "low", "part")
	f := p.NewEvaluator().Eval(b, Enrichment{})
	missing := math.Float64bits(math.NaN())
	for i, want := range []uint64{missing, missing, 0} {
		if got := math.Float64bits(f.Columns[0].Numbers[i]); got != want {
			t.Errorf("x of row %d: %#x, want %#x", i, got, want)
		}
	}
	for k, want := range map[int]float64{1: 294247, 2: 294247, 5: 4} {
		if got := f.Columns[k].Numbers[0]; got != want {
			t.Errorf("%s: %v, want %v", f.Columns[k].Name, got, want)
		}
	}
	if !math.IsNaN(f.Columns[3].Numbers[0]) || !math.IsNaN(f.Columns[3].Numbers[1]) || !math.IsNaN(f.Columns[4].Numbers[0]) {
		t.Error("an overflow or an infinity has a value")
	}
	fit := p.NewFitter()
	fit.Add(b, nil, Enrichment{})
	if _, err := fit.Plan(); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("levels that are not UTF-8: %v", err)
	}
}

func TestPower(t *testing.T) {
	t.Parallel()
	for _, x := range []float64{0, 1, -1, 0.5, 2, 3, 10, 1e-3, 1.0000001, 0.9999999, 123456.789, 1e300, -2, -7.5} {
		for _, y := range []float64{0, 1, 2, 3, 7, 10, 100, -1, -3, 0.5, 0.25, -0.5, 1.75, 3.3, 1e6, -1e6, 1e18, 1e300, -1e300, 1 << 53} {
			got, want := power(x, y), math.Pow(x, y)
			same := got == want || math.IsNaN(got) && math.IsNaN(want)
			if off := math.Abs(got-want) / math.Abs(want); !same && !(off < 1e-9*math.Max(1, math.Min(math.Abs(y), 1e3)/1e3)) && want > 1e-300 {
				t.Errorf("%v ** %v = %v, want about %v", x, y, got, want)
			}
		}
	}
	for _, x := range []float64{1e-18, 1e-10, 1e-3, 0.1, 0.5, 1, 1e3, 1e300, -1e-10, -0.5, -0.999} {
		if got, want := log1p(x), math.Log1p(x); math.Abs(got-want) > 4e-16*math.Abs(want) {
			t.Errorf("log1p(%v) = %v, want about %v", x, got, want)
		}
	}
}

func TestZoneTables(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"America/Los_Angeles", "Europe/Dublin", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca", "Etc/GMT-14"} {
		z, err := newZone(name)
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(zoneBegin); at < zoneEnd; at += 6*3600 + 1801 {
			if _, want := time.Unix(at, 0).In(loc).Zone(); z.at(at) != int64(want) {
				t.Fatalf("%s at %v: %d, want %d", name, time.Unix(at, 0).UTC(), z.at(at), want)
			}
		}
		if z.at(math.MinInt64) != z.offset[0] || z.at(math.MaxInt64) != z.offset[len(z.offset)-1] {
			t.Errorf("%s: the ends", name)
		}
	}
	for _, name := range []string{"", "Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := newZone(name); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}
