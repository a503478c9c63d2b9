package feature

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// TestErrors has the part of the expression that each fault points at between « and ».
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, msg, hint string }{
		{"1 + «prise»", `no column or feature is called "prise"`, `did you mean "price"?`},
		{"«City» == 'x'", `no column or feature is called "City"`, `did you mean "city"?`},
		{"«zzzzzzz» + 1", `no column or feature is called "zzzzzzz"`, ""},
		{"price + «lower»", `no column or feature is called "lower"`, "lower is a function: write lower(text)"},
		{"price == «null»", `no column or feature is called "null"`, "nil is the missing value; is_missing(x) tests for it"},
		{"column(«\"prise\"»)", `no column or feature is called "prise"`, `did you mean "price"?`},
		{"«uper(city)»", `there is no function "uper"`, `did you mean "upper"?`},
		{"«now»()", `there is no function "now"`, "expressions have no clock, so that training and running agree; use a time column"},
		{"«hasPrefix(city, 'a')»", `there is no function "hasPrefix"`, "use starts_with"},
		{"price +« »", "the expression ends too early", ""},
		{"«price + city»", `"+" cannot be applied to number and text`, "number(t) and text(x) convert"},
		{"«city * 2»", `"*" cannot be applied to text and number`, "number(t) and text(x) convert"},
		{"«date - date»", `"-" cannot be applied to time and time`, "days_since(a, b) is the time between two times"},
		{"«date > '2014-05-02'»", `">" cannot be applied to time and text`, `a literal time is written time("2014-05-02")`},
		{"«(price > 1) + 1»", `"+" cannot be applied to bool and number`, "number(b) is 1 for true and 0 for false; x != 0 is a condition"},
		{"«price == nil»", `"==" cannot be applied to number and nil`, "is_missing(x) tests for a missing value"},
		{"«not price» == 1", `"not" cannot be applied to number`, "not binds stronger than a comparison: write not (a == b), or a != b"},
		{"«-city»", `"-" cannot be applied to text`, ""},
		{"«+city»", `"+" cannot be applied to text`, ""},
		{"«price and city»", `"and" cannot be applied to number and text`, "both sides must be conditions, such as price > 0"},
		{"«price» ? 1 : 2", "a condition must be bool, not number", ""},
		{"price > 1 ? 1 : «city»", "the two results of a condition must be of one type, not number and text", "number(x) and text(x) convert"},
		{"price > 1 ? «nil» : nil", "nil alone has no type", ""},
		{"«nil»", "nil alone has no type", ""},
		{"price ?? «city»", "the values to choose from must be of one type, not number and text", "number(x) and text(x) convert"},
		{"price ?? 1 «+» 2", "operator (+) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses", ""},
		{"price «between» 1", `unexpected "between"`, "write x between low and high"},
		{"«city between 1 and 2»", "between cannot be called with (text, number, number)", "write x between low and high"},
		{"city in «training»", "only the rules of checks.record know the training rows", `write x in ["a", "b"]`},
		{"price «is» nil", `unexpected "is"`, "write == to compare, is_missing(x) to test for a missing value"},
		{"price «=» 2", `unexpected "="`, "== compares"},
		{"price «&» 2", `unexpected "&"`, `write "and"`},
		{"price in «city»", "in needs a list of literals", `write x in ["a", "b"]; x between low and high tests a range`},
		{"price in [1, «bedrooms»]", "a list holds literals only", ""},
		{"price in [1, «'a'»]", "a text in a list for a number", ""},
		{"price in [«nil»]", "a list cannot hold nil", "is_missing(x) tests for a missing value"},
		{"price in [«1/0»]", "a list holds literals only", ""},
		{"price in «[]»", "the list has 0 elements: want 1 to 65535", ""},
		{"(«price > 1») in [true]", "in takes number, text or time, not bool", ""},
		{"«1..3»", "there are no ranges", "write x between low and high"},
		{"«price ^ 2»", `there is no operator "^"`, `write "**" for a power`},
		{"«[1]»", "a list can only stand to the right of in", ""},
		{"«{}»", "this is not supported in an expression", ""},
		{"«city[3]»", "one character of a text cannot be taken by its index", "write text[a:b]"},
		{"«city.name»", "values have no members", `name a column that has a dot in its name as column("a.b")`},
		{"«city?.name»", "values have no members", `name a column that has a dot in its name as column("a.b")`},
		{"«city.lower»()", "values have no methods", "write the function before its arguments: lower(city)"},
		{"let «a» = 1; a", "an expression has no variables and no sequences", "declare another feature and use its name"},
		{"«1; 2»", "an expression has no variables and no sequences", "declare another feature and use its name"},
		{"«b'abc'»", "there are no byte literals", `write a text: "..."`},
		{"«filter([1], true)»", `there is no function "filter"`, ""},
		{"price «#» 1", `unexpected "#"`, ""},
		{"«price[1:]»", "only a text has parts, not a number", "text(x) makes a text of a number"},
		{"«city['a':]»", "the ends of a part are numbers", ""},
		{"«lower(price)»", "lower cannot be called with (number)", "write lower(text)"},
		{"«lower(nil)»", "lower cannot be called with (nil)", "write lower(text)"},
		{"«lower(city, 1)»", "lower cannot be called with 2 arguments", "write lower(text)"},
		{"«min(1)»", "min cannot be called with 1 arguments", "write min(x, y, ...)"},
		{"«min(1, city)»", "min cannot be called with (number, text)", "write min(x, y, ...)"},
		{"«clip(city, 1, 2)»", "clip cannot be called with (text, number, number)", "write clip(x, low, high)"},
		{"«between(city, 1, 2)»", "between cannot be called with (text, number, number)", "write between(x, low, high)"},
		{"«year(city)»", "year cannot be called with (text)", `write year(time) or year(time, "Europe/Paris")`},
		{"year(date, «'Mars'»)", `no such time zone: "Mars"`, "want an IANA time zone, such as America/Los_Angeles"},
		{"year(date, «city»)", "argument 2 of year must be a literal text", `write year(time) or year(time, "Europe/Paris")`},
		{"time(«'yesterday'»)", "not a time", "write 2014-05-02, 2014-05-02 15:04:05 or 2014-05-02T15:04:05Z; without a zone it is UTC"},
		{"matches(city, «'('»)", "not a regular expression: missing closing ): \"(\"", "millrace takes RE2: no back references, no look-around"},
		{"city matches «city»", "argument 2 of matches must be a literal text", `write matches(text, "regex")`},
		{"«price matches 'a'»", "matches cannot be called with (number, text)", `write matches(text, "regex")`},
		{"extract(city, '(a)', «2»)", "the group must be a literal from 0 to 1", "0 is the whole match"},
		{"matches(city, «'(a{1000}){1000}'»)", "not a regular expression: invalid repeat count: \"{1000}\"", "millrace takes RE2: no back references, no look-around"},
		{"matches(city, «'(abcdefghi){999}'»)", "the regular expression is too large: it needs more than 5000 instructions", "millrace takes RE2: no back references, no look-around"},
		{"«9007199254740993»", "a number cannot hold this integer exactly", "compare long identifiers as texts"},
		{`city == «"\UFFFFFFFF"»`, "the text is not UTF-8", ""},
		{"« »", "the expression is empty", ""},
		{"'ü' + «zipp»", `no column or feature is called "zipp"`, `did you mean "zip"?`},
		{"price + «(»", "the expression ends too early", ""},
		{"1 + «\n»", "the expression ends too early", ""},
	} {
		expr := strings.NewReplacer("«", "", "»", "").Replace(c.expr)
		offset := strings.Index(c.expr, "«")
		want := []*Error{{Feature: "f", Offset: offset, Length: strings.Index(c.expr, "»") - len("«") - offset, Msg: c.msg, Hint: c.hint}}
		_, err := Compile(Declaration{Schema: houseSchema(t), Features: []Spec{{"zip", "statezip[3:]"}, {"f", expr}}})
		if diff := cmp.Diff(want, Errors(err)); diff != "" {
			t.Errorf("%s: %s", c.expr, diff)
		}
	}
}

// TestErrorsOfPlans has faults that are not inside one expression.
func TestErrorsOfPlans(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		specs  []Spec
		inputs []string
		want   []*Error
	}{
		"cycle": {
			[]Spec{{"a", "b + 1"}, {"b", "c * 2"}, {"c", "1 + a"}, {"d", "a"}},
			[]string{"a", "d"},
			[]*Error{{"c", 4, 1, "a feature cannot depend on itself: a -> b -> c -> a", ""}},
		},
		"itself": {[]Spec{{"a", "a"}}, []string{"a"}, []*Error{{"a", 0, 1, "a feature cannot depend on itself: a -> a", ""}}},
		"cycle behind another feature": {
			[]Spec{{"x", "a"}, {"a", "b"}, {"b", "a"}},
			nil,
			[]*Error{{"b", 0, 1, "a feature cannot depend on itself: a -> b -> a", ""}},
		},
		"names": {
			[]Spec{{"city", "1"}, {"a", "1"}, {"a", "2"}, {"", "3"}},
			[]string{"a"},
			[]*Error{
				{"city", 0, 0, "the schema has a column of this name", "give it another name"},
				{"a", 0, 0, "it is declared twice", "give it another name"},
				{"", 0, 0, "the name must be UTF-8 text that is not empty", ""},
			},
		},
		"inputs": {
			[]Spec{{"when", "date"}},
			[]string{"date", "street", "when", "bedroms", "price", "price"},
			[]*Error{
				{"when", 0, 0, "a time cannot be an input", "derive a number, such as year(...) or days_since(...)"},
				{"date", 0, 0, "a time column cannot be an input", "derive a feature, such as year(date), or list the column in ignore"},
				{"street", 0, 0, "a string column cannot be an input", "derive a feature, declare the column as enum, or list it in ignore"},
				{"bedroms", 0, 0, "no column or feature of this name can be an input", `did you mean "bedrooms"?`},
				{"price", 0, 0, "the model has this input twice", ""},
			},
		},
		"all at once, in order, each once": {
			[]Spec{{"b", "a + prise + «"}, {"a", "x1 + lower(x2) + x1"}, {"c", "b"}},
			[]string{"c"},
			[]*Error{
				{"b", 12, 2, "unrecognized character: U+00AB '«'", ""},
				{"a", 0, 2, `no column or feature is called "x1"`, ""},
				{"a", 11, 2, `no column or feature is called "x2"`, ""},
				{"a", 17, 2, `no column or feature is called "x1"`, ""},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Compile(Declaration{Schema: houseSchema(t), Features: c.specs, Inputs: c.inputs})
			if diff := cmp.Diff(c.want, Errors(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	_, err := CompilePredicate(s, "prise > 0")
	if got, want := fmt.Sprint(err), `no column or feature is called "prise" (at byte 0): did you mean "price"?`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	_, err = CompilePredicate(s, "price")
	if got, want := fmt.Sprint(err), `the condition is a number, not a bool (at byte 0): compare it with something`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	_, err = Compile(Declaration{Schema: s, Features: []Spec{{"f", "1 +"}}})
	if got, want := fmt.Sprint(err), `feature "f": the expression ends too early (at byte 2)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	wrapped := fmt.Errorf("pipeline.yaml: %w", err)
	if got := Errors(wrapped); len(got) != 1 || got[0].Feature != "f" {
		t.Errorf("the errors of a wrapped error: %v", got)
	}
	if e, ok := errors.AsType[*Error](wrapped); !ok || e.Offset != 2 {
		t.Errorf("errors.As: %v", e)
	}
	if got := Errors(errors.New("other")); got != nil {
		t.Errorf("the errors of another error: %v", got)
	}
}

// TestBounds compiles what is too large.
func TestBounds(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	var wide []Spec
	for i := range 2400 {
		wide = append(wide, Spec{fmt.Sprintf("f%d", i), "price" + strings.Repeat(fmt.Sprintf(" + %d", i+1000), 15)})
	}
	names := make([]string, len(wide))
	for i := range wide {
		names[i] = wide[i].Name
	}
	var patterns strings.Builder
	for i := range maxPatterns + 1 {
		fmt.Fprintf(&patterns, "matches(city, 'a%d') or ", i)
	}
	for name, c := range map[string]struct {
		specs  []Spec
		inputs []string
		want   string
	}{
		"expression": {[]Spec{{"f", strings.Repeat(" ", maxExpression) + "1"}}, nil, "longer than 16 KiB"},
		"nesting":    {[]Spec{{"f", strings.Repeat("(", maxExpression-1) + "1"}}, nil, "the expression ends too early"},
		"features":   {make([]Spec, maxFeatures+1), nil, "4097 features"},
		"inputs":     {nil, make([]string, maxInputs+1), "8193 inputs"},
		"program":    {wide, names, "too large together"},
		"pattern":    {[]Spec{{"f", "matches(city, '" + strings.Repeat("a", maxPattern+1) + "')"}}, nil, "longer than 1000 bytes"},
		"patterns":   {[]Spec{{"f", patterns.String() + "true"}}, nil, "more than 256 regular expressions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Compile(Declaration{Schema: s, Features: c.specs, Inputs: c.inputs}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.200v, want %s", err, c.want)
			}
		})
	}
	// The parser shares nodes: without care each ?: would double the work.
	shared := "price > 1" + strings.Repeat(" ?: price > 2", 1000)
	if _, err := CompilePredicate(s, shared); err != nil {
		t.Error(err)
	}
	if _, err := CompilePredicate(s, "price > 1"+strings.Repeat(" ?: price > '2'", 500)); err == nil {
		t.Error("no error")
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, want string }{
		{"sqft_livng", `did you mean "sqft_living"?`},
		{"SQFT_LOT", `did you mean "sqft_lot"?`},
		{"latitude", ""},
		{"x", ""},
		{"", ""},
	} {
		if got := suggest(c.name, []string{"sqft_living", "sqft_lot", "city"}); got != c.want {
			t.Errorf("%q: %q, want %q", c.name, got, c.want)
		}
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("distance: %d", d)
	}
}

func mustSchema(t testing.TB, fields ...record.Field) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
