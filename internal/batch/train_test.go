package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// flats returns options for a small file of made-up flats: rent by size and city.
func flats(t testing.TB, text string) TrainOptions {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flats.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := record.NewSchema(
		record.Field{Name: "size", Type: record.Numeric, Required: true},
		record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "since", Type: record.Time},
		record.Field{Name: "rent", Type: record.Numeric},
	)
	if err != nil {
		t.Fatal(err)
	}
	p := gbm.DefaultParams()
	p.NTrees, p.MinRows = 10, 2
	return TrainOptions{
		Name: "rents", Data: path,
		Declaration: feature.Declaration{Schema: s, Features: []feature.Spec{{Name: "big", Expr: "size > 60"}}, Inputs: []string{"size", "city", "big"}, Label: "rent"},
		Field:       "prediction", Where: "rent > 0 and size < 500",
		Split: Split{Train: 0.6, Validation: 0.2, Test: 0.2, Seed: 5}, Params: p, CodeVersion: "test",
	}
}

// flatRows returns a file of n good rows and then the extra ones.
func flatRows(n int, extra ...string) string {
	var b strings.Builder
	b.WriteString("size,city,since,rent\n")
	for i := range n {
		size := 20 + i*37%120
		fmt.Fprintf(&b, "%d,%s,2020-01-%02d,%d\n", size, []string{"Ulm", "Bonn", "Kiel"}[i%3], 1+i%28, 8*size+100*(i%3))
	}
	for _, line := range extra {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func TestTrain(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(300,
		"60,Ulm,2020-01-01,0",      // not rent > 0
		"600,Ulm,2020-01-01,900",   // not size < 500
		"60,Ulm,2020-01-01,-5",     // not rent > 0
		"60,Ulm,2020-01-01,",       // no rent: the condition is missing, so it does not hold
		"x,Ulm,2020-01-01,900",     // wrong type
		"60,Ulm,2020-13-01,900",    // no such month
		"60,Ulm",                   // too few cells
		",Ulm,2020-01-01,900",      // no size
		strings.Repeat("9", 2<<20), // too long
		"\"60,Ulm,2020-01-01,900",  // a quote that is never closed
	))
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := b.Lineage.Rows
	if r.Read != 310 || r.Excluded != 10 || r.Train+r.Validation+r.Test != 300 {
		t.Errorf("rows %+v", r)
	}
	got := map[string]int{}
	for _, x := range r.Reasons {
		got[x.Reason] = x.Rows
	}
	want := map[string]int{
		"not rent > 0": 3, "not size < 500": 1, "invalid_number in size": 1, "invalid_time in since": 1, "wrong_columns": 1,
		"missing_field in size": 1, "too_large": 1, "invalid_csv in size": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, g := range b.Golden {
		if strings.Contains(string(g.Value), "since") || strings.Contains(string(g.Value), "rent") {
			t.Errorf("golden row %d holds a field that the model does not need: %s", i, g.Value)
		}
	}
	if b.Metrics.Test.R2 < 0.8 || b.Metrics.Train.Rows != r.Train || b.Metrics.Validation.Rows != r.Validation || b.Metrics.Test.Rows != r.Test {
		t.Errorf("metrics %+v", b.Metrics)
	}
}

// TestPredictionAsInput trains with a feature of the name that a profile has for what the model predicts: the prediction of another model,
// say.
func TestPredictionAsInput(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(300))
	o.Features = append(o.Features, feature.Spec{Name: "prediction", Expr: "size * 8"})
	o.Inputs, o.Field = append(o.Inputs, "prediction"), "score"
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = model.Decode(data); err != nil {
		t.Fatal(err)
	}
	roles := map[string]profile.Role{}
	for _, c := range b.Profile.Columns {
		roles[c.Name] = c.Role
	}
	if roles["prediction"] != profile.Feature || roles["prediction (of the model)"] != profile.Prediction {
		t.Errorf("%v", roles)
	}
}

// TestSameModel trains with different numbers of threads, from CSV and twice.
func TestSameModel(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(5000))
	o.Params.SampleRate, o.Params.ColSampleRate = 0.7, 0.7
	var digest string
	for _, threads := range []int{1, 2, 3, 7, 1} {
		o.Threads = threads
		b, err := TrainModel(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, d, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if digest == "" {
			digest = d
		}
		if d != digest {
			t.Errorf("%d threads: %s, want %s", threads, d, digest)
		}
	}
}

// TestJSONLines trains on the rows of a CSV file written as JSON: it is the same model, but for the data's digest.
func TestJSONLines(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(300))
	fromCSV, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, row := range strings.Split(strings.TrimSpace(flatRows(300)), "\n")[1:] {
		c := strings.Split(row, ",")
		fmt.Fprintf(&lines, `{"rent": %s, "since": %q, "city": %q, "size": %s}`+"\n", c[3], c[2], c[1], c[0])
	}
	o.Data = filepath.Join(t.TempDir(), "flats.jsonl")
	if err := os.WriteFile(o.Data, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	fromJSON, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromCSV.Metrics, fromJSON.Metrics); diff != "" {
		t.Error(diff)
	}
	a, errA := fromCSV.Forest.MarshalBinary()
	b, errB := fromJSON.Forest.MarshalBinary()
	if errA != nil || errB != nil || string(a) != string(b) || fromCSV.Plan.Digest() != fromJSON.Plan.Digest() {
		t.Error("another forest or plan from JSON than from CSV")
	}
}

func TestTrainFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		change func(*TrainOptions)
		want   string
	}{
		"no rows":         {flatRows(0), nil, "no records"},
		"empty file":      {"", nil, "empty"},
		"all excluded":    {flatRows(50), func(o *TrainOptions) { o.Where = "rent < 0" }, "50: not rent < 0"},
		"too few":         {flatRows(1), nil, "no row is left for"},
		"other columns":   {"a,b\n1,2\n", nil, "none of the declared fields"},
		"mostly broken":   {flatRows(10, strings.Split(strings.Repeat("x,Ulm,2020-01-01,1\n", 11), "\n")[:11]...), nil, "11: invalid_number in size"},
		"label not there": {flatRows(50), func(o *TrainOptions) { o.Label = "price" }, `label "price"`},
		"label an enum":   {flatRows(50), func(o *TrainOptions) { o.Label = "city" }, "want a numeric field"},
		"split":           {flatRows(50), func(o *TrainOptions) { o.Split.Test = 0.5 }, "sum to"},
		"empty part":      {flatRows(50), func(o *TrainOptions) { o.Split.Test = 0 }, "above 0"},
		"where":           {flatRows(50), func(o *TrainOptions) { o.Where = "rent >" }, "where"},
		"where a number":  {flatRows(50), func(o *TrainOptions) { o.Where = "rent > 1 and rent" }, "where"},
		"log of 0":        {flatRows(50, "60,Ulm,2020-01-01,0"), func(o *TrainOptions) { o.Where, o.Params.LabelTransform = "", gbm.TransformLog }, "label_transform log"},
		"huge labels":     {flatRows(50, strings.Split(strings.Repeat("60,Ulm,2020-01-01,1e200\n60,Ulm,2020-01-01,2\n", 40), "\n")[:80]...), func(o *TrainOptions) { o.Where = "" }, "errors in rent are too large to be squared"},
		"extension":       {flatRows(50), func(o *TrainOptions) { o.Data += ".txt" }, "unknown kind of data file"},
		"no file":         {flatRows(50), func(o *TrainOptions) { o.Data = "no/such.csv" }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := flats(t, c.text)
			if c.change != nil {
				c.change(&o)
			}
			_, err := TrainModel(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v: want one with %q", err, c.want)
			}
		})
	}
}

// TestGoldenRowsOfOddData trains on rows that JSON writes in another way than CSV: golden rows must agree all the same.
func TestGoldenRowsOfOddData(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("size,city,since,rent\n")
	for i := range 300 {
		city := []string{"<Ulm> & \u2028", "1.50", "-0.0", strings.Repeat("<", 200_000)}[i%4]
		if i > 20 {
			city = "Ulm"
		}
		size := []string{"1234567890123456768", "9007199254740994", "-1e22", "-0", "5e-324"}[i%5]
		fmt.Fprintf(&b, "%s,%s,2024-10-27T0%d:%02d:00+0%d:00,%d\n", size, city, 2+i%2, i%60, 1+i%2, i+1)
	}
	o := flats(t, b.String())
	o.Schema = mustSchema(t, record.Field{Name: "size", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "since", Type: record.Time, Layouts: []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00"}, Zone: "Europe/Berlin"},
		record.Field{Name: "rent", Type: record.Numeric})
	o.Features, o.Inputs, o.Where = []feature.Spec{{Name: "at", Expr: "unix(since)"}}, []string{"size", "city", "at"}, ""
	bundle, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.Golden) < goldenRows/2 {
		t.Errorf("%d golden rows", len(bundle.Golden))
	}
}

func mustSchema(t *testing.T, fields ...record.Field) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTrainStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := flats(t, flatRows(300))
	o.Progress = func(r gbm.Round) {
		if r.Trees == 2 {
			cancel()
		}
	}
	if _, err := TrainModel(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestChangedFile adds a row between the two readings.
func TestChangedFile(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(300))
	tr := &trainer{TrainOptions: o}
	if err := tr.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := tr.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := tr.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Data, []byte(flatRows(301)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.load(t.Context(), before); !errors.Is(err, source.ErrChanged) {
		t.Errorf("another file: %v", err)
	}
}

// TestSplit holds the shares to what was asked for, and each row to its part whatever the others do.
func TestSplit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		train := rapid.Float64Range(0.05, 0.9).Draw(t, "train")
		validation := rapid.Float64Range(0.02, 0.97-train).Draw(t, "validation")
		s := Split{Train: train, Validation: validation, Test: 1 - train - validation, Seed: rapid.Int64().Draw(t, "seed")}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		var rows [parts]int
		for i := range int64(n) {
			rows[s.Part(i)]++
		}
		for p, share := range []float64{s.Train, s.Validation, s.Test} {
			// Six standard deviations of a binomial share.
			if got := float64(rows[p]) / n; math.Abs(got-share) > 6*math.Sqrt(share*(1-share)/n) {
				t.Errorf("%v: %.4f of the rows, want %.4f", Part(p), got, share)
			}
		}
	})
}

func TestScores(t *testing.T) {
	t.Parallel()
	var s scores
	for _, row := range [][2]float64{{1, 2}, {3, 3}, {5, 3}} {
		s.add(row[0], row[1])
	}
	want := model.Scores{Rows: 3, RMSE: math.Sqrt(5.0 / 3), MAE: 1, R2: 1 - 5.0/8, LabelMean: 3}
	if diff := cmp.Diff(want, s.result()); diff != "" {
		t.Error(diff)
	}
	var constant scores
	constant.add(2, 2)
	constant.add(2, 2)
	if r := constant.result(); !math.IsNaN(r.R2) || r.RMSE != 0 {
		t.Errorf("constant labels: %+v", r)
	}
	if r := (&scores{}).result(); !math.IsNaN(r.RMSE) || r.Rows != 0 {
		t.Errorf("no rows: %+v", r)
	}
}
