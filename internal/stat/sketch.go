package stat

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	sketchBits  = 20
	sketchCells = 1 << sketchBits
)

// Sketch is the first of two passes that find the texts that come most often, where too many differ to count them all.
// A text belongs to one of 2^20 cells, by its hash, and a cell counts all of its texts: no text came more often than its
// cell. The second pass, [Sketch.Candidates], counts texts of large cells exactly. It takes 8 MiB.
type Sketch struct{ cells []uint64 }

// NewSketch returns an empty sketch.
func NewSketch() *Sketch { return &Sketch{make([]uint64, sketchCells)} }

func cellOf(text string) uint64 { return Hash64(text) >> (64 - sketchBits) }

// Add counts one text.
func (s *Sketch) Add(text string) { s.AddN(text, 1) }

// AddN counts a text that came n times.
func (s *Sketch) AddN(text string, n uint64) { s.cells[cellOf(text)] += n }

// Merge adds what o has counted.
func (s *Sketch) Merge(o *Sketch) {
	for i, n := range o.cells {
		s.cells[i] += n
	}
}

// Candidates begins the second pass over the same texts. The sketch must not change any more; it can be read by
// several goroutines. See [Candidates.Fork] for more accumulators of this pass.
func (s *Sketch) Candidates() *Candidates {
	return newCandidates(s, maxCandidates, maxCandidateBytes)
}

// Bounds of the texts that the second pass counts.
const (
	maxCandidates     = 1 << 17
	maxCandidateBytes = 64 << 20
)

// Candidates is the second pass: it counts exactly the texts whose cells in the sketch are at least at a threshold. The
// threshold is the lowest one for which they stay within bounds, 131,072 texts and 64 MiB, so it depends on the texts and
// not on their order: it is raised when more are found, and the texts below it are forgotten. They were counted in vain;
// no text that the final threshold admits was ever left out.
type Candidates struct {
	sketch    *Sketch
	texts     int
	bytes     int64
	threshold uint64
	counts    *Counts // of up to a quarter more than the bounds
}

func newCandidates(s *Sketch, texts int, bytes int64) *Candidates {
	c := &Candidates{sketch: s, texts: texts, bytes: bytes, threshold: 1}
	if texts < len(s.cells) {
		// Each of these cells has a text: with cell number texts, counted from the largest, there would be too many.
		cells := slices.Clone(s.cells)
		selectNth(cells, len(cells)-texts, func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		c.threshold = slices.Max(cells[:len(cells)-texts]) + 1
	}
	return c.Fork()
}

// Fork returns an empty accumulator of the same pass, to be filled apart and merged.
func (c *Candidates) Fork() *Candidates {
	out := *c
	out.counts = NewCounts(c.texts+c.texts/4+1, c.bytes+c.bytes/4+1)
	return &out
}

// Add counts one text if it is a candidate. It keeps no reference to the memory of text.
func (c *Candidates) Add(text string) { c.AddN(text, 1) }

// AddN counts a text that came n times.
func (c *Candidates) AddN(text string, n uint64) {
	if c.sketch.cells[cellOf(text)] < c.threshold {
		return
	}
	if c.counts.full(text) {
		c.compact(Count{text, n})
		return
	}
	c.counts.AddN(text, n)
}

// full tells whether c has no room for a text that it does not hold.
func (c *Counts) full(text string) bool {
	if len(c.n) < c.texts && c.held+int64(len(text)) <= c.bytes {
		return false
	}
	_, known := c.at[text]
	return !known
}

// Merge adds what o has counted. Both must come from one sketch.
func (c *Candidates) Merge(o *Candidates) {
	if c.sketch != o.sketch || c.texts != o.texts || c.bytes != o.bytes {
		panic("stat: merging candidates of other sketches")
	}
	c.threshold = max(c.threshold, o.threshold)
	for text, i := range o.counts.at {
		c.AddN(text, o.counts.n[i])
	}
}

// compact raises the threshold to the lowest one at which the candidates, with more, stay within the bounds, and forgets
// those below it.
func (c *Candidates) compact(more ...Count) {
	type candidate struct {
		Count
		cell uint64
	}
	var all []candidate
	for _, t := range append(c.counts.list(), more...) {
		if cell := c.sketch.cells[cellOf(t.Text)]; cell >= c.threshold {
			all = append(all, candidate{t, cell})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.cell, a.cell) })
	kept := 0 // texts of the largest cells: all or none of those whose cells are of one size
	for i, bytes := 0, int64(0); i < len(all); i++ {
		bytes += int64(len(all[i].Text))
		if i+1 > c.texts || bytes > c.bytes {
			c.threshold = all[kept].cell + 1
			break
		}
		if i+1 == len(all) || all[i+1].cell != all[i].cell {
			kept = i + 1
		}
	}
	c.counts = NewCounts(c.counts.texts, c.counts.bytes)
	for _, t := range all[:kept] {
		c.counts.AddN(t.Text, t.N)
	}
}

// Top returns the n texts that came most often, in the order of [Counts.Top], with their exact counts. If proven is
// false, a text that is no candidate may have come as often as the last of them: their counts hang together closer than
// the sketch can tell, as with identifiers that are all different. It is an error if n is above 65,535.
func (c *Candidates) Top(n int) (top []Count, proven bool, err error) {
	if n < 1 || n > maxTop {
		return nil, false, fmt.Errorf("stat: the top %d texts: want 1 to %d", n, maxTop)
	}
	c.compact()
	top = c.counts.Top(n)
	// A text that is no candidate came less often than the threshold says.
	return top, c.threshold <= 1 || len(top) == n && top[n-1].N >= c.threshold, nil
}

const maxTop = 65_535
