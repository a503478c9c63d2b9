package gbm

import (
	"encoding/binary"
	"slices"
	"strings"

	"millrace.dev/record"
)

// Inputs with at most 255 bins and a missing bin are narrow: a byte a row. They are kept twice: in rows, for
// histograms, which need all inputs of a row at once, and in columns, for partitions, which need one input of
// all rows. Inputs with more bins are wide: two bytes a row, in columns only.

// groupWidth is the number of inputs that a step of the histogram loop takes: one 64-bit load.
const groupWidth = 8

// blockWidth is the number of narrow inputs of a block: one cache line a row, and histograms of 128 KB.
const blockWidth = 64

// matrix is the binned training data.
type matrix struct {
	rows     int
	inputs   []input // in byte order of their names, so that the caller's order does not matter
	blocks   []block
	wides    []int // positions of the wide inputs
	narrow   int   // number of narrow inputs
	wideBins int   // bins of all wide inputs, with those of missing values
}

// input is one binned input.
type input struct {
	binning
	column int // position in the frame
	name   string
	enum   bool
	slot   int      // narrow: number among the narrow inputs; wide: start in a histogram's wide part
	bytes  []uint8  // narrow: the bin of each row
	words  []uint16 // wide: the bin of each row
}

func (in *input) wide() bool { return in.words != nil }

// block holds up to blockWidth narrow inputs by row.
type block struct {
	group  int // first group of inputs
	groups int // full groups of eight inputs
	half   bool
	stride int // bytes a row: 8*groups, and 4 for a half group of one to four inputs
	bins   []uint8
}

// newMatrix bins the columns of fr.
func newMatrix(p *pool, fr *record.Frame, pr *Params) *matrix {
	m := &matrix{rows: fr.Rows, inputs: make([]input, len(fr.Columns))}
	order := make([]int, len(fr.Columns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(fr.Columns[a].Name, fr.Columns[b].Name) })
	p.each(len(order), 1, func(i, _, _ int) {
		c := &fr.Columns[order[i]]
		in := &m.inputs[i]
		in.column, in.name, in.enum = order[i], c.Name, c.Type == record.Enum
		if in.enum {
			in.binning = enumBins(c, pr.NBinsCats)
		} else {
			in.binning = numericBins(c.Numbers, pr.NBins, pr.Seed)
		}
	})
	m.layOut()
	p.each(m.rows, rowChunk, func(_, lo, hi int) {
		for i := range m.inputs {
			m.fill(&m.inputs[i], &fr.Columns[m.inputs[i].column], lo, hi)
		}
	})
	return m
}

// layOut gives every input its place.
func (m *matrix) layOut() {
	for i := range m.inputs {
		in := &m.inputs[i]
		if in.n > maxBins {
			in.slot, in.words = m.wideBins, make([]uint16, m.rows)
			m.wideBins += in.n + 1
			m.wides = append(m.wides, i)
		} else {
			in.slot, in.bytes = m.narrow, make([]uint8, m.rows)
			m.narrow++
		}
	}
	for at := 0; at < m.narrow; at += blockWidth {
		width := min(blockWidth, m.narrow-at)
		b := block{group: at / groupWidth, groups: width / groupWidth}
		switch rest := width % groupWidth; {
		case rest > groupWidth/2:
			b.groups++
		case rest > 0:
			b.half = true
		}
		b.stride = b.groups * groupWidth
		if b.half {
			b.stride += groupWidth / 2
		}
		b.bins = make([]uint8, m.rows*b.stride)
		m.blocks = append(m.blocks, b)
	}
}

// fill writes rows lo..hi-1 of an input.
func (m *matrix) fill(in *input, c *record.Column, lo, hi int) {
	switch {
	case in.wide():
		for r := lo; r < hi; r++ {
			in.words[r] = uint16(in.levelBin(c.Codes[r]))
		}
		return
	case in.enum:
		for r := lo; r < hi; r++ {
			in.bytes[r] = uint8(in.levelBin(c.Codes[r]))
		}
	default:
		for r := lo; r < hi; r++ {
			in.bytes[r] = uint8(in.bin(c.Numbers[r]))
		}
	}
	b := &m.blocks[in.slot/blockWidth]
	at := in.slot % blockWidth
	for r := lo; r < hi; r++ {
		b.bins[r*b.stride+at] = in.bytes[r]
	}
}

// group is the histograms of eight narrow inputs. A bin holds the sum of [trainer.packed] over its rows.
type group [groupWidth][maxBins + 1]int64

// histogram is the sums of every bin of every input over the rows of a node.
type histogram struct {
	narrow []group
	wide   []int64
}

func (m *matrix) newHistogram() *histogram {
	return &histogram{
		narrow: make([]group, (m.narrow+groupWidth-1)/groupWidth),
		wide:   make([]int64, m.wideBins),
	}
}

// of returns the bins of an input: its values' and then the one of missing values.
func (h *histogram) of(in *input) []int64 {
	if in.wide() {
		return h.wide[in.slot : in.slot+in.n+1]
	}
	return h.narrow[in.slot/groupWidth][in.slot%groupWidth][:in.n+1]
}

// parts is the number of parts that the work on a histogram falls into: its blocks and its wide inputs.
func (m *matrix) parts() int { return len(m.blocks) + len(m.wides) }

// fillPart sets one part of h to the sums of the given rows.
func (m *matrix) fillPart(h *histogram, part int, rows []uint32, packed []int64) {
	if part < len(m.blocks) {
		b := &m.blocks[part]
		hist := h.narrow[b.group:min(len(h.narrow), b.group+blockWidth/groupWidth)]
		clear(hist)
		b.add(hist, rows, packed)
		return
	}
	in := &m.inputs[m.wides[part-len(m.blocks)]]
	hist := h.of(in)
	clear(hist)
	for _, r := range rows {
		hist[in.words[r]] += packed[r]
	}
}

// add adds o, bin by bin.
func (h *histogram) add(o *histogram) {
	for k := range h.narrow {
		a, b := &h.narrow[k], &o.narrow[k]
		for i := range a {
			for j := range a[i] {
				a[i][j] += b[i][j]
			}
		}
	}
	for j, v := range o.wide[:len(h.wide)] {
		h.wide[j] += v
	}
}

// subtract takes o away, bin by bin.
func (h *histogram) subtract(o *histogram) {
	for k := range h.narrow {
		a, b := &h.narrow[k], &o.narrow[k]
		for i := range a {
			for j := range a[i] {
				a[i][j] -= b[i][j]
			}
		}
	}
	for j, v := range o.wide[:len(h.wide)] {
		h.wide[j] -= v
	}
}

// add adds the given rows to the histograms of a block's inputs. This loop takes most of the time of
// training.
func (b *block) add(hist []group, rows []uint32, packed []int64) {
	stride := b.stride
	for _, r := range rows {
		g := packed[r]
		bins := b.bins[int(r)*stride:][:stride]
		for k := range b.groups {
			x := binary.LittleEndian.Uint64(bins[k*groupWidth:])
			h := &hist[k]
			h[0][uint8(x)] += g
			h[1][uint8(x>>8)] += g
			h[2][uint8(x>>16)] += g
			h[3][uint8(x>>24)] += g
			h[4][uint8(x>>32)] += g
			h[5][uint8(x>>40)] += g
			h[6][uint8(x>>48)] += g
			h[7][uint8(x>>56)] += g
		}
		if b.half {
			x := binary.LittleEndian.Uint32(bins[b.groups*groupWidth:])
			h := &hist[b.groups]
			h[0][uint8(x)] += g
			h[1][uint8(x>>8)] += g
			h[2][uint8(x>>16)] += g
			h[3][uint8(x>>24)] += g
		}
	}
}
