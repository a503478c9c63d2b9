package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactions writes to the topic log in transactions.
type transactions struct {
	*kgo.Client
	t *testing.T
}

func newTransactions(t *testing.T, cluster *kfake.Cluster, id string) *transactions {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return &transactions{k, t}
}

// write opens a transaction and writes values to a partition of it.
func (x *transactions) write(partition int32, values ...string) {
	x.t.Helper()
	if err := x.BeginTransaction(); err != nil {
		x.t.Fatal(err)
	}
	for _, v := range values {
		if err := x.ProduceSync(x.t.Context(), &kgo.Record{Topic: "log", Partition: partition, Value: []byte(v)}).FirstErr(); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *transactions) end(how kgo.TransactionEndTry) {
	x.t.Helper()
	if err := x.EndTransaction(x.t.Context(), how); err != nil {
		x.t.Fatal(err)
	}
}

// reading collects what Read gives.
type reading struct {
	mu     sync.Mutex
	values map[string][]string // by topic/partition
	next   map[string]int64
	goal   map[string]int64
	steps  int
	faults []string
}

func newReading() *reading {
	return &reading{values: map[string][]string{}, next: map[string]int64{}, goal: map[string]int64{}}
}

func (r *reading) step(s Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	key := fmt.Sprintf("%s/%d", s.Topic, s.Partition)
	from, told := r.next[key]
	for _, k := range s.records {
		if k.Offset < from || k.Offset >= s.Next || k.Topic != s.Topic || k.Partition != s.Partition {
			r.faults = append(r.faults, fmt.Sprintf("%s: offset %d between %d and %d", key, k.Offset, from, s.Next))
		}
		from = k.Offset + 1
		r.values[key] = append(r.values[key], string(k.Value))
	}
	if told && s.Next <= r.next[key] {
		r.faults = append(r.faults, fmt.Sprintf("%s: from %d to %d", key, r.next[key], s.Next))
	}
	r.next[key], r.goal[key] = s.Next, s.Goal
	return nil
}

// done checks that every partition was read to its goal.
func (r *reading) done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(r.goal, r.next); diff != "" || len(r.faults) > 0 {
		t.Errorf("not to the goal: %s, faults %v", diff, r.faults)
	}
}

// TestRead reads partitions that end in every way.
func TestRead(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(4, "log", "other"))
	x := newTransactions(t, cluster, "x")
	x.write(0, "a", "b") // 0 1, marker 2
	x.end(kgo.TryCommit)
	x.write(0, "no", "no") // 3 4, marker 5
	x.end(kgo.TryAbort)
	x.write(1, "no") // 0, marker 1
	x.end(kgo.TryAbort)
	write(t, cluster, "log", 2, "a", "b", "c", "d")
	write(t, cluster, "other", 3, numbers(50)...)
	from := map[string]Offsets{"log": {0: 0, 1: 0, 2: 1, 3: 0}, "other": {3: 50, 0: 0}}
	for _, workers := range []int{0, 1, 3} {
		r := newReading()
		r.done(t, c.Read(t.Context(), ReadConfig{From: from, Workers: workers}, r.step))
		want := map[string][]string{"log/0": {"a", "b"}, "log/2": {"b", "c", "d"}}
		if diff := gocmp.Diff(want, r.values); diff != "" {
			t.Error(diff)
		}
		goals := map[string]int64{"log/0": 6, "log/1": 2, "log/2": 4, "log/3": 0, "other/3": 50, "other/0": 0}
		if diff := gocmp.Diff(goals, r.goal); diff != "" {
			t.Error(diff)
		}
	}
	r := newReading()
	r.done(t, c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 1}}, Uncommitted: true}, r.step))
	if diff := gocmp.Diff(map[string][]string{"log/0": {"b", "no", "no"}}, r.values); diff != "" {
		t.Error(diff)
	}
	r = newReading()
	r.done(t, c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 3}}}, r.step)) // in the midst of an aborted transaction
	if len(r.values) > 0 {
		t.Errorf("read %v", r.values)
	}
	if err := c.Read(t.Context(), ReadConfig{}, r.step); err != nil {
		t.Errorf("nothing to read: %v", err)
	}
}

// TestReadWaits waits for a transaction that is open below the high watermark, and stops there although more comes.
func TestReadWaits(t *testing.T) {
	t.Parallel()
	for _, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			t.Parallel()
			cluster, c := open(t, kfake.SeedTopics(1, "log"))
			write(t, cluster, "log", 0, "0", "1")
			x := newTransactions(t, cluster, "x")
			x.write(0, "2", "3")
			write(t, cluster, "log", 0, "4")
			r, told, done := newReading(), make(chan Step, 100), make(chan error)
			go func() {
				done <- c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 0}}}, func(s Step) error {
					told <- s
					return r.step(s)
				})
			}()
			if s := <-told; s.Next != 2 || s.Goal != 5 || s.Len() != 2 {
				t.Errorf("before the transaction: %+v", s)
			}
			write(t, cluster, "log", 0, "5") // beyond the goal
			select {
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			case s := <-told:
				t.Fatalf("it did not wait: %+v", s)
			case <-time.After(2 * readFetchWait / 3):
			}
			x.end(how)
			r.done(t, <-done)
			want := []string{"0", "1", "2", "3", "4"}
			if how == kgo.TryAbort {
				want = []string{"0", "1", "4"}
			}
			if diff := gocmp.Diff(map[string][]string{"log/0": want}, r.values); diff != "" || r.next["log/0"] != 5 {
				t.Errorf("up to %v: %s", r.next, diff)
			}
		})
	}
}

// bulk writes n records to each partition of a topic, in batches.
func bulk(tb testing.TB, cluster *kfake.Cluster, topic string, partitions, n, size int) {
	tb.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	defer k.Close()
	for i := range n {
		for p := range partitions {
			v := fmt.Appendf(make([]byte, 0, size), "%d", i)
			k.Produce(tb.Context(), &kgo.Record{Topic: topic, Partition: int32(p), Value: v[:max(len(v), size)]}, func(_ *kgo.Record, err error) {
				if err != nil {
					tb.Error(err)
				}
			})
		}
	}
	if err := k.Flush(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// TestReadThroughFaults reads much while leaders move and brokers answer with errors.
func TestReadThroughFaults(t *testing.T) {
	t.Parallel()
	const partitions, n = 6, 3000
	cluster, c := open(t, kfake.SeedTopics(partitions, "log"))
	bulk(t, cluster, "log", partitions, n, 0)
	from := Offsets{}
	for p := range int32(partitions) {
		from[p] = 0
	}
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition, kerr.OffsetOutOfRange, kerr.OffsetNotAvailable} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: e, Count: 3})
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: 2})
	r := newReading()
	r.done(t, c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": from}, Workers: 2}, func(s Step) error {
		if s.Partition == 0 {
			cluster.ShufflePartitionLeaders()
		}
		return r.step(s)
	}))
	for p := range partitions {
		want(t, "partition "+strconv.Itoa(p), r.values[fmt.Sprint("log/", p)], numbers(n))
	}
}

// TestReadUntil reads a range whose end is known, found by time.
func TestReadUntil(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(1, "log"))
	before := time.Now().Add(-time.Minute)
	write(t, cluster, "log", 0, numbers(10)...)
	for at, want := range map[time.Time]int64{before: 0, time.Now().Add(time.Minute): 10} {
		offsets, err := c.OffsetsAfter(t.Context(), "log", at.UnixMilli())
		if diff := gocmp.Diff(Offsets{0: want}, offsets); err != nil || diff != "" {
			t.Errorf("offsets after %v: %v %s", at, err, diff)
		}
	}
	_, err := c.OffsetsAfter(t.Context(), "nowhere", 0)
	wantCode(t, err, CodeUnknownTopic, "nowhere")
	r := newReading()
	from := map[string]Offsets{"log": {0: 2}}
	if err := c.Read(t.Context(), ReadConfig{From: from, Until: map[string]Offsets{"log": {0: 7}}}, r.step); err != nil {
		t.Fatal(err)
	}
	want(t, "range", r.values["log/0"], numbers(7)[2:])
	err = c.Read(t.Context(), ReadConfig{From: from, Until: map[string]Offsets{"log": {0: 11}}}, r.step)
	wantCode(t, err, CodeOutOfRange, "log")
}

// TestReadOutOfRange names all partitions that do not have the offsets, before anything is read.
func TestReadOutOfRange(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(3, "log"))
	for p := range int32(3) {
		write(t, cluster, "log", p, numbers(10)...)
	}
	if err := c.DeleteRecords(t.Context(), "log", Offsets{0: 4, 1: 10}); err != nil {
		t.Fatal(err)
	}
	read := func(rc ReadConfig) error {
		return c.Read(t.Context(), rc, func(s Step) error { return fmt.Errorf("called with %+v", s) })
	}
	err := read(ReadConfig{From: map[string]Offsets{"log": {0: 3, 1: 10, 2: 11}}})
	wantCode(t, err, CodeOutOfRange, "log")
	out, ok := errors.AsType[*RangeError](err)
	if !ok {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]OutOfRange{{"log", 0, 3, 4, 10}, {"log", 2, 11, 0, 10}}, out.Partitions); diff != "" {
		t.Error(diff)
	}
	wantCode(t, read(ReadConfig{From: map[string]Offsets{"log": {7: 0}}}), CodeUnknownTopic, "log/7")
	wantCode(t, read(ReadConfig{From: map[string]Offsets{"nowhere": {0: 0}, "log": {0: 0}, "away": {0: 0}}}), CodeUnknownTopic, "away nowhere")
	wantCode(t, read(ReadConfig{From: map[string]Offsets{"log": {0: 4}}, IDs: map[string][16]byte{"log": {1}}}), CodeTopicChanged, "log")
	ts, err := c.Topics(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	r := newReading()
	r.done(t, c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 4}}, IDs: map[string][16]byte{"log": ts[0].ID}}, r.step))
	want(t, "with the right id", r.values["log/0"], numbers(10)[4:])
}

// TestReadLosesItsPlace lets the records go that are to be read next.
func TestReadLosesItsPlace(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(1, "log"))
	write(t, cluster, "log", 0, numbers(4)...)
	x := newTransactions(t, cluster, "x")
	x.write(0, "open")
	write(t, cluster, "log", 0, "5")
	first := true
	err := c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 0}}}, func(Step) error {
		if first {
			first = false
			x.end(kgo.TryCommit)
			return c.DeleteRecords(t.Context(), "log", Offsets{0: 7})
		}
		return nil
	})
	if out, ok := errors.AsType[*RangeError](err); ok {
		if diff := gocmp.Diff([]OutOfRange{{"log", 0, 4, 7, 7}}, out.Partitions); diff != "" {
			t.Error(diff)
		}
	} else if err != nil { // unless the rest was on its way already
		t.Error(err)
	}
}

// TestReadTopicGoes deletes the topic that is read, and makes it anew.
func TestReadTopicGoes(t *testing.T) {
	t.Parallel()
	for _, anew := range []bool{false, true} {
		t.Run(strconv.FormatBool(anew), func(t *testing.T) {
			t.Parallel()
			cluster, c := open(t, kfake.SeedTopics(1, "log"))
			write(t, cluster, "log", 0, "0")
			err := c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 0}}, Follow: true}, func(Step) error {
				if _, err := c.admin.DeleteTopics(t.Context(), "log"); err != nil || !anew {
					return err
				}
				return c.CreateTopics(t.Context(), NewTopic{Name: "log", Partitions: 1, Replicas: 1})
			})
			if anew {
				wantCode(t, err, CodeTopicChanged, "log")
			} else {
				wantCode(t, err, CodeUnknownTopic, "log")
			}
		})
	}
}

// TestReadHoles reads a partition whose last records were compacted away, and one of which a new leader has less than
// the old one.
func TestReadHoles(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(1, "log"))
	write(t, cluster, "log", 0, numbers(5)...)
	more := int64(3)
	lists := 0
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req, ok := r.(*kmsg.ListOffsetsRequest)
		if !ok || req.Topics[0].Partitions[0].Timestamp != -1 {
			return nil, nil, false
		}
		if lists++; lists > 1 { // from the second time on the truth
			return nil, nil, false
		}
		resp, ok := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		if !ok {
			return nil, nil, false
		}
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = "log"
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset = 5 + more
		topic.Partitions = append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	r := newReading()
	err := c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 0}}}, r.step)
	if err != nil || r.next["log/0"] != 5 || r.goal["log/0"] != 5 {
		t.Errorf("a shorter partition: %v, up to %v of %v", err, r.next, r.goal)
	}
	want(t, "of the shorter partition", r.values["log/0"], numbers(5))

	fetches := 0
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req, ok := r.(*kmsg.FetchRequest)
		if !ok {
			return nil, nil, false
		}
		resp, ok := req.ResponseKind().(*kmsg.FetchResponse)
		if fetches++; !ok {
			return nil, nil, false
		}
		for _, rt := range req.Topics {
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic, topic.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				p := kmsg.NewFetchResponseTopicPartition()
				p.Partition, p.HighWatermark, p.LastStableOffset = rp.Partition, 5, 5
				if fetches == 1 {
					p.LastStableOffset = 3 // a transaction is open
				}
				topic.Partitions = append(topic.Partitions, p)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	r = newReading()
	r.done(t, c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 2}}}, r.step))
	if fetches != 2 || r.steps != 1 || r.goal["log/0"] != 5 || len(r.values) > 0 {
		t.Errorf("%d fetches, %d steps, goal %v, %v", fetches, r.steps, r.goal, r.values)
	}
}

func TestReadFollows(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(2, "log"))
	write(t, cluster, "log", 0, numbers(3)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := newReading()
	err := c.Read(ctx, ReadConfig{From: map[string]Offsets{"log": {0: 0, 1: 0}}, Follow: true}, func(s Step) error {
		if err := r.step(s); err != nil {
			return err
		}
		switch {
		case len(r.values["log/1"]) == 2:
			cancel()
		case s.Partition == 0 && s.Next == s.Goal:
			write(t, cluster, "log", 1, "0", "1")
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(r.faults) > 0 {
		t.Errorf("%v, %v", err, r.faults)
	}
	if diff := gocmp.Diff(map[string][]string{"log/0": numbers(3), "log/1": numbers(2)}, r.values); diff != "" {
		t.Error(diff)
	}
	if r.goal["log/1"] != 0 || r.goal["log/0"] != 3 {
		t.Errorf("goals %v", r.goal)
	}
	boom := errors.New("boom")
	for _, workers := range []int{1, 2} {
		err = c.Read(t.Context(), ReadConfig{From: map[string]Offsets{"log": {0: 0, 1: 0}}, Workers: workers}, func(Step) error { return boom })
		if !errors.Is(err, boom) {
			t.Errorf("error of the function: %v", err)
		}
	}
}

// TestReadGivesUp loses its brokers for good.
func TestReadGivesUp(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(1, "log"))
	write(t, cluster, "log", 0, "0")
	r := &reader{client: c, reach: newReach()}
	r.reach.answered.Store(time.Now().Add(-2 * giveUp).UnixNano())
	wantCode(t, r.trouble(t.Context(), "log", context.DeadlineExceeded), CodeUnavailable, "127.0.0.1")
	wantCode(t, r.trouble(t.Context(), "log", kerr.TopicAuthorizationFailed), CodeUnauthorized, "log")
	r.reach.answered.Store(time.Now().UnixNano())
	if err := r.trouble(t.Context(), "log", context.DeadlineExceeded); err != nil {
		t.Error(err)
	}
}

func TestEnsureTopics(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	topics := []NewTopic{
		{Name: "app-store-changelog", Partitions: 3, Configs: map[string]string{"cleanup.policy": "compact"}},
		{Name: "app-by-key-repartition", Partitions: 3, Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}},
	}
	found, err := c.Topics(t.Context(), "t", "app-store-changelog", "app-by-key-repartition")
	if diff := gocmp.Diff([]string{"app-store-changelog", "app-by-key-repartition"}, Missing(err)); diff != "" || len(found) != 1 || found[0].Name != "t" {
		t.Errorf("%v, %v: %s", found, err, diff)
	}
	var racing sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		racing.Go(func() { errs[i] = c.EnsureTopics(t.Context(), topics...) })
	}
	racing.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	l, err := c.Limits(t.Context(), topics[0].Name)
	if err != nil || !l.Compacted {
		t.Errorf("limits %+v, %v", l, err)
	}
	topics[0].Partitions = 4
	err = c.EnsureTopics(t.Context(), slices.Concat(topics, []NewTopic{{Name: "t"}, {Name: "another", Partitions: 1}})...)
	wantCode(t, err, CodeConfig, "app-store-changelog")
	if ts, err := c.Topics(t.Context(), "another"); err != nil || len(ts[0].Partitions) != 1 {
		t.Errorf("%v, %v", ts, err)
	}
	if Missing(err) != nil || Missing(nil) != nil {
		t.Error("topics are missing")
	}
	wantCode(t, c.DeleteRecords(t.Context(), "nowhere", Offsets{0: 1}), CodeUnknownTopic, "nowhere")
}

func BenchmarkRead(b *testing.B) {
	const partitions, n = 4, 50_000
	cluster, c := open(b, kfake.SeedTopics(partitions, "log"))
	bulk(b, cluster, "log", partitions, n, 100)
	from := Offsets{}
	for p := range int32(partitions) {
		from[p] = 0
	}
	for b.Loop() {
		got := 0
		if err := c.Read(b.Context(), ReadConfig{From: map[string]Offsets{"log": from}}, func(s Step) error {
			got += s.Len()
			return nil
		}); err != nil || got != partitions*n {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(b.N)*partitions*n/b.Elapsed().Seconds(), "rec/s")
}
