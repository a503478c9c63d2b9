package feature

import (
	"fmt"
	"regexp"
	"slices"

	"millrace.dev/record"
)

// code is an instruction with its registers: dst and up to three operands, each a register of the type that the
// instruction takes there. aux is a position in a list of the layout: what it means depends on op.
type code struct {
	op      opcode
	kind    kind
	dst     int32
	a, b, c int32
	aux     int32
}

// block is a run of instructions over rows, or over the levels of one enum field.
type block struct {
	code   []code
	counts [kinds]int // registers by type
	consts []preset   // registers that hold one constant for good
}

type preset struct {
	kind kind
	reg  int32
	lit  literal
}

// levelBlock computes everything that depends on one enum field alone, once a level instead of once a row.
// Position 0 of its tables is the missing value, position 1+c is level c.
type levelBlock struct {
	block
	field  int
	tables []kind // of each table that it fills
}

// source says where the text of a result comes from: a table of a level block, or (levels -1) the rows.
type source struct{ levels, table int }

// layout is a program made ready to run. It is immutable.
type layout struct {
	schema   *record.Schema
	rows     block
	levels   []levelBlock
	sources  []source // by result; those of results that are not texts are {-1, 0}
	patterns []extraction
	zones    []*zone
	users    []*Function
	lists    []list
	fields   []int // of the schema that are read
	owners   []string
}

// extraction is a regular expression and a group of it.
type extraction struct {
	re    *regexp.Regexp
	group int
}

// list is what an instruction carries beside its arguments: the right-hand side of in, or what was fitted.
type list struct {
	numbers []float64
	texts   map[string]struct{}
	times   []int64
	codes   map[string]int32 // of labels
	buckets int              // for texts that are no labels
	tokens  tokens
	longest int // parts of the longest label among n-grams
	folds   [][]float64
	owner   int // of the layout's owners
	table   int
	column  int // of windows, or of a row's values
}

// The domain of a value: what it varies with. A domain of 0 or above is a field whose levels it depends on.
const (
	domainConst = -2
	domainRow   = -1
)

type layouter struct {
	*layout
	p        *program
	results  []int32
	flat     int    // so many results are by row, also texts that depend on a level alone
	live     []bool // by value: some result needs it
	domain   []int
	table    []int32 // by value: its table in the level block, or -1
	home     []int   // by value of a level domain: its level block
	needRow  []bool  // by value: some instruction of the rows needs it
	compiled map[string]*regexp.Regexp
}

// newLayout lays p out for its results. patterns holds regular expressions that are compiled already, and takes those
// that are not.
func newLayout(s *record.Schema, p *program, patterns map[string]*regexp.Regexp) (*layout, error) {
	return newLayoutOf(s, p, p.results, 0, patterns)
}

// newLayoutOf lays out what some values of p need. The first flat results are handed to the sink by row, whatever they
// are; a text that depends on a level alone is otherwise left in the table of the levels.
func newLayoutOf(s *record.Schema, p *program, results []int32, flat int, patterns map[string]*regexp.Regexp) (*layout, error) {
	n := len(p.values)
	l := &layouter{
		layout: &layout{schema: s}, p: p, results: results, flat: flat, live: p.live(results), domain: make([]int, n),
		table: make([]int32, n), home: make([]int, n), needRow: make([]bool, n), compiled: patterns,
	}
	l.fields = p.fields(l.live)
	for i := range p.values {
		l.domain[i] = l.domainOf(&p.values[i])
		l.table[i] = -1
	}
	l.demand()
	l.exports()
	for i := range l.levels {
		if err := l.emitLevels(i); err != nil {
			return nil, err
		}
	}
	return l.layout, l.emitRows()
}

func (l *layouter) domainOf(v *value) int {
	switch {
	case v.op == opColumn && l.schema.Field(v.field).Type == record.Enum:
		return v.field
	case v.op == opColumn:
		return domainRow
	case v.isConst():
		return domainConst
	case v.op.rowOnly():
		return domainRow
	}
	d := domainConst
	for _, a := range v.arguments() {
		if da := l.domain[a]; da != domainConst {
			if d != domainConst && d != da {
				return domainRow
			}
			d = da
		}
	}
	return max(d, domainRow) // constants alone were folded; if not, any domain will do
}

// demand finds the values that instructions over the rows need.
func (l *layouter) demand() {
	for i := range l.p.values {
		if v := &l.p.values[i]; l.live[i] && l.domain[i] == domainRow {
			for _, a := range v.arguments() {
				l.needRow[a] = true
			}
		}
	}
	for k, r := range l.results {
		if k < l.flat || l.p.values[r].kind != kindText || l.domain[r] < 0 {
			l.needRow[r] = true
		}
	}
}

// exports makes the level blocks and gives a table to each value that leaves one.
func (l *layouter) exports() {
	block := map[int]int{} // by field
	leaves := append([]bool(nil), l.needRow...)
	for _, r := range l.results {
		leaves[r] = true
	}
	for i, d := range l.domain {
		if d < 0 || !l.live[i] {
			continue
		}
		k, ok := block[d]
		if !ok {
			k = len(l.levels)
			block[d] = k
			l.levels = append(l.levels, levelBlock{field: d})
		}
		l.home[i] = k
		if lb := &l.levels[k]; leaves[i] {
			l.table[i] = int32(len(lb.tables))
			lb.tables = append(lb.tables, l.p.values[i].kind)
		}
	}
	for k, r := range l.results {
		s := source{levels: -1}
		if k >= l.flat && l.p.values[r].kind == kindText && l.domain[r] >= 0 {
			s = source{l.home[r], int(l.table[r])}
		}
		l.sources = append(l.sources, s)
	}
}

// emitLevels makes the code of level block k.
func (l *layouter) emitLevels(k int) error {
	lb := &l.levels[k]
	e := newEmitter(l, &lb.block, func(i int) bool { return l.live[i] && l.domain[i] == lb.field })
	for i := range l.p.values {
		if !e.member(i) {
			continue
		}
		if err := e.instruction(i); err != nil {
			return err
		}
		if l.table[i] >= 0 {
			e.emit(code{op: opOutput, kind: l.p.values[i].kind, a: e.reg[i], aux: l.table[i]})
		}
		e.release(i)
	}
	return nil
}

// emitRows makes the code of the rows: their instructions, the values of levels that those need, and the
// results.
func (l *layouter) emitRows() error {
	e := newEmitter(l, &l.rows, func(i int) bool { return l.live[i] && l.domain[i] == domainRow })
	outputs := map[int32][]int32{}
	for k, r := range l.results {
		if l.sources[k].levels < 0 {
			outputs[r] = append(outputs[r], int32(k))
		}
	}
	for i := range l.p.values {
		v := &l.p.values[i]
		switch {
		case !l.live[i]:
			continue
		case l.domain[i] == domainRow:
			if err := e.instruction(i); err != nil {
				return err
			}
		case l.domain[i] >= 0 && l.needRow[i]:
			e.reg[i] = e.take(v.kind)
			e.emit(code{op: opGather, kind: v.kind, dst: e.reg[i], a: int32(l.home[i]), aux: l.table[i]})
		case l.domain[i] == domainConst && len(outputs[int32(i)]) > 0:
			e.preset(i)
		default:
			continue
		}
		for _, k := range outputs[int32(i)] {
			e.emit(code{op: opOutput, kind: v.kind, a: e.reg[i], aux: k})
		}
		e.release(i)
	}
	return nil
}

// emitter writes the code of one block and hands out its registers: a register is free again after the last use
// of its value.
type emitter struct {
	l      *layouter
	b      *block
	member func(i int) bool
	reg    []int32 // by value
	last   []int   // by value: the last member that uses it
	free   [kinds][]int32
}

func newEmitter(l *layouter, b *block, member func(int) bool) *emitter {
	n := len(l.p.values)
	e := &emitter{l: l, b: b, member: member, reg: make([]int32, n), last: make([]int, n)}
	for i := range l.p.values {
		e.reg[i] = -1
		if member(i) {
			for _, a := range l.p.values[i].arguments() {
				e.last[a] = i
			}
		}
	}
	return e
}

func (e *emitter) emit(c code) { e.b.code = append(e.b.code, c) }

func (e *emitter) take(k kind) int32 {
	if f := e.free[k]; len(f) > 0 {
		r := f[len(f)-1]
		e.free[k] = f[:len(f)-1]
		return r
	}
	r := int32(e.b.counts[k])
	e.b.counts[k]++
	return r
}

// preset gives constant i a register of its own, which keeps its value.
func (e *emitter) preset(i int) {
	if v := &e.l.p.values[i]; e.reg[i] < 0 {
		e.reg[i] = int32(e.b.counts[v.kind]) // never one that was free: other values were there
		e.b.counts[v.kind]++
		e.b.consts = append(e.b.consts, preset{v.kind, e.reg[i], v.lit})
	}
}

// release frees the registers of the values that i used last, and of i if nothing uses it.
func (e *emitter) release(i int) {
	v := &e.l.p.values[i]
	if e.member(i) {
		for k, a := range v.arguments() {
			again := false
			for _, other := range v.arguments()[:k] {
				again = again || other == a
			}
			if arg := &e.l.p.values[a]; e.last[a] == i && !arg.isConst() && !again {
				e.free[arg.kind] = append(e.free[arg.kind], e.reg[a])
			}
		}
	}
	if e.last[i] <= i && !v.isConst() {
		e.free[v.kind] = append(e.free[v.kind], e.reg[i])
	}
}

// instruction emits value i.
func (e *emitter) instruction(i int) error {
	v := &e.l.p.values[i]
	var operands [3]int32
	for k, a := range v.arguments() {
		if e.l.p.values[a].isConst() {
			e.preset(int(a))
		}
		operands[k] = e.reg[a]
	}
	aux, err := e.l.literal(v)
	if err != nil {
		return err
	}
	e.reg[i] = e.take(v.kind)
	e.emit(code{op: v.op, kind: v.kind, dst: e.reg[i], a: operands[0], b: operands[1], c: operands[2], aux: aux})
	return nil
}

// literal puts what v carries beside its arguments where a machine finds it, and returns the position.
func (l *layouter) literal(v *value) (int32, error) {
	switch v.op { //nolint:exhaustive // most carry nothing, or a list
	case opColumn:
		return int32(v.field), nil
	case opMatches, opExtract, opCountMatches, opReplaceRegex:
		return l.pattern(v)
	case opYear, opMonth, opDay, opHour, opMinute, opSecond, opWeekday, opDayOfYear,
		opWeek, opQuarter, opDaysInMonth, opMinuteOfDay, opSecondOfDay, opIsWeekend:
		l.zones = append(l.zones, l.p.zones[v.zone]) // nil for UTC
		return int32(len(l.zones) - 1), nil
	case opUser:
		l.users = append(l.users, v.function)
		return int32(len(l.users) - 1), nil
	case opCall:
		return 0, errNotFitted
	}
	in, ok := l.list(v)
	if !ok {
		return 0, nil
	}
	l.lists = append(l.lists, in)
	return int32(len(l.lists) - 1), nil
}

func (l *layouter) pattern(v *value) (int32, error) {
	re := l.compiled[v.pattern]
	if re == nil {
		var err error
		if re, err = compilePattern(v.pattern); err != nil {
			return 0, err
		}
		l.compiled[v.pattern] = re
	}
	if v.group > re.NumSubexp() {
		return 0, fmt.Errorf("group %d of a regular expression that has %d", v.group, re.NumSubexp())
	}
	l.patterns = append(l.patterns, extraction{re, v.group})
	return int32(len(l.patterns) - 1), nil
}

// list returns what v carries, if that is a list or the like.
func (l *layouter) list(v *value) (list, bool) {
	in := list{numbers: v.numbers}
	switch v.op {
	case opInNumber, opBucket:
	case opInTime:
		in.times = v.times
	case opInText:
		in.texts = make(map[string]struct{}, len(v.texts))
		for _, t := range v.texts {
			in.texts[t] = struct{}{}
		}
	case opIndex, opTokens, opHashTokens, opGrams:
		in.buckets, in.tokens, in.codes = v.group, v.tokens, make(map[string]int32, len(v.texts))
		if v.op == opGrams {
			in.longest = v.tokens.longestGram(v.texts)
		}
		if v.op != opIndex {
			in.owner = l.owner(v.owner)
		}
		for i, t := range v.texts {
			in.codes[t] = int32(i)
		}
	case opPick:
		in.folds = v.folds
	case opSeen, opWithin:
		in.owner = l.owner(v.owner)
	case opRow:
		in.table = v.table
	case opCellNumber, opCellText, opCellTime:
		in.column = l.p.tables[v.table].Schema.Slot(v.field)
	case opWindow:
		in.column = l.p.column(v)
	default:
		return in, false
	}
	return in, true
}

// owner returns the position of a feature among those that count.
func (l *layouter) owner(name string) int {
	if i := slices.Index(l.owners, name); i >= 0 {
		return i
	}
	l.owners = append(l.owners, name)
	return len(l.owners) - 1
}
