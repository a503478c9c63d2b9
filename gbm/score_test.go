package gbm

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

// plain predicts a row with the plainest walk: the reference for [Forest.Score].
func (f *Forest) plain(fr *record.Frame, row int) float64 {
	sum := f.initial
	for _, tree := range f.trees {
		i := int32(0)
		for tree[i].input != leaf {
			n := &tree[i]
			c := &fr.Columns[n.input]
			var left bool
			if c.Type == record.Enum {
				code := c.Codes[row]
				left = n.missingLeft
				if code >= 0 && int(code) < len(f.inputs[n.input].Levels) {
					left = n.set.has(int(code))
				}
			} else {
				left = c.Numbers[row] <= n.value || math.IsNaN(c.Numbers[row]) && n.missingLeft
			}
			i++
			if !left {
				i = n.right
			}
		}
		sum += tree[i].value
	}
	return f.link.apply(sum)
}

// wild returns a valid forest that no training would make.
func wild(rng *rand.Rand) *Forest {
	f := &Forest{link: link(rng.IntN(2)), initial: rng.NormFloat64()}
	for i := range 1 + rng.IntN(12) {
		c := record.Column{Name: strconv.Itoa(i), Type: record.Numeric}
		if rng.IntN(2) == 0 {
			c.Type = record.Enum
			for l := range rng.IntN(1 + []int{3, 64, 130}[rng.IntN(3)]) {
				c.Levels = append(c.Levels, strconv.Itoa(l))
			}
		}
		f.inputs = append(f.inputs, c)
		f.gain = append(f.gain, rng.Float64())
	}
	for range rng.IntN(30) {
		f.trees = append(f.trees, f.wildTree(nil, rng, rng.IntN(7)))
	}
	if err := f.finish(); err != nil {
		panic(err)
	}
	return f
}

func wildNumber(rng *rand.Rand) float64 {
	odd := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 5e-324, 1}
	if k := rng.IntN(3 * len(odd)); k < len(odd) {
		return odd[k]
	}
	return float64(rng.IntN(9) - 4)
}

func (f *Forest) wildTree(tree []node, rng *rand.Rand, depth int) []node {
	if depth == 0 || rng.IntN(5) == 0 {
		return append(tree, node{input: leaf, value: rng.NormFloat64()})
	}
	n := node{input: int32(rng.IntN(len(f.inputs))), missingLeft: rng.IntN(2) == 0}
	if c := &f.inputs[n.input]; c.Type == record.Enum {
		n.set = newBitSet(len(c.Levels))
		for l := range c.Levels {
			if rng.IntN(2) == 0 {
				n.set.add(l)
			}
		}
	} else {
		n.value = wildNumber(rng)
	}
	at := len(tree)
	tree = f.wildTree(append(tree, n), rng, depth-1)
	tree[at].right = int32(len(tree))
	return f.wildTree(tree, rng, depth-1)
}

// wildFrame returns rows for f, with codes and numbers of every kind.
func wildFrame(f *Forest, rng *rand.Rand, rows int) *record.Frame {
	fr := &record.Frame{Rows: rows, Columns: f.Inputs()}
	for i := range fr.Columns {
		c := &fr.Columns[i]
		for range rows {
			if c.Type == record.Enum {
				c.Codes = append(c.Codes, int32(rng.IntN(len(c.Levels)+4)-2))
			} else if v := wildNumber(rng); rng.IntN(4) == 0 {
				c.Numbers = append(c.Numbers, math.NaN())
			} else {
				c.Numbers = append(c.Numbers, v)
			}
		}
	}
	return fr
}

// checkScores compares Score with the plain walk, bit by bit.
func checkScores(t interface{ Fatalf(string, ...any) }, f *Forest, fr *record.Frame) {
	out := make([]float64, fr.Rows)
	f.Score(fr, out)
	for i, got := range out {
		if want := f.plain(fr, i); math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("row %d of %d: %v, plain walk %v", i, fr.Rows, got, want)
		}
		if math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			t.Fatalf("row %d: %v is not finite", i, out[i])
		}
	}
}

func FuzzScore(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint16(seed*7))
	}
	f.Fuzz(func(t *testing.T, seed uint64, rows uint16) {
		rng := rand.New(rand.NewPCG(seed, 3))
		forest := wild(rng)
		checkScores(t, forest, wildFrame(forest, rng, int(rows%400)))
	})
}

// TestScoreManyInputs has vectors that do not fit into a block.
func TestScoreManyInputs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	f := &Forest{initial: 1}
	for i := range 3000 {
		f.inputs = append(f.inputs, record.Column{Name: strconv.Itoa(i), Type: record.Numeric})
		f.gain = append(f.gain, 0)
	}
	for range 300 {
		f.trees = append(f.trees, f.wildTree(nil, rng, 7))
	}
	if err := f.finish(); err != nil {
		t.Fatal(err)
	}
	checkScores(t, f, wildFrame(f, rng, 21))
}

func part(fr *record.Frame, lo, hi int) *record.Frame {
	out := &record.Frame{Rows: hi - lo}
	for _, c := range fr.Columns {
		if c.Type == record.Enum {
			c.Codes = c.Codes[lo:hi]
		} else {
			c.Numbers = c.Numbers[lo:hi]
		}
		out.Columns = append(out.Columns, c)
	}
	return out
}

// TestScoreCuts checks that a row's prediction does not depend on its batch.
func TestScoreCuts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 4))
		f := wild(rng)
		fr := wildFrame(f, rng, rapid.IntRange(0, 300).Draw(t, "rows"))
		whole, cut := make([]float64, fr.Rows), make([]float64, fr.Rows)
		f.Score(fr, whole)
		for lo := 0; lo < fr.Rows; {
			hi := min(fr.Rows, lo+rapid.IntRange(1, 40).Draw(t, "batch"))
			f.Score(part(fr, lo, hi), cut[lo:hi])
			lo = hi
		}
		for i := range whole {
			if math.Float64bits(whole[i]) != math.Float64bits(cut[i]) {
				t.Fatalf("row %d: %v alone, %v in one batch", i, cut[i], whole[i])
			}
		}
	})
}

func TestScoreDoesNotAllocate(t *testing.T) {
	p := DefaultParams()
	f := mustTrain(t, p, made(500, 4, 2, 70, 0.1, 1))
	for _, rows := range []int{1, 1000} {
		d := made(rows, 4, 2, 70, 0.1, 2)
		out := make([]float64, rows)
		if n := testing.AllocsPerRun(50, func() { f.Score(d.Frame, out) }); n != 0 {
			t.Errorf("%d rows: %v allocations", rows, n)
		}
	}
}

func TestScorePanics(t *testing.T) {
	t.Parallel()
	f := mustTrain(t, DefaultParams(), made(100, 1, 1, 3, 0, 1))
	for name, change := range map[string]func(*record.Frame){
		"columns": func(fr *record.Frame) { fr.Columns = fr.Columns[:1] },
		"type":    func(fr *record.Frame) { fr.Columns[0].Type = record.Enum },
		"rows":    func(fr *record.Frame) { fr.Columns[1].Codes = fr.Columns[1].Codes[:5] },
		"out":     func(fr *record.Frame) { fr.Rows = 99 },
	} {
		d := made(100, 1, 1, 3, 0, 1)
		change(d.Frame)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f.Score(d.Frame, make([]float64, 100))
		}()
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	f := mustTrain(t, DefaultParams(), made(100, 1, 1, 3, 0, 1))
	if err := f.Match(f.Inputs()); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(c []record.Column) []record.Column{
		"number": func(c []record.Column) []record.Column { return c[:1] },
		"name":   func(c []record.Column) []record.Column { c[0].Name = "z"; return c },
		"type":   func(c []record.Column) []record.Column { c[0].Type = record.Enum; return c },
		"fewer":  func(c []record.Column) []record.Column { c[1].Levels = c[1].Levels[:2]; return c },
		"levels": func(c []record.Column) []record.Column { c[1].Levels[1] = "z"; return c },
	} {
		if err := f.Match(change(f.Inputs())); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestScoreConcurrently scores with one forest in several goroutines: the race detector watches.
func TestScoreConcurrently(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 2))
	f := wild(rng)
	fr := wildFrame(f, rng, 300)
	want := make([]float64, fr.Rows)
	f.Score(fr, want)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			out := make([]float64, fr.Rows)
			for range 20 {
				f.Score(fr, out)
				if !slices.Equal(out, want) {
					t.Error("another prediction")
				}
			}
		})
	}
	wg.Wait()
}

// TestKey holds the keys of numbers to the order of the numbers.
func TestKey(t *testing.T) {
	t.Parallel()
	ordered := []float64{
		math.Inf(-1), -math.MaxFloat64, -1.5, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 0.5, 1, math.Nextafter(1, 2), math.MaxFloat64, math.Inf(1),
	}
	for _, a := range ordered {
		for _, b := range ordered {
			if (key(a) > key(b)) != (a > b) {
				t.Errorf("key(%v) = %#x, key(%v) = %#x", a, key(a), b, key(b))
			}
			if key(a) == math.MaxInt64 {
				t.Errorf("key(%v) is larger than any threshold", a)
			}
		}
	}
	if a, b := key(0), key(math.Copysign(0, -1)); a != b {
		t.Errorf("key(0) = %#x, key(-0) = %#x", a, b)
	}
}
