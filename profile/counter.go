package profile

import (
	"fmt"
	"slices"

	"millrace.dev/internal/stat"
	"millrace.dev/record"
)

// Counter counts records into the bins of a profile. Counters of parts merge, in any order, to the same bytes as the counter
// of the whole. It is for one goroutine at a time.
type Counter struct {
	of      *Profile // for its names, edges and levels
	rows    uint64
	columns []counting
	scratch []float64
	kept    []float64
}

// counting is a column that is being counted.
type counting struct {
	place

	rows    uint64 // present or missing
	missing uint64
	moments stat.Moments
	binner  *binner
	counts  []uint64
	levels  map[string]int32
	known   []int32 // the bins of the codes that mean the same in every batch
}

// NewCounter returns a counter into the bins of a profile, of rows of a layout. Columns of the profile that the layout does not
// have stay without rows: a label. Predictions are counted where the profile has them. It is an error if a column is of another kind than
// in the profile.
func NewCounter(of *Profile, l Layout) (*Counter, error) {
	c := &Counter{of: of, columns: make([]counting, len(of.Columns))}
	for i := range of.Columns {
		ref := &of.Columns[i]
		col := &c.columns[i]
		col.place = place{name: ref.Name, role: ref.Role, kind: ref.Kind, at: -1}
		if ref.Role == Prediction {
			col.at = 0
		}
		for _, p := range l.places {
			if p.name != ref.Name || p.role != ref.Role {
				continue
			}
			if p.kind != ref.Kind && (p.kind != Level || ref.Kind != Text) {
				return nil, fmt.Errorf("profile: the column %s is %s in the profile, %s here", p.name, ref.Kind, p.kind)
			}
			col.place = p
		}
		if ref.Counts != nil {
			col.counts = make([]uint64, len(ref.Counts))
		}
		switch ref.Kind {
		case Number, Time:
			col.binner = newBinner(ref.Edges)
		case Level:
			col.levels = levelsOf(ref)
		default:
		}
	}
	return c, nil
}

// Add counts rows.
func (c *Counter) Add(r *Rows) {
	all, n := r.all(), uint64(0)
	for i := range r.Batch.Len() {
		if all || r.counts(i) {
			n++
		}
	}
	c.rows += n
	for i := range c.columns {
		col := &c.columns[i]
		if col.at < 0 {
			continue
		}
		col.rows += n
		switch col.kind {
		case Number, Time:
			c.scratch = grown(c.scratch, r.Batch.Len())
			numbers := col.numbers(r, c.scratch)
			if !all {
				c.kept = r.kept(grown(c.kept, len(numbers)), numbers)
				numbers = c.kept
			}
			col.addNumbers(numbers)
		default:
			col.addTexts(r)
		}
	}
}

func (c *counting) addNumbers(numbers []float64) {
	c.moments.AddSlice(numbers)
	for _, x := range numbers {
		if x != x {
			c.missing++
			continue
		}
		c.counts[c.binner.bin(x)]++
	}
}

// addTexts counts levels, and of texts those that are missing.
func (c *counting) addTexts(r *Rows) {
	if c.role == Field && r.Batch.Texts(c.at) != nil {
		texts := r.Batch.Texts(c.at)
		for i := range texts.Len() {
			if texts.Missing(i) && r.counts(i) {
				c.missing++
			}
		}
		return
	}
	codes, level := c.codes(r)
	bins := c.bins(r, level)
	for i, code := range codes {
		switch {
		case !r.counts(i):
		case code == record.MissingCode:
			c.missing++
		case len(c.counts) == 0: // too many levels to be counted
		case int(code) < len(bins):
			c.counts[bins[code]]++
		default:
			c.counts[c.bin(level(code))]++
		}
	}
}

// bins returns the bins of the codes that mean the same in every batch.
func (c *counting) bins(r *Rows, level func(int32) string) []int32 {
	var known int
	if c.role == Feature {
		known = len(r.Frame.Columns[c.at].Levels)
	} else {
		known = r.Batch.Dict(c.at).Known()
	}
	for code := len(c.known); code < known && len(c.counts) > 0; code++ {
		c.known = append(c.known, int32(c.bin(level(int32(code)))))
	}
	return c.known
}

// bin returns the bin of a level.
func (c *counting) bin(level string) int {
	if k, ok := c.levels[level]; ok {
		return int(k)
	}
	return len(c.counts) - 1
}

// Merge adds what o has counted, into bins of the same profile.
func (c *Counter) Merge(o *Counter) {
	c.rows += o.rows
	for i := range c.columns {
		col, other := &c.columns[i], &o.columns[i]
		col.rows += other.rows
		col.missing += other.missing
		col.moments.Merge(&other.moments)
		for k, n := range other.counts {
			col.counts[k] += n
		}
	}
}

// Rows returns how many rows were counted.
func (c *Counter) Rows() uint64 { return c.rows }

// Reset forgets what was counted.
func (c *Counter) Reset() {
	c.rows = 0
	for i := range c.columns {
		col := &c.columns[i]
		col.rows, col.missing, col.moments = 0, 0, stat.Moments{}
		clear(col.counts)
	}
}

// Profile returns what was counted, in the bins of the profile. Distinct values and the most frequent texts are not
// counted.
func (c *Counter) Profile() *Profile {
	p := &Profile{Rows: c.rows}
	for i := range c.columns {
		col, ref := &c.columns[i], &c.of.Columns[i]
		out := Column{
			Name: ref.Name, Role: ref.Role, Kind: ref.Kind, Rows: col.rows, Missing: col.missing, Edges: ref.Edges, Levels: ref.Levels,
		}
		out.Counts = slices.Clone(col.counts)
		out.describe(&col.moments)
		p.Columns = append(p.Columns, out)
	}
	return p
}

// Fill sets the counts of the profile that was counted into to those that were counted, where any rows were: of data of which
// a [Survey] had only a sample of the numbers.
func (c *Counter) Fill() {
	for i := range c.columns {
		if col := &c.columns[i]; col.rows > 0 {
			copy(c.of.Columns[i].Counts, col.counts)
		}
	}
}
