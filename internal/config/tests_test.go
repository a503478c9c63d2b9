package config

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/record"
)

const testedFile = `version: 1
name: houses
schema:
  time: [date, {name: sent, layouts: [unix_ms]}]
  numeric: [price, area]
  enum: [city]
  string: [zip]
source: {topic: houses}
tables:
  zips: {topic: zips, key: zip, schema: {numeric: [income], enum: [county], string: [zip], time: [{name: since, layouts: ["02.01.2006"]}]}}
  ranges: {data: geo.mmdb, schema: {enum: [country.iso_code]}}
windows:
  sales: {key: city, over: 1h, aggregates: {n: count(), mean_area: mean(area)}}
features:
  large: area > 100
  town: lower(city)
  day: date
  "odd$ name": column("area") / 2
  hot: one_hot(city)
train: {data: houses.csv, label: price, ignore: [date, sent, zip, day]}
sink: {topic: predictions}
dead_letter: {topic: dlq}
`

func parseTests(t *testing.T, text string) *Pipeline {
	t.Helper()
	p, err := Parse("pipeline.yaml", []byte(testedFile+text), Options{Env: lookup(map[string]string{"CITY": "Kent"})})
	if err != nil {
		var b strings.Builder
		_ = asProblems(err).WriteText(&b, false)
		t.Fatalf("%s\n%s", text, b.String())
	}
	return p
}

// TestRecords holds how a mapping becomes the JSON of a record.
func TestRecords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{date: 2014-05-02, sent: 1399024800000, area: 3.50, city: Kent, zip: 98155}`:            `{"date":"2014-05-02","sent":1399024800000,"area":3.50,"city":"Kent","zip":"98155"}`,
		`{area: "3", city: 4.0, zip: true, date: 20140502, sent: "7"}`:                           `{"area":"3","city":4.0,"zip":"true","date":"20140502","sent":"7"}`,
		`{area: null, city: ~, zip: "null", date: }`:                                             `{"area":null,"city":null,"zip":"null","date":null}`,
		`{area: .5, city: 007, x: 0x1F, y: yes, z: True, e: 1e3}`:                                `{"area":".5","city":"007","x":"0x1F","y":"yes","z":"True","e":1e3}`,
		`{city: "${CITY}", zip: $$x, other: {a: [1, "2", {b: false}], area: 98155, zip: 98155}}`: `{"city":"Kent","zip":"$x","other":{"a":[1,"2",{"b":false}],"area":98155,"zip":98155}}`,
		`{}`: `{}`,

		`'{"area": 1, "area": 2'`: `{"area": 1, "area": 2`,

		`{city: "<a> é \u0007"}`: `{"city":"<a> é \u0007"}`,
	} {
		p := parseTests(t, "tests: [{name: a, given: {record: "+text+"}, expect: {}}]\n")
		if got := string(p.Tests[0].Given.Record.Value); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	if p := parseTests(t, "tests: [{name: a, given: {record: null}, expect: {}}]\n"); p.Tests[0].Given.Record.Value != nil {
		t.Errorf("null is %q", p.Tests[0].Given.Record.Value)
	}
}

// TestAppendTest holds that a test that is written is read as the same test.
func TestAppendTest(t *testing.T) {
	t.Parallel()
	p := parseTests(t, "")
	number := func(x float64) feature.Value { return feature.Value{Kind: feature.KindNumber, Number: x} }
	zip := func(key string, income float64, county record.Text, since int64) GivenRow {
		return GivenRow{Key: key, Row: &record.Row{Numbers: []float64{income}, Times: []int64{since}, Texts: []record.Text{county, {S: key, OK: true}}}, From: record.MissingTime}
	}
	tests := []Test{
		{
			Name: "houses/0/1",
			Given: Given{
				Record: record.Raw{Key: []byte("a: b"), Timestamp: 1399024800123, Value: []byte(`{"date":"2014-05-02","sent":1399024800000,"area":1E2,"city":"no","zip":"${CITY} '\" \\ # \u2028","x":"\u0007é"}`)},
				Tables: map[string][]GivenRow{
					"zips":   {zip("01.0", 1e-7, record.Text{S: "", OK: true}, 1399024800123456), zip("", math.NaN(), record.Text{}, record.MissingTime)},
					"ranges": {{Key: "1.2.3.4", Row: &record.Row{Numbers: []float64{}, Times: []int64{}, Texts: []record.Text{{S: "NO", OK: true}}}, From: record.MissingTime}},
				},
				Windows: map[string]map[string]float64{"sales": {"n": 3, "mean_area": math.NaN()}},
			},
			Expect: []Expectation{
				{Name: "large", Feature: "large", Want: feature.Value{Kind: feature.KindBool, Flag: true}},
				{Name: "town", Feature: "town", Want: feature.Value{Kind: feature.KindText, Text: "null"}},
				{Name: "day", Feature: "day", Want: feature.Value{Kind: feature.KindTime, Time: 1399024800123456}},
				{Name: "odd$ name", Feature: "odd$ name", Want: number(1.0 / 3)},
				{Name: "hot_Kent", Feature: "hot", Waits: true, Want: number(9007199254740994)},
			},
			Prediction: &Expectation{Want: number(-1e300)},
		},
		{Name: "yes", Given: Given{Record: record.Raw{Timestamp: -1, Value: []byte(`{"area": 1, "x": {"y": [1, 2.0]}, "zip": 3}`)}}, Expect: []Expectation{
			{Name: "large", Feature: "large", Want: feature.Value{Kind: feature.KindBool, Missing: true}},
		}},
		{Name: "nothing expected", Given: Given{Record: record.Raw{Timestamp: 0, Value: []byte(`{"area":1}`)}, Tables: map[string][]GivenRow{"zips": {}}}},
		{Name: "null", Given: Given{Record: record.Raw{Timestamp: -1}}, DeadLetter: &Rejection{Stage: "decode", Class: "null_value"}},
		{Name: "3", Given: Given{Record: record.Raw{Timestamp: -1, Value: []byte("{\"area\": 1\x7f\t\r\n\u202e")}}, DeadLetter: &Rejection{Stage: "decode", Class: "invalid_json", Field: "a'b"}},
		{Name: "empty", Given: Given{Record: record.Raw{Timestamp: -1, Value: []byte{}}}, DeadLetter: &Rejection{Stage: "decode"}},
		{Name: "later", Given: Given{Record: record.Raw{Timestamp: -1, Value: []byte(`{"area":1,"city":"a"}`)}}, DeadLetter: &Rejection{Stage: "enrich", Class: "no_row", Field: "zips"}},
	}
	text := []byte("tests:\n")
	for i := range tests {
		var err error
		if text, err = p.AppendTest(text, &tests[i]); err != nil {
			t.Fatal(err)
		}
	}
	got := parseTests(t, string(text)).Tests
	for i := range got {
		got[i].Line = 0
		// A mapping is written where it is the same but for blanks and escapes.
		a, okA := tokens(tests[i].Given.Record.Value)
		b, okB := tokens(got[i].Given.Record.Value)
		if okA && okB && cmp.Equal(a, b) {
			got[i].Given.Record.Value = tests[i].Given.Record.Value
		}
	}
	nan := cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })
	if diff := cmp.Diff(tests, got, nan); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, text)
	}
	for line := range strings.Lines(string(text)) {
		if n := len([]rune(line)); n > excerptWidth+1 && !strings.Contains(line, "record: '") {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	if _, err := p.AppendTest(nil, &Test{Given: Given{Record: record.Raw{Value: []byte{0xff}}}}); err != ErrNotText { //nolint:errorlint // it is returned as it is
		t.Errorf("bytes that are no text: %v", err)
	}
}

// TestAccepts holds when a value is what a test wants.
func TestAccepts(t *testing.T) {
	t.Parallel()
	number := func(x float64) feature.Value { return feature.Value{Kind: feature.KindNumber, Number: x} }
	missing := feature.Value{Kind: feature.KindNumber, Number: math.NaN(), Missing: true}
	for _, c := range []struct {
		want   feature.Value
		within Tolerance
		got    feature.Value
		ok     bool
	}{
		{number(0.30000000000000004), Tolerance{}, number(0.3), false},
		{number(0.3), Tolerance{}, number(0.3), true},
		{number(-100), Tolerance{Share: 0.05}, number(-95), true},
		{number(-100), Tolerance{Share: 0.05}, number(-94), false},
		{number(100), Tolerance{Absolute: 2}, number(102), true},
		{number(100), Tolerance{Absolute: 2}, number(102.1), false},
		{number(100), Tolerance{Absolute: 1e9}, missing, false},
		{missing, Tolerance{Absolute: 1e9}, number(0), false},
		{missing, Tolerance{}, missing, true},
		{feature.Value{Kind: feature.KindText, Text: "a"}, Tolerance{}, feature.Value{Kind: feature.KindText, Text: "A"}, false},
		{feature.Value{Kind: feature.KindText}, Tolerance{}, feature.Value{Kind: feature.KindText, Missing: true}, false},
		{feature.Value{Kind: feature.KindBool, Flag: true}, Tolerance{}, feature.Value{Kind: feature.KindBool}, false},
		{feature.Value{Kind: feature.KindTime, Time: 1}, Tolerance{}, feature.Value{Kind: feature.KindTime, Time: 1}, true},
	} {
		e := Expectation{Want: c.want, Within: c.within}
		if got := e.Accepts(c.got); got != c.ok {
			t.Errorf("%+v, got %+v: %t", e, c.got, got)
		}
	}
}
