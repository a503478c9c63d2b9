package house

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/internal/testenv"
)

// numericColumns returns the columns whose distributions are compared.
func numericColumns() []string {
	return []string{
		"price", "bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "waterfront", "view", "condition",
		"sqft_above", "sqft_basement", "yr_built", "yr_renovated",
	}
}

// realSales returns the text of the real sales. Without them it ends the test as [testenv.Missing] does.
func realSales(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// columns returns the numeric columns of the rows that have a usable price.
func columns(t *testing.T, text string) map[string][]float64 {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	price := slices.Index(rows[0], "price")
	out := map[string][]float64{}
	for _, row := range rows[1:] {
		if p, err := strconv.ParseFloat(row[price], 64); err != nil || p <= 0 || p >= 5_000_000 {
			continue
		}
		for _, name := range numericColumns() {
			x, err := strconv.ParseFloat(row[slices.Index(rows[0], name)], 64)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = append(out[name], x)
		}
	}
	return out
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// ranks returns the rank of each value, and the mean rank to equal ones.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		default:
			return 0
		}
	})
	r := make([]float64, len(x))
	for from := 0; from < len(x); {
		to := from
		for to < len(x) && x[order[to]] == x[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			r[i] = float64(from+to-1) / 2
		}
		from = to
	}
	return r
}

// spearman returns the rank correlation of a and b.
func spearman(a, b []float64) float64 {
	ra, rb := ranks(a), ranks(b)
	m := float64(len(a)-1) / 2
	var ab, aa, bb float64
	for i := range ra {
		da, db := ra[i]-m, rb[i]-m
		ab, aa, bb = ab+da*db, aa+da*da, bb+db*db
	}
	return ab / math.Sqrt(aa*bb)
}

func TestLooksLikeTheRealSales(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, for which the race detector finds nothing and needs ten times as long")
	}
	t.Parallel()
	text := realSales(t)
	if header, _, _ := strings.Cut(text, "\n"); strings.TrimSpace(header) != strings.TrimSpace(CSVHeader) {
		t.Errorf("the real header is %s", header)
	}
	const n = 100_000
	g := newTest(t, Options{Seed: 1, History: n})
	made := []byte(CSVHeader)
	for i := range int64(n) {
		s := g.Sale(i)
		made = s.AppendCSV(made)
	}
	want, got := columns(t, text), columns(t, string(made))
	for _, name := range numericColumns() {
		w, m := median(want[name]), median(got[name])
		wr, mr := spearman(want[name], want["price"]), spearman(got[name], got["price"])
		t.Logf("%-13s median: real %8.6g made %8.6g   rank correlation with price: real %+.3f made %+.3f", name, w, m, wr, mr)
		if math.Abs(m-w) > 0.01*math.Abs(w) {
			t.Errorf("%s: the median is %v, that of the real sales %v", name, m, w)
		}
		if math.Abs(mr-wr) > 0.08 {
			t.Errorf("%s: the rank correlation with the price is %.3f, in the real sales %.3f", name, mr, wr)
		}
	}
}
