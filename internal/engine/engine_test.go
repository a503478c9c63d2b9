package engine

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCopy(t *testing.T) {
	t.Parallel()
	bubble(t, 12, func(t *testing.T, w *world) {
		rng := seeded(t, 1)
		w.write(20000, rng)
		in := w.run()
		w.drained()
		s := in.Stats()
		start := time.Now()
		in.stop(t)
		if d := time.Since(start); d > time.Second {
			t.Errorf("stopping took %s", d)
		}
		w.verify()
		if s.Records != 20000 || s.Written+s.TotalDeadLetters() != s.Records || s.State != Running || s.TotalLag() != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// feed writes records in the background, 10 every 20 ms, until the function that it returns is called.
func (w *world) feed(seed uint64) (stop func()) { return w.trickle(seed, 20*time.Millisecond) }

// trickle is feed with other pauses.
func (w *world) trickle(seed uint64, pause time.Duration) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	rng := seeded(w.t, seed)
	go func() {
		defer close(stopped)
		for {
			w.write(10, rng)
			select {
			case <-time.After(pause):
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	bubble(t, 12, func(t *testing.T, w *world) {
		stop := w.feed(1)
		a := w.run()
		w.until("the first results", func() bool { return a.Stats().Records > 100 })
		b := w.run()
		w.until("the second instance to work", func() bool { return b.Stats().Records > 100 })
		c := w.run()
		w.until("the third instance to work", func() bool { return c.Stats().Records > 100 })
		b.stop(t)
		d := w.run()
		w.until("the fourth instance to work", func() bool { return d.Stats().Records > 100 })
		a.stop(t)
		stop()
		w.drained()
		c.stop(t)
		d.stop(t)
		w.verify()
		var records, aborts, rebalances uint64
		for _, in := range []*instance{a, b, c, d} {
			s := in.Stats()
			records, aborts, rebalances = records+s.Records, aborts+s.Aborts, rebalances+s.Rebalances
		}
		if n := len(w.read(source)); records != uint64(n) {
			t.Errorf("the instances count %d records of %d", records, n)
		}
		t.Logf("%d aborts, %d rebalances", aborts, rebalances)
	})
}

func TestKill(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*setup){
		"another instance": func(*setup) {},
		"the same instance": func(o *setup) {
			o.InstanceID = "one"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) {
				stop := w.feed(1)
				other := w.run()
				var killed []*instance
				for range 3 {
					in := w.run(change)
					w.until("the instance to work", func() bool { return in.Stats().Records > 100 })
					in.kill()
					killed = append(killed, in)
					start := time.Now()
					at := other.Stats().Records
					next := w.run(change)
					w.until("its successor to work", func() bool { return next.Stats().Records > 100 })
					t.Logf("successor took %s; the other made %d meanwhile", time.Since(start), other.Stats().Records-at)
					next.stop(t)
				}
				stop()
				w.drained()
				other.stop(t)
				for _, in := range killed {
					<-in.done
				}
				w.verify()
			})
		})
	}
}

func TestZombie(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		stop := w.feed(1)
		a, b := w.run(), w.run()
		w.until("both to work", func() bool { return a.Stats().Records > 100 && b.Stats().Records > 100 })
		for _, d := range []time.Duration{sessionTimeout / 6, sessionTimeout / 2, 2 * sessionTimeout} {
			a.wire.hold()
			time.Sleep(d)
			a.wire.release()
			at := a.Stats().Records
			w.until("the one that was held to work again", func() bool { return a.Stats().Records > at })
		}
		stop()
		w.drained()
		a.stop(t)
		b.stop(t)
		w.verify()
	})
}

func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		alo := func(o *setup) { o.Guarantee = AtLeastOnce }
		stop := w.feed(1)
		a := w.run(alo)
		w.until("the first results", func() bool { return a.Stats().Records > 100 })
		b := w.run(alo)
		w.until("the second instance to work", func() bool { return b.Stats().Records > 100 })
		a.stop(t)
		b.kill()
		c := w.run(alo)
		stop()
		w.drained()
		<-b.done
		c.stop(t)
		w.verify(true)
	})
}

func TestAtLeastOnceHandsOverCleanly(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		alo := func(o *setup) { o.Guarantee = AtLeastOnce }
		stop := w.feed(1)
		a := w.run(alo)
		w.until("the first results", func() bool { return a.Stats().Records > 100 })
		b := w.run(alo)
		w.until("the second instance to work", func() bool { return b.Stats().Records > 100 })
		a.stop(t)
		stop()
		w.drained()
		b.stop(t)
		w.verify()
	})
}

func TestChosenPartitions(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		seen := make(chan int, 1000)
		in := w.run(func(s *setup) {
			s.topology = stream.New(group, stream.DeadLetters(s.letters))
			stream.From(s.topology, s.source, stream.Bytes(), stream.Bytes()).To(s.sink, stream.PartitionBy(func(r *stream.Record[[]byte, []byte], n int) int {
				seen <- n
				return int(r.Value[0] - '0')
			}))
		})
		var rs []record.Raw
		for i := range 90 {
			rs = append(rs, record.Raw{Key: []byte{byte(i)}, Value: fmt.Appendf(nil, "%d", i%9), Timestamp: time.Now().UnixMilli()})
		}
		w.put(rs...)
		w.drained()
		in.stop(t)
		for _, r := range w.read(sink) {
			if string(r.Value) != strconv.Itoa(int(r.Partition)) {
				t.Errorf("%s is in partition %d", r.Value, r.Partition)
			}
		}
		if s := in.Stats(); s.Written != 40 || s.DeadLetters[Kind{record.StageProcess, task.ClassUnknownPartition}] != 50 {
			t.Errorf("stats: %+v", s)
		}
		if n := <-seen; n != 4 {
			t.Errorf("%d partitions, want 4", n)
		}
	})
}
