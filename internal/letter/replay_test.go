package letter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Names in all tests.
const (
	source = "houses"
	dead   = "houses.dlq"
	group  = "house-prices"
)

// post is a cluster with a source topic and one of dead letters.
type post struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kafka.Client
	stamp   int64 // of all records
	n       int   // letters so far
}

func newPost(t *testing.T) *post {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, dead))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.CreateTopic(source, 3, map[string]string{"max.message.bytes": "900000"}); err != nil {
		t.Fatal(err)
	}
	p := &post{t: t, cluster: c, stamp: time.Now().UnixMilli() - 60_000}
	p.client = p.newClient(nil)
	return p
}

func (p *post) newClient(dial kafka.Dialer) *kafka.Client {
	p.t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: p.cluster.ListenAddrs(), Dial: dial})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// write appends records to a topic.
func (p *post) write(topic string, rs ...record.Raw) {
	p.t.Helper()
	w, err := p.client.NewProducer(kafka.ProducerConfig{Topic: topic})
	if err != nil {
		p.t.Fatal(err)
	}
	defer w.Close()
	for i := range rs {
		if err := w.Send(p.t.Context(), &rs[i]); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := w.Flush(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// read returns what is committed in a topic.
func (p *post) read(topic string) []record.Raw {
	p.t.Helper()
	var all []record.Raw
	err := p.client.Tap(p.t.Context(), kafka.TapConfig{Topic: topic}, func(rs []record.Raw) error {
		all = append(all, rs...)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// letter returns a dead letter of a record of the source; change changes its own headers, where "" takes one out.
func (p *post) letter(r record.Raw, change map[string]string) record.Raw {
	r.Topic, r.Timestamp, r.Offset = source, p.stamp, int64(p.n)
	p.n++
	own := map[string]string{
		task.LetterID: fmt.Sprintf("%032x", r.Offset), task.LetterTopic: source, task.LetterPartition: strconv.Itoa(int(r.Partition)),
		task.LetterOffset: strconv.FormatInt(r.Offset, 10), task.LetterTimestamp: strconv.FormatInt(p.stamp, 10), task.LetterGroup: group,
		task.LetterNode: "score", task.LetterStage: "decode", task.LetterClass: "invalid_json", task.LetterAttempt: "1", task.LetterFirstSeen: strconv.FormatInt(p.stamp, 10),
	}
	maps.Copy(own, change)
	for _, key := range slices.Sorted(maps.Keys(own)) {
		if own[key] != "" {
			r.Headers = append(r.Headers, record.Header{Key: key, Value: []byte(own[key])})
		}
	}
	return r
}

// replay replays with the options of a test.
func (p *post) replay(change ...func(*Replay)) (*Outcome, error) {
	r := &Replay{Client: p.client, Topic: dead, Group: group, Sources: []string{source}}
	for _, f := range change {
		f(r)
	}
	return r.Run(p.t.Context())
}

func (p *post) mustReplay(change ...func(*Replay)) *Outcome {
	p.t.Helper()
	o, err := p.replay(change...)
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

func lines(r *record.Raw) []string {
	var list []string
	for _, h := range r.Headers {
		list = append(list, h.Key+": "+string(h.Value))
	}
	return list
}

func TestReplay(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	stamp := strconv.FormatInt(p.stamp, 10)
	p.write(dead,
		p.letter(record.Raw{Key: []byte("a"), Value: []byte{0xff, 0}, Partition: 2, Headers: []record.Header{{Key: "trace", Value: []byte("1")}, {Key: "null"}}}, nil),
		p.letter(record.Raw{Value: nil, Partition: 1}, map[string]string{task.LetterAttempt: "2", task.LetterFirstSeen: "17", "zz": "of another system"}),
		p.letter(record.Raw{Key: []byte("c"), Value: []byte{}, Partition: 9, Headers: []record.Header{{Key: ReplayedHeader, Value: []byte("houses/7/7")}}}, map[string]string{task.LetterFirstSeen: ""}),
		record.Raw{Value: []byte("no dead letter")},
	)
	if o := p.mustReplay(func(r *Replay) { r.DryRun = true }); o.Selected != 3 || o.Replayed != 3 || o.Others != 1 {
		t.Errorf("dry run: %+v", o)
	}
	if rs := p.read(source); len(rs) > 0 {
		t.Fatalf("a dry run writes %d records", len(rs))
	}
	if o := p.mustReplay(); o.Selected != 3 || o.Replayed != 3 || o.Before != 0 || o.Others != 1 || len(o.LeftFor) > 0 {
		t.Errorf("%+v", o)
	}
	want := map[string]struct {
		partition int32
		value     []byte
		headers   []string
	}{
		"a": {2, []byte{0xff, 0}, []string{"trace: 1", "null: ", "millrace.replayed: houses/2/0", "millrace.dlq.attempt: 1", "millrace.dlq.first-seen: " + stamp}},
		"":  {1, nil, []string{"millrace.replayed: houses/1/1", "millrace.dlq.attempt: 2", "millrace.dlq.first-seen: 17"}},
		"c": {task.Place([]byte("c"), 9, 3), []byte{}, []string{"millrace.replayed: houses/7/7", "millrace.dlq.attempt: 1"}},
	}
	got := p.read(source)
	for _, r := range got {
		w := want[string(r.Key)]
		if r.Partition != w.partition || !slices.Equal(r.Value, w.value) || (r.Value == nil) != (w.value == nil) || r.Timestamp != p.stamp {
			t.Errorf("%q: partition %d, value %v, timestamp %d", r.Key, r.Partition, r.Value, r.Timestamp)
		}
		if diff := cmp.Diff(w.headers, lines(&r)); diff != "" {
			t.Errorf("%q: %s", r.Key, diff)
		}
	}
	if len(got) != 3 {
		t.Fatalf("%d records", len(got))
	}
	if o := p.mustReplay(); o.Selected != 3 || o.Before != 3 || o.Replayed != 0 {
		t.Errorf("again: %+v", o)
	}
	if rs := p.read(source); len(rs) != 3 {
		t.Errorf("%d records in the end", len(rs))
	}
}

// TestReplayLeaves has letters that cannot be replayed.
func TestReplayLeaves(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.write(source, record.Raw{Key: []byte("there"), Value: []byte("12345"), Timestamp: p.stamp, Headers: []record.Header{{Key: "own", Value: []byte("x")}, {Key: task.LetterAttempt, Value: []byte("1")}}})
	there := p.read(source)[0]
	pointer := map[string]string{
		engine.LetterValueBytes: "5", engine.LetterHeadersBytes: "4", task.LetterPartition: strconv.Itoa(int(there.Partition)), task.LetterOffset: strconv.FormatInt(there.Offset, 10),
	}
	with := func(more map[string]string) map[string]string {
		m := maps.Clone(pointer)
		maps.Copy(m, more)
		return m
	}
	p.write(dead,
		p.letter(record.Raw{Value: []byte("tired")}, map[string]string{task.LetterAttempt: "3"}),
		p.letter(record.Raw{Value: []byte("of nothing")}, map[string]string{task.LetterID: ""}),
		p.letter(record.Raw{Value: []byte("of elsewhere")}, map[string]string{task.LetterTopic: "__consumer_offsets"}),
		p.letter(record.Raw{Value: []byte("of another group")}, map[string]string{task.LetterGroup: "other"}),
		p.letter(record.Raw{Key: []byte("there")}, pointer),
		p.letter(record.Raw{}, with(map[string]string{task.LetterOffset: "99"})),
		p.letter(record.Raw{}, with(map[string]string{engine.LetterValueBytes: "6"})),
		p.letter(record.Raw{}, with(map[string]string{task.LetterTimestamp: "1"})),
		p.letter(record.Raw{Key: []byte("ancient"), Value: []byte("x")}, map[string]string{task.LetterTimestamp: strconv.FormatInt(time.Now().Add(48*time.Hour).UnixMilli(), 10)}),
		p.letter(record.Raw{Key: []byte("large"), Value: make([]byte, 999_000)}, nil),
	)
	o := p.mustReplay()
	if diff := cmp.Diff(map[string]int{LeftAttempts: 1, LeftUnknown: 2, LeftGone: 3, LeftRefused: 2}, o.LeftFor); diff != "" {
		t.Errorf("%s\n%+v", diff, o)
	}
	if o.Replayed != 1 || o.Others != 1 || len(o.Left) != 8 {
		t.Errorf("%+v", o)
	}
	rs := p.read(source)
	if len(rs) != 2 {
		t.Fatalf("%d records", len(rs))
	}
	for _, r := range rs {
		if r.Offset == there.Offset && r.Partition == there.Partition {
			continue
		}
		want := []string{"own: x", "millrace.replayed: " + Place{source, there.Partition, there.Offset}.String(), "millrace.dlq.attempt: 1", "millrace.dlq.first-seen: " + strconv.FormatInt(p.stamp, 10)}
		if diff := cmp.Diff(want, lines(&r)); diff != "" || string(r.Value) != "12345" || string(r.Key) != "there" {
			t.Errorf("%q %q %s", r.Key, r.Value, diff)
		}
	}
	if o := p.mustReplay(func(r *Replay) { r.Attempts = 4 }); o.Replayed != 1 || o.Before != 1 {
		t.Errorf("with more attempts: %+v", o)
	}
}

func TestReplayTo(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	if err := p.cluster.CreateTopic("repaired", 1, nil); err != nil {
		t.Fatal(err)
	}
	p.write(dead, p.letter(record.Raw{Value: []byte("x"), Partition: 2}, nil))
	if o := p.mustReplay(func(r *Replay) { r.To = "repaired" }); o.Replayed != 1 {
		t.Errorf("%+v", o)
	}
	if n, m := len(p.read(source)), len(p.read("repaired")); n != 0 || m != 1 {
		t.Errorf("%d records in the source, %d where they were to go", n, m)
	}
	if o := p.mustReplay(); o.Before != 1 {
		t.Errorf("to the source afterwards: %+v", o)
	}
	if _, err := p.replay(func(r *Replay) { r.To = "nowhere" }); !missing(err) {
		t.Errorf("to a topic that is not there: %v", err)
	}
}

// cutter is a network that ends at a moment.
type cutter struct {
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, errors.New("cut by the test")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// TestReplayOnce breaks replays off at random, as a crash does and as an interrupt does, selects now these letters and now
// those, and runs several at a time. In the end each letter is replayed exactly once.
func TestReplayOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			p := newPost(t)
			classes := []string{"invalid_json", "wrong_type", "no_row"}
			var ls []record.Raw
			for i := range 600 {
				l := p.letter(record.Raw{Key: fmt.Append(nil, i%50), Value: fmt.Append(nil, i), Partition: int32(i % 3)}, map[string]string{task.LetterClass: classes[rng.IntN(3)]})
				if ls = append(ls, l); i%10 == 0 {
					ls = append(ls, l) // the same letter twice, as an application without transactions may write it
				}
			}
			p.write(dead, ls...)
			ended := map[string]int{}
			for range 8 {
				p.someReplay(rng, classes, ended)
			}
			t.Logf("replays ended so: %v", ended)
			p.mustReplay()
			if o := p.mustReplay(); o.Replayed != 0 || o.Before != 660 {
				t.Errorf("in the end %+v", o)
			}
			seen, last := map[string]int{}, map[string]int{}
			for _, r := range p.read(source) {
				if seen[string(r.Value)]++; strings.Count(strings.Join(lines(&r), "\n"), ReplayedHeader) != 1 {
					t.Errorf("headers %q", lines(&r))
				}
				last[string(r.Key)]++
			}
			for i := range 600 {
				if n := seen[strconv.Itoa(i)]; n != 1 {
					t.Errorf("letter %d was replayed %d times", i, n)
				}
			}
		})
	}
}

// someReplay runs a replay, or two at a time, that may not come to its end.
func (p *post) someReplay(rng *rand.Rand, classes []string, ended map[string]int) {
	both := 1 + rng.IntN(2)
	errs := make([]error, both)
	var running sync.WaitGroup
	for i := range both {
		net := &cutter{}
		ctx, cancel := context.WithCancel(p.t.Context())
		after, how := rng.IntN(5), rng.IntN(3)
		r := &Replay{Client: p.newClient(net.dial), Topic: dead, Group: group, Sources: []string{source}, Batch: 1 + rng.IntN(8), timeout: time.Second / 2}
		if rng.IntN(2) == 0 {
			r.Select.Class = classes[rng.IntN(len(classes))]
		}
		if rng.IntN(8) > 0 {
			r.Limit = 1 + rng.IntN(60)
		}
		r.Progress = func(int) {
			if after--; after >= 0 {
				return
			}
			switch how {
			case 0:
				cancel()
			case 1:
				net.cut()
			default:
			}
		}
		running.Go(func() {
			defer cancel()
			_, errs[i] = r.Run(ctx)
		})
	}
	running.Wait()
	for _, err := range errs {
		e, ok := errors.AsType[*kafka.Error](err)
		switch {
		case err == nil:
			ended["well"]++
		case ok:
			ended[string(e.Code)]++
		case errors.Is(err, context.Canceled):
			ended["cancelled"]++
		default:
			p.t.Errorf("a replay ended with %v", err)
		}
	}
}

// TestLedgerForgets deletes letters: what says that they were replayed goes too, and a topic of letters that is made anew
// begins anew.
func TestLedgerForgets(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for range 10 {
		p.write(dead, p.letter(record.Raw{Value: []byte("x")}, nil))
		p.mustReplay()
	}
	end, err := p.client.EndOffsets(t.Context(), dead, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.client.DeleteRecords(t.Context(), dead, end); err != nil {
		t.Fatal(err)
	}
	p.write(dead, p.letter(record.Raw{Value: []byte("y")}, nil))
	if o := p.mustReplay(); o.Replayed != 1 || o.Before != 0 {
		t.Errorf("%+v", o)
	}
	if rs := p.read(LedgerTopic(group)); len(rs) != 1 {
		t.Errorf("the ledger holds %d records", len(rs))
	}
	if err := p.cluster.DeleteTopic(dead); err != nil {
		t.Fatal(err)
	}
	if err := p.cluster.CreateTopic(dead, 2, nil); err != nil {
		t.Fatal(err)
	}
	p.n--
	p.write(dead, p.letter(record.Raw{Value: []byte("z")}, nil))
	if o := p.mustReplay(); o.Replayed != 1 || o.Before != 0 {
		t.Errorf("after the topic was made anew: %+v", o)
	}
	p.write(LedgerTopic(group), record.Raw{Key: []byte("k"), Value: []byte("nonsense")})
	_, err = p.replay()
	if e, ok := errors.AsType[*kafka.Error](err); !ok || e.Code != kafka.CodeConfig || !strings.Contains(e.Where, LedgerTopic(group)) {
		t.Errorf("a ledger of nonsense: %v", err)
	}
}
