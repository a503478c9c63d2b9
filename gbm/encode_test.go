package gbm

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func encode(t testing.TB, f *Forest) []byte {
	t.Helper()
	b, err := f.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		f := wild(rng)
		if seed%2 == 1 {
			f = foreign(f, rng)
		}
		b := encode(t, f)
		g, err := ReadForest(b)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(encode(t, g), b) {
			t.Fatalf("seed %d: the form changes", seed)
		}
		if diff := cmp.Diff(f.Inputs(), g.Inputs()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(f.Importance(), g.Importance()); diff != "" {
			t.Fatal(diff)
		}
		fr := wildFrame(f, rng, 50)
		a, c := make([]float64, 50), make([]float64, 50)
		f.Score(fr, a)
		g.Score(fr, c)
		if diff := cmp.Diff(a, c); diff != "" {
			t.Fatal(diff)
		}
	}
}

// small is a forest of one tree over a numeric input and an enum of two levels.
func small() *Forest {
	f := &Forest{
		initial: 1,
		inputs:  []record.Column{{Name: "n", Type: record.Numeric}, {Name: "e", Type: record.Enum, Levels: []string{"a", "b"}}},
		gain:    []float64{3, 1},
		trees: [][]node{{
			{input: 0, right: 4, value: 0.5},
			{input: 1, right: 3, missingLeft: true, set: bitSet{2}},
			{input: leaf, value: 1},
			{input: leaf, value: 2},
			{input: leaf, value: 3},
		}},
	}
	if err := f.finish(); err != nil {
		panic(err)
	}
	return f
}

// TestForm holds the bytes of the form against its description.
func TestForm(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	f64 := func(b []byte, v float64) []byte { return le.AppendUint64(b, math.Float64bits(v)) }
	u32 := le.AppendUint32
	b := []byte("MRGB\x01\x00\x00")
	b = u32(f64(b, 1), 2)
	b = append(u32(f64(append(b, byte(record.Numeric)), 3), 1), 'n')
	b = append(u32(f64(append(b, byte(record.Enum)), 1), 1), 'e')
	b = append(u32(append(u32(u32(b, 2), 1), 'a'), 1), 'b')
	b = u32(u32(b, 1), 5)
	b = f64(u32(append(b, 1), 0), 0.5)
	b = le.AppendUint64(u32(append(b, 3), 1), 2)
	for v := range 3 {
		b = f64(append(b, 0), float64(v+1))
	}
	if diff := cmp.Diff(b, encode(t, small())); diff != "" {
		t.Error(diff)
	}
}

// TestForeignForm holds what version 2 of the form has more against its description.
func TestForeignForm(t *testing.T) {
	t.Parallel()
	f := small()
	plain := encode(t, f)
	f.link, f.single, f.trees[0][0].zeroMissing = LinkLogistic, true, true
	want := append([]byte("MRGB\x02\x00\x02\x01"), plain[7:]...)
	want[bytes.IndexByte(want, 'b')+1+4+4] |= 4
	if diff := cmp.Diff(want, encode(t, f)); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadForest(want); err != nil {
		t.Error(err)
	}
	idle := append([]byte("MRGB\x02\x00\x01\x00"), plain[7:]...)
	if _, err := ReadForest(idle); err == nil || !strings.Contains(err.Error(), "nothing that needs it") {
		t.Errorf("version 2 of what version 1 can say: %v", err)
	}
	idle[7] = 2
	if _, err := ReadForest(idle); err == nil || !strings.Contains(err.Error(), "no such precision") {
		t.Errorf("a precision that there is not: %v", err)
	}
	single := []byte("MRGB\x01\x00\x02")
	if _, err := ReadForest(append(single, plain[7:]...)); err == nil || !strings.Contains(err.Error(), "no such link") {
		t.Errorf("a link of version 2 in version 1: %v", err)
	}
}

func TestReadForestRefuses(t *testing.T) {
	t.Parallel()
	whole := encode(t, small())
	for n := range whole {
		if _, err := ReadForest(whole[:n]); err == nil {
			t.Errorf("no error for the first %d bytes of %d", n, len(whole))
		}
	}
	if _, err := ReadForest(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("no error for a byte too many")
	}
	deep := make([]node, 0, 2*maxTreeDepth+3)
	for i := range maxTreeDepth + 1 {
		deep = append(deep, node{input: 0, right: int32(2*maxTreeDepth + 2 - i)})
	}
	for range maxTreeDepth + 2 {
		deep = append(deep, node{input: leaf})
	}
	for want, change := range map[string]func(f *Forest){
		"no such link":              func(f *Forest) { f.link = 3 },
		"initial value is not one":  func(f *Forest) { f.single, f.initial = true, 0.1 },
		"of single precision":       func(f *Forest) { f.single, f.trees[0][2].value = true, 0.1 },
		"a set over its levels":     func(f *Forest) { f.trees[0][1].zeroMissing = true },
		"too large, or not":         func(f *Forest) { f.initial = math.NaN() },
		"too large":                 func(f *Forest) { f.initial, f.trees[0][2].value = math.MaxFloat64/3, math.MaxFloat64/3 },
		"gain is negative":          func(f *Forest) { f.gain[1] = -1 },
		"gain is negative or":       func(f *Forest) { f.gain[1] = math.NaN() },
		"or the gains":              func(f *Forest) { f.gain[0], f.gain[1] = math.MaxFloat64, math.MaxFloat64 },
		"not a finite":              func(f *Forest) { f.trees[0][2].value = math.Inf(1) },
		"is not a finite number":    func(f *Forest) { f.trees[0][2].value = math.NaN() },
		"needs a threshold":         func(f *Forest) { f.trees[0][0].value = math.NaN() },
		"does not exist":            func(f *Forest) { f.trees[0][1].set[0] = 4 },
		"no such input":             func(f *Forest) { f.trees[0][0].input = 2 },
		"nodes past its end":        func(f *Forest) { f.trees[0] = append(f.trees[0], node{input: leaf}) },
		"it has no end":             func(f *Forest) { f.trees[0] = f.trees[0][:4] },
		"tree 1: it has no end":     func(f *Forest) { f.trees = append(f.trees, nil, []node{{input: leaf}, {input: leaf}}) },
		"deeper than 1024":          func(f *Forest) { f.trees[0] = deep },
		"has no name":               func(f *Forest) { f.inputs[0].Name = "" },
		"there twice":               func(f *Forest) { f.inputs[0].Name = "e" },
		"has a level twice":         func(f *Forest) { f.inputs[1].Levels[1] = "a" },
		"want numeric or enum":      func(f *Forest) { f.inputs[0].Type = record.Time },
		"input \"n\" is of type Ty": func(f *Forest) { f.inputs[0].Type = 9 },
	} {
		f := small()
		change(f)
		_, err := ReadForest(encode(t, f))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for want, at := range map[string]int{"not a forest": 0, "version": 4, "inputs: at most": 17, "inputs do not fit": 16} {
		b := bytes.Clone(whole)
		b[at] ^= 0xf0
		if _, err := ReadForest(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// FuzzReadForest checks that bytes are refused, or make a forest that has them as its form and can be scored.
func FuzzReadForest(f *testing.F) {
	f.Add(encode(f, small()))
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		forest := wild(rng)
		f.Add(encode(f, forest))
		f.Add(encode(f, foreign(forest, rng)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		forest, err := ReadForest(data)
		if err != nil {
			if forest != nil || !strings.HasPrefix(err.Error(), "gbm: read forest: ") {
				t.Fatalf("%v, %v", forest, err)
			}
			return
		}
		if !bytes.Equal(encode(t, forest), data) {
			t.Fatal("the form changes")
		}
		checkScores(t, forest, wildFrame(forest, rand.New(rand.NewPCG(1, 1)), 19))
	})
}
