package profile

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"millrace.dev/internal/testenv"
)

// table is data by column: of numbers, or of texts.
type table struct {
	names   []string
	kinds   []Kind
	numbers [][]float64
	texts   [][]string
	rows    int
}

// houses reads the sales of houses.
func houses(t testing.TB) *table {
	t.Helper()
	f, err := os.Open(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d := &table{rows: len(list) - 1}
	for k, name := range list[0] {
		d.names = append(d.names, name)
		numbers, texts := make([]float64, d.rows), make([]string, d.rows)
		kind := Number
		for i, row := range list[1:] {
			texts[i] = row[k]
			x, err := strconv.ParseFloat(row[k], 64)
			if day, notTime := time.Parse("2006-01-02 15:04:05", row[k]); notTime == nil {
				x, err, kind = float64(day.Unix()), nil, Time
			}
			if numbers[i] = x; err != nil {
				kind = Level
			}
		}
		if name == "street" {
			kind = Text
		}
		d.kinds, d.numbers, d.texts = append(d.kinds, kind), append(d.numbers, numbers), append(d.texts, texts)
	}
	return d
}

// profile counts the rows of which in the bins of frame, or in new ones if that is nil.
func (d *table) profile(which []int, frame *Profile) *Profile {
	p := &Profile{Rows: uint64(len(which))}
	for k, name := range d.names {
		c := Column{Name: name, Role: Field, Kind: d.kinds[k], Rows: p.Rows}
		if frame != nil {
			c.Edges, c.Levels = frame.Columns[k].Edges, frame.Columns[k].Levels
		} else {
			d.bins(k, which, &c)
		}
		d.count(k, which, &c)
		p.Columns = append(p.Columns, c)
	}
	return p
}

func (d *table) bins(k int, which []int, c *Column) {
	switch c.Kind {
	case Number, Time:
		var v []float64
		for _, i := range which {
			if x := d.numbers[k][i]; !math.IsNaN(x) {
				v = append(v, x)
			}
		}
		slices.Sort(v)
		different := slices.Compact(slices.Clone(v))
		c.Distinct = uint64(len(different))
		if c.Edges = different; len(different) > 128 {
			c.Edges = []float64{v[0]}
			for q := 1; q <= 127; q++ {
				c.Edges = append(c.Edges, v[(len(v)-1)*q/127])
			}
			c.Edges = slices.Compact(c.Edges)
		}
	case Level:
		seen := map[string]bool{}
		for _, i := range which {
			if s := d.texts[k][i]; s != "" && !seen[s] {
				seen[s] = true
				c.Levels = append(c.Levels, s)
			}
		}
		slices.Sort(c.Levels)
	case Text:
	}
}

func (d *table) count(k int, which []int, c *Column) {
	c.Min, c.Max, c.Mean, c.Deviation = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	if c.Kind != Text {
		c.Counts = make([]uint64, max(len(c.Edges), len(c.Levels))+1)
	}
	total, squares, n := 0.0, 0.0, 0.0
	for _, i := range which {
		b := d.bin(k, i, c)
		if c.Kind == Text {
			continue
		}
		if b == NoBin {
			c.Missing++
			continue
		}
		c.Counts[b]++
		if c.Kind != Level {
			x := d.numbers[k][i]
			total, squares, n = total+x, squares+x*x, n+1
			if n == 1 {
				c.Min, c.Max = x, x
			}
			c.Min, c.Max = min(c.Min, x), max(c.Max, x)
		}
	}
	if n > 0 {
		c.Mean = total / n
		c.Deviation = math.Sqrt(max(0, squares/n-c.Mean*c.Mean))
	}
}

// bin returns the bin of a value.
func (d *table) bin(k, row int, c *Column) uint16 {
	switch c.Kind {
	case Number, Time:
		if x := d.numbers[k][row]; !math.IsNaN(x) {
			b, _ := slices.BinarySearch(c.Edges, x)
			return uint16(b)
		}
	case Level:
		if s := d.texts[k][row]; s != "" {
			if b, ok := slices.BinarySearch(c.Levels, s); ok {
				return uint16(b)
			}
			return uint16(len(c.Levels))
		}
	case Text:
	}
	return NoBin
}

// sample keeps rows of the reference.
func (d *table) sample(which []int, p *Profile) *Sample {
	if len(which) > SampleRows {
		which = which[:SampleRows]
	}
	s := &Sample{Rows: len(which)}
	for _, i := range which {
		for k := range p.Columns {
			s.Bins = append(s.Bins, d.bin(k, i, &p.Columns[k]))
		}
	}
	return s
}

func (d *table) String() string { return fmt.Sprint(d.rows, " rows of ", d.names) }
