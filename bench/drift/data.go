package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"millrace.dev/profile"
	"millrace.dev/record"
)

// data is the sales of houses, row by row: a float64, a time in microseconds as int64, or a text.
type data struct {
	schema *record.Schema
	layout profile.Layout
	names  []string
	rows   [][]any
}

const timeLayout = "2006-01-02 15:04:05"

func readData(path string) (*data, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was read
	list, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := &data{names: list[0]}
	fields := make([]record.Field, len(d.names))
	for _, texts := range list[1:] {
		row := make([]any, len(texts))
		for k, s := range texts {
			fields[k] = record.Field{Name: d.names[k]}
			if x, err := strconv.ParseFloat(s, 64); err == nil {
				row[k], fields[k].Type = x, record.Numeric
			} else if day, err := time.Parse(timeLayout, s); err == nil {
				row[k], fields[k].Type = day.UnixMicro(), record.Time
			} else {
				row[k], fields[k].Type = s, record.Enum
			}
			if d.names[k] == "street" { // nearly all differ
				fields[k].Type = record.String
			}
		}
		d.rows = append(d.rows, row)
	}
	if d.schema, err = record.NewSchema(fields...); err != nil {
		return nil, err
	}
	d.layout = profile.NewLayout(d.schema, nil, "")
	return d, nil
}

// draw returns n rows, drawn with replacement.
func (d *data) draw(rng *rand.Rand, n int) [][]any {
	out := make([][]any, n)
	for i := range out {
		out[i] = d.rows[rng.IntN(len(d.rows))]
	}
	return out
}

func (d *data) batch(rows [][]any) *profile.Rows {
	b := record.NewBatch(d.schema, nil)
	for i, row := range rows {
		b.Append(record.Raw{})
		for f, v := range row {
			switch x := v.(type) {
			case float64:
				b.Numbers(f)[i] = x
			case int64:
				b.Times(f)[i] = x
			case string:
				if d.schema.Field(f).Type == record.String {
					b.Texts(f).Set(i, []byte(x))
				} else {
					b.Codes(f)[i] = b.Dict(f).Code([]byte(x))
				}
			}
		}
	}
	return &profile.Rows{Batch: b}
}

// reference returns the profile of rows, as training makes it.
func (d *data) reference(rows [][]any) *profile.Profile {
	r := d.batch(rows)
	s := profile.NewSurvey(d.layout)
	s.Add(0, r)
	p := s.Profile()
	sampler := profile.NewSampler(d.layout, uint64(len(rows)))
	sampler.Add(0, r, func(int) {})
	p.Sample = sampler.Sample(p, nil)
	return p
}

// window returns the profile of rows in the bins of a reference.
func (d *data) window(rows [][]any, reference *profile.Profile) (*profile.Profile, error) {
	c, err := profile.NewCounter(reference, d.layout)
	if err != nil {
		return nil, err
	}
	c.Add(d.batch(rows))
	return c.Profile(), nil
}

// column returns the index of a column.
func (d *data) column(name string) int {
	k, _ := d.schema.Index(name)
	return k
}

// deviation returns the standard deviation of a column of numbers.
func (d *data) deviation(k int) float64 {
	mean, squares := 0.0, 0.0
	number := func(row []any) float64 {
		x, _ := row[k].(float64)
		return x
	}
	for _, row := range d.rows {
		mean += number(row) / float64(len(d.rows))
	}
	for _, row := range d.rows {
		squares += math.Pow(number(row)-mean, 2) / float64(len(d.rows))
	}
	return math.Sqrt(squares)
}

// write writes rows to a file of CSV, with the reference and the window they belong to.
func (d *data) write(path string, groups []group) (err error) {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	w := csv.NewWriter(f)
	if err := w.Write(append([]string{"reference", "window"}, d.names...)); err != nil {
		return err
	}
	for i := range groups {
		for _, row := range groups[i].rows {
			line := []string{strconv.Itoa(groups[i].reference), strconv.Itoa(i)}
			for _, v := range row {
				line = append(line, text(v))
			}
			if err := w.Write(line); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}

func text(v any) string {
	switch x := v.(type) {
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case int64:
		return time.UnixMicro(x).UTC().Format(timeLayout)
	default:
		return fmt.Sprint(v)
	}
}

// group is the rows of a reference or of a window.
type group struct {
	reference int
	rows      [][]any
}
