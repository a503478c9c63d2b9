package feature

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"millrace.dev/record"
)

// Window declares aggregates of the records of one key over a time before a record.
type Window struct {
	Name string
	// Key is an expression that is a text: records with the same key are aggregated together.
	Key string
	// Where is a condition that a record has to meet to be aggregated. Default: "", every record.
	Where string
	// Size is how far back a window goes, in event time. Hop and Grace may be 0, for the defaults of the aggregation.
	Size, Hop, Grace time.Duration
	// GraceSet tells that Grace is declared, also as 0.
	GraceSet bool
	// Aggregates have a name each, and an expression that is one call: count(), mean(price), percentile(price, 0.9).
	Aggregates []Spec
}

// window is a window of a program.
type window struct {
	Window
	key, where int32   // values; where is -1 for none
	args       []int32 // values that aggregates are of, each once
	aggregates []Aggregate
}

// Aggregate is one aggregate of a window.
type Aggregate struct {
	Name string
	// Func is count, sum, mean, min, max, variance, stddev, distinct, last, lag, first, difference or percentile.
	Func string
	// Arg is which argument of the window it is of, a position; -1 for count().
	Arg int
	// K says which value, from 1, of last and lag.
	K int
	// P is the share of percentile, from 0 to 1.
	P float64
}

// aggregateFunc says what an aggregate takes: the types of its argument, and whether a literal follows.
type aggregateFunc struct {
	usage string
	args  string // the letters of types that it takes
	bare  bool   // it can be called without an argument
	k, p  bool
}

func aggregateFuncs() map[string]aggregateFunc {
	m := map[string]aggregateFunc{
		"count":      {usage: "count() or count(x)", args: "nbtd", bare: true},
		"distinct":   {usage: "distinct(x)", args: "nbt"},
		"last":       {usage: "last(x) or last(x, k)", args: "nb", k: true},
		"lag":        {usage: "lag(x) or lag(x, k)", args: "nb", k: true},
		"percentile": {usage: "percentile(x, 0.9)", args: "n", p: true},
	}
	for _, name := range []string{"sum", "mean", "min", "max", "variance", "stddev", "first", "difference"} {
		m[name] = aggregateFunc{usage: name + "(x)", args: "nb"}
	}
	return m
}

// declareWindow checks a window.
func (c *checker) declareWindow(w Window) {
	out := window{Window: w, where: -1}
	at := len(c.errs)
	key := c.expression(w.Name+".key", w.Key)
	if key.ok() && key.kind != kindText {
		c.errs = append(c.errs, &Error{Feature: w.Name + ".key", Length: len(w.Key), Msg: fmt.Sprintf("the key of a window is a text, not a %s", key.kind), Hint: "text(x) makes a text of a number"})
	}
	out.key = key.id
	if w.Where != "" {
		where := c.expression(w.Name+".where", w.Where)
		if where.ok() && where.kind != kindBool {
			c.errs = append(c.errs, &Error{Feature: w.Name + ".where", Length: len(w.Where), Msg: fmt.Sprintf("the condition is a %s, not a bool", where.kind)})
		}
		out.where = where.id
	}
	for _, a := range w.Aggregates {
		c.aggregate(&out, a)
	}
	if len(c.errs) == at {
		c.fromRecord(&out)
	}
	c.windows = append(c.windows, out)
}

// aggregate checks one aggregate.
func (c *checker) aggregate(w *window, spec Spec) {
	name := w.Name + "." + spec.Name
	node, marks, e := parse(spec.Expr)
	if e != nil {
		e.Feature = name
		c.errs = append(c.errs, e)
		return
	}
	s := &scope{checker: c, name: name, src: spec.Expr, marks: marks, memo: map[ast.Node]ref{}}
	fn, args := callOf(node)
	f, ok := aggregateFuncs()[fn]
	if !ok {
		s.fail(node, "an aggregate is one call, such as count() or mean(x)", suggest(fn, slices.Collect(maps.Keys(aggregateFuncs()))))
		return
	}
	if spec.Name == "" || !utf8.ValidString(spec.Name) || slices.ContainsFunc(w.aggregates, func(a Aggregate) bool { return a.Name == spec.Name }) {
		s.fail(node, "the name of an aggregate must be UTF-8 text that is not empty, and of one aggregate of the window", "")
		return
	}
	a := Aggregate{Name: spec.Name, Func: fn, Arg: -1, K: 1}
	most := 1
	if f.k || f.p {
		most = 2
	}
	if len(args) > most || len(args) == 0 && !f.bare || f.p && len(args) != 2 {
		s.fail(node, fmt.Sprintf("%s cannot be called with %d arguments", fn, len(args)), "write "+f.usage)
		return
	}
	if len(args) > 0 {
		x := s.check(args[0])
		if !x.ok() {
			return
		}
		if !slices.Contains([]byte(f.args), x.kind.letter()) {
			s.fail(args[0], fmt.Sprintf("%s cannot be of a %s", fn, x.kind), "write "+f.usage)
			return
		}
		if x.kind == kindBool {
			x = s.apply(node, "number", nil, x)
		}
		a.Arg = w.arg(x.id)
	}
	if len(args) == 2 && !s.aggregateLiteral(&a, args[1], f.p) {
		return
	}
	w.aggregates = append(w.aggregates, a)
}

// aggregateLiteral reads the second argument of an aggregate.
func (s *scope) aggregateLiteral(a *Aggregate, node ast.Node, share bool) bool {
	lit, ok := s.literalOf(node, kindNumber)
	switch {
	case !share && (!ok || lit.number < 1 || lit.number > maxBack || lit.number != float64(int(lit.number))):
		s.fail(node, fmt.Sprintf("want a literal whole number from 1 to %d", maxBack), "")
		return false
	case share && (!ok || lit.number < 0 || lit.number > 1):
		s.fail(node, "want a literal from 0 to 1", "0.5 is the median")
		return false
	case share:
		a.P = lit.number
	default:
		a.K = int(lit.number)
	}
	return true
}

func (w *window) arg(value int32) int {
	if i := slices.Index(w.args, value); i >= 0 {
		return i
	}
	w.args = append(w.args, value)
	return len(w.args) - 1
}

// callOf returns the name and the arguments of a call.
func callOf(node ast.Node) (string, []ast.Node) {
	switch n := node.(type) {
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			return unmark(id.Value), n.Arguments
		}
	case *ast.BuiltinNode:
		return n.Name, n.Arguments
	}
	return "", nil
}

// fromRecord reports a window that needs more than the record: it is computed before tables are looked up.
func (c *checker) fromRecord(w *window) {
	check := func(part string, v int32) bool {
		if !c.build.enriched[v] && !c.build.waits(v) {
			return true
		}
		c.errs = append(c.errs, &Error{
			Feature: w.Name + "." + part, Msg: "a window uses a table, another window or a fitted function", Hint: "windows are made of fields of the record, and of features made of these",
		})
		return false
	}
	if !check("key", w.key) || w.where >= 0 && !check("where", w.where) {
		return
	}
	for i := range w.aggregates {
		if a := &w.aggregates[i]; a.Arg >= 0 && !check(a.Name, w.args[a.Arg]) {
			return
		}
	}
}

// aggregateOf is window.name.
func (s *scope) aggregateOf(node ast.Node, w int, name string) ref {
	var names []string
	for i, a := range s.windows[w].aggregates {
		if a.Name == name {
			return s.add(node, value{op: opWindow, window: w, value: i})
		}
		names = append(names, a.Name)
	}
	for _, a := range s.windows[w].Aggregates { // one at fault was reported
		if a.Name == name {
			return ref{}
		}
	}
	return s.fail(node, fmt.Sprintf("the window %s has no aggregate %q", s.windows[w].Name, name), suggest(name, names))
}

// Windows returns the windows that inputs of the plan need, in the order of their declaration, with the arguments of
// their aggregates in the order of the WindowReader's.
func (p *Plan) Windows() []WindowInfo {
	var out []WindowInfo
	for i := range p.prog.windows {
		w := &p.prog.windows[i]
		info := WindowInfo{Name: w.Name, Size: w.Size, Hop: w.Hop, Grace: w.Grace, GraceSet: w.GraceSet, Aggregates: slices.Clone(w.aggregates)}
		for _, a := range w.args {
			info.Texts = append(info.Texts, p.prog.values[a].kind == kindText)
		}
		info.Source, info.KeySource = p.windowSource(w)
		if key := &p.prog.values[w.key]; key.op == opColumn {
			info.KeyField = p.schema.Field(key.field).Name
		}
		out = append(out, info)
	}
	return out
}

// WindowInfo describes a window of a plan.
type WindowInfo struct {
	Name             string
	Size, Hop, Grace time.Duration
	GraceSet         bool
	Aggregates       []Aggregate
	Texts            []bool // by argument: it is a text, or else a number
	// KeyField is the field that is the key, or "" where that is another expression.
	KeyField string
	// Source is a digest of what the window aggregates: of its key, its condition and its arguments. KeySource is one of
	// the key alone.
	Source, KeySource string
}

// windowSource returns the digest of the expressions of a window, and that of its key.
func (p *Plan) windowSource(w *window) (all, key string) {
	table := newOpTable()
	digests := make([][]byte, len(p.prog.values))
	var digest func(id int32) []byte
	digest = func(id int32) []byte {
		if digests[id] == nil {
			v := p.prog.values[id]
			h := sha256.New()
			args := v.args
			v.args = nil
			h.Write(encodeJSON(v.json(table, p.prog, p.schema)))
			for _, a := range args {
				h.Write(digest(a))
			}
			digests[id] = h.Sum(nil)
		}
		return digests[id]
	}
	h := sha256.New()
	h.Write(digest(w.key))
	if w.where >= 0 {
		h.Write(digest(w.where))
	}
	for _, a := range w.args {
		h.Write(digest(a))
	}
	return hex.EncodeToString(h.Sum(nil)), hex.EncodeToString(digest(w.key))
}

// Tables returns the tables that inputs of the plan look up, in the order of their declaration.
func (p *Plan) Tables() []Table { return slices.Clone(p.prog.tables) }

// WindowReader computes what the windows of a plan aggregate. It is for one goroutine at a time.
type WindowReader struct {
	m     *machine
	rows  []WindowRows
	to    []destination
	bytes arena // of keys and arguments
}

// WindowRows is what a window aggregates of each row of a batch.
type WindowRows struct {
	Keys  []record.Text // the key; a row without one has no aggregates
	Where []bool        // whether the row is aggregated
	// Numbers and Texts have the arguments, by their position: one of the two, by [WindowInfo].Texts. A time counts as its
	// seconds since 1970.
	Numbers [][]float64
	Texts   [][]record.Text
}

// destination says what a result of the reader's program is.
type destination struct{ window, arg int }

const (
	destKey   = -1
	destWhere = -2
)

// NewWindowReader returns a reader of the plan's windows.
func (p *Plan) NewWindowReader() (*WindowReader, error) {
	r := &WindowReader{}
	var results []int32
	for i := range p.prog.windows {
		w := &p.prog.windows[i]
		results = append(results, w.key)
		r.to = append(r.to, destination{i, destKey})
		if w.where >= 0 {
			results = append(results, w.where)
			r.to = append(r.to, destination{i, destWhere})
		}
		for k, a := range w.args {
			results = append(results, a)
			r.to = append(r.to, destination{i, k})
		}
		r.rows = append(r.rows, WindowRows{Numbers: make([][]float64, len(w.args)), Texts: make([][]record.Text, len(w.args))})
	}
	l, err := newLayoutOf(p.schema, p.prog, results, len(results), map[string]*regexp.Regexp{})
	if err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	r.m = newMachine(l, tile)
	return r, nil
}

// Read computes the rows of b, by window. They are valid until the next Read, and until b is reset.
func (r *WindowReader) Read(b *record.Batch) []WindowRows {
	n := b.Len()
	r.bytes.reset()
	for i := range r.rows {
		w := &r.rows[i]
		w.Keys, w.Where = resized(w.Keys[:0], n), resized(w.Where[:0], n)
		for k := range w.Where {
			w.Where[k] = true
		}
		for k := range w.Numbers {
			w.Numbers[k], w.Texts[k] = w.Numbers[k][:0], w.Texts[k][:0]
		}
	}
	r.m.run(b, Enrichment{}, r)
	return r.rows
}

func (r *WindowReader) numbers(k, offset int, v []float64) {
	w := &r.rows[r.to[k].window]
	w.Numbers[r.to[k].arg] = append(w.Numbers[r.to[k].arg][:offset], v...)
}

func (r *WindowReader) bools(k, offset int, v []uint8) {
	for i, x := range v {
		r.rows[r.to[k].window].Where[offset+i] = x == yes
	}
}

func (r *WindowReader) texts(k, offset int, v []text) {
	w := &r.rows[r.to[k].window]
	dst := w.Keys[:offset]
	if arg := r.to[k].arg; arg >= 0 {
		dst = w.Texts[arg][:offset]
	}
	for _, t := range v {
		dst = append(dst, r.bytes.copied(t))
	}
	if arg := r.to[k].arg; arg >= 0 {
		w.Texts[arg] = dst
	} else {
		w.Keys = dst
	}
}

func (r *WindowReader) times(k, offset int, v []int64) {
	w := &r.rows[r.to[k].window]
	dst := w.Numbers[r.to[k].arg][:offset]
	for _, t := range v {
		x := nan()
		if t != missingTime {
			x = float64(t) / 1e6
		}
		dst = append(dst, x)
	}
	w.Numbers[r.to[k].arg] = dst
}
