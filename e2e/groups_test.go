//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/assign"
)

// groupsSection is an experiment whose arms have groups of their own.
const groupsSection = `ab:
  name: trees
  split: groups
  arms:
    control: {model: house-prices@1, weight: 70}
    fewer: {model: house-prices@2, weight: 30}
`

// TestPostSplit goes from run to an experiment with a group for each arm, and back, while records come at a steady rate, and kills either
// arm, the merge and all of them with SIGKILL. Each record has one result, in the order of the source in each partition: before the start
// and after the end of production's model, and between them of the model of the arm that its key is assigned to, byte for byte what predict
// makes of a file.
func TestPostSplit(t *testing.T) {
	beside(t)
	const partitions, keys, perSecond, seconds = 4, 300, 800, 75
	seed := newSeed(t)
	ctx := deadline(t, 10*time.Minute)
	g := newGroups(ctx, t, seed, partitions, keys, perSecond*seconds)
	production := g.start(t, "one")
	must(t, settled(ctx, g.admin(t), g.topics.Source, partitions, 1))
	d := g.deliver(ctx, t, g.traffic, perSecond)
	must(t, pause(ctx, 6*time.Second))

	// From run to the arms: run is killed in the middle of a transaction.
	must(t, production.kill(ctx))
	began := g.command(ctx, t, "start")
	if o := g.run(ctx, t, "run", "--json"); o.code != 3 || !strings.Contains(o.stderr, "predicted twice") {
		t.Errorf("run while the arms have the records: exit status %d, %s", o.code, o.stderr)
	}
	arms := map[string]*instance{}
	for _, name := range []string{"control", "fewer", "merge"} {
		arms[name] = g.arm(t, name)
	}
	kill := func(names ...string) {
		t.Helper()
		for _, name := range names {
			must(t, arms[name].kill(ctx))
		}
	}
	back := func(names ...string) {
		t.Helper()
		for _, name := range names {
			arms[name] = g.arm(t, name)
		}
	}
	must(t, pause(ctx, 7*time.Second))
	kill("fewer")
	must(t, arms["merge"].says(ctx, "records wait for those of another topic", 1))
	g.waits(ctx, t, arms["merge"], "house-prices-ab-fewer")
	back("fewer")
	must(t, arms["merge"].says(ctx, "the topic that records waited for has some again", 1))
	must(t, pause(ctx, 3*time.Second))
	kill("control")
	must(t, pause(ctx, time.Second))
	kill("merge")
	back("merge", "control")
	must(t, pause(ctx, 5*time.Second))
	kill("control", "fewer")
	must(t, pause(ctx, 2*time.Second))
	back("fewer", "control")
	must(t, pause(ctx, 4*time.Second))

	// And back: the arms are ahead of the merge, which is killed.
	kill("merge")
	must(t, pause(ctx, 2*time.Second))
	kill("fewer")
	if _, err := arms["control"].terminate(ctx); err != nil {
		t.Error(err)
	}
	ended := g.command(ctx, t, "stop")
	last := g.start(t, "two")
	must(t, d.wait(ctx))
	must(t, g.observer.Wait(ctx))
	if _, err := last.terminate(ctx); err != nil {
		t.Error(err)
	}
	must(t, g.observer.Drain(ctx))
	if err := g.oracle.Report().Err(); err != nil {
		t.Error(err)
	}
	g.check(ctx, t, began, ended)
	g.purged(ctx, t)
}

// groups is a pipeline with an experiment.
type groups struct {
	*project

	traffic  *traffic
	oracle   *torture.Oracle
	observer *torture.Observer
	values   [2][][]byte // what each model predicts for the messages
}

// placedJSON is what ab start and ab stop print.
type placedJSON struct {
	From  map[int32]int64 `json:"from"`
	Split struct {
		Salt string `json:"salt"`
		Arms []struct {
			Name  string         `json:"name"`
			Slots []assign.Range `json:"slots"`
		} `json:"arms"`
	} `json:"split"`
}

func newGroups(ctx context.Context, t *testing.T, seed uint64, partitions, keys, records int) *groups {
	t.Helper()
	cluster := kafkatest.Start(t, kafkatest.Options{})
	g := &groups{project: newProject(t, cluster, seed)}
	g.ok(t, "train", "--by", "e2e", "--set", "train.gbm.ntrees=10")
	g.ok(t, "model", "approve", "house-prices@2", "--by", "e2e", "--reason", "it is a test")
	must(t, os.WriteFile(g.path("pipeline.yaml"), []byte(pipelineFile+groupsSection), 0o644))
	g.createTopics(ctx, t, partitions, nil)
	g.traffic = g.newTraffic(t, seed, records, keys, partitions)
	for i := range g.values {
		messages := slices.Clone(g.traffic.messages)
		for k := range messages {
			messages[k].prediction = nil
		}
		g.predictWith(t, fmt.Sprintf("house-prices@%d", i+1), messages)
		for k := range messages {
			g.values[i] = append(g.values[i], messages[k].prediction)
		}
	}
	inputs := g.traffic.inputs()
	for i := range inputs {
		inputs[i].Value = nil // it depends on the model
	}
	var err error
	g.oracle, err = torture.NewOracle(inputs)
	must(t, err)
	g.observer, err = torture.Observe(cluster.Bootstrap(), g.topics, g.oracle)
	must(t, err)
	t.Cleanup(g.observer.Close)
	return g
}

// arm starts an arm, or the merge.
func (g *groups) arm(t *testing.T, name string) *instance {
	t.Helper()
	if name == "merge" {
		return g.startCommand(t, []string{"ab", "merge"}, name)
	}
	return g.startCommand(t, []string{"ab", "arm", name}, name)
}

// command begins or ends the experiment, once the brokers have noticed that all instances are gone.
func (g *groups) command(ctx context.Context, t *testing.T, verb string) (p placedJSON) {
	t.Helper()
	err := poll(ctx, func() (bool, error) {
		o := g.run(ctx, t, "ab", verb, "--by", "e2e", "--reason", "it is a test", "--json")
		if o.code == 2 && strings.Contains(o.stderr, "members") {
			return false, nil
		}
		if o.code != 0 {
			return false, fmt.Errorf("ab %s: exit status %d\n%s", verb, o.code, o.stderr)
		}
		return true, json.Unmarshal([]byte(tail(o.stdout, 1)), &p)
	})
	must(t, err)
	if len(p.From) != g.traffic.partitions {
		t.Fatalf("ab %s: %+v", verb, p)
	}
	return p
}

// waits wants the merge to tell for which topic it waits.
func (g *groups) waits(ctx context.Context, t *testing.T, merge *instance, topic string) {
	t.Helper()
	want := fmt.Sprintf("millrace_lacking_partitions{topic=%q} %d\n", topic, g.traffic.partitions)
	err := poll(ctx, func() (bool, error) { // each partition for itself is told after a while
		_, metrics, err := merge.get(ctx, "/metrics")
		return strings.Contains(metrics, want), err
	})
	if err != nil {
		t.Fatalf("no %s in the metrics: %v", want, err)
	}
	if !strings.Contains(merge.log(), "topic="+topic) {
		t.Errorf("the log does not name %s", topic)
	}
	code, ready, err := merge.get(ctx, "/readyz")
	if err != nil || code != 200 || !strings.Contains(ready, topic) {
		t.Errorf("%d, %v: %s", code, err, ready)
	}
}

// check holds each result against its record.
func (g *groups) check(ctx context.Context, t *testing.T, began, ended placedJSON) {
	t.Helper()
	at := map[torture.Source]int{}
	for i := range g.traffic.messages {
		at[g.traffic.messages[i].Source] = i
	}
	slots := assign.Allocation{began.Split.Arms[0].Slots, began.Split.Arms[1].Slots}
	table, err := slots.Table()
	must(t, err)
	hasher := assign.NewHasher(began.Split.Salt)
	counts, wrong := map[string]int{}, 0
	fault := func(format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf(format, args...)
		}
	}
	// want returns the arm that a record goes to; -1 is production.
	want := func(s torture.Source) int {
		if s.Offset < began.From[s.Partition] || s.Offset >= ended.From[s.Partition] {
			return -1
		}
		key := g.traffic.messages[at[s]].key
		if key == nil {
			key = fmt.Appendf(nil, "%s/%d/%d", g.topics.Source, s.Partition, s.Offset)
		}
		return int(table[hasher.Slot(key)])
	}
	names := map[int]string{-1: "", 0: "control", 1: "fewer"}
	g.ordered(ctx, t, g.topics.Predictions, func(s torture.Source, r *kgo.Record, h map[string]string) {
		arm := want(s)
		model := max(arm, 0)
		counts[names[arm]+" predictions"]++
		switch {
		case h["millrace.arm"] != names[arm] || h["millrace.model"] != fmt.Sprintf("house-prices@%d", model+1) || (arm >= 0) != (h["millrace.experiment"] == "trees"):
			fault("%s has the headers %v, want it of arm %q", s, h, names[arm])
		case !bytes.Equal(r.Value, g.values[model][at[s]]):
			fault("%s has another prediction than house-prices@%d gives", s, model+1)
		case arm == 1 && asNumber(t, h["millrace.baseline"]) != predicted(t, g.values[0][at[s]]):
			fault("%s has the baseline %s, want that of %s", s, h["millrace.baseline"], g.values[0][at[s]])
		case arm != 1 && h["millrace.baseline"] != "" || h["millrace.forced"] != "":
			fault("%s has the headers %v", s, h)
		}
	})
	g.ordered(ctx, t, g.topics.DeadLetters, func(s torture.Source, r *kgo.Record, h map[string]string) {
		arm, m := want(s), &g.traffic.messages[at[s]]
		counts[names[arm]+" dead letters"]++
		switch {
		case h["millrace.arm"] != names[arm] || h["millrace.dlq.model"] != fmt.Sprintf("house-prices@%d", max(arm, 0)+1):
			fault("the dead letter of %s has the headers %v, want it of arm %q", s, h, names[arm])
		case h["millrace.dlq.group"] != group || h["millrace.dlq.node"] != "score" || h["millrace.dlq.stage"] != "decode" || h["millrace.dlq.class"] != m.fault.Class():
			fault("the dead letter of %s, %v, has the headers %v", s, m.fault, h)
		case !bytes.Equal(r.Value, m.value) || !bytes.Equal(r.Key, m.key):
			fault("the dead letter of %s has other bytes", s)
		}
	})
	for _, kind := range []string{" predictions", "control predictions", "fewer predictions", "control dead letters", "fewer dead letters"} {
		if counts[kind] < 20 {
			t.Errorf("only %d%s: too few to say anything", counts[kind], kind)
		}
	}
	t.Logf("%d messages: %v; %d wrong", len(g.traffic.messages), counts, wrong)
}

// ordered calls fn with each record of a topic, with the source that its headers name. In each partition the sources have to be in order.
func (g *groups) ordered(ctx context.Context, t *testing.T, topic string, fn func(torture.Source, *kgo.Record, map[string]string)) {
	t.Helper()
	records, err := torture.Committed(ctx, g.cluster.Bootstrap(), topic)
	must(t, err)
	last := map[int32]int64{}
	for _, r := range records {
		h := headers(r)
		var s torture.Source
		if topic == g.topics.DeadLetters {
			s, err = letterSource(h, g.topics.Source)
		} else {
			_, err = fmt.Sscanf(h["millrace.source"], g.topics.Source+"/%d/%d", &s.Partition, &s.Offset)
		}
		must(t, err)
		// All topics have as many partitions, so that a record stays in its own.
		if before, ok := last[s.Partition]; s.Partition != r.Partition || ok && s.Offset <= before {
			t.Fatalf("%s/%d/%d is of %s, behind offset %d", topic, r.Partition, r.Offset, s, before)
		}
		last[s.Partition] = s.Offset
		fn(s, r, h)
	}
}

// purged wants the arms' topics to have lost what was merged long ago.
func (g *groups) purged(ctx context.Context, t *testing.T) {
	t.Helper()
	starts, err := g.admin(t).ListStartOffsets(ctx, "house-prices-ab-control", "house-prices-ab-fewer")
	must(t, err)
	kept := 0
	for topic, ps := range starts {
		for p, o := range ps {
			if o.Offset == 0 {
				kept++
				t.Logf("%s/%d has all that was written to it", topic, p)
			}
		}
	}
	if kept > 0 {
		t.Errorf("%d partitions of the arms' topics still have what was merged", kept)
	}
}

func asNumber(t *testing.T, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(text, 64)
	must(t, err)
	return x
}

// predicted returns the prediction in a record of the sink.
func predicted(t *testing.T, value []byte) float64 {
	t.Helper()
	var r struct {
		Price float64 `json:"predicted_price"`
	}
	must(t, json.Unmarshal(value, &r))
	return r.Price
}
