//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// TestSessionsOnKafka holds what the development broker is believed to do like Kafka against Kafka itself: positions
// that are not what was polled, notes with them, tasks of several topics, partitions that are chosen, and reading to
// the high watermark.
func TestSessionsOnKafka(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 1})
	c, err := kafka.New(kafka.Config{Brokers: cluster.Bootstrap()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, exactlyOnce := range []bool{true, false} {
		t.Run(fmt.Sprintf("exactly once %t", exactlyOnce), func(t *testing.T) {
			name := func(s string) string { return s + "-" + strconv.FormatBool(exactlyOnce) }
			a, b, log := name("a"), name("b"), name("log")
			if err := c.EnsureTopics(t.Context(), kafka.NewTopic{Name: a, Partitions: 4}, kafka.NewTopic{Name: b, Partitions: 4},
				kafka.NewTopic{Name: log, Partitions: 4, Configs: map[string]string{"cleanup.policy": "compact"}}); err != nil {
				t.Fatal(err)
			}
			if err := c.EnsureTopics(t.Context(), kafka.NewTopic{Name: a, Partitions: 3}); err == nil {
				t.Error("a topic with other partitions is taken")
			}
			p := &pair{t: t, client: c, log: log, sc: kafka.SessionConfig{
				Group: name("g"), Topics: []kafka.SourceTopic{{Name: a}, {Name: b}}, Copartitioned: [][]string{{a, b}}, ExactlyOnce: exactlyOnce, Paused: true,
			}}
			p.run(a, b)
		})
	}
}

// pair is one or two sessions of a group that read two topics as one.
type pair struct {
	t      *testing.T
	client *kafka.Client
	sc     kafka.SessionConfig
	log    string
}

func (p *pair) join(id string) *kafka.Session {
	p.t.Helper()
	sc := p.sc
	if sc.ExactlyOnce {
		sc.TransactionalID = sc.Group + id
	}
	s, err := p.client.Join(p.t.Context(), sc)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// write writes n records to a topic, of many keys.
func (p *pair) write(topic string, n int) {
	p.t.Helper()
	w, err := p.client.NewProducer(kafka.ProducerConfig{Topic: topic})
	if err != nil {
		p.t.Fatal(err)
	}
	defer w.Close()
	for i := range n {
		if err := w.Send(p.t.Context(), &record.Raw{Key: strconv.AppendInt(nil, int64(i), 10), Value: []byte("v")}); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := w.Flush(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// read polls until it has n records, and returns how many of each partition and the position after them.
func (p *pair) read(s *kafka.Session, n int) (map[string]int, kafka.Positions) {
	p.t.Helper()
	counts, at := map[string]int{}, kafka.Positions{}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	for got := 0; got < n; {
		s.Resume(s.Assigned())
		runs, err := s.Poll(ctx, time.Second, n-got)
		if err != nil || ctx.Err() != nil {
			p.t.Fatalf("%d of %d records: %v", got, n, err)
		}
		for _, r := range runs {
			got += r.Len()
			counts[fmt.Sprintf("%s/%d", r.Topic, r.Partition)] += r.Len()
			at.Set(r.Topic, r.Partition, kafka.Position{Offset: r.Last() + 1, Metadata: "up to " + strconv.FormatInt(r.Last(), 10)})
		}
	}
	return counts, at
}

func (p *pair) begin(s *kafka.Session) {
	p.t.Helper()
	if err := s.Begin(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) commit(s *kafka.Session, at kafka.Positions) {
	p.t.Helper()
	if ok, err := s.Commit(p.t.Context(), at); !ok || err != nil {
		p.t.Fatalf("commit: %t, %v", ok, err)
	}
}

func (p *pair) run(a, b string) {
	const n = 200
	p.write(a, n)
	p.write(b, n)
	first := p.join("1")
	defer func() { first.Close(p.t.Context()) }()
	if runs, err := first.Poll(p.t.Context(), 4*time.Second, 10); len(runs) > 0 || err != nil {
		p.t.Fatalf("paused, and read %v, %v", runs, err)
	}
	p.begin(first)
	_, at := p.read(first, 2*n)
	held := kafka.Positions{a: at[a]} // nothing of b, and of a less than was read
	for partition, to := range at[a] {
		to.Offset--
		held[a][partition] = to
	}
	o := first.Outbox()
	for partition := range int32(4) {
		for i := range 3 {
			o.AddTo(p.log, partition, strconv.AppendInt(nil, int64(i), 10), time.Now().UnixMilli())
			o.ValueCopy([]byte("state"))
		}
	}
	if err := first.Send(p.t.Context(), o); err != nil {
		p.t.Fatal(err)
	}
	p.commit(first, held)
	p.begin(first)
	p.write(a, 10)
	if counts, _ := p.read(first, 10); sum(counts) != 10 {
		p.t.Errorf("after the commit: %v", counts)
	}
	if err := first.Abort(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.begin(first)
	again, _ := p.read(first, n+10+len(held[a]))
	if got := sum(again); got != n+10+len(held[a]) {
		p.t.Errorf("after the abort: %v", again)
	}
	first.Close(p.t.Context()) // as a crash: the round is open
	p.settle()
	if diff := cmp.Diff(held, p.committed()); diff != "" {
		p.t.Errorf("committed: %s", diff)
	}
	p.restore()
	first = p.join("1")
	p.begin(first)
	third, at := p.read(first, n+10+len(held[a]))
	if diff := cmp.Diff(again, third); diff != "" {
		p.t.Errorf("the next member: %s", diff)
	}
	for partition, to := range held[a] {
		if got, ok := first.Position(a, partition); !ok || got != to {
			p.t.Errorf("%s/%d begins at %v, %t", a, partition, got, ok)
		}
	}
	p.commit(first, at)
	p.share(first, a, b)
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// settle waits until the brokers have marked what was committed: they answer a commit before they do.
func (p *pair) settle() {
	p.t.Helper()
	ctx := deadline(p.t, 30*time.Second)
	err := poll(ctx, func() (bool, error) {
		ends, err := p.client.EndOffsets(ctx, p.log, false)
		if err != nil || len(p.committed()) == 0 {
			return false, err
		}
		for _, end := range ends {
			if p.sc.ExactlyOnce && end < 4 {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		p.t.Errorf("what was committed is not to be seen: %v", err)
	}
}

func (p *pair) committed() kafka.Positions {
	p.t.Helper()
	at, err := p.client.Committed(p.t.Context(), p.sc.Group)
	if err != nil {
		p.t.Fatal(err)
	}
	return at
}

// restore reads what the first round wrote to chosen partitions.
func (p *pair) restore() {
	p.t.Helper()
	from, next, rows := kafka.Offsets{0: 0, 1: 0, 2: 0, 3: 0}, map[int32]int64{}, map[int32]int{}
	err := p.client.Read(p.t.Context(), kafka.ReadConfig{From: map[string]kafka.Offsets{p.log: from}}, func(s kafka.Step) error {
		rows[s.Partition] += s.Len()
		if next[s.Partition] = s.Next; s.Goal < s.Next {
			return fmt.Errorf("%d beyond %d", s.Next, s.Goal)
		}
		return nil
	})
	if err != nil {
		p.t.Error(err)
	}
	end := int64(3)
	if p.sc.ExactlyOnce {
		end = 4 // with the marker of the transaction
	}
	if diff := cmp.Diff(map[int32]int{0: 3, 1: 3, 2: 3, 3: 3}, rows); diff != "" {
		p.t.Errorf("restored: %s", diff)
	}
	if diff := cmp.Diff(map[int32]int64{0: end, 1: end, 2: end, 3: end}, next); diff != "" {
		p.t.Errorf("restored up to: %s", diff)
	}
	if err := p.client.DeleteRecords(p.t.Context(), p.sc.Topics[0].Name, kafka.Offsets{0: 1}); err != nil {
		p.t.Error(err)
	}
	err = p.client.Read(p.t.Context(), kafka.ReadConfig{From: map[string]kafka.Offsets{p.sc.Topics[0].Name: {0: 0}}}, func(kafka.Step) error { return nil })
	if out, ok := errors.AsType[*kafka.RangeError](err); !ok || out.Partitions[0].Start != 1 {
		p.t.Errorf("deleted records: %v", err)
	}
}

// share lets a second member join, and work go on until each has its half of the tasks.
func (p *pair) share(first *kafka.Session, a, b string) {
	p.t.Helper()
	second := p.join("2")
	defer second.Close(p.t.Context())
	deadline := time.Now().Add(time.Minute)
	for {
		halves := 0
		for _, s := range []*kafka.Session{first, second} {
			p.begin(s)
			if _, err := s.Poll(p.t.Context(), 50*time.Millisecond, 100); err != nil {
				p.t.Fatal(err)
			}
			if _, err := s.Commit(p.t.Context(), nil); err != nil {
				p.t.Fatal(err)
			}
			ps := s.Assigned()
			if diff := cmp.Diff(ps[a], ps[b]); diff == "" && len(ps[a]) == 2 {
				halves++
			}
		}
		if halves == 2 {
			break
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%v and %v", first.Assigned(), second.Assigned())
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(first.Assigned()[a], second.Assigned()[a])))
	if diff := cmp.Diff([]int32{0, 1, 2, 3}, all); diff != "" {
		p.t.Error(diff)
	}
	if names := slices.Sorted(maps.Keys(second.Assigned())); !slices.Equal(names, []string{a, b}) {
		p.t.Errorf("the second has %v", names)
	}
}
