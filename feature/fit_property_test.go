package feature

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/record"
)

// fitRow is a row of made-up data.
type fitRow struct {
	x, y, label float64 // NaN is missing
	e, s        text
	id          int64
	out         bool // it is rejected, or not kept
}

func fitSchema() *record.Schema {
	s, err := record.NewSchema(
		record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "y", Type: record.Numeric}, record.Field{Name: "label", Type: record.Numeric},
		record.Field{Name: "e", Type: record.Enum}, record.Field{Name: "s", Type: record.String},
	)
	if err != nil {
		panic(err)
	}
	return s
}

// someRows draws rows. Those after training have values that it did not have.
func someRows(r *rand.Rand, n int, training bool) []fitRow {
	numbers := []float64{0, 1, 1, 2, 3, 5, -4, 0.1, 0.25, 1e6, math.Copysign(0, -1), nan()}
	texts := []string{"a", "b", "b", "c", "", "d e", "Zürich", "d"}
	lists := []string{"a,b", "b:2,a:0.5", "a a b", "", ",,", "a, b,a", "x y z x", "b:z,a", "c::d::c", "a:1e3", "q"}
	if r.IntN(8) == 0 {
		numbers = append(numbers, math.MaxFloat64, -math.MaxFloat64, 5e-324)
	}
	if !training {
		numbers = append(numbers, 7.5, -1e9, 1e9, 1e308)
		texts = append(texts, "new", "A")
		lists = append(lists, "new,a", "y,x", "b b b b b b")
	}
	one := func(list []string) text {
		if r.IntN(6) == 0 {
			return text{}
		}
		return text{list[r.IntN(len(list))], true}
	}
	rows := make([]fitRow, n)
	for i := range rows {
		rows[i] = fitRow{
			x: numbers[r.IntN(len(numbers))], y: math.Round(r.NormFloat64()*20) / 4, label: numbers[r.IntN(len(numbers))],
			e: one(texts), s: one(lists), id: int64(i)*7919 + 13, out: r.IntN(7) == 0,
		}
	}
	return rows
}

// fitBatch makes a batch of rows, and says which are kept: of those that are out, some are rejected.
func fitBatch(s *record.Schema, levels map[string][]string, rows []fitRow) (b *record.Batch, keep []bool) {
	b = record.NewBatch(s, levels)
	for i := range rows {
		r := &rows[i]
		b.Append(record.Raw{Offset: r.id})
		b.Numbers(0)[i], b.Numbers(1)[i], b.Numbers(2)[i] = r.x, r.y, r.label
		if r.e.ok {
			b.Codes(3)[i] = b.Dict(3).Code([]byte(r.e.s))
		}
		if r.s.ok {
			b.Texts(4).Set(i, []byte(r.s.s))
		}
		keep = append(keep, !r.out || i%2 == 0)
		if r.out && keep[i] {
			b.Reject(i, record.Problem{Stage: record.StageDecode, Class: "test"})
		}
	}
	return b, keep
}

// randomOptions draws values for some of the named arguments of a function.
func randomOptions(r *rand.Rand, f *function) (src string, o options) {
	o = options{}
	var b strings.Builder
	for i := range f.options {
		d := &f.options[i]
		v := d.def
		if d.name == "size" && r.IntN(2) == 0 || r.IntN(2) == 0 && d.name != "size" {
			v = randomSetting(r, d)
		}
		o[d.name] = v
	}
	if high, ok := o["high"]; ok && *high.Number >= 0 && *high.Number <= *o["low"].Number { // of ngrams and of min_max
		o["high"] = o["low"]
		if f.options[0].name == "low" && !f.options[0].whole {
			one := *o["low"].Number + 1
			o["high"] = setting{Number: &one}
		}
	}
	for i := range f.options {
		d := &f.options[i]
		switch v := o[d.name]; d.kind {
		case kindNumber:
			fmt.Fprintf(&b, ", %s: %v", d.name, *v.Number)
		case kindBool:
			fmt.Fprintf(&b, ", %s: %t", d.name, *v.Flag)
		default:
			fmt.Fprintf(&b, ", %s: %q", d.name, *v.Text)
		}
	}
	return b.String(), o
}

func randomSetting(r *rand.Rand, d *option) setting {
	switch {
	case d.whole:
		n := max(d.least, -1) + float64(r.IntN(6))
		n = min(n, d.most)
		return setting{Number: &n}
	case d.kind == kindNumber:
		list := []float64{d.def0(), 0, 0.25, 1.5}
		n := min(max(list[r.IntN(len(list))], d.least), d.most)
		return setting{Number: &n}
	case d.kind == kindBool:
		b := r.IntN(2) == 0
		return setting{Flag: &b}
	}
	list := d.allowed
	if list == nil {
		list = []string{",", " ", "::", ":"}
	}
	t := list[r.IntN(len(list))]
	return setting{Text: &t}
}

func (o *option) def0() float64 { return *o.def.Number }

// fittedNames are the fitted functions of the language.
func fittedNames() []string {
	var names []string
	for name, f := range newFunctions() {
		if f.fit != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fitCall is a call of a fitted function, as text and taken apart.
type fitCall struct {
	name, src string
	o         options
	of        string // the text that it is of: e or s
}

func randomCall(r *rand.Rand, name string) fitCall {
	f := newFunctions()[name]
	src, o := randomOptions(r, &f)
	c := fitCall{name: name, o: o, of: []string{"e", "s"}[r.IntN(2)]}
	args := map[string]string{"n": "x", "t": c.of, "nt": "x, " + c.of, "tn": c.of}[f.fit.args]
	if f.fit.class > 0 {
		args = map[string]string{"mdl_bucket": "x", "target_mean": c.of}[name]
		if r.IntN(2) == 0 {
			args += map[string]string{"mdl_bucket": ", text(label)", "target_mean": ", label"}[name]
		}
	}
	c.src = name + "(" + args + src + ")"
	return c
}

// wrap puts a call into others: what was fitted has to survive there, too.
func wrap(r *rand.Rand, out kind) string {
	if out == kindVector {
		return []string{"cross(%s, vector(x, y))", "normalize(%s)", "cross(one_hot(e, top: 2), %s, by: \"max\")"}[r.IntN(3)]
	}
	if out == kindBool {
		return []string{"one_hot(text(%s))", "%s ? x : standard(y)"}[r.IntN(2)]
	}
	return []string{
		"standard(%s)", "quantile_bucket(%s, buckets: 3)", "normalize(vector(%s, standard(y), x))", "target_mean(text(%s))",
		"cross(one_hot(e), vector(%s))", "one_hot(text(%s) + 'é', top: 3)", "impute(%s) + min_max(%[1]s)",
	}[r.IntN(7)]
}

// TestFitted holds every fitted function, with random options, on random data, against its reference; and a plan has the
// same bytes for every way of cutting the rows among fitters and every order of merging them, survives being stored, and
// then computes the same bits.
func TestFitted(t *testing.T) {
	t.Parallel()
	references := fitReferences()
	names := fittedNames()
	if want := slices.Sorted(maps.Keys(references)); !slices.Equal(names, want) {
		t.Fatalf("the fitted functions are %q, those that have a reference %q", names, want)
	}
	seeds := 12
	if testing.Short() {
		seeds = 6
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				checkFitted(t, name, uint64(seed))
			}
		})
	}
}

// FuzzFitted is TestFitted for seeds that are not known.
func FuzzFitted(f *testing.F) {
	names := fittedNames()
	for i := range names {
		f.Add(uint8(i), uint64(i)+1000)
	}
	f.Fuzz(func(t *testing.T, function uint8, seed uint64) { checkFitted(t, names[int(function)%len(names)], seed) })
}

func checkFitted(t *testing.T, name string, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	c := randomCall(r, name)
	f := newFunctions()[name]
	specs := []Spec{{"plain", c.src}, {"wrapped", fmt.Sprintf(wrap(r, f.fit.result(c.o)), c.src)}}
	say := func(format string, args ...any) {
		t.Helper()
		t.Errorf("seed %d: %s; %s: %s", seed, specs[0].Expr, specs[1].Expr, fmt.Sprintf(format, args...))
	}
	p, err := Compile(Declaration{Schema: fitSchema(), Features: specs, Inputs: []string{"plain", "wrapped"}, Label: "label"})
	if err != nil {
		say("%v", err)
		return
	}
	train := someRows(r, r.IntN(120), true)
	whole, err := fitOnce(p, train)
	if err != nil {
		say("%v", err)
		return
	}
	split, err := fitSplit(r, p, train)
	if err != nil {
		say("in parts: %v", err)
		return
	}
	stored := encoded(t, whole)
	if !bytes.Equal(stored, encoded(t, split)) {
		say("fitted in parts, the plan has other bytes")
	}
	back, err := ReadPlan(stored)
	if err != nil {
		say("it is not read: %v", err)
		return
	}
	if !bytes.Equal(stored, encoded(t, back)) || back.Digest() != whole.Digest() {
		say("read, the plan has other bytes")
	}
	reference := fitReferences()[name](&c, kept(train))
	for what, rows := range map[string][]fitRow{"training": train, "other": someRows(r, 80, false)} {
		b, _ := fitBatch(p.Schema(), back.Levels(), rows)
		own, _ := fitBatch(p.Schema(), nil, rows)
		first, second := whole.NewEvaluator(), back.NewEvaluator()
		if err := sameFrame(first.Eval(own, Enrichment{}), second.Eval(b, Enrichment{})); err != nil {
			say("read, %s rows: %v", what, err)
		}
		if !slices.Equal(first.Counts(), second.Counts()) || !slices.Equal(first.FittedCounts(), second.FittedCounts()) {
			say("read, %s rows: other counts", what)
		}
		if err := reference.check(back, rows, second.Eval(b, Enrichment{}), false); err != nil {
			say("%s rows: %v", what, err)
		}
		if err := reference.checkCounts(back, rows); err != nil {
			say("%s rows: %v", what, err)
		}
	}
	b, _ := fitBatch(p.Schema(), nil, train)
	if err := reference.check(whole, train, whole.NewTrainingEvaluator().Eval(b, Enrichment{}), true); err != nil {
		say("in training: %v", err)
	}
}

func kept(rows []fitRow) []fitRow {
	return slices.DeleteFunc(slices.Clone(rows), func(r fitRow) bool { return r.out })
}

func fitOnce(p *Plan, rows []fitRow) (*Plan, error) {
	for !p.Fitted() {
		f := p.NewFitter()
		b, keep := fitBatch(p.Schema(), nil, rows)
		f.Add(b, keep, Enrichment{})
		var err error
		if p, err = f.Plan(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// fitSplit fits on rows in any order, in batches of any size, with fitters that merge in any order.
func fitSplit(r *rand.Rand, p *Plan, rows []fitRow) (*Plan, error) {
	for !p.Fitted() {
		fitters := make([]*Fitter, 1+r.IntN(4))
		for i := range fitters {
			fitters[i] = p.NewFitter()
		}
		mixed := slices.Clone(rows)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		for len(mixed) > 0 {
			n := 1 + r.IntN(len(mixed))
			b, keep := fitBatch(p.Schema(), nil, mixed[:n])
			fitters[r.IntN(len(fitters))].Add(b, keep, Enrichment{})
			mixed = mixed[n:]
		}
		for len(fitters) > 1 {
			i := 1 + r.IntN(len(fitters)-1)
			into := r.IntN(i)
			fitters[into].Merge(fitters[i])
			fitters = slices.Delete(fitters, i, i+1)
		}
		var err error
		if p, err = fitters[0].Plan(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// fitReference computes what a fitted function is documented to be: one row at a time.
type fitReference struct {
	names []string // of the elements, or nil for a number
	// eval returns the elements for a row, and whether it counts as one without a value, or with one that was not seen.
	eval func(r *fitRow, training bool) (values []float64, missing, unseen bool)
}

func (f *fitReference) check(p *Plan, rows []fitRow, frame *record.Frame, training bool) error {
	names := []string{"plain"}
	if f.names != nil {
		names = nil
		for _, n := range f.names {
			if n == "" {
				names = append(names, "plain")
				continue
			}
			names = append(names, "plain_"+n)
		}
	}
	in := p.Inputs()
	if len(in) < len(names) {
		return fmt.Errorf("%d inputs, want %q", len(in), names)
	}
	for k, name := range names {
		if in[k].Name != name {
			return fmt.Errorf("input %d is %q, want %q", k, in[k].Name, name)
		}
	}
	for i := range rows {
		if rows[i].out && i%2 == 0 { // rejected
			continue
		}
		want, _, _ := f.eval(&rows[i], training)
		for k := range names {
			if got := frame.Columns[k].Numbers[i]; !sameNumber(got, want[k]) {
				return fmt.Errorf("row %d %+v: %s is %v, want %v", i, rows[i], names[k], got, want[k])
			}
		}
	}
	return nil
}

func sameNumber(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}

// checkCounts wants each row counted once.
func (f *fitReference) checkCounts(p *Plan, rows []fitRow) error {
	e := p.NewEvaluator()
	b, _ := fitBatch(p.Schema(), nil, rows)
	e.Eval(b, Enrichment{})
	at := slices.Index(p.Fits(), "plain")
	var want, got Counts
	for i := range rows {
		if b.Problem(i) != nil {
			continue
		}
		_, missing, unseen := f.eval(&rows[i], false)
		want.Missing += uint64(b2i(missing))
		want.Unseen += uint64(b2i(unseen))
	}
	if at >= 0 {
		got = e.FittedCounts()[at]
	} else if want != got {
		return nil // nothing of it is part of the plan: it had no training value
	}
	if got != want {
		return fmt.Errorf("counts %+v, want %+v", got, want)
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func elementNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, strconv.Itoa(i))
	}
	return names
}
