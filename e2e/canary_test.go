//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
)

const canaryPipeline = pipelineFile + `checks:
  record:
    - {name: known_zip, rule: statezip in training, otherwise: dead_letter}
outcomes: {topic: sold, horizon: 30d}
canary:
  steps: 10%, 50%, 100%
  hold: 1s
  min_records: 200
  min_outcomes: 1000000
  lease: 5s
`

// canaryJSON is what promote --canary prints.
type canaryJSON struct {
	Model      string `json:"model"`
	Experiment string `json:"experiment"`
	Verdict    string `json:"verdict"`
	Guard      string `json:"guard"`
	Why        string `json:"why"`
	Resumed    bool   `json:"resumed"`
	Complete   bool   `json:"complete"`
	Steps      []struct {
		Share float64 `json:"share"`
	} `json:"steps"`
	Touched []registry.Touched `json:"touched"`
}

// TestCanary lets candidates in by steps, on real Kafka, while 2,000 sales a second are predicted and become known: one that is worse by about 6 % of
// the RMSE, one that can say nothing of a zip code, and one that is slow are taken back, each by the guard that should see it, with its
// records counted. A better one goes through, although the command that watches is killed with SIGKILL in between; and when nobody watches
// any more the instances go back by themselves.
func TestCanary(t *testing.T) {
	beside(t)
	const partitions, perSecond = 6, 2000
	seed := newSeed(t)
	ctx := deadline(t, 12*time.Minute)
	c := newCanaryProject(ctx, t, seed, partitions)
	if ratio := c.ratio(t, "house-prices@2"); ratio < 1.03 || ratio > 1.09 {
		t.Errorf("the RMSE of the worse candidate is %.3f times the champion's, want about 1.06", ratio)
	}
	instances := []*instance{c.start(t, "i0"), c.start(t, "i1")}
	joins := c.startCommand(t, []string{"outcomes"}, "joins", "--create-topics", "--state-dir", c.path("joins"))
	must(t, settled(ctx, c.admin(t), c.topics.Source, partitions, len(instances)))
	must(t, joins.says(ctx, "partitions changed", 1))
	flowing, stop := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- c.flow(flowing, t, perSecond) }()

	for _, tc := range []struct {
		ref, guard string
		more       []string
	}{
		{"house-prices@2", "loss", nil}, {"house-prices@3", "errors", nil}, {"house-prices@4", "latency", []string{"--set", "canary.guards.without=drift"}},
	} {
		o := c.run(ctx, t, append(c.canary(tc.ref), tc.more...)...)
		r := canaryOf(t, o)
		if o.code != 3 || r.Guard != tc.guard || r.Verdict != "rolled_back" || !strings.Contains(o.stderr, "it was taken back: "+tc.guard+": ") {
			t.Errorf("%s: exit status %d, want 3 by the guard %s\n%+v\n%s", tc.ref, o.code, tc.guard, r, o.stderr)
		}
		t.Log(r.Why)
		c.counted(ctx, t, &r)
	}

	// A better one, whose command is killed.
	c.killWatching(ctx, t, "house-prices@5")
	o := c.run(ctx, t, append(c.canary("house-prices@5"), "--set", "canary.min_outcomes=3000")...)
	r := canaryOf(t, o)
	if o.code != 0 || r.Verdict != "passed" || !r.Resumed || len(r.Steps) != 2 || r.Steps[0].Share != 0.5 {
		t.Errorf("exit status %d\n%+v\n%s", o.code, r, o.stderr)
	}

	// The worse one again, which nobody watches.
	c.killWatching(ctx, t, "house-prices@2")
	must(t, poll(ctx, func() (bool, error) {
		now, err := c.control(ctx)
		return err == nil && now.Split == nil && now.Model == "house-prices@5" && strings.Contains(now.Reason, "nobody has watched"), err
	}))
	if n := instances[0].count("nobody watches the canary: all") + instances[1].count("nobody watches the canary: all"); n != 1 {
		t.Errorf("%d instances have taken it back, want one", n)
	}
	stop()
	must(t, <-sent)
	for _, i := range append(instances, joins) {
		if _, err := i.terminate(ctx); err != nil {
			t.Error(err)
		}
	}
	c.inLog(ctx, t)
}

// canaryProject is a project with candidates.
type canaryProject struct{ *project }

func newCanaryProject(ctx context.Context, t *testing.T, seed uint64, partitions int) *canaryProject {
	t.Helper()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	logs := filepath.Join(t.ArtifactDir(), "instances")
	must(t, os.Mkdir(logs, 0o755))
	c := &canaryProject{&project{
		binary: binary(t), dir: t.TempDir(), logs: logs, cluster: cluster, generator: g,
		topics: torture.Topics{Source: "housing", Predictions: "predictions", DeadLetters: letterID},
	}}
	sales := g.CSV(history)
	must(t, os.WriteFile(c.path("sales.csv"), sales, 0o644))
	must(t, os.WriteFile(c.path("narrow.csv"), salesWithout(sales, mostSold(g)), 0o644))
	must(t, os.WriteFile(c.path("pipeline.yaml"), []byte(canaryPipeline), 0o644))
	for i, set := range [][]string{nil, {"ntrees=29"}, {"narrow"}, {"ntrees=1500", "stopping_rounds=0"}, {"ntrees=90"}} {
		args := []string{"train", "--by", "e2e"}
		for _, s := range set {
			if s == "narrow" {
				args = append(args, "--set", "train.data=narrow.csv")
				continue
			}
			args = append(args, "--set", "train.gbm."+s)
		}
		c.ok(t, args...)
		c.ok(t, "model", "approve", fmt.Sprintf("house-prices@%d", i+1), "--by", "e2e", "--reason", "it is a test")
	}
	c.createTopics(ctx, t, partitions, nil)
	must(t, cluster.CreateTopic(ctx, "sold", partitions, nil))
	return c
}

// mostSold returns the zip code with the most sales.
func mostSold(g *house.Generator) string {
	n := map[string]int{}
	best := ""
	for i := range int64(history) {
		s := g.Sale(i)
		if n[s.StateZip]++; n[s.StateZip] > n[best] {
			best = s.StateZip
		}
	}
	return best
}

// salesWithout returns sales without those of a zip code.
func salesWithout(csv []byte, zip string) []byte {
	var out []byte
	for line := range bytes.Lines(csv) {
		if !bytes.Contains(line, []byte(zip)) {
			out = append(out, line...)
		}
	}
	return out
}

// ratio returns how many times the champion's the RMSE of a model is, on sales that nobody has seen.
func (c *canaryProject) ratio(t *testing.T, ref string) float64 {
	t.Helper()
	const n = 20_000
	messages, prices := make([]message, n), make([]float64, n)
	for i := range messages {
		s := c.generator.Sale(history + 1_000_000 + int64(i))
		messages[i].value, prices[i] = s.AppendListing(nil), s.Price
	}
	squares := map[string]float64{}
	for _, model := range []string{ref, "house-prices@1"} {
		c.predictWith(t, model, messages)
		for i := range messages {
			var p struct {
				Price float64 `json:"predicted_price"`
			}
			if messages[i].prediction != nil {
				must(t, json.Unmarshal(messages[i].prediction, &p))
				squares[model] += (p.Price - prices[i]) * (p.Price - prices[i])
			}
		}
	}
	return math.Sqrt(squares[ref] / squares["house-prices@1"])
}

// flow sends sales, each with a key of its own, and their prices, until ctx ends.
func (c *canaryProject) flow(ctx context.Context, t *testing.T, perSecond int) error {
	cl := c.client(t, kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	began := time.Now()
	for i := 0; ; i++ {
		if i%100 == 0 {
			if err := pause(ctx, time.Until(began.Add(time.Duration(i)*time.Second/time.Duration(perSecond)))); err != nil {
				break
			}
		}
		s := c.generator.Sale(history + int64(i))
		key := fmt.Appendf(nil, "sale-%d", i)
		cl.Produce(context.Background(), &kgo.Record{Topic: c.topics.Source, Key: key, Value: s.AppendListing(nil)}, nil)
		cl.Produce(context.Background(), &kgo.Record{Topic: "sold", Key: key, Value: fmt.Appendf(nil, `{"price":%g}`, s.Price)}, nil)
	}
	return cl.Flush(context.Background())
}

func (c *canaryProject) canary(ref string) []string {
	return []string{"model", "promote", ref, "--canary", "file", "--by", "e2e", "--reason", "it is a test", "--json", "--timeout", "90s"}
}

func canaryOf(t *testing.T, o outcome) (r canaryJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(tail(o.stdout, 1)), &r); err != nil {
		t.Fatalf("%v: exit status %d\n%s%s", err, o.code, o.stdout, o.stderr)
	}
	return r
}

// killWatching begins a canary, and kills its command.
func (c *canaryProject) killWatching(ctx context.Context, t *testing.T, ref string) {
	t.Helper()
	w := c.launch(t, "watching", append(append([]string{c.binary}, c.canary(ref)...), "--set", "canary.hold=1h")...)
	must(t, w.says(ctx, "step 1 of 3", 1))
	must(t, w.kill(ctx))
}

// counted wants a canary to have counted the records that its model was given.
func (c *canaryProject) counted(ctx context.Context, t *testing.T, r *canaryJSON) {
	t.Helper()
	if !r.Complete || len(r.Touched) == 0 {
		t.Errorf("%s: not all was counted: %+v", r.Model, r)
	}
	for _, topic := range []string{c.topics.Predictions, c.topics.DeadLetters} {
		records, err := torture.Committed(ctx, c.cluster.Bootstrap(), topic)
		must(t, err)
		want, n := map[int32]registry.TouchedPartition{}, int64(0)
		for _, rec := range records {
			h := headers(rec)
			if h["millrace.experiment"] != r.Experiment || h["millrace.arm"] != "canary" {
				continue
			}
			p, ok := want[rec.Partition]
			if !ok {
				p = registry.TouchedPartition{Partition: rec.Partition, From: rec.Offset, To: rec.Offset}
			}
			p.From, p.To, p.Records = min(p.From, rec.Offset), max(p.To, rec.Offset), p.Records+1
			want[rec.Partition] = p
			n++
		}
		i := slices.IndexFunc(r.Touched, func(of registry.Touched) bool { return of.Topic == topic })
		if i < 0 {
			i, r.Touched = len(r.Touched), append(r.Touched, registry.Touched{Topic: topic})
		}
		of := r.Touched[i]
		if of.Records != n || len(of.Partitions) != len(want) {
			t.Errorf("%s: %s has %d records, and %d were counted", r.Model, topic, n, of.Records)
		}
		for _, p := range of.Partitions {
			if p != want[p.Partition] {
				t.Errorf("%s: %s/%d: counted %+v, want %+v", r.Model, topic, p.Partition, p, want[p.Partition])
			}
		}
	}
}

// control returns what the instances are to run.
func (c *canaryProject) control(ctx context.Context) (*rollout.Deployment, error) {
	records, err := torture.Committed(ctx, c.cluster.Bootstrap(), "house-prices-control")
	if err != nil {
		return nil, err
	}
	var last *rollout.Deployment
	for _, r := range records {
		if string(r.Key) == rollout.Key {
			now, err := rollout.DecodeControl(r.Value)
			if err != nil {
				return nil, err
			}
			last = now.Current
		}
	}
	return last, nil
}

// inLog wants the audit log to tell it all, with the numbers.
func (c *canaryProject) inLog(ctx context.Context, t *testing.T) {
	t.Helper()
	o := c.run(ctx, t, "model", "log", "--json")
	var events []registry.Event
	must(t, json.Unmarshal([]byte(o.stdout), &events))
	var said []string
	for _, e := range events {
		switch {
		case e.Trial != nil && e.Trial.Phase == registry.TrialEnded:
			said = append(said, fmt.Sprintf("%s %d %s %s", e.Action, e.Version, e.Trial.Verdict, e.Trial.Guard))
			if len(e.Trial.Guards) != 4 && e.Version != 4 {
				t.Errorf("%+v", e.Trial.Guards)
			}
		case e.Trial != nil:
			said = append(said, fmt.Sprintf("%d %s %g", e.Version, e.Trial.Phase, e.Trial.Share))
		}
	}
	text := strings.Join(said, ", ")
	for _, want := range []string{
		"2 started 0.1", "trial 2 rolled_back loss", "3 started 0.1", "trial 3 rolled_back errors", "trial 4 rolled_back latency",
		"5 started 0.1, 5 changed 0.5, promote 5 passed , 2 started 0.1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the log: %s", want, text)
		}
	}
	o = c.run(ctx, t, "model", "log")
	t.Log("\n" + o.stdout)
}
