package outcome

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// memory is rows in memory.
type memory map[string][]byte

func (m memory) Get(key string) ([]byte, bool, error) {
	b, ok := m[key]
	return b, ok, nil
}

func (m memory) Put(key string, value []byte) error {
	m[key] = bytes.Clone(value)
	return nil
}

func (m memory) Delete(key string) error {
	delete(m, key)
	return nil
}

func (m memory) Range(from, to string, f func(string, []byte) (bool, error)) error {
	var keys []string
	seen := map[string][]byte{}
	for key, value := range m {
		if key >= from && key < to {
			keys, seen[key] = append(keys, key), value
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if more, err := f(key, seen[key]); err != nil || !more {
			return err
		}
	}
	return nil
}

// plain is the joiner's rules without its rows: all is kept, and looked through.
type plain struct {
	o      Options
	waits  []waiting
	known  map[string]int64 // predictions that must not come again, by source
	labels map[string]map[int64]float64
	floors map[string]int64
	events []string
}

type waiting struct {
	key string
	p   Prediction
}

func (m *plain) told(kind Kind, w *waiting, at int64, label float64) {
	m.events = append(m.events, fmt.Sprintf("%d %s %s %d %g", kind, w.key, w.p.Source, at, label))
}

// first looks for the label of a prediction.
func (m *plain) first(w *waiting) (at int64, label float64, ok bool) {
	for t, x := range m.labels[w.key] {
		floor, has := m.floors[w.key]
		if t >= w.p.At-m.o.Early.Milliseconds() && t <= w.p.At+m.o.Horizon.Milliseconds() && (!has || t > floor) && (!ok || t < at) {
			at, label, ok = t, x, true
		}
	}
	return at, label, ok
}

func (m *plain) take(key string, in *Input) {
	switch {
	case in.Prediction != nil:
		if _, known := m.known[in.Prediction.Source]; known {
			return
		}
		m.known[in.Prediction.Source] = in.Prediction.At
		w := waiting{key, *in.Prediction}
		m.told(Seen, &w, 0, 0)
		m.waits = append(m.waits, w)
	case in.Withdrawn:
		if floor, has := m.floors[key]; !has || in.At > floor {
			m.floors[key] = in.At
		}
	default:
		if floor, has := m.floors[key]; has && in.At <= floor {
			return
		}
		if m.labels[key] == nil {
			m.labels[key] = map[int64]float64{}
		}
		m.labels[key][in.At] = in.Label
	}
	m.waits = slices.DeleteFunc(m.waits, func(w waiting) bool {
		at, label, ok := m.first(&w)
		if ok {
			m.told(Labelled, &w, at, label)
		}
		return ok
	})
}

func (m *plain) sweep(r Reached) {
	until := r.Labels - m.o.Horizon.Milliseconds() - m.o.Grace.Milliseconds()
	m.waits = slices.DeleteFunc(m.waits, func(w waiting) bool {
		if w.p.At > until {
			return false
		}
		m.told(Overdue, &w, 0, 0)
		return true
	})
	maps.DeleteFunc(m.known, func(_ string, at int64) bool { return at <= until })
	gone := r.Predictions - m.o.Early.Milliseconds() - m.o.Grace.Milliseconds()
	for _, labels := range m.labels {
		maps.DeleteFunc(labels, func(at int64, _ float64) bool { return at <= gone })
	}
	maps.DeleteFunc(m.floors, func(_ string, at int64) bool { return at <= gone })
}

// TestJoinerAgainstItsRules takes random inputs in random order, and compares what is told, and what is left, with the plain rules.
func TestJoinerAgainstItsRules(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		o := Options{Horizon: time.Duration(rng.IntN(30)) * time.Millisecond, Early: time.Duration(rng.IntN(2)*rng.IntN(5)) * time.Millisecond, Grace: time.Duration(rng.IntN(20)) * time.Millisecond}
		model := &plain{o: o, known: map[string]int64{}, labels: map[string]map[int64]float64{}, floors: map[string]int64{}}
		rows := memory{}
		var got []string
		j := NewJoiner(rows, o, func(e *Event) error {
			got = append(got, fmt.Sprintf("%d %s %s %d %g", e.Kind, e.Key, e.Prediction.Source, e.LabelledAt, e.Label))
			return nil
		})
		limit := 1 + rng.IntN(3)
		now := Reached{}
		for i := range 200 {
			if rng.IntN(10) == 0 { // all that is known is in the rows
				j = NewJoiner(rows, o, j.emit)
			}
			in := randomInput(rng, i)
			key := strconv.Itoa(rng.IntN(4))
			model.take(key, in)
			check(t, j.Take(key, in))
			if rng.IntN(8) == 0 {
				now.Labels = max(now.Labels, int64(i/2-rng.IntN(20)))
				now.Predictions = max(now.Predictions, int64(i/2-rng.IntN(20)))
				model.sweep(now)
				for more := true; more; {
					var err error
					more, err = j.Sweep(now, limit)
					check(t, err)
				}
			}
			if i%10 != 9 {
				continue
			}
			slices.Sort(got)
			slices.Sort(model.events)
			if d := gocmp.Diff(model.events, got); d != "" {
				t.Fatalf("seed %d, after %d inputs, %+v (-want +got):\n%s", seed, i, o, d)
			}
		}
		end := Reached{1 << 40, 1 << 40}
		for more := true; more; {
			var err error
			more, err = j.Sweep(end, limit)
			check(t, err)
		}
		if len(rows) > 0 {
			t.Fatalf("seed %d: %d rows are left: %q", seed, len(rows), slices.Sorted(maps.Keys(rows)))
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// randomInput draws an input whose time is about i/2.
func randomInput(rng *rand.Rand, i int) *Input {
	at := max(0, int64(i/2+rng.IntN(30)-15))
	switch rng.IntN(10) {
	case 0:
		return &Input{At: at, Withdrawn: true}
	case 1, 2, 3, 4:
		return &Input{At: at, Label: float64(i)}
	default:
		p := &Prediction{Topic: "predictions", Source: fmt.Sprintf("in/0/%d", i), At: at, Value: float64(i), Baseline: math.NaN()}
		return &Input{Prediction: p}
	}
}

// TestWork resolves more predictions than a label does at once, with another label between, and with a sweep that comes first.
func TestWork(t *testing.T) {
	t.Parallel()
	for name, sweep := range map[string]bool{"resolved in turn": false, "swept before": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := memory{}
			labels := map[string]float64{}
			j := NewJoiner(rows, Options{Horizon: time.Hour}, func(e *Event) error {
				if e.Kind == Overdue {
					t.Errorf("%s expires, and has a label", e.Prediction.Source)
				}
				if e.Kind == Labelled {
					if _, twice := labels[e.Prediction.Source]; twice {
						t.Errorf("%s has two outcomes", e.Prediction.Source)
					}
					labels[e.Prediction.Source] = e.Label
				}
				return nil
			})
			const n = 2*atOnce + atOnce/2
			for i := range n {
				check(t, j.Take("hot", &Input{Prediction: &Prediction{Topic: "p", Source: strconv.Itoa(i), At: int64(i % 10)}}))
			}
			check(t, j.Take("hot", &Input{At: 50, Label: 1}))
			if len(labels) != atOnce {
				t.Errorf("%d at once, want %d", len(labels), atOnce)
			}
			check(t, j.Take("hot", &Input{At: 40, Label: 2})) // it goes before the other, for those that wait
			if len(labels) != 2*atOnce {
				t.Errorf("%d after another label, want %d", len(labels), 2*atOnce)
			}
			if sweep {
				for more := true; more; {
					var err error
					more, err = j.Sweep(Reached{Labels: 1 << 40, Predictions: Unknown}, 77)
					check(t, err)
				}
			}
			j = NewJoiner(rows, Options{Horizon: time.Hour}, j.emit)
			for more := true; more; {
				var err error
				before := len(labels)
				more, err = j.Work(100)
				check(t, err)
				if len(labels)-before > 100 {
					t.Errorf("%d in a step, want 100 at most", len(labels)-before)
				}
			}
			first := 0
			for _, label := range labels {
				if label == 1 {
					first++
				}
			}
			if len(labels) != n || first != atOnce {
				t.Errorf("%d of %d have a label, %d of them the first to come", len(labels), n, first)
			}
			for more := true; more; {
				var err error
				more, err = j.Sweep(Reached{1 << 40, 1 << 40}, 1000)
				check(t, err)
			}
			if len(rows) > 0 {
				t.Errorf("%d rows are left", len(rows))
			}
		})
	}
}

func TestInputsAndEventsAsBytes(t *testing.T) {
	t.Parallel()
	p := Prediction{
		Topic: "predictions", Source: "housing/3/12", Model: "houses@2", Digest: "sha256:1", Experiment: "x", Arm: "new", Forced: true, At: 17,
		Value: -1e308, Baseline: 4, Key: []byte{}, Unit: "u", HasUnit: true,
	}
	bare := Prediction{Topic: "p", Source: "s/0/1", Model: "m@1", Unpaired: true, Baseline: math.NaN(), At: math.MaxInt64}
	equal := gocmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
	for _, in := range []Input{{Prediction: &p}, {Prediction: &bare}, {At: 3, Label: math.Copysign(0, -1)}, {At: 5, Withdrawn: true}} {
		b := in.Append(nil)
		got, err := DecodeInput(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(in, got, equal); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		for i := range b {
			if got, err := DecodeInput(b[:i]); err == nil {
				t.Errorf("%d of %d bytes give %+v", i, len(b), got)
			}
		}
		if _, err := DecodeInput(append(b, 0)); err == nil {
			t.Error("a byte too many is read")
		}
	}
	for _, e := range []Event{{Kind: Seen, Key: "k", Prediction: p}, {Kind: Overdue, Prediction: bare}, {Kind: Labelled, Key: "k", Prediction: p, Label: 3, LabelledAt: 9}} {
		b := e.Append(nil)
		got, err := DecodeEvent(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(e, got, equal); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		for i := range b {
			if _, err := DecodeEvent(b[:i]); err == nil {
				t.Errorf("%d of %d bytes of an event are read", i, len(b))
			}
		}
	}
}

func FuzzDecodeInput(f *testing.F) {
	p := Prediction{Topic: "p", Source: "s", Baseline: 1, Key: []byte("k"), HasUnit: true, Unit: "u"}
	for _, in := range []Input{{Prediction: &p}, {At: 3, Label: 1}, {At: 3, Withdrawn: true}} {
		f.Add(in.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := DecodeInput(b)
		if err != nil {
			return
		}
		again, err := DecodeInput(in.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if (again.Prediction == nil) != (in.Prediction == nil) || again.At != in.At || again.Withdrawn != in.Withdrawn {
			t.Errorf("%+v became %+v", in, again)
		}
	})
}
