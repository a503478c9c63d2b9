package engine

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// counting is a topology that counts records by key.
func counting(opts ...stream.StoreOption) func(*setup) {
	return func(s *setup) {
		s.topology = stream.New(group, stream.DeadLetters(s.letters))
		in := stream.From(s.topology, s.source, stream.String(), stream.String())
		stream.Count(stream.GroupByKey(in), "count", opts...).ToStream().Values(stream.Decimal()).To(s.sink)
	}
}

const countLog = group + "-count-changelog"

// inDir runs an instance with a state folder.
func inDir(dir string) func(*setup) { return func(s *setup) { s.StateDir = dir } }

// bump writes a record for each of some keys.
func (w *world) bump(keys int) {
	w.t.Helper()
	rs := make([]record.Raw, keys)
	for i := range rs {
		rs[i] = record.Raw{Key: fmt.Appendf(nil, "key-%d", i), Value: []byte("x"), Timestamp: time.Now().UnixMilli()}
	}
	w.put(rs...)
}

// counts returns the last counts by key, and checks that there was each one once.
func (w *world) counts() map[string]string {
	w.t.Helper()
	got := map[string]string{}
	n := map[string]int{}
	for _, r := range w.read(sink) {
		k := string(r.Key)
		n[k]++
		if got[k] = string(r.Value); got[k] != strconv.Itoa(n[k]) {
			w.t.Errorf("%s: %s is the count number %d", k, r.Value, n[k])
		}
	}
	return got
}

func (w *world) wantCounts(keys, want int) {
	w.t.Helper()
	got := w.counts()
	for i := range keys {
		if k := fmt.Sprintf("key-%d", i); got[k] != strconv.Itoa(want) {
			w.t.Errorf("%s: %s, want %d", k, got[k], want)
		}
	}
	if len(got) != keys {
		w.t.Errorf("%d keys, want %d", len(got), keys)
	}
}

// restored returns how many records an instance has read from changelogs, by its log.
func (in *instance) restored(t *testing.T) int {
	t.Helper()
	n := 0
	for line := range strings.SplitSeq(in.log.String(), "\n") {
		if _, rest, ok := strings.Cut(line, "records_restored="); ok {
			var k int
			if _, err := fmt.Sscan(rest, &k); err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	return n
}

// raw opens a client of the library itself.
func (w *world) raw(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(w.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// transaction writes n rows that count 1000 into a changelog, in a transaction that it leaves open.
func (w *world) transaction(id string, timeout time.Duration, partition int32, keys int) *kgo.Client {
	w.t.Helper()
	c := w.raw(kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	if err := c.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	value, err := stream.Int64().Append(make([]byte, 8), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range keys {
		r := &kgo.Record{Topic: countLog, Partition: partition, Key: fmt.Appendf([]byte{1}, "key-%d", i), Value: value}
		if err := c.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	return c
}

// TestRestore starts an instance again: with its state, without, with an old one, and with a store in memory. What has to
// be read is the tail, or everything.
func TestRestore(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]bool{"disk": false, "memory": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				const keys = 20
				var opts []stream.StoreOption
				if memory {
					opts = append(opts, stream.InMemory())
				}
				m := &mall{world: w}
				dir := t.TempDir()
				round := 0
				run := func(dir string, restored int) {
					t.Helper()
					w.bump(keys)
					round++
					in := w.run(counting(opts...), inDir(dir))
					w.drained()
					in.stop(t)
					if memory && round > 1 {
						restored = keys * (round - 1)
					}
					if n := in.restored(t); n != restored {
						t.Errorf("round %d: %d records restored, want %d", round, n, restored)
					}
					w.wantCounts(keys, round)
				}
				run(dir, 0)
				old := m.backup(dir)
				run(dir, 0)
				run(dir, 0)
				run(t.TempDir(), 3*keys)
				run(old, 3*keys)
				run(old, 0)
				run(dir, 3*keys) // it was last here three rounds ago
				run("", 7*keys)
			})
		})
	}
}

// TestRestoreBesideTransactions has transactions of others in the changelog: one that was aborted, at its very end, and
// one that is open when restoring begins and times out.
func TestRestoreBesideTransactions(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string][]stream.StoreOption{"disk": nil, "memory": {stream.InMemory()}} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s open %t", name, open), func(t *testing.T) {
				t.Parallel()
				bubble(t, 1, func(t *testing.T, w *world) {
					const keys = 20
					w.bump(keys)
					dir := t.TempDir()
					in := w.run(counting(backend...), inDir(dir))
					w.drained()
					in.stop(t)
					c := w.transaction("somebody", 2*time.Second, 0, 5)
					if !open {
						if err := c.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
							t.Fatal(err)
						}
					}
					c.CloseAllowingRebalance()
					for i, dir := range []string{dir, t.TempDir(), dir} {
						w.bump(keys)
						start := time.Now()
						in = w.run(counting(backend...), inDir(dir))
						if open && i == 0 {
							w.until("the task to wait for its state", func() bool { return in.Stats().Restoring.Tasks == 1 })
						}
						w.drained()
						if p := in.Stats().Restoring; p != (Restoring{}) {
							t.Errorf("still restoring: %+v", p)
						}
						in.stop(t)
						w.wantCounts(keys, 2+i)
						if d := time.Since(start); open && i == 0 && d < time.Second {
							t.Errorf("it did not wait for the open transaction: it took %s", d)
						}
					}
				})
			})
		}
	}
}

// TestChangelogShortened has a changelog whose beginning, with the checkpoint, is gone.
func TestChangelogShortened(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		const keys = 20
		m := &mall{world: w}
		dir := t.TempDir()
		round := func(dir string) *instance {
			w.bump(keys)
			in := w.run(counting(), inDir(dir))
			w.drained()
			in.stop(t)
			return in
		}
		round(dir)
		old := m.backup(dir)
		round(dir)
		round(dir)
		// The rows of the last round are all that there is, as when a topic was compacted. The old state does not reach them.
		end := w.cluster.PartitionInfos(countLog)[0].HighWatermark
		if err := w.cluster.DeleteRecords(countLog, 0, end-keys-1); err != nil {
			t.Fatal(err)
		}
		in := round(old)
		if !strings.Contains(in.log.String(), "state does not fit to its changelog") {
			t.Errorf("log:\n%s", in.log)
		}
		round(dir)
		w.wantCounts(keys, 5)
	})
}

// TestChangelogMadeAnew has an application that was set back: its offsets and topics are gone, and its state folder was
// forgotten. The folder's checkpoint lies beyond the new changelog, or, later on, within.
func TestChangelogMadeAnew(t *testing.T) {
	t.Parallel()
	for _, beyond := range []bool{true, false} {
		t.Run(fmt.Sprint("beyond ", beyond), func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				const keys = 20
				w.bump(keys)
				dir := t.TempDir()
				in := w.run(counting(), inDir(dir))
				w.drained()
				in.stop(t)
				if err := w.cluster.DeleteTopic(countLog); err != nil {
					t.Fatal(err)
				}
				again := func(s *setup) {
					counting()(s)
					s.Group = "again"
				}
				if !beyond { // another instance has filled the new changelog meanwhile
					w.bump(2 * keys)
					other := w.run(again, inDir(t.TempDir()))
					w.until("the records", func() bool { return other.Stats().Records == 3*keys })
					other.stop(t)
				}
				w.bump(keys)
				in = w.run(again, inDir(dir))
				want := uint64(2 * keys)
				if !beyond {
					want = keys
				}
				w.until("the records", func() bool { return in.Stats().Records == want })
				in.stop(t)
				got := map[string]string{}
				for _, r := range w.read(sink) {
					got[string(r.Key)] = string(r.Value)
				}
				if n := map[bool]string{true: "2", false: "3"}[beyond]; got["key-0"] != n {
					t.Errorf("%v, want %s", got, n)
				}
				if !strings.Contains(in.log.String(), "made anew") {
					t.Errorf("log:\n%s", in.log)
				}
			})
		})
	}
}

// TestCheckpointBeyond has state that knows more than its changelog.
func TestCheckpointBeyond(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		const keys = 20
		dir := t.TempDir()
		for range 2 {
			w.bump(keys)
			in := w.run(counting(), inDir(dir))
			w.drained()
			in.stop(t)
		}
		db, err := store.Open(dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		task, err := db.Task("0_0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := task.Store(store.Spec{Name: "count", Logged: true}); err != nil {
			t.Fatal(err)
		}
		if err := task.Restore("count", []store.Entry{{Key: []byte("\x01key-1"), Value: make([]byte, 16)}}, 1<<40); err != nil {
			t.Fatal(err)
		}
		if err := task.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		w.bump(keys)
		in := w.run(counting(), inDir(dir))
		w.drained()
		in.stop(t)
		if !strings.Contains(in.log.String(), "state does not fit to its changelog") || in.restored(t) != 2*keys {
			t.Errorf("log:\n%s", in.log)
		}
		w.wantCounts(keys, 3)
	})
}

// TestCommittedInKafkaAlone cuts the wire when a transaction is being ended, so that the instance never learns what has
// become of it, and its state stays behind.
func TestCommittedInKafkaAlone(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		const keys = 20
		dir := t.TempDir()
		w.bump(keys)
		in := w.run(counting(), inDir(dir))
		w.drained()
		for i := range 5 {
			ended := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Count: 1, When: func(kmsg.Request) bool {
				go in.kill()
				return false // it happens, but nobody hears of it
			}, Observe: true})
			w.bump(keys)
			<-in.done
			if ended.Hits() == 0 && i == 0 {
				t.Log("no transaction was ended")
			}
			ended.Remove()
			in = w.run(counting(), inDir(dir))
			w.drained()
		}
		in.stop(t)
		w.wantCounts(keys, 6)
	})
}

// TestRestoreProgress has changelogs that cannot be read to their ends for a while.
func TestRestoreProgress(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		const keys = 300
		w.bump(keys)
		in := w.run(counting(), inDir(t.TempDir()))
		w.drained()
		in.stop(t)
		var open []*kgo.Client
		for p := range int32(3) {
			open = append(open, w.transaction(fmt.Sprint("somebody-", p), time.Minute, p, 5))
		}
		in = w.run(counting(), inDir(t.TempDir()))
		w.until("tasks to restore", func() bool {
			p := in.Stats().Restoring
			return p.Tasks == 3 && p.Left >= 3*5 && p.Rate > 0 && p.ETA > 0
		})
		w.until("a line in the log", func() bool { return strings.Contains(in.log.String(), "restoring state") })
		for p, c := range open {
			if err := c.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
			c.Close()
			w.until("one less to restore", func() bool { return in.Stats().Restoring.Tasks == 2-p })
		}
		w.bump(keys)
		w.drained()
		if n := in.restored(t); n != keys {
			t.Errorf("%d records restored, want %d", n, keys)
		}
		in.stop(t)
		w.wantCounts(keys, 2)
	})
}

// TestStopWhileRestoring stops an instance, and takes partitions from one, while changelogs are read.
func TestStopWhileRestoring(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		w.bump(100)
		in := w.run(counting(), inDir(t.TempDir()))
		w.drained()
		in.stop(t)
		var open []*kgo.Client
		for p := range int32(4) {
			open = append(open, w.transaction(fmt.Sprint("somebody-", p), time.Minute, p, 1))
		}
		a := w.run(counting(), inDir(t.TempDir()))
		w.until("tasks to restore", func() bool { return a.Stats().Restoring.Tasks == 4 })
		b := w.run(counting(), inDir(t.TempDir()))
		w.until("half of them to go", func() bool { return a.Stats().Restoring.Tasks == 2 && b.Stats().Restoring.Tasks == 2 })
		start := time.Now()
		b.stop(t)
		if d := time.Since(start); d > time.Second {
			t.Errorf("stopping took %s", d)
		}
		w.until("them to come back", func() bool { return a.Stats().Restoring.Tasks == 4 })
		for _, c := range open {
			if err := c.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		w.bump(100)
		w.drained()
		a.stop(t)
		w.wantCounts(100, 2)
	})
}

// TestTopicNotLearned has a broker that has not learned yet of a topic of the application's own, or of its source, when the
// application wants to read it: that passes.
func TestTopicNotLearned(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]kmsg.Key{"metadata": kmsg.Metadata, "offsets": kmsg.ListOffsets} {
		for _, topic := range []string{countLog, source} {
			t.Run(name+" of "+topic, func(t *testing.T) {
				t.Parallel()
				bubble(t, 1, func(t *testing.T, w *world) {
					var joined atomic.Bool
					w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Count: -1, Observe: true, When: func(kmsg.Request) bool {
						joined.Store(true)
						return true
					}}, kfake.Fault{Keys: []kmsg.Key{key}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: 2, When: func(kmsg.Request) bool {
						return joined.Load() // before that the topics are looked at
					}})
					const keys = 20
					w.bump(keys)
					in := w.run(counting(), inDir(t.TempDir()))
					w.until("the records to be counted", func() bool { return in.Stats().Written == keys || in.Stats().State == Failed })
					w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: 2})
					time.Sleep(2 * measureEvery)
					w.bump(keys)
					w.until("more to be counted", func() bool { return in.Stats().Written == 2*keys || in.Stats().State == Failed })
					in.stop(t)
					w.wantCounts(keys, 2)
				})
			})
		}
	}
}

// TestStateCleaned has the state of tasks deleted that went, or that nobody asks for after a start.
func TestStateCleaned(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		const delay = 2 * time.Second
		dir := t.TempDir()
		soon := func(s *setup) { s.CleanupDelay = delay }
		tasks := func() []string {
			db, err := store.Open(dir, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}()
			ids, err := db.Tasks()
			if err != nil {
				t.Fatal(err)
			}
			return ids
		}
		w.bump(100)
		a := w.run(counting(), inDir(dir), soon)
		w.drained()
		b := w.run(counting(), inDir(t.TempDir()), soon)
		w.until("the state of two tasks to be deleted", func() bool { return strings.Count(a.log.String(), "deleted the state of a task") == 2 })
		a.stop(t)
		if ids := tasks(); len(ids) != 3 { // and the ids of the changelogs
			t.Errorf("there is state of %v", ids)
		}
		w.until("the others to have all", func() bool { return len(b.Stats().Lag) == 4 })
		c := w.run(counting(), inDir(t.TempDir()), soon)
		w.until("half of them to go", func() bool { return len(c.Stats().Lag) == 2 })
		d := w.run(counting(), inDir(dir), soon)
		w.until("one to come", func() bool { return len(d.Stats().Lag) == 1 })
		time.Sleep(2 * delay)
		for _, in := range []*instance{d, c, b} {
			in.stop(t)
		}
		if ids := tasks(); len(ids) > 5 || len(ids) < 2 {
			t.Errorf("there is state of %v", ids)
		}
		if n := strings.Count(d.log.String(), "deleted the state of a task"); n == 0 {
			t.Errorf("no old state was deleted:\n%s", d.log)
		}
	})
}

// TestDamagedState has a state folder that is damaged.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		dir := t.TempDir()
		w.bump(20)
		in := w.run(counting(), inDir(dir))
		w.drained()
		in.stop(t)
		damage(t, dir)
		w.bump(20)
		in = w.run(counting(), inDir(dir))
		w.drained()
		in.stop(t)
		if !strings.Contains(in.log.String(), "the state folder is damaged") {
			t.Errorf("log:\n%s", in.log)
		}
		w.wantCounts(20, 2)
	})
}

// TestStatefulAtLeastOnce loses instances without transactions: counts may be too high, never too low.
func TestStatefulAtLeastOnce(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		alo := func(s *setup) { s.Guarantee = AtLeastOnce }
		var killed []*instance
		const rounds = 6
		keep := w.run(counting(), inDir(t.TempDir()), alo)
		for range rounds {
			in := w.run(counting(), inDir(t.TempDir()), alo)
			for range 5 {
				w.bump(50)
				time.Sleep(30 * time.Millisecond)
			}
			in.kill()
			killed = append(killed, in)
			time.Sleep(sessionTimeout / 2)
		}
		w.drained()
		keep.stop(t)
		for _, in := range killed {
			<-in.done
		}
		last := map[string]int{}
		for _, r := range w.read(sink) {
			var n int
			if _, err := fmt.Sscan(string(r.Value), &n); err != nil {
				t.Fatal(err)
			}
			last[string(r.Key)] = n
		}
		for i := range 50 {
			if n := last[fmt.Sprintf("key-%d", i)]; n < 5*rounds || n > 10*rounds {
				t.Errorf("key %d: %d, want %d or a little more", i, n, 5*rounds)
			}
		}
	})
}

// TestStatefulAtLeastOnceHandsOver has instances come and go in an orderly way: then nothing is counted twice.
func TestStatefulAtLeastOnceHandsOver(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		alo := func(s *setup) { s.Guarantee = AtLeastOnce }
		a := w.run(counting(), inDir(t.TempDir()), alo)
		w.bump(50)
		w.until("the first results", func() bool { return a.Stats().Records > 0 })
		n := 1
		for range 3 {
			b := w.run(counting(), inDir(t.TempDir()), alo)
			for range 20 {
				w.bump(50)
				n++
				time.Sleep(50 * time.Millisecond)
			}
			a.stop(t)
			a = b
		}
		w.drained()
		a.stop(t)
		w.wantCounts(50, n)
	})
}

// TestWriteRefusedInChangelog has the brokers refuse a row: no dead letter can mend that.
func TestWriteRefusedInChangelog(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		in := w.run(counting(), func(s *setup) { s.Compression = kafka.CompressionNone })
		w.bump(3)
		w.drained()
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: countLog, Err: kerr.InvalidRecord, Count: -1,
			When: func(r kmsg.Request) bool { return contains(r, "key-1") },
		})
		w.bump(3)
		<-in.done
		wantError(t, in.err, kafka.CodeRejected, countLog)
		if got := w.counts(); got["key-1"] != "1" {
			t.Errorf("%v", got)
		}
	})
}

// damage overwrites the middle of every table in a state folder.
func damage(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sst" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i := range min(len(b), 200) {
			b[len(b)-1-i] ^= 0xff
		}
		n++
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
}
