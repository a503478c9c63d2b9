package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// hour is the window that the budget is about: an hour of tiles of a minute, five aggregates of one argument.
func hour(t testing.TB) *Window {
	return compile(t, Spec{
		Size: time.Hour, Args: []Kind{Numbers},
		Aggregates: []Aggregate{{Func: Count, Arg: NoArgument}, {Func: Sum}, {Func: Mean}, {Func: Max}, {Func: Variance}},
	})
}

// everything is a window with every function.
func everything(t testing.TB) *Window {
	return compile(t, Spec{
		Size: time.Hour, Args: []Kind{Numbers, Texts},
		Aggregates: []Aggregate{
			{Func: Count, Arg: NoArgument},
			{Func: Count},
			{Func: Sum},
			{Func: Mean},
			{Func: Min},
			{Func: Max},
			{Func: Variance},
			{Func: Stddev},
			{Func: Distinct},
			{Func: First},
			{Func: Last, K: 3},
			{Func: Difference},
			{Func: Percentile, P: 0.5},
			{Func: Percentile, P: 0.95},
			{Func: Count, Arg: 1},
			{Func: Distinct, Arg: 1},
		},
	})
}

func compile(t testing.TB, s Spec) *Window {
	t.Helper()
	w, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// feed gives records at a steady rate.
type feed struct {
	r    *rand.Rand
	at   int64
	step int64
	args []Value
}

func newFeed(step time.Duration, kinds int) *feed {
	return &feed{r: rand.New(rand.NewPCG(1, 2)), at: 1_700_000_000_000_000, step: step.Microseconds(), args: make([]Value, kinds)}
}

func (f *feed) next() {
	f.at += f.step
	f.args[0] = Number(math.Floor(f.r.ExpFloat64()*1e4) / 100)
	if len(f.args) > 1 {
		f.args[1] = Text([]byte{byte(f.r.IntN(100))})
	}
}

// full returns a state all whose tiles are filled.
func full(w *Window, f *feed, out []float64) *State {
	s := w.New()
	for end := f.at + 3*w.spec.Size.Microseconds(); f.at < end; {
		f.next()
		s.Observe(f.at, f.args, out)
	}
	return s
}

// steps are the times between records of a benchmark: many in a tile, and each in a tile of its own.
func steps() []time.Duration { return []time.Duration{100 * time.Millisecond, time.Minute} }

func BenchmarkObserve(b *testing.B) {
	for name, w := range map[string]*Window{"hour": hour(b), "everything": everything(b)} {
		for _, step := range steps() {
			b.Run(fmt.Sprintf("%s/every=%v", name, step), func(b *testing.B) {
				f, out := newFeed(step, len(w.args)), make([]float64, len(w.spec.Aggregates))
				s := full(w, f, out)
				b.ReportAllocs()
				for b.Loop() {
					f.next()
					s.Observe(f.at, f.args, out)
				}
			})
		}
	}
}

// BenchmarkCold is a read without the merge of the tiles that are closed, as after Load.
func BenchmarkCold(b *testing.B) {
	for name, w := range map[string]*Window{"hour": hour(b), "everything": everything(b)} {
		for _, step := range steps() {
			b.Run(fmt.Sprintf("%s/every=%v", name, step), func(b *testing.B) {
				f, out := newFeed(step, len(w.args)), make([]float64, len(w.spec.Aggregates))
				s := full(w, f, out)
				b.ReportAllocs()
				for b.Loop() {
					s.closed.to = -1
					s.Read(s.time, f.args, out)
				}
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	benchmarkState(b, func(s *State, bytes []byte) { s.Append(bytes[:0]) })
}

func BenchmarkLoad(b *testing.B) {
	benchmarkState(b, func(s *State, bytes []byte) {
		if err := s.Load(bytes); err != nil {
			b.Fatal(err)
		}
	})
}

func benchmarkState(b *testing.B, f func(s *State, bytes []byte)) {
	noGrace := hour(b).Spec()
	noGrace.Grace = NoGrace
	for name, w := range map[string]*Window{"hour": hour(b), "no-grace": compile(b, noGrace), "everything": everything(b)} {
		for _, step := range steps() {
			b.Run(fmt.Sprintf("%s/every=%v", name, step), func(b *testing.B) {
				s := full(w, newFeed(step, len(w.args)), make([]float64, len(w.spec.Aggregates)))
				bytes := s.Append(nil)
				b.ReportAllocs()
				for b.Loop() {
					f(s, bytes)
				}
				b.ReportMetric(float64(len(bytes)), "bytes")
			})
		}
	}
}

func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("it counts the same without the race detector, in a tenth of the time")
	}
	for name, w := range map[string]*Window{"hour": hour(t), "everything": everything(t)} {
		for _, step := range steps() {
			f, out := newFeed(step, len(w.args)), make([]float64, len(w.spec.Aggregates))
			s := full(w, f, out)
			bytes := s.Append(nil)
			bytes = append(bytes, make([]byte, 4096)...)[:0]
			if n := testing.AllocsPerRun(2000, func() {
				f.next()
				s.Observe(f.at, f.args, out)
			}); n != 0 {
				t.Errorf("%s, every %v: Observe allocates %v times", name, step, n)
			}
			if n := testing.AllocsPerRun(20, func() {
				bytes = s.Append(bytes[:0])
				if err := s.Load(bytes); err != nil {
					t.Fatal(err)
				}
				s.Read(s.time, f.args, out)
			}); n != 0 {
				t.Errorf("%s, every %v: Append, Load and Read allocate %v times", name, step, n)
			}
		}
	}
}
