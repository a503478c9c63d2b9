package window

import (
	"math"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

func TestDefaultHop(t *testing.T) {
	t.Parallel()
	for size, want := range map[time.Duration]time.Duration{
		time.Second: 20 * time.Millisecond, 10 * time.Minute: 10 * time.Second, time.Hour: time.Minute, 6 * time.Hour: 5 * time.Minute,
		day: 20 * time.Minute, 7 * day: 3 * time.Hour, 30 * day: 12 * time.Hour, 365 * day: 7 * day, MaxSize: 7 * day,
	} {
		if got := defaultHop(size); got != want {
			t.Errorf("the hop of %v is %v, want %v", size, got, want)
		}
	}
	for size := MinSize; size <= MaxSize; size += size/50 + 1 {
		if n := (size + defaultHop(size) - 1) / defaultHop(size); n < 28 || n > 72 {
			t.Errorf("%v has %d tiles", size, n)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := func() Spec {
		return Spec{Size: time.Hour, Args: []Kind{Numbers, Texts}, Aggregates: []Aggregate{{Func: Sum}, {Func: Distinct, Arg: 1}}}
	}
	if err := good().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Spec){
		"the size is 0s": func(s *Spec) { s.Size = 0 },
		"the size is 9600h0m1s: want from 1s to 400": func(s *Spec) { s.Size = MaxSize + time.Second },
		"the hop is 2h0m0s":                          func(s *Spec) { s.Hop = 2 * time.Hour },
		"the hop is -1ns":                            func(s *Spec) { s.Hop = -1 },
		"the grace is -2ns":                          func(s *Spec) { s.Grace = -2 },
		"whole microseconds":                         func(s *Spec) { s.Hop = time.Minute + 1 },
		"more than 3000 hops of 1s":                  func(s *Spec) { s.Hop = time.Second },
		"257 arguments":                              func(s *Spec) { s.Args = make([]Kind, 257) },
		"0 aggregates":                               func(s *Spec) { s.Aggregates = nil },
		"argument 1 is used by no aggregate":         func(s *Spec) { s.Aggregates = s.Aggregates[:1] },
		"argument 1 has no kind: Kind(7)":            func(s *Spec) { s.Args[1], s.Aggregates[1] = 7, Aggregate{Func: Count, Arg: 1} },
		"aggregate 0: Func(0): no such function":     func(s *Spec) { s.Aggregates[0].Func = 0 },
		"aggregate 0: sum: it needs an argument":     func(s *Spec) { s.Aggregates[0].Arg = NoArgument },
		"aggregate 0: sum: there is no argument 2":   func(s *Spec) { s.Aggregates[0].Arg = 2 },
		"argument 1 is a text, not a number":         func(s *Spec) { s.Aggregates[0].Arg = 1 },
		"aggregate 0: sum: it takes no k":            func(s *Spec) { s.Aggregates[0].K = 1 },
		"aggregate 0: last: k is 101":                func(s *Spec) { s.Aggregates[0] = Aggregate{Func: Last, K: 101} },
		"aggregate 0: sum: it takes no p":            func(s *Spec) { s.Aggregates[0].P = 0.5 },
		"percentile: p is 95: want from 0 to 1":      func(s *Spec) { s.Aggregates[0] = Aggregate{Func: Percentile, P: 95} },
		"percentile: p is NaN":                       func(s *Spec) { s.Aggregates[0] = Aggregate{Func: Percentile, P: math.NaN()} },
	} {
		s := good()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if w, err := Compile(s); w != nil || err == nil {
			t.Errorf("%s: it compiles", want)
		}
	}
}

func TestFunc(t *testing.T) {
	t.Parallel()
	for f := Count; f <= Percentile; f++ {
		name, err := f.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Func
		if err := back.UnmarshalText(name); err != nil || back != f || string(name) != f.String() {
			t.Errorf("%s: %v, %v", name, back, err)
		}
	}
	if f, err := ParseFunc("lag"); f != Last || err != nil {
		t.Errorf("lag: %v, %v", f, err)
	}
	if _, err := ParseFunc("median"); err == nil || !strings.Contains(err.Error(), "want lag or one of count, sum, mean") {
		t.Error(err)
	}
	if _, err := Func(99).MarshalText(); err == nil {
		t.Error("there is a function 99")
	}
}

// TestGrid holds the tiles of times at both ends of int64 against big integers.
func TestGrid(t *testing.T) {
	t.Parallel()
	for _, s := range []Spec{
		{Size: time.Second},
		{Size: time.Second, Hop: 334 * time.Microsecond, Grace: NoGrace},
		{Size: 1234567 * time.Microsecond, Grace: 900 * time.Second, Hop: time.Second},
		{Size: MaxSize, Grace: MaxSize},
		{Size: MaxSize, Hop: MaxSize},
		{Size: time.Hour},
	} {
		s.Aggregates = []Aggregate{{Func: Count, Arg: NoArgument}}
		w := compile(t, s)
		m := newModel(w)
		hop := w.grid.hop
		for _, near := range []int64{math.MinInt64, 0, -hop, hop, 1_700_000_000_000_000, math.MaxInt64 / hop * hop, math.MaxInt64} {
			for _, off := range []int64{-hop, -2, -1, 0, 1, 2, hop - 1, hop} {
				at := near + off
				if at == record.MissingTime {
					continue
				}
				p := w.grid.place(at)
				size, grace := s.Size.Microseconds(), w.spec.grace().Microseconds()
				if got, want := p.tile(), m.tile(at); got != want {
					t.Errorf("%v: the tile of %d is %d, want %d", s.Size, at, got, want)
				}
				if got, want := p.before(w.grid.size), m.floor(at, size); got != want {
					t.Errorf("%v: the window of %d begins at %d, want %d", s.Size, at, got, want)
				}
				if got, want := p.before(w.grid.kept), m.floor(at, size+grace); got != want {
					t.Errorf("%v: at %d tiles from %d are kept, want %d", s.Size, at, got, want)
				}
				if o := w.grid.offset(p.tile(), at); o < 1 || o > hop {
					t.Errorf("%v: %d is at %d in its tile", s.Size, at, o)
				}
			}
		}
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	base := hour(t)
	same, other := base.Spec(), base.Spec()
	same.Aggregates = []Aggregate{{Func: Stddev}, {Func: Mean}, {Func: Max}}
	if compile(t, same).Digest() != base.Digest() {
		t.Error("what needs the same state has another digest")
	}
	for name, change := range map[string]func(*Spec){
		"size":   func(s *Spec) { s.Size++; s.Size += time.Microsecond - 1 },
		"hop":    func(s *Spec) { s.Hop *= 2 },
		"grace":  func(s *Spec) { s.Grace = NoGrace },
		"source": func(s *Spec) { s.Source = "amount" },
		"need":   func(s *Spec) { s.Aggregates = append([]Aggregate{{Func: Min}}, s.Aggregates...) },
	} {
		s := other
		change(&s)
		if compile(t, s).Digest() == base.Digest() {
			t.Errorf("another %s has the same digest", name)
		}
	}
}
