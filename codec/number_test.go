package codec

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// number decodes a literal the way a numeric field does.
func number(text string) (v float64, ok bool) {
	c := column{numbers: []float64{0}}
	var f fault
	ok = c.setNumber(0, []byte(text), 0, &f)
	return c.numbers[0], ok
}

// checkNumber compares a literal with what strconv makes of it.
func checkNumber(t interface{ Errorf(string, ...any) }, text string) {
	v, ok := number(text)
	isNumber := json.Valid([]byte(text)) && (text[0] == '-' || text[0]-'0' <= 9) && text[len(text)-1]-'0' <= 9
	want, err := strconv.ParseFloat(text, 64)
	wantOK := isNumber && err == nil
	if wantOK && !strings.ContainsAny(text, ".eE") {
		exact, _ := new(big.Float).SetPrec(uint(4*len(text) + 64)).SetString(text)
		wantOK = exact.Cmp(new(big.Float).SetFloat64(want)) == 0
	}
	if ok != wantOK {
		t.Errorf("%q: accepted %t, want %t", text, ok, wantOK)
	}
	if ok && math.Float64bits(v) != math.Float64bits(want) {
		t.Errorf("%q: %b, want %b", text, v, want)
	}
	if end, valid := scanNumber([]byte(text), 0); (valid && end == len(text)) != isNumber {
		t.Errorf("scanNumber(%q) = %d, %t", text, end, valid)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("123456789", 40)
	for _, text := range []string{
		"0", "-0", "0.0", "-0.0", "0e0", "0e999999999999", "-0E-999999999999", "1", "-1", "12", "123456789012345", "1234567890123456", "12345678901234567",
		"9007199254740991", "9007199254740992", "9007199254740993", "9007199254740994", "-9007199254740993", "9007199254740993.0", "9007199254740993e0",
		"18446744073709551615", "18446744073709551616", "9999999999999999999", "10000000000000000000", "99999999999999999999",
		"10000000000000000000000", "100000000000000000000000", "1180591620717411303424", "1180591620717411303425",
		"0.1", "0.2", "0.3", "2.675", "1.005", "123456.789", "1e22", "1e23", "123e20", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308",
		"1e308", "1e309", "-1e309", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-400", "2.2250738585072011e-308", "2.2250738585072014e-308",
		"6.02214076e+23", "1E5", "1e+5", "1e-5", "1.5e300", "0.000000000000000000000000000000000000000000000000000001", "0." + strings.Repeat("0", 400) + "1",
		"1" + strings.Repeat("0", 308), "1" + strings.Repeat("0", 309), "1" + strings.Repeat("0", 400) + "e-400", "0." + strings.Repeat("0", 400) + "1e400",
		"9007199254740992.999999999999999999999999999999999999", "9007199254740993.000000000000000000000000000000000000",
		"9007199254740993.000000000000000000000000000000000001", "9007199254740992.999999999999999999999999999999999999e-300",
		long, "0." + long, long + "." + long, long + "e-300", "-" + long + "e-400",
		"", "-", "+1", "01", "-01", "00", "1.", ".5", "1.e5", "1e", "1e+", "1.5.5", "1e5.5", "0x10", "1_0", "NaN", "Inf", "Infinity", "1 ", " 1", "1a", "--1", "1-", "e5", "1ee5", "٣",
	} {
		checkNumber(t, text)
	}
}

func TestNumberRandom(t *testing.T) {
	t.Parallel()
	literal := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			v := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return "0"
			}
			return strconv.FormatFloat(v, rapid.SampledFrom([]byte("eEfg")).Draw(t, "format"), rapid.IntRange(-1, 30).Draw(t, "precision"), 64)
		}),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?`),
		rapid.StringMatching(`-?[1-9][0-9]{14,22}`),
		rapid.StringMatching(`-?[0-9]{0,3}\.?[0-9]{0,3}[eE]?[-+]?[0-9]{0,3}`),
		// Next to the middle between two float64, where the last digit decides.
		rapid.Custom(func(t *rapid.T) string {
			v := math.Float64frombits(rapid.Uint64Range(1, math.Float64bits(1e300)).Draw(t, "bits"))
			middle := new(big.Float).SetPrec(2000).SetFloat64(v)
			middle.Add(middle, new(big.Float).SetFloat64(math.Nextafter(v, math.Inf(1)))).Quo(middle, big.NewFloat(2))
			return middle.Text('e', rapid.IntRange(17, 60).Draw(t, "digits"))
		}),
	)
	rapid.Check(t, func(t *rapid.T) { checkNumber(t, literal.Draw(t, "literal")) })
}

func TestScaled(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "1": 1e6, "-1": -1e6, "1.5": 1500000, "0.000001": 1, "0.0000019": 1, "-0.0000001": -1, "-1.0000001": -1000001, "1e3": 1e9, "1E-6": 1, "1e-7": 0, "-1e-7": -1,
		"0e99": 0, "9223372036854.775807": math.MaxInt64, "1398988800.12345678901234567890": 1398988800123456, "-1398988800.00000000000000000001": -1398988800000001,
	} {
		n, _, ok := scanDecimal([]byte(text), 0)
		if got, fits := n.scaled(6); !ok || !fits || got != want {
			t.Errorf("%s: %d %t, want %d", text, got, fits, want)
		}
	}
	for _, text := range []string{"9223372036854.775808", "1e13", "1e400", "99999999999999999999999"} {
		n, _, _ := scanDecimal([]byte(text), 0)
		if got, fits := n.scaled(6); fits {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestCanonicalLevel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "4": "4", "4.0": "4", "4.000": "4", "-4.0": "-4", "0.0": "0", "-0": "0", "-0.0": "0", "10": "10", "10.0": "10", "-10": "-10",
		"4.": "4.", ".0": ".0", "04.0": "04.0", "00": "00", "-": "-", "-.0": "-.0", "1.50": "1.50", "4.00x": "4.00x", "x0": "x0", "1e10": "1e10", "4.0.0": "4.0.0", "+0": "+0", "- 0": "- 0",
	} {
		if got := string(canonicalLevel([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzFastNumber holds the ways that read a word at a time against those that read bytes.
func FuzzFastNumber(f *testing.F) {
	for _, text := range []string{
		"0", "7", "-7", "10", "00", "01", "007", "1234567", "12345678", "123456789012345", "1234567890123456", "0.5", "2.0", "2.", ".5", "12.25", "123.4567", "1.234567",
		"1e5", "1E5", "1.5e3", "12.5E", "-", "-0.5", "1.2.3", "1..2", "0.", "00.5", "0.0000001", "99999.9", "1\xff2", "1.\xff", "\xb05", "1.5\xb0", "1:2", "/0", "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, rest := range []string{"", ",", "}     ", "          "} {
			data := append(append([]byte("x"), text...), rest...)
			v, end := fastNumber(data, 1)
			want, wantEnd := longNumber(data, 1)
			if math.Float64bits(v) != math.Float64bits(want) || end != wantEnd {
				t.Fatalf("%q: %v up to %d, want %v up to %d", data, v, end, want, wantEnd)
			}
			n, wantEnd, ok := scanDecimal(data, 1)
			short := ok && n.integer && !n.neg && wantEnd <= 8 && len(data) > 8
			if end := shortInteger(data, 1); (end > 0) != short || short && end != wantEnd {
				t.Fatalf("%q: an integer up to %d, want %v and %d", data, end, short, wantEnd)
			}
		}
	})
}

func TestAppendFloat(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 313000: "313000", 0.1: "0.1", -2.5: "-2.5", 1 << 53: "9007199254740992", 1<<53 + 2: "9.007199254740994e+15", 1e21: "1e+21", 1e-6: "0.000001", 1e-7: "1e-07",
		math.MaxFloat64: "1.7976931348623157e+308", math.SmallestNonzeroFloat64: "5e-324", math.Inf(1): "null", math.Inf(-1): "null",
	} {
		if got := string(AppendFloat([]byte("x"), v)); got != "x"+want && v != 0 {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := string(AppendFloat(nil, math.NaN())); got != "null" {
		t.Errorf("NaN: %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "v")
		text := AppendFloat(nil, v)
		back, err := strconv.ParseFloat(string(text), 64)
		if err != nil || math.Float64bits(back) != math.Float64bits(v) || !json.Valid(text) {
			t.Fatalf("%b: %s", v, text)
		}
		if shortest := strconv.FormatFloat(v, 'e', -1, 64); digits(string(text)) > digits(shortest) {
			t.Fatalf("%s has more digits than %s", text, shortest)
		}
		n, end, ok := scanDecimal(text, 0)
		if back, exact := n.float(text); !ok || end != len(text) || !exact || back != v {
			t.Fatalf("%s is refused as a number of a record", text)
		}
	})
}

// digits counts the significant digits of a number.
func digits(text string) int {
	mantissa, _, _ := strings.Cut(text, "e")
	mantissa = strings.TrimLeft(strings.NewReplacer("-", "", ".", "").Replace(mantissa), "0")
	return len(strings.TrimRight(mantissa, "0"))
}

// FuzzAppendFloat holds the text of a number against that of strconv.
func FuzzAppendFloat(f *testing.F) {
	for _, v := range []float64{
		0.1, 0.3, 1.5, 3, 100, 313000, 313000.25, 1e15, 1<<52 - 0.5, 1<<52 + 1, 1<<53 - 1, 1 << 53, 0.00390625, 0.0039, 0.004, 9.5, 9.999999999999998, 0.1 + 0.2,
		2.5, 1125899906842623.75, 562949953421311.8, 99999999999.99998, 5e-324, math.MaxFloat64, 123456789.125, 4503599627370497.5, 2251799813685248.75,
	} {
		f.Add(math.Float64bits(v))
	}
	f.Fuzz(func(t *testing.T, b uint64) {
		check := func(v float64) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return
			}
			format := byte('f')
			if a := math.Abs(v); a != 0 && (a < 1e-6 || a > 1<<53) {
				format = 'e'
			}
			if got, want := string(AppendFloat(nil, v)), strconv.FormatFloat(v, format, -1, 64); got != want {
				t.Fatalf("%b: %s, want %s", v, got, want)
			}
		}
		v := math.Float64frombits(b)
		check(v)
		const fraction = 1<<52 - 1
		for exp := uint64(1023 - 12); exp < 1023+55; exp++ { // the same digits where texts are made here
			check(math.Float64frombits(b&fraction | exp<<52))
			check(math.Float64frombits(b>>40&(1<<12-1)<<40 | exp<<52)) // few digits
		}
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', int(b%17), 64), 64)
		if err == nil {
			check(rounded)
		}
		check(float64(b%1e12) / []float64{1, 10, 100, 1000, 1e5, 1e8}[b%6])
	})
}
