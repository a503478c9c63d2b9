package lightgbm_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/gbm"
	"millrace.dev/internal/importer"
	"millrace.dev/internal/importer/lightgbm"
	"millrace.dev/record"
)

// golden is what testdata/make.py has written beside a model.
type golden struct {
	MadeBy  string `json:"made_by"`
	Columns []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"columns"`
	Sums        []float64 `json:"sums"`
	Predictions []float64 `json:"predictions"`
	Rows        [][]any   `json:"rows"`
}

func readGolden(t *testing.T, path string) (*importer.Model, *golden) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := lightgbm.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(strings.TrimSuffix(path, ".txt") + ".json"); err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return m, &g
}

// frame returns the rows, with the levels that the model asks for.
func (g *golden) frame(t *testing.T, m *importer.Model) *record.Frame {
	t.Helper()
	fr := &record.Frame{Rows: len(g.Rows)}
	for _, c := range g.Columns {
		col := record.Column{Name: c.Name, Type: record.Numeric}
		if c.Type == "enum" {
			col.Type = record.Enum
		}
		fr.Columns = append(fr.Columns, col)
	}
	levels, err := m.Levels(fr.Columns)
	if err != nil {
		t.Fatal(err)
	}
	for i := range fr.Columns {
		c := &fr.Columns[i]
		c.Levels = levels[c.Name]
		for _, row := range g.Rows {
			switch v := row[i].(type) {
			case nil:
				c.Numbers, c.Codes = append(c.Numbers, math.NaN()), append(c.Codes, record.MissingCode)
			case float64:
				c.Numbers = append(c.Numbers, v)
			case string:
				x, _ := strconv.ParseFloat(v, 64)
				c.Numbers, c.Codes = append(c.Numbers, x), append(c.Codes, int32(slices.Index(c.Levels, v)))
			}
		}
		if c.Type == record.Enum {
			c.Numbers = nil
		} else {
			c.Codes = nil
		}
	}
	return fr
}

func ulps(a, b float64) uint64 {
	x, y := math.Float64bits(a), math.Float64bits(b)
	return max(x, y) - min(x, y)
}

// TestGolden compares predictions with those of LightGBM: the sums of leaf values bit for bit, and what the links make of
// them but for the last places, in which two implementations of exp differ.
func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(paths) < 25 {
		t.Fatalf("%d models: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			m, g := readGolden(t, path)
			fr := g.frame(t, m)
			forest, err := m.Forest(fr.Columns)
			if err != nil {
				t.Fatal(err)
			}
			link := m.Link
			m.Link = gbm.LinkIdentity
			sums, err := m.Forest(fr.Columns)
			if err != nil {
				t.Fatal(err)
			}
			got, sum := make([]float64, fr.Rows), make([]float64, fr.Rows)
			forest.Score(fr, got)
			sums.Score(fr, sum)
			for i := range got {
				if math.Float64bits(sum[i]) != math.Float64bits(g.Sums[i]) {
					t.Errorf("row %d: the sum is %v, %s has %v", i, sum[i], g.MadeBy, g.Sums[i])
				}
				if n := ulps(got[i], g.Predictions[i]); n > 2 || n > 0 && link == gbm.LinkIdentity {
					t.Errorf("row %d: the prediction is %v, %s has %v", i, got[i], g.MadeBy, g.Predictions[i])
				}
			}
		})
	}
}
