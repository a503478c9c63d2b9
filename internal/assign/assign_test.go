package assign_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/assign"
)

// slotInPython is the whole of what another language needs.
const slotInPython = `
import hashlib, sys

def slot(salt, key):
    digest = hashlib.sha256(salt.encode() + b"\0" + key).digest()
    return int.from_bytes(digest[:8], "big") % 10000

for line in sys.stdin.buffer:
    print(slot("pricing-2", bytes.fromhex(line.decode().strip())))
`

// Another language finds the same slots with a few lines.
func TestSlotInPython(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing")
	}
	script := filepath.Join(t.TempDir(), "slot.py")
	if err := os.WriteFile(script, []byte(slotInPython), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	keys := [][]byte{{}, []byte("1"), []byte("Zürich"), {0}, {0xff, 0xfe}, bytes.Repeat([]byte("x"), 1000)}
	for range 5000 {
		key := make([]byte, r.IntN(40))
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		keys = append(keys, key)
	}
	var in strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&in, "%x\n", k)
	}
	cmd := exec.CommandContext(t.Context(), python, script)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	h := assign.NewHasher("pricing-2")
	for i, line := range strings.Fields(string(out)) {
		if want := strconv.Itoa(h.Slot(keys[i])); line != want {
			t.Fatalf("key %x: slot %s in Python, %s here", keys[i], line, want)
		}
	}
	if n := len(strings.Fields(string(out))); n != len(keys) {
		t.Fatalf("%d slots for %d keys", n, len(keys))
	}
}

// Of a million keys, only the least share has another arm when the weights change, and all that move go to the arm that grows.
func TestMillionKeys(t *testing.T) {
	t.Parallel()
	before, err := assign.New([]float64{90, 10})
	if err != nil {
		t.Fatal(err)
	}
	after, err := before.Resize([]float64{80, 20}, []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	x, err := before.Table()
	if err != nil {
		t.Fatal(err)
	}
	y, err := after.Table()
	if err != nil {
		t.Fatal(err)
	}
	const n = 1_000_000
	h := assign.NewHasher("a salt")
	counts, moved, wrong := [2]int{}, 0, 0
	for i := range n {
		slot := h.Slot([]byte("house-" + strconv.Itoa(i)))
		counts[x[slot]]++
		if x[slot] != y[slot] {
			moved++
			if y[slot] != 1 {
				wrong++
			}
		}
	}
	if wrong != 0 {
		t.Errorf("%d keys have left the arm that grows", wrong)
	}
	// The least share is 10 %: five standard deviations of what a random hash has.
	within := 5 * math.Sqrt(n*0.1*0.9)
	if math.Abs(float64(moved)-n*0.1) > within {
		t.Errorf("%d of %d keys have another arm, want 10 %%", moved, n)
	}
	if math.Abs(float64(counts[1])-n*0.1) > within {
		t.Errorf("%d of %d keys in the arm with a weight of 10 %%", counts[1], n)
	}
	t.Logf("%d of %d keys moved", moved, n)
}

func TestSlotsAreEven(t *testing.T) {
	t.Parallel()
	var counts [assign.Slots]int
	h := assign.NewHasher("even")
	const n = 1_000_000
	for i := range n {
		counts[h.Slot([]byte(strconv.Itoa(i)))]++
	}
	chi := 0.0
	for _, c := range counts {
		d := float64(c) - n/assign.Slots
		chi += float64(d*d) / (n / assign.Slots)
	}
	// Chi-square with 9,999 degrees of freedom: six standard deviations.
	if limit := 9999 + 6*math.Sqrt(2*9999); chi > limit {
		t.Errorf("chi-square %.0f, want at most %.0f", chi, limit)
	}
}

// Two salts have nothing in common: who is in an arm of one experiment is in any arm of another.
func TestSaltsAreIndependent(t *testing.T) {
	t.Parallel()
	a, b := assign.NewHasher("one"), assign.NewHasher("two")
	var both, n int
	const keys = 200_000
	for i := range keys {
		key := []byte(strconv.Itoa(i))
		if a.Slot(key) < assign.Slots/10 {
			n++
			if b.Slot(key) < assign.Slots/10 {
				both++
			}
		}
	}
	if share := float64(both) / float64(n); math.Abs(share-0.1) > 5*math.Sqrt(0.09/float64(n)) {
		t.Errorf("of the keys in an arm of one experiment %.3f are in that of another, want 0.1", share)
	}
}

func TestResize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		before, after []float64
		from          []int
		moved         int
	}{
		{"grow", []float64{90, 10}, []float64{80, 20}, []int{0, 1}, 1000},
		{"the same", []float64{1, 1, 1}, []float64{2, 2, 2}, []int{0, 1, 2}, 0},
		{"three arms, where cumulative limits would move twice as many", []float64{50, 30, 20}, []float64{40, 30, 30}, []int{0, 1, 2}, 1000},
		{"an arm that comes", []float64{1}, []float64{99, 1}, []int{0, -1}, 100},
		{"an arm that goes", []float64{60, 30, 10}, []float64{2, 1}, []int{0, 1}, 1000},
		{"arms in another order", []float64{60, 40}, []float64{40, 60}, []int{1, 0}, 0},
		{"an arm that gets nothing", []float64{60, 40}, []float64{0, 1}, []int{0, 1}, 6000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before, err := assign.New(c.before)
			if err != nil {
				t.Fatal(err)
			}
			after, err := before.Resize(c.after, c.from)
			if err != nil {
				t.Fatal(err)
			}
			x, _ := before.Table()
			y, err := after.Table()
			if err != nil {
				t.Fatal(err)
			}
			moved := 0
			for i := range x {
				if c.from[y[i]] != int(x[i]) {
					moved++
				}
			}
			if moved != c.moved {
				t.Errorf("%d slots have another arm, want %d", moved, c.moved)
			}
		})
	}
}

// Whatever weights follow on one another, as few slots move as can: those that the arms that shrink lose.
func TestResizeMovesTheFewest(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		arms := 1 + r.IntN(assign.MaxArms)
		weights, from := make([]float64, arms), make([]int, arms)
		draw := func() {
			for i := range weights {
				weights[i], from[i] = math.Pow(10, float64(r.IntN(5)))*r.Float64(), i
			}
		}
		draw()
		a, err := assign.New(weights)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			draw()
			b, err := a.Resize(weights, from)
			if err != nil {
				t.Fatal(err)
			}
			moved, err := a.Moved(b)
			if err != nil {
				t.Fatal(err)
			}
			least, x, y := 0, a.Sizes(), b.Sizes()
			for i := range x {
				least += max(0, x[i]-y[i])
				if weights[i] > 0 && y[i] == 0 {
					t.Fatalf("weight %v of %v has no slot", weights[i], weights)
				}
			}
			if moved != least {
				t.Fatalf("%d slots moved, want %d", moved, least)
			}
			fresh, err := assign.New(weights)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(fresh.Sizes(), y); d != "" {
				t.Fatalf("sizes depend on the past: %s", d)
			}
			a = b
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for name, weights := range map[string][]float64{
		"none": {}, "all 0": {0, 0}, "negative": {1, -1}, "NaN": {math.NaN()}, "infinite": {math.Inf(1), 1}, "too many": make([]float64, 17),
	} {
		if _, err := assign.New(weights); err == nil {
			t.Errorf("weights that are %s: no error", name)
		}
	}
	for name, a := range map[string]assign.Allocation{
		"no arm": {}, "a gap": {{{0, 10}}, {{11, assign.Slots}}}, "an overlap": {{{0, 10}}, {{9, assign.Slots}}},
		"out of range": {{{0, assign.Slots + 1}}}, "upside down": {{{10, 0}}}, "negative": {{{-1, assign.Slots}}},
	} {
		if _, err := a.Table(); err == nil {
			t.Errorf("an allocation with %s: no error", name)
		}
	}
}

func BenchmarkSlot(b *testing.B) {
	h, key := assign.NewHasher("pricing-2"), []byte("house-123456")
	b.ReportAllocs()
	for b.Loop() {
		h.Slot(key)
	}
}

// TestGuide holds the example of docs/ab.md.
func TestGuide(t *testing.T) {
	t.Parallel()
	if got := assign.NewHasher("pricing").Slot([]byte("house-1")); got != 5880 {
		t.Errorf("slot %d, and docs/ab.md says 5880", got)
	}
}
