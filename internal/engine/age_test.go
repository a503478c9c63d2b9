//go:build synctests

package engine

import (
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// TestStateTooOld takes up state after a row was deleted and compaction has removed the tombstone too: the changelog then
// says nothing of the row that the old state still has.
func TestStateTooOld(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		m := &mall{world: w}
		if err := w.cluster.CreateTopic("facts", 1, nil); err != nil {
			t.Fatal(err)
		}
		p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: "facts"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		dir := t.TempDir()
		// start starts an instance, and waits until it has taken over a fact.
		start := func(dir, key, fact string) *instance {
			t.Helper()
			r := record.Raw{Key: []byte(key), Timestamp: time.Now().UnixMilli()}
			if fact != "" {
				r.Value = []byte(fact)
			}
			if err := p.Send(t.Context(), &r); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			in := w.run(inDir(dir), func(s *setup) {
				s.topology = stream.New(group)
				in := stream.From(s.topology, s.source, stream.String(), stream.String())
				facts := stream.TableFrom(s.topology, "facts", "facts", stream.String(), stream.String())
				stream.LeftJoinTable(in, facts, "join", func(v, f string, _ bool) string { return v + " " + f }).To(s.sink)
			})
			w.until("the fact to be known", func() bool { return in.Stats().Commits > 0 })
			return in
		}
		round := func(dir, key, fact string) { start(dir, key, fact).stop(t) }
		round(dir, "first", "x") // keeps the beginning of the changelog where it is
		round(dir, "a", "old")
		old := m.backup(dir)
		round(dir, "a", "")
		for range 3 {
			time.Sleep(tombstonesFor + time.Hour)
			round(dir, "b", "new")
			w.cluster.Compact()
		}
		w.put(record.Raw{Key: []byte("a"), Value: []byte("v"), Timestamp: time.Now().UnixMilli()})
		in := start(old, "b", "newer")
		w.drained()
		in.stop(t)
		if !strings.Contains(in.log.String(), "state is too old") {
			t.Errorf("log:\n%s", in.log)
		}
		if out := w.read(sink); len(out) != 1 || string(out[0].Value) != "v " {
			t.Errorf("%v", out)
		}
	})
}

// TestStateFresh takes up state that is old by its rows, and not by when it was last what the changelog says.
func TestStateFresh(t *testing.T) {
	if testing.Short() {
		t.Skip("it is hours of heartbeats with nothing to do")
	}
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		const keys = 20
		dir := t.TempDir()
		w.bump(keys)
		for _, x := range []struct {
			away, runs time.Duration
			restored   int
		}{
			{0, 3*stampEvery + time.Minute, 0},
			{freshFor - 3*stampEvery + stampEvery/2, time.Second, 0}, // that it ran without anything to do counts
			{freshFor + time.Minute, time.Second, keys},
		} {
			time.Sleep(x.away)
			in := w.run(counting(), inDir(dir))
			w.until("the task to run", func() bool { return in.Stats().Restoring.Tasks == 0 && len(in.Stats().Lag) == 1 })
			time.Sleep(x.runs)
			in.stop(t)
			if n := in.restored(t); n != x.restored {
				t.Errorf("after %s: %d records restored, want %d", x.away, n, x.restored)
			}
		}
		w.bump(keys)
		in := w.run(counting(), inDir(dir))
		w.drained()
		in.stop(t)
		w.wantCounts(keys, 2)
	})
}
