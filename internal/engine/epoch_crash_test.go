package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// marked tells whether a request commits a mark of an epoch.
func marked(r kmsg.Request, epoch int64) bool {
	switch r := r.(type) {
	case *kmsg.TxnOffsetCommitRequest:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if p.Metadata != nil && ParseMark(*p.Metadata).Epoch == epoch {
					return true
				}
			}
		}
	case *kmsg.OffsetCommitRequest:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if p.Metadata != nil && ParseMark(*p.Metadata).Epoch == epoch {
					return true
				}
			}
		}
	}
	return false
}

// TestEpochCrash kills an instance while it commits a switch: when the brokers know of it and it does not count yet, and when it
// counts and nobody has heard of that. Its successor does not know the epoch.
func TestEpochCrash(t *testing.T) {
	t.Parallel()
	for how, key := range map[string]kmsg.Key{"offsets": kmsg.TxnOffsetCommit, "end": kmsg.EndTxn} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) {
				stop := w.feed(1)
				var first, second asked
				a := w.run(telling, first.with(1))
				w.switched(1, 6)
				w.until("the first results", func() bool { return a.Stats().Records > 200 })
				dead := make(chan struct{})
				var sent atomic.Bool
				var once sync.Once
				w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit, kmsg.EndTxn}, Count: -1, Observe: true, When: func(r kmsg.Request) bool {
					if marked(r, 2) {
						sent.Store(true)
					}
					if sent.Load() && kmsg.Key(r.Key()) == key {
						once.Do(func() {
							a.wire.cut()
							close(dead)
						})
					}
					return true
				}})
				a.SetEpoch(2)
				<-dead
				a.kill()
				b := w.run(telling, second.with(1))
				w.until("the successor to have the partitions", func() bool { return len(b.Stats().Epochs) == 6 })
				waits := len(second.list()) > 0
				if waits != (how == "end") {
					t.Errorf("the successor waits: %t", waits)
				}
				if !waits {
					w.until("the successor to work", func() bool { return b.Stats().Records > 100 })
				}
				b.SetEpoch(2)
				w.switched(2, 6)
				at := b.Stats().Records
				w.until("the successor to work", func() bool { return b.Stats().Records > at+100 })
				stop()
				w.drained()
				b.stop(t)
				<-a.done
				w.judge(ExactlyOnce, 2)
			})
		})
	}
}

// TestEpochCrashWithoutTransactions kills an instance whose first output with a new epoch is written: when it began with that,
// and when it has gone over to it, after a commit that was refused. Its successor does not know the epoch, and waits.
func TestEpochCrashWithoutTransactions(t *testing.T) {
	t.Parallel()
	for _, begins := range []bool{true, false} {
		t.Run(map[bool]string{true: "begins", false: "switches"}[begins], func(t *testing.T) {
			t.Parallel()
			bubble(t, 3, func(t *testing.T, w *world) {
				alo := guaranteed(AtLeastOnce)
				stop := w.feed(1)
				var used atomic.Bool
				topology := tellingTo(func(epoch int64) {
					if epoch == 2 {
						used.Store(true)
					}
				})
				var first, second asked
				a := w.run(topology, alo, first.with(1))
				w.switched(1, 3)
				w.until("the first results", func() bool { return a.Stats().Records > 100 })
				if begins {
					a.stop(t)
				}
				dead := make(chan struct{})
				var once sync.Once
				w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Count: -1, Observe: true, When: func(kmsg.Request) bool {
					if used.Load() {
						once.Do(func() {
							a.wire.cut()
							close(dead)
						})
					}
					return true
				}})
				w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.IllegalGeneration, Count: 1, When: func(r kmsg.Request) bool { return marked(r, 2) }})
				if begins {
					a = w.run(topology, alo, first.with(2))
				} else {
					a.SetEpoch(2)
				}
				<-dead
				a.kill()
				b := w.run(telling, alo, second.with(1))
				w.until("the successor to have the partitions", func() bool {
					w.reap()
					return len(b.Stats().Epochs) == 3
				})
				if len(second.list()) == 0 {
					t.Error("the successor does not wait")
				}
				time.Sleep(sessionTimeout)
				b.SetEpoch(2)
				stop()
				w.drained()
				b.stop(t)
				<-a.done
				w.judge(AtLeastOnce, 2)
			})
		})
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Mark{
		"":                          {},
		"e1:1700000000000:42":       {1700000000000, 42},
		"e1:1:0":                    {1, 0},
		"x9:else e1:3:4 more":       {3, 4},
		"e1:3:4 e1:5:6":             {3, 4}, // there never are two
		"e1:bad e1:5:6":             {5, 6},
		"AQAAAY0AAAAA":              {}, // Kafka Streams'
		"e1:3":                      {},
		"e1:0:4":                    {},
		"e1:-3:4":                   {},
		"e1:3:-4":                   {},
		"e1:3:4:5":                  {},
		"e2:3:4":                    {},
		"e1:99999999999999999999:1": {},
	} {
		if got := ParseMark(text); got != want {
			t.Errorf("ParseMark(%q) = %+v, want %+v", text, got, want)
		}
		if got := ParseMark(want.String()); got != want {
			t.Errorf("%+v became %+v", want, got)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add("e1:1700000000000:42")
	f.Add("x e1:1:0 y")
	f.Fuzz(func(t *testing.T, text string) {
		m := ParseMark(text)
		if got := ParseMark(m.String()); got != m || m.Epoch < 0 || m.From < 0 {
			t.Errorf("%q: %+v became %+v", text, m, got)
		}
	})
}

// TestEpochOfOthers has a group's positions be committed by applications without epochs, before and after.
func TestEpochOfOthers(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 3, func(t *testing.T, w *world, g Guarantee) {
		rng := seeded(t, 1)
		old := func(s *setup) { s.Guarantee = g } // without epochs
		w.write(300, rng)
		in := w.run(telling, old)
		w.drained()
		if n := len(in.Stats().Epochs); n > 0 {
			t.Errorf("%d partitions have epochs", n)
		}
		in.SetEpoch(9) // nobody says what to do when it is not enough
		w.write(300, rng)
		w.drained()
		in.stop(t)
		for p, m := range w.marks() {
			if m != (Mark{}) {
				t.Errorf("partition %d has the mark %s", p, m)
			}
		}
		w.note("of another application")
		var notes asked
		in = w.run(telling, old, notes.with(5))
		w.switched(5, 3)
		w.write(300, rng)
		w.drained()
		in.stop(t)
		w.judge(g, 5)
		in = w.run(telling, old)
		w.write(300, rng)
		w.drained()
		in.stop(t)
		n := 0
		for _, m := range w.marks() {
			if m == (Mark{}) {
				n++
			}
		}
		if n == 0 || len(notes.list()) > 0 {
			t.Errorf("%d marks were forgotten; waited for %v", n, notes.list())
		}
		if g == ExactlyOnce {
			w.verify()
		}
	})
}

// note commits the positions of the group again, with other metadata.
func (w *world) note(metadata string) {
	w.t.Helper()
	c := w.raw()
	defer c.Close()
	admin := kadm.NewClient(c)
	at, err := admin.FetchOffsets(w.t.Context(), group)
	if err != nil {
		w.t.Fatal(err)
	}
	offsets := kadm.Offsets{}
	for _, o := range at.Sorted() {
		offsets.AddOffset(o.Topic, o.Partition, o.At, -1)
		x := offsets[o.Topic][o.Partition]
		x.Metadata = metadata
		offsets[o.Topic][o.Partition] = x
	}
	if err := admin.CommitAllOffsets(w.t.Context(), group, offsets); err != nil {
		w.t.Fatal(err)
	}
}

// TestEpochOutlastsRecords deletes the records from the committed position on: what comes after them is not processed with an
// older epoch either.
func TestEpochOutlastsRecords(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		rng := seeded(t, 1)
		w.write(300, rng)
		var first, second asked
		in := w.run(telling, first.with(7))
		w.drained()
		in.stop(t)
		w.write(300, rng)
		if err := w.cluster.DeleteRecords(source, 0, 400); err != nil {
			t.Fatal(err)
		}
		in = w.run(telling, second.with(6))
		w.until("the partition to wait", func() bool { return len(second.list()) > 0 })
		time.Sleep(time.Second) // what was read before it waited is put back
		if asked := second.list(); !slices.Equal(asked, []int64{7}) {
			t.Errorf("asked for the epochs %v, want 7 once", asked)
		}
		in.SetEpoch(8)
		w.drained()
		in.stop(t)
		if m := w.marks()[0]; m != (Mark{8, 400}) {
			t.Errorf("the mark is %s", m)
		}
		if s := in.Stats(); s.Records != 200 || s.Skipped != 100 {
			t.Errorf("%d records, %d skipped", s.Records, s.Skipped)
		}
	})
}

// TestEpochWhilePaused changes the epoch of partitions of which no records are processed: on request, and by the breaker.
func TestEpochWhilePaused(t *testing.T) {
	t.Parallel()
	eachGuarantee(t, 3, func(t *testing.T, w *world, g Guarantee) {
		stop := w.feed(1)
		var notes asked
		in := w.run(telling, guaranteed(g), notes.with(1), func(s *setup) { s.Breaker = Breaker{Consecutive: 3, Retry: 3 * time.Second} })
		w.switched(1, 3)
		in.Pause("for a test")
		time.Sleep(2 * time.Second) // what was in flight is committed
		at := in.Stats().Records
		in.SetEpoch(2)
		w.switched(2, 3)
		if n := in.Stats().Records; n != at {
			t.Errorf("%d records were processed", n-at)
		}
		in.Resume()
		w.until("work", func() bool { return in.Stats().Records > at+100 })
		stop()
		w.drained()
		for p := range int32(3) {
			w.fill(p, 4, "bad")
		}
		w.until("the breaker to open", func() bool { return len(in.Stats().Held) == 3 })
		in.SetEpoch(3)
		w.switched(3, 3)
		if n := len(in.Stats().Held); n != 3 {
			t.Errorf("%d partitions are held", n)
		}
		for p := range int32(3) {
			w.fill(p, 10, "good")
		}
		w.drained()
		in.stop(t)
		w.judge(g, 3)
	})
}
