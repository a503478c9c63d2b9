package profile

import (
	"math"

	"millrace.dev/internal/stat"
	"millrace.dev/record"
)

// Sampler draws rows for the [Sample] of a profile whose bins are not known yet. Which rows, depends on their numbers alone.
// It is for one goroutine at a time.
type Sampler struct {
	places  []place
	bound   uint64 // rows that hash higher are out
	rows    int
	numbers [][]float64 // by place
	texts   [][]string
	missing [][]bool
	scratch []float64
}

// NewSampler returns a sampler for about total rows, of which it takes [SampleRows] at most, all if they are no more.
func NewSampler(l Layout, total uint64) *Sampler {
	s := &Sampler{
		places: l.places, bound: math.MaxUint64,
		numbers: make([][]float64, len(l.places)), texts: make([][]string, len(l.places)), missing: make([][]bool, len(l.places)),
	}
	if total > SampleRows {
		// Three deviations fewer than there is room for: no row is left out for coming late.
		s.bound = uint64((SampleRows - 192) / float64(total) * math.MaxUint64)
	}
	return s
}

// Add draws from rows, in their order, of which the first has a number in all of the data, and calls taken with the index of each that is drawn.
func (s *Sampler) Add(first uint64, r *Rows, taken func(i int)) {
	var drawn []int
	for i := range r.Batch.Len() {
		if r.counts(i) && s.rows+len(drawn) < SampleRows && stat.Mix(first+uint64(i)) <= s.bound {
			drawn = append(drawn, i)
			taken(i)
		}
	}
	if len(drawn) == 0 {
		return
	}
	s.rows += len(drawn)
	for k := range s.places {
		p := &s.places[k]
		switch p.kind {
		case Number, Time:
			s.scratch = grown(s.scratch, r.Batch.Len())
			numbers := p.numbers(r, s.scratch)
			for _, i := range drawn {
				s.numbers[k] = append(s.numbers[k], numbers[i])
			}
		case Level:
			codes, level := p.codes(r)
			for _, i := range drawn {
				text, missing := "", codes[i] == record.MissingCode
				if !missing {
					text = level(codes[i])
				}
				s.texts[k], s.missing[k] = append(s.texts[k], text), append(s.missing[k], missing)
			}
		default:
		}
	}
}

// Sample returns the rows that were drawn in the bins of p, whose columns begin with those of the layout; a column of
// predictions behind them gets predictions, one for each row that was drawn. It is nil if none was.
func (s *Sampler) Sample(p *Profile, predictions []float64) *Sample {
	if s.rows == 0 {
		return nil
	}
	width := len(p.Columns)
	out := &Sample{Rows: s.rows, Bins: make([]uint16, s.rows*width)}
	for k := range p.Columns {
		c := &p.Columns[k]
		numbers := predictions
		if k < len(s.places) {
			numbers = s.numbers[k]
		}
		b, levels := newBinner(c.Edges), levelsOf(c)
		for row := range s.rows {
			at := &out.Bins[row*width+k]
			switch {
			case c.Kind == Text:
				*at = NoBin
			case c.Kind == Level:
				*at = levelBin(levels, len(c.Counts), s.texts[k][row], s.missing[k][row])
			case numbers[row] != numbers[row]:
				*at = NoBin
			default:
				*at = uint16(b.bin(numbers[row])) // no column has so many bins
			}
		}
	}
	return out
}

// levelsOf returns the bins of the levels of a column.
func levelsOf(c *Column) map[string]int32 {
	levels := make(map[string]int32, len(c.Levels))
	for k, level := range c.Levels {
		levels[level] = int32(k)
	}
	return levels
}

func levelBin(levels map[string]int32, bins int, text string, missing bool) uint16 {
	if missing {
		return NoBin
	}
	if k, ok := levels[text]; ok {
		return uint16(k)
	}
	return uint16(bins - 1)
}

// Select returns the profile of some of the columns, with their part of the sample. It shares memory with p.
func (p *Profile) Select(keep func(*Column) bool) *Profile {
	out := &Profile{Rows: p.Rows}
	var at []int
	for i := range p.Columns {
		if keep(&p.Columns[i]) {
			out.Columns, at = append(out.Columns, p.Columns[i]), append(at, i)
		}
	}
	if s := p.Sample; s != nil {
		out.Sample = &Sample{Rows: s.Rows, Bins: make([]uint16, 0, s.Rows*len(at))}
		for row := range s.Rows {
			for _, i := range at {
				out.Sample.Bins = append(out.Sample.Bins, s.Bins[row*len(p.Columns)+i])
			}
		}
	}
	return out
}
