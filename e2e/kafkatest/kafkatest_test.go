//go:build unix

package kafkatest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// client returns a client that is closed with the test.
func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// deadline returns a context for waits that end far earlier.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// transact produces values to the topic houses in one transaction, which it ends as told.
func transact(ctx context.Context, t *testing.T, cl *kgo.Client, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "houses", Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(ctx, end); err != nil {
		t.Fatal(err)
	}
}

// consume reads n records.
func consume(ctx context.Context, t *testing.T, cl *kgo.Client, n int) []string {
	t.Helper()
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

func TestOneBroker(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{})
	ctx := deadline(t)
	if err := c.CreateTopic(ctx, "houses", 1, map[string]string{"retention.ms": "-1"}); err != nil {
		t.Fatal(err)
	}
	cl := client(t, kgo.SeedBrokers(c.Bootstrap()...), kgo.TransactionalID("t"),
		kgo.ConsumeTopics("houses"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	transact(ctx, t, cl, kgo.TryCommit, "a", "b")
	transact(ctx, t, cl, kgo.TryAbort, "never")
	transact(ctx, t, cl, kgo.TryCommit, "c")
	if got := strings.Join(consume(ctx, t, cl, 3), ""); got != "abc" {
		t.Errorf("committed records: %q", got)
	}
	versions, err := kadm.NewClient(cl).ApiVersions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	versions.Each(func(v kadm.BrokerApiVersions) {
		if v.Err != nil {
			t.Error(v.Err)
		}
	})
	if err := c.Stop(ctx, 0); err != nil { // in order: the log is whole
		t.Fatal(err)
	}
	if err := c.Stop(ctx, 0); err == nil {
		t.Error("stopped twice")
	}
	if err := c.Restart(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx, 0); err == nil {
		t.Error("restarted while it runs")
	}
	again := client(t, kgo.SeedBrokers(c.Bootstrap()...), kgo.ConsumeTopics("houses"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if got := strings.Join(consume(ctx, t, again, 3), ""); got != "abc" {
		t.Errorf("after a restart: %q", got)
	}
}

func TestThreeBrokers(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Brokers: 3, Config: map[string]string{
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500", // the dead are found out sooner
	}})
	ctx := deadline(t)
	if err := c.CreateTopic(ctx, "houses", 3, nil); err != nil {
		t.Fatal(err)
	}
	cl := client(t, kgo.SeedBrokers(c.Bootstrap()...), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ConsumeTopics("houses"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	m, err := kadm.NewClient(cl).Metadata(ctx, "houses")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range m.Brokers {
		if b.Rack == nil || *b.Rack != fmt.Sprintf("az-%d", b.NodeID) {
			t.Errorf("broker %d has rack %v", b.NodeID, b.Rack)
		}
	}
	for _, p := range m.Topics["houses"].Partitions {
		if len(p.Replicas) != 3 {
			t.Errorf("partition %d has replicas %v", p.Partition, p.Replicas)
		}
	}
	transact(ctx, t, cl, kgo.TryCommit, "1", "2", "3")
	if err := c.Kill(ctx, 1); err != nil {
		t.Fatal(err)
	}
	transact(ctx, t, cl, kgo.TryCommit, "4", "5", "6")
	if got := consume(ctx, t, cl, 6); len(got) != 6 {
		t.Errorf("with a dead broker: %q", got)
	}
	if err := c.Restart(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitInSync(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(ctx, 2); err != nil {
		t.Fatal(err)
	}
	transact(ctx, t, cl, kgo.TryCommit, "7")
	if got := consume(ctx, t, cl, 1); got[0] != "7" {
		t.Errorf("with a stopped broker: %q", got)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{ACLs: true, Users: map[string]string{"alice": `se"cret\`}})
	ctx := deadline(t)
	for _, topic := range []string{"open", "closed"} {
		if err := c.CreateTopic(ctx, topic, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	cl := client(t, kgo.SeedBrokers(c.Bootstrap()...))
	deny := kadm.NewACLs().Deny("User:ANONYMOUS").DenyHosts().Topics("closed").Operations(kmsg.ACLOperationWrite).ResourcePatternType(kadm.ACLPatternLiteral)
	allow := kadm.NewACLs().Allow("User:alice").AllowHosts().Topics("closed").Operations(kmsg.ACLOperationAll).ResourcePatternType(kadm.ACLPatternLiteral)
	for _, b := range []*kadm.ACLBuilder{deny, allow} {
		r, err := kadm.NewClient(cl).CreateACLs(ctx, b)
		if err != nil || len(r) != 1 || r[0].Err != nil {
			t.Fatalf("create ACLs: %v %+v", err, r)
		}
	}
	alice := client(t, kgo.SeedBrokers(c.BootstrapSASL()...), kgo.SASL(plain.Auth{User: "alice", Pass: `se"cret\`}.AsMechanism()))
	put := func(cl *kgo.Client, topic string) error {
		return cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr()
	}
	if err := put(cl, "open"); err != nil {
		t.Errorf("a topic without rules: %v", err)
	}
	if err := put(cl, "closed"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("a denied topic: %v", err)
	}
	if err := put(alice, "closed"); err != nil {
		t.Errorf("a permitted user: %v", err)
	}
	mallory := client(t, kgo.SeedBrokers(c.BootstrapSASL()...), kgo.SASL(plain.Auth{User: "alice", Pass: "guess"}.AsMechanism()))
	if err := mallory.Ping(ctx); err == nil {
		t.Error("a wrong password is let in")
	}
}

// TestOrphan kills a test process that has a broker running, and sees the broker go.
func TestOrphan(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	findTools(ctx, t)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestOrphanChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := 0
	for lines := bufio.NewScanner(out); group == 0 && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), childSays); ok {
			if group, err = strconv.Atoi(text); err != nil {
				t.Error(err)
			}
		}
	}
	if group == 0 {
		t.Error("the child has started no broker")
	} else if err := syscall.Kill(-group, 0); err != nil {
		t.Errorf("the broker's process group %d: %v", group, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child has ended by itself")
	}
	if group == 0 {
		return
	}
	err = poll(ctx, func() (bool, error) {
		return errors.Is(syscall.Kill(-group, 0), syscall.ESRCH), nil
	})
	if err != nil {
		t.Errorf("the broker outlives its test: %v", err)
	}
}

const (
	childEnv  = "MILLRACE_KAFKATEST_CHILD"
	childSays = "broker process "
)

// TestOrphanChild is the process that TestOrphan kills, and nothing in any other.
func TestOrphanChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	c := Start(t, Options{})
	fmt.Printf("\n%s%d\n", childSays, c.nodes[0].proc.Pid())
	<-deadline(t).Done()
}
