//go:build unix

package e2e

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
)

// refusal is a run that has to end at once, with exit status 2 and a message for a person.
type refusal struct {
	name  string
	rules []*kadm.ACLBuilder // the brokers' meanwhile
	args  []string
	says  []string // on standard error
}

func rule(b *kadm.ACLBuilder, ops ...kmsg.ACLOperation) *kadm.ACLBuilder {
	return b.Operations(ops...).ResourcePatternType(kadm.ACLPatternLiteral)
}

func allow() *kadm.ACLBuilder { return kadm.NewACLs().Allow("User:ANONYMOUS").AllowHosts() }

func deny() *kadm.ACLBuilder { return kadm.NewACLs().Deny("User:ANONYMOUS").DenyHosts() }

// without leaves all rights to a topic but one.
func without(op kmsg.ACLOperation, topic string) []*kadm.ACLBuilder {
	return []*kadm.ACLBuilder{rule(allow().Topics(topic), kmsg.ACLOperationAll), rule(deny().Topics(topic), op)}
}

// forOthers leaves no right to a topic: where there are rules for somebody, nobody else has any.
func forOthers(topic string) []*kadm.ACLBuilder {
	return []*kadm.ACLBuilder{rule(kadm.NewACLs().Allow("User:somebody").AllowHosts().Topics(topic), kmsg.ACLOperationAll)}
}

func refusals() []refusal {
	const read, write, describe = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	source, sink, letters := "operation Read, resource Topic housing\n", "operation Write, resource Topic predictions\n", "operation Write, resource Topic housing.dlq\n"
	repeating := []string{"--set", "guarantee=at_least_once"}
	noGroup := []*kadm.ACLBuilder{rule(deny().Groups(group), read)}
	inGroup := []string{"group house-prices", "operation Read, resource Group house-prices\n"}
	return []refusal{
		{name: "unknown source topic", args: []string{"--set", "source.topic=nowhere"}, says: []string{"describe topic nowhere: ", "hint: create it"}},
		{name: "unknown sink topic", args: []string{"--set", "sink.topic=nowhere"}, says: []string{"describe topic nowhere: ", "hint: create it"}},
		{name: "unknown dead-letter topic", args: []string{"--set", "dead_letter.topic=nowhere"}, says: []string{"describe topic nowhere: ", "hint: create it"}},
		{name: "source without read", rules: without(read, "housing"), says: []string{"read topic housing: ", source}},
		{name: "source without describe", rules: without(describe, "housing"), says: []string{"topic housing: ", source}},
		{name: "source without any right", rules: forOthers("housing"), says: []string{"topic housing: ", source}},
		{name: "sink without write", rules: without(write, "predictions"), says: []string{"write to topic predictions: ", sink}},
		{name: "sink without write, at least once", rules: without(write, "predictions"), args: repeating, says: []string{"write to topic predictions: ", sink}},
		{name: "sink without any right", rules: forOthers("predictions"), says: []string{"topic predictions: ", sink}},
		{name: "dead letters without write", rules: without(write, letterID), says: []string{"write to topic housing.dlq: ", letters}},
		{name: "dead letters without any right", rules: forOthers(letterID), says: []string{"topic housing.dlq: ", letters}},
		{name: "group without read", rules: noGroup, says: inGroup},
		{name: "group without read, at least once", rules: noGroup, args: repeating, says: inGroup},
		{
			name: "transactional id without write", rules: []*kadm.ACLBuilder{rule(deny().TransactionalIDs(group+"-instance-0"), write)},
			says: []string{"transactional id house-prices-instance-0: ", "operations Write and Describe, resource TransactionalId house-prices-instance-0\n"},
		},
	}
}

// TestRefusals runs the pipeline where it may not: it ends with exit status 2 and says what is missing, also where
// a right is taken away while it works.
func TestRefusals(t *testing.T) {
	const right, wrong = "correct-horse-battery", "hunter2-staple"
	seed := newSeed(t)
	ctx := deadline(t, 5*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{ACLs: true, Users: map[string]string{"millrace": right}})
	p := newProject(t, cluster, seed)
	p.createTopics(ctx, t, 2, nil)
	for _, r := range refusals() {
		t.Run(r.name, func(t *testing.T) {
			p.withACLs(ctx, t, r.rules)
			p.refused(ctx, t, r.says, r.args...)
		})
	}
	sasl := []string{
		"--set", "kafka.brokers=" + strings.Join(cluster.BootstrapSASL(), ","), "--set", "kafka.sasl.mechanism=plain", "--set", "kafka.sasl.username=millrace",
		"--set", "kafka.sasl.password_file=" + p.path("password"),
	}
	must(t, os.WriteFile(p.path("password"), []byte(wrong+"\n"), 0o600))
	t.Run("wrong password", func(t *testing.T) {
		o := p.refused(ctx, t, []string{"SASL_AUTHENTICATION_FAILED", "hint: check tls and sasl"}, sasl...)
		if text := o.stdout + o.stderr; strings.Contains(text, wrong) || strings.Contains(text, right) {
			t.Errorf("the output holds a password:\n%s", text)
		}
	})
	t.Run("no password", func(t *testing.T) { // the listener hangs up without a word, as a broker does that goes down
		i := p.start(t, "instance-0", sasl[:2]...)
		must(t, i.says(ctx, "is SASL missing", 1))
		must(t, i.kill(ctx))
	})
	t.Run("revoked while it works", func(t *testing.T) { p.revoked(ctx, t) })
	// What was refused was refused for its reason: with all rights, and with the right password, it works.
	must(t, os.WriteFile(p.path("password"), []byte(right+"\n"), 0o600))
	t.Run("nothing refused", func(t *testing.T) {
		i := p.start(t, "instance-0", sasl...)
		p.processed(ctx, t, "k")
		_, err := i.terminate(ctx)
		must(t, err)
		if text := i.log(); strings.Contains(text, right) {
			t.Errorf("the output holds the password:\n%s", text)
		}
	})
}

// refused runs the pipeline, which has to end by itself, and say what it should.
func (p *project) refused(ctx context.Context, t *testing.T, says []string, args ...string) outcome {
	t.Helper()
	o := p.run(ctx, t, append([]string{"run", "--instance-id", "instance-0"}, args...)...)
	if o.code != 2 {
		t.Errorf("exit status %d: want 2", o.code)
	}
	says = append(says, "millrace: ", "  hint: ")
	for _, s := range says {
		if !strings.Contains(o.stderr, s) {
			t.Errorf("it does not say %q", s)
		}
	}
	if t.Failed() {
		t.Logf("stderr:\n%s", o.stderr)
	} else {
		t.Log(tail(o.stderr, 2))
	}
	return o
}

// withACLs adds rules for the duration of the test. The broker follows its controller a moment later.
func (p *project) withACLs(ctx context.Context, t *testing.T, rules []*kadm.ACLBuilder) {
	t.Helper()
	admin := p.admin(t)
	for _, rule := range rules {
		created, err := admin.CreateACLs(ctx, rule)
		must(t, err)
		for _, r := range created {
			must(t, r.Err)
		}
		must(t, known(ctx, admin, rule, len(created)))
		t.Cleanup(func() {
			ctx := context.WithoutCancel(ctx)
			deleted, err := admin.DeleteACLs(ctx, rule)
			must(t, err)
			for _, r := range deleted {
				must(t, r.Err)
			}
			must(t, known(ctx, admin, rule, 0))
		})
	}
}

// known waits until the broker knows n rules of a kind.
func known(ctx context.Context, admin *kadm.Client, rule *kadm.ACLBuilder, n int) error {
	return poll(ctx, func() (bool, error) {
		described, err := admin.DescribeACLs(ctx, rule)
		found := 0
		for _, r := range described {
			found += len(r.Described)
		}
		return found == n, err
	})
}

// revoked takes the right to write away from an instance at work.
func (p *project) revoked(ctx context.Context, t *testing.T) {
	t.Helper()
	i := p.start(t, "instance-0")
	p.processed(ctx, t, "before")
	p.withACLs(ctx, t, without(kmsg.ACLOperationWrite, p.topics.Predictions))
	s := p.generator.Sale(history)
	cl := p.client(t, kgo.DefaultProduceTopic(p.topics.Source))
	must(t, cl.ProduceSync(ctx, &kgo.Record{Key: []byte("after"), Value: s.AppendListing(nil)}).FirstErr())
	code, err := i.exit(ctx)
	must(t, err)
	if text := i.log(); code != 2 || !strings.Contains(text, "operation Write, resource Topic predictions") {
		t.Errorf("exit status %d: want 2\n%s", code, text)
	}
}

// processed sends a record and waits for its prediction.
func (p *project) processed(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	s := p.generator.Sale(history)
	cl := p.client(t, kgo.DefaultProduceTopic(p.topics.Source))
	must(t, cl.ProduceSync(ctx, &kgo.Record{Key: []byte(key), Value: s.AppendListing(nil)}).FirstErr())
	must(t, poll(ctx, func() (bool, error) {
		rs, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.Predictions)
		for _, r := range rs {
			if string(r.Key) == key {
				return true, nil
			}
		}
		return false, err
	}))
}
