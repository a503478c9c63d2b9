// Package importertest compares forests that were imported with what the systems that grew them predict.
package importertest

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"millrace.dev/gbm"
	"millrace.dev/internal/importer"
	"millrace.dev/record"
)

// golden is what the scripts in testdata write beside a model.
type golden struct {
	MadeBy  string `json:"made_by"`
	Columns []struct {
		Name string `json:"name"`
		Type string `json:"type"` // numeric or enum
	} `json:"columns"`
	Sums        []float64 `json:"sums"`        // before the link
	Predictions []float64 `json:"predictions"` // after it
	Rows        [][]any   `json:"rows"`        // a number, a text or null by column
}

// Check compares the forest of a model with the predictions in the file at path: the sums of leaf values bit for bit, and
// what a link makes of them up to ulps numbers of its precision, since implementations of exp differ in the last places.
func Check(t *testing.T, m *importer.Model, path string, ulps uint64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Rows) < 20 || len(g.Sums) != len(g.Rows) || len(g.Predictions) != len(g.Rows) {
		t.Fatalf("%d rows, %d sums, %d predictions", len(g.Rows), len(g.Sums), len(g.Predictions))
	}
	fr := g.frame(t, m)
	predictions := score(t, m, fr)
	linked := *m
	linked.Link = gbm.LinkIdentity
	sums := score(t, &linked, fr)
	for i := range g.Rows {
		if math.Float64bits(sums[i]) != math.Float64bits(g.Sums[i]) {
			t.Errorf("row %d: the sum is %v, %s has %v", i, sums[i], g.MadeBy, g.Sums[i])
		}
		if n := distance(predictions[i], g.Predictions[i], m.Single); n > ulps || n > 0 && m.Link == gbm.LinkIdentity {
			t.Errorf("row %d: the prediction is %v, %s has %v", i, predictions[i], g.MadeBy, g.Predictions[i])
		}
	}
}

func score(t *testing.T, m *importer.Model, fr *record.Frame) []float64 {
	t.Helper()
	f, err := m.Forest(fr.Columns)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, fr.Rows)
	f.Score(fr, out)
	return out
}

// distance returns how many numbers lie between two of the same sign.
func distance(a, b float64, single bool) uint64 {
	x, y := math.Float64bits(a), math.Float64bits(b)
	if single {
		x, y = uint64(math.Float32bits(float32(a))), uint64(math.Float32bits(float32(b)))
	}
	return max(x, y) - min(x, y)
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
			if c.Type == record.Enum {
				c.Codes = append(c.Codes, code(row[i], c.Levels))
			} else {
				c.Numbers = append(c.Numbers, number(row[i]))
			}
		}
	}
	return fr
}

func code(v any, levels []string) int32 {
	if s, ok := v.(string); ok {
		return int32(slices.Index(levels, s))
	}
	return record.MissingCode
}

func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string: // JSON has no infinity
		x, err := strconv.ParseFloat(v, 64)
		if err == nil {
			return x
		}
	}
	return math.NaN()
}
