package engine

import (
	"context"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
)

// still checks that an instance commits nothing while it is paused, once what was in flight is committed.
func still(t *testing.T, in *instance) {
	t.Helper()
	time.Sleep(2 * time.Second)
	before := in.Stats()
	time.Sleep(time.Duration(short(60, 35)) * time.Second / slack / slack) // longer than stalledFor, where time costs nothing
	if after := in.Stats(); after.Records != before.Records || after.State != Paused || after.Aborts != before.Aborts {
		t.Errorf("paused at %d records, after a minute %d, state %s, aborts %d and %d", before.Records, after.Records, after.State, before.Aborts, after.Aborts)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*setup){
		"exactly once":  func(*setup) {},
		"at least once": func(s *setup) { s.Guarantee = AtLeastOnce },
		"slow":          func(s *setup) { s.Threads, s.CommitInterval = 1, 5*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) {
				stop := w.trickle(1, 100*time.Millisecond) // most of the time it waits
				in := w.run(change)
				for range 3 {
					at := in.Stats().Records
					w.until("the instance to work", func() bool { return in.Stats().Records > at+100 })
					in.Pause("the median of price is off by 40 %")
					s := in.Stats()
					if s.State != Paused || s.Paused != "the median of price is off by 40 %" || s.PausedSince.IsZero() {
						t.Errorf("paused: %+v", s)
					}
					still(t, in)
					in.Resume()
				}
				in.Resume() // not twice
				stop()
				w.drained()
				s := in.Stats()
				in.stop(t)
				w.verify()
				if s.State != Running || s.Paused != "" || !s.PausedSince.IsZero() || s.Aborts > 0 {
					t.Errorf("in the end: %+v", s)
				}
				if log := in.log.String(); strings.Count(log, "level=WARN") != 3 || strings.Count(log, "msg=resumed") != 3 {
					t.Error(log)
				}
			})
		})
	}
}

// TestPauseGivesMemoryBack pauses an instance while it has records queued: they are put back, and read again.
func TestPauseGivesMemoryBack(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.write(20_000, seeded(t, 1))
		var in *instance
		seen, ready := 0, make(chan struct{})
		in = w.run(func(s *setup) {
			s.MaxQueued = 10_000
			s.topology = stream.New(group, stream.DeadLetters(s.letters))
			from := stream.From(s.topology, s.source, stream.Bytes(), stream.Bytes(), stream.UseClock())
			stream.MapBatch(from, "predict", func(_ context.Context, b *stream.Batch[[]byte, []byte, []byte]) error {
				if seen += len(b.In); seen >= 1000 && seen-len(b.In) < 1000 {
					<-ready
					in.Pause("to look at it")
				}
				return predict(modelHeaders(), b)
			}, stream.BatchOptions{MaxSize: 100, OnError: stream.OnError(stream.DeadLetter)}).To(s.sink, stream.Provenance())
		})
		close(ready)
		w.until("the pause", func() bool { return in.Stats().State == Paused })
		still(t, in)
		if n := in.Stats().Records; n > 3000 {
			t.Errorf("%d records were processed", n)
		}
		for _, r := range in.tasks() {
			if n := r.intakes[0].waiting(); n > 0 {
				t.Errorf("%d records wait in memory", n)
			}
		}
		in.Resume()
		w.drained()
		in.stop(t)
		w.verify()
	})
}

// TestPauseHolds pauses before the run, and through a lost session and rebalances; another instance is not paused by it.
func TestPauseHolds(t *testing.T) {
	t.Parallel()
	withMall(t, 6, func(t *testing.T, m *mall) {
		stop := m.dribble(1, 100*time.Millisecond)
		a := m.shop("", func(s *setup) { s.InstanceID = "a" })
		a.Pause("a person wants it")
		still(t, a)
		b := m.shop("")
		b.works(m)
		a.wire.cut()
		time.Sleep(2 * sessionTimeout)
		a.wire.mend()
		time.Sleep(2 * sessionTimeout)
		still(t, a)
		if n := a.Stats().Records; n > 0 {
			t.Errorf("%d records while paused", n)
		}
		b.stop(t)
		still(t, a)
		a.Resume()
		a.works(m)
		a.Pause("again")
		still(t, a)
		a.stop(t) // a paused instance ends as any other
		c := m.shop("")
		stop()
		m.closed()
		c.stop(t)
		m.audit()
	})
}
