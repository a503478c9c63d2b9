package stat

import (
	"cmp"
	"slices"
	"strings"
)

// Count is a text and how often it came.
type Count struct {
	Text string
	N    uint64
}

// Counts counts texts exactly as long as few of them differ. Once there are more different texts, or longer ones, than
// it was made for, it is too many: it forgets the texts, and stays so, whatever comes and whichever part it happened in.
// It holds copies of the texts; beside them it takes about 60 bytes for each.
type Counts struct {
	texts int // bounds
	bytes int64
	held  int64 // bytes of the texts that it holds
	total uint64
	many  bool
	at    map[string]int32
	n     []uint64
}

// NewCounts returns an accumulator for at most texts different texts, whose bytes add up to at most bytes.
func NewCounts(texts int, bytes int64) *Counts {
	return &Counts{texts: texts, bytes: bytes, at: map[string]int32{}}
}

// Add counts one text. It keeps no reference to the memory of text.
func (c *Counts) Add(text string) { c.AddN(text, 1) }

// AddN counts a text that came n times; n = 0 adds nothing.
func (c *Counts) AddN(text string, n uint64) {
	c.total += n
	if c.many || n == 0 {
		return
	}
	if i, ok := c.at[text]; ok {
		c.n[i] += n
		return
	}
	if len(c.n) >= c.texts || c.held+int64(len(text)) > c.bytes {
		c.forget()
		return
	}
	c.insert(strings.Clone(text), n)
}

func (c *Counts) insert(text string, n uint64) {
	c.at[text] = int32(len(c.n))
	c.n = append(c.n, n)
	c.held += int64(len(text))
}

func (c *Counts) forget() { c.many, c.at, c.n, c.held = true, nil, nil, 0 }

// Merge adds the counts of o.
func (c *Counts) Merge(o *Counts) {
	if c.texts != o.texts || c.bytes != o.bytes {
		panic("stat: merging counts of other bounds")
	}
	if o.many {
		c.total += o.total
		c.forget()
		return
	}
	for text, i := range o.at {
		c.AddN(text, o.n[i])
	}
}

// N returns how many texts were added, each as often as it came.
func (c *Counts) N() uint64 { return c.total }

// Len returns how many different texts there are; 0 if they are too many.
func (c *Counts) Len() int { return len(c.n) }

// TooMany tells whether the texts are beyond the bounds.
func (c *Counts) TooMany() bool { return c.many }

// Count returns how often text came; 0 if the texts are too many.
func (c *Counts) Count(text string) uint64 {
	if i, ok := c.at[text]; ok {
		return c.n[i]
	}
	return 0
}

// Sorted returns the texts and their counts in the order of the texts' bytes; nil if they are too many.
func (c *Counts) Sorted() []Count {
	out := c.list()
	slices.SortFunc(out, func(a, b Count) int { return strings.Compare(a.Text, b.Text) })
	return out
}

// Top returns the n texts that came most often, in descending order of their counts and, where these are equal, in the
// order of their bytes. It is nil if the texts are too many.
func (c *Counts) Top(n int) []Count {
	out := c.list()
	slices.SortFunc(out, byCount)
	return out[:min(max(n, 0), len(out))]
}

// byCount orders by descending count and ascending text.
func byCount(a, b Count) int {
	return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Text, b.Text))
}

func (c *Counts) list() []Count {
	if c.many {
		return nil
	}
	out := make([]Count, 0, len(c.n))
	for text, i := range c.at {
		out = append(out, Count{text, c.n[i]})
	}
	return out
}
