package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// mapped is a topology that calls a function for each value.
func mapped(f func(string) (string, error)) func(*setup) {
	return func(s *setup) {
		s.topology = stream.New(group, stream.DeadLetters(s.letters))
		in := stream.From(s.topology, s.source, stream.String(), stream.String(), stream.UseClock())
		stream.TryMapValues(in, func(_ context.Context, v string) (string, error) { return f(v) }).To(s.sink, stream.Provenance())
	}
}

func (w *world) numbers(from, n int) {
	w.t.Helper()
	rs := make([]record.Raw, n)
	for i := range rs {
		rs[i] = record.Raw{Key: fmt.Appendf(nil, "key-%d", i%10), Value: fmt.Append(nil, from+i), Timestamp: time.Now().UnixMilli()}
	}
	w.put(rs...)
}

// TestFunctionFails has a user's function fail or panic: the application stops, and nothing is committed by halves.
func TestFunctionFails(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []Guarantee{ExactlyOnce, AtLeastOnce} {
		for _, how := range []string{"error", "panic"} {
			t.Run(fmt.Sprint(guarantee, " ", how), func(t *testing.T) {
				t.Parallel()
				bubble(t, 1, func(t *testing.T, w *world) {
					var mended atomic.Bool
					topology := mapped(func(v string) (string, error) {
						if v == "700" && !mended.Load() {
							if how == "panic" {
								panic("seven hundred")
							}
							return "", errors.New("seven hundred")
						}
						return v, nil
					})
					change := func(s *setup) { s.Guarantee = guarantee }
					in := w.run(topology, change)
					w.numbers(0, 100)
					w.drained()
					w.numbers(100, 900)
					<-in.done
					te, ok := errors.AsType[*TaskError](in.err)
					if !ok || !strings.Contains(te.Error(), "seven hundred") || !strings.Contains(te.Error(), source+"/0/700") {
						t.Errorf("error %v", in.err)
					}
					if s := in.Stats().State; s != Failed {
						t.Errorf("state %s", s)
					}
					at, err := w.client.Committed(t.Context(), group)
					if err != nil {
						t.Fatal(err)
					}
					if n := at[source][0].Offset; n < 100 || n > 700 {
						t.Errorf("committed up to %d", n)
					}
					if n := int64(len(w.read(sink))); guarantee == ExactlyOnce && n != at[source][0].Offset {
						t.Errorf("%d results up to offset %d", n, at[source][0].Offset)
					}
					mended.Store(true)
					in = w.run(topology, change)
					w.drained()
					in.stop(t)
					seen := map[string]int{}
					for _, r := range w.read(sink) {
						seen[string(r.Value)]++
					}
					for i := range 1000 {
						if n := seen[strconv.Itoa(i)]; n < 1 || n > 1 && guarantee == ExactlyOnce {
							t.Errorf("%d results of %d", n, i)
						}
					}
				})
			})
		}
	}
}

// TestInitPanics has a processor that cannot be made.
func TestInitPanics(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		in := w.run(func(s *setup) {
			s.topology = stream.New(group)
			src := stream.From(s.topology, s.source, stream.String(), stream.String())
			stream.Process(src, "bad", func() stream.Processor[string, string, string, string] { return badProcessor{} })
		})
		<-in.done
		if te, ok := errors.AsType[*TaskError](in.err); !ok || !strings.Contains(te.Error(), "no such luck") || !strings.Contains(te.Error(), "0_0") {
			t.Errorf("error %v", in.err)
		}
	})
}

type badProcessor struct{}

func (badProcessor) Init(*stream.ProcessorContext[string, string]) error { panic("no such luck") }
func (badProcessor) Process(*stream.Record[string, string]) error        { return nil }

// ticker writes to the sink with the clock, and counts in its store.
type ticker struct {
	store *stream.Store[string, int64]
	ticks *stream.State[string, int64]
	every time.Duration
}

func (x *ticker) Init(c *stream.ProcessorContext[string, string]) error {
	x.ticks = stream.Open(c, x.store)
	c.OnWallClock(x.every, func(at int64) error {
		n, _, err := x.ticks.Get("ticks")
		if err != nil {
			return err
		}
		if err := x.ticks.Put("ticks", n+1); err != nil {
			return err
		}
		return c.Forward(&stream.Record[string, string]{Key: strconv.Itoa(int(c.Partition())), Value: strconv.FormatInt(n+1, 10), Timestamp: at})
	})
	return nil
}

func (x *ticker) Process(*stream.Record[string, string]) error { return nil }

func ticking(every time.Duration) func(*setup) {
	return func(s *setup) {
		s.topology = stream.New(group)
		in := stream.From(s.topology, s.source, stream.String(), stream.String())
		ticks := stream.NewStore("ticks", stream.String(), stream.Int64())
		stream.Process(in, "ticker", func() stream.Processor[string, string, string, string] { return &ticker{store: ticks, every: every} }, ticks).
			Keys(stream.String()).Values(stream.String()).To(s.sink)
	}
}

// TestClockIsFenced has tasks that read nothing and write with the clock. Each of their transactions commits a position
// all the same, so that the group can refuse those of an instance that it has given up; and none counts twice.
func TestClockIsFenced(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		var produced, bare atomic.Int64
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Count: -1, Observe: true, When: func(r kmsg.Request) bool {
			if req, ok := r.(*kmsg.TxnOffsetCommitRequest); ok && len(req.Topics) == 0 {
				bare.Add(1)
			}
			return true
		}}, kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Count: -1, Observe: true, When: func(kmsg.Request) bool {
			produced.Add(1)
			return true
		}})
		offsets := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Count: -1, Observe: true})
		a := w.run(ticking(50*time.Millisecond), inDir(t.TempDir()))
		w.until("ticks", func() bool { return a.Stats().Written > 20 })
		if offsets.Hits() == 0 || bare.Load() > 0 {
			t.Errorf("%d commits of positions, %d empty, in %d transactions", offsets.Hits(), bare.Load(), produced.Load())
		}
		var zombies []*instance
		for range 4 {
			b := w.run(ticking(50*time.Millisecond), inDir(t.TempDir()))
			w.until("the other to tick", func() bool { return b.Stats().Written > 5 })
			a.wire.hold() // it believes itself alive
			time.Sleep(3 * sessionTimeout / 2)
			a.wire.release()
			a.wire.cut()
			a.cancel()
			zombies = append(zombies, a)
			a = b
			at := a.Stats().Written
			w.until("the other to have all", func() bool { return a.Stats().Written > at+20 })
		}
		a.stop(t)
		for _, z := range zombies {
			<-z.done
		}
		w.ended(sink)
		last := map[string]int{}
		for _, r := range w.read(sink) {
			n, err := strconv.Atoi(string(r.Value))
			if k := string(r.Key); err != nil || n != last[k]+1 {
				t.Errorf("task %s: %s after %d", k, r.Value, last[k])
			}
			last[string(r.Key)] = n
		}
		if len(last) != 2 || last["0"] < 100 {
			t.Errorf("%v", last)
		}
	})
}

// TestIdle has an instance that has nothing to do: it asks the brokers for records, says that it lives, and does nothing
// else. One whose timers do nothing opens no transactions.
func TestIdle(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		w.numbers(0, 100)
		in := w.run(mapped(func(v string) (string, error) { return v, nil }))
		w.drained()
		time.Sleep(time.Second)
		commits, steps := in.Stats().Commits, in.steps.Load()
		ends := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit}, Count: -1, Observe: true})
		time.Sleep(10 * time.Second)
		if n := in.steps.Load() - steps; n > 3 || in.Stats().Commits != commits || ends.Hits() > 0 {
			t.Errorf("it did %d steps and %d requests in ten seconds of idleness", n, ends.Hits())
		}
		in.stop(t)
	})
}

// TestLatency writes a record now and then: its result can be read after the commit interval and the commit itself. A
// join does not wait for a topic that it knows to be at its end.
func TestLatency(t *testing.T) {
	t.Parallel()
	topologies := map[string]func(*setup){
		"copy":  func(*setup) {},
		"plain": mapped(func(v string) (string, error) { return v, nil }),
		"join": func(s *setup) {
			s.topology = stream.New(group)
			in := stream.From(s.topology, s.source, stream.String(), stream.String())
			other := stream.TableFrom(s.topology, "other", "other", stream.String(), stream.String())
			stream.LeftJoinTable(in, other, "join", func(v, _ string, _ bool) string { return v }).To(s.sink)
		},
		"repartition": func(s *setup) {
			s.topology = stream.New(group)
			in := stream.From(s.topology, s.source, stream.String(), stream.String())
			in.Repartition("again").To(s.sink)
		},
	}
	for name, topology := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 3, func(t *testing.T, w *world) {
				if err := w.cluster.CreateTopic("other", 3, nil); err != nil {
					t.Fatal(err)
				}
				in := w.run(topology)
				w.until("partitions", func() bool { return len(in.Stats().Lag) >= 3 })
				w.numbers(0, 1)
				w.drained()
				time.Sleep(2 * time.Second)
				hops := 1
				if name == "repartition" {
					hops = 2
				}
				c := w.raw(kgo.ConsumeTopics(sink), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()), kgo.FetchMaxWait(time.Minute))
				defer c.CloseAllowingRebalance()
				idle, cancel := context.WithTimeout(t.Context(), time.Second)
				c.PollFetches(idle)
				cancel()
				var took []time.Duration
				for i := range 10 {
					start := time.Now()
					w.numbers(i, 1)
					if fs := c.PollFetches(t.Context()); fs.NumRecords() != 1 {
						t.Fatalf("%d records, %v", fs.NumRecords(), fs.Err())
					}
					took = append(took, time.Since(start))
					time.Sleep(time.Second - 7*time.Millisecond)
				}
				in.stop(t)
				slices.Sort(took)
				t.Log(took)
				// In real time the machine may be busy.
				if limit := time.Duration(hops) * (defaultCommitInterval + 5*time.Millisecond) * slack; took[len(took)/2] > limit {
					t.Errorf("the median is %s, want %s: %v", took[len(took)/2], limit, took)
				}
			})
		})
	}
}

// TestBackPressure has a function that does not return for a while: what waits for it is bounded, in records and in
// bytes.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*setup){
		"records": func(s *setup) { s.MaxQueued = 500 },
		"bytes":   func(s *setup) { s.MaxQueued, s.MaxQueuedBytes = 100_000, 500*1000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 4, func(t *testing.T, w *world) {
				gate := make(chan struct{})
				var calls atomic.Int64
				in := w.run(mapped(func(v string) (string, error) {
					calls.Add(1)
					<-gate
					return v[:10], nil
				}), change, func(s *setup) { s.TransactionTimeout = time.Minute })
				value := strings.Repeat("v", 1000)
				for i := range 40 {
					rs := make([]record.Raw, 200)
					for j := range rs {
						rs[j] = record.Raw{Key: fmt.Append(nil, i, j), Value: []byte(value)}
					}
					w.put(rs...)
					time.Sleep(10 * time.Millisecond)
				}
				w.until("the function to be called", func() bool { return calls.Load() > 0 })
				time.Sleep(100 * time.Millisecond)
				var waiting int64
				for _, r := range in.tasks() { // the loop does not change it: there is nothing to adopt
					for _, x := range r.intakes {
						waiting += x.waiting()
					}
				}
				// What was taken in one poll may go beyond the bound on bytes.
				if most := int64(1600); waiting > most || waiting < 100 {
					t.Errorf("%d records wait", waiting)
				}
				close(gate)
				w.drained()
				in.stop(t)
				if s := in.Stats(); s.Records != 8000 || s.Written != 8000 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestSilenceWhileWriting holds the brokers' answers until an instance has more output than may be in flight, and then
// lets it go on, be taken its partitions from, or stops it.
func TestSilenceWhileWriting(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]time.Duration{"goes on": sessionTimeout / 3, "loses its partitions": 3 * sessionTimeout, "stops": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 2, func(t *testing.T, w *world) {
				long, n := strings.Repeat("v", 300_000), short(400, 120) // 60 are too many
				var wrote atomic.Int64
				in := w.run(mapped(func(v string) (string, error) {
					wrote.Add(1)
					return v + long, nil
				}), func(s *setup) { s.Compression = kafka.CompressionNone })
				w.until("partitions", func() bool { return len(in.Stats().Lag) == 2 })
				var held sync.Once
				f := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Count: -1, Observe: true, When: func(kmsg.Request) bool {
					held.Do(func() { go in.wire.hold() })
					return true
				}})
				w.numbers(0, n)
				w.until("more output than may be in flight", func() bool { return wrote.Load() > 60 })
				f.Remove()
				time.Sleep(d)
				if d == 0 {
					start := time.Now()
					in.cancel()
					<-in.done
					if took := time.Since(start); in.err != nil || took > stopPatience+2*leaveTimeoutForTest+dialTimeout+time.Second {
						t.Errorf("stopping took %s: %v", took, in.err)
					}
					in.wire.release()
					in = w.run(mapped(func(v string) (string, error) { return v + long, nil }))
				} else {
					in.wire.release()
				}
				w.drained()
				in.stop(t)
				if got := len(w.read(sink)); got != n {
					t.Errorf("%d results", got)
				}
			})
		})
	}
}

// TestHeldOutput has much more output than may wait for the next round, while a commit takes long.
func TestHeldOutput(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		long := strings.Repeat("v", 100_000)
		in := w.run(mapped(func(v string) (string, error) { return v + long, nil }), func(s *setup) { s.MaxQueued = 20_000 })
		w.numbers(0, 10)
		w.drained()
		w.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			w.cluster.SleepControl(func() { time.Sleep(300 * time.Millisecond) })
			return nil, nil, false
		})
		var most atomic.Int64
		watched, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(watched)
			for tick := time.NewTicker(20 * time.Millisecond); ; {
				select {
				case <-tick.C:
					if l := in.loop.Load(); l != nil { // else a session was lost, and nothing is held
						l.outlet.lock.Lock()
						most.Store(max(most.Load(), int64(l.outlet.bytes)))
						l.outlet.lock.Unlock()
					}
				case <-stop:
					tick.Stop()
					return
				}
			}
		}()
		w.numbers(10, 1500)
		w.drained()
		close(stop)
		<-watched
		in.stop(t)
		if n := most.Load(); n > maxHeld+2*2*sliceBytes {
			t.Errorf("%d bytes were held", n)
		}
		seen := map[string]int{}
		order := map[string]int{}
		for _, r := range w.read(sink) {
			v := strings.TrimSuffix(string(r.Value), long)
			seen[v]++
			n, err := strconv.Atoi(v)
			if k := string(r.Key); err != nil || n < order[k] {
				t.Errorf("%s: %s comes after %d", k, v, order[k])
			}
			order[string(r.Key)] = n
		}
		if len(seen) != 1510 {
			t.Errorf("%d results", len(seen))
		}
	})
}
