package window

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

// fuzzWindows are the windows whose states are fuzzed: with every function, and with few.
func fuzzWindows(t testing.TB) []*Window {
	small := func(a ...Aggregate) *Window {
		return compile(t, Spec{Size: time.Minute, Hop: 7 * time.Second, Args: []Kind{Numbers}, Aggregates: a})
	}
	return []*Window{
		everything(t), hour(t), small(Aggregate{Func: Last, K: 2}), small(Aggregate{Func: First}, Aggregate{Func: Min}),
		compile(t, Spec{Size: time.Minute, Grace: NoGrace, Aggregates: []Aggregate{{Func: Count, Arg: NoArgument}}}),
	}
}

// exampleStates are encoded states of a window, small and large.
func exampleStates(w *Window) [][]byte {
	s, out := w.New(), make([]float64, len(w.spec.Aggregates))
	r := rand.New(rand.NewPCG(7, 8))
	states := [][]byte{s.Append(nil)}
	at, args := -minute, make([]Value, len(w.args))
	for i, steps := range []int{1, 1, 3, 100, 300} {
		for range steps {
			at += r.Int64N(w.spec.Size.Microseconds() / int64(steps))
			for a := range args {
				switch {
				case r.IntN(9) == 0:
					args[a] = Value{}
				case w.args[a].kind == Texts:
					args[a] = Text(strconv.Itoa(r.IntN(200)))
				default:
					args[a] = Number(float64(r.IntN(1000)) * [...]float64{1, 0.25, 1e304}[r.IntN(3)])
				}
			}
			s.Observe(at-r.Int64N(w.grid.hop), args, out)
			if i == 3 { // a tile of many values
				s.Observe(at, args, out)
				at -= min(at+minute, w.grid.hop/300)
			}
		}
		states = append(states, s.Append(nil))
	}
	return states
}

// FuzzLoad feeds bytes to Load, with the digest set right: they are refused, or they are a state that has exactly
// these bytes and goes on as such.
func FuzzLoad(f *testing.F) {
	windows := fuzzWindows(f)
	for i, w := range windows {
		for _, b := range exampleStates(w) {
			f.Add(uint8(i), b[1+digestSize:])
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		w := windows[int(which)%len(windows)]
		b := append(append([]byte{stateVersion}, w.digest[:]...), body...)
		s, err := w.Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got := s.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("other bytes:\n%x\n%x", got, b)
		}
		goOn(t, s, b)
	})
}

// goOn gives records to a state and to one that has just the same bytes.
func goOn(t *testing.T, s *State, b []byte) {
	w := s.w
	twin := w.New()
	out, want := make([]float64, len(w.spec.Aggregates)), make([]float64, len(w.spec.Aggregates))
	args := make([]Value, len(w.args))
	start := s.Time()
	for i, off := range []int64{0, 1, -1, w.grid.hop, -w.grid.hop, -int64(w.grid.grace), w.spec.Size.Microseconds(), math.MaxInt64, math.MinInt64} {
		for a := range args {
			args[a] = Number(float64(i))
			if w.args[a].kind == Texts {
				args[a] = Text(strconv.Itoa(i))
			}
		}
		if err := twin.Load(b); err != nil {
			t.Fatal(err)
		}
		at := start + off
		if s.Observe(at, args, out) != twin.Observe(at, args, want) || !same(out, want) {
			t.Fatalf("%v, decoded %v", out, want)
		}
		s.Expired(at)
		if b = s.Append(b[:0]); !bytes.Equal(b, twin.Append(nil)) {
			t.Fatal("a decoded state goes on in another way")
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for i, w := range fuzzWindows(t) {
		s := w.New()
		for _, b := range exampleStates(w) {
			refused := func(what string, b []byte, want error) {
				t.Helper()
				if err := s.Load(b); !errors.Is(err, want) {
					t.Errorf("window %d, %s: %v, want %v", i, what, err, want)
				}
				if s.Time() != record.MissingTime || len(s.tiles) > 0 {
					t.Errorf("window %d, %s: a state is left", i, what)
				}
			}
			step := 1
			if testing.Short() { // one goroutine, and thousands of lengths
				step = 11
			}
			for n := 0; n < len(b); n += step {
				refused(fmt.Sprintf("%d bytes of %d", n, len(b)), b[:n], ErrCorrupt)
			}
			refused("a byte too many", append(bytes.Clone(b), 0), ErrCorrupt)
			later := bytes.Clone(b)
			later[0]++
			refused("a later version", later, ErrMismatch)
			other := bytes.Clone(b)
			other[3] ^= 1
			refused("another declaration", other, ErrMismatch)
		}
	}
	if _, err := hour(t).Decode(everything(t).New().Append(nil)); err == nil || !strings.Contains(err.Error(), "sizes, arguments or what is computed of them have changed") {
		t.Error(err)
	}
}

// TestLoadAllocates has a few bytes that claim many tiles ask for no memory.
func TestLoadAllocates(t *testing.T) {
	w := compile(t, Spec{Size: MaxSize, Hop: 7 * day, Grace: MaxSize, Args: make([]Kind, MaxArguments), Aggregates: sums()})
	b := binary.AppendUvarint(w.New().Append(nil)[:1+digestSize], uint64(w.grid.most()))
	b = append(b, make([]byte, 40)...)
	s := w.New()
	if err := s.Load(b); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if cap(s.moments) > 0 {
		t.Errorf("room for %d moments is made", cap(s.moments))
	}
}

func sums() []Aggregate {
	list := make([]Aggregate, MaxArguments)
	for i := range list {
		list[i] = Aggregate{Func: Sum, Arg: i}
	}
	return list
}

// TestSameEverywhere pins what all functions give for many records, and the bytes of the states, so that an
// architecture or a compiler that rounds in another way fails here, and so does a change of what states mean.
func TestSameEverywhere(t *testing.T) {
	t.Parallel()
	w := everything(t)
	r := rand.New(rand.NewPCG(9, 10))
	s, out, h := w.New(), make([]float64, len(w.spec.Aggregates)), sha256.New()
	at := int64(1_600_000_000_000_000)
	for i := range 6000 {
		at += r.Int64N(int64(1)<<(10+i/300) + 1)
		x := float64(r.Int64N(1<<40)) / 8191 // exact on every machine
		s.Observe(at-r.Int64N(30*minute)*int64(i%7/6), []Value{Number(x), Text(strconv.Itoa(r.IntN(150)))}, out)
		for _, x := range out {
			h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)))
		}
		if i%200 == 0 {
			h.Write(s.Append(nil))
		}
	}
	if got, want := hex.EncodeToString(h.Sum(nil)[:8]), "7145182fdffc8ad9"; got != want {
		t.Errorf("the bits hash to %s, want %s", got, want)
	}
}
