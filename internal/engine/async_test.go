package engine

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// asyncTopology is copyTopology with an asynchronous operator, which waits for a function before it predicts a batch.
func asyncTopology(wait func(ctx context.Context, values [][]byte) error) func(*setup) {
	return func(s *setup) {
		s.topology = stream.New(group, stream.DeadLetters(s.letters))
		in := stream.From(s.topology, s.source, stream.Bytes(), stream.Bytes(), stream.UseClock())
		model := modelHeaders()
		stream.MapBatch(in, "predict", func(ctx context.Context, b *stream.Batch[[]byte, []byte, []byte]) error {
			var values [][]byte
			for i := range b.In {
				values = append(values, b.In[i].Value)
			}
			if err := wait(ctx, values); err != nil {
				return err
			}
			if err := predict(model, b); err != nil {
				return err
			}
			if b.Epoch > 0 {
				for i := range b.Out {
					b.Out[i].Headers = slices.Concat(b.Out[i].Headers, []record.Header{epochHeader(b.Epoch)})
				}
			}
			return nil
		}, stream.BatchOptions{MaxSize: 20, Concurrency: 3, Async: true, OnError: stream.OnError(stream.DeadLetter)}).
			To(s.sink, stream.Provenance())
	}
}

// gate holds up the batches with a value that begins with "hang", until it is opened or their context ends.
type gate struct {
	opened chan struct{}
	once   sync.Once
	held   atomic.Int64 // batches
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

func (g *gate) wait(ctx context.Context, values [][]byte) error {
	if !slices.ContainsFunc(values, func(v []byte) bool { return bytes.HasPrefix(v, []byte("hang")) }) {
		return ctx.Err()
	}
	g.held.Add(1)
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keysOf returns a key for each partition of the source.
func (w *world) keysOf(partitions int) []string {
	w.t.Helper()
	keys := make([]string, partitions)
	for i := 0; slices.Contains(keys, ""); i++ {
		w.put(record.Raw{Key: fmt.Append(nil, i), Value: []byte("probe"), Timestamp: time.Now().UnixMilli()})
		if i%10 != 9 {
			continue
		}
		for _, r := range w.read(source) {
			keys[r.Partition] = string(r.Key)
		}
	}
	return keys
}

// load appends n records to a partition's key.
func (w *world) load(key, value string, n int) {
	w.t.Helper()
	rs := make([]record.Raw, n)
	for i := range rs {
		rs[i] = record.Raw{Key: []byte(key), Value: fmt.Appendf(nil, "%s %d", value, i), Timestamp: time.Now().UnixMilli()}
	}
	w.put(rs...)
}

// lag returns how far the group is behind in a partition.
func (w *world) lag(partition int32) int64 {
	lag, err := w.client.Lag(w.t.Context(), group, source)
	if err != nil {
		return -1
	}
	return lag[partition]
}

// TestAsyncHangs has what one partition waits for take for ever: the others go on and commit, however many records wait there, and
// nothing is lost or comes twice when it goes on, when the instance is stopped, or killed.
func TestAsyncHangs(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"opened", "stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			eachGuarantee(t, 3, func(t *testing.T, w *world, g Guarantee) {
				keys := w.keysOf(3)
				gate := newGate()
				in := w.run(asyncTopology(gate.wait), guaranteed(g))
				w.drained()
				w.load(keys[0], "fine", 50)
				w.load(keys[0], "hang", 3000) // far more than MaxQueued
				w.until("a batch to hang", func() bool { return gate.held.Load() > 0 })
				for range 3 {
					w.load(keys[1], "other", 500)
					w.load(keys[2], "bad", 10)
					w.until("the others to be committed", func() bool { return w.lag(1) == 0 && w.lag(2) == 0 })
				}
				if n := w.lag(0); n < 3000 || n > 3020 {
					t.Errorf("%d records of the partition that hangs are not committed, want 3000 and what is of the batch of the first", n)
				}
				if n := gate.held.Load(); n > 3 {
					t.Errorf("%d batches wait at the same time", n)
				}
				committed := uint64(int64(len(w.read(source))) - w.lag(0))
				w.until("what is committed to count", func() bool { return in.Stats().Records >= committed })
				if s := in.Stats(); s.Records != committed || s.Nodes[0].Records != committed {
					t.Errorf("%d records count as processed, %d of the source, %d are committed", s.Records, s.Nodes[0].Records, committed)
				}
				w.until("it to be told which partition waits", func() bool {
					s := in.Stats()
					return len(s.UnderWay) == 1 && s.UnderWay[0].Partition.Partition == 0 && s.UnderWay[0].Records > 0 && s.State == Running
				})
				switch end {
				case "opened":
					gate.open()
					w.drained()
					w.counted(in)
					w.until("it to be told that none waits", func() bool { return len(in.Stats().UnderWay) == 0 })
					in.stop(t)
				case "stopped":
					in.stop(t)
				case "killed":
					in.kill()
					<-in.done
				}
				if end != "opened" {
					gate.open()
					next := w.run(asyncTopology(gate.wait), guaranteed(g))
					w.drained()
					next.stop(t)
				}
				w.exact(g)
			})
		})
	}
}

// exact is verify for a guarantee.
func (w *world) exact(g Guarantee) {
	w.t.Helper()
	if g == ExactlyOnce {
		w.verify()
		return
	}
	w.verify(true)
}

// counted waits until each record of the source counts once for the only instance.
func (w *world) counted(in *instance) {
	w.t.Helper()
	all := uint64(len(w.read(source)))
	w.until("all records to count", func() bool { return in.Stats().Records >= all })
	if s := in.Stats(); s.Records != all || s.Nodes[0].Records != all {
		w.t.Errorf("%d records count as processed, %d of the source, of %d", s.Records, s.Nodes[0].Records, all)
	}
}

// TestAsyncEpochs changes the epoch of partitions of which one has something under way: that one follows when it is done.
func TestAsyncEpochs(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 3, func(t *testing.T, w *world, g Guarantee) {
		keys := w.keysOf(3)
		gate := newGate()
		var notes asked
		in := w.run(asyncTopology(gate.wait), guaranteed(g), notes.with(10))
		w.switched(10, 3)
		w.load(keys[0], "hang", 200)
		w.until("a batch to hang", func() bool { return gate.held.Load() > 0 })
		in.SetEpoch(20)
		w.switched(20, 2)
		w.load(keys[1], "other", 200)
		w.until("the others to be committed", func() bool { return w.lag(1) == 0 && w.lag(2) == 0 })
		if m := w.marks()[0]; m.Epoch != 10 {
			t.Errorf("the partition with batches under way has the mark %s", m)
		}
		gate.open()
		w.drained()
		w.switched(20, 3)
		w.load(keys[0], "after", 100)
		w.drained()
		w.counted(in)
		in.stop(t)
		w.judge(g, 20)
	})
}

// TestAsyncAtRandom has batches take their time, at random, while instances are killed and stopped.
func TestAsyncAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(short(6, 2)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			eachGuarantee(t, 5, func(t *testing.T, w *world, g Guarantee) {
				rng := seeded(t, seed)
				var mu sync.Mutex
				delays := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // repeatable
				slow := asyncTopology(func(ctx context.Context, _ [][]byte) error {
					mu.Lock()
					d := time.Duration(delays.Int64N(int64(50 * time.Millisecond)))
					if delays.IntN(20) == 0 {
						d *= 40
					}
					mu.Unlock()
					after := time.NewTimer(d)
					defer after.Stop()
					select {
					case <-after.C:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				ins := []*instance{w.run(slow, guaranteed(g)), w.run(slow, guaranteed(g))}
				for range 6 {
					done := func() uint64 { return ins[0].Stats().Records + ins[1].Stats().Records }
					before := done()
					w.write(300, rng)
					w.until("some records to be processed", func() bool { return done() > before })
					k := rng.IntN(len(ins))
					switch rng.IntN(3) {
					case 0:
						ins[k].kill()
						<-ins[k].done
					case 1:
						ins[k].stop(t)
					default:
						continue
					}
					ins[k] = w.run(slow, guaranteed(g))
				}
				w.drained()
				for _, in := range ins {
					in.stop(t)
				}
				w.exact(g)
			})
		})
	}
}

// TestAsyncDropsBefore drops records before the operator, while others are under way: their letters and results stay one each.
func TestAsyncDropsBefore(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		gate := newGate()
		var tail atomic.Bool
		topology := func(s *setup) {
			s.topology = stream.New(group, stream.DeadLetters(s.letters))
			in := stream.From(s.topology, s.source, stream.String(), stream.String(), stream.UseClock())
			named := stream.Map(in, func(k, v string) (string, string) { // drops what has no value
				if strings.HasPrefix(v, "tail") {
					tail.Store(true)
				}
				return k, v
			})
			stream.MapBatch(named, "predict", func(ctx context.Context, b *stream.Batch[string, string, string]) error {
				for i := range b.In {
					if strings.HasPrefix(b.In[i].Value, "hang") {
						if err := gate.wait(ctx, [][]byte{[]byte("hang")}); err != nil {
							return err
						}
					}
					b.Out[i].Value = "=" + b.In[i].Value
				}
				return nil
			}, stream.BatchOptions{MaxSize: 5, Async: true}).To(s.sink, stream.Provenance())
		}
		in := w.run(topology)
		w.load("k", "fine", 20)
		w.drained()
		w.load("k", "hang", 3)
		w.until("a batch to hang", func() bool { return gate.held.Load() > 0 })
		w.put(record.Raw{Key: []byte("k"), Timestamp: time.Now().UnixMilli()}) // dropped behind those that hang
		w.load("k", "tail", 1)
		w.until("the dropped record to be passed", tail.Load)
		in.kill()
		<-in.done
		gate.open()
		next := w.run(topology)
		w.load("k", "fine", 3)
		w.drained()
		next.stop(t)
		if n := len(w.read(letters)); n != 1 {
			t.Errorf("%d dead letters of one record", n)
		}
		if n := len(w.read(sink)); n != 27 {
			t.Errorf("%d results of 27 records", n)
		}
	})
}

// TestAsyncEpochOfPart changes the epoch while batches are under way and a few records wait behind them for which there is no room: those
// go out, too, and the partition follows.
func TestAsyncEpochOfPart(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 1, func(t *testing.T, w *world, g Guarantee) {
		gate := newGate()
		var notes asked
		in := w.run(asyncTopology(gate.wait), guaranteed(g), notes.with(10))
		w.switched(10, 1)
		w.load("k", "hang", 3*20+5)
		w.until("all batches to hang", func() bool { return gate.held.Load() == 3 })
		w.until("the rest to wait behind them", func() bool { n := in.Stats().UnderWay; return len(n) == 1 && n[0].Records == 65 })
		in.SetEpoch(20)
		w.until("the partition to drain", func() bool {
			return slices.ContainsFunc(in.tasks(), func(r *running) bool { return r.draining.Load() })
		})
		gate.open()
		w.switched(20, 1)
		w.load("k", "after", 100)
		w.drained()
		in.stop(t)
		w.judge(g, 20)
	})
}

// TestAsyncTrial has the breaker open for what is under way, and close after a trial whose records are under way for longer than a round:
// no other record has to come for that.
func TestAsyncTrial(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 1, func(t *testing.T, w *world, g Guarantee) {
		in := w.run(asyncTopology(func(ctx context.Context, _ [][]byte) error {
			select {
			case <-time.After(2 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}), guaranteed(g), func(s *setup) { s.Breaker = Breaker{Consecutive: 10, Retry: time.Second} })
		w.load("k", "bad", 10)
		w.until("the breaker to open", func() bool { return in.Stats().BreakerOpened == 1 })
		w.load("k", "good", 30)
		w.drained()
		w.until("the breaker to close", func() bool { return len(in.Stats().Held) == 0 })
		in.stop(t)
		w.exact(g)
	})
}

// TestAsyncLeadsToNothing has an asynchronous operator whose results are filtered out: they are committed all the same.
func TestAsyncLeadsToNothing(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 1, func(t *testing.T, w *world, g Guarantee) {
		gate := newGate()
		in := w.run(func(s *setup) {
			s.topology = stream.New(group)
			out := stream.MapBatch(stream.From(s.topology, s.source, stream.Bytes(), stream.Bytes(), stream.UseClock()), "ask",
				func(ctx context.Context, _ *stream.Batch[[]byte, []byte, []byte]) error {
					return gate.wait(ctx, [][]byte{[]byte("hang")})
				},
				stream.BatchOptions{Async: true})
			out.Filter(func([]byte, []byte) bool { return false }).To(s.sink)
		}, guaranteed(g))
		w.load("k", "x", 5)
		w.until("a batch to hang", func() bool { return gate.held.Load() > 0 })
		w.until("it to be told", func() bool { return len(in.Stats().UnderWay) == 1 })
		gate.open()
		w.drained()
		if n := in.Stats().Records; n != 5 {
			t.Errorf("%d records count", n)
		}
		in.stop(t)
	})
}

// TestAsyncRefused has the brokers refuse a result that comes back in a round that has taken no records: it becomes a dead letter, as any
// other, and the application goes on.
func TestAsyncRefused(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Err: kerr.InvalidRecord, Count: -1,
			When: func(r kmsg.Request) bool { return contains(r, "=hang 3") },
		})
		gate := newGate()
		in := w.run(asyncTopology(gate.wait), func(s *setup) { s.Compression = kafka.CompressionNone })
		w.load("k", "hang", 10)
		w.until("batches to hang", func() bool { return gate.held.Load() > 0 })
		w.until("it to be told", func() bool { n := in.Stats().UnderWay; return len(n) == 1 && n[0].Records == 10 })
		gate.open()
		w.drained()
		in.stop(t)
		if n := in.Stats().DeadLetters[Kind{"produce", "refused"}]; n != 1 {
			t.Errorf("%d refused records, want one", n)
		}
		w.verify()
	})
}
