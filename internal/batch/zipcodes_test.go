package batch

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
)

// soundRows is the number of rows of the real sales that are sound: behind them the order of dates breaks, and prices are 0
// or a hundred times too high.
const soundRows = 4309

// soundSales returns a file of the sound rows of the real sales.
func soundSales(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfterN(text, []byte("\n"), soundRows+2) // the first one is the header
	path := filepath.Join(t.TempDir(), "sales.csv")
	if err := os.WriteFile(path, bytes.Join(lines[:soundRows+1], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// zipcodes returns the rows of the zip codes, and their columns.
func zipcodes(t *testing.T) (table.Rows, *record.Schema) {
	t.Helper()
	fields := []record.Field{{Name: "zip", Type: record.Enum}}
	for _, name := range []string{
		"latitude", "longitude", "elevation_ft", "population", "households", "average_house_value", "average_household_income",
		"persons_per_household", "median_age", "businesses", "employees", "annual_payroll", "land_area_sqmi", "water_area_sqmi",
	} {
		fields = append(fields, record.Field{Name: name, Type: record.Numeric})
	}
	schema := mustSchema(t, fields...)
	rows, err := table.New(table.Options{Schema: schema, History: table.Forever})
	if err != nil {
		t.Fatal(err)
	}
	data, err := source.Open(t.Context(), filepath.Join(testenv.Data(t), "zipcodes.csv"), source.Options{Schema: schema, Declared: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := pipeline.NewDecoder(schema, pipeline.Options{Format: data.Format(), Header: data.Columns()})
	if err != nil {
		t.Fatal(err)
	}
	r := data.Read(t.Context())
	defer r.Close() //nolint:errcheck // it was only read
	for b := record.NewBatch(schema, nil); ; {
		more, err := r.Fill(b)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return rows, schema
		}
		d.Decode(b)
		if a, err := rows.AddBatch(b, 0, -1); err != nil || a.Rejected+a.NoKey+a.Duplicates > 0 {
			t.Fatalf("zip codes: %+v, %v", a, err)
		}
	}
}

// zipcodeFeatures are what the model gets of the zip codes beside the columns of a sale.
func zipcodeFeatures() []feature.Spec {
	return []feature.Spec{
		{Name: "zip", Expr: "statezip[3:]"},
		{Name: "household_income", Expr: "zipcodes[zip].average_household_income"},
		{Name: "house_value", Expr: "zipcodes[zip].average_house_value"},
		{Name: "latitude", Expr: "zipcodes[zip].latitude"},
		{Name: "longitude", Expr: "zipcodes[zip].longitude"},
		{Name: "median_age", Expr: "zipcodes[zip].median_age"},
		{Name: "household_size", Expr: "zipcodes[zip].persons_per_household"},
		{Name: "density", Expr: "zipcodes[zip].population / zipcodes[zip].land_area_sqmi"},
		{Name: "jobs", Expr: "zipcodes[zip].employees / zipcodes[zip].population"},
	}
}

// TestZipcodes holds that what a table knows of zip codes makes better predictions of house prices than a sale's own columns
// without its zip code, over ten splits of the sound sales, of which all models get the same, with the same parameters. What
// the zip code itself gives, in several forms, and both together, is printed beside it.
func TestZipcodes(t *testing.T) {
	t.Parallel()
	sales := soundSales(t)
	rows, schema := zipcodes(t)
	variants := []struct {
		name     string
		statezip bool // the zip code itself is an input, an enum of 77 levels
		more     []feature.Spec
	}{
		{name: "without"},
		{name: "with the table", more: zipcodeFeatures()},
		{name: "with the zip code", statezip: true},
		{name: "with both", statezip: true, more: zipcodeFeatures()},
		{name: "with target_mean", more: []feature.Spec{{Name: "zip_mean", Expr: "target_mean(statezip)"}}},
		{name: "with one_hot", more: []feature.Spec{{Name: "zip_is", Expr: "one_hot(statezip)"}}},
	}
	seeds := 10
	if testing.Short() { // what is asserted, and few splits: the race detector needs ten times as long
		seeds, variants = 2, variants[:2]
	}
	rmse := make([][]float64, len(variants))
	for seed := range seeds {
		for v := range variants {
			o := houses(t)
			o.Data, o.Where, o.Split.Seed = sales, "price > 0", int64(seed+1)
			o.Tables, o.Rows = []feature.Table{{Name: "zipcodes", Schema: schema}}, map[string]table.Rows{"zipcodes": rows}
			if !variants[v].statezip {
				o.Inputs = slices.DeleteFunc(o.Inputs, func(name string) bool { return name == "statezip" })
			}
			for _, f := range variants[v].more {
				o.Features = append(o.Features, f)
				if f.Name != "zip" { // the key of the table alone
					o.Inputs = append(o.Inputs, f.Name)
				}
			}
			b, err := TrainModel(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r := b.Lineage.Rows; r.Read != soundRows || r.Excluded != 0 {
				t.Fatalf("rows: %+v", r)
			}
			rmse[v] = append(rmse[v], b.Metrics.Test.RMSE)
		}
		t.Logf("seed %2d: test RMSE %7.0f without, %7.0f with the table, %+8.0f", seed+1, rmse[0][seed], rmse[1][seed], rmse[1][seed]-rmse[0][seed])
	}
	for v := range variants {
		var sum, differences, squares float64
		for seed, x := range rmse[v] {
			d := x - rmse[0][seed]
			sum, differences, squares = sum+x, differences+d, squares+d*d
		}
		n := float64(seeds)
		mean := differences / n
		deviation := math.Sqrt((squares/n - float64(mean*mean)) / (n - 1))
		t.Logf("mean of seeds 1-%d, %-17s: test RMSE %7.0f, %+8.0f against without (standard error %.0f)", seeds, variants[v].name, sum/n, mean, deviation)
		if v == 1 && !(mean < 0) {
			t.Errorf("the columns of the zip codes do not lower the mean test RMSE: %+.0f", mean)
		}
	}
}
