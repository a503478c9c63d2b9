package engine

import (
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/stream"
)

// teller tells now and then how many records it had seen before.
type teller struct {
	seen *atomic.Int64
	told *atomic.Int64
	ctx  *stream.ProcessorContext[[]byte, []byte]
}

func (p *teller) Init(c *stream.ProcessorContext[[]byte, []byte]) error {
	p.ctx = c
	c.OnWallClock(time.Millisecond, func(int64) error {
		p.told.Store(p.seen.Load())
		return nil
	})
	return nil
}

func (p *teller) Process(r *stream.Record[[]byte, []byte]) error {
	p.seen.Add(1)
	return p.ctx.Forward(r)
}

// TestSettle wants everything committed that a task has told of.
func TestSettle(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		var seen, told atomic.Int64
		in := w.run(func(s *setup) {
			s.CommitInterval = 300 * time.Millisecond
			s.topology = stream.New(group)
			records := stream.From(s.topology, s.source, stream.Bytes(), stream.Bytes(), stream.UseClock())
			stream.Process(records, "tell", func() stream.Processor[[]byte, []byte, []byte, []byte] { return &teller{seen: &seen, told: &told} }).
				Keys(stream.Bytes()).Values(stream.Bytes()).To(s.sink)
		})
		rng := seeded(t, 1)
		total := 0
		for range 5 {
			w.write(100, rng)
			total += 100
			w.until("records", func() bool { return told.Load() == int64(total) })
			if err := in.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := in.Stats().Records; n != uint64(total) {
				t.Errorf("%d records are committed after settling, want %d", n, total)
			}
		}
		if err := in.Settle(t.Context()); err != nil { // there is nothing to wait for
			t.Fatal(err)
		}
		in.stop(t)
	})
}
