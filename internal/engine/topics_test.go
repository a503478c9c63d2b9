package engine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// TestPurge has the records of a repartition topic deleted once they are processed.
func TestPurge(t *testing.T) {
	t.Parallel()
	withMall(t, 4, func(t *testing.T, m *mall) {
		soon := func(s *setup) { s.PurgeInterval = 300 * time.Millisecond }
		rng := seeded(t, 1)
		a, b := m.shop("", soon), m.shop("", soon)
		for range 5 {
			m.sell(300, rng)
			m.closed()
			time.Sleep(400 * time.Millisecond)
		}
		m.until("the topic to be all but empty", func() bool {
			n := int64(0)
			for _, p := range m.cluster.PartitionInfos(repartitioned) {
				n += p.HighWatermark - p.LogStartOffset
			}
			return n <= 4*4 // the markers of the last transactions
		})
		for _, topic := range []string{events, users, joined, totals} {
			for _, p := range m.cluster.PartitionInfos(topic) {
				if p.LogStartOffset > 0 {
					t.Errorf("records of %s were deleted", topic)
				}
			}
		}
		m.sell(300, rng)
		m.closed()
		a.stop(t)
		b.stop(t)
		m.audit()
	})
}

// TestPurgeRefused has the group refuse the positions of a member, as when that was believed dead: the records before them
// are still there for the next one.
func TestPurgeRefused(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		const again = group + "-again-repartition"
		in := w.run(func(s *setup) {
			s.Guarantee, s.PurgeInterval = AtLeastOnce, 300*time.Millisecond
			s.topology = stream.New(group)
			stream.From(s.topology, s.source, stream.String(), stream.String()).Repartition("again").To(s.sink)
		})
		w.numbers(0, 100)
		committed := func() int64 {
			at, err := w.client.Committed(t.Context(), group)
			if err != nil {
				return 0
			}
			return at[again][0].Offset
		}
		w.until("the first records to be committed", func() bool { return committed() == 100 })
		refusal := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RebalanceInProgress, Count: -1})
		w.numbers(100, 100)
		w.until("the others to be processed", func() bool { return in.Stats().Written == 200 })
		time.Sleep(time.Second)
		if n, start := committed(), w.cluster.PartitionInfos(again)[0].LogStartOffset; n != 100 || start > n {
			t.Errorf("%d are committed, and %d were deleted", n, start)
		}
		refusal.Remove()
		w.numbers(200, 1)
		w.until("everything to be committed and deleted", func() bool { return w.cluster.PartitionInfos(again)[0].LogStartOffset == 201 })
		in.stop(t)
	})
}

// TestPurgeFails has the brokers fail to delete records for a while: they are deleted later, also when no others come.
func TestPurgeFails(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Err: kerr.PolicyViolation, Count: 2})
		in := w.run(func(s *setup) {
			s.PurgeInterval = 300 * time.Millisecond
			s.topology = stream.New(group)
			stream.From(s.topology, s.source, stream.String(), stream.String()).Repartition("again").To(s.sink)
		})
		w.numbers(0, 100)
		w.until("the records to be deleted", func() bool {
			ps := w.cluster.PartitionInfos(group + "-again-repartition")
			return len(ps) == 1 && ps[0].LogStartOffset == 100
		})
		in.stop(t)
		if !strings.Contains(in.log.String(), "trying again later") {
			t.Errorf("log:\n%s", in.log)
		}
	})
}

// TestCopartitionError joins topics with unequal numbers of partitions.
func TestCopartitionError(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		if err := w.cluster.CreateTopic("table", 4, nil); err != nil {
			t.Fatal(err)
		}
		in := w.run(func(s *setup) {
			s.topology = stream.New(group)
			in := stream.From(s.topology, s.source, stream.String(), stream.String())
			other := stream.TableFrom(s.topology, "t", "table", stream.String(), stream.String())
			stream.JoinTable(in, other, "join", func(a, b string) string { return a + b }).To(s.sink)
		})
		<-in.done
		wantError(t, in.err, kafka.CodeConfig, "table")
		if !strings.Contains(in.err.Error(), "houses has 3, table has 4") {
			t.Errorf("%v", in.err)
		}
	})
}

// TestInternalTopicsDiffer finds topics of the application's own that are there with another number of partitions.
func TestInternalTopicsDiffer(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{repartitioned, group + "-by-category-changelog", group + "-who-changelog"} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			withMall(t, 3, func(t *testing.T, m *mall) {
				if err := m.cluster.CreateTopic(topic, 2, nil); err != nil {
					t.Fatal(err)
				}
				in := m.shop("")
				<-in.done
				wantError(t, in.err, kafka.CodeConfig, topic)
				if !strings.Contains(in.err.Error(), "it has 2 partitions, where 3 are needed") {
					t.Errorf("%v", in.err)
				}
			})
		})
	}
}

// TestInternalTopicsUnlearned has brokers that do not know of a topic of the application's own long after it was made.
func TestInternalTopicsUnlearned(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{repartitioned, group + "-by-category-changelog"} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			withMall(t, 3, func(t *testing.T, m *mall) {
				m.sell(100, seeded(t, 1))
				h := m.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: -1})
				in := m.shop("")
				time.Sleep(40 * time.Second / slack / slack)
				select {
				case <-in.done:
					t.Fatalf("it has ended: %v", in.err)
				default:
				}
				h.Remove()
				m.closed()
				in.stop(t)
			})
		})
	}
}

// TestInternalTopicsUnlearnedLater has a broker that does not know of topics of the application's own when all of them are
// looked at, though each was found by itself.
func TestInternalTopicsUnlearnedLater(t *testing.T) {
	t.Parallel()
	withMall(t, 3, func(t *testing.T, m *mall) {
		m.sell(100, seeded(t, 1))
		var left atomic.Int32
		left.Store(20)
		for _, topic := range []string{repartitioned, group + "-by-category-changelog"} {
			m.cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: -1,
				When: func(r kmsg.Request) bool {
					q, ok := r.(*kmsg.MetadataRequest)
					return ok && len(q.Topics) > 2 && left.Add(-1) >= 0
				},
			})
		}
		in := m.shop("")
		m.closed()
		in.stop(t)
		if n := left.Load(); n > 0 {
			t.Errorf("%d requests were not answered wrongly", n)
		}
	})
}

// TestInternalTopicsGo has topics of the application's own deleted under it, or deleted and made anew.
func TestInternalTopicsGo(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{repartitioned, group + "-by-category-changelog"} {
		for _, anew := range []bool{false, true} {
			t.Run(fmt.Sprint(topic, " ", anew), func(t *testing.T) {
				t.Parallel()
				withMall(t, 3, func(t *testing.T, m *mall) {
					m.sell(100, seeded(t, 1))
					in := m.shop("")
					m.closed()
					in.wire.slow.Store(int64(10 * time.Millisecond)) // the library asks for what is gone as fast as it is answered
					err := m.cluster.DeleteTopic(topic)
					if anew {
						err = errors.Join(err, m.cluster.CreateTopic(topic, 3, nil))
					}
					if err != nil {
						t.Fatal(err)
					}
					select {
					case <-in.done:
					case <-time.After(time.Minute):
						t.Fatalf("it goes on:\n%s", in.log)
					}
					wantError(t, in.err, kafka.CodeTopicChanged, topic)
				})
			})
		}
	}
}

// grow gives a topic more partitions.
func (w *world) grow(topic string, n int) {
	w.t.Helper()
	c := w.raw()
	defer c.Close()
	rs, err := kadm.NewClient(c).UpdatePartitions(w.t.Context(), n, topic)
	if err != nil || rs[topic].Err != nil {
		w.t.Fatal(err, rs[topic].Err)
	}
}

// TestPartitionsAdded has a topic grow under an application: one without state goes on with more tasks, one with state
// says that its changelogs do not fit any more.
func TestPartitionsAdded(t *testing.T) {
	t.Parallel()
	for _, state := range []bool{false, true} {
		t.Run(fmt.Sprint("state ", state), func(t *testing.T) {
			t.Parallel()
			bubble(t, 2, func(t *testing.T, w *world) {
				rng := seeded(t, 1)
				w.write(200, rng)
				change := func(*setup) {}
				if state {
					change = counting()
				}
				in := w.run(change)
				w.drained()
				w.grow(source, 5)
				p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: source}) // the old one learns of it in its own time
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				for i := range 100 {
					if err := p.Send(t.Context(), &record.Raw{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if state {
					<-in.done
					wantError(t, in.err, kafka.CodeConfig, countLog)
					return
				}
				w.until("every record", func() bool { return in.Stats().Records == 300 })
				w.drained()
				in.stop(t)
				if n := len(w.read(sink)) + len(w.read(letters)); n != 300 {
					t.Errorf("%d results", n)
				}
			})
		})
	}
}

// TestUnequalMerge merges topics with unequal numbers of partitions, one of which stays empty: no task waits for a
// partition that there is not, or that has nothing.
func TestUnequalMerge(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		for topic, n := range map[string]int32{"wide": 5, "empty": 3} {
			if err := w.cluster.CreateTopic(topic, n, nil); err != nil {
				t.Fatal(err)
			}
		}
		in := w.run(func(s *setup) {
			s.topology = stream.New(group)
			from := func(topic string) stream.Stream[string, string] {
				return stream.From(s.topology, topic, stream.String(), stream.String())
			}
			from(s.source).Merge(from("wide")).Merge(from("empty")).To(s.sink)
		})
		w.until("every partition", func() bool { return len(in.Stats().Lag) == 10 })
		p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: "wide"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		start := time.Now()
		for i := range 50 {
			w.numbers(i, 10)
			for range 10 {
				r := record.Raw{Key: fmt.Append(nil, i), Value: []byte("w"), Timestamp: time.Now().UnixMilli()}
				if err := p.Send(t.Context(), &r); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		w.until("every record", func() bool { return in.Stats().Records == 1000 })
		if d := time.Since(start); d > 2*time.Second*slack {
			t.Errorf("it took %s", d)
		}
		in.stop(t)
		if n := len(w.read(sink)); n != 1000 {
			t.Errorf("%d results", n)
		}
	})
}

// TestMergeInOrder reads two topics that were written apart, one long before the other: they come out by their times. With
// MaxIdle that holds also for what is written while the application runs.
func TestMergeInOrder(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, 400 * time.Millisecond} {
		t.Run(fmt.Sprint("max idle ", idle), func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				if err := w.cluster.CreateTopic("other", 1, nil); err != nil {
					t.Fatal(err)
				}
				p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: "other"})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				base := time.Now().Add(-time.Hour).UnixMilli()
				n, most := int64(0), short(30_000, 8000)
				both := func(gap time.Duration, count int) {
					var here []record.Raw
					for range count {
						here = append(here, record.Raw{Key: []byte("k"), Value: []byte("a"), Timestamp: base + 2*n})
						r := record.Raw{Key: []byte("k"), Value: []byte("b"), Timestamp: base + 2*n + 1}
						if err := p.Send(t.Context(), &r); err != nil {
							t.Fatal(err)
						}
						n++
					}
					if err := p.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(gap)
					w.put(here...)
				}
				both(0, most)
				in := w.run(func(s *setup) {
					s.MaxQueued = 2000 // less than the topics hold: one is paused for the other
					s.topology = stream.New(group, stream.MaxIdle(idle))
					a := stream.From(s.topology, s.source, stream.String(), stream.String())
					b := stream.From(s.topology, "other", stream.String(), stream.String())
					a.Merge(b).To(s.sink)
				})
				w.until("what was there", func() bool { return in.Stats().Records == uint64(2*most) })
				if idle > 0 {
					for range 20 {
						both(idle/4, 10)
						time.Sleep(idle / 4)
					}
				}
				w.until("everything", func() bool { return in.Stats().Records == uint64(2*n) })
				in.stop(t)
				last, wrong := int64(0), 0
				for _, r := range w.read(sink) {
					if r.Timestamp < last {
						wrong++
					}
					last = r.Timestamp
				}
				if wrong > 0 {
					t.Errorf("%d records of %d come too late", wrong, 2*n)
				}
			})
		})
	}
}

// TestOneTopicAhead has a task that waits, for long, for a topic that has nothing: the other one is not read without end,
// and everything goes on when the waiting is over.
func TestOneTopicAhead(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		if err := w.cluster.CreateTopic("other", 2, nil); err != nil {
			t.Fatal(err)
		}
		in := w.run(func(s *setup) {
			s.MaxQueued = 20_000
			s.topology = stream.New(group, stream.MaxIdle(2*time.Second))
			a := stream.From(s.topology, s.source, stream.String(), stream.String())
			b := stream.From(s.topology, "other", stream.String(), stream.String())
			a.Merge(b).To(s.sink)
		})
		w.until("partitions", func() bool { return len(in.Stats().Lag) == 4 })
		w.numbers(0, 30_000)
		w.until("records to wait", func() bool {
			tasks := in.tasks()
			return len(tasks) > 0 && !slices.ContainsFunc(tasks, func(r *running) bool { return !r.intakes[0].paused.Load() })
		})
		for _, r := range in.tasks() {
			if n := r.intakes[0].waiting(); n > 10_000+maxWaiting {
				t.Errorf("%d records wait in task %s", n, r.id)
			}
		}
		w.drained()
		in.stop(t)
		if n := len(w.read(sink)); n != 30_000 {
			t.Errorf("%d results", n)
		}
	})
}

// TestTableAtRest joins many records with a table to which nothing is added: reading does not stop for it, as a fetch of
// nothing but the table would be held back by the broker.
func TestTableAtRest(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		if err := w.cluster.CreateTopic("other", 2, nil); err != nil {
			t.Fatal(err)
		}
		in := w.run(func(s *setup) {
			s.MaxQueued = 20_000
			s.topology = stream.New(group)
			records := stream.From(s.topology, s.source, stream.String(), stream.String())
			other := stream.TableFrom(s.topology, "other", "other", stream.String(), stream.String())
			stream.LeftJoinTable(records, other, "join", func(v, _ string, _ bool) string { return v }).To(s.sink)
		})
		w.until("partitions", func() bool { return len(in.Stats().Lag) == 4 })
		start := time.Now()
		w.numbers(0, 60_000)
		w.drained()
		if d := time.Since(start); d > time.Second*slack {
			t.Errorf("it took %s", d)
		}
		in.stop(t)
		if n := len(w.read(sink)); n != 60_000 {
			t.Errorf("%d results", n)
		}
	})
}

// TestGlobalTable joins with a table that every instance has, from before the first record on, and that follows its topic
// while the brokers come and go.
func TestGlobalTable(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		if err := w.cluster.CreateTopic("rates", 2, nil); err != nil {
			t.Fatal(err)
		}
		p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: "rates"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		rate := func(k, v []byte) {
			t.Helper()
			if err := p.Send(t.Context(), &record.Raw{Key: k, Value: v, Timestamp: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		decimal := func(n int64) []byte { return fmt.Append(nil, n) }
		for i := range int64(500) {
			rate(fmt.Appendf(nil, "key-%d", i%10), decimal(i))
		}
		topology := func(s *setup) {
			s.topology = stream.New(group, stream.DeadLetters(s.letters))
			in := stream.From(s.topology, s.source, stream.String(), stream.String(), stream.UseClock())
			rates := stream.GlobalTableFrom(s.topology, "rates", "rates", stream.String(), stream.Decimal())
			stream.LeftJoinGlobal(in, rates, func(k, _ string) (string, bool) { return k, true }, func(_ string, rate int64, ok bool) string {
				if !ok {
					return "none"
				}
				return strconv.FormatInt(rate, 10)
			}).To(s.sink, stream.Provenance())
		}
		a, b := w.run(topology), w.run(topology)
		w.numbers(0, 1000)
		w.drained()
		rate([]byte("key-1"), nil)
		rate([]byte("key-2"), []byte("not a number"))
		rate([]byte("key-3"), decimal(7))
		for _, in := range []*instance{a, b} {
			in.wire.cut()
		}
		time.Sleep(12 * time.Second / slack / slack) // longer than a reader waits for brokers, where time is fake
		for _, in := range []*instance{a, b} {
			in.wire.mend()
		}
		rate([]byte("key-4"), decimal(8))
		time.Sleep(2 * time.Second)
		w.numbers(1000, 1000)
		w.drained()
		w.until("the dead letters of both instances", func() bool { return len(w.read(letters)) >= 2 })
		a.stop(t)
		b.stop(t)
		got := map[string][]string{}
		for _, r := range w.read(sink) {
			k := string(r.Key)
			if vs := got[k]; len(vs) == 0 || vs[len(vs)-1] != string(r.Value) {
				got[k] = append(vs, string(r.Value))
			}
		}
		want := map[string][]string{"key-1": {"491", "none"}, "key-2": {"492"}, "key-3": {"493", "7"}, "key-4": {"494", "8"}}
		for _, i := range []int{0, 5, 6, 7, 8, 9} {
			want[fmt.Sprintf("key-%d", i)] = []string{strconv.Itoa(490 + i)}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, r := range w.read(letters) {
			if header(&r, task.LetterTopic) != "rates" || header(&r, task.LetterClass) != "undecodable" || header(&r, task.LetterNode) != "rates" || string(r.Key) != "key-2" {
				t.Errorf("dead letter %q %v", r.Key, headers(&r))
			}
		}
	})
}

// TestNames checks which topics a program is said to use.
func TestNames(t *testing.T) {
	t.Parallel()
	s := &setup{letters: letters}
	p, err := shop(s).Program()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{events, users}, {joined, totals, visits}}, [][]string{readTopics(p), writtenTopics(p)}); diff != "" {
		t.Error(diff)
	}
	e := &Engine{program: p}
	all := slices.Sorted(slices.Values([]string{joined, totals, visits, letters, repartitioned, group + "-who-changelog", group + "-seen-changelog", group + "-by-category-changelog"}))
	if diff := cmp.Diff(all, e.writes()); diff != "" {
		t.Error(diff)
	}
}
