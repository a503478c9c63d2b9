package feature

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// TestBetween holds `x between low and high` to between(x, low, high).
func TestBetween(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	for expr, want := range map[string]string{
		"price between 1 and 2":                                  "between(price, 1, 2)",
		"price between -1 and sqft_lot * 2 + 1":                  "between(price, -1, sqft_lot * 2 + 1)",
		"price + 1 between 1 and 2 and bedrooms > 1":             "between(price + 1, 1, 2) and bedrooms > 1",
		"bedrooms > 1 and price between 1 and 2 or floors == 1":  "bedrooms > 1 and between(price, 1, 2) or floors == 1",
		"price not between 1 and 2":                              "not (between(price, 1, 2))",
		"not (price between (1) and (2))":                        "not (between(price, 1, 2))",
		"price between 1 and 2 and floors between 3 and 4":       "between(price, 1, 2) and between(floors, 3, 4)",
		"city between 'a'and'b'":                                 "between(city, 'a', 'b')",
		"(price between 1 and 2) ? price between 3 and 4 : true": "between(price, 1, 2) ? between(price, 3, 4) : true",
		"date between time('2014-01-01') and time('2015-01-01')": "between(date, time('2014-01-01'), time('2015-01-01'))",
		"len('é') + price between 1 and 2":                       "between(len('é') + price, 1, 2)",
		"price between min(1, floors) and max(floors, 3)":        "between(price, min(1, floors), max(floors, 3))",
		"between(price between 1 and 2 ? 1 : 0, 0, 1)":           "between(between(price, 1, 2) ? 1 : 0, 0, 1)",
		`country == "a between b and c"`:                         `country == "a between b and c"`,
	} {
		plan := func(e string) string {
			p := fitOn(t, compile(t, s, []Spec{{"f", e}}, "f"), houseBatch(t, s, nil, 10))
			return p.Digest()
		}
		if plan(expr) != plan(want) {
			t.Errorf("%s is not %s", expr, want)
		}
	}
	got, err := Conjuncts("price between 1 and 2 and bedrooms > 1")
	if err != nil || !slices.Equal(got, []string{"price between 1 and 2", "bedrooms > 1"}) {
		t.Errorf("conjuncts: %q, %v", got, err)
	}
}

// rulePlan is a fitted plan over few rows, with inputs of every kind, and features that are no inputs.
func rulePlan(t testing.TB) (fitted, unfitted *Plan) {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "y", Type: record.Numeric}, record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "z", Type: record.Numeric},
		record.Field{Name: "city", Type: record.Enum}, record.Field{Name: "code", Type: record.Enum}, record.Field{Name: "idle", Type: record.Enum},
		record.Field{Name: "note", Type: record.String}, record.Field{Name: "at", Type: record.Time},
	)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := record.NewSchema(record.Field{Name: "income", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	d := Declaration{
		Schema: s, Label: "y", Tables: []Table{{Name: "zips", Schema: rows}},
		Windows: []Window{{Name: "sales", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "count()"}}}},
		Features: []Spec{
			{"ratio", "x / z"},
			{"tag", "code[:1]"},
			{"rich", "zips[city].income"},
			{"sold", "sales.n"},
			{"hot", "one_hot(city)"},
			{"mean", "target_mean(city)"},
			{"double", "ratio * 2"},
			{"scaled", "standard(x)"},
			{"poor", "zips[city].income < 3"},
			{"kind", "bucketize(x, splits: [0, 2, 4], output: \"index\")"},
		},
		Inputs: []string{"x", "city", "ratio", "tag", "rich", "sold", "hot", "mean"},
	}
	if unfitted, err = Compile(d); err != nil {
		t.Fatal(err)
	}
	b := ruleRows(s, nil, [][5]string{{"1", "2", "Kent", "A1", "n"}, {"3", "4", "Auburn", "B1", "n"}, {"2", "2", "Kent", "B2", "n"}})
	b.Numbers(0)[0], b.Numbers(0)[1], b.Numbers(0)[2] = 1, 2, 3
	for fitted = unfitted; !fitted.Fitted(); {
		f := fitted.NewFitter()
		f.Add(b, nil, Enrichment{Windows: [][]float64{{1, 2, 3}}})
		if fitted, err = f.Plan(); err != nil {
			t.Fatal(err)
		}
	}
	return fitted, unfitted
}

// ruleRows makes rows of x, z, city, code and note; "" is missing.
func ruleRows(s *record.Schema, levels map[string][]string, rows [][5]string) *record.Batch {
	b := record.NewBatch(s, levels)
	for i, r := range rows {
		b.Append(record.Raw{})
		for k, name := range []string{"x", "z", "city", "code", "note"} {
			f, _ := s.Index(name)
			switch {
			case r[k] == "":
			case s.Field(f).Type == record.Numeric:
				_, _ = fmt.Sscan(r[k], &b.Numbers(f)[i])
			case s.Field(f).Type == record.Enum:
				b.Codes(f)[i] = b.Dict(f).Code([]byte(r[k]))
			default:
				b.Texts(f).Set(i, []byte(r[k]))
			}
		}
	}
	return b
}

func rule(exprs ...string) []Rule {
	var out []Rule
	for i, e := range exprs {
		out = append(out, Rule{fmt.Sprintf("r%d", i), e})
	}
	return out
}

func trainedRanges() []TrainingRange {
	return []TrainingRange{{"x", 1, 3}, {"z", 2, 4}, {"ratio", 0.5, 1}, {"hot_Kent", 0, 1}, {"sold", math.NaN(), math.NaN()}}
}

// TestRules holds what rules say of records, in an evaluator and in a probe.
func TestRules(t *testing.T) {
	t.Parallel()
	p, _ := rulePlan(t)
	const kept, missing, broken = "+", "?", "-"
	rows := [][5]string{ // x, z, city, code, note
		{"2", "2", "Kent", "A9", "a"},
		{"5", "1", "Mars", "C1", "ab"},
		{"", "", "", "", ""},
		{"0", "0", "Auburn", "", "b"},
	}
	for expr, want := range map[string]string{
		"x between 1 and 3":                   "+-?-",
		"x > 1":                               "++?-",
		"not is_missing(x)":                   "++-+",
		"is_missing(x)":                       "--+-",
		"(x ?? 9) < 6":                        "++-+",
		"x in training":                       "+-?-",
		"x not in training":                   "-+?+",
		"city in training":                    "+-?+",
		"tag in training":                     "+-??",
		"code in training":                    "--??",
		"ratio in training":                   "+-??", // 0/0 is missing
		"ratio between 0.5 and 1":             "+-??",
		"double == ratio * 2":                 "++??",
		"hot_Kent == 1":                       "+---",
		"hot_Kent in training":                "++++",
		"note == \"a\"":                       "+-?-",
		"matches(note, '^a')":                 "++?-",
		"x == 0 or x >= z":                    "++?+",
		"city == 'Kent' and x < 3":            "+-?-",
		"city == 'Mars' or x in training":     "++?-",
		"kind == 1 or kind == 0":              "+??+",
		"is_missing(rich)":                    "++++",
		"column(\"x\") in training":           "+-?-",
		"x in training ? z > 1 : x > 4":       "++?-",
		"is_missing(x) or x in training":      "+-+-",
		"sold in training":                    "????",
		"mean >= 0":                           "+??+",
		"(x between 1 and 3) == (x in [2,3])": "++?+",
	} {
		r, err := p.CompileRules("y", rule(expr), trainedRanges())
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		b := ruleRows(p.Schema(), p.Levels(), rows)
		e := r.NewEvaluator()
		e.Eval(b, Enrichment{})
		var lost []Broken
		for i, v := range want {
			if string(v) == broken {
				lost = append(lost, Broken{int32(i), 0})
			}
			probe := r.NewProbe()
			verdict := probe.Eval(ruleRows(p.Schema(), p.Levels(), rows[i:i+1]), Enrichment{})[0]
			if got := map[Verdict]string{VerdictKept: kept, VerdictMissing: missing, VerdictBroken: broken}[verdict]; got != string(v) {
				t.Errorf("%s: row %d: %s, want %c", expr, i, got, v)
			}
		}
		if diff := cmp.Diff(lost, slices.Clone(e.Broken())); diff != "" {
			t.Errorf("%s: %s", expr, diff)
		}
	}
}

// TestBadRules holds what is said of rules that cannot be tested, with a model and when the file is read.
func TestBadRules(t *testing.T) {
	t.Parallel()
	fitted, unfitted := rulePlan(t)
	for _, c := range []struct{ expr, msg, hint string }{
		{"«xx» > 1", `no column or feature is called "xx"`, `did you mean "x"?`},
		{"«y» > 1", "it uses the label, which the records of a stream do not have yet", ""},
		{"«x + 1»", "the rule is a number, not a condition", "compare it with something"},
		{"«1 < 2»", "the rule is true for every record", "use a field or a feature"},
		{"«1 > 2»", "the rule is false for every record", ""},
		{"«x == nil»", `"==" cannot be applied to number and nil`, "is_missing(x) tests for a missing value"},
		{"«1 / 0 > 1»", "the rule is missing for every record", "is_missing(x)"},
		{"«city > 3»", `">" cannot be applied to text and number`, "number(t)"},
		{"«idle» in training", "training knows no levels of idle", "it knows those of inputs"},
		{"«note» in training", "training knows no levels of note", "it knows those of inputs"},
		{"«at» in training", "in training takes a number or a text, not a time", ""},
		{"(«x > 1») in training", "in training needs a field or a feature", "make a feature of the expression"},
		{"«double» in training", "double is no input of the model: training knows nothing of it", "take it out of train.ignore"},
		{"«scaled» > 1", "scaled is no input of the model, and what it is made of is known to a model alone", "take it out of train.ignore"},
		{"«poor»", "poor is no input of the model", "take it out of train.ignore"},
		{"«hot» == 1", "hot is a vector", "name an element of it, such as hot_0"},
		{"«standard(x)» > 1", "standard learns from the training rows, and a rule does not", "make a feature of it"},
		{"«zips[city].income» > 1", "a rule looks up no rows and reads no windows", "make a feature of it"},
		{"«sales.n» > 1", "a rule looks up no rows and reads no windows", "make a feature of it"},
		{"x >«»", "the expression ends too early", ""},
	} {
		expr := strings.NewReplacer("«", "", "»", "").Replace(c.expr)
		for name, p := range map[string]*Plan{"fitted": fitted, "unfitted": unfitted} {
			_, err := p.CompileRules("y", rule(expr), trainedRanges())
			faults := Errors(err)
			if strings.HasSuffix(c.msg, "for every record") && p == fitted {
				if err != nil {
					t.Errorf("%s, %s: %v", expr, name, err)
				}
				continue
			}
			if len(faults) != 1 {
				t.Errorf("%s, %s: %v", expr, name, err)
				continue
			}
			e := faults[0]
			if e.Feature != "r0" || !strings.Contains(e.Msg, c.msg) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("%s, %s: %+v", expr, name, e)
			}
			if from := strings.Index(c.expr, "«"); c.expr != "x >«»" && (e.Offset != from || e.Length != strings.Index(c.expr, "»")-from-len("«")) {
				t.Errorf("%s, %s: at %d, %d bytes", expr, name, e.Offset, e.Length)
			}
		}
	}
	// What only a model knows is an error with one alone.
	for expr, msg := range map[string]string{
		"z in training": "", "ratio in training": "", "hot_Kent == 1": "", "mean in training": "the model has no range of mean", "hot_Mars == 1": `no column or feature is called "hot_Mars"`,
	} {
		if _, err := unfitted.CompileRules("y", rule(expr), nil); err != nil {
			t.Errorf("unfitted: %s: %v", expr, err)
		}
		_, err := fitted.CompileRules("y", rule(expr), trainedRanges())
		if msg == "" && err != nil || msg != "" && (err == nil || !strings.Contains(err.Error(), msg)) {
			t.Errorf("fitted: %s: %v", expr, err)
		}
	}
}

func TestRuleDescription(t *testing.T) {
	t.Parallel()
	fitted, unfitted := rulePlan(t)
	rules := rule("x > 1 and ratio < 2 and x < 3", "city in training", "mean > 1", "double > 1", "hot_Kent > 0")
	trained := map[*Plan][]bool{fitted: {false, true, false, false, false}, unfitted: {false, true, true, false, true}}
	columns := [][]string{{"x", "ratio"}, {"city"}, {"mean"}, {"double"}, {"hot_Kent"}}
	for p, want := range trained {
		r, err := p.CompileRules("y", rules, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rules {
			if r.Rule(i) != rules[i] || r.Trained(i) != want[i] {
				t.Errorf("rule %d: %+v, trained %t", i, r.Rule(i), r.Trained(i))
			}
			if diff := cmp.Diff(columns[i], r.Columns(i)); diff != "" {
				t.Errorf("rule %d: %s", i, diff)
			}
		}
		verdicts := r.NewProbe().Eval(ruleRows(p.Schema(), nil, [][5]string{{"2", "2", "Kent", "A1", ""}}), Enrichment{})
		for i, v := range verdicts {
			if (v == VerdictUnknown) != (want[i] && p == unfitted) {
				t.Errorf("rule %d: verdict %d", i, v)
			}
		}
	}
}

// TestRulesChangeNothing evaluates with and without rules, in batches of any size: the inputs and the counts are the same bits,
// and each row breaks what it breaks alone.
func TestRulesChangeNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	p, _ := rulePlan(t)
	r, err := p.CompileRules("y", rule("x between 1 and 3", "city in training", "tag in training", "ratio > 0.6", "is_missing(z) or kind < 2", "hot_Kent == 1 or double > 2"), trainedRanges())
	if err != nil {
		t.Fatal(err)
	}
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	plain, checked := p.NewEvaluator(), r.NewEvaluator()
	for range 20 {
		rows := make([][5]string, rng.IntN(600))
		for i := range rows {
			rows[i] = [5]string{pick("", "0", "1", "2", "5", "NaN"), pick("", "0", "2", "4"), pick("", "Kent", "Auburn", "Mars", "Moon"), pick("", "A1", "C2"), pick("", "n")}
		}
		b := ruleRows(p.Schema(), p.Levels(), rows)
		if len(rows) > 0 {
			b.Reject(rng.IntN(len(rows)), record.Problem{Stage: record.StageDecode})
		}
		want, got := plain.Eval(b, Enrichment{}), checked.Eval(b, Enrichment{})
		for k := range want.Columns {
			w, g := &want.Columns[k], &got.Columns[k]
			same := slices.Equal(w.Codes, g.Codes) && slices.EqualFunc(w.Numbers, g.Numbers, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
			if !same || w.Name != g.Name {
				t.Fatalf("seed %d: input %s differs", seed, w.Name)
			}
		}
		var alone []Broken
		for i := range rows {
			one := r.NewEvaluator()
			one.Eval(ruleRows(p.Schema(), p.Levels(), rows[i:i+1]), Enrichment{})
			for _, x := range one.Broken() {
				if b.Problem(i) == nil {
					alone = append(alone, Broken{int32(i), x.Rule})
				}
			}
		}
		if diff := cmp.Diff(alone, append([]Broken(nil), checked.Broken()...)); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
	if diff := cmp.Diff(plain.Counts(), checked.Counts()); diff != "" {
		t.Errorf("seed %d: %s", seed, diff)
	}
	if diff := cmp.Diff(plain.FittedCounts(), checked.FittedCounts()); diff != "" || len(p.Fits()) != len(checked.FittedCounts()) {
		t.Errorf("seed %d: %s", seed, diff)
	}
}

// houseRules are six rules for the example pipeline.
func houseRules() ([]Rule, []TrainingRange) {
	return []Rule{
		{"living", "sqft_living between 200 and 15000"},
		{"renovated", "yr_renovated == 0 or yr_renovated >= yr_built"},
		{"zip", "statezip in training"},
		{"bedrooms", "bedrooms in training"},
		{"age", "age >= 0"},
		{"price", "not is_missing(sqft_lot)"},
	}, []TrainingRange{{"bedrooms", 0, 4000}}
}

func TestRulesAllocate(t *testing.T) { //nolint:paralleltest // it counts allocations
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s := houseSchema(t)
	p := fitOn(t, compile(t, s, houseSpecs(), houseInputs()...), houseBatch(t, s, nil, 700))
	rules, ranges := houseRules()
	r, err := p.CompileRules("price", rules, ranges)
	if err != nil {
		t.Fatal(err)
	}
	b, e := houseBatch(t, s, p.Levels(), 700), r.NewEvaluator()
	for range 10 {
		e.Eval(b, Enrichment{})
	}
	if n := testing.AllocsPerRun(10, func() { e.Eval(b, Enrichment{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkRules evaluates what the example pipeline's model takes, without rules and with six.
func BenchmarkRules(b *testing.B) {
	const rows = 1024
	s := houseSchema(b)
	inputs := []string{
		"bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated",
		"waterfront", "view", "condition", "city", "statezip", "age", "renovated", "living_share", "zip",
	}
	p := fitOn(b, compile(b, s, houseSpecs(), inputs...), houseBatch(b, s, nil, rows))
	rules, ranges := houseRules()
	for _, n := range []int{0, len(rules)} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			r, err := p.CompileRules("price", rules[:n], ranges)
			if err != nil {
				b.Fatal(err)
			}
			batch, e := houseBatch(b, s, p.Levels(), rows), r.NewEvaluator()
			lot, _ := s.Index("sqft_living")
			renovated, _ := s.Index("yr_renovated")
			built, _ := s.Index("yr_built")
			for i := range rows { // as nearly all records are
				batch.Numbers(lot)[i] = 1000
				batch.Numbers(renovated)[i], batch.Numbers(built)[i] = 0, 1980
			}
			b.ReportAllocs()
			spent := processorTime(b)
			for b.Loop() {
				e.Eval(batch, Enrichment{})
			}
			b.ReportMetric(float64(processorTime(b)-spent)/float64(b.N)/rows, "cpu-ns/record")
		})
	}
}
