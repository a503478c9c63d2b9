package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"millrace.dev/internal/secret"
	"millrace.dev/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, opts ...kfake.Opt) (*kfake.Cluster, *Client) {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.SeedTopics(3, "t"), kfake.GroupMinSessionTimeout(time.Second)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	cl, err := New(Config{Brokers: c.ListenAddrs()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cl.Close)
	return c, cl
}

func send(tb testing.TB, c *Client, rs ...record.Raw) {
	tb.Helper()
	p, err := c.NewProducer(ProducerConfig{Topic: "t", MaxInFlight: 2})
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Close()
	for i := range rs {
		if err := p.Send(tb.Context(), &rs[i]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := p.Flush(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if n := p.Acked(); n != int64(len(rs)) {
		tb.Fatalf("%d acknowledged of %d", n, len(rs))
	}
}

func tap(tb testing.TB, c *Client, tc TapConfig) []record.Raw {
	tb.Helper()
	var all []record.Raw
	if err := c.Tap(tb.Context(), tc, func(rs []record.Raw) error {
		all = append(all, rs...)
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestPartition holds the placement of keys against what Apache Kafka's own producer does: the hashes are those of
// its Utils.murmur2, as its tests state them.
func TestPartition(t *testing.T) {
	t.Parallel()
	hashes := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	}
	p := newBySource().ForTopic("t")
	for key, h := range hashes {
		for _, n := range []int{1, 7, 12, 1000} {
			r := &kgo.Record{Key: []byte(key), Partition: 5}
			if got, want := p.Partition(r, n), int(h&0x7fffffff)%n; got != want {
				t.Errorf("%s of %d: %d, want %d", key, n, got, want)
			}
			if !p.RequiresConsistency(r) {
				t.Error("a record may go elsewhere")
			}
		}
	}
	for source, want := range map[int32]int{0: 0, 3: 3, 4: 0, 11: 3} {
		if got := p.Partition(&kgo.Record{Partition: source}, 4); got != want {
			t.Errorf("no key, from %d: %d, want %d", source, got, want)
		}
	}
}

func TestProduceAndTap(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	in := []record.Raw{
		{Key: []byte("a"), Value: []byte("1"), Timestamp: 1_700_000_000_000, Headers: []record.Header{{Key: "h", Value: []byte("v")}, {Key: "h"}}},
		{Key: []byte("a"), Timestamp: 1_700_000_000_001},
		{Key: []byte{}, Value: []byte{}, Timestamp: 1_700_000_000_002},
		{Key: []byte("a"), Value: []byte("4"), Timestamp: 1_700_000_000_003},
	}
	send(t, c, in...)
	send(t, c, record.Raw{Value: []byte("no key")})
	got := map[string][]record.Raw{}
	for _, r := range tap(t, c, TapConfig{Topic: "t"}) {
		key := string(r.Key)
		if r.Key == nil {
			key = "none"
		}
		got[key] = append(got[key], r)
	}
	if len(got["a"]) != 3 || len(got[""]) != 1 || len(got["none"]) != 1 {
		t.Fatalf("got %v", got)
	}
	for i, want := range []record.Raw{in[0], in[1], in[3]} {
		r := got["a"][i]
		r.Topic, r.Partition, r.Offset = "", 0, 0
		if diff := cmp.Diff(want, r); diff != "" {
			t.Error(diff)
		}
	}
	if r := got[""][0]; r.Value == nil || len(r.Value) != 0 {
		t.Errorf("an empty value became %v", r.Value)
	}
	if r := got["none"][0]; time.Since(time.UnixMilli(r.Timestamp)) > time.Hour {
		t.Errorf("no timestamp became %d", r.Timestamp)
	}
	p := got["a"][0].Partition
	if n := len(tap(t, c, TapConfig{Topic: "t", Partitions: []int32{p}, From: got["a"][1].Offset})); n < 2 {
		t.Errorf("%d records from the second on", n)
	}
	if n := len(tap(t, c, TapConfig{Topic: "t", From: FromEnd})); n != 0 {
		t.Errorf("%d records from the end on", n)
	}
	if n := len(tap(t, c, TapConfig{Topic: "t", From: FromStart})); n != 5 {
		t.Errorf("%d records from the start on", n)
	}
	_, err := c.Topics(t.Context(), "t", "u")
	wantCode(t, err, CodeUnknownTopic, "u")
	wantCode(t, c.Tap(t.Context(), TapConfig{Topic: "t", Partitions: []int32{9}}, nil), CodeUnknownTopic, "t/9")
	boom := errors.New("boom")
	if err := c.Tap(t.Context(), TapConfig{Topic: "t"}, func([]record.Raw) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error of the function: %v", err)
	}
	if err := c.Tap(t.Context(), TapConfig{Topic: "t", Follow: true}, func([]record.Raw) error { return StopTap() }); err != nil {
		t.Errorf("stopped: %v", err)
	}
}

func TestTapFollows(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string, 10)
	done := make(chan error)
	go func() {
		done <- c.Tap(ctx, TapConfig{Topic: "t", From: FromEnd, Follow: true}, func(rs []record.Raw) error {
			for _, r := range rs {
				got <- string(r.Value)
			}
			return nil
		})
	}()
	for i := range 3 {
		want := strconv.Itoa(i)
		for ok := false; !ok; { // the tap may begin after the first tries
			send(t, c, record.Raw{Key: []byte("k"), Value: []byte(want)})
			select {
			case v := <-got:
				ok = v == want
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTapUncommitted taps a topic at whose end are an aborted and an open transaction.
func TestTapUncommitted(t *testing.T) {
	t.Parallel()
	cluster, c := open(t, kfake.SeedTopics(1, "one"))
	tx, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID("x"), kgo.DefaultProduceTopic("one"))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := tx.ProduceSync(t.Context(), kgo.StringRecord(strconv.Itoa(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(t.Context(), kgo.StringRecord("open")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	values := func(u bool) (vs []string) {
		for _, r := range tap(t, c, TapConfig{Topic: "one", Uncommitted: u}) {
			vs = append(vs, string(r.Value))
		}
		return vs
	}
	if diff := cmp.Diff([]string{"0", "2"}, values(false)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "open"}, values(true)); diff != "" {
		t.Error(diff)
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	cluster, c := open(t)
	ctx := t.Context()
	if err := c.CreateTopics(ctx, NewTopic{Name: "u", Partitions: 5, Replicas: 1, Configs: map[string]string{
		"max.message.bytes": "5000", "cleanup.policy": "compact,delete", "message.timestamp.type": "LogAppendTime",
	}}, NewTopic{Name: "v"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.CreateTopics(ctx, NewTopic{Name: "u"}, NewTopic{Name: "w", Partitions: 1, Replicas: 1}), CodeTopicExists, "u")
	ts, err := c.Topics(ctx, "w", "u")
	if err != nil {
		t.Fatal(err)
	}
	if ts[0].Name != "w" || len(ts[1].Partitions) != 5 || ts[1].Partitions[4] != 4 || ts[1].ID != cluster.TopicInfo("u").TopicID || !ts[0].CanRead || !ts[0].CanWrite {
		t.Errorf("topics: %+v", ts)
	}
	l, err := c.Limits(ctx, "u")
	if err != nil || l.MaxBytes != 5000 || !l.Compacted || !l.AppendTime || !l.Authoritative {
		t.Errorf("limits: %+v, %v", l, err)
	}
	l, err = c.Limits(ctx, "t")
	if err != nil || l.MaxBytes != 1048588 || l.Compacted || l.AppendTime || l.FutureLimit < time.Hour {
		t.Errorf("limits: %+v, %v", l, err)
	}
	_, err = c.Limits(ctx, "nowhere")
	wantCode(t, err, CodeUnknownTopic, "nowhere")
	send(t, c, record.Raw{Key: []byte("a"), Value: []byte("1")}, record.Raw{Key: []byte("a"), Value: []byte("2")})
	end, err := c.EndOffsets(ctx, "t", true)
	if err != nil || end[0]+end[1]+end[2] != 2 || cmp.Diff([]int32{0, 1, 2}, end.Sorted()) != "" {
		t.Errorf("end: %v, %v", end, err)
	}
	lag, err := c.Lag(ctx, "nobody", "t")
	if err != nil || lag[0]+lag[1]+lag[2] != 2 {
		t.Errorf("lag: %v, %v", lag, err)
	}
	_, err = c.EndOffsets(ctx, "nowhere", false)
	wantCode(t, err, CodeUnknownTopic, "nowhere")
	if err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Brokers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Ping(t.Context())
	wantCode(t, err, CodeUnavailable, addr)
	if Recover(err) == Fatal || !strings.Contains(err.Error(), "no broker answers") || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("ping: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled ping: %v", err)
	}
}

func TestProducerGivesUp(t *testing.T) {
	t.Parallel()
	network := &kfake.VirtualNetwork{}
	c, err := New(Config{Brokers: []string{"localhost:1"}, Dial: network.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.NewProducer(ProducerConfig{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.reach.answered.Store(time.Now().Add(-giveUp).UnixNano())
	if err := p.Send(t.Context(), &record.Raw{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	p.since = p.since.Add(-giveUp)
	wantCode(t, p.Flush(t.Context()), CodeUnavailable, "localhost:1")
	wantCode(t, p.Send(t.Context(), &record.Raw{Value: []byte("v")}), CodeUnavailable, "localhost:1")
}

func wantCode(t *testing.T, err error, code Code, where string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Where, where) {
		t.Errorf("error %v, want code %s at %s", err, code, where)
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want Recovery
	}{
		{io.EOF, Reopen},
		{dial, Reopen},
		{context.DeadlineExceeded, Reopen},
		{errors.New("anything"), Reopen},
		{kerr.NotLeaderForPartition, Reopen},
		{kerr.ProducerFenced, Reopen},
		{kerr.InvalidProducerEpoch, Reopen},
		{kerr.UnknownServerError, Reopen},
		{kerr.UnknownTopicID, Reopen},
		{kerr.OffsetOutOfRange, Reopen},
		{&kgo.ErrFirstReadEOF{}, Reopen},
		{kerr.FencedInstanceID, Fatal},
		{kerr.SaslAuthenticationFailed, Fatal},
		{kerr.TopicAuthorizationFailed, Fatal},
		{kerr.GroupAuthorizationFailed, Fatal},
		{kerr.TransactionalIDAuthorizationFailed, Fatal},
		{kerr.UnsupportedVersion, Fatal},
		{kerr.InvalidSessionTimeout, Fatal},
		{kerr.InvalidTransactionTimeout, Fatal},
		{&kgo.ErrDataLoss{}, Retry},
		{fmt.Errorf("group: %w", &kgo.ErrGroupSession{Err: kerr.CoordinatorNotAvailable}), Retry},
		{&kgo.ErrGroupSession{Err: kerr.GroupAuthorizationFailed}, Fatal},
		{&kgo.ErrGroupSession{Err: kerr.FencedInstanceID}, Fatal},
		{explain("read topic", "t", "", kerr.UnknownTopicOrPartition), Fatal},
		{explain("x", "", "", dial), Reopen},
		{explain("x", "", "", kerr.ProducerFenced), Reopen},
		{&Error{Code: CodeTopicChanged}, Fatal},
		{rangeError(OutOfRange{Topic: "t"}), Reopen},
		{&WriteError{Err: kerr.MessageTooLarge}, Reopen},
		{errors.Join(io.EOF, explain("x", "", "", kerr.TopicAuthorizationFailed)), Fatal},
	} {
		if got := Recover(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
		if got := Recover(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("wrapped %v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"no brokers":        {},
		"want host:port":    {Brokers: []string{"a"}},
		"no such mechanism": {Brokers: []string{"a:1"}, SASL: SASL{Mechanism: "magic"}},
		"needs a username":  {Brokers: []string{"a:1"}, SASL: SASL{Mechanism: "plain"}},
		"no mechanism":      {Brokers: []string{"a:1"}, SASL: SASL{Password: secret.New("geheim")}},
		"file of its key":   {Brokers: []string{"a:1"}, TLS: TLS{Enabled: true, CertFile: "c"}},
		"no such file":      {Brokers: []string{"a:1"}, TLS: TLS{Enabled: true, CAFile: "/nowhere"}},
		"holds no PEM":      {Brokers: []string{"a:1"}, TLS: TLS{Enabled: true, CAFile: "kafka_test.go"}},
		"excludes tls":      {Brokers: []string{"a:1"}, TLS: TLS{Enabled: true}, Dial: (&net.Dialer{}).DialContext},
	} {
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q in: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("a secret is in: %v", err)
		}
	}
	err := (&SessionConfig{
		ExactlyOnce: true, Compression: "rar", Topics: []SourceTopic{{Name: "t", Start: "noon"}, {Name: "t"}, {}}, Copartitioned: [][]string{{"t", "u"}}, MaxWait: -1,
	}).Validate()
	if none := (&SessionConfig{}).Validate(); none == nil || !strings.Contains(none.Error(), "no source topic") {
		t.Errorf("without a topic: %v", none)
	}
	for _, want := range []string{"exactly-once needs", "t is given twice", "has no name", "co-partitioned topic u is not", "no such codec", "earliest or latest", "timeout or a bound", "no group"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
	s := SASL{Password: secret.New("geheim")}
	text, err := s.Password.MarshalText()
	if out := fmt.Sprintf("%v %+v %#v %s %s %v", s, s, s, s.Password, text, s.Password.LogValue()); err != nil || strings.Contains(out, "geheim") {
		t.Errorf("a secret is in: %s", out)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for n := range 100 {
		want := b.Max
		if n < 7 {
			want = min(b.Max, b.Min<<max(n-1, 0))
		}
		if d := b.Pause(n); d > want || d < want*4/5 {
			t.Errorf("pause %d: %s, want up to %s", n, d, want)
		}
	}
}

func TestSecondOwnerFences(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	sc := SessionConfig{Group: "g", Topics: []SourceTopic{{Name: "t"}}, ExactlyOnce: true, TransactionalID: "g-1"}
	first, err := c.Join(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close(t.Context())
	if err := first.Begin(); err != nil {
		t.Fatal(err)
	}
	o := first.Outbox()
	o.Add("t", 0, nil, 1)
	o.ValueCopy([]byte("v"))
	if err := first.Send(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	second, err := c.Join(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close(t.Context())
	ok, err := first.Commit(t.Context(), nil)
	if ok || Recover(err) != Reopen {
		t.Errorf("the first owner commits: %t, %v", ok, err)
	}
	for _, r := range tap(t, c, TapConfig{Topic: "t"}) {
		t.Errorf("committed: %+v", r)
	}
}

// TestOutboxSize holds the size that an outbox states against what a record takes alone in a batch.
func TestOutboxSize(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	s, err := c.Join(t.Context(), SessionConfig{Group: "g", Topics: []SourceTopic{{Name: "t"}}, Compression: CompressionNone, MaxBytes: map[string]int{"t": 50_000}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for _, r := range []record.Raw{
		{},
		{Key: []byte("k"), Value: make([]byte, 48_000)},
		{Value: make([]byte, 10_000), Headers: []record.Header{{Key: strings.Repeat("h", 20_000), Value: make([]byte, 15_000)}}},
		{Key: make([]byte, 49_000)},
	} {
		fill := func(pad int) (*Outbox, int) {
			o := s.Outbox()
			o.Add("t", 0, r.Key, 1_700_000_000_000)
			for _, h := range r.Headers {
				o.Header(h.Key, h.Value)
			}
			o.HeaderCopy("pad", bytes.Repeat([]byte("p"), pad))
			o.Value(r.Value)
			return o, o.Size()
		}
		o, size := fill(0)
		o.Discard()
		o, size = fill(50_000 - size)
		if size != 50_000 {
			t.Fatalf("size %d", size)
		}
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Commit(t.Context(), nil); !ok || err != nil {
			t.Errorf("a record said to fit does not: %v", err)
		}
	}
	o := s.Outbox()
	o.Add("t", 0, nil, 1)
	o.ValueCopy(make([]byte, 100))
	before := o.bytes
	if before < 100+recordMemory {
		t.Errorf("a record of 100 bytes counts as %d, and takes %d more in memory", before, recordMemory)
	}
	o.Add("t", 0, []byte("key"), 1)
	o.Header("h", nil)
	o.Drop()
	if o.Len() != 1 || o.bytes != before || len(o.headers) != 0 {
		t.Errorf("after Drop: %d records, %d bytes, %d headers", o.Len(), o.bytes, len(o.headers))
	}
	o.Discard()
}

func TestOutboxAllocs(t *testing.T) { // not parallel: it counts allocations
	s := &Session{outboxes: make(chan *Outbox, 1)}
	key, value := []byte("key"), make([]byte, 400)
	n := testing.AllocsPerRun(20, func() {
		o := s.Outbox()
		for range 1000 {
			o.Add("t", 0, key, 1)
			o.Header("h", value)
			o.HeaderCopy("i", key)
			o.ValueCopy(value)
		}
		o.Discard()
	})
	if n > 1 {
		t.Errorf("%g allocations for 1000 records", n)
	}
}
