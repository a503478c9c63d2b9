package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"millrace.dev/stream"
)

var errSpecial = errors.New("this record is special")

// stopping is a topology that ends at records of some values, in batches or one by one, or behind a repartition topic.
func stopping(how string, at func(string) bool) func(*setup) {
	return func(s *setup) {
		s.topology = stream.New(group, stream.DeadLetters(s.letters))
		in := stream.From(s.topology, s.source, stream.String(), stream.String(), stream.UseClock())
		f := func(v string) (string, error) {
			if at(v) {
				return "", &stream.Stop{Err: fmt.Errorf("value %s: %w", v, errSpecial)}
			}
			return v, nil
		}
		if how == "one by one" {
			stream.TryMapValues(in, func(_ context.Context, v string) (string, error) { return f(v) }, stream.OnError(stream.DeadLetter)).To(s.sink)
			return
		}
		if how == "repartitioned" {
			in = in.Repartition("again")
		}
		stream.MapBatch(in, "map", func(_ context.Context, b *stream.Batch[string, string, string]) error {
			for i := range b.In {
				b.Out[i].Value, b.Out[i].Err = f(b.In[i].Value)
			}
			return nil
		}, stream.BatchOptions{MaxSize: 64, Concurrency: 2, OnError: stream.OnError(stream.DeadLetter)}).To(s.sink)
	}
}

// TestStop ends the application at a record: all that came before in its partition is committed, the record is not, and a
// restart meets it again. When it is no longer special, nothing is lost and nothing there twice.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		how       string
		guarantee Guarantee
		at        string
	}{
		{"batches", ExactlyOnce, "700"},
		{"batches", AtLeastOnce, "700"},
		{"one by one", ExactlyOnce, "700"},
		{"repartitioned", ExactlyOnce, "700"},
		{"batches", ExactlyOnce, "0"},
		{"batches", ExactlyOnce, "100"}, // the first that is not committed
		{"batches", ExactlyOnce, "999"},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				var mended atomic.Bool
				topology := stopping(c.how, func(v string) bool { return v == c.at && !mended.Load() })
				change := func(s *setup) { s.Guarantee = c.guarantee }
				stop, _ := strconv.Atoi(c.at)
				if w.numbers(0, 100); stop >= 100 {
					in := w.run(topology, change)
					w.drained()
					in.stop(t)
				}
				w.numbers(100, 900)
				for range 2 { // a restart meets the record again
					in := w.run(topology, change)
					<-in.done
					if te, ok := errors.AsType[*TaskError](in.err); !ok || !errors.Is(te, errSpecial) || te.Error() != "value "+c.at+": this record is special" {
						t.Fatalf("error %v\n%s", in.err, in.log)
					}
					if s := in.Stats().State; s != Failed {
						t.Errorf("state %s", s)
					}
					w.onceUpTo(stop, c.guarantee)
				}
				mended.Store(true)
				in := w.run(topology, change)
				w.until("all results", func() bool { return len(w.read(sink)) >= 1000 })
				in.stop(t)
				w.onceUpTo(1000, c.guarantee)
				if n := len(w.read(letters)); n > 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// onceUpTo wants one result of each number below n, and none of others.
func (w *world) onceUpTo(n int, guarantee Guarantee) {
	w.t.Helper()
	seen := map[string]int{}
	for _, r := range w.read(sink) {
		seen[string(r.Value)]++
	}
	for i := range 1000 {
		switch k := seen[strconv.Itoa(i)]; {
		case i < n && (k < 1 || k > 1 && guarantee == ExactlyOnce):
			w.t.Errorf("%d results of %d, of %d", k, i, n)
		case i >= n && k > 0 && guarantee == ExactlyOnce:
			w.t.Errorf("%d results of %d, which is behind the record", k, i)
		}
	}
}

// TestStopOthers ends at records of two partitions of several, while members come and go: no result is lost or there twice.
func TestStopOthers(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		var mended atomic.Bool
		special := func(v string) bool { return (v == "700" || v == "701") && !mended.Load() }
		ran := []*instance{w.run(stopping("batches", special)), w.run(stopping("batches", special))}
		w.numbers(0, 1000)
		for _, in := range ran {
			<-in.done
			if !errors.Is(in.err, errSpecial) {
				t.Errorf("error %v", in.err)
			}
		}
		if n := len(w.read(sink)); n == 0 || n > 998 {
			t.Errorf("%d results", n)
		}
		mended.Store(true)
		in := w.run(stopping("batches", special))
		w.until("all results", func() bool { return len(w.read(sink)) >= 1000 })
		in.stop(t)
		w.onceUpTo(1000, ExactlyOnce)
	})
}
