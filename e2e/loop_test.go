//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
	"millrace.dev/internal/registry"
)

const loopPipeline = `version: 1
name: house-prices
kafka:
  brokers: ${KAFKA_BROKERS}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
  required: [sqft_living]
source: {topic: housing}
features:
  age: year(date) - yr_built
  renovated: yr_renovated > 0
  living_share: sqft_living / sqft_lot
train:
  data: topic://housing
  labels: {data: "topic://housing.sold"}
  where: price > 0
  label: price
  ignore: [date, street, country]
  gbm: {ntrees: 60, max_depth: 5, learn_rate: 0.1, min_rows: 10, label_transform: log}
model:
  accept: {champion: {metric: mae, worse_by: 2%}}
schedule: {retrain_after: 1h}
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
outcomes: {topic: housing.sold, horizon: 30d}
shadow: {}
checks:
  window:
    every: 2000
    columns: [sqft_living, prediction]
    median: {columns: [sqft_living], within: 15%}
    on_fail: retrain
canary:
  steps: 10%, 50%, 100%
  hold: 2s
  min_records: 200
  min_outcomes: 1500
  guards: {loss: 2%, loss_metric: mae, drift: 100%}
`

// TestLoop is the whole loop on real Kafka, with nothing but millrace's commands: houses become larger and dearer, the checks of windows say so,
// the schedule trains with what was sold, the gates let the model through, it predicts in the shadow and is better by the labels, a
// person approves it, a canary lets it in, and it is the champion; meanwhile each house has exactly one prediction.
func TestLoop(t *testing.T) {
	beside(t)
	seed := newSeed(t)
	ctx := deadline(t, 8*time.Minute)
	l := newLoop(ctx, t, seed)

	// What has been: the champion knows it.
	l.send(ctx, t, 4000, false)
	l.ok(t, "train", "--by", "ann")
	l.ok(t, "model", "approve", "house-prices@1", "--by", "bob", "--reason", "as good as the appraisers")
	instances := []*instance{l.start(t, "i0", "--state-dir", l.path("state-0")), l.start(t, "i1", "--state-dir", l.path("state-1"))}
	instances = append(instances,
		l.startCommand(t, []string{"outcomes"}, "joins", "--create-topics", "--state-dir", l.path("joins")),
		l.launch(t, "trains", l.binary, "schedule", "--by", "schedule", "--create-topics"))
	must(t, settled(ctx, l.admin(t), l.topics.Source, loopPartitions, 2))
	must(t, instances[2].says(ctx, "partitions changed", 1))

	// Houses change: windows fail, and the schedule trains.
	flowing, stop := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- l.flow(flowing, 1000) }()
	l.until(ctx, t, "a candidate", func(vs []versionJSON) bool { return len(vs) > 1 })

	// The candidate in the shadow, until labels say what it is worth.
	shadow := l.startCommand(t, []string{"shadow"}, "shadow", "--create-topics", "--state-dir", l.path("shadow"), "--model", "house-prices@2")
	must(t, shadow.says(ctx, "partitions changed", 1))
	var said comparedJSON
	must(t, poll(ctx, func() (bool, error) {
		o := l.run(ctx, t, "compare", "--json", "--metric", "absolute_error", "--explain", "0")
		if o.code != 0 && o.code != 99 {
			return false, fmt.Errorf("compare: exit status %d\n%s", o.code, o.stderr)
		}
		if o.code == 0 {
			said = comparedJSON{}
			must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &said))
		}
		return said.Labels.Verdict.Verdict != "" && said.Labels.Verdict.Verdict != "not_yet", nil
	}))
	if said.Labels.Verdict.Verdict != "better" {
		t.Fatalf("%+v: the candidate knows how houses are now", said.Labels)
	}
	if _, err := shadow.terminate(ctx); err != nil {
		t.Error(err)
	}

	l.ok(t, "model", "approve", "house-prices@2", "--by", "bob", "--reason", "better in the shadow: "+said.Labels.Verdict.Why)
	o := l.run(ctx, t, "model", "promote", "house-prices@2", "--canary", "file", "--by", "cleo", "--reason", "houses are larger and dearer", "--json", "--timeout", "90s")
	if r := canaryOf(t, o); o.code != 0 || r.Verdict != "passed" {
		t.Fatalf("exit status %d\n%+v\n%s", o.code, r, o.stderr)
	}
	stop()
	must(t, <-sent)
	l.send(ctx, t, 400, true) // for the new champion
	l.once(ctx, t)
	for _, i := range instances {
		if _, err := i.terminate(ctx); err != nil {
			t.Error(err)
		}
	}
	l.logged(ctx, t)
}

const loopPartitions = 4

// loop is a project that goes round.
type loop struct {
	*project

	sent atomic.Int64
	send func(context.Context, *testing.T, int64, bool)
}

type versionJSON struct {
	Ref   string `json:"ref"`
	State string `json:"state"`
}

// comparedJSON is what compare prints.
type comparedJSON struct {
	Labels struct {
		Pairs   int64 `json:"pairs"`
		Verdict struct {
			Verdict string `json:"verdict"`
			Why     string `json:"why"`
		} `json:"verdict"`
	} `json:"labels"`
}

func newLoop(ctx context.Context, t *testing.T, seed uint64) *loop {
	t.Helper()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	logs := filepath.Join(t.ArtifactDir(), "instances")
	must(t, os.Mkdir(logs, 0o755))
	l := &loop{project: &project{
		binary: binary(t), dir: t.TempDir(), logs: logs, cluster: cluster, generator: g,
		topics: torture.Topics{Source: "housing", Predictions: "predictions", DeadLetters: letterID},
	}}
	must(t, os.WriteFile(l.path("pipeline.yaml"), []byte(loopPipeline), 0o644))
	l.createTopics(ctx, t, loopPartitions, nil)
	must(t, cluster.CreateTopic(ctx, "housing.sold", loopPartitions, nil))
	must(t, cluster.CreateTopic(ctx, "house-prices.checks", 1, nil))
	cl := l.client(t, kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	l.send = func(ctx context.Context, t *testing.T, n int64, changed bool) {
		t.Helper()
		for range n {
			i := l.sent.Add(1)
			s := l.generator.Sale(i)
			if changed {
				s.SqftLiving, s.SqftAbove, s.Price = s.SqftLiving*14/10, s.SqftAbove*14/10, s.Price*1.6
			}
			key := fmt.Appendf(nil, "sale-%d", i)
			cl.Produce(ctx, &kgo.Record{Topic: "housing", Key: key, Value: s.AppendListing(nil)}, nil)
			cl.Produce(ctx, &kgo.Record{Topic: "housing.sold", Key: key, Value: fmt.Appendf(nil, `{"price":%g}`, s.Price)}, nil)
		}
		must(t, cl.Flush(ctx))
	}
	return l
}

// flow sends houses that have changed, and what they are sold for, until ctx ends.
func (l *loop) flow(ctx context.Context, perSecond int64) error {
	t := &testing.T{} // it fails by its error
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.send(context.WithoutCancel(ctx), t, perSecond/10, true)
		case <-ctx.Done():
			return nil
		}
	}
}

// until waits until the registry is as is wants it.
func (l *loop) until(ctx context.Context, t *testing.T, what string, is func([]versionJSON) bool) {
	t.Helper()
	err := poll(ctx, func() (bool, error) {
		o := l.run(ctx, t, "model", "list", "--json")
		var vs []versionJSON
		if err := json.Unmarshal([]byte(o.stdout), &vs); err != nil {
			return false, fmt.Errorf("%w: %s%s", err, o.stdout, o.stderr)
		}
		return is(vs), nil
	})
	if err != nil {
		t.Fatalf("never: %s: %v", what, err)
	}
}

// once wants each house to have one prediction, from some place on of the new model alone.
func (l *loop) once(ctx context.Context, t *testing.T) {
	t.Helper()
	n := l.sent.Load()
	must(t, poll(ctx, func() (bool, error) {
		records, err := torture.Committed(ctx, l.cluster.Bootstrap(), l.topics.Predictions)
		return int64(len(records)) >= n, err
	}))
	records, err := torture.Committed(ctx, l.cluster.Bootstrap(), l.topics.Predictions)
	must(t, err)
	seen, models := map[string]int{}, map[string]int{}
	for _, r := range records {
		seen[string(r.Key)]++
		models[headers(r)["millrace.model"]+" "+headers(r)["millrace.arm"]]++
	}
	if int64(len(seen)) != n || int64(len(records)) != n {
		t.Errorf("%d houses, %d predictions of %d of them", n, len(records), len(seen))
	}
	for _, want := range []string{"house-prices@1 ", "house-prices@2 canary", "house-prices@2 "} {
		if models[want] == 0 {
			t.Errorf("no predictions of %q: %v", want, models)
		}
	}
	t.Logf("%d houses; predictions by model and arm: %v", n, models)
}

// logged wants the audit log to tell all of it.
func (l *loop) logged(ctx context.Context, t *testing.T) {
	t.Helper()
	o := l.run(ctx, t, "model", "log", "--json")
	var events []registry.Event
	must(t, json.Unmarshal([]byte(o.stdout), &events))
	var said []string
	for _, e := range events {
		word := fmt.Sprintf("%s %d", e.Action, e.Version)
		if e.Trial != nil {
			word += fmt.Sprintf(" %s %g", e.Trial.Phase, e.Trial.Share)
		}
		said = append(said, word)
	}
	want := "register 1, approve 1, register 2, approve 2, trial 2 started 0.1, trial 2 changed 0.5, promote 2 ended"
	if text := strings.Join(said, ", "); !strings.HasPrefix(text, want) {
		t.Errorf("the log says %s, want %s", text, want)
	}
	o = l.run(ctx, t, "model", "log")
	t.Log("\n" + o.stdout)
}
