package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/record"
)

// guarantees runs a test under each guarantee.
func guarantees(t *testing.T, fn func(t *testing.T, exactlyOnce bool)) {
	t.Parallel()
	for _, eo := range []bool{true, false} {
		t.Run(map[bool]string{true: "exactly once", false: "at least once"}[eo], func(t *testing.T) {
			t.Parallel()
			fn(t, eo)
		})
	}
}

// member is a session in a test, with the records that it has polled and the test has not looked at.
type member struct {
	*Session
	t      *testing.T
	read   []string // topic/partition@offset=value
	mu     sync.Mutex
	change []Change
}

func join(t *testing.T, c *Client, sc SessionConfig) *member {
	t.Helper()
	m := &member{t: t}
	sc.Group = cmp.Or(sc.Group, "g")
	if sc.ExactlyOnce {
		sc.TransactionalID = cmp.Or(sc.TransactionalID, t.Name())
	}
	sc.MaxWait = 100 * time.Millisecond
	changed := sc.Changed
	sc.Changed = func(c Change) {
		m.mu.Lock()
		m.change = append(m.change, c)
		m.mu.Unlock()
		if changed != nil {
			changed(c)
		}
	}
	s, err := c.Join(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	m.Session = s
	t.Cleanup(func() { s.Close(context.Background()) })
	return m
}

func (m *member) begin() {
	m.t.Helper()
	if err := m.Begin(); err != nil {
		m.t.Fatal(err)
	}
}

// poll polls once, and adds to read.
func (m *member) poll(wait time.Duration, limit int) int {
	m.t.Helper()
	runs, err := m.Poll(m.t.Context(), wait, limit)
	if err != nil {
		m.t.Fatal(err)
	}
	n := 0
	for _, r := range runs {
		for i := range r.Len() {
			var raw record.Raw
			r.Read(i, &raw)
			m.read = append(m.read, fmt.Sprintf("%s/%d@%d=%s", raw.Topic, raw.Partition, raw.Offset, raw.Value))
			n++
		}
	}
	return n
}

// take polls until n records are read, and returns them.
func (m *member) take(n int) []string {
	m.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(m.read) < n {
		if m.poll(time.Second, n-len(m.read)); time.Now().After(deadline) {
			m.t.Fatalf("%d records of %d: %v", len(m.read), n, m.read)
		}
	}
	got := m.read
	m.read = nil
	return got
}

func (m *member) commit(at Positions, want bool) {
	m.t.Helper()
	ok, err := m.Commit(m.t.Context(), at)
	if ok != want || err != nil {
		m.t.Fatalf("commit: %t, %v", ok, err)
	}
}

// round sends an outbox in a round, and once more where that is undone without an error.
func (m *member) round(at Positions, fill func(o *Outbox)) (ok bool, err error) {
	m.t.Helper()
	for range 2 {
		m.begin()
		o := m.Outbox()
		fill(o)
		if err := m.Send(m.t.Context(), o); err != nil {
			m.t.Fatal(err)
		}
		if ok, err = m.Commit(m.t.Context(), at); ok || err != nil {
			break
		}
	}
	return ok, err
}

func (m *member) abort() {
	m.t.Helper()
	if err := m.Abort(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// write writes values 0 to n-1 to a partition in turn.
func write(t *testing.T, cluster *kfake.Cluster, topic string, partition int32, values ...string) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, v := range values {
		if err := k.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func numbers(n int) (ns []string) {
	for i := range n {
		ns = append(ns, strconv.Itoa(i))
	}
	return ns
}

// lines returns what poll makes of records from one offset to another of a partition that numbers were written to.
func lines(topic string, partition, from, to int) (ls []string) {
	for i := from; i < to; i++ {
		ls = append(ls, fmt.Sprintf("%s/%d@%d=%d", topic, partition, i, i))
	}
	return ls
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: %s", what, diff)
	}
}

// at is a position of partition 0.
func at(topic string, offset int64) Positions { return Positions{topic: {0: {Offset: offset}}} }

func one(name string) []SourceTopic { return []SourceTopic{{Name: name}} }

// TestCommitPositions holds records back over commits: they do not come again, until something fails.
func TestCommitPositions(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		cluster, c := open(t, kfake.SeedTopics(1, "one"))
		write(t, cluster, "one", 0, numbers(20)...)
		s := join(t, c, SessionConfig{Topics: one("one"), ExactlyOnce: eo})
		s.begin()
		want(t, "first", s.take(10), lines("one", 0, 0, 10))
		s.commit(at("one", 4), true)
		s.begin()
		want(t, "after a commit", s.take(3), lines("one", 0, 10, 13))
		s.abort()
		s.begin()
		want(t, "after an abort", s.take(13), lines("one", 0, 4, 17))
		s.commit(nil, true) // nothing of it was processed
		s.begin()
		want(t, "after an empty commit", s.take(1), lines("one", 0, 17, 18))
		s.abort()
		s.begin()
		want(t, "after another abort", s.take(4), lines("one", 0, 4, 8))
		s.commit(at("one", 8), true)
		s.begin()
		s.commit(at("one", 8), true) // without a record, and without news
		s.begin()
		want(t, "after commits", s.take(2), lines("one", 0, 8, 10))
		s.commit(nil, true)
		s.begin()
		s.commit(at("one", 9), true) // without a record, but with one that was held back
		s.begin()
		want(t, "after a late commit", s.take(2), lines("one", 0, 10, 12))
		if p, ok := s.Position("one", 0); !ok || p.Offset != 9 {
			t.Errorf("position %v", p)
		}
		for _, bad := range []int64{8, 13} {
			if ok, err := s.Commit(t.Context(), at("one", bad)); ok || err == nil || !strings.Contains(err.Error(), "9 is committed and 12 was read") {
				t.Errorf("commit of %d: %t, %v", bad, ok, err)
			}
			s.begin()
			want(t, "after a wrong commit", s.take(3), lines("one", 0, 9, 12))
		}
		s.Close(t.Context()) // with the round open
		got, err := c.Committed(t.Context(), "g")
		if diff := gocmp.Diff(at("one", 9), got); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
		next := join(t, c, SessionConfig{Topics: one("one"), ExactlyOnce: eo})
		next.begin()
		want(t, "of the next member", next.take(11), lines("one", 0, 9, 20))
		next.commit(at("one", 20), true)
	})
}

// TestCommitSomePartitions commits one partition of several, and one of another member.
func TestCommitSomePartitions(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		cluster, c := open(t, kfake.SeedTopics(1, "a", "b"))
		write(t, cluster, "a", 0, numbers(5)...)
		write(t, cluster, "b", 0, numbers(5)...)
		s := join(t, c, SessionConfig{Topics: []SourceTopic{{Name: "a"}, {Name: "b"}}, ExactlyOnce: eo})
		s.begin()
		s.take(10)
		p := at("a", 3)
		p.Set("a", 7, Position{Offset: 1})
		p.Set("t", 0, Position{Offset: 1})
		s.commit(p, true)
		s.begin()
		write(t, cluster, "b", 0, "5")
		want(t, "after the commit", s.take(1), lines("b", 0, 5, 6))
		s.abort()
		s.begin()
		got := s.take(8)
		slices.Sort(got)
		want(t, "after the abort", got, append(lines("a", 0, 3, 5), lines("b", 0, 0, 6)...))
		committed, err := c.Committed(t.Context(), "g")
		if diff := gocmp.Diff(at("a", 3), committed); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
		if got := committed.Offsets("a"); got[0] != 3 {
			t.Errorf("offsets of a: %v", got)
		}
	})
}

// TestCommitMetadata gives a note to the next owner.
func TestCommitMetadata(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		cluster, c := open(t, kfake.SeedTopics(1, "one"))
		write(t, cluster, "one", 0, "0")
		note := Position{Offset: 1, Metadata: "stream time 7"}
		s := join(t, c, SessionConfig{Topics: one("one"), ExactlyOnce: eo})
		s.begin()
		s.take(1)
		if p, ok := s.Position("one", 0); !ok || p != (Position{}) {
			t.Errorf("before: %v, %t", p, ok)
		}
		s.commit(Positions{"one": {0: note}}, true)
		if p, _ := s.Position("one", 0); p != note {
			t.Errorf("after: %v", p)
		}
		s.Close(t.Context())
		next := join(t, c, SessionConfig{Topics: one("one"), ExactlyOnce: eo})
		next.begin()
		write(t, cluster, "one", 0, "1")
		next.take(1)
		if p, _ := next.Position("one", 0); p != note {
			t.Errorf("of the next owner: %v", p)
		}
		if got, err := c.Committed(t.Context(), "g"); err != nil || got["one"][0] != note {
			t.Errorf("of the group: %v, %v", got, err)
		}
		if _, ok := next.Position("one", 1); ok {
			t.Error("there is a position of a partition that there is not")
		}
	})
}

// TestLedgerEpochs commits with each offset the leader epoch of the record before it.
func TestLedgerEpochs(t *testing.T) {
	t.Parallel()
	l := ledger{}
	l.begin("t", 0, Position{Offset: 10}, 2, 40)
	run := func(epochs ...int32) (rs []*kgo.Record) {
		for _, e := range epochs {
			rs = append(rs, &kgo.Record{Offset: l.get("t", 0).read + int64(len(rs)), LeaderEpoch: e})
		}
		return rs
	}
	l.polled("t", 0, run(2, 2), 40)       // 10 11
	l.polled("t", 0, run(3, 3, 5, 5), 40) // 12 13, 14 15
	l.polled("t", 0, run(5), 40)          // 16
	l.polled("u", 0, run(5), 40)
	check := func(offset int64, want int32) {
		t.Helper()
		if got := l.offsets(at("t", offset))["t"][0]; got != (kgo.EpochOffset{Epoch: want, Offset: offset}) {
			t.Errorf("%d: %v, want epoch %d", offset, got, want)
		}
	}
	for offset, epoch := range map[int64]int32{10: 2, 11: 2, 12: 2, 13: 3, 14: 3, 15: 5, 16: 5, 17: 5} {
		check(offset, epoch)
	}
	l.commit(at("t", 13))
	check(13, 3)
	check(14, 3)
	check(15, 5)
	l.commit(at("t", 16))
	if e := l.get("t", 0); e.epoch != 5 || len(e.epochs) != 1 || e.read != 17 {
		t.Errorf("%+v", e)
	}
	if diff := gocmp.Diff(map[string]map[int32]kgo.EpochOffset{"t": {0: {Epoch: 5, Offset: 16}}}, l.rewind(l.all())); diff != "" {
		t.Error(diff)
	}
	l.polled("t", 0, run(5, 6), 40)
	check(17, 5)
	check(18, 6)
	l.forget(Partitions{"t": {0}})
	l.commit(at("t", 17))
	if l.get("t", 0) != nil {
		t.Error("not forgotten")
	}
}

// TestPaused reads nothing before it is told to, and goes on where it was.
func TestPaused(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		cluster, c := open(t, kfake.SeedTopics(2, "two"))
		write(t, cluster, "two", 0, numbers(6)...)
		write(t, cluster, "two", 1, numbers(6)...)
		s := join(t, c, SessionConfig{Topics: one("two"), ExactlyOnce: eo, Paused: true})
		s.begun("two", 0)
		s.begun("two", 1)
		for range 3 {
			if n := s.poll(150*time.Millisecond, 100); n > 0 {
				t.Fatalf("paused, and read %v", s.read)
			}
		}
		s.begin()
		s.Resume(Partitions{"two": {1}})
		want(t, "the one that was resumed", s.take(3), lines("two", 1, 0, 3))
		s.Pause(Partitions{"two": {1}})
		s.Resume(Partitions{"two": {0}})
		want(t, "the other one", s.take(6), lines("two", 0, 0, 6))
		if n := s.poll(300*time.Millisecond, 100); n > 0 {
			t.Fatalf("paused, and read %v", s.read)
		}
		s.Resume(Partitions{"two": {1}})
		want(t, "after a pause", s.take(3), lines("two", 1, 3, 6))
		s.Pause(Partitions{"two": {0}})
		s.abort()
		s.begin()
		want(t, "after an abort with a pause", s.take(6), lines("two", 1, 0, 6))
		s.Pause(nil)
		s.Resume(nil)
		if n := s.poll(300*time.Millisecond, 100); n > 0 {
			t.Fatalf("paused, and read %v", s.read)
		}
	})
}

// begun waits until the reading of a partition has begun.
func (m *member) begun(topic string, partition int32) {
	m.t.Helper()
	for {
		if _, ok := m.Position(topic, partition); ok {
			return
		}
		m.poll(20*time.Millisecond, 1)
	}
}

// TestCopartitioned lets members share topics that belong together, come and go, with rounds open all the time.
func TestCopartitioned(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		_, c := open(t, kfake.SeedTopics(6, "a", "b"), kfake.SeedTopics(4, "c"))
		sc := SessionConfig{Topics: []SourceTopic{{Name: "a"}, {Name: "b"}, {Name: "c", Start: Latest}}, Copartitioned: [][]string{{"a", "b"}}, ExactlyOnce: eo}
		var members []*member
		settled := func() bool {
			total, most := Partitions{}, 0
			for _, m := range members {
				ps := m.Assigned()
				if gocmp.Diff(ps["a"], ps["b"]) != "" {
					return false
				}
				most = max(most, len(ps["a"])+len(ps["c"]))
				for topic, list := range ps {
					total[topic] = append(total[topic], list...)
				}
			}
			return len(total["a"]) == 6 && len(total["b"]) == 6 && len(total["c"]) == 4 && most <= (10+len(members)-1)/len(members)
		}
		work := func() {
			t.Helper()
			deadline := time.Now().Add(30 * time.Second)
			for !settled() {
				for _, m := range members {
					if !m.open {
						m.begin()
					}
					m.poll(10*time.Millisecond, 100)
					if m.Stale() {
						if _, err := m.Commit(t.Context(), nil); err != nil {
							t.Fatal(err)
						}
					}
				}
				if time.Now().After(deadline) {
					t.Fatal("the group does not settle")
				}
			}
		}
		for i := range 3 {
			sc.TransactionalID = fmt.Sprint(t.Name(), i)
			members = append(members, join(t, c, sc))
			work()
		}
		members[0].Close(t.Context())
		members = members[1:]
		work()
		for _, m := range members { // what the callback told comes to what the session says
			told := map[string]map[int32]bool{"a": {}, "b": {}, "c": {}}
			m.mu.Lock()
			for _, ch := range m.change {
				for _, gone := range []Partitions{ch.Revoked, ch.Lost} {
					for topic, ps := range gone {
						for _, p := range ps {
							delete(told[topic], p)
						}
					}
				}
				for topic, ps := range ch.Assigned {
					for _, p := range ps {
						told[topic][p] = true
					}
				}
			}
			m.mu.Unlock()
			for topic, ps := range m.Assigned() {
				if diff := gocmp.Diff(ps, slices.Sorted(maps.Keys(told[topic]))); diff != "" {
					t.Errorf("%s: %s", topic, diff)
				}
			}
		}
	})
}

// TestUnheardRevocations keeps a transaction open while two members join: the client library tells of the first
// revocation only.
func TestUnheardRevocations(t *testing.T) {
	t.Parallel()
	_, c := open(t, kfake.SeedTopics(12, "many"))
	sc := SessionConfig{Topics: one("many"), ExactlyOnce: true}
	sessions := []*member{}
	counts := func() (ns []int) {
		for _, s := range sessions {
			s.poll(10*time.Millisecond, 1)
			ns = append(ns, s.Assigned().Len())
		}
		return ns
	}
	for i, want := range [][]int{{12}, {6, 6}, {4, 4, 4}} {
		sc.TransactionalID = fmt.Sprint(t.Name(), i)
		m := join(t, c, sc)
		m.begin()
		sessions = append(sessions, m)
		deadline := time.Now().Add(20 * time.Second)
		for gocmp.Diff(want, counts()) != "" {
			if time.Now().After(deadline) {
				t.Fatalf("%v, want %v", counts(), want)
			}
		}
	}
	if !sessions[0].Doomed() {
		t.Error("the round goes on")
	}
	sessions[0].commit(nil, false)
	sessions[0].begin()
	if sessions[0].Doomed() {
		t.Error("the next round is doomed too")
	}
	sessions[0].commit(nil, true)
}

// TestReassigned tells of partitions that went, or went and came back, without a word of the library.
func TestReassigned(t *testing.T) {
	t.Parallel()
	k, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var got []Change
	s := &Session{
		config: SessionConfig{Changed: func(c Change) { got = append(got, c) }}, turn: make(chan struct{}, 1),
		assigned: map[string]map[int32]struct{}{}, ledger: ledger{},
	}
	s.turn <- struct{}{}
	s.heard(Partitions{"x": {1, 2, 3}})
	s.assign(k, Partitions{"x": {1, 2, 3}})
	s.heard(Partitions{"x": {2, 3}})
	s.assign(k, Partitions{"x": {3}})
	s.assign(k, nil)
	want := []Change{
		{Assigned: Partitions{"x": {1, 2, 3}}, Revoked: Partitions{}, Lost: Partitions{}},
		{Assigned: Partitions{"x": {3}}, Revoked: Partitions{"x": {1}}, Lost: Partitions{"x": {3}}},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(Partitions{"x": {2, 3}}, s.Assigned()); diff != "" {
		t.Error(diff)
	}
}

// TestSendAtOnce lets several tasks send, with little room: each one's records stay in order.
func TestSendAtOnce(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		_, c := open(t, kfake.SeedTopics(4, "out"))
		s := join(t, c, SessionConfig{Topics: one("t"), ExactlyOnce: eo, MaxInFlight: 3000})
		s.begin()
		const tasks, boxes, records = 8, 20, 10
		var working sync.WaitGroup
		errs := make([]error, tasks)
		for task := range tasks {
			working.Go(func() {
				for b := range boxes {
					o := s.Outbox()
					for r := range records {
						o.AddTo("out", int32(task%4), []byte("key"), 1)
						o.ValueCopy(fmt.Appendf(nil, "%d %d", task, b*records+r))
					}
					if err := s.Send(t.Context(), o); err != nil {
						errs[task] = err
					}
				}
			})
		}
		working.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		s.commit(nil, true)
		if s.inFlight.used != 0 || len(s.inFlight.waiting) != 0 {
			t.Errorf("%d bytes and %d waiters are left", s.inFlight.used, len(s.inFlight.waiting))
		}
		next := map[string]int{}
		end := map[int32]int64{}
		for _, r := range tap(t, c, TapConfig{Topic: "out"}) {
			task, n, _ := strings.Cut(string(r.Value), " ")
			if got := strconv.Itoa(next[task]); got != n || task != strconv.Itoa(int(r.Partition)) && task != strconv.Itoa(int(r.Partition)+4) {
				t.Fatalf("%s of task %s in partition %d, want %s", n, task, r.Partition, got)
			}
			next[task]++
			end[r.Partition] = r.Offset + 1
		}
		for p := range int32(4) {
			if n, ok := s.Written("out", p); !ok || n != end[p] || end[p] != 2*boxes*records {
				t.Errorf("partition %d: written up to %d, %t; it ends at %d", p, n, ok, end[p])
			}
		}
	})
}

func TestWritten(t *testing.T) {
	guarantees(t, func(t *testing.T, eo bool) {
		_, c := open(t, kfake.SeedTopics(3, "out"))
		s := join(t, c, SessionConfig{Topics: one("t"), ExactlyOnce: eo})
		round := func(fill func(o *Outbox)) (bool, error) {
			t.Helper()
			return s.round(nil, fill)
		}
		check := func(topic string, partition int32, want int64) {
			t.Helper()
			if n, ok := s.Written(topic, partition); n != want || ok != (want > 0) {
				t.Errorf("%s/%d: %d, %t, want %d", topic, partition, n, ok, want)
			}
		}
		check("out", 0, 0)
		check("out", -1, 0)
		key := []byte("a key of partition 0 or 1 or 2")
		if ok, err := round(func(o *Outbox) {
			for p := range int32(3) {
				o.AddTo("out", p, key, 1)
				o.Value(nil)
			}
			o.AddTo("out", 1, nil, 1)
			o.Add("t", 1, nil, 1) // not with a partition of its own
		}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		check("out", 0, 1)
		check("out", 1, 2)
		check("out", 2, 1)
		check("out", 3, 0)
		check("t", 1, 0)
		if ok, err := round(func(o *Outbox) {
			o.AddTo("out", 1, key, 1)
			o.AddTo("out", 1, key, 1)
			o.Drop()
		}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		check("out", 0, 0)
		want := int64(3)
		if eo {
			want = 4 // after the marker of the first transaction
		}
		check("out", 1, want)
		ok, err := round(func(o *Outbox) { o.AddTo("out", 3, key, 1) })
		if w, is := errors.AsType[*WriteError](err); ok || !is || w.Topic != "out" {
			t.Errorf("a partition that there is not: %t, %v", ok, err)
		}
		check("out", 3, 0)
		if ok, err := round(func(o *Outbox) { o.AddTo("out", 0, key, 1) }); !ok || err != nil {
			t.Errorf("the next round: %t, %v", ok, err)
		}
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	g := gate{most: 10}
	ctx, cancel := context.WithCancel(t.Context())
	enter := func(ctx context.Context, n int64) chan error {
		g.mu.Lock()
		before := len(g.waiting)
		g.mu.Unlock()
		done := make(chan error, 1)
		go func() { done <- g.enter(ctx, n) }()
		for {
			g.mu.Lock()
			waits := len(g.waiting) > before
			g.mu.Unlock()
			if waits || len(done) > 0 {
				return done
			}
		}
	}
	ready := func(done chan error, want bool) {
		t.Helper()
		if got := len(done) > 0; got != want {
			t.Fatalf("ready: %t, want %t", got, want)
		}
	}
	large := enter(ctx, 25) // alone
	ready(large, true)
	a, b, c, d := enter(t.Context(), 4), enter(ctx, 9), enter(t.Context(), 6), enter(t.Context(), 1)
	ready(a, false)
	g.leave(25)
	if err := <-a; err != nil {
		t.Fatal(err)
	}
	ready(c, false) // fits, but is not the first
	ready(b, false)
	cancel()
	if err := <-b; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := <-c; err != nil {
		t.Fatal(err)
	}
	ready(d, false)
	g.leave(4)
	if err := <-d; err != nil {
		t.Fatal(err)
	}
	if g.used != 7 {
		t.Errorf("%d under way", g.used)
	}
	if err := g.enter(ctx, 100); !errors.Is(err, context.Canceled) || g.used != 7 || len(g.waiting) != 0 {
		t.Errorf("%v, %d under way, %d wait", err, g.used, len(g.waiting))
	}
}

func TestRunRead(t *testing.T) { // not parallel: it counts allocations
	r := Run{Topic: "t", records: []*kgo.Record{
		{Topic: "t", Partition: 2, Offset: 7, Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(5), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
		{Topic: "t", Partition: 2, Offset: 8, Attrs: kgo.RecordAttrs{}},
	}}
	raw := record.Raw{Headers: make([]record.Header, 0, 2)}
	if n := testing.AllocsPerRun(100, func() {
		r.Read(1, &raw)
		r.Read(0, &raw)
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
	if diff := gocmp.Diff(record.Raw{
		Topic: "t", Partition: 2, Offset: 7, Key: []byte("k"), Value: []byte("v"), Timestamp: 5, Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
	}, raw); diff != "" {
		t.Error(diff)
	}
}

// TestTransactionOfNothing ends transactions without a record read, which the library does without a heartbeat.
func TestTransactionOfNothing(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(1, "one"))
	write(t, cluster, "one", 0, numbers(4)...)
	s := join(t, c, SessionConfig{Topics: one("one"), ExactlyOnce: true})
	for range 3 { // the first rounds that write to a topic may be undone
		if _, err := s.round(nil, func(o *Outbox) { o.Add("t", 0, nil, 1) }); err != nil {
			t.Fatal(err)
		}
	}
	s.begin()
	s.take(4)
	s.commit(nil, true)
	for i := range int64(4) {
		if ok, err := s.round(at("one", i+1), func(o *Outbox) { o.Add("t", 0, nil, 1) }); !ok || err != nil {
			t.Fatal(ok, err)
		}
		got, err := c.Committed(t.Context(), "g")
		if diff := gocmp.Diff(at("one", i+1), got); diff != "" || err != nil {
			t.Fatalf("%v: %s", err, diff)
		}
	}
}
