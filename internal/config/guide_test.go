package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// TestFeatureGuide compiles, fits and evaluates every expression of docs/features.md, on the records that it shows, and
// compares what the last one gives with what the guide says.
func TestFeatureGuide(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "features.md"))
	if err != nil {
		t.Fatal(err)
	}
	guide := string(b)
	lines, want := guideFeatures(t, blocks(guide, "yaml features"))
	file := strings.Join(blocks(guide, "yaml pipeline"), "") + "features:\n" + strings.Join(lines, "")
	p, err := Parse("pipeline.yaml", []byte(file), Options{Env: lookup(nil)})
	if err != nil {
		t.Fatal(err)
	}
	d := p.Declaration()
	d.Inputs = nil
	for _, f := range d.Features {
		d.Inputs = append(d.Inputs, f.Name)
	}
	plan, err := feature.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	batch := guideBatch(t, d.Schema, blocks(guide, "json records")[0])
	with := guideEnrichment(t, plan, batch, guide)
	for !plan.Fitted() {
		f := plan.NewFitter()
		f.Add(batch, nil, with)
		if plan, err = f.Plan(); err != nil {
			t.Fatal(err)
		}
	}
	frame := plan.NewEvaluator().Eval(batch, with)
	compared := 0
	for i := range frame.Columns {
		c := &frame.Columns[i]
		if w, ok := want[c.Name]; ok {
			compared++
			if got := cellText(c, frame.Rows-1); got != w {
				t.Errorf("%s is %s, the guide says %s", c.Name, got, w)
			}
		}
	}
	if compared != len(want) || compared < 30 {
		t.Errorf("%d values compared, of %d", compared, len(want))
	}
}

// blocks returns the contents of the fenced blocks with an info string.
func blocks(text, info string) []string {
	var out []string
	for _, part := range strings.Split(text, "```"+info+"\n")[1:] {
		body, _, _ := strings.Cut(part, "```")
		out = append(out, body)
	}
	return out
}

// guideFeatures returns the lines of features, and what comes behind # by name.
func guideFeatures(t *testing.T, blocks []string) (lines []string, want map[string]string) {
	t.Helper()
	want = map[string]string{}
	for _, block := range blocks {
		for line := range strings.Lines(block) {
			name, _, ok := strings.Cut(line, ":")
			if !ok {
				t.Fatalf("no feature: %q", line)
			}
			if i := strings.LastIndex(line, " # "); i >= 0 {
				want[name] = strings.TrimSpace(line[i+3:])
			}
			lines = append(lines, "  "+line)
		}
	}
	return lines, want
}

func cellText(c *record.Column, i int) string {
	switch {
	case c.Type == record.Enum && c.Codes[i] >= 0:
		return c.Levels[c.Codes[i]]
	case c.Type == record.Enum || math.IsNaN(c.Numbers[i]):
		return "missing"
	default:
		return strconv.FormatFloat(c.Numbers[i], 'g', -1, 64)
	}
}

func guideObjects(t *testing.T, lines string) []map[string]any {
	t.Helper()
	var out []map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(lines)))
	for d.More() {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func guideBatch(t *testing.T, s *record.Schema, lines string) *record.Batch {
	t.Helper()
	b := record.NewBatch(s, nil)
	for i, m := range guideObjects(t, lines) {
		b.Append(record.Raw{Offset: int64(i)})
		for f := range s.Len() {
			v, ok := m[s.Field(f).Name]
			if !ok {
				continue
			}
			switch v := v.(type) {
			case float64:
				b.Numbers(f)[i] = v
			case string:
				switch s.Field(f).Type {
				case record.Enum:
					b.Codes(f)[i] = b.Dict(f).Code([]byte(v))
				case record.Time:
					at, err := time.Parse(time.RFC3339, v)
					if err != nil {
						t.Fatal(err)
					}
					b.Times(f)[i] = at.UnixMicro()
				default:
					b.Texts(f).Set(i, []byte(v))
				}
			}
		}
	}
	return b
}

// guideRows looks up the rows that the guide shows.
type guideRows []map[string]*record.Row

func (r guideRows) Row(table, _ int, key record.Text) *record.Row { return r[table][key.S] }

func guideEnrichment(t *testing.T, p *feature.Plan, b *record.Batch, guide string) feature.Enrichment {
	t.Helper()
	var rows guideRows
	for _, table := range p.Tables() {
		byKey := map[string]*record.Row{}
		for _, m := range guideObjects(t, blocks(guide, "json "+table.Name)[0]) {
			byKey[fmt.Sprint(m["key"])] = guideRow(table.Schema, m)
		}
		rows = append(rows, byKey)
	}
	w, err := pipeline.NewWindows(p)
	if err != nil {
		t.Fatal(err)
	}
	date, _ := p.Schema().Index("date")
	columns, err := w.Observe(b, b.Times(date), pipeline.NewMemoryStates(w))
	if err != nil {
		t.Fatal(err)
	}
	out := feature.Enrichment{Rows: rows}
	for _, c := range columns {
		out.Windows = append(out.Windows, slices.Clone(c))
	}
	return out
}

func guideRow(s *record.Schema, m map[string]any) *record.Row {
	r := &record.Row{}
	for f := range s.Len() {
		v, ok := m[s.Field(f).Name]
		switch s.Field(f).Type {
		case record.Numeric:
			x, isNumber := v.(float64)
			if !isNumber {
				x = math.NaN()
			}
			r.Numbers = append(r.Numbers, x)
		case record.Time:
			r.Times = append(r.Times, record.MissingTime)
		default:
			r.Texts = append(r.Texts, record.Text{S: fmt.Sprint(v), OK: ok})
		}
	}
	return r
}
