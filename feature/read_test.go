package feature

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"millrace.dev/record"
)

// everySpec uses every kind of instruction and literal.
func everySpec() []Spec {
	return []Spec{
		{"n", "(x + 1 - y * 2 / 3) % 7 ** x + abs(-x) + floor(x) + ceil(x) + round(x) + sqrt(x) + log(x) + log1p(x) + exp(x) + min(x, y) + max(x, y)"},
		{"dates", "year(d) + month(d) + day(d) + hour(d, 'Asia/Tokyo') + minute(d) + second(d) + weekday(g ?? d) + day_of_year(d) + unix(x > 1 ? d : g) + days_since(d, time('2000-01-01'))"},
		{"b", "x < y or e <= s and d == g or not (x in [1, 2] and s in ['a', 'b'] or d in [time('2014-05-02')]) or is_missing(x) and is_missing(e) and is_missing(d) and is_missing(x > 1)"},
		{"b2", "(x > 1 ? e startsWith 'W' : s endsWith 'x') ?? (contains(s, u) == matches(s, '^a+$'))"},
		{"t", "lower(e) + upper(s) + trim(u) + replace(s, 'a', 'b') + s[1:3] + s[x:] + extract(s, '(a)(b)', 2) + text(x) + text(x > 1) + (x > 2 ? s : u ?? 'z')"},
		{"e2", "e[3:]"},
		{"n2", "number(e[3:]) + len(s) + number(x > 2) + (x > 1 ? x : nil) + (y ?? 0) + coalesce(x, y, 3)"},
		{"none", "1 / 0"},
	}
}

func everyInput() []string {
	return []string{"n", "dates", "b", "b2", "t", "e2", "n2", "none", "e", "x"}
}

func fittedBytes(t testing.TB) []byte {
	t.Helper()
	p := compile(t, randomSchema(), everySpec(), everyInput()...)
	f := p.NewFitter()
	f.Add(anyBatch(p.Schema(), nil), nil, Enrichment{})
	fitted, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return encoded(t, fitted)
}

// anyBatch fills a few rows of any schema.
func anyBatch(s *record.Schema, levels map[string][]string) *record.Batch {
	b := record.NewBatch(s, levels)
	numbers, texts, times := someNumbers(), someTexts(), someTimes()
	for i := range 30 {
		b.Append(record.Raw{})
		for f := range s.Len() {
			at := i*(f+1) + f
			if at%5 == 4 {
				continue
			}
			switch s.Field(f).Type {
			case record.Numeric:
				b.Numbers(f)[i] = numbers[at%len(numbers)]
			case record.Enum:
				b.Codes(f)[i] = b.Dict(f).Code([]byte(texts[at%len(texts)]))
			case record.Time:
				b.Times(f)[i] = times[at%len(times)].UnixMicro()
			default:
				b.Texts(f).Set(i, []byte(texts[at%len(texts)]))
			}
		}
	}
	return b
}

// sameFrame tells whether two frames are equal, bit for bit.
func sameFrame(a, b *record.Frame) error {
	for k := range a.Columns {
		x, y := &a.Columns[k], &b.Columns[k]
		for i := range a.Rows {
			if x.Type == record.Enum && x.Codes[i] != y.Codes[i] || x.Type == record.Numeric && math.Float64bits(x.Numbers[i]) != math.Float64bits(y.Numbers[i]) {
				return fmt.Errorf("%s differs in row %d", x.Name, i)
			}
		}
	}
	return nil
}

func TestReadPlan(t *testing.T) {
	t.Parallel()
	first := fittedBytes(t)
	p, err := ReadPlan(first)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded(t, p), first) {
		t.Error("read, the plan has other bytes")
	}
	compiled := compile(t, randomSchema(), everySpec(), everyInput()...)
	f := compiled.NewFitter()
	f.Add(anyBatch(compiled.Schema(), nil), nil, Enrichment{})
	fitted, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	b := anyBatch(p.Schema(), p.Levels())
	if err := sameFrame(p.NewEvaluator().Eval(b, Enrichment{}), fitted.NewEvaluator().Eval(b, Enrichment{})); err != nil {
		t.Error(err)
	}
	if p.Digest() != fitted.Digest() {
		t.Error("read, the plan has another digest")
	}
}

// TestReadPlanRefuses changes one thing of a good plan at a time.
func TestReadPlanRefuses(t *testing.T) {
	t.Parallel()
	good := string(fittedBytes(t))
	for _, c := range []struct{ old, with, want string }{
		{`{"feature_plan":1`, `{"feature_plan":2`, "version 2"},
		{`{"feature_plan":1`, ` {"feature_plan":1`, "not those of a plan"},
		{`{"feature_plan":1`, `{"feature_plan":1,"more":1`, "not those of a plan"},
		{`{"feature_plan":1`, `{"Feature_plan":1`, "not those of a plan"},
		{`"type":"time"`, `"type":"date"`, "no such type"},
		{`"schema"`, `"shema"`, "schema: "},
		{`"schema":[`, `"schema":null,"s":[`, "schema: not a list"},
		{`{"op":"column","field":"x"}`, `{"op":"column","field":"zz"}`, `no field "zz"`},
		{`{"op":"column","field":"x"}`, `{"op":"column","field":"e"}`, "no instruction"},
		{`{"op":"column","field":"x"}`, `{"op":"add","args":[0,0]}`, "argument 0 is not a value before it"},
		{`"args":[0,1]`, `"args":[0,-1]`, "argument -1 is not"},
		{`"args":[0,1]`, `"args":[0,99999]`, "argument 99999 is not"},
		{`"args":[0,1]`, `"args":[0,1,1,1]`, "4 arguments"},
		{`"args":[0,1]`, `"args":[0,99999999999]`, "cannot unmarshal"},
		{`{"op":"sqrt"`, `{"op":"root"`, `no instruction "root"`},
		{`{"op":"sqrt"`, `{"zone":"UTC","op":"sqrt"`, "not those of a plan"},
		{`{"op":"sqrt"`, `{"op":"lower"`, `no instruction "lower" takes (n)`},
		{`"number":2}`, `"number":2.0}`, "not those of a plan"},
		{`"number":2}`, `"number":1e999}`, "cannot unmarshal"},
		{`"number":2}`, `"text":"2"}`, "not those of a plan"},
		{`"numbers":[1,2]`, `"numbers":[2,1]`, "must be sorted"},
		{`"numbers":[1,2]`, `"numbers":[]`, "not empty"},
		{`"numbers":[1,2]`, `"texts":["a"]`, "of the right type"},
		{`"numbers":[1,2]`, `"numbers":[1,1]`, "must be sorted"},
		{`"texts":["a","b"]`, `"texts":["a","a"]`, "must be sorted"},
		{`"times":[1398988800000000]`, `"times":[5,4]`, "must be sorted"},
		{`"time":946684800000000`, `"time":-9223372036854775808`, "the missing one"},
		{`"pattern":"^a+$"`, `"pattern":"("`, "not a regular expression"},
		{`"pattern":"^a+$"`, `"pattern":"(abcdefghi){999}"`, "too large"},
		{`"pattern":"^a+$"`, `"pattern":"` + strings.Repeat("a", maxPattern+1) + `"`, "longer than"},
		{`,"pattern":"^a+$"`, ``, "no regular expression"},
		{`"group":2`, `"group":3`, "group 3"},
		{`"group":2`, `"group":-1`, "no group"},
		{`"zone":"Asia/Tokyo"`, `"zone":"Asia/Tokio"`, "no zone"},
		{`"zone":"Asia/Tokyo"`, `"zone":""`, "nothing needs one of the zones"},
		{`"from":[`, `"from":[1,`, "a time zone of"},
		{`"offset":[32400`, `"offset":[324000`, "26 hours"},
		{`"from":[-2208988800`, `"from":[-2208988801`, "out of order"},
		{`{"name":"n","type":"numeric"`, `{"name":"n","type":"enum"`, "not those of a plan"},
		{`{"name":"n","type":"numeric"`, `{"name":"","type":"numeric"`, "no name"},
		{`{"name":"n","type":"numeric"`, `{"name":"x","type":"numeric"`, "comes twice"},
		{`{"name":"n","type":"numeric","value":`, `{"name":"n","type":"numeric","levels":[],"value":`, "a number with levels"},
		{`{"name":"n","type":"numeric","value":`, `{"name":"n","type":"numeric","value":9999`, "no value 9999"},
		{`{"name":"e2","type":"enum"`, `{"name":"e2","type":"enum","levels":["b","a"]`, "not those"},
		{`"levels":["",`, `"levels":["","",`, "not sorted"},
		{`{"name":"b2","type":"numeric","value":`, `{"name":"b2","type":"numeric","value":0,"x":`, "nothing needs value"},
		{"}\n", "}", "not those of a plan"},
		{"}\n", "}\n\n", "not those of a plan"},
		{"}\n", "}\n{}", "after top-level value"},
		{`"program":[`, `"program":{`, "read plan"},
		{`"program":[`, `"program":7,"p":[`, "not a list"},
		{`"inputs":[`, `"inputs":null,"i":[`, "not a list"},
	} {
		i := strings.LastIndex(good, c.old)
		if i < 0 {
			t.Errorf("the plan has no %s", c.old)
			continue
		}
		if c.old != "}\n" { // the first of the others
			i = strings.Index(good, c.old)
		}
		bad := good[:i] + c.with + good[i+len(c.old):]
		if _, err := ReadPlan([]byte(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v, want %s", c.with, c.old, err, c.want)
		}
	}
	if _, err := ReadPlan(make([]byte, maxPlanBytes+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a plan that is too long: %v", err)
	}
	many := `{"feature_plan":1,"schema":[{"name":"a","type":"numeric"}],"program":[` + strings.Repeat(`{},`, maxProgram) + `{}],"inputs":[]}`
	if _, err := ReadPlan([]byte(many)); err == nil || !strings.Contains(err.Error(), "more than 32768") {
		t.Errorf("too many values: %v", err)
	}
}

// TestReadPlanSeeds has the faults of seeds.
func TestReadPlanSeeds(t *testing.T) {
	t.Parallel()
	s := randomSchema()
	f := compile(t, s, []Spec{{"f", "e[1:] + column('odd name')"}}, "f").NewFitter()
	f.Add(anyBatch(s, nil), nil, Enrichment{})
	p, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	for name, seeds := range map[string][]seed{
		"a field that is not used": {{0, nil}},
		"a field that is no enum":  {{4, nil}},
		"out of order":             {p.seeds[1], p.seeds[0]},
		"twice":                    {p.seeds[0], p.seeds[0]},
		"levels out of order":      {{2, []string{"b", "a"}}},
		"too many levels":          {{2, make([]string, maxSeeds+1)}},
	} {
		bad := *p
		bad.seeds = seeds
		if _, err := ReadPlan(encoded(t, &bad)); err == nil || !strings.Contains(err.Error(), "seeds") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadPlan(encoded(t, p)); err != nil {
		t.Error(err)
	}
}
