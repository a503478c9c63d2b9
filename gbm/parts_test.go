package gbm

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// parts describes a forest by its exported parts.
func parts(f *Forest) Parts {
	p := Parts{Inputs: f.inputs, Gain: f.gain, Link: f.link, Initial: f.initial, Single: f.single}
	for _, t := range f.trees {
		list := []Node{}
		for i := range t {
			n := Node{Input: int(t[i].input), Value: t[i].value, MissingLeft: t[i].missingLeft, ZeroMissing: t[i].zeroMissing}
			if t[i].set != nil {
				for l := range f.inputs[n.Input].Levels {
					if t[i].set.has(l) {
						n.Left = append(n.Left, int32(l))
					}
				}
			}
			list = append(list, n)
		}
		p.Trees = append(p.Trees, list)
	}
	return p
}

func TestNew(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 9))
		f := foreign(wild(rng), rng)
		g, err := New(parts(f))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(encode(t, f), encode(t, g)); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(p *Parts){
		"no such link: 3":                    func(p *Parts) { p.Link = 3 },
		"tree 0: node 0: no such input: 2":   func(p *Parts) { p.Trees[0][0].Input = 2 },
		"tree 0: node 0: no such input: -2":  func(p *Parts) { p.Trees[0][0].Input = -2 },
		"node 1: no such level: 2":           func(p *Parts) { p.Trees[0][1].Left = []int32{2} },
		"node 1: no such level: -1":          func(p *Parts) { p.Trees[0][1].Left = []int32{-1} },
		"node 0: levels of what is no enum":  func(p *Parts) { p.Trees[0][0].Left = []int32{0} },
		"node 2: levels of what is no enum":  func(p *Parts) { p.Trees[0][2].Left = []int32{0} },
		"it has no end":                      func(p *Parts) { p.Trees[0] = p.Trees[0][:4] },
		"node 2: the leaf is not a finite":   func(p *Parts) { p.Trees[0][2].Value = math.NaN() },
		"1 gains for 2 inputs":               func(p *Parts) { p.Gain = p.Gain[:1] },
		"input \"n\" is numeric and has lev": func(p *Parts) { p.Inputs[0].Levels = []string{"a"} },
	} {
		p := parts(small())
		p.Inputs = append([]record.Column(nil), p.Inputs...)
		change(&p)
		if f, err := New(p); err == nil || f != nil || !strings.HasPrefix(err.Error(), "gbm: new forest: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestNewKeepsNothing changes what a forest was made of.
func TestNewKeepsNothing(t *testing.T) {
	t.Parallel()
	p := parts(small())
	f, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	before := encode(t, f)
	p.Gain[0], p.Inputs[1].Levels[0], p.Trees[0][0].Value = 9, "x", 9
	if diff := cmp.Diff(before, encode(t, f)); diff != "" {
		t.Error(diff)
	}
}

// TestSinglePrecision has a sum that float64 and float32 round to different numbers.
func TestSinglePrecision(t *testing.T) {
	t.Parallel()
	tree := []Node{{Input: Leaf, Value: 1}}
	p := Parts{Initial: 1 << 24, Single: true, Trees: [][]Node{tree, tree}}
	for _, single := range []bool{true, false} {
		p.Single = single
		f, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float64, 9)
		f.Score(&record.Frame{Rows: 9}, out)
		want := float64(1<<24 + 2)
		if single {
			want = 1 << 24 // each 1 is lost
		}
		for i, got := range out {
			if got != want {
				t.Errorf("single %v: row %d: %v, want %v", single, i, got, want)
			}
		}
	}
}
