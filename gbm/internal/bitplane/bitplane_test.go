package bitplane

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomTree returns a tree in preorder with at most so many leaves, of any shape between full and a chain.
func randomTree(rng *rand.Rand, nodes []Node, leaves, cuts int, skew float64) []Node {
	if leaves <= 1 {
		return append(nodes, Node{Value: rng.NormFloat64()})
	}
	at := len(nodes)
	left := leaves / 2
	if rng.Float64() < skew {
		left = 1 + rng.IntN(leaves-1)
		if rng.IntN(2) == 0 {
			left = []int{1, leaves - 1}[rng.IntN(2)]
		}
	}
	nodes = randomTree(rng, append(nodes, Node{Cut: uint16(rng.IntN(cuts))}), left, cuts, skew)
	nodes[at].Right = len(nodes)
	return randomTree(rng, nodes, leaves-left, cuts, skew)
}

func randomPlanes(rng *rand.Rand, n int) []Plane {
	planes := make([]Plane, n)
	for i := range planes {
		kind := rng.IntN(6)
		for h := range planes[i] {
			for k := range planes[i][h] {
				switch kind {
				case 0: // nobody
				case 1:
					planes[i][h][k] = math.MaxUint64
				default:
					planes[i][h][k] = rng.Uint64()
				}
			}
		}
	}
	return planes
}

func walk(nodes []Node, cuts []Plane, row int) float64 {
	i := 0
	for nodes[i].Right != 0 {
		if cuts[nodes[i].Cut].Has(row) {
			i = nodes[i].Right
		} else {
			i++
		}
	}
	return nodes[i].Value
}

// FuzzAdd holds every kernel against a walk, bit by bit.
func FuzzAdd(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, uint16(seed*8), uint16(seed*31), uint8(seed*50))
	}
	f.Fuzz(func(t *testing.T, seed uint64, leaves, rows uint16, skew uint8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		cuts := randomPlanes(rng, 1+rng.IntN(100))
		nodes := randomTree(rng, nil, 1+int(leaves)%400, len(cuts), float64(skew)/255)
		tree, ok := Compile(nodes)
		if !ok {
			if leaves%400 < MaxLeaves/2 && skew == 0 {
				t.Fatalf("%d nodes do not compile", len(nodes))
			}
			return
		}
		n := int(rows) % (Rows + 1)
		var before [Rows]float64
		for i := range before {
			before[i] = rng.NormFloat64()
		}
		for _, k := range Kernels() {
			s := new(Scratch)
			copy(s.planes[:], randomPlanes(rng, len(s.planes)))
			sums := before
			k.Add(tree, cuts, s, &sums, n)
			for i := range n {
				if want := before[i] + walk(nodes, cuts, i); math.Float64bits(sums[i]) != math.Float64bits(want) {
					t.Fatalf("%s: row %d of %d: %v, walk %v", k.Name, i, n, sums[i], want)
				}
			}
		}
	})
}

// FuzzUnion holds every kernel against the levels of single rows.
func FuzzUnion(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint8(seed*13), uint16(seed*31))
	}
	f.Fuzz(func(t *testing.T, seed uint64, levels uint8, rows uint16) {
		rng := rand.New(rand.NewPCG(seed, 2))
		n := int(levels)
		codes := make([]int32, rows%(Rows+1))
		for i := range codes {
			codes[i] = int32(rng.IntN(n+4)) - 2
		}
		var picks []uint16
		sets := make([][]uint64, rng.IntN(5))
		for i := range sets {
			sets[i] = make([]uint64, n/64+1)
			for l := range n + 1 {
				sets[i][l/64] |= rng.Uint64() & 1 << (l % 64)
			}
			picks = Picks(picks, sets[i], n)
		}
		check := func(name string, i int, p *Plane) {
			for row, c := range codes {
				l := min(uint(c), uint(n))
				if want := sets[i][l/64]>>(l%64)&1 != 0; p.Has(row) != want {
					t.Fatalf("%s: %d levels, set %d, row %d of %d, code %d: %v", name, n, i, row, len(codes), c, !want)
				}
			}
		}
		tables := randomPlanes(rng, Tables(n))
		FillTables(tables, codes, n)
		for _, k := range Kernels() {
			dst := randomPlanes(rng, len(sets))
			k.Union(dst, tables, picks, len(codes))
			for i := range dst {
				check(k.Name, i, &dst[i])
			}
		}
		for i, set := range sets {
			p := randomPlanes(rng, 1)
			FillSet(&p[0], set, codes, n)
			check("FillSet", i, &p[0])
		}
	})
}

// FuzzRanks holds thresholds against comparisons of single values.
func FuzzRanks(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, uint16(seed*9), uint16(seed*31))
	}
	f.Fuzz(func(t *testing.T, seed uint64, thresholds, rows uint16) {
		rng := rand.New(rand.NewPCG(seed, 3))
		next := numbers(rng)
		var cuts []float64
		var keys []uint64
		for range thresholds % 1000 {
			keys = append(keys, Key(next()))
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		for _, k := range keys {
			cuts = append(cuts, number(k))
		}
		values := make([]float64, rows%(Rows+1))
		for i := range values {
			switch rng.IntN(6) {
			case 0:
				values[i] = math.Copysign(math.NaN(), float64(rng.IntN(2))-0.5)
			case 1:
				if len(cuts) > 0 {
					values[i] = math.Nextafter(cuts[rng.IntN(len(cuts))], []float64{-2000, 2000}[rng.IntN(2)])
				}
			case 2:
				if len(cuts) > 0 {
					values[i] = cuts[rng.IntN(len(cuts))]
				}
			default:
				values[i] = next()
			}
		}
		r := NewRanks(keys)
		dst := randomPlanes(rng, r.Planes())
		r.Fill(dst, values)
		for row, v := range values {
			for i, c := range cuts {
				if want := v > c; dst[i+1].Has(row) != want {
					t.Fatalf("row %d: %v > %v: %v", row, v, c, !want)
				}
			}
			if want := math.IsNaN(v); dst[len(dst)-1].Has(row) != want {
				t.Fatalf("row %d: %v is missing: %v", row, v, !want)
			}
		}
	})
}

// numbers returns a source of numbers: some are all alike, some of every magnitude.
func numbers(rng *rand.Rand) func() float64 {
	odd := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324}
	kind, oddities := rng.IntN(4), rng.IntN(2)
	return func() float64 {
		if oddities > 0 && rng.IntN(20) == 0 {
			return odd[rng.IntN(len(odd))]
		}
		switch kind {
		case 0:
			return float64(rng.IntN(30) - 15)
		case 1:
			return 1900 + float64(rng.IntN(120))
		case 2:
			return math.Exp(5 * rng.NormFloat64())
		}
		for {
			if v := math.Float64frombits(rng.Uint64()); !math.IsNaN(v) {
				return v
			}
		}
	}
}

// TestCompileShapes checks that full trees and thin ones get by with as few planes as their leaves have numbers.
func TestCompileShapes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	chain := func(leaves int, left bool) []Node {
		var nodes []Node
		for i := range leaves - 1 {
			if left { // all leaves but one are left children
				nodes = append(nodes, Node{Right: 2*i + 2}, Node{Value: float64(i)})
			} else {
				nodes = append(nodes, Node{Right: 2*leaves - 2 - i})
			}
		}
		for len(nodes) < 2*leaves-1 {
			nodes = append(nodes, Node{})
		}
		return nodes
	}
	for _, c := range []struct {
		name   string
		nodes  []Node
		planes int
		extra  int
	}{
		{"a leaf", []Node{{Value: 3}}, 0, 0},
		{"a split", randomTree(rng, nil, 2, 1, 0), 1, 0},
		{"full, 32 leaves", randomTree(rng, nil, 32, 1, 0), 5, 0},
		{"full, 256 leaves", randomTree(rng, nil, 256, 1, 0), 8, 0},
		{"chain to the right, 31 leaves", chain(31, true), 5, -1},
		{"chain to the left, 32 leaves", chain(32, false), 5, -1},
		{"chain, 256 leaves", chain(256, false), 8, -1},
	} {
		tree, ok := Compile(c.nodes)
		if !ok || tree.planes != c.planes || c.extra >= 0 && len(tree.extra) != c.extra {
			t.Errorf("%s: %v, %+v", c.name, ok, tree)
		}
	}
	for _, left := range []bool{false, true} {
		if _, ok := Compile(chain(257, left)); ok {
			t.Error("257 leaves have numbers below 256")
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	ordered := []float64{
		math.Inf(-1), -math.MaxFloat64, -1.5, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 0.5, 1, math.Nextafter(1, 2), math.MaxFloat64, math.Inf(1),
	}
	for _, a := range ordered {
		for _, b := range ordered {
			if (Key(a) > Key(b)) != (a > b) {
				t.Errorf("Key(%v) = %#x, Key(%v) = %#x", a, Key(a), b, Key(b))
			}
		}
		if k := Key(a); k == 0 || k == MaxKey {
			t.Errorf("Key(%v) = %#x", a, k)
		}
	}
	if a, b := Key(0), Key(math.Copysign(0, -1)); a != b {
		t.Errorf("Key(0) = %#x, Key(-0) = %#x", a, b)
	}
}

// TestKernels checks that the last kernel is the one that runs everywhere, and that names differ.
func TestKernels(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	kernels := Kernels()
	for _, k := range kernels {
		if seen[k.Name] {
			t.Errorf("two kernels are called %s", k.Name)
		}
		seen[k.Name] = true
	}
	if n := kernels[len(kernels)-1].Name; n != "portable" {
		t.Errorf("the last kernel is %s", n)
	}
	t.Log("kernels of this machine: ", len(kernels))
}

// BenchmarkAdd adds a full tree of 32 leaves to 512 rows.
func BenchmarkAdd(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	cuts := randomPlanes(rng, 1500)
	var trees []*Tree
	for range 100 {
		t, _ := Compile(randomTree(rng, nil, 32, len(cuts), 0))
		trees = append(trees, t)
	}
	s, sums := new(Scratch), new([Rows]float64)
	for _, k := range Kernels() {
		b.Run(k.Name, func(b *testing.B) {
			for i := range b.N {
				k.Add(trees[i%len(trees)], cuts, s, sums, Rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/Rows, "ns/row")
		})
	}
}
