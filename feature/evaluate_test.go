package feature

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // the tests need zones on every machine

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// drawRows returns random rows, and which of them are rejected.
func drawRows(t *rapid.T) (rows []row, rejected []bool) {
	g := &grower{t: t}
	pool := rapid.IntRange(1, 20).Draw(t, "different rows")
	distinct := make([]row, pool)
	for i := range distinct {
		r := row{}
		for _, c := range []string{"x", "y"} {
			if g.pick(5) > 0 {
				r[c] = pickOf(g, someNumbers()...)
			}
		}
		for _, c := range []string{"e", "odd name", "s", "u"} {
			if g.pick(5) > 0 {
				r[c] = pickOf(g, someTexts()...)
			}
		}
		for _, c := range []string{"d", "g"} {
			if g.pick(5) > 0 {
				r[c] = pickOf(g, someTimes()...)
			}
		}
		for _, c := range []string{"win.n", "win.m"} {
			if g.pick(4) > 0 {
				r[c] = pickOf(g, someNumbers()...)
			}
		}
		distinct[i] = r
	}
	n := rapid.SampledFrom([]int{1, 7, 40, tile, tile + 1, 2*tile + 3}).Draw(t, "rows")
	step := rapid.IntRange(1, 7).Draw(t, "step")
	for i := range n {
		rows = append(rows, distinct[(i*step+i/pool)%pool])
		rejected = append(rejected, i%11 == 3 && pool%2 == 0)
	}
	return rows, rejected
}

// fillBatch adds rows to b.
func fillBatch(b *record.Batch, rows []row, rejected []bool) *record.Batch {
	s := b.Schema()
	for i, r := range rows {
		at := b.Append(record.Raw{})
		for f := range s.Len() {
			switch v := r[s.Field(f).Name].(type) {
			case float64:
				b.Numbers(f)[at] = v
			case time.Time:
				b.Times(f)[at] = v.UnixMicro()
			case string:
				if s.Field(f).Type == record.Enum {
					b.Codes(f)[at] = b.Dict(f).Code([]byte(v))
				} else {
					b.Texts(f).Set(at, []byte(v))
				}
			}
		}
		if rejected != nil && rejected[i] {
			b.Reject(at, record.Problem{Stage: record.StageDecode})
		}
	}
	return b
}

// checkColumn holds an input against the reference.
func checkColumn(t *rapid.T, src string, in record.Column, fitted []string, want []cell) {
	if in.Type == record.Enum && !slices.Equal(in.Levels, fitted) {
		t.Fatalf("%s: levels %q, want %q", src, in.Levels, fitted)
	}
	for i, w := range want {
		switch w := w.(type) {
		case nil:
			if in.Type == record.Enum && in.Codes[i] != record.MissingCode || in.Type == record.Numeric && math.Float64bits(in.Numbers[i]) != math.Float64bits(math.NaN()) {
				t.Fatalf("%s: row %d is not missing", src, i)
			}
		case float64:
			if math.Float64bits(in.Numbers[i]) != math.Float64bits(w) {
				t.Fatalf("%s: row %d: %v, want %v", src, i, in.Numbers[i], w)
			}
		case bool:
			if (in.Numbers[i] == 1) != w || !w && in.Numbers[i] != 0 {
				t.Fatalf("%s: row %d: %v, want %v", src, i, in.Numbers[i], w)
			}
		case string:
			c, ok := slices.BinarySearch(fitted, w)
			if !ok {
				c = -1
			}
			if in.Codes[i] != int32(c) {
				t.Fatalf("%s: row %d: code %d, want %d for %q", src, i, in.Codes[i], c, w)
			}
		}
	}
}

// TestAgainstReference compares random expressions over random batches, cut and encoded at random, with a
// second implementation.
func TestAgainstReference(t *testing.T) {
	t.Parallel()
	schema := randomSchema()
	rapid.Check(t, func(t *rapid.T) {
		g := &grower{t: t, more: true}
		var trees []*tree
		var inputs, sources []string
		for i := range rapid.IntRange(1, 4).Draw(t, "features") {
			tr := g.grow(pickOf(g, kindNumber, kindBool, kindText, kindText), rapid.IntRange(1, 6).Draw(t, "depth"))
			src := g.write(tr)
			name := string(rune('a'+i)) + "_"
			g.specs = append(g.specs, Spec{name, src})
			trees, inputs, sources = append(trees, tr), append(inputs, name), append(sources, src)
		}
		slices.Reverse(g.specs) // what a feature needs comes after it
		p, err := Compile(Declaration{Schema: schema, Features: g.specs, Inputs: inputs, Tables: randomTables(), Windows: randomWindows()})
		if err != nil {
			t.Fatalf("%q: %v", g.specs, err)
		}
		rows, rejected := drawRows(t)
		keep := make([]bool, len(rows))
		for i := range keep {
			keep[i] = i%3 != 1
		}
		fitted := fitInParts(t, p, rows, rejected, keep)
		want, levels, counts := reference(trees, rows, rejected, keep)
		got, gotCounts := evaluateInParts(t, fitted, rows, rejected)
		for k := range inputs {
			checkColumn(t, sources[k], got[k], levels[k], want[k])
		}
		if diff := cmp.Diff(counts, gotCounts); diff != "" {
			t.Fatalf("%q: counts: %s", sources, diff)
		}
	})
}

// reference returns the value of each tree in each row, the fitted levels, and the counts.
func reference(trees []*tree, rows []row, rejected, keep []bool) (want [][]cell, levels [][]string, counts []Counts) {
	for _, tr := range trees {
		column, set := make([]cell, len(rows)), []string{}
		for i, r := range rows {
			column[i] = tr.eval(r)
			if s, ok := column[i].(string); ok && keep[i] && !rejected[i] {
				set = append(set, s)
			}
		}
		slices.Sort(set)
		set = slices.Compact(set)
		var n Counts
		for i, c := range column {
			if rejected[i] {
				continue
			}
			if c == nil {
				n.Missing++
			} else if s, ok := c.(string); ok && !slices.Contains(set, s) {
				n.Unseen++
			}
		}
		want, levels, counts = append(want, column), append(levels, set), append(counts, n)
	}
	return want, levels, counts
}

// cuts returns random bounds that cut n rows into batches.
func cuts(t *rapid.T, n int) []int {
	out := []int{0, n}
	for range rapid.IntRange(0, 4).Draw(t, "cuts") {
		out = append(out, rapid.IntRange(0, n).Draw(t, "cut"))
	}
	slices.Sort(out)
	return out
}

// fitInParts fits p by several fitters, merged in random order, and reads the plan back from its bytes.
func fitInParts(t *rapid.T, p *Plan, rows []row, rejected, keep []bool) *Plan {
	var fitters []*Fitter
	b := record.NewBatch(p.Schema(), nil)
	at := cuts(t, len(rows))
	for i := range at[1:] {
		from, to := at[i], at[i+1]
		b.Reset()
		f := p.NewFitter()
		f.Add(fillBatch(b, rows[from:to], rejected[from:to]), keep[from:to], enrichmentOf(rows[from:to]))
		fitters = append(fitters, f)
	}
	fitters = rapid.Permutation(fitters).Draw(t, "order")
	for _, f := range fitters[1:] {
		fitters[0].Merge(f)
	}
	fitted, err := fitters[0].Plan()
	if err != nil {
		t.Fatal(err)
	}
	bytes1, err := fitted.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ReadPlan(bytes1)
	if err != nil {
		t.Fatalf("%v\n%s", err, bytes1)
	}
	bytes2, err := back.MarshalBinary()
	if err != nil || !bytes.Equal(bytes1, bytes2) || back.Digest() != fitted.Digest() || !back.Fitted() {
		t.Fatalf("not the same plan: %v\n%s\n%s", err, bytes1, bytes2)
	}
	return back
}

// evaluateInParts evaluates the rows with one evaluator, in random batches whose dictionaries differ.
func evaluateInParts(t *rapid.T, p *Plan, rows []row, rejected []bool) ([]record.Column, []Counts) {
	e := p.NewEvaluator()
	out := p.Inputs()
	at := cuts(t, len(rows))
	batches := []*record.Batch{
		record.NewBatch(p.Schema(), nil),
		record.NewBatch(p.Schema(), p.Levels()),
	}
	for range 2 { // as many known levels, in another order
		levels := rapid.Permutation(someTexts()).Draw(t, "levels")
		batches = append(batches, record.NewBatch(p.Schema(), map[string][]string{"e": levels[:7], "odd name": levels}))
	}
	for i := range at[1:] {
		b := rapid.SampledFrom(batches).Draw(t, "batch")
		b.Reset()
		frame := e.Eval(fillBatch(b, rows[at[i]:at[i+1]], rejected[at[i]:at[i+1]]), enrichmentOf(rows[at[i]:at[i+1]]))
		if frame.Rows != b.Len() {
			t.Fatalf("%d rows, want %d", frame.Rows, b.Len())
		}
		for k := range out {
			out[k].Numbers = append(out[k].Numbers, frame.Columns[k].Numbers...)
			out[k].Codes = append(out[k].Codes, frame.Columns[k].Codes...)
		}
	}
	return out, e.Counts()
}

// TestPredicateAgainstReference does the same for conditions.
func TestPredicateAgainstReference(t *testing.T) {
	t.Parallel()
	schema := randomSchema()
	rapid.Check(t, func(t *rapid.T) {
		g := &grower{t: t, whole: true}
		tr := g.grow(kindBool, 5)
		src := g.write(tr)
		p, err := CompilePredicate(schema, src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		rows, _ := drawRows(t)
		got := make([]bool, len(rows)+3)
		p.Eval(fillBatch(record.NewBatch(schema, nil), rows, nil), got)
		for i, r := range rows {
			if want := tr.eval(r) == true; got[i] != want {
				t.Fatalf("%s: row %d: %t, want %t", src, i, got[i], want)
			}
		}
	})
}
