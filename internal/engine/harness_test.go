package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// Names in all tests.
const (
	source  = "houses"
	sink    = "predictions"
	letters = "houses.dlq"
	group   = "house-prices"
)

// setup is what a test can change of an instance.
type setup struct {
	Options

	source, sink, letters string
	start                 kafka.Start
	topology              *stream.Topology // Default: copyTopology
}

// copyTopology is a data path for tests. A value is predicted by "=" in front of it; values that begin with "bad" are
// rejected, of "huge N" the prediction has N bytes.
func copyTopology(s *setup) *stream.Topology {
	t := stream.New(group, stream.DeadLetters(s.letters))
	opts := []stream.SourceOption{stream.UseClock()}
	if s.start == kafka.Latest {
		opts = append(opts, stream.StartLatest())
	}
	in := stream.From(t, s.source, stream.Bytes(), stream.Bytes(), opts...)
	model := modelHeaders()
	f := func(_ context.Context, b *stream.Batch[[]byte, []byte, []byte]) error { return predict(model, b) }
	stream.MapBatch(in, "predict", f, stream.BatchOptions{MaxSize: 100, Concurrency: 2, OnError: stream.OnError(stream.DeadLetter)}).
		To(s.sink, stream.Provenance())
	return t
}

func predict(model []record.Header, b *stream.Batch[[]byte, []byte, []byte]) error {
	memory := b.Memory[:0]
	for i := range b.In {
		r, start := &b.In[i], len(memory)
		switch v := r.Value; {
		case r.NullValue:
			b.Out[i].Err = &stream.Rejection{Stage: record.StageDecode, Class: "null_value", Reason: "the value is null"}
		case bytes.HasPrefix(v, []byte("bad")):
			b.Out[i].Err = &stream.Rejection{Stage: record.StageDecode, Class: "invalid_json", Field: "x", Reason: "not a JSON object"}
		case bytes.HasPrefix(v, []byte("huge ")):
			n, err := strconv.Atoi(string(v[len("huge "):]))
			if err != nil {
				return err
			}
			memory = append(memory, bytes.Repeat([]byte("x"), n)...)
		default:
			memory = append(append(memory, '='), v...)
		}
		b.Out[i].Value = memory[start:len(memory):len(memory)]
		if b.Out[i].Headers = model; len(r.Headers) > 0 {
			b.Out[i].Headers = slices.Concat(r.Headers, model)
		}
	}
	b.Memory = memory
	return nil
}

func modelHeaders() []record.Header {
	return []record.Header{{Key: "millrace.model", Value: []byte("m@1")}, {Key: "millrace.digest", Value: []byte("sha256:0")}}
}

// options returns the options of an instance of a world.
func options(tb testing.TB, c *kafka.Client, change ...func(*setup)) Options {
	tb.Helper()
	s := setup{source: source, sink: sink, letters: letters, Options: Options{
		Client: c, SessionTimeout: sessionTimeout, TransactionTimeout: transactionTimeout, MaxQueued: 400, Threads: 2,
		Version: "v1", LetterHeaders: func(epoch int64, _ *record.Raw) []record.Header {
			hs := []record.Header{{Key: LetterModel, Value: []byte("m@1")}}
			if epoch > 0 {
				hs = append(hs, epochHeader(epoch))
			}
			return hs
		},
	}}
	for _, f := range change {
		f(&s)
	}
	if s.topology == nil {
		s.topology = copyTopology(&s)
	}
	p, err := s.topology.Program()
	if err != nil {
		tb.Fatal(err)
	}
	s.Program = p
	return s.Options
}

// wire is a network between one instance and the brokers that can be cut or held.
type wire struct {
	dial  kafka.Dialer
	mu    sync.Mutex
	conns map[*wired]struct{}
	dead  bool
	held  chan struct{} // not nil while held; closed on release
	slow  atomic.Int64  // how long a write takes, in nanoseconds
}

// dialTimeout is that of a real dialer.
const dialTimeout = 5 * time.Second

func newWire(dial kafka.Dialer) *wire { return &wire{dial: dial, conns: map[*wired]struct{}{}} }

type wired struct {
	net.Conn
	wire   *wire
	once   sync.Once
	closed chan struct{}
	// The deadlines, which hold while the wire is held too.
	reads, writes atomic.Pointer[time.Time]
}

func (c *wired) SetReadDeadline(t time.Time) error {
	c.reads.Store(&t)
	return c.Conn.SetReadDeadline(t)
}

func (c *wired) SetWriteDeadline(t time.Time) error {
	c.writes.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

func (w *wire) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if late := time.Now().Add(dialTimeout); !w.wait(ctx.Done(), &late) {
		return nil, os.ErrDeadlineExceeded
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused by the test")}
	}
	c, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	x := &wired{Conn: c, wire: w, closed: make(chan struct{})}
	w.conns[x] = struct{}{}
	return x, nil
}

// wait waits until the wire is not held, for done, or for a deadline; it returns false if the wire is held still.
func (w *wire) wait(done <-chan struct{}, deadline *time.Time) bool {
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	if held == nil {
		return true
	}
	var late <-chan time.Time
	if deadline != nil && !deadline.IsZero() {
		t := time.NewTimer(time.Until(*deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-held:
		return true
	case <-done:
	case <-late:
	}
	return false
}

// cut ends every connection and refuses new ones: to the brokers the instance is dead, without a word.
func (w *wire) cut() {
	w.mu.Lock()
	w.dead = true
	conns := slices.Collect(maps.Keys(w.conns))
	w.mu.Unlock()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = false
}

// hold lets nothing through until release, as if the process were stopped.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = make(chan struct{})
}

func (w *wire) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.held)
	w.held = nil
}

func (c *wired) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.wire.wait(c.closed, c.reads.Load()) {
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *wired) Write(b []byte) (int, error) {
	if !c.wire.wait(c.closed, c.writes.Load()) {
		return 0, os.ErrDeadlineExceeded
	}
	if d := c.wire.slow.Load(); d > 0 {
		time.Sleep(time.Duration(d))
	}
	return c.Conn.Write(b)
}

func (c *wired) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.conns, c)
	c.wire.mu.Unlock()
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// world is a cluster of three brokers with the topics of the tests.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	network *kfake.VirtualNetwork
	opts    []kfake.Opt
	ports   []int
	client  *kafka.Client // of the test itself
	running []*instance   // all that ever ran
	heard   sync.Map      // when members of groups last said something, by id
	input   *kafka.Producer
}

const brokers = 3

// bubble runs fn with a world of its own, in fake time where it can.
func bubble(t *testing.T, partitions int, fn func(t *testing.T, w *world), opts ...kfake.Opt) {
	t.Helper()
	testenv.InTime(t, func(t *testing.T) {
		w := newWorld(t, partitions, opts...)
		defer w.close()
		fn(t, w)
	})
}

func newWorld(t *testing.T, partitions int, opts ...kfake.Opt) *world {
	t.Helper()
	w := &world{t: t, network: &kfake.VirtualNetwork{}}
	for i := range brokers {
		w.ports = append(w.ports, 9092+i)
	}
	w.opts = append([]kfake.Opt{
		kfake.NumBrokers(brokers), kfake.Ports(w.ports...), kfake.ListenFn(w.network.Listen), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(int32(partitions), source),
		kfake.SeedTopics(int32(partitions-partitions/3), sink), kfake.SeedTopics(2, letters),
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "3153600000000"}), // it does not know of transactions
	}, opts...)
	w.start()
	w.client = w.newClient(nil)
	p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: source})
	if err != nil {
		t.Fatal(err)
	}
	w.input = p
	return w
}

func (w *world) start() {
	w.t.Helper()
	c, err := kfake.NewCluster(w.opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cluster = c
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup}, Count: -1, Observe: true, When: func(r kmsg.Request) bool {
		switch r := r.(type) {
		case *kmsg.HeartbeatRequest:
			w.heard.Store(r.MemberID, time.Now())
		case *kmsg.JoinGroupRequest:
			w.heard.Store(r.MemberID, time.Now())
		case *kmsg.SyncGroupRequest:
			w.heard.Store(r.MemberID, time.Now())
		}
		return true
	}})
}

// reap takes members out of the group that have been silent for long. The cluster of the tests does not do so, as Kafka
// does, with one whose connection breaks while it waits for the others to join.
func (w *world) reap() {
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, m := range info.Members {
		at, _ := w.heard.Load(m.MemberID)
		if at, ok := at.(time.Time); ok && time.Since(at) > 4*sessionTimeout {
			lm := kmsg.NewLeaveGroupRequestMember()
			lm.MemberID = m.MemberID
			req.Members = append(req.Members, lm)
		}
	}
	if len(req.Members) > 0 {
		c := w.raw()
		defer c.Close()
		if _, err := req.RequestWith(w.t.Context(), c); err != nil {
			w.t.Log(err)
		}
	}
}

func (w *world) close() {
	w.input.Close()
	w.client.Close()
	w.cluster.Close()
}

func (w *world) newClient(x *wire) *kafka.Client {
	w.t.Helper()
	dial := w.network.DialContext
	if x != nil {
		dial = x.DialContext
	}
	var seeds []string
	for _, p := range w.ports {
		seeds = append(seeds, fmt.Sprintf("localhost:%d", p))
	}
	c, err := kafka.New(kafka.Config{Brokers: seeds, Dial: dial})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// instance is a running engine.
type instance struct {
	*Engine
	wire   *wire
	client *kafka.Client
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	log    *lines
}

// run starts an engine.
func (w *world) run(change ...func(*setup)) *instance {
	w.t.Helper()
	in := &instance{wire: newWire(w.network.DialContext), done: make(chan struct{}), log: &lines{}}
	in.client = w.newClient(in.wire)
	o := options(w.t, in.client, change...)
	o.Log = slog.New(slog.NewTextHandler(in.log, nil))
	e, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	in.Engine = e
	ctx, cancel := context.WithCancel(w.t.Context())
	in.cancel = cancel
	w.running = append(w.running, in)
	go func() {
		defer close(in.done)
		in.err = e.Run(ctx)
		in.client.Close()
	}()
	return in
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// stop cancels the engine and waits for it.
func (in *instance) stop(t *testing.T) {
	t.Helper()
	in.cancel()
	<-in.done
	if in.err != nil {
		t.Errorf("run: %v", in.err)
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", in.Instance(), in.log)
	}
}

// kill ends the engine as SIGKILL does: no brokers hear of it.
func (in *instance) kill() {
	in.wire.cut()
	in.cancel()
}

// write appends n records to the source topic, with some that are bad, without a key, or null.
func (w *world) write(n int, rng *rand.Rand) {
	w.t.Helper()
	var rs []record.Raw
	for i := range n {
		r := record.Raw{Value: fmt.Appendf(nil, "%d of %d", i, n), Timestamp: time.Now().UnixMilli()}
		switch k := rng.IntN(100); {
		case k < 5:
		case k < 7:
			r.Key = []byte{}
		default:
			r.Key = fmt.Appendf(nil, "key-%d", rng.IntN(50))
		}
		switch k := rng.IntN(100); {
		case k < 2:
			r.Value = nil
		case k < 5:
			r.Value = fmt.Appendf(nil, "bad %d", i)
		case k < 10:
			r.Headers = []record.Header{{Key: "trace", Value: fmt.Append(nil, i)}, {Key: "empty"}}
		}
		rs = append(rs, r)
	}
	w.put(rs...)
}

// put appends records to the source topic.
func (w *world) put(rs ...record.Raw) {
	w.t.Helper()
	for i := range rs {
		if err := w.input.Send(w.t.Context(), &rs[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.input.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// read returns what is committed in a topic.
func (w *world) read(topic string) []record.Raw {
	w.t.Helper()
	for try := 1; ; try++ { // faults that were meant for the engine may hit the test
		var all []record.Raw
		err := w.client.Tap(w.t.Context(), kafka.TapConfig{Topic: topic}, func(rs []record.Raw) error {
			all = append(all, rs...)
			return nil
		})
		if err == nil {
			return all
		}
		if try == 5 || kafka.Recover(err) == kafka.Fatal {
			w.t.Fatal(err)
		}
	}
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			for _, in := range w.running {
				var err error
				select {
				case <-in.done:
					err = in.err
				default:
				}
				w.t.Logf("log of %s:\n%s%+v\n%serror: %v", in.Instance(), in.log, in.Stats().Lag, in.state(), err)
			}
			w.t.Fatalf("gave up waiting: %s\n%+v\n%s", what, w.cluster.GroupInfo(group), stacks())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// tasks returns the tasks of an instance, none while it has no session: a slow machine may cost it one.
func (in *instance) tasks() []*running {
	if l := in.loop.Load(); l != nil {
		return l.order
	}
	return nil
}

// state returns what the loop of an instance knows. It is for one that hangs: nothing is locked.
func (in *instance) state() string {
	l := in.loop.Load()
	if l == nil {
		return "no loop\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "open %t, waiting %t, worked %t, settling %t, stale %t, doomed %t, changes %d, assigned %v, restores %+v\n", l.outlet.opened(), l.outlet.waiting(), l.worked.Load(),
		l.settling, l.session.Stale(), l.session.Doomed(), len(in.changes.list), l.session.Assigned(), l.restores)
	for _, r := range l.order {
		fmt.Fprintf(&b, "  task %s: started %t, restoring %t, scheduled %t, busy %t, next %v", r.id, r.started, r.restoring, r.scheduled, r.busy, r.next)
		for _, x := range r.intakes {
			at, ok := l.session.Position(x.topic, r.id.Partition)
			fmt.Fprintf(&b, "; %s at %v %t end %t, waiting %d, paused %t", x.topic, at.Offset, ok, l.session.AtEnd(x.topic, r.id.Partition), x.waiting(), x.paused.Load())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// stacks returns what the goroutines of engines are doing.
func stacks() string {
	b := make([]byte, 4<<20)
	var out []string
	for g := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(g, "internal/engine.(*loop)") || strings.Contains(g, "internal/engine.(*pool)") || strings.Contains(g, "internal/engine.(*restore)") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

// drained waits until the group has committed every record of the source, and no transaction is open any more.
func (w *world) drained() {
	w.t.Helper()
	w.until("the group to reach the end of the topic", func() bool {
		w.reap()
		lag, err := w.client.Lag(w.t.Context(), group, source)
		if err != nil {
			return false
		}
		for _, n := range lag {
			if n > 0 {
				return false
			}
		}
		return true
	})
	for _, topic := range []string{sink, letters} {
		w.until("the transactions on "+topic+" to end", func() bool {
			stable, err1 := w.client.EndOffsets(w.t.Context(), topic, true)
			end, err2 := w.client.EndOffsets(w.t.Context(), topic, false)
			return err1 == nil && err2 == nil && maps.Equal(stable, end)
		})
	}
}

func header(r *record.Raw, key string) string {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func sourceOf(t *testing.T, r *record.Raw) coordinates {
	t.Helper()
	text := header(r, HeaderSource)
	if r.Topic == letters {
		text = header(r, task.LetterTopic) + "/" + header(r, task.LetterPartition) + "/" + header(r, task.LetterOffset)
	}
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] != source {
		t.Fatalf("%s/%d@%d has source %q", r.Topic, r.Partition, r.Offset, text)
	}
	p, err1 := strconv.Atoi(parts[1])
	o, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("source %q: %v, %v", text, err1, err2)
	}
	return coordinates{place{source, int32(p)}, o}
}

// verify checks that every record of the source has exactly one prediction or one dead letter, that each is what
// it should be, and that the order of each key is kept. With atLeast, some may come more often.
func (w *world) verify(atLeast ...bool) {
	w.t.Helper()
	in := map[coordinates]*record.Raw{}
	for _, r := range w.read(source) {
		in[at(&r)] = &r
	}
	seen := map[coordinates]int{}
	last := map[string]coordinates{} // by topic, partition and key, or source partition without a key
	for _, topic := range []string{sink, letters} {
		for _, r := range w.read(topic) {
			at := sourceOf(w.t, &r)
			src, ok := in[at]
			if !ok {
				w.t.Errorf("%s holds a result of %v, which is no record", topic, at)
				continue
			}
			seen[at]++
			w.same(src, &r)
			key := topic + "\x00" + string(r.Key)
			if r.Key == nil {
				key = fmt.Sprintf("%s\x00%d", topic, at.partition)
			}
			if before, ok := last[key]; ok && before.partition == at.partition && before.offset >= at.offset && len(atLeast) == 0 {
				w.t.Errorf("%s: key %q: %v comes after %v", topic, r.Key, at, before)
			}
			last[key] = at
		}
	}
	missing, twice := 0, 0
	for at := range in {
		switch n := seen[at]; {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	if missing > 0 || twice > 0 && len(atLeast) == 0 {
		w.t.Errorf("%d records, %d without a result, %d with more than one", len(in), missing, twice)
	}
}

// same checks a result against its record.
func (w *world) same(src, out *record.Raw) {
	w.t.Helper()
	if !bytes.Equal(src.Key, out.Key) || (src.Key == nil) != (out.Key == nil) {
		w.t.Errorf("%v: key %q became %q", sourceOf(w.t, out), src.Key, out.Key)
	}
	if src.Timestamp != out.Timestamp {
		w.t.Errorf("%v: timestamp %d became %d", sourceOf(w.t, out), src.Timestamp, out.Timestamp)
	}
	if len(out.Headers) < len(src.Headers) {
		w.t.Fatalf("%v: headers %v became %v", sourceOf(w.t, out), src.Headers, out.Headers)
	}
	for i, h := range src.Headers {
		if o := out.Headers[i]; o.Key != h.Key || !bytes.Equal(o.Value, h.Value) {
			w.t.Errorf("%v: header %v became %v", sourceOf(w.t, out), h, o)
		}
	}
	want := src.Value
	if out.Topic == sink {
		want = append([]byte{'='}, src.Value...)
	}
	if !bytes.Equal(out.Value, want) || (want == nil) != (out.Value == nil) {
		w.t.Errorf("%v: value %q became %q", sourceOf(w.t, out), src.Value, out.Value)
	}
}

// short returns brief under -short, for what costs much under the race detector and finds no other races when there is more of
// it, and else long.
func short(long, brief int) int {
	if testing.Short() {
		return brief
	}
	return long
}

// seeded returns a generator and prints its seed.
func seeded(t *testing.T, seed uint64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
