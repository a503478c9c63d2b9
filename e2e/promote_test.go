//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
)

// promotionsEnv is how many promotions and rollbacks TestPromotions makes. Default: a few.
const promotionsEnv = "MILLRACE_PROMOTIONS"

// TestPromotions promotes models and rolls back, one after the other, while three instances predict 2,000 records a second, and
// meanwhile kills an instance, has a model damaged and a registry away. Each record has exactly one result; each partition goes over
// to a model once, at the offset that promote names, and nothing behind that offset is of another model.
func TestPromotions(t *testing.T) {
	const partitions, keys, perSecond = 6, 500, 2000
	n, err := strconv.Atoi(os.Getenv(promotionsEnv))
	if err != nil || n < 1 {
		n = 6
	}
	seed := newSeed(t)
	ctx := deadline(t, 20*time.Minute)
	c := newChange(ctx, t, seed, partitions, keys, perSecond*(18+n/2))
	d := c.deliver(ctx, t, c.traffic, perSecond)

	calm := time.Now()
	must(t, pause(ctx, 5*time.Second))
	busy := time.Now()
	for i := range n {
		c.promote(ctx, t, i)
	}
	after := time.Now()
	c.killed(ctx, t)
	c.refusals(ctx, t)
	must(t, d.wait(ctx))
	must(t, c.observer.Wait(ctx))
	for _, i := range c.instances {
		if _, err := i.terminate(ctx); err != nil {
			t.Error(err)
		}
	}
	must(t, c.observer.Drain(ctx))
	if err := c.oracle.Report().Err(); err != nil {
		t.Error(err)
	}
	c.checkModels(ctx, t)
	t.Logf("%s=%d: %d records, %d promotions and rollbacks", seedEnv, seed, len(c.traffic.messages), len(c.said))
	t.Logf("from a record's time to when its prediction could be read, without promotions: %s", c.latencies.between(calm.Add(time.Second), busy))
	t.Logf("the same while models were promoted, %d in %v: %s", n, after.Sub(busy).Round(time.Millisecond), c.latencies.between(busy, after))
}

// change is a pipeline whose models change.
type change struct {
	*project

	instances []*instance
	traffic   *traffic
	oracle    *torture.Oracle
	observer  *torture.Observer
	latencies *latencies
	values    map[string][][]byte // what each model predicts for the messages
	said      []promotedJSON
}

// promotedJSON is what promote prints.
type promotedJSON struct {
	Model      string `json:"model"`
	Digest     string `json:"digest"`
	Epoch      int64  `json:"epoch"`
	Instances  int    `json:"instances"`
	Partitions []struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		From      int64  `json:"from"`
	} `json:"partitions"`
}

// The models: three that are approved, and one that is not.
const (
	approvedModels = 3
	unapproved     = "house-prices@4"
)

func modelRef(i int) string { return fmt.Sprintf("house-prices@%d", i%approvedModels+1) }

// present returns the model that runs, and another one that may.
func (c *change) present() (ref, other string) {
	ref = modelRef(0)
	if len(c.said) > 0 {
		ref = c.said[len(c.said)-1].Model
	}
	for i := range approvedModels {
		if modelRef(i) == ref {
			other = modelRef(i + 1)
		}
	}
	return ref, other
}

// newChange starts three instances, of which the last has a registry of its own, a copy.
func newChange(ctx context.Context, t *testing.T, seed uint64, partitions, keys, records int) *change {
	t.Helper()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	c := &change{project: newProject(t, cluster, seed), values: map[string][][]byte{}}
	for _, trees := range []string{"30", "20", "10"} {
		c.ok(t, "train", "--by", "e2e", "--set", "train.gbm.ntrees="+trees)
	}
	for i := 1; i < approvedModels; i++ {
		c.ok(t, "model", "approve", modelRef(i), "--by", "e2e", "--reason", "it is a test")
	}
	c.createTopics(ctx, t, partitions, nil)
	c.traffic = c.newTraffic(t, seed, records, keys, partitions)
	for i := range approvedModels {
		messages := slices.Clone(c.traffic.messages)
		for k := range messages {
			messages[k].prediction = nil
		}
		c.predictWith(t, modelRef(i), messages)
		for k := range messages {
			c.values[modelRef(i)] = append(c.values[modelRef(i)], messages[k].prediction)
		}
	}
	must(t, os.CopyFS(c.path("copy"), os.DirFS(c.path("models"))))
	for i := range 3 {
		var more []string
		if i == 2 {
			more = []string{"--set", "model.registry=copy"}
		}
		c.instances = append(c.instances, c.start(t, fmt.Sprintf("i%d", i), more...))
	}
	must(t, settled(ctx, c.admin(t), c.topics.Source, partitions, len(c.instances)))
	inputs := c.traffic.inputs()
	for i := range inputs {
		inputs[i].Value = nil // it depends on the model
	}
	var err error
	c.oracle, err = torture.NewOracle(inputs)
	must(t, err)
	c.observer, err = torture.Observe(cluster.Bootstrap(), c.topics, c.oracle)
	must(t, err)
	t.Cleanup(c.observer.Close)
	c.latencies = c.measure(t)
	return c
}

// command is promote or rollback of a model.
func (c *change) command(verb string, more ...string) []string {
	return append([]string{"model", verb, "--by", "e2e", "--reason", "it is a test", "--json", "--timeout", "90s"}, more...)
}

// promote promotes another model, or goes back to the one before.
func (c *change) promote(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	before, other := c.present()
	args := c.command("promote", other)
	if i%2 == 1 {
		args = c.command("rollback")
	}
	p := c.accept(t, c.run(ctx, t, args...))
	if p.Model == before || p.Instances != len(c.instances) {
		t.Errorf("promotion %d: %+v, after %s", i, p, before)
	}
}

// accept notes a promotion that has to have succeeded.
func (c *change) accept(t *testing.T, o outcome) promotedJSON {
	t.Helper()
	var p promotedJSON
	if o.code != 0 {
		t.Fatalf("exit status %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &p))
	c.syncCopy(t)
	c.said = append(c.said, p)
	return p
}

// syncCopy brings the events that are new to the registry of the last instance.
func (c *change) syncCopy(t *testing.T) {
	t.Helper()
	names, err := os.ReadDir(c.path("models/events"))
	must(t, err)
	for _, n := range names {
		to := c.path("copy/events/" + n.Name())
		if _, err := os.Stat(to); err != nil {
			must(t, os.WriteFile(to, readFile(t, c.path("models/events/"+n.Name())), 0o444))
		}
	}
}

// killed kills an instance while it goes over, and starts it again: the promotion waits for it.
func (c *change) killed(ctx context.Context, t *testing.T) {
	t.Helper()
	_, next := c.present()
	done := make(chan outcome, 1)
	go func() { done <- c.run(ctx, t, c.command("promote", next)...) }()
	victim := c.instances[1]
	must(t, victim.says(ctx, "the next model is ready", victim.count("the next model is ready")+1))
	must(t, victim.kill(ctx))
	c.instances[1] = c.start(t, victim.id)
	select {
	case o := <-done:
		if p := c.accept(t, o); p.Model != next {
			t.Errorf("%+v", p)
		}
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

// refusals tries what must not come to pass: every instance goes on with the model that it has.
func (c *change) refusals(ctx context.Context, t *testing.T) {
	t.Helper()
	_, other := c.present()
	refused := func(what string, code int, texts []string, args ...string) {
		t.Helper()
		o := c.run(ctx, t, args...)
		if o.code != code {
			t.Errorf("%s: exit status %d, want %d\n%s", what, o.code, code, o.stderr)
		}
		for _, text := range texts {
			if !strings.Contains(o.stderr, text) {
				t.Errorf("%s: no %q in\n%s", what, text, o.stderr)
			}
		}
	}
	refused("a candidate", 3, []string{unapproved + ": not approved: it is a candidate"}, c.command("promote", unapproved)...)

	blob := c.blob(t, other)
	good := readFile(t, blob)
	overwrite(t, blob, append(bytes.Clone(good[:len(good)/2]), make([]byte, len(good)-len(good)/2)...))
	refused("a damaged blob", 3, []string{"i2: cannot load it", "does not hold what was registered", "no instance has gone over"}, c.command("promote", other)...)
	overwrite(t, blob, good)

	must(t, os.Rename(c.path("copy"), c.path("away")))
	must(t, os.WriteFile(c.path("copy"), nil, 0o600)) // as a mount that is gone: it cannot be read
	refused("a registry that is away", 1, []string{"i2: cannot load it", "no instance has gone over"}, c.command("promote", other, "--timeout", "3s")...)
	must(t, os.Remove(c.path("copy")))
	must(t, os.Rename(c.path("away"), c.path("copy")))

	c.forge(ctx, t)
	if p := c.accept(t, c.run(ctx, t, c.command("promote", other)...)); p.Model != other {
		t.Errorf("%+v", p)
	}
}

// forge writes to the control topic, as nobody should be able to, that the instances are to run what nobody approved.
func (c *change) forge(ctx context.Context, t *testing.T) {
	t.Helper()
	o := c.run(ctx, t, "model", "show", unapproved, "--json")
	var shown struct {
		Digest string `json:"digest"`
	}
	must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &shown))
	value := fmt.Sprintf(`{"version":1,"current":{"epoch":%d,"model":%q,"digest":%q},"next":null}`, c.said[len(c.said)-1].Epoch+1, unapproved, shown.Digest)
	cl := c.client(t)
	must(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "house-prices-control", Key: []byte("/deployment"), Value: []byte(value)}).FirstErr())
	for _, i := range c.instances {
		must(t, i.says(ctx, `error="`+unapproved+`: not approved`, 1))
	}
}

// blob returns the file of a model in the registry of the last instance.
func (c *change) blob(t *testing.T, ref string) string {
	t.Helper()
	o := c.run(deadline(t, time.Minute), t, "model", "show", ref, "--json")
	var shown struct {
		Digest string `json:"digest"`
	}
	must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &shown))
	sum := strings.TrimPrefix(shown.Digest, "sha256:")
	return c.path(filepath.Join("copy/blobs/sha256", sum[:2], sum))
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, data, 0o444))
}

// checkModels holds each result against the model that was live at its offset, by what the promotions have said.
func (c *change) checkModels(ctx context.Context, t *testing.T) {
	t.Helper()
	at := map[torture.Source]int{}
	for i := range c.traffic.messages {
		at[c.traffic.messages[i].Source] = i
	}
	wrong, used := 0, map[string]int{}
	fault := func(format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf(format, args...)
		}
	}
	predictions, err := torture.Committed(ctx, c.cluster.Bootstrap(), c.topics.Predictions)
	must(t, err)
	for _, r := range predictions {
		h := headers(r)
		var s torture.Source
		if _, err := fmt.Sscanf(h["millrace.source"], c.topics.Source+"/%d/%d", &s.Partition, &s.Offset); err != nil {
			t.Fatal(err)
		}
		want := c.live(s)
		if used[want]++; h["millrace.model"] != want {
			fault("%s was predicted with %s, and %s was live there", s, h["millrace.model"], want)
		} else if !bytes.Equal(r.Value, c.values[want][at[s]]) {
			fault("%s has another prediction than %s gives", s, want)
		}
	}
	letters, err := torture.Committed(ctx, c.cluster.Bootstrap(), c.topics.DeadLetters)
	must(t, err)
	for _, r := range letters {
		h := headers(r)
		s, err := letterSource(h, c.topics.Source)
		must(t, err)
		if want := c.live(s); h["millrace.dlq.model"] != want {
			fault("dead letter of %s names %s, and %s was live there", s, h["millrace.dlq.model"], want)
		}
	}
	t.Logf("predictions by model: %v; %d of another model than promote said", used, wrong)
}

// live returns which model has to have predicted a record.
func (c *change) live(s torture.Source) string {
	ref := modelRef(0)
	for i := range c.said {
		for _, p := range c.said[i].Partitions {
			if p.Topic == c.topics.Source && p.Partition == s.Partition && p.From <= s.Offset {
				ref = c.said[i].Model
			}
		}
	}
	return ref
}

// latencies is when predictions could be read.
type latencies struct {
	mu   sync.Mutex
	list []latency
}

type latency struct {
	of        time.Time // the record's
	took      time.Duration
	partition int32 // of the record and of its prediction
}

// measure reads predictions as they come, until the end of the test.
func (p *project) measure(t *testing.T) *latencies {
	t.Helper()
	l := &latencies{}
	cl := p.client(t, kgo.ConsumeTopics(p.topics.Predictions), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(10*time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fs := cl.PollFetches(ctx)
			now := time.Now()
			l.mu.Lock()
			fs.EachRecord(func(r *kgo.Record) { l.list = append(l.list, latency{r.Timestamp, now.Sub(r.Timestamp), r.Partition}) })
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l
}

// took returns the latencies of the records of some time, ascending.
func (l *latencies) took(from, to time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, x := range l.list {
		if !x.of.Before(from) && x.of.Before(to) {
			took = append(took, x.took)
		}
	}
	slices.Sort(took)
	return took
}

// between describes the latencies of the records of some time.
func (l *latencies) between(from, to time.Time) string {
	took := l.took(from, to)
	if len(took) == 0 {
		return "no records"
	}
	q := func(p float64) time.Duration { return took[int(p*float64(len(took)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d records, p50 %s, p99 %s, p99.9 %s, longest %s", len(took), q(0.5), q(0.99), q(0.999), q(1))
}
