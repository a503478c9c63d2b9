package feature

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"millrace.dev/record"
)

// fitOn returns the plan fitted on b.
func fitOn(t testing.TB, p *Plan, b *record.Batch) *Plan {
	t.Helper()
	f := p.NewFitter()
	f.Add(b, nil, Enrichment{})
	fitted, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return fitted
}

// TestEvalAllocates nothing, once it has seen a batch of the size, whatever the expressions: also with levels that
// training has not seen.
func TestEvalAllocates(t *testing.T) { //nolint:paralleltest // it counts allocations
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for name, c := range map[string]struct {
		specs  []Spec
		inputs []string
	}{
		"houses": {houseSpecs(), houseInputs()},
		"numbers": {[]Spec{
			{"a", "(price + 1) * 2 / sqft_lot - 3 % 7 ** 2.5"},
			{"b", "exp(log(price)) + sqrt(abs(-price)) + min(floor(price), ceil(price), round(price)) + log1p(price)"},
			{"c", "price > 3 and bedrooms in [1, 2, 3] or not (price == 2) ? 1 : nil"},
		}, []string{"a", "b", "c"}},
		"texts": {[]Spec{
			{"a", "upper(street) + lower(country) + text(price) + trim(city)"},
			{"b", "replace(street, 'Main', 'Broad') ?? street[1:-2]"},
			{"c", "starts_with(street, '1') or contains(street, city) or street in ['1 Main St']"},
			{"d", "number(city[3:]) + len(street)"},
		}, []string{"a", "b", "c", "d"}},
		"patterns": {[]Spec{
			{"a", "matches(street, '^1')"},
			{"b", "extract(street, '^[0-9]+', 0)"},
			{"c", "number(extract(city, '[0-9]+$'))"},
		}, []string{"a", "b", "c"}},
		"times": {[]Spec{
			{"a", "hour(date, 'America/Los_Angeles') + weekday(date) + days_since(date, time('2000-01-01')) + unix(date)"},
			{"b", "between(date, time('2014-05-02'), time('2014-06-02'))"},
		}, []string{"a", "b"}},
		"a group, which package regexp finds with one allocation": {[]Spec{{"a", "extract(city, '([0-9])+$')"}}, []string{"a"}},
	} {
		if name == "patterns" && raceDetector {
			continue // package regexp's pool then forgets at random
		}
		s := houseSchema(t)
		p := compile(t, s, c.specs, c.inputs...)
		p = fitOn(t, p, houseBatch(t, s, nil, 700))
		e := p.NewEvaluator()
		batches := map[string]*record.Batch{"known": houseBatch(t, s, p.Levels(), 700)}
		if !strings.HasPrefix(name, "a group") {
			batches["unseen"] = houseBatch(t, s, nil, 700)
		}
		for levels, b := range batches {
			for range 10 { // the arenas reach their size
				e.Eval(b, Enrichment{})
			}
			if n := testing.AllocsPerRun(10, func() { e.Eval(b, Enrichment{}) }); n != 0 {
				t.Errorf("%s, %s levels: %v allocations", name, levels, n)
			}
		}
	}
}

func TestPredicateAllocates(t *testing.T) { //nolint:paralleltest // it counts allocations
	s := houseSchema(t)
	p, err := CompilePredicate(s, "price > 0 and price < 5000000")
	if err != nil {
		t.Fatal(err)
	}
	b := houseBatch(t, s, nil, 700)
	dst := make([]bool, b.Len())
	if n := testing.AllocsPerRun(10, func() { p.Eval(b, dst) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkEval reports nanoseconds per value of each expression, less what an input that is a column costs.
func BenchmarkEval(b *testing.B) {
	const rows = 1024
	s := houseSchema(b)
	for _, expr := range []string{
		"price", "price + bedrooms", "sqft_living / sqft_lot", "price * 2", "yr_renovated > 0", "price > 0 and price < 5000000",
		"bedrooms in [1, 2, 3]", "price > 2000 ? price : bedrooms", "price ?? 0", "floor(price)", "log(price)", "exp(price / 1000)", "price ** 3",
		"price % 7", "year(date)", "hour(date, 'America/Los_Angeles')", "days_since(date, time('2014-01-01'))",
		"statezip[3:]", "number(statezip[3:]) + 1", "statezip matches '5$'", "city == statezip", "street[:3]", "lower(street)", "matches(street, 'Main')",
	} {
		b.Run(expr, func(b *testing.B) {
			p := compile(b, s, []Spec{{"f", expr}}, "f")
			p = fitOn(b, p, houseBatch(b, s, nil, rows))
			batch, e := houseBatch(b, s, p.Levels(), rows), p.NewEvaluator()
			b.ReportAllocs()
			for b.Loop() {
				e.Eval(batch, Enrichment{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/value")
		})
	}
}

// BenchmarkHouse evaluates what the example pipeline's model takes: 13 columns and 4 features.
func BenchmarkHouse(b *testing.B) {
	s := houseSchema(b)
	inputs := []string{
		"bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated",
		"waterfront", "view", "condition", "city", "statezip", "age", "renovated", "living_share", "zip",
	}
	for _, rows := range []int{64, 500, 2000} {
		for _, known := range []bool{true, false} {
			b.Run(fmt.Sprintf("rows=%d/known=%t", rows, known), func(b *testing.B) {
				p := fitOn(b, compile(b, s, houseSpecs(), inputs...), houseBatch(b, s, nil, rows))
				levels := p.Levels()
				if !known {
					levels = nil
				}
				batch, e := houseBatch(b, s, levels, rows), p.NewEvaluator()
				b.ReportAllocs()
				spent := processorTime(b)
				for b.Loop() {
					e.Eval(batch, Enrichment{})
				}
				b.ReportMetric(float64(processorTime(b)-spent)/float64(b.N)/float64(rows), "cpu-ns/record")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/record")
			})
		}
	}
}

// BenchmarkCompile compiles and reads the features of the example pipeline.
func BenchmarkCompile(b *testing.B) {
	s := houseSchema(b)
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			compile(b, s, houseSpecs(), houseInputs()...)
		}
	})
	stored := encoded(b, fitOn(b, compile(b, s, houseSpecs(), houseInputs()...), houseBatch(b, s, nil, 500)))
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(stored)))
		for b.Loop() {
			if _, err := ReadPlan(stored); err != nil {
				b.Fatal(err)
			}
		}
	})
}
