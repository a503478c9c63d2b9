package feature

import "millrace.dev/record"

// sink takes the results of a program, a tile of rows at a time: result k of the rows from offset on. The slices
// are the machine's.
type sink interface {
	numbers(k, offset int, v []float64)
	bools(k, offset int, v []uint8)
	texts(k, offset int, v []text)
	times(k, offset int, v []int64)
}

// machine runs a layout over batches. It is for one goroutine at a time.
type machine struct {
	*layout
	batch  *record.Batch
	of     *record.Schema // the schema that fields was made for
	fields []int          // by field of the layout's schema: the batch's field, or -1
	rows   registers
	calls  []userCalls // by the layout's users
	levels []levelState

	enrich   Enrichment
	offset   int       // of the tile in the batch
	training bool      // rows get the numbers of their fold
	fitted   []Counts  // by owner of the layout
	counted  [][]uint8 // by owner: how the rows of the tile were counted
	dirty    []bool    // by owner: some row was
}

// How a row was counted for an owner.
const (
	countedMissing = 1 << iota
	countedUnseen
)

// registers hold a tile of values each.
type registers struct {
	number [][]float64
	flag   [][]uint8
	text   [][]text
	time   [][]int64
	row    [][]*record.Row
	bag    [][]bag
	arena  *arena
	parts  []weighed // that the bags of a tile have
}

// levelState holds the tables of a level block. Those of a batch's known levels stay until a batch with others
// comes; the rest is computed for each batch.
type levelState struct {
	tables []table
	regs   registers
	dict   *record.Dict
	known  []string // the levels that the first 1+len(known) positions stand for
	valid  int      // positions that are computed for good: 0 or 1+len(known)
	fresh  int      // the first position that the last update computed
	size   int      // positions in use: 1 + the levels of the batch
	arenas [2]arena // of the known levels, and of the others
}

// table is the value of each position, in the slice of its type.
type table struct {
	number []float64
	flag   []uint8
	text   []text
	time   []int64
}

func newMachine(l *layout, size int) *machine {
	m := &machine{
		layout: l, rows: newRegisters(&l.rows, size, &arena{}), levels: make([]levelState, len(l.levels)), fitted: make([]Counts, len(l.owners)),
		counted: columns[uint8](len(l.owners), size), dirty: make([]bool, len(l.owners)),
	}
	for _, f := range l.users {
		m.calls = append(m.calls, newUserCalls(f, max(size, levelTile)))
	}
	if l.schema != nil {
		m.fields = make([]int, l.schema.Len())
	}
	for i := range l.levels {
		m.levels[i].tables = make([]table, len(l.levels[i].tables))
		m.levels[i].regs = newRegisters(&l.levels[i].block, levelTile, nil)
	}
	return m
}

func newRegisters(b *block, size int, a *arena) registers {
	r := registers{
		number: columns[float64](b.counts[kindNumber], size),
		flag:   columns[uint8](b.counts[kindBool], size),
		text:   columns[text](b.counts[kindText], size),
		time:   columns[int64](b.counts[kindTime], size),
		row:    columns[*record.Row](b.counts[kindRow], size),
		bag:    columns[bag](b.counts[kindBag], size),
		arena:  a,
	}
	for _, c := range b.consts {
		switch c.kind {
		case kindNumber:
			fill(r.number[c.reg], c.lit.asNumber())
		case kindBool:
			fill(r.flag[c.reg], c.lit.asBool())
		case kindText:
			fill(r.text[c.reg], text{c.lit.text, !c.lit.missing})
		default:
			fill(r.time[c.reg], c.lit.asTime())
		}
	}
	return r
}

// columns returns n columns of the given size, in one piece of memory.
func columns[T any](n, size int) [][]T {
	all, out := make([]T, n*size), make([][]T, n)
	for i := range out {
		out[i] = all[i*size : (i+1)*size : (i+1)*size]
	}
	return out
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// bind points the machine at b. A batch of another schema is fine as long as it has the fields that the program
// reads.
func (m *machine) bind(b *record.Batch) {
	m.batch = b
	if m.of == b.Schema() {
		return
	}
	for _, f := range m.layout.fields {
		want := m.schema.Field(f)
		i, ok := b.Schema().Index(want.Name)
		if !ok || b.Schema().Field(i).Type != want.Type {
			panic("feature: the batch has no field " + want.Name + " of type " + want.Type.String())
		}
		m.fields[f] = i
	}
	m.of = b.Schema()
}

// begin points the machine at b and computes the tables of its levels.
func (m *machine) begin(b *record.Batch, e Enrichment) {
	m.bind(b)
	m.enrich = e
	for i := range m.levels {
		m.update(i)
	}
}

// end lets go of what begin was given.
func (m *machine) end() {
	m.enrich = Enrichment{}
	for _, rows := range m.rows.row {
		clear(rows)
	}
}

// run computes the results of every row of b, and the tables of its levels.
func (m *machine) run(b *record.Batch, e Enrichment, out sink) {
	m.begin(b, e)
	defer m.end()
	for offset := 0; offset < b.Len(); offset += tile {
		m.runRows(out, offset, min(tile, b.Len()-offset))
	}
}

// runRows runs n rows from offset on.
func (m *machine) runRows(out sink, offset, n int) {
	m.rows.arena.reset()
	m.rows.parts, m.offset = m.rows.parts[:0], offset
	for owner, dirty := range m.dirty {
		if dirty {
			clear(m.counted[owner])
			m.dirty[owner] = false
		}
	}
	for i := range m.layout.rows.code {
		c := &m.layout.rows.code[i]
		switch c.op {
		case opColumn:
			m.load(c, offset, n)
		case opGather:
			m.gather(c, offset, n)
		case opOutput:
			m.rows.output(c, out, offset, n)
		default:
			m.execute(&m.rows, c, n)
		}
	}
}

func (r *registers) output(c *code, out sink, offset, n int) {
	switch k := int(c.aux); c.kind {
	case kindNumber:
		out.numbers(k, offset, r.number[c.a][:n])
	case kindBool:
		out.bools(k, offset, r.flag[c.a][:n])
	case kindText:
		out.texts(k, offset, r.text[c.a][:n])
	default:
		out.times(k, offset, r.time[c.a][:n])
	}
}

// load fills a register from a column. A number that is not finite is missing.
func (m *machine) load(c *code, offset, n int) {
	f := m.fields[c.aux]
	switch m.batch.Schema().Field(f).Type {
	case record.Numeric:
		dst := m.rows.number[c.dst][:n]
		for i, v := range m.batch.Numbers(f)[offset : offset+n] {
			dst[i] = finite(v)
		}
	case record.Time:
		copy(m.rows.time[c.dst][:n], m.batch.Times(f)[offset:offset+n])
	default:
		dst, src := m.rows.text[c.dst][:n], m.batch.Texts(f)
		for i := range dst {
			dst[i] = text{src.View(offset + i), !src.Missing(offset + i)}
		}
	}
}

// gather fills a register with the values of the rows' levels.
func (m *machine) gather(c *code, offset, n int) {
	s := &m.levels[c.a]
	codes := m.batch.Codes(m.fields[m.layout.levels[c.a].field])[offset : offset+n]
	switch t := &s.tables[c.aux]; c.kind {
	case kindNumber:
		lookUp(m.rows.number[c.dst], t.number, codes)
	case kindBool:
		lookUp(m.rows.flag[c.dst], t.flag, codes)
	case kindText:
		lookUp(m.rows.text[c.dst], t.text, codes)
	default:
		lookUp(m.rows.time[c.dst], t.time, codes)
	}
}

func lookUp[T any](dst, table []T, codes []int32) {
	dst = dst[:len(codes)]
	for i, c := range codes {
		dst[i] = table[c+1]
	}
}

// update brings the tables of level block i up to date with the batch.
func (m *machine) update(i int) {
	s, lb := &m.levels[i], &m.layout.levels[i]
	d := m.batch.Dict(m.fields[lb.field])
	if !s.knows(d) {
		s.dict, s.known, s.valid = d, s.known[:0], 0
		for c := range d.Known() {
			s.known = append(s.known, d.Level(int32(c)))
		}
	}
	s.fresh, s.size = s.valid, d.Len()+1
	if s.valid == 0 {
		s.regs.arena = &s.arenas[0]
		s.regs.arena.reset()
		m.runLevels(s, lb, 0, 1+len(s.known))
		s.valid = 1 + len(s.known)
	}
	s.regs.arena = &s.arenas[1]
	s.regs.arena.reset()
	m.runLevels(s, lb, s.valid, s.size)
}

// knows tells whether the tables hold the known levels of d.
func (s *levelState) knows(d *record.Dict) bool {
	if s.dict == d {
		return true
	}
	if s.valid == 0 || len(s.known) != d.Known() {
		return false
	}
	for c, l := range s.known {
		if d.Level(int32(c)) != l {
			return false
		}
	}
	s.dict = d
	return true
}

// runLevels computes positions from up to to.
func (m *machine) runLevels(s *levelState, lb *levelBlock, from, to int) {
	for k := range s.tables {
		s.tables[k].resize(lb.tables[k], from, to)
	}
	for ; from < to; from += levelTile {
		n := min(levelTile, to-from)
		for i := range lb.code {
			switch c := &lb.code[i]; c.op {
			case opColumn:
				s.loadLevels(s.regs.text[c.dst][:n], from)
			case opOutput:
				s.tables[c.aux].store(&s.regs, c, from, n)
			default:
				m.execute(&s.regs, c, n)
			}
		}
	}
}

// loadLevels fills dst with the texts of the positions from from on.
func (s *levelState) loadLevels(dst []text, from int) {
	for i := range dst {
		if p := from + i; p == 0 {
			dst[i] = text{}
		} else {
			dst[i] = text{s.dict.Level(int32(p - 1)), true}
		}
	}
}

// resize makes room for the positions up to to, and keeps those below from.
func (t *table) resize(k kind, from, to int) {
	switch k {
	case kindNumber:
		t.number = resized(t.number[:from], to)
	case kindBool:
		t.flag = resized(t.flag[:from], to)
	case kindText:
		t.text = resized(t.text[:from], to)
	default:
		t.time = resized(t.time[:from], to)
	}
}

// resized returns s with n elements; those beyond its length hold anything.
func resized[T any](s []T, n int) []T {
	if n > cap(s) {
		grown := make([]T, n, n+n/4)
		copy(grown, s)
		return grown
	}
	return s[:n]
}

func (t *table) store(r *registers, c *code, from, n int) {
	switch c.kind {
	case kindNumber:
		copy(t.number[from:], r.number[c.a][:n])
	case kindBool:
		copy(t.flag[from:], r.flag[c.a][:n])
	case kindText:
		copy(t.text[from:], r.text[c.a][:n])
	default:
		copy(t.time[from:], r.time[c.a][:n])
	}
}

func (l *literal) asNumber() float64 {
	if l.missing {
		return nan()
	}
	return l.number
}

func (l *literal) asBool() uint8 {
	switch {
	case l.missing:
		return unknown
	case l.flag:
		return yes
	default:
		return no
	}
}

func (l *literal) asTime() int64 {
	if l.missing {
		return missingTime
	}
	return l.time
}
