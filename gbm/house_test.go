package gbm

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"millrace.dev/internal/testenv"
	"millrace.dev/record"
)

// houses reads the house sales with a price above 0 and below 5,000,000. Where the data is not there
// it ends the test as [testenv.Missing] does.
func houses(t testing.TB) Dataset {
	t.Helper()
	f, err := os.Open(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) int {
		i := slices.Index(rows[0], name)
		if i < 0 {
			t.Fatalf("housedata.csv has no column %s", name)
		}
		return i
	}
	number := func(row []string, name string) float64 {
		v, err := strconv.ParseFloat(row[at(name)], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	body := slices.DeleteFunc(rows[1:], func(r []string) bool {
		p := number(r, "price")
		return !(p > 0 && p < 5_000_000)
	})
	d := Dataset{Frame: &record.Frame{Rows: len(body)}}
	for _, r := range body {
		d.Label = append(d.Label, number(r, "price"))
	}
	numeric := func(name string, value func(r []string) float64) {
		c := record.Column{Name: name, Type: record.Numeric}
		for _, r := range body {
			c.Numbers = append(c.Numbers, value(r))
		}
		d.Frame.Columns = append(d.Frame.Columns, c)
	}
	for _, name := range []string{"bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated"} {
		numeric(name, func(r []string) float64 { return number(r, name) })
	}
	numeric("age", func(r []string) float64 {
		year, err := strconv.Atoi(r[at("date")][:4])
		if err != nil {
			t.Fatal(err)
		}
		return float64(year) - number(r, "yr_built")
	})
	numeric("renovated", func(r []string) float64 {
		if number(r, "yr_renovated") > 0 {
			return 1
		}
		return 0
	})
	numeric("living_share", func(r []string) float64 { return number(r, "sqft_living") / number(r, "sqft_lot") })
	for _, name := range []string{"waterfront", "view", "condition", "city", "statezip"} {
		var levels []string
		for _, r := range body {
			levels = append(levels, r[at(name)])
		}
		texts := slices.Clone(levels)
		slices.Sort(levels)
		levels = slices.Compact(levels)
		c := record.Column{Name: name, Type: record.Enum, Levels: levels}
		for _, s := range texts {
			k, _ := slices.BinarySearch(levels, s)
			c.Codes = append(c.Codes, int32(k))
		}
		d.Frame.Columns = append(d.Frame.Columns, c)
	}
	return d
}

// rowsOf returns the given rows of d.
func rowsOf(d Dataset, rows []int) Dataset {
	out := Dataset{Frame: &record.Frame{Rows: len(rows)}}
	for i := range d.Frame.Columns {
		c := d.Frame.Columns[i]
		n := record.Column{Name: c.Name, Type: c.Type, Levels: c.Levels}
		for _, r := range rows {
			if c.Type == record.Enum {
				n.Codes = append(n.Codes, c.Codes[r])
			} else {
				n.Numbers = append(n.Numbers, c.Numbers[r])
			}
		}
		out.Frame.Columns = append(out.Frame.Columns, n)
	}
	for _, r := range rows {
		out.Label = append(out.Label, d.Label[r])
	}
	return out
}

// splitHouses cuts d into 70 % training, 20 % validation and 10 % test rows.
func splitHouses(d Dataset, seed uint64) (train, valid, test Dataset) {
	order := rand.New(rand.NewPCG(seed, 0)).Perm(d.Frame.Rows)
	a, b := len(order)*7/10, len(order)*9/10
	return rowsOf(d, order[:a]), rowsOf(d, order[a:b]), rowsOf(d, order[b:])
}

func r2(label, predicted []float64) float64 {
	var mean, total, rest float64
	for _, y := range label {
		mean += y / float64(len(label))
	}
	for i, y := range label {
		total += (y - mean) * (y - mean)
		rest += (y - predicted[i]) * (y - predicted[i])
	}
	return 1 - rest/total
}

func houseParams() Params {
	p := DefaultParams()
	p.NTrees, p.LabelTransform = 120, TransformLog
	return p
}

// TestHouses holds the model against a figure that a well-made trainer reaches on this data: gradient boosting
// of scikit-learn comes to a mean R2 of 0.709.
func TestHouses(t *testing.T) {
	t.Parallel()
	d := houses(t)
	var mean float64
	for seed := uint64(1); seed <= 5; seed++ {
		train, _, test := splitHouses(d, seed)
		f, _, err := Train(t.Context(), houseParams(), train, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float64, test.Frame.Rows)
		f.Score(test.Frame, out)
		v := r2(test.Label, out)
		t.Logf("seed %d: R2 %.4f", seed, v)
		mean += v / 5
	}
	t.Logf("mean R2 %.4f", mean)
	if !(mean >= 0.70) || math.IsNaN(mean) {
		t.Errorf("mean R2 over seeds 1-5: %.4f, want at least 0.70", mean)
	}
}
