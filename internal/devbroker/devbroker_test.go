package devbroker

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// open starts a broker on a free port, and closes it with the test unless the test does.
func open(t *testing.T, o Options) *Broker {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// client returns a client that is closed with the test.
func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func put(ctx context.Context, t *testing.T, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// committed reads topics from their start and returns the first n committed values.
func committed(ctx context.Context, t *testing.T, addr string, n int, topics ...string) []string {
	t.Helper()
	cl := client(t, addr, kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func commitOffset(ctx context.Context, t *testing.T, cl *kgo.Client, group, topic string, at int64) {
	t.Helper()
	var o kadm.Offsets
	o.AddOffset(topic, 0, at, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(ctx, group, o); err != nil {
		t.Fatal(err)
	}
}

func fetchOffset(ctx context.Context, t *testing.T, cl *kgo.Client, group, topic string) int64 {
	t.Helper()
	r, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := r.Lookup(topic, 0)
	if !ok {
		t.Fatalf("group %s has no offset of %s", group, topic)
	}
	return o.At
}

func TestReopen(t *testing.T) {
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	b := open(t, Options{Dir: dir})
	addr := b.Addr()
	if err := b.CreateTopic("houses", 2, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTopic("houses", 3, nil); !errors.Is(err, ErrTopicExists) {
		t.Errorf("created twice: %v", err)
	}
	cl := client(t, addr, kgo.TransactionalID("t"))
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		put(ctx, t, cl, "houses", map[kgo.TransactionEndTry]string{kgo.TryCommit: "yes", kgo.TryAbort: "no"}[end])
		if err := cl.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	commitOffset(ctx, t, cl, "g", "houses", 7)
	shut(t, b)
	if err := b.CreateTopic("late", 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}

	b = open(t, Options{Dir: dir, Addr: addr}) // the same address: clients go on
	if diff := cmp.Diff([]string{"yes", "yes"}, committed(ctx, t, b.Addr(), 2, "houses")); diff != "" {
		t.Error(diff)
	}
	if at := fetchOffset(ctx, t, cl, "g", "houses"); at != 7 {
		t.Errorf("offset %d", at)
	}
	topics, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil || len(topics["houses"].Partitions) != 2 {
		t.Errorf("topics after reopening: %v, %v", topics, err)
	}
	if err := cl.BeginTransaction(); err != nil { // the transactional producer goes on as well
		t.Fatal(err)
	}
	put(ctx, t, cl, "houses", "again")
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	_, err := Start(t.Context(), Options{Dir: dir, Addr: "127.0.0.1:0"})
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("second broker: %v", err)
	}
	for _, want := range []string{dir, "process " + strconv.Itoa(os.Getpid()), b.Addr()} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	shut(t, b)
	open(t, Options{Dir: dir})
}

func TestLockIsUnnamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := acquire(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	if err := l.release(); err != nil {
		t.Error(err)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, Addr: b.Addr()})
	if !errors.Is(err, ErrPortInUse) || !strings.Contains(err.Error(), b.Addr()) {
		t.Fatalf("got %v", err)
	}
	open(t, Options{Dir: dir}) // the folder is free again
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no folder":    {},
		"a file":       {Dir: file},
		"no port":      {Dir: t.TempDir(), Addr: "127.0.0.1"},
		"all hosts":    {Dir: t.TempDir(), Addr: "0.0.0.0:0"},
		"no host":      {Dir: t.TempDir(), Addr: ":0"},
		"all of IPv6":  {Dir: t.TempDir(), Addr: "[::]:0"},
		"partitions":   {Dir: t.TempDir(), Partitions: -1},
		"retention":    {Dir: t.TempDir(), Retention: time.Millisecond},
		"strange host": {Dir: t.TempDir(), Addr: "no.such.host.invalid:0"},
	} {
		if b, err := Start(t.Context(), o); err == nil {
			t.Errorf("%s: started", name)
			shut(t, b)
		}
	}
	b := open(t, Options{Dir: t.TempDir()})
	for _, name := range []string{"", ".", "..", "a/b", "ü", strings.Repeat("x", 250)} {
		if err := b.CreateTopic(name, 1, nil); err == nil {
			t.Errorf("topic %q was created", name)
		}
	}
	if err := b.CreateTopic("many", maxPartitions+1, nil); err == nil {
		t.Error("too many partitions")
	}
}

func TestCorruptData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	shut(t, b)
	meta := filepath.Join(dir, "data", "meta.json")
	if err := os.WriteFile(meta, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir, Addr: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if l, err := acquire(dir); err != nil {
		t.Errorf("the folder stays locked: %v", err)
	} else if err := l.release(); err != nil {
		t.Error(err)
	}
}

// setting returns a topic's own value of a setting, or "" where it has none of its own.
func setting(ctx context.Context, t *testing.T, cl *kgo.Client, topic, key string) string {
	t.Helper()
	rs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rs.On(topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Configs {
		if c.Key == key && c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			return c.MaybeValue()
		}
	}
	return ""
}

func TestTopics(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	b := open(t, Options{Dir: t.TempDir(), Partitions: 4, Retention: time.Hour})
	cl := client(t, b.Addr(), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(4_000_000))
	adm := kadm.NewClient(cl)
	if err := b.CreateTopic("made", 0, map[string]string{"max.message.bytes": "4000000"}); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(ctx, -1, -1, nil, "asked"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(ctx, 2, 1, map[string]*string{"cleanup.policy": new("compact")}, "table"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": new("5000")}, "short"); err != nil {
		t.Fatal(err)
	}
	put(ctx, t, cl, "auto", "x")
	put(ctx, t, cl, "made", strings.Repeat("x", 2_000_000))
	want := map[string]struct {
		partitions int
		retention  string
	}{
		"made": {4, "3600000"}, "compacted": {1, "-1"}, "asked": {4, "3600000"}, "table": {2, "-1"}, "short": {2, "5000"}, "auto": {4, "3600000"},
	}
	topics, err := adm.ListTopics(ctx)
	if err != nil || len(topics) != len(want) {
		t.Fatalf("topics: %v, %v", topics.Names(), err)
	}
	for name, w := range want {
		if got := len(topics[name].Partitions); got != w.partitions {
			t.Errorf("%s has %d partitions, want %d", name, got, w.partitions)
		}
		if got := setting(ctx, t, cl, name, "retention.ms"); got != w.retention {
			t.Errorf("%s: retention.ms=%q, want %q", name, got, w.retention)
		}
	}
	strict := client(t, b.Addr(), kgo.UnknownTopicRetries(0))
	if err := strict.ProduceSync(ctx, &kgo.Record{Topic: "unknown"}).FirstErr(); err == nil {
		t.Error("a client that does not allow it has created a topic")
	}
	configs, err := adm.DescribeBrokerConfigs(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := configs.On("0", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Configs {
		if c.Key == "log.cleaner.backoff.ms" && c.MaybeValue() != "3153600000000" {
			t.Errorf("compaction runs every %s ms", c.MaybeValue())
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	b := open(t, Options{Dir: t.TempDir()})
	cl := client(t, b.Addr())
	for _, topic := range []string{"plain", "table"} {
		if err := b.CreateTopic(topic, 1, map[string]string{"cleanup.policy": map[string]string{"plain": "delete", "table": "compact"}[topic]}); err != nil {
			t.Fatal(err)
		}
		for _, age := range []time.Duration{8 * 24 * time.Hour, 6 * 24 * time.Hour} {
			r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(age.String()), Timestamp: time.Now().Add(-age)}
			if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.cluster.ApplyRetention()
	if diff := cmp.Diff([]string{"144h0m0s"}, committed(ctx, t, b.Addr(), 1, "plain")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"192h0m0s", "144h0m0s"}, committed(ctx, t, b.Addr(), 2, "table")); diff != "" {
		t.Error(diff)
	}
}

// TestCloseLeavesNothing closes a broker that is busy. It is not parallel, so that what it finds is its own.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx := deadline(t)
	b := open(t, Options{Dir: t.TempDir()})
	var clients []*kgo.Client
	for i := range 3 {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("houses"), kgo.ConsumerGroup("g"))
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, cl)
		put(ctx, t, cl, "houses", strconv.Itoa(i))
	}
	var d net.Dialer
	idle, err := d.DialContext(ctx, "tcp", b.Addr()) // says nothing, ever
	if err != nil {
		t.Fatal(err)
	}
	shut(t, b)
	shut(t, b)
	if err := idle.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is open: %d, %v", n, err)
	}
	var closing sync.WaitGroup
	for _, cl := range clients {
		closing.Go(cl.CloseAllowingRebalance) // which tries for a while to leave the group
	}
	closing.Wait()
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}

func TestBanner(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	for _, want := range []string{"development broker", b.Addr(), b.opts.Dir, "not for production", "no replication", "for 7 days"} {
		if !strings.Contains(b.Banner(), want) {
			t.Errorf("the banner does not say %q:\n%s", want, b.Banner())
		}
	}
}
