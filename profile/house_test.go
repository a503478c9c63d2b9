package profile

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"millrace.dev/internal/testenv"
	"millrace.dev/record"
)

// table is data, row by row: a float64, a time in microseconds as int64, a text, or nil.
type table struct {
	schema *record.Schema
	rows   [][]any
}

// houses reads the sales of houses.
func houses(t testing.TB) *table {
	t.Helper()
	f, err := os.Open(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was read
	list, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d := &table{}
	fields := make([]record.Field, len(list[0]))
	for _, texts := range list[1:] {
		row := make([]any, len(texts))
		for k, s := range texts {
			if x, err := strconv.ParseFloat(s, 64); err == nil {
				row[k], fields[k].Type = x, record.Numeric
			} else if day, err := time.Parse("2006-01-02 15:04:05", s); err == nil {
				row[k], fields[k].Type = day.UnixMicro(), record.Time
			} else {
				row[k], fields[k].Type = s, record.Enum
			}
		}
		d.rows = append(d.rows, row)
	}
	for k, name := range list[0] {
		if fields[k].Name = name; name == "street" {
			fields[k].Type = record.String
		}
	}
	if d.schema, err = record.NewSchema(fields...); err != nil {
		t.Fatal(err)
	}
	return d
}

// made makes rows with what profiles have trouble with: columns that depend on one another, heavy tails, few values, rare
// and missing ones, many levels.
func made(t testing.TB, n int) *table {
	t.Helper()
	fields := []record.Field{
		{Name: "normal", Type: record.Numeric},
		{Name: "near", Type: record.Numeric},
		{Name: "nearer", Type: record.Numeric},
		{Name: "heavy", Type: record.Numeric},
		{Name: "few", Type: record.Numeric},
		{Name: "rare", Type: record.Numeric},
		{Name: "always", Type: record.Numeric},
		{Name: "gaps", Type: record.Numeric},
		{Name: "levels", Type: record.Enum},
		{Name: "two", Type: record.Enum},
		{Name: "gappy", Type: record.Enum},
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	d, rng := &table{schema: s}, rand.New(rand.NewPCG(7, 7))
	for range n {
		x, y, u := rng.NormFloat64(), rng.NormFloat64(), rng.Float64()
		row := []any{
			x, x + 0.3*y, x + 0.05*y, math.Exp(3 * y), math.Floor(5 * u * u), math.Floor(u / 0.993), 3., rng.ExpFloat64(),
			"l" + strconv.Itoa(int(math.Pow(40, u))), "t" + strconv.Itoa(int(u/0.8)), "g" + strconv.Itoa(rng.IntN(6)),
		}
		if rng.IntN(10) == 0 {
			row[7] = nil
		}
		if rng.IntN(300) == 0 {
			row[10] = nil
		}
		d.rows = append(d.rows, row)
	}
	return d
}

// draw returns n rows, drawn with replacement.
func (d *table) draw(rng *rand.Rand, n int) [][]any {
	out := make([][]any, n)
	for i := range out {
		out[i] = d.rows[rng.IntN(len(d.rows))]
	}
	return out
}

func (d *table) batch(rows [][]any) *Rows {
	b := record.NewBatch(d.schema, nil)
	for i, row := range rows {
		b.Append(record.Raw{})
		for f, v := range row {
			switch d.schema.Field(f).Type {
			case record.Numeric:
				if x, ok := v.(float64); ok {
					b.Numbers(f)[i] = x
				}
			case record.Time:
				if us, ok := v.(int64); ok {
					b.Times(f)[i] = us
				}
			case record.Enum:
				if s, ok := v.(string); ok {
					b.Codes(f)[i] = b.Dict(f).Code([]byte(s))
				}
			case record.String:
				if s, ok := v.(string); ok {
					b.Texts(f).Set(i, []byte(s))
				}
			}
		}
	}
	return &Rows{Batch: b}
}

// reference returns the profile of rows, as training makes it.
func (d *table) reference(rows [][]any) *Profile {
	r, l := d.batch(rows), NewLayout(d.schema, nil, "")
	s := NewSurvey(l)
	s.Add(0, r)
	p := s.Profile()
	sampler := NewSampler(l, uint64(len(rows)))
	sampler.Add(0, r, func(int) {})
	p.Sample = sampler.Sample(p, nil)
	return p
}

// window returns the profile of rows in the bins of a reference.
func (d *table) window(t testing.TB, rows [][]any, reference *Profile) *Profile {
	t.Helper()
	c, err := NewCounter(reference, NewLayout(d.schema, nil, ""))
	if err != nil {
		t.Fatal(err)
	}
	c.Add(d.batch(rows))
	return c.Profile()
}

// names returns the names of all columns: times too.
func (d *table) names() []string {
	var out []string
	for i := range d.schema.Len() {
		out = append(out, d.schema.Field(i).Name)
	}
	return out
}
