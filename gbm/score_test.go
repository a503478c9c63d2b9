package gbm

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"millrace.dev/gbm/internal/bitplane"
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
				x := c.Numbers[row]
				if left = x <= n.value; math.IsNaN(x) || n.zeroMissing && math.Abs(x) <= float64(float32(1e-35)) {
					left = n.missingLeft
				}
			}
			i++
			if !left {
				i = n.right
			}
		}
		sum += tree[i].value
		if f.single {
			sum = float64(float32(sum))
		}
	}
	return f.linked(sum)
}

// foreign makes a valid forest into one that other systems make.
func foreign(f *Forest, rng *rand.Rand) *Forest {
	g := &Forest{inputs: f.inputs, gain: f.gain, link: Link(rng.IntN(3)), single: rng.IntN(2) == 0, initial: float64(float32(f.initial))}
	for _, t := range f.trees {
		t = slices.Clone(t)
		for i := range t {
			switch {
			case t[i].input == leaf:
				t[i].value = float64(float32(t[i].value))
			case t[i].set == nil:
				t[i].zeroMissing = rng.IntN(2) == 0
			}
		}
		g.trees = append(g.trees, t)
	}
	if err := g.finish(); err != nil {
		panic(err)
	}
	return g
}

// wild returns a valid forest that no training would make.
func wild(rng *rand.Rand) *Forest {
	f := &Forest{link: Link(rng.IntN(2)), initial: rng.NormFloat64()}
	for i := range 1 + rng.IntN(12) {
		c := record.Column{Name: strconv.Itoa(i), Type: record.Numeric}
		if rng.IntN(2) == 0 {
			c.Type = record.Enum
			for l := range rng.IntN(1 + []int{3, 64, 130, 300}[rng.IntN(4)]) {
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

// checkScores compares Score, the walk of the program, and planes with every kernel of this machine, with the plain
// walk, bit by bit.
func checkScores(t interface{ Fatalf(string, ...any) }, f *Forest, fr *record.Frame) {
	want := make([]float64, fr.Rows)
	for i := range want {
		want[i] = f.plain(fr, i)
		if math.IsNaN(want[i]) || math.IsInf(want[i], 0) {
			t.Fatalf("row %d: %v is not finite", i, want[i])
		}
	}
	out := make([]float64, fr.Rows)
	check := func(by string) {
		for i, got := range out {
			if math.Float64bits(got) != math.Float64bits(want[i]) {
				t.Fatalf("%s: row %d of %d: %v, plain walk %v", by, i, fr.Rows, got, want[i])
			}
		}
	}
	f.Score(fr, out)
	check("Score")
	with := func(by string, add func(cols []record.Column, out []float64)) {
		for i := range out {
			out[i] = f.initial
		}
		add(fr.Columns, out)
		for i := range out {
			out[i] = f.linked(out[i])
		}
		check(by)
	}
	with("walk", func(cols []record.Column, out []float64) { f.program.add(cols, 0, out) })
	for _, k := range bitplane.Kernels() {
		if f.walksOnly() {
			break
		}
		if p, _ := compilePlanes(f.inputs, f.trees, k); p != nil {
			with(k.Name, p.add)
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
		fr := wildFrame(forest, rng, int(rows%1200))
		checkScores(t, forest, fr)
		checkScores(t, foreign(forest, rng), fr)
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

// TestScoreManySplits has more splits than a chunk of planes, and trees of more leaves than most.
func TestScoreManySplits(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 1))
	f := wild(rng)
	for _, depth := range []int{5, 8} {
		f.trees = nil
		for range 400 {
			tree := f.wildTree(nil, rng, depth)
			for i := range tree {
				if n := &tree[i]; n.input != leaf && n.set == nil {
					n.value = rng.NormFloat64()
				}
			}
			f.trees = append(f.trees, tree)
		}
		if err := f.finish(); err != nil {
			t.Fatal(err)
		}
		if p, _ := compilePlanes(f.inputs, f.trees, bitplane.Portable()); len(p.chunks) < 2 {
			t.Errorf("depth %d: %d chunks", depth, len(p.chunks))
		}
		checkScores(t, f, wildFrame(f, rng, 700))
	}
}

// TestWhichWay checks which forests are worth planes.
func TestWhichWay(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 1))
	p := DefaultParams()
	p.NTrees = 60
	usual := mustTrain(t, p, made(2000, 12, 5, 80, 0.1, 1))
	if usual.planes.takes(bitplane.Rows+1) != bitplane.Rows || usual.planes.takes(1) != 0 || usual.planes.takes(1000) != 1000 {
		t.Error("a usual forest walks for many rows, or not for one")
	}
	if n := usual.planes.least; n < 8 || n > 48 {
		t.Errorf("a block of a usual forest is for %d rows and more", n)
	}
	if a, b := leastRows(1000, 1000), leastRows(1000, 4000); a != 48 || b != 16 {
		t.Errorf("blocks are for %d rows and more, and %d where walks are longer", a, b)
	}
	large := &Forest{inputs: usual.inputs, gain: usual.gain}
	deep := &Forest{inputs: usual.inputs, gain: usual.gain}
	for range 10 {
		large.trees = append(large.trees, large.wildTree(nil, rng, 12))
	}
	var chain []node
	for i := range 300 {
		chain = append(chain, node{input: 0, right: int32(2*i + 2), value: float64(i)}, node{input: leaf, value: 1})
	}
	deep.trees = [][]node{append(chain, node{input: leaf})}
	for name, f := range map[string]*Forest{"large": large, "deep": deep} {
		if err := f.finish(); err != nil {
			t.Fatal(err)
		}
		if f.planes.takes(bitplane.Rows) != 0 {
			t.Errorf("%s trees do not walk", name)
		}
		checkScores(t, f, wildFrame(f, rng, 100))
	}
	none := &Forest{inputs: usual.inputs, gain: usual.gain, initial: 2}
	if err := none.finish(); err != nil {
		t.Fatal(err)
	}
	checkScores(t, none, wildFrame(none, rng, 600))
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
