//go:build unix

package trees

import (
	"encoding/csv"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/e2e/pypi"
	"millrace.dev/internal/testenv"
)

const pipelineFile = `version: 1
name: house-prices
kafka: {brokers: "127.0.0.1:1"}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: housing}
features:
  age: year(date) - yr_built
  renovated: yr_renovated > 0
  living_share: sqft_living / sqft_lot
train:
  data: rows.csv
  label: price
  ignore: [date, street, country]
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
`

// TestImport trains models on real sales with LightGBM and XGBoost, imports them, and compares millrace predict with what
// they predict in Python for each sale, bit for bit.
func TestImport(t *testing.T) {
	t.Parallel()
	sales := filepath.Join(testenv.Data(t), "housedata.csv")
	python := pypi.Environment(t, "pypi-trees", "testdata/requirements.txt", "make trees")
	dir := t.TempDir()
	run(t, ".", python, "testdata/train.py", sales, dir)
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(pipelineFile), 0o600); err != nil {
		t.Fatal(err)
	}
	millrace := filepath.Join(dir, "millrace")
	run(t, ".", "go", "build", "-o", millrace, "millrace.dev/cmd/millrace")
	for file, of := range map[string]string{"lightgbm.txt": "lightgbm", "xgboost.json": "xgboost", "xgboost.ubj": "xgboost"} {
		at := []string{"--registry", file + ".registry"}
		run(t, dir, millrace, append([]string{"model", "import", file, "--by", "ada"}, at...)...)
		run(t, dir, millrace, append([]string{"model", "approve", "house-prices@1", "--by", "grace", "--reason", "the test"}, at...)...)
		run(t, dir, millrace, "predict", "--set", "model.registry="+file+".registry", "--data", "rows.csv", "--out", file+".csv")
		got, want := column(t, filepath.Join(dir, file+".csv")), lines(t, filepath.Join(dir, of+".predictions"))
		if len(got) != len(want) || len(got) < 4000 {
			t.Fatalf("%s: %d predictions, %s has %d", file, len(got), of, len(want))
		}
		wrong := 0
		for i := range got {
			if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
				wrong++
				if wrong < 5 {
					t.Errorf("%s: row %d: %v, %s predicts %v", file, i, got[i], of, want[i])
				}
			}
		}
		t.Logf("%s: %d of %d predictions have the same bits", file, len(got)-wrong, len(got))
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// column returns the last column of a CSV file.
func column(t *testing.T, path string) []float64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was read
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for _, row := range rows[1:] {
		out = append(out, number(t, row[len(row)-1]))
	}
	return out
}

func lines(t *testing.T, path string) []float64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for line := range strings.Lines(string(data)) {
		out = append(out, number(t, strings.TrimSpace(line)))
	}
	return out
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
