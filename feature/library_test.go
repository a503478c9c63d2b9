package feature

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/internal/testenv"
)

func TestLibrary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, want string }{
		// Circles.
		{"sin(0)", "0"},
		{"sin(x)", "0.5984721441039564"},
		{"cos(x)", "-0.8011436155469337"},
		{"cos(1e300)", "-0.5753861119575491"},
		{"sin(y)", "missing"},
		{"sin(1 / 0)", "missing"},
		{"sign(-x)", "-1"},
		{"sign(x)", "1"},
		{"sign(-0.0)", "0"},
		{"sign(y)", "missing"},
		{"trunc(-x)", "-2"},
		{"trunc(y)", "missing"},
		{"bin(x, 2)", "2"},
		{"bin(-x, 2)", "-4"},
		{"bin(x, 0)", "missing"},
		{"bin(y, 2)", "missing"},
		{"cycle_sin(6, 24)", "1"},
		{"cycle_cos(6, 24)", "0"},
		{"cycle_sin(12, 24)", "0"},
		{"cycle_sin(-6, 24)", "-1"},
		{"cycle_cos(24e15, 24)", "1"},
		{"cycle_sin(2, 24)", "0.5"},
		{"cycle_sin(1 / 3, 1)", "0.8660254037844387"},
		{"cycle_sin(x, 0)", "missing"},
		{"cycle_cos(x, -1)", "missing"},
		{"cycle_cos(y, 24)", "missing"},
		{"cycle_cos(24, y)", "missing"},
		{"von_mises(x, 0, 0, 1)", "0.15915494309189535"}, // 1/2π: every angle alike
		{"von_mises(x, 2.5, 1e10, 1)", "39894.22803964459"},
		{"von_mises(x, 2.5, -1, 1)", "missing"},
		{"von_mises(-x, 2.5, 1, 1)", "missing"},
		{"von_mises(x, 7, 1, 1)", "missing"},
		{"von_mises(x, x, 1, 0)", "missing"},
		{"von_mises(y, x, 1, 1)", "missing"},
		{"von_mises(x, y, 1, 1)", "missing"},
		{"von_mises(x, x, y, 1)", "missing"},
		{"von_mises(x, x, 1, y)", "missing"},
		// Places.
		{"haversine(0, 0, 0, 0)", "0"},
		{"haversine(0, 0, 0, 180)", "20015.114442035923"}, // half the circumference
		{"haversine(90, 17, -90, 59)", "20015.114442035923"},
		{"haversine(0, -180, 0, 180)", "0"},
		{"round(haversine(47.6062, -122.3321, 37.7749, -122.4194))", "1093"},
		{"round(haversine(36.12, -86.67, 33.94, -118.40) * 10)", "28864"}, // the example of Rosetta Code, for radius 6371: 2886.4
		{"haversine(48.85, 2.35, 48.85, 2.35000001) > 7e-7", "true"},      // less than a millimetre is not lost
		{"haversine(0, 0, 0.00000001, 180) < 20015.114442035923", "true"}, // nor on the other side of the Earth
		{"haversine(90.5, 0, 0, 0)", "missing"},
		{"haversine(0, 180.5, 0, 0)", "missing"},
		{"haversine(0, 0, -91, 0)", "missing"},
		{"haversine(0, 0, 0, -181)", "missing"},
		{"haversine(y, 0, 0, 0)", "missing"},
		{"haversine(0, y, 0, 0)", "missing"},
		{"haversine(0, 0, y, 0)", "missing"},
		{"haversine(0, 0, 0, y)", "missing"},
		{"geohash(57.64911, 10.40744, 11)", `"u4pruydqqvj"`}, // geohash.org
		{"geohash(42.6, -5.6, 5)", `"ezs42"`},
		{"geohash(90, 180, 12)", `"zzzzzzzzzzzz"`},
		{"geohash(-90, -180, 2)", `"00"`},
		{"geohash(0, 0, 1)", `"s"`},
		{"geohash(0, 0, 0)", "missing"},
		{"geohash(0, 0, 13)", "missing"},
		{"geohash(0, 0, 1.5)", "missing"},
		{"geohash(0, 0, -1e300)", "missing"},
		{"geohash(91, 0, 5)", "missing"},
		{"geohash(0, -181, 5)", "missing"},
		{"geohash(y, 0, 5)", "missing"},
		{"geohash(0, 0, y)", "missing"},
		// Words.
		{"title('mERCER island 5TH o\\'neil \u00fc-\u01c6')", `"Mercer Island 5th O'neil Ü-ǅ"`},
		{"title('')", `""`},
		{"title(u)", "missing"},
		{"word_count('  two words\\n')", "2"},
		{"word_count('')", "0"},
		{"word_count(u)", "missing"},
		{"digits(e)", `"98155"`},
		{"digits('42')", `"42"`},
		{"digits('\u0664 a')", `""`},
		{"digits(u)", "missing"},
		{"split_part('a, b, c', ', ', 2)", `"b"`},
		{"split_part('a, b, c', ', ', -1)", `"c"`},
		{"split_part('a, b, c', ', ', -3)", `"a"`},
		{"split_part('a,,c', ',', 2)", `""`},
		{"split_part('a', ',', 1)", `"a"`},
		{"split_part('a', ',', 2)", "missing"},
		{"split_part('a', ',', -2)", "missing"},
		{"split_part('a', ',', 0)", "missing"},
		{"split_part('a', ',', 1.5)", "missing"},
		{"split_part('a', '', 1)", `"a"`},
		{"split_part('a', '', 2)", "missing"},
		{"split_part(u, ',', 1)", "missing"},
		{"split_part('a', u, 1)", "missing"},
		{"split_part('a', ',', y)", "missing"},
		{"pad_left('7', 5, '0')", `"00007"`},
		{"pad_left('98155', 5, '0')", `"98155"`},
		{"pad_left('981550', 5, '0')", `"981550"`},
		{"pad_left(s, 9, '\u00e9-')", `"é-éZürich"`},
		{"pad_left('a', -3, '0')", `"a"`},
		{"pad_left('a', 2.5, '0')", "missing"},
		{"pad_left('a', 2, '')", "missing"},
		{"len(pad_left('a', 65536, '0'))", "65536"},
		{"pad_left('a', 65537, '0')", "missing"},
		{"pad_left('a', 40000, '\u00e9')", "missing"},
		{"pad_left('a', 1e300, '0')", "missing"},
		{"pad_left(u, 5, '0')", "missing"},
		{"pad_left('a', y, '0')", "missing"},
		{"pad_left('a', 5, u)", "missing"},
		{"hash_bucket('Seattle', 7)", "2"},
		{"hash_bucket('Mercer Island', 100)", "33"},
		{"hash_bucket('a', 1)", "0"},
		{"hash_bucket('a', 2147483647)", "6.93250183e+08"},
		{"hash_bucket('a', 0)", "missing"},
		{"hash_bucket('a', 2.5)", "missing"},
		{"hash_bucket('a', 2147483648)", "missing"},
		{"hash_bucket(u, 7)", "missing"},
		{"hash_bucket('a', y)", "missing"},
		{"count_matches(e, '[0-9]')", "5"},
		{"count_matches('aaa', 'aa')", "1"},
		{"count_matches('ab', '')", "3"},
		{"count_matches('', 'a')", "0"},
		{"count_matches(u, 'a')", "missing"},
		{"replace_regex(e, '[0-9]+', '#')", `"WA #"`},
		{"replace_regex(e, '(\\\\w+) (\\\\d+)', '$2-$1 $0 $$')", `"98155-WA WA 98155 $"`},
		{"replace_regex('ab', '(x)?b', '<$1>')", `"a<>"`},
		{"replace_regex('ab', '', '-')", `"-a-b-"`},
		{"replace_regex(e, 'nowhere', 'x')", `"WA 98155"`},
		{"replace_regex(u, 'a', 'b')", "missing"},
		// Calendars.
		{"week(d)", "18"},
		{"week(time('2010-01-03'))", "53"},
		{"week(time('2012-12-31'))", "1"},
		{"week(time('2014-05-04T23:30:00Z'), 'Asia/Tokyo')", "19"},
		{"quarter(d)", "2"},
		{"quarter(time('2014-12-31'))", "4"},
		{"quarter(time('2014-12-31T20:00:00Z'), 'Asia/Tokyo')", "1"},
		{"days_in_month(d)", "31"},
		{"days_in_month(time('2000-02-01'))", "29"},
		{"days_in_month(time('1900-02-01'))", "28"},
		{"days_in_month(time('2014-12-01'))", "31"},
		{"minute_of_day(d)", "904"},
		{"minute_of_day(d, 'Asia/Kathmandu')", "1249"},
		{"second_of_day(d)", "54245"},
		{"is_weekend(d)", "false"},
		{"is_weekend(time('2014-05-03'))", "true"},
		{"is_weekend(time('2014-05-04T23:59:59Z'))", "true"},
		{"is_weekend(time('2014-05-05'))", "false"},
		{"is_weekend(time('2014-05-02T15:00:00Z'), 'Asia/Tokyo')", "true"},
		{"week(g)", "missing"},
		{"second_of_day(g, 'UTC')", "missing"},
		{"is_weekend(g)", "missing"},
	} {
		if got := evalOne(t, c.expr); got != c.want {
			t.Errorf("%s: %s, want %s", c.expr, got, c.want)
		}
	}
}

func TestLibraryErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, msg string }{
		{"sin(city)", "sin cannot be called with (text)"},
		{"bin(city, 2)", "bin cannot be called with (text, number)"},
		{"haversine(1, 2, 3, city)", "haversine cannot be called with (number, number, number, text)"},
		{"haversine(1, 2, 3)", "haversine cannot be called with 3 arguments"},
		{"von_mises(nil, 2, 3, 4)", "von_mises cannot be called with (nil, number, number, number)"},
		{"week(price)", "week cannot be called with (number)"},
		{"is_weekend(date, 'Mars')", "no such time zone"},
		{"count_matches(price, 'a')", "count_matches cannot be called with (number, text)"},
		{"count_matches(city, street)", "argument 2 of count_matches must be a literal text"},
		{"count_matches(city, '(')", "not a regular expression"},
		{"replace_regex(price, 'a', 'b')", "replace_regex cannot be called with (number, text, text)"},
		{"replace_regex(city, 'a', street)", "argument 3 of replace_regex must be a literal text"},
		{"replace_regex(city, '(a)', '$2')", "the replacement names a group that is not there: there are $0 to $1"},
		{"replace_regex(city, 'a', 'cost: $')", "the replacement names a group that is not there"},
		{"replace_regex(city, 'a', '${1}')", "the replacement names a group that is not there"},
		{"replace_regex(city, '" + strings.Repeat("(a)", 10) + "', '')", "the regular expression has 10 groups"},
		{"longitude(price)", `there is no function "longitude"`},
	} {
		_, err := Compile(Declaration{Schema: houseSchema(t), Features: []Spec{{"f", c.expr}}, Inputs: []string{"f"}})
		if err == nil || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%s: %v, want %s", c.expr, err, c.msg)
		}
	}
}

// TestFeatranVonMises has the density at the points of Featran's vectors. A mean outside the circle is an exception there,
// and missing here.
func TestFeatranVonMises(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "featran.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(b, &all); err != nil { //nolint:musttag // the names are those of the file
		t.Fatal(err)
	}
	found := 0
	for _, raw := range all.Vectors {
		if !strings.Contains(string(raw), "VonMisesEvaluator\"") {
			continue
		}
		var v struct {
			Params struct {
				Kappa, Scale float64
				Points       []float64
			}
			Fit    []float64
			Expect struct {
				Rows [][]float64 `json:"fit_rows"`
			}
		}
		if err := json.Unmarshal(raw, &v); err != nil { //nolint:musttag // the names are those of the file
			t.Fatal(err)
		}
		found++
		for i, x := range v.Params.Points {
			number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
			got := evalOne(t, fmt.Sprintf("von_mises(%s, %s, %s, %s)", number(x), number(v.Fit[0]), number(v.Params.Kappa), number(v.Params.Scale)))
			if len(v.Expect.Rows) == 0 {
				if got != "missing" {
					t.Errorf("a mean of %v gives %v", v.Fit[0], got)
				}
				continue
			}
			if f, err := strconv.ParseFloat(got, 64); err != nil || math.Abs(f/v.Expect.Rows[0][i]-1) > 1e-12 {
				t.Errorf("at %v: %v, want %v", x, got, v.Expect.Rows[0][i])
			}
		}
	}
	if found != 2 {
		t.Errorf("%d vectors", found)
	}
}
