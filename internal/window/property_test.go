package window

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

// drawSpec returns a declaration with some or all of the functions over a number and a text.
func drawSpec(t *rapid.T) Spec {
	s := Spec{
		Size:  rapid.SampledFrom([]time.Duration{time.Second, 1234567 * time.Microsecond, 10 * time.Minute, 30 * day, MaxSize}).Draw(t, "size"),
		Grace: rapid.SampledFrom([]time.Duration{0, NoGrace, 700 * time.Millisecond, MaxSize}).Draw(t, "grace"),
		Args:  []Kind{Numbers, Texts},
	}
	if tiles := rapid.SampledFrom([]int64{0, 1, 3, 7, 72}).Draw(t, "tiles"); tiles > 0 {
		s.Hop = time.Duration(s.Size.Microseconds()/tiles) * time.Microsecond
	}
	if s.Hop == 0 {
		s.Hop = defaultHop(s.Size)
	}
	if s.Hop < MaxSize/MaxTiles {
		s.Grace = min(s.Grace, (MaxTiles-80)*s.Hop)
	}
	all := []Aggregate{
		{Func: Count, Arg: NoArgument},
		{Func: Sum},
		{Func: Mean},
		{Func: Min},
		{Func: Max},
		{Func: Variance},
		{Func: Stddev},
		{Func: Distinct},
		{Func: First},
		{Func: Last},
		{Func: Last, K: rapid.IntRange(1, MaxLast).Draw(t, "k")},
		{Func: Difference},
		{Func: Percentile, P: 0},
		{Func: Percentile, P: 0.5},
		{Func: Percentile, P: 0.9},
		{Func: Percentile, P: 1},
		{Func: Distinct, Arg: 1},
	}
	s.Aggregates = []Aggregate{{Func: Count}, {Func: Count, Arg: 1}}
	for _, a := range all {
		if rapid.IntRange(0, 3).Draw(t, a.Func.String()) > 0 {
			s.Aggregates = append(s.Aggregates, a)
		}
	}
	return s
}

type input struct {
	at   int64
	args []Value
}

// drawInputs returns records of one key: mostly a bit later than the one before, sometimes much later or earlier,
// sometimes many at one time.
func drawInputs(t *rapid.T, s Spec) []input {
	size, hop := s.Size.Microseconds(), s.Hop.Microseconds()
	start := rapid.SampledFrom([]int64{0, -5 * size, 1_400_000_000_000_000, math.MinInt64 + 1, math.MinInt64 + 2*size, math.MaxInt64 - size, math.MaxInt64}).Draw(t, "start")
	grid := rapid.SampledFrom([]int64{1, hop}).Draw(t, "grid")
	scale := rapid.SampledFrom([]float64{1, 0.01, 1.5e9, 1e308, 5e-324}).Draw(t, "scale")
	at, list := start, []input(nil)
	for range rapid.IntRange(1, 50).Draw(t, "records") {
		move := [...]int64{0, 1, hop / 3, hop, size, 3 * size, -1, -hop, -size, -3 * size}[rapid.SampledFrom([]int{0, 1, 2, 2, 2, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9}).Draw(t, "move")]
		if move > 0 && at+move > at || move < 0 && at+move < at {
			at += move
		}
		at -= at % grid
		if at == record.MissingTime {
			at++
		}
		n := 1
		if rapid.IntRange(0, 15).Draw(t, "burst") == 0 {
			n = rapid.IntRange(50, 130).Draw(t, "of")
		}
		shape := rapid.IntRange(0, 4).Draw(t, "shape")
		for i := range n {
			list = append(list, input{at, drawArgs(t, i, shape, scale)})
		}
		if rapid.IntRange(0, 20).Draw(t, "untimed") == 0 {
			list = append(list, input{record.MissingTime, drawArgs(t, 0, 0, scale)})
		}
	}
	return list
}

// drawArgs returns the values of a record: after the first of a burst, a function of its number.
func drawArgs(t *rapid.T, i, shape int, scale float64) []Value {
	if i > 0 {
		x := [...]float64{float64(i), -float64(i) * 1.25, float64(i%7) - 3, math.Ldexp(1, i), 1e9 + float64(i)}[shape]
		return []Value{Number(x * scale), Text(strconv.Itoa(i % (30 * (shape + 1))))}
	}
	args := []Value{{}, {}}
	if rapid.IntRange(0, 5).Draw(t, "number") > 0 {
		x := rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 2, 3, -1, 0.1, 0.1, 1.7, math.NaN(), math.Inf(1), 17}).Draw(t, "x")
		args[0] = Number(x * scale)
	}
	if rapid.IntRange(0, 5).Draw(t, "text") > 0 {
		args[1] = Text(rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "s"))
	}
	return args
}

func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// TestModel has states do what the documentation says, whether they are encoded and decoded on the way or not.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := compile2(t, drawSpec(t))
		m, s, coded := newModel(w), w.New(), w.New()
		out := make([]float64, len(w.spec.Aggregates))
		for i, in := range drawInputs(t, w.spec) {
			wantStatus, want := m.observe(in.at, in.args)
			if rapid.IntRange(0, 5).Draw(t, "read") == 0 {
				if status := s.Read(in.at, in.args, out); status != wantStatus || !same(out, want) {
					t.Fatalf("record %d: Read has %v %v, want %v %v", i, status, out, wantStatus, want)
				}
			}
			if status := s.Observe(in.at, in.args, out); status != wantStatus || !same(out, want) {
				t.Fatalf("record %d at %d: %v\n%v, want %v\n%v", i, in.at, status, out, wantStatus, want)
			}
			if s.Time() != m.time {
				t.Fatalf("the time is %d, want %d", s.Time(), m.time)
			}
			if rapid.IntRange(0, 3).Draw(t, "code") == 0 {
				recode(t, coded)
			}
			if status := coded.Observe(in.at, in.args, out); status != wantStatus || !same(out, want) {
				t.Fatalf("record %d, decoded: %v %v, want %v %v", i, status, out, wantStatus, want)
			}
			if !bytes.Equal(s.Append(nil), coded.Append(nil)) {
				t.Fatalf("record %d: other bytes after decoding:\n%x\n%x", i, s.Append(nil), coded.Append(nil))
			}
		}
		if n := len(s.tiles) - s.head; n > w.grid.most() {
			t.Fatalf("%d tiles, more than %d", n, w.grid.most())
		}
	})
}

func compile2(t *rapid.T, s Spec) *Window {
	w, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func recode(t *rapid.T, s *State) {
	b := s.Append(nil)
	if err := s.Load(b); err != nil {
		t.Fatalf("%v: %x", err, b)
	}
	if again := s.Append(nil); !bytes.Equal(b, again) {
		t.Fatalf("bytes change:\n%x\n%x", b, again)
	}
}

// TestInterleaving has the records of several keys in any order among keys: each key gets the same bits as alone.
func TestInterleaving(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := compile2(t, drawSpec(t))
		n := rapid.IntRange(2, 4).Draw(t, "keys")
		inputs, want := make([][]input, n), make([][][]float64, n)
		for k := range inputs {
			inputs[k] = drawInputs(t, w.spec)
			s := w.New()
			for _, in := range inputs[k] {
				out := make([]float64, len(w.spec.Aggregates))
				s.Observe(in.at, in.args, out)
				want[k] = append(want[k], out)
			}
		}
		states, done, one := make([][]byte, n), make([]int, n), w.New() // one state for all keys, as a store would have it
		out := make([]float64, len(w.spec.Aggregates))
		for {
			var left []int
			for k := range inputs {
				if done[k] < len(inputs[k]) {
					left = append(left, k)
				}
			}
			if len(left) == 0 {
				return
			}
			k := rapid.SampledFrom(left).Draw(t, "key")
			if one.Reset(); states[k] != nil {
				if err := one.Load(states[k]); err != nil {
					t.Fatal(err)
				}
			}
			for range min(rapid.IntRange(1, 50).Draw(t, "run"), len(inputs[k])-done[k]) {
				in := inputs[k][done[k]]
				one.Observe(in.at, in.args, out)
				if !same(out, want[k][done[k]]) {
					t.Fatalf("key %d, record %d: %v, alone %v", k, done[k], out, want[k][done[k]])
				}
				done[k]++
			}
			states[k] = one.Append(nil)
		}
	})
}

// TestExpired has states that are expired read for later records what new states do.
func TestExpired(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := compile2(t, drawSpec(t))
		s := w.New()
		out, want := make([]float64, len(w.spec.Aggregates)), make([]float64, len(w.spec.Aggregates))
		for _, in := range drawInputs(t, w.spec) {
			if in.at != record.MissingTime && s.Expired(in.at) {
				fresh := w.New()
				for _, at := range []int64{in.at, in.at - int64(w.grid.grace), in.at - int64(w.grid.grace)/2} {
					if at > in.at { // it wrapped around
						continue
					}
					status, wantStatus := s.Read(at, in.args, out), fresh.Read(at, in.args, want)
					if status != wantStatus || !same(out, want) {
						t.Fatalf("%v %v, want %v %v", status, out, wantStatus, want)
					}
				}
			}
			s.Observe(in.at, in.args, out)
			end := s.Time()
			if span := int64(w.grid.most()+1) * w.grid.hop; end != record.MissingTime && end+span > end && !s.Expired(end+span) {
				t.Fatal("a state does not expire")
			}
		}
	})
}
