package feature

import (
	"errors"
	"regexp"
	"slices"
)

// ref is a checked expression: the number of its value in the builder, and its type.
type ref struct {
	id   int32
	kind kind
}

func (r ref) ok() bool { return r.kind != kindInvalid }

// builder makes the values of a program. It shares equal values, and folds a value whose arguments are all
// constants by running it, so that a folded result cannot differ from one that is not.
type builder struct {
	table    *opTable
	values   []value
	prints   []string         // by value, see print
	waiting  []bool           // by value: it needs a call that is not fitted
	enriched []bool           // by value: it needs a table or a window
	ids      map[string]int32 // by encoded value
	zones    map[string]*zone
	patterns map[string]*regexp.Regexp
}

func newBuilder() *builder {
	return &builder{
		table: newOpTable(), ids: map[string]int32{},
		zones: map[string]*zone{}, patterns: map[string]*regexp.Regexp{},
	}
}

var errTooLarge = errors.New("the expressions are too large together")

// add adds v, which has everything but the kind, and returns it or the value that it equals.
func (b *builder) add(v value) (ref, error) {
	if v.op != opColumn && v.op != opCall && v.op != opUser {
		v.kind = b.table[v.op].result
	}
	if len(v.args) > 0 && v.op != opCall && v.op != opWeight && v.op != opUser && !v.op.rowOnly() && b.allConst(v.arguments()) {
		var err error
		if v, err = b.fold(v); err != nil {
			return ref{}, err
		}
	}
	key := string(encodeValue(b.table, &v)) + v.foldsKey()
	if id, ok := b.ids[key]; ok {
		return ref{id, v.kind}, nil
	}
	if len(b.values) == maxBuilding {
		return ref{}, errTooLarge
	}
	id := int32(len(b.values))
	b.values, b.ids[key] = append(b.values, v), id
	b.prints = append(b.prints, b.print(&v))
	waiting, enriched := v.op == opCall, v.op == opRow || v.op == opWindow
	for _, a := range v.args {
		waiting, enriched = waiting || b.waiting[a], enriched || b.enriched[a]
	}
	b.waiting, b.enriched = append(b.waiting, waiting), append(b.enriched, enriched)
	return ref{id, v.kind}, nil
}

func (b *builder) allConst(ids []int32) bool {
	for _, id := range ids {
		if !b.values[id].isConst() {
			return false
		}
	}
	return true
}

// fold returns the constant that v computes from its constant arguments.
func (b *builder) fold(v value) (value, error) {
	p := &program{zones: b.zones, results: []int32{int32(len(v.args))}}
	args := make([]int32, len(v.args))
	for i, id := range v.arguments() {
		p.values = append(p.values, b.values[id])
		args[i] = int32(i)
	}
	v.args = args
	p.values = append(p.values, v)
	l, err := newLayout(nil, p, b.patterns)
	if err != nil {
		return value{}, err
	}
	var out constant
	newMachine(l, 1).runRows(&out, 0, 1)
	return out.value, nil
}

// constant is the sink of a program that is folded.
type constant struct{ value value }

func (c *constant) numbers(_, _ int, v []float64) {
	c.value = value{op: opNumber, kind: kindNumber, lit: literal{number: v[0]}}
	if v[0] != v[0] {
		c.value.lit = literal{missing: true}
	}
}

func (c *constant) bools(_, _ int, v []uint8) {
	c.value = value{op: opBool, kind: kindBool, lit: literal{missing: v[0] == unknown, flag: v[0] == yes}}
}

func (c *constant) texts(_, _ int, v []text) {
	c.value = value{op: opText, kind: kindText, lit: literal{missing: !v[0].ok, text: v[0].s}}
}

func (c *constant) times(_, _ int, v []int64) {
	c.value = value{op: opTime, kind: kindTime, lit: literal{time: v[0]}}
	if v[0] == missingTime {
		c.value.lit = literal{missing: true}
	}
}

// program returns the values that results need, in an order that depends on the results alone: not on the order
// of declaration, nor on features that nothing uses. It has the tables and the windows that the values of use need.
func (b *builder) program(results, use []int32, tables []Table, windows []window) (*program, error) {
	p := &program{zones: map[string]*zone{}}
	usedTables, usedWindows := b.used(use)
	newTable, newWindow := map[int]int{}, map[int]int{}
	for i, t := range tables {
		if usedTables[i] {
			newTable[i] = len(p.tables)
			p.tables = append(p.tables, t)
		}
	}
	for i, w := range windows {
		if usedWindows[i] {
			newWindow[i] = len(p.windows)
			w.args = slices.Clone(w.args)
			p.windows = append(p.windows, w)
		}
	}
	moved := make(map[int32]int32, len(results))
	var visit func(id int32) int32
	visit = func(id int32) int32 {
		if to, ok := moved[id]; ok {
			return to
		}
		v := b.values[id]
		v.args = slices.Clone(v.args)
		for i, a := range v.args {
			v.args[i] = visit(a)
		}
		if v.zone != "" {
			p.zones[v.zone] = b.zones[v.zone]
		}
		v.table, v.window = newTable[v.table], newWindow[v.window]
		to := int32(len(p.values))
		p.values, moved[id] = append(p.values, v), to
		return to
	}
	for _, id := range results {
		p.results = append(p.results, visit(id))
	}
	for i := range p.windows {
		w := &p.windows[i]
		w.key = visit(w.key)
		if w.where >= 0 {
			w.where = visit(w.where)
		}
		for k := range w.args {
			w.args[k] = visit(w.args[k])
		}
	}
	if len(p.values) > maxProgram {
		return nil, errTooLarge
	}
	return p, nil
}

// used returns the tables and windows that results need.
func (b *builder) used(results []int32) (tables, used map[int]bool) {
	tables, used = map[int]bool{}, map[int]bool{}
	b.each(results, func(id int32) {
		switch v := &b.values[id]; v.op {
		case opRow:
			tables[v.table] = true
		case opWindow:
			used[v.window] = true
		default:
		}
	})
	return tables, used // windows need no tables and no windows
}

// needed returns the fitted functions that results need: the program has the tables and the windows of no others.
func (b *builder) needed(all []*wanted, results []int32) []*wanted {
	calls := map[string]bool{}
	b.each(results, func(id int32) {
		if b.values[id].op == opCall {
			calls[b.prints[id]] = true
		}
	})
	return slices.DeleteFunc(all, func(w *wanted) bool { return !calls[w.print] })
}

// each calls fn once with each value that results need.
func (b *builder) each(results []int32, fn func(id int32)) {
	seen := map[int32]bool{}
	var visit func(id int32)
	visit = func(id int32) {
		if seen[id] {
			return
		}
		seen[id] = true
		fn(id)
		for _, a := range b.values[id].args {
			visit(a)
		}
	}
	for _, id := range results {
		visit(id)
	}
}
