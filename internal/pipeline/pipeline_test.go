package pipeline_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/house"
	"millrace.dev/internal/pipeline"
	"millrace.dev/model"
	"millrace.dev/record"
)

const sinkField = "predicted_price"

// train returns a small model of made-up house prices, and sales that it has not seen.
func train(t testing.TB) (*model.Bundle, []house.Sale) {
	t.Helper()
	p := gbm.DefaultParams()
	p.NTrees = 40
	return trainOn(t, 2000, p, 1500)
}

// trainOn returns a model of so many past sales, and so many later ones.
func trainOn(t testing.TB, history int, p gbm.Params, later int) (*model.Bundle, []house.Sale) {
	t.Helper()
	p.LabelTransform = gbm.TransformLog
	g, err := house.New(house.Options{Seed: 7, History: history})
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "sales.csv")
	if err := os.WriteFile(data, g.CSV(history), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := batch.TrainModel(t.Context(), batch.TrainOptions{
		Name: "house-prices", Data: data, Field: sinkField,
		Declaration: feature.Declaration{
			Schema: schema(t), Label: "price",
			Features: []feature.Spec{
				{Name: "zip", Expr: "statezip[3:]"},
				{Name: "age", Expr: "year(date) - yr_built"},
				{Name: "renovated", Expr: "yr_renovated > 0"},
				{Name: "living_share", Expr: "sqft_living / sqft_lot"},
			},
			Inputs: strings.Fields("bedrooms bathrooms sqft_living sqft_lot floors view condition city zip age renovated living_share"),
		},
		Split:  batch.Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: 1},
		Params: p, Threads: 2, CodeVersion: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	var unseen []house.Sale
	for i := range later {
		unseen = append(unseen, g.Sale(int64(history+i)))
	}
	return b, unseen
}

func schema(t testing.TB) *record.Schema {
	t.Helper()
	types := map[string]record.Type{
		"date": record.Time, "street": record.String, "country": record.String,
		"waterfront": record.Enum, "view": record.Enum, "condition": record.Enum, "city": record.Enum, "statezip": record.Enum,
	}
	var fields []record.Field
	for name := range strings.SplitSeq(strings.TrimSpace(house.CSVHeader), ",") {
		f := record.Field{Name: name, Type: record.Numeric, Required: name == house.RequiredField}
		if typ, ok := types[name]; ok {
			f.Type = typ
		}
		fields = append(fields, f)
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPath(t testing.TB, b *model.Bundle, o pipeline.Options) *pipeline.Path {
	t.Helper()
	p, err := pipeline.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newWorker(t testing.TB, p *pipeline.Path) *pipeline.Worker {
	t.Helper()
	w, err := p.NewWorker()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// outcome is what became of a record: its output, or its problem's class and field.
type outcome struct {
	output string
	class  string
	field  string
}

// process runs values through a worker, in batches of the sizes that next gives.
func process(w *pipeline.Worker, values [][]byte, next func() int) []outcome {
	var all []outcome
	b := w.NewBatch()
	for len(values) > 0 {
		n := min(next(), len(values))
		b.Reset()
		for _, v := range values[:n] {
			b.Append(record.Raw{Value: v, Timestamp: -1})
		}
		w.Process(b)
		for i := range n {
			if p := b.Problem(i); p != nil {
				all = append(all, outcome{class: p.Class, field: p.Field})
			} else {
				all = append(all, outcome{output: string(w.Output(i))})
			}
		}
		values = values[n:]
	}
	return all
}

// listings returns sales as JSON records, one in twenty of them broken.
func listings(t testing.TB, sales []house.Sale) ([][]byte, []house.Fault) {
	t.Helper()
	breaker, err := house.NewBreaker(3, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	var values [][]byte
	var faults []house.Fault
	for i := range sales {
		f := breaker.Fault(int64(i))
		values = append(values, f.Break(sales[i].AppendListing(nil)))
		faults = append(faults, f)
	}
	return values, faults
}

// TestSameInEveryBatch is the promise of the path: what becomes of a record does not depend on the records beside it,
// on the worker, nor on its format.
func TestSameInEveryBatch(t *testing.T) {
	t.Parallel()
	b, sales := train(t)
	p := newPath(t, b, pipeline.Options{})
	values, faults := listings(t, sales)
	want := process(newWorker(t, p), values, func() int { return 1 })
	for i, f := range faults {
		if want[i].class != f.Class() || (f.Class() == "") != (want[i].output != "") {
			t.Errorf("record %d, %v: %+v", i, f, want[i])
		}
	}
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorker(t, p)
	for _, next := range []func() int{
		func() int { return len(values) },
		func() int { return pipeline.BatchRows },
		func() int { return 1 + r.IntN(40) },
	} {
		for i, got := range process(w, values, next) {
			if got != want[i] {
				t.Fatalf("seed %d: record %d: %+v in one batch, %+v in another", seed, i, got, want[i])
			}
		}
	}
}

func TestCSVEqualsJSON(t *testing.T) {
	t.Parallel()
	b, sales := train(t)
	header := strings.Split(strings.TrimSpace(house.CSVHeader), ",")
	fromJSON, fromCSV := newWorker(t, newPath(t, b, pipeline.Options{})), newWorker(t, newPath(t, b, pipeline.Options{Format: pipeline.CSV, Header: header}))
	j, c := fromJSON.NewBatch(), fromCSV.NewBatch()
	for i := range sales {
		j.Append(record.Raw{Value: sales[i].AppendJSON(nil)})
		c.Append(record.Raw{Value: bytes.TrimSuffix(sales[i].AppendCSV(nil), []byte("\n"))})
	}
	fromJSON.Process(j)
	fromCSV.Process(c)
	for i := range sales {
		if j.Problem(i) != nil || c.Problem(i) != nil {
			t.Fatalf("sale %d: %v, %v", i, j.Problem(i), c.Problem(i))
		}
		if a, b := fromJSON.Prediction(i), fromCSV.Prediction(i); math.Float64bits(a) != math.Float64bits(b) {
			t.Fatalf("sale %d: %v from JSON, %v from CSV", i, a, b)
		}
		want := fmt.Sprintf("%s,%s", bytes.TrimSuffix(sales[i].AppendCSV(nil), []byte("\n")), codec.AppendFloat(nil, fromCSV.Prediction(i)))
		if got := string(fromCSV.Output(i)); got != want {
			t.Fatalf("sale %d: %s, want %s", i, got, want)
		}
	}
}

// TestOutput holds the path to changing nothing of a record but adding the prediction.
func TestOutput(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	w := newWorker(t, newPath(t, b, pipeline.Options{}))
	for value, want := range map[string]string{
		`{"sqft_living":1340}`:                                `{"sqft_living":1340,"predicted_price":%s}`,
		"{ \"sqft_living\" : 1.34e3 ,\"x\":[{}] \n}\t":        "{ \"sqft_living\" : 1.34e3 ,\"x\":[{}] \n,\"predicted_price\":%s}\t",
		`{"price":"secret","sqft_living":1340,"statezip":""}`: `{"price":"secret","sqft_living":1340,"statezip":"","predicted_price":%s}`,
	} {
		bt := w.NewBatch()
		bt.Append(record.Raw{Value: []byte(value)})
		w.Process(bt)
		if p := bt.Problem(0); p != nil {
			t.Errorf("%s: %+v", value, p)
			continue
		}
		got := string(w.Output(0))
		if want = fmt.Sprintf(want, codec.AppendFloat(nil, w.Prediction(0))); got != want {
			t.Errorf("%q gives %q, want %q", value, got, want)
		}
	}
	for value, class := range map[string]string{
		`{"sqft_living":1,"predicted_price":2}`: codec.ClassFieldExists,
		`{"predicted_price":2}`:                 codec.ClassFieldExists,
		`{"other":2}`:                           codec.ClassNoFields,
		`{}`:                                    codec.ClassNoFields,
	} {
		if got := process(w, [][]byte{[]byte(value)}, func() int { return 1 })[0]; got.class != class || got.output != "" {
			t.Errorf("%s: %+v, want class %s", value, got, class)
		}
	}
}

// TestRefusesOtherPredictions changes what a golden row expects in the last bit.
func TestRefusesOtherPredictions(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	if len(b.Golden) < 16 {
		t.Fatalf("%d golden rows", len(b.Golden))
	}
	for i := range b.Golden {
		g := &b.Golden[i]
		before := *g
		if g.Rejected != nil {
			g.Rejected = &model.Rejection{Stage: g.Rejected.Stage, Class: "another"}
		} else {
			g.Prediction = math.Nextafter(g.Prediction, math.Inf(1))
		}
		if _, err := pipeline.New(b, pipeline.Options{}); err == nil {
			t.Errorf("golden row %d is not looked at", i)
		}
		*g = before
	}
	if _, err := pipeline.New(b, pipeline.Options{}); err != nil {
		t.Error(err)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	w := newWorker(t, newPath(t, b, pipeline.Options{}))
	process(w, [][]byte{
		[]byte(`{"sqft_living":1340,"city":"Atlantis"}`), []byte(`{"sqft_living":1340,"sqft_lot":0,"city":"Seattle"}`), []byte(`{broken`),
	}, func() int { return 2 })
	for i, c := range w.Counts() {
		name := b.Inputs[i].Name
		want := feature.Counts{Missing: 2}
		switch name {
		case "sqft_living":
			want = feature.Counts{}
		case "city":
			want = feature.Counts{Unseen: 1}
		case "sqft_lot":
			want.Missing = 1
		case "living_share": // one is missing, one is a division by 0
			want.Missing = 2
		}
		if c != want {
			t.Errorf("%s: %+v, want %+v", name, c, want)
		}
	}
}

// TestNoAllocations holds the steady state of the hot path to its memory.
func TestNoAllocations(t *testing.T) {
	b, sales := train(t)
	w := newWorker(t, newPath(t, b, pipeline.Options{}))
	bt := w.NewBatch()
	values := make([][]byte, pipeline.BatchRows)
	for i := range values {
		values[i] = sales[i].AppendListing(nil)
	}
	run := func() {
		bt.Reset()
		for _, v := range values {
			bt.Append(record.Raw{Value: v})
		}
		w.Process(bt)
	}
	run()
	run()
	if n := testing.AllocsPerRun(20, run); n > 1 { // the counts of the inputs, once a batch
		t.Errorf("%v allocations for a batch of %d records", n, len(values))
	}
}
