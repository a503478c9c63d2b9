package gbm

import (
	"cmp"
	"context"
	"math"
	"slices"
	"testing"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

// exact is a trainer of one tree that tries every split of every input in float64: every threshold, with missing
// on either side, missing against the rest, and every subset of the levels of an enum, with missing as one of
// them.
type exact struct {
	fr       *record.Frame
	residual []float64
	minRows  int
}

func (e *exact) errorOf(rows []int) float64 {
	var sum, squares float64
	for _, r := range rows {
		sum += e.residual[r]
		squares += e.residual[r] * e.residual[r]
	}
	if len(rows) == 0 {
		return 0
	}
	return squares - sum*sum/float64(len(rows))
}

// gain is the fall of the squared error when left tells the rows that go left; 0 if a side is too small.
func (e *exact) gain(rows []int, left func(row int) bool) float64 {
	var a, b []int
	for _, r := range rows {
		if left(r) {
			a = append(a, r)
		} else {
			b = append(b, r)
		}
	}
	if len(a) < e.minRows || len(b) < e.minRows {
		return 0
	}
	return e.errorOf(rows) - e.errorOf(a) - e.errorOf(b)
}

// best is the largest gain of any split of the rows.
func (e *exact) best(rows []int) float64 {
	var best float64
	for i := range e.fr.Columns {
		c := &e.fr.Columns[i]
		if c.Type == record.Enum {
			for _, set := range e.sets(c, rows) {
				best = max(best, e.gain(rows, func(r int) bool { return set>>(c.Codes[r]+1)&1 != 0 }))
			}
			continue
		}
		for _, at := range append([]int{-1}, rows...) {
			threshold := math.Inf(1)
			if at >= 0 {
				threshold = c.Numbers[at]
			}
			for _, missingLeft := range []bool{false, true} {
				best = max(best, e.gain(rows, func(r int) bool {
					return c.Numbers[r] <= threshold || math.IsNaN(c.Numbers[r]) && missingLeft
				}))
			}
		}
	}
	return best
}

// sets returns the sets of levels to try, as bits: bit 0 is missing. Without a lower bound of rows these are all
// subsets; with one, the best subset need not be a cut of the sorted levels, and only cuts are tried.
func (e *exact) sets(c *record.Column, rows []int) []int {
	if e.minRows == 1 {
		return rowNumbers(1 << (len(c.Levels) + 1))
	}
	var sum, count [8]float64
	for _, r := range rows {
		sum[c.Codes[r]+1] += e.residual[r]
		count[c.Codes[r]+1]++
	}
	var order []int
	for l := 1; l <= len(c.Levels)+1; l++ { // missing is last among equals
		if k := l % (len(c.Levels) + 1); count[k] > 0 {
			order = append(order, k)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sum[a]/count[a], sum[b]/count[b]) })
	var sets []int
	set := 0
	for _, k := range order {
		set |= 1 << k
		sets = append(sets, set)
	}
	return sets
}

// check walks a tree with the rows that reach each node: each split must be as good as the best there is, and
// each leaf must have none that is worth it, and the mean residual.
func (e *exact) check(t *rapid.T, tree []node, at int32, rows []int, depth int, rate float64) {
	n := &tree[at]
	best := e.best(rows)
	if n.input == leaf {
		var sum float64
		for _, r := range rows {
			sum += e.residual[r]
		}
		if want := rate * sum / float64(len(rows)); math.Abs(n.value-want) > 1e-12*(1+math.Abs(want)) {
			t.Fatalf("leaf %d of %d rows: %v, want %v", at, len(rows), n.value, want)
		}
		if depth > 0 && best > 1e-9 {
			t.Fatalf("leaf %d of %d rows: a split would gain %v", at, len(rows), best)
		}
		return
	}
	c := &e.fr.Columns[n.input]
	left := func(r int) bool {
		switch {
		case c.Type == record.Enum && c.Codes[r] >= 0:
			return n.set.has(int(c.Codes[r]))
		case c.Type == record.Enum || math.IsNaN(c.Numbers[r]):
			return n.missingLeft
		default:
			return c.Numbers[r] <= n.value
		}
	}
	if gain := e.gain(rows, left); math.Abs(gain-best) > 1e-9*best || best == 0 {
		t.Fatalf("node %d of %d rows: gain %v, the best is %v", at, len(rows), gain, best)
	}
	var a, b []int
	missing := 0
	for _, r := range rows {
		if left(r) {
			a = append(a, r)
		} else {
			b = append(b, r)
		}
		if c.Type == record.Enum && c.Codes[r] < 0 || c.Type == record.Numeric && math.IsNaN(c.Numbers[r]) {
			missing++
		}
	}
	if missing == 0 && n.missingLeft != (len(a) >= len(b)) {
		t.Fatalf("node %d: no row is missing, %d go left and %d right, missing goes left: %t", at, len(a), len(b), n.missingLeft)
	}
	e.check(t, tree, at+1, a, depth-1, rate)
	e.check(t, tree, n.right, b, depth-1, rate)
}

// TestExact holds a tree against the exact trainer. Labels are whole numbers with a whole mean, so that residuals
// are not rounded.
func TestExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 24).Draw(t, "rows")
		d := Dataset{Frame: &record.Frame{Rows: rows}, Label: make([]float64, rows)}
		numbers := rapid.SampledFrom([]float64{math.NaN(), math.Inf(-1), -2, -0.5, 0, 1, 3, 7, 1e9, math.Inf(1)})
		for i := range rapid.IntRange(1, 4).Draw(t, "inputs") {
			c := record.Column{Name: string(rune('a' + i)), Type: record.Numeric}
			if rapid.Bool().Draw(t, "enum") {
				c.Type = record.Enum
				c.Levels = []string{"p", "q", "r", "s", "t"}[:rapid.IntRange(0, 5).Draw(t, "levels")]
			}
			for range rows {
				if c.Type == record.Enum {
					c.Codes = append(c.Codes, int32(rapid.IntRange(-1, len(c.Levels)-1).Draw(t, "code")))
				} else {
					c.Numbers = append(c.Numbers, numbers.Draw(t, "number"))
				}
			}
			d.Frame.Columns = append(d.Frame.Columns, c)
		}
		sum := 0
		for r := range rows {
			v := rapid.IntRange(-9, 9).Draw(t, "label")
			d.Label[r], sum = float64(v), sum+v
		}
		d.Label[0] -= float64(sum % rows)
		mean := float64((sum - sum%rows) / rows)

		p := DefaultParams()
		p.NTrees, p.LearnRate = 1, rapid.SampledFrom([]float64{1, 0.1}).Draw(t, "learn_rate")
		p.MinRows, p.MaxDepth = rapid.IntRange(1, 5).Draw(t, "min_rows"), rapid.IntRange(1, 4).Draw(t, "max_depth")
		p.CatMinRows, p.CatSmooth, p.CatL2, p.MinSplitImprovement = 0, 0, 0, 0
		f, _, err := Train(context.Background(), p, d, nil, Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if f.initial != mean {
			t.Fatalf("initial value %v, want %v", f.initial, mean)
		}
		e := exact{fr: d.Frame, residual: make([]float64, rows), minRows: p.MinRows}
		all := rowNumbers(rows)
		for _, r := range all {
			e.residual[r] = d.Label[r] - mean
		}
		if f.Trees() == 0 {
			if best := e.best(all); best > 1e-9 {
				t.Fatalf("no tree, but a split would gain %v", best)
			}
			return
		}
		e.check(t, f.trees[0], 0, all, p.MaxDepth, p.LearnRate)
		checkScores(t, f, d.Frame)
	})
}
