package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/record"
	"millrace.dev/stream"
)

// headerEpoch holds the epoch that a result was computed with.
const headerEpoch = "epoch"

func epochHeader(epoch int64) record.Header {
	return record.Header{Key: headerEpoch, Value: strconv.AppendInt(nil, epoch, 10)}
}

// telling is copyTopology with results that say with which epoch they were computed. Batches take a while, so that some are out
// whenever a round ends.
func telling(s *setup) { tellingTo(func(int64) {})(s) }

// tellingTo also calls a function with the epoch of each batch.
func tellingTo(used func(epoch int64)) func(*setup) {
	return func(s *setup) {
		s.topology = stream.New(group, stream.DeadLetters(s.letters))
		in := stream.From(s.topology, s.source, stream.Bytes(), stream.Bytes(), stream.UseClock())
		var calls atomic.Int64
		stream.MapBatch(in, "predict", func(_ context.Context, b *stream.Batch[[]byte, []byte, []byte]) error {
			used(b.Epoch)
			time.Sleep(time.Duration(calls.Add(7)%20) * time.Millisecond)
			return predict(append(modelHeaders(), epochHeader(b.Epoch)), b)
		}, stream.BatchOptions{MaxSize: 20, Concurrency: 3, OnError: stream.OnError(stream.DeadLetter)}).To(s.sink, stream.Provenance())
	}
}

// asked is what instances were told of epochs.
type asked struct {
	mu     sync.Mutex
	behind []int64
	news   atomic.Int64
}

func (a *asked) list() []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.behind)
}

// with begins an instance with an epoch.
func (a *asked) with(epoch int64) func(*setup) {
	return func(s *setup) {
		s.Epoch = epoch
		s.Behind = func(n int64) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.behind = append(a.behind, n)
		}
		s.Switched = func() { a.news.Add(1) }
	}
}

func guaranteed(g Guarantee) func(*setup) { return func(s *setup) { s.Guarantee = g } }

// eachGuarantee runs a test for both.
func eachGuarantee(t *testing.T, partitions int, fn func(t *testing.T, w *world, g Guarantee)) {
	t.Helper()
	for _, g := range []Guarantee{ExactlyOnce, AtLeastOnce} {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			bubble(t, partitions, func(t *testing.T, w *world) { fn(t, w, g) })
		})
	}
}

// marks returns the marks that the group has committed for the source.
func (w *world) marks() map[int32]Mark {
	w.t.Helper()
	at, err := w.client.Committed(w.t.Context(), group)
	if err != nil {
		w.t.Fatal(err)
	}
	marks := map[int32]Mark{}
	for p, x := range at[source] {
		marks[p] = ParseMark(x.Metadata)
	}
	return marks
}

// switched waits until the group has committed an epoch for some number of partitions.
func (w *world) switched(epoch int64, partitions int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d partitions to have epoch %d", partitions, epoch), func() bool {
		w.reap()
		n := 0
		for _, m := range w.marks() {
			if m.Epoch == epoch {
				n++
			}
		}
		return n == partitions
	})
}

// result is what became of a record.
type result struct {
	offset, epoch int64
}

// results returns what was computed of each partition of the source, in the order of the topics' logs.
func (w *world) results() (byPartition map[int32][]result, inLogs map[string][]result) {
	w.t.Helper()
	byPartition, inLogs = map[int32][]result{}, map[string][]result{}
	for _, topic := range []string{sink, letters} {
		for _, r := range w.read(topic) {
			at := sourceOf(w.t, &r)
			text := header(&r, headerEpoch)
			if topic == letters { // they have none without an epoch
				text = cmp.Or(text, "0")
			}
			epoch, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				w.t.Fatal(err)
			}
			x := result{at.offset, epoch}
			byPartition[at.partition] = append(byPartition[at.partition], x)
			log := fmt.Sprintf("%s/%d of %d", topic, r.Partition, at.partition)
			inLogs[log] = append(inLogs[log], x)
		}
	}
	return byPartition, inLogs
}

// judge checks that no partition's output goes back to an epoch that it had left, that the committed marks say what the output
// does, and that each partition of those with records has come to the last epoch by one of its switches.
func (w *world) judge(g Guarantee, last int64) {
	w.t.Helper()
	if g == ExactlyOnce {
		w.verify()
	} else {
		w.verify(true)
	}
	byPartition, inLogs := w.results()
	for log, rs := range inLogs {
		for i := 1; i < len(rs); i++ {
			if rs[i].epoch < rs[i-1].epoch {
				w.t.Errorf("%s: offset %d was computed with %d, after offset %d with %d", log, rs[i].offset, rs[i].epoch, rs[i-1].offset, rs[i-1].epoch)
			}
		}
	}
	marks := w.marks()
	for p, rs := range byPartition {
		slices.SortStableFunc(rs, func(a, b result) int { return cmp.Compare(a.offset, b.offset) })
		m := marks[p]
		if m.Epoch != last {
			w.t.Errorf("partition %d has the mark %s, want epoch %d", p, m, last)
		}
		for i, r := range rs {
			if g == ExactlyOnce && i > 0 && r.epoch < rs[i-1].epoch {
				w.t.Errorf("partition %d: offset %d was computed with %d, offset %d before it with %d", p, r.offset, r.epoch, rs[i-1].offset, rs[i-1].epoch)
			}
			// Without transactions there may be output of before the switch for records behind it.
			if after := r.offset >= m.From; !after && r.epoch >= m.Epoch || after && r.epoch != m.Epoch && g == ExactlyOnce || r.epoch > m.Epoch {
				w.t.Errorf("partition %d: offset %d was computed with %d, the mark is %s", p, r.offset, r.epoch, m)
			}
		}
	}
}

// agree checks that what instances say of their partitions is what the group has committed.
func (w *world) agree(ins ...*instance) {
	w.t.Helper()
	marks := w.marks()
	n := 0
	for _, in := range ins {
		for _, p := range in.Stats().Epochs {
			n++
			if m := (Mark{p.Epoch, p.From}); m != marks[p.Partition.Partition] || p.Waits || p.Since.IsZero() {
				w.t.Errorf("%s says %+v, committed is %s", in.Instance(), p, marks[p.Partition.Partition])
			}
		}
	}
	if n != len(marks) {
		w.t.Errorf("the instances speak of %d partitions of %d", n, len(marks))
	}
}

// TestEpochs changes the epoch of three instances, under load, at times of their own.
func TestEpochs(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 6, func(t *testing.T, w *world, g Guarantee) {
		stop := w.feed(1)
		var notes asked
		var ins []*instance
		for range 3 {
			ins = append(ins, w.run(telling, guaranteed(g), notes.with(10)))
		}
		for _, in := range ins {
			w.until("each to have its share", func() bool { return len(in.Stats().Epochs) == 2 })
		}
		w.switched(10, 6)
		for _, epoch := range []int64{20, 30, 40} {
			before := notes.news.Load()
			for _, in := range ins {
				at := in.Stats().Records
				in.SetEpoch(epoch)
				in.SetEpoch(epoch - 5) // there is a later one already
				w.until("the instance to work", func() bool { return in.Stats().Records > at+50 })
			}
			w.switched(epoch, 6)
			if notes.news.Load() < before+3 {
				t.Errorf("told %d times of what has changed", notes.news.Load()-before)
			}
		}
		stop()
		w.drained()
		w.agree(ins...)
		for _, in := range ins {
			if s := in.Stats(); s.Aborts > 3 { // of rebalances in the beginning
				t.Errorf("%d rounds were undone", s.Aborts)
			}
			in.stop(t)
		}
		if n := notes.list(); len(n) > 0 {
			t.Errorf("partitions waited for %v", n)
		}
		w.judge(g, 40)
	})
}

// TestEpochIdle changes the epoch of partitions without any record, which read two topics and one of the application's own.
func TestEpochIdle(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 3, func(t *testing.T, w *world, g Guarantee) {
		w.topic("more", nil)
		w.grow("more", 3)
		var notes asked
		in := w.run(guaranteed(g), notes.with(0), func(s *setup) {
			s.topology = stream.New(group)
			a := stream.From(s.topology, s.source, stream.String(), stream.String())
			b := stream.From(s.topology, "more", stream.String(), stream.String())
			a.Merge(b).Repartition("again").To(s.sink)
		})
		inner := group + "-again-repartition"
		w.until("partitions", func() bool { return len(in.Stats().Epochs) == 9 })
		for _, p := range in.Stats().Epochs {
			if p.Epoch != 0 || p.Waits {
				t.Errorf("in the beginning: %+v", p)
			}
		}
		time.Sleep(time.Second)
		commits := in.Stats().Commits
		time.Sleep(time.Second)
		if n := in.Stats().Commits; n != commits {
			t.Errorf("%d commits of nothing", n-commits)
		}
		w.put(record.Raw{Partition: 1, Key: []byte("a"), Value: []byte("x"), Timestamp: time.Now().UnixMilli()})
		w.until("the record", func() bool { return in.Stats().Records == 2 })
		for _, epoch := range []int64{3, 4} {
			start := time.Now()
			in.SetEpoch(epoch)
			w.until("all partitions to have it", func() bool {
				list := in.Stats().Epochs
				return len(list) == 9 && !slices.ContainsFunc(list, func(p PartitionEpoch) bool { return p.Epoch != epoch })
			})
			if d := time.Since(start); d > slack*500*time.Millisecond {
				t.Errorf("idle partitions took %s", d)
			}
		}
		at, err := w.client.Committed(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{source, "more", inner} {
			for p := range int32(3) {
				x, ok := at[topic][p]
				if want := (Mark{4, x.Offset}); !ok || ParseMark(x.Metadata) != want {
					t.Errorf("%s/%d is committed at %d with %q, want %s", topic, p, x.Offset, x.Metadata, want)
				}
			}
		}
		in.stop(t)
	})
}

// TestEpochBehind gives partitions to an instance that has not heard of their epoch: it waits, and then goes on.
func TestEpochBehind(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "killed", "shared"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			eachGuarantee(t, 6, func(t *testing.T, w *world, g Guarantee) {
				stop := w.trickle(1, 100*time.Millisecond)
				var first, second asked
				a := w.run(telling, guaranteed(g), first.with(1))
				w.switched(1, 6)
				w.until("the first results", func() bool { return a.Stats().Records > 100 })
				a.SetEpoch(2)
				w.switched(2, 6)
				switch how {
				case "stopped":
					a.stop(t)
				case "killed":
					a.kill()
				}
				b := w.run(telling, guaranteed(g), second.with(1))
				w.until("partitions to wait", func() bool {
					list := b.Stats().Epochs
					return (len(list) == 6 || how == "shared" && len(list) == 3) && !slices.ContainsFunc(list, func(p PartitionEpoch) bool { return !p.Waits || p.Epoch != 2 })
				})
				time.Sleep(10 * time.Second / slack)
				if s := b.Stats(); s.Records > 0 || s.State != Running {
					t.Errorf("%d records are processed, state %s", s.Records, s.State)
				}
				if asks := second.list(); len(asks) == 0 || slices.Max(asks) != 2 {
					t.Errorf("asked for %v", asks)
				}
				for _, r := range b.tasks() {
					if n := r.intakes[0].waiting(); n > 0 {
						t.Errorf("%d records wait in memory", n)
					}
				}
				b.SetEpoch(2)
				w.until("it to go on", func() bool { return b.Stats().Records > 100 })
				stop()
				w.drained()
				b.stop(t)
				if how == "shared" {
					a.stop(t)
				}
				<-a.done
				w.judge(g, 2)
			})
		})
	}
}

// TestEpochUndone has rounds fail that commit a switch.
func TestEpochUndone(t *testing.T) {
	t.Parallel()
	for name, guarantee := range map[string]Guarantee{
		"offsets: generation": ExactlyOnce, "end: abortable": ExactlyOnce, "produce: sequence": ExactlyOnce, "produce: too few replicas": AtLeastOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) {
				stop := w.feed(1)
				var notes asked
				in := w.run(telling, guaranteed(guarantee), notes.with(1))
				w.switched(1, 6)
				for epoch := range int64(4) {
					at := in.Stats().Records
					w.until("the instance to work", func() bool { return in.Stats().Records > at+100 })
					w.cluster.Fault(mendable()[name])
					in.SetEpoch(epoch + 2)
					w.switched(epoch+2, 6)
				}
				stop()
				w.drained()
				w.agree(in)
				in.stop(t)
				if n := in.Stats().Aborts; n == 0 && guarantee == ExactlyOnce {
					t.Error("no round was undone")
				}
				w.judge(guarantee, 5)
			})
		})
	}
}

// waits returns how often an instance had a partition wait.
func (in *instance) waits() int { return strings.Count(in.log.String(), "msg=\"partitions wait") }

// control is what a control topic is to the instances of a test: the epoch that they should have. They hear of a new one at times
// of their own, and look at once when a partition waits for one.
type control struct {
	w     *world
	mu    sync.Mutex
	rng   *rand.Rand
	epoch int64
}

// draw returns a duration up to d.
func (c *control) draw(d time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return upTo(c.rng, d)
}

// run starts an instance that knows an epoch which may be an old one.
func (c *control) run(g Guarantee) *instance {
	var in *instance
	ready := make(chan struct{})
	c.mu.Lock()
	knows := max(0, c.epoch-c.rng.Int64N(6))
	c.mu.Unlock()
	in = c.w.run(telling, touchy, guaranteed(g), func(s *setup) {
		s.Epoch = knows
		s.Behind = func(int64) {
			time.AfterFunc(c.draw(sessionTimeout/2), func() {
				<-ready
				c.mu.Lock()
				now := c.epoch
				c.mu.Unlock()
				in.SetEpoch(now)
			})
		}
	})
	close(ready)
	return in
}

// next chooses another epoch, of which instances hear after a while, or never.
func (c *control) next(ins []*instance) {
	c.mu.Lock()
	c.epoch++
	epoch := c.epoch
	c.mu.Unlock()
	for _, in := range ins {
		if d := c.draw(3 * sessionTimeout); d < sessionTimeout {
			time.AfterFunc(d, func() { in.SetEpoch(epoch) })
		}
	}
}

// TestEpochsAtRandom changes the epoch again and again while instances come, leave, die and stand still, and rounds fail.
func TestEpochsAtRandom(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 6, func(t *testing.T, w *world, g Guarantee) {
		rng := seeded(t, 500)
		c := &control{w: w, rng: rand.New(rand.NewPCG(500, 1))}
		faults := mendable()
		names := slices.Sorted(maps.Keys(faults))
		stop := w.trickle(rng.Uint64(), 100*time.Millisecond)
		ins := []*instance{c.run(g), c.run(g), c.run(g)}
		var dead []*instance
		for range short(epochSwitches, epochSwitches/5) {
			c.next(ins)
			i := rng.IntN(len(ins))
			switch in := ins[i]; rng.IntN(8) {
			case 0:
				in.kill()
				dead = append(dead, in)
				ins[i] = c.run(g)
			case 1, 2, 6, 7:
				in.stop(t)
				ins[i] = c.run(g)
			case 3:
				if g == ExactlyOnce { // else the group's faith in one that stands still is all there is
					in.wire.hold()
					time.Sleep(upTo(rng, 2*sessionTimeout))
					in.wire.release()
				}
			case 4:
				w.cluster.ShufflePartitionLeaders()
			case 5:
				w.cluster.Fault(faults[names[rng.IntN(len(names))]])
			}
			if rng.IntN(4) > 0 {
				w.until("the group to share all partitions", func() bool {
					w.reap()
					n := 0
					for _, in := range ins {
						n += len(in.Stats().Epochs)
					}
					return n == 6
				})
			}
			time.Sleep(upTo(rng, sessionTimeout/2))
		}
		time.Sleep(3 * sessionTimeout)
		for _, in := range ins {
			in.SetEpoch(c.epoch)
		}
		w.switched(c.epoch, 6)
		stop()
		w.drained()
		time.Sleep(sessionTimeout)
		w.agree(ins...)
		waited := 0
		for _, in := range ins {
			in.stop(t)
			waited += in.waits()
		}
		for _, in := range dead {
			<-in.done
			waited += in.waits()
		}
		t.Logf("%d epochs, partitions waited %d times", c.epoch, waited)
		w.judge(g, c.epoch)
	})
}
