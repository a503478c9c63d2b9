package feature

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func houseSchema(t testing.TB) *record.Schema {
	t.Helper()
	fields := []record.Field{{Name: "date", Type: record.Time}}
	for _, n := range []string{
		"price", "bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated",
	} {
		fields = append(fields, record.Field{Name: n, Type: record.Numeric})
	}
	for _, n := range []string{"waterfront", "view", "condition", "city", "statezip"} {
		fields = append(fields, record.Field{Name: n, Type: record.Enum})
	}
	for _, n := range []string{"id", "street", "country"} {
		fields = append(fields, record.Field{Name: n, Type: record.String})
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func houseSpecs() []Spec {
	return []Spec{
		{"zip", "statezip[3:]"},
		{"age", "year(date) - yr_built"},
		{"renovated", "yr_renovated > 0"},
		{"living_share", "sqft_living / sqft_lot"},
	}
}

func houseInputs() []string {
	return []string{"zip", "age", "renovated", "living_share", "bedrooms", "city", "statezip"}
}

func compile(t testing.TB, s *record.Schema, specs []Spec, inputs ...string) *Plan {
	t.Helper()
	p, err := Compile(Declaration{Schema: s, Features: specs, Inputs: inputs})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func encoded(t testing.TB, p *Plan) []byte {
	t.Helper()
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGolden holds the encoded plan of the house features against a file. MILLRACE_UPDATE=1 writes the file.
func TestGolden(t *testing.T) {
	t.Parallel()
	p := compile(t, houseSchema(t), houseSpecs(), houseInputs()...)
	got := append(encoded(t, p), p.Digest()+"\n"...)
	file := filepath.Join("testdata", "house_plan.json")
	if os.Getenv("MILLRACE_UPDATE") != "" {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"date", "bedrooms", "sqft_living", "sqft_lot", "yr_built", "yr_renovated", "city", "statezip"}, p.Used()); diff != "" {
		t.Error(diff)
	}
}

// TestDigest has expressions that must, and must not, make the same plan.
func TestDigest(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	digest := func(specs ...Spec) string { return compile(t, s, specs, "a").Digest() }
	base := digest(Spec{"a", "sqft_living / sqft_lot + year(date) ** 2"})
	for name, specs := range map[string][]Spec{
		"white space":        {{"a", "sqft_living\t/\nsqft_lot+year( date )**2"}},
		"comments":           {{"a", "sqft_living / /* the plot */ sqft_lot + year(date) ** 2 // end"}},
		"brackets":           {{"a", "((sqft_living / sqft_lot)) + (year(date) ** (2))"}},
		"other features":     {{"z", "lower(city)"}, {"a", "sqft_living / sqft_lot + year(date) ** 2"}},
		"parts named":        {{"a", "share + y ** 2"}, {"y", "year(date)"}, {"share", "sqft_living / sqft_lot"}},
		"constants":          {{"a", "sqft_living / sqft_lot + year(date) ** (1 + 1.0)"}},
		"the same functions": {{"a", "sqft_living / sqft_lot + year(date, 'UTC') ** len('ab')"}},
	} {
		if got := digest(specs...); got != base {
			t.Errorf("%s: another digest", name)
		}
	}
	for name, expr := range map[string]string{
		"order":    "year(date) ** 2 + sqft_living / sqft_lot",
		"constant": "sqft_living / sqft_lot + year(date) ** 3",
		"column":   "sqft_living / sqft_above + year(date) ** 2",
		"zone":     "sqft_living / sqft_lot + year(date, 'Asia/Tokyo') ** 2",
	} {
		if digest(Spec{"a", expr}) == base {
			t.Errorf("%s: the same digest", name)
		}
	}
	p, q := compile(t, s, []Spec{{"a", "price+1"}}, "a"), compile(t, s, []Spec{{"a", "price + 1"}}, "a")
	if p.Digest() != q.Digest() || bytes.Equal(encoded(t, p), encoded(t, q)) || q.Source()[0].Expr != "price + 1" {
		t.Error("the source is in the bytes, and not in the digest")
	}
}

// TestProgram looks at what a program is made of.
func TestProgram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr string
		ops  string
	}{
		{"(price + 1) * (price + 1)", "column number add mul"},          // shared
		{"price + 2 * 3 - number('4')", "column number add number sub"}, // folded
		{"1 / 0", "number"}, // a missing constant
		{"year(time('2014-05-02')) + len('ab' + 'c')", "number"},                                  // all of it
		{"clip(price, 0, 9)", "column number max number min"},                                     // made of others
		{"between(price, 0, 9)", "number column at_most number at_most and"},                      //
		{"price != 1 ? price : nil", "column number equal not number select"},                     //
		{"price > bedrooms and bedrooms < price", "column column less and"},                       // the same test
		{"matches(city, 'a') or city matches 'a'", "column matches or"},                           // and pattern
		{"hour(date, 'Asia/Tokyo') + hour(date, 'UTC') + hour(date)", "column hour hour add add"}, //
		{"price in [3, 1, 3] or price in [1, 3]", "column in or"},                                 // and list
		{"-0.0 + price + 0 * price", "number column add number mul add"},                          // -0 is not 0
	} {
		p := compile(t, houseSchema(t), []Spec{{"f", c.expr}}, "f")
		var ops []string
		for i := range p.prog.values {
			ops = append(ops, newOpTable()[p.prog.values[i].op].name)
		}
		if got := strings.Join(ops, " "); got != c.ops {
			t.Errorf("%s: %s, want %s", c.expr, got, c.ops)
		}
	}
}

// TestRegisters tells that registers are used again, and constants are not.
func TestRegisters(t *testing.T) {
	t.Parallel()
	p := compile(t, houseSchema(t), []Spec{{"f", "price" + strings.Repeat(" + bedrooms * 2", 50)}}, "f")
	if got := p.layout.rows.counts[kindNumber]; got > 6 {
		t.Errorf("%d registers", got)
	}
	p = compile(t, houseSchema(t), []Spec{{"f", "lower(city) + upper(statezip[3:]) + lower(statezip)"}}, "f")
	if len(p.layout.levels) != 2 || len(p.layout.levels[0].tables) != 1 || len(p.layout.levels[1].tables) != 2 {
		t.Errorf("level blocks: %+v", p.layout.levels)
	}
}

func TestInputsAndLevels(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	p := compile(t, s, []Spec{{"zip", "statezip[3:]"}, {"new", "yr_built > 2000"}, {"town", "city"}}, "zip", "new", "town", "price")
	if p.Fitted() || len(p.Levels()) != 0 {
		t.Error("fitted already")
	}
	b := record.NewBatch(s, nil)
	at := func(name string) int { i, _ := s.Index(name); return i }
	for i, v := range [][2]string{{"Seattle", "WA 98155"}, {"Kent", "WA 98030"}, {"Seattle", "WA 98030"}, {"Rejected", "WA 1"}, {"Left out", "WA 2"}} {
		b.Append(record.Raw{})
		b.Codes(at("city"))[i] = b.Dict(at("city")).Code([]byte(v[0]))
		b.Codes(at("statezip"))[i] = b.Dict(at("statezip")).Code([]byte(v[1]))
	}
	b.Reject(3, record.Problem{Stage: record.StageDecode})
	f := p.NewFitter()
	f.Add(b, []bool{true, true, true, true, false}, Enrichment{})
	fitted, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	want := []record.Column{
		{Name: "zip", Type: record.Enum, Levels: []string{"98030", "98155"}},
		{Name: "new", Type: record.Numeric},
		{Name: "town", Type: record.Enum, Levels: []string{"Kent", "Seattle"}},
		{Name: "price", Type: record.Numeric},
	}
	if diff := cmp.Diff(want, fitted.Inputs()); diff != "" {
		t.Error(diff)
	}
	levels := map[string][]string{"city": {"Kent", "Seattle"}, "statezip": {"WA 98030", "WA 98155"}}
	if diff := cmp.Diff(levels, fitted.Levels()); diff != "" {
		t.Error(diff)
	}
	if p.Fitted() || !fitted.Fitted() || p.Digest() == fitted.Digest() || fitted.Schema() != s {
		t.Error("the fitted plan, or the plan before")
	}
	e := fitted.NewEvaluator()
	frame := e.Eval(b, Enrichment{})
	if diff := cmp.Diff([]int32{1, 0, 1, -1, -1}, frame.Columns[2].Codes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Counts{{0, 1}, {4, 0}, {0, 1}, {4, 0}}, e.Counts()); diff != "" {
		t.Error(diff)
	}
	if got := p.NewEvaluator().Eval(b, Enrichment{}).Columns[0].Codes[0]; got != record.MissingCode {
		t.Errorf("a plan that is not fitted has code %d", got)
	}
}

// TestTooManyLevels fits one level more than an input, and than a seed, can have.
func TestTooManyLevels(t *testing.T) {
	t.Parallel()
	s := mustSchema(t, record.Field{Name: "id", Type: record.Enum}, record.Field{Name: "name", Type: record.String})
	p := compile(t, s, []Spec{{"of_name", "name"}, {"start", "id[:1]"}}, "id", "of_name", "start")
	fill := func(n, from int) *Fitter {
		f, b := p.NewFitter(), record.NewBatch(s, nil)
		for i := range n {
			level := fmt.Appendf(nil, "%07d", from+i)
			b.Append(record.Raw{})
			b.Codes(0)[i] = b.Dict(0).Code(level)
			b.Texts(1).Set(i, level)
		}
		f.Add(b, nil, Enrichment{})
		return f
	}
	f := fill(40000, 0)
	f.Merge(fill(maxLevels-40000, 40000))
	fitted, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(fitted.Inputs()[0].Levels); n != maxLevels {
		t.Errorf("%d levels", n)
	}
	f.Merge(fill(40000, maxLevels-39999))
	_, err = f.Plan()
	want := []*Error{
		{Feature: "id", Msg: "it has more than 65535 levels in the training rows", Hint: "list it in ignore, or derive a feature of fewer levels"},
		{Feature: "of_name", Msg: "it has more than 65535 levels in the training rows", Hint: "list it in ignore, or derive a feature of fewer levels"},
	}
	if diff := cmp.Diff(want, Errors(err)); diff != "" {
		t.Error(diff)
	}
	// A field that only expressions use is no fault; it is just not seeded.
	p = compile(t, s, []Spec{{"start", "id[:1]"}}, "start")
	for n, seeded := range map[int]bool{maxSeeds: true, maxSeeds + 1: false} {
		fitted, err := fill(n, 0).Plan()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := fitted.Levels()["id"]; ok != seeded {
			t.Errorf("%d levels: seeded %t", n, ok)
		}
	}
}

// TestFitterMergesInAnyOrder compares the bytes of plans.
func TestFitterMergesInAnyOrder(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	p := compile(t, s, houseSpecs(), houseInputs()...)
	part := func(cities ...string) *Fitter {
		f, b := p.NewFitter(), record.NewBatch(s, nil)
		city, _ := s.Index("city")
		for i, c := range cities {
			b.Append(record.Raw{})
			b.Codes(city)[i] = b.Dict(city).Code([]byte(c))
		}
		f.Add(b, nil, Enrichment{})
		return f
	}
	plan := func(parts ...*Fitter) string {
		f := p.NewFitter()
		for _, o := range parts {
			f.Merge(o)
		}
		fitted, err := f.Plan()
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded(t, fitted))
	}
	a, b, c := part("Kent", "Seattle"), part(), part("Auburn", "Kent")
	if one, other := plan(a, b, c), plan(c, a, b, a); one != other || !strings.Contains(one, `"levels":["Auburn","Kent","Seattle"]`) {
		t.Errorf("%s\n%s", one, other)
	}
	defer func() {
		if recover() == nil {
			t.Error("fitters of different plans merged")
		}
	}()
	a.Merge(compile(t, s, nil, "city").NewFitter())
}

// TestBatchOfAnotherSchema evaluates batches whose schema has the fields, others among them, in another order.
func TestBatchOfAnotherSchema(t *testing.T) {
	t.Parallel()
	s := mustSchema(t, record.Field{Name: "a", Type: record.Numeric}, record.Field{Name: "unused", Type: record.Enum}, record.Field{Name: "b", Type: record.Numeric})
	e := compile(t, s, []Spec{{"f", "a - b"}}, "f").NewEvaluator()
	other := mustSchema(t, record.Field{Name: "b", Type: record.Numeric}, record.Field{Name: "c", Type: record.String}, record.Field{Name: "a", Type: record.Numeric})
	for range 2 {
		for _, s := range []*record.Schema{s, other} {
			b := record.NewBatch(s, nil)
			b.Append(record.Raw{})
			ia, _ := s.Index("a")
			ib, _ := s.Index("b")
			b.Numbers(ia)[0], b.Numbers(ib)[0] = 5, 3
			if got := e.Eval(b, Enrichment{}).Columns[0].Numbers[0]; got != 2 {
				t.Errorf("a - b = %v", got)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a batch without the field was taken")
		}
	}()
	e.Eval(record.NewBatch(mustSchema(t, record.Field{Name: "a", Type: record.Numeric}, record.Field{Name: "b", Type: record.Enum}), nil), Enrichment{})
}

// TestConcurrentUse shares a plan; the race detector judges.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	p := compile(t, houseSchema(t), houseSpecs(), houseInputs()...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b := houseBatch(t, p.Schema(), nil, 100)
			p.NewEvaluator().Eval(b, Enrichment{})
			f := p.NewFitter()
			f.Add(b, nil, Enrichment{})
			if _, err := f.Plan(); err != nil {
				t.Error(err)
			}
			p.Digest()
		})
	}
	wg.Wait()
}

// houseBatch returns n houses that differ, without any randomness.
func houseBatch(t testing.TB, s *record.Schema, levels map[string][]string, n int) *record.Batch {
	t.Helper()
	b := record.NewBatch(s, levels)
	for i := range n {
		b.Append(record.Raw{})
		for f := range s.Len() {
			switch s.Field(f).Type {
			case record.Numeric:
				b.Numbers(f)[i] = float64((i*7919 + f*104729) % 4001)
			case record.Enum:
				b.Codes(f)[i] = b.Dict(f).Code(fmt.Appendf(nil, "WA %d", 98001+(i*31+f)%77))
			case record.Time:
				b.Times(f)[i] = (1398988800 + int64(i)*3607) * 1e6
			default:
				b.Texts(f).Set(i, fmt.Appendf(nil, "%d Main St", i*13%977))
			}
		}
	}
	return b
}
