package feature_test

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// houses returns a schema and a batch of three houses.
func houses() (*record.Schema, *record.Batch) {
	s, err := record.NewSchema(
		record.Field{Name: "date", Type: record.Time},
		record.Field{Name: "price", Type: record.Numeric},
		record.Field{Name: "yr_built", Type: record.Numeric},
		record.Field{Name: "statezip", Type: record.Enum},
	)
	if err != nil {
		panic(err)
	}
	b := record.NewBatch(s, nil)
	for i, h := range []struct {
		price, built float64
		zip          string
	}{{313000, 1955, "WA 98133"}, {0, 1921, "WA 98119"}, {342000, 1966, "WA 98133"}} {
		b.Append(record.Raw{})
		b.Times(0)[i] = 1398988800e6 // 2014-05-02
		b.Numbers(1)[i], b.Numbers(2)[i] = h.price, h.built
		b.Codes(3)[i] = b.Dict(3).Code([]byte(h.zip))
	}
	return s, b
}

func Example() {
	schema, batch := houses()
	plan, err := feature.Compile(feature.Declaration{Schema: schema, Features: []feature.Spec{
		{Name: "zip", Expr: "statezip[3:]"},
		{Name: "age", Expr: "year(date) - yr_built"},
	}, Inputs: []string{"zip", "age"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Training: one pass finds the levels of zip.
	fitter := plan.NewFitter()
	fitter.Add(batch, nil, feature.Enrichment{})
	plan, err = fitter.Plan()
	if err != nil {
		fmt.Println(err)
		return
	}

	// Anywhere else: the same plan from its bytes.
	stored, err := plan.MarshalBinary()
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err = feature.ReadPlan(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	frame := plan.NewEvaluator().Eval(batch, feature.Enrichment{})
	zip, age := frame.Columns[0], frame.Columns[1]
	for i := range frame.Rows {
		fmt.Println(zip.Levels[zip.Codes[i]], age.Numbers[i])
	}
	// Output:
	// 98133 59
	// 98119 93
	// 98133 48
}

func ExampleCompilePredicate() {
	schema, batch := houses()
	where, err := feature.CompilePredicate(schema, "price > 0 and price < 5000000")
	if err != nil {
		fmt.Println(err)
		return
	}
	keep := make([]bool, batch.Len())
	where.Eval(batch, keep)
	fmt.Println(keep)
	// Output:
	// [true false true]
}

func ExampleErrors() {
	schema, _ := houses()
	_, err := feature.Compile(feature.Declaration{Schema: schema, Features: []feature.Spec{
		{Name: "zip", Expr: "statzip[3:]"},
		{Name: "age", Expr: "date - yr_built"},
	}, Inputs: []string{"zip", "age", "date"}})
	for _, e := range feature.Errors(err) {
		fmt.Printf("%s %d+%d: %s; %s\n", e.Feature, e.Offset, e.Length, e.Msg, e.Hint)
	}
	_, isOne := errors.AsType[*feature.Error](err)
	fmt.Println(isOne)
	// Output:
	// zip 0+7: no column or feature is called "statzip"; did you mean "statezip"?
	// age 0+15: "-" cannot be applied to time and number; derive a number: year(t), days_since(a, b), unix(t)
	// date 0+0: a time column cannot be an input; derive a feature, such as year(date), or list the column in ignore
	// true
}

// A program adds a function of its own. The plan stores its name and its version, and is read with the same one alone.
func ExampleFunction() {
	schema, batch := houses()
	perYear := feature.Function{
		Name: "per_year", Version: "1", Args: []feature.Type{feature.TypeNumber, feature.TypeNumber}, Result: feature.TypeNumber,
		Call: func(args []feature.Column, out *feature.Column) {
			for i, price := range args[0].Numbers {
				if years := args[1].Numbers[i]; price > 0 && years > 0 { // else the value stays missing
					out.Numbers[i] = math.Round(price / years)
				}
			}
		},
	}
	plan, err := feature.Compile(feature.Declaration{
		Schema: schema, Features: []feature.Spec{{Name: "cost", Expr: "per_year(price, year(date) - yr_built)"}}, Inputs: []string{"cost"},
		Functions: []feature.Function{perYear},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	stored, err := plan.MarshalBinary()
	if err != nil {
		fmt.Println(err)
		return
	}
	perYear.Version = "2"
	_, err = feature.ReadPlan(stored, perYear)
	fmt.Println(err)
	fmt.Println(plan.Functions(), plan.NewEvaluator().Eval(batch, feature.Enrichment{}).Columns[0].Numbers)
	// Output:
	// feature: read plan: program: value 5: the plan calls a function that is not given: it calls per_year@1, and per_year@2 is given
	// [per_year@1] [5305 NaN 7125]
}
