//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

const checksFile = `version: 1
name: NAME
kafka:
  brokers: ${KAFKA_BROKERS}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: NAME.in, event_time: date}
WINDOWSfeatures:
  age: year(date) - yr_built
  WINDOWED
train:
  data: sales.csv
  label: price
  ignore: [date, street, country, statezip]
  gbm: {ntrees: 30, label_transform: log}
sink: {topic: NAME.out}
dead_letter: {topic: NAME.dlq, breaker: {rate: 50%}} # one sale in ten breaks the rule size
checks:
  record:
    - {name: size, rule: sqft_living between 200 and 15000, otherwise: dead_letter}
    - {name: town, rule: city in training or city != "Atlantis", otherwise: warn}
    - {name: age, rule: age >= 0}
    - {name: rooms, rule: bedrooms < 50, otherwise: fail}
`

// TestChecks has records break rules on Kafka, with two instances. Those that break a rule whose outcome is to fail end both,
// one after the other, with what came before committed; after the rule is changed the pipeline goes on. Each sale then has
// one result: the bytes that predict gives, with the rules that it breaks in a header, or a dead letter with the rule's name.
func TestChecks(t *testing.T) {
	seed := newSeed(t)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	for _, windows := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "windows"}[windows], func(t *testing.T) {
			newCheckRun(t, cluster, seed, windows).run(deadline(t, 3*time.Minute))
		})
	}
}

// checkRun is one run of the pipeline.
type checkRun struct {
	*project

	t      *testing.T
	name   string
	client *kgo.Client
	sales  []house.Sale
	values [][]byte
	place  []int32           // the partition of each sale
	want   map[string]string // by the id of a sale: the rules that it breaks
}

const checkPartitions = 4

func newCheckRun(t *testing.T, c *kafkatest.Cluster, seed uint64, windows bool) *checkRun {
	t.Helper()
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	r := &checkRun{
		t: t, name: fmt.Sprintf("checks-%t", windows), want: map[string]string{},
		project: &project{binary: binary(t), dir: t.TempDir(), logs: t.TempDir(), cluster: c, generator: g},
	}
	r.client = r.project.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, os.WriteFile(r.path("sales.csv"), g.CSV(history), 0o644))
	declared, feature := "", "old: yr_built < 1950"
	if windows { // through a topic of its own, since the key of the source is not known
		declared, feature = "windows:\n  recent: {key: statezip, over: 30d, grace: 300d, aggregates: {n: count()}}\n", "busy: recent.n"
	}
	r.write(strings.NewReplacer("NAME", r.name, "WINDOWS", declared, "WINDOWED", feature).Replace(checksFile))
	return r
}

func (r *checkRun) write(text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.path("pipeline.yaml"), []byte(text), 0o644))
}

// sale makes sale i, which breaks the rules that are named.
func (r *checkRun) sale(i int, rules string) {
	s := r.generator.Sale(int64(i))
	for rule := range strings.SplitSeq(rules, ",") {
		switch rule {
		case "size":
			s.SqftLiving = 100 + 15_000*(i/20%2)
		case "town":
			s.City = "Atlantis"
		case "age":
			s.YrBuilt = 2015
		case "rooms":
			s.Bedrooms = 99
		}
	}
	place := kgo.StickyKeyPartitioner(nil).ForTopic("")
	r.sales, r.values = append(r.sales, s), append(r.values, s.AppendListing(nil))
	r.place = append(r.place, int32(place.Partition(&kgo.Record{Key: []byte(s.StateZip)}, checkPartitions)))
	r.want[string(s.AppendKey(nil))] = rules
}

func (r *checkRun) send(ctx context.Context, from int) {
	r.t.Helper()
	var records []*kgo.Record
	for i := from; i < len(r.sales); i++ {
		records = append(records, &kgo.Record{Topic: r.name + ".in", Partition: r.place[i], Key: []byte(r.sales[i].StateZip), Value: r.values[i]})
	}
	must(r.t, r.client.ProduceSync(ctx, records...).FirstErr())
}

func (r *checkRun) run(ctx context.Context) {
	t := r.t
	for topic, n := range map[string]int{".in": checkPartitions, ".out": checkPartitions, ".dlq": 1} {
		must(t, r.cluster.CreateTopic(ctx, r.name+topic, n, nil))
	}
	r.ok(t, "train", "--by", "e2e")
	r.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")
	a, b := r.instance("a"), r.instance("b")
	const half = 1000
	for i := range half {
		r.sale(i, map[int]string{1: "size", 2: "town", 3: "age", 4: "town,age", 5: "size,town"}[i%20])
	}
	r.send(ctx, 0)
	r.await(ctx, half)

	const fatal = half + 300
	for i := half; i < 2*half; i++ {
		r.sale(i, map[bool]string{true: "rooms"}[i == fatal])
	}
	r.send(ctx, half)
	for _, i := range []*instance{a, b} {
		code, err := i.exit(ctx)
		must(t, err)
		if log := i.log(); code != 3 || !strings.Contains(log, fmt.Sprintf("record %s.in/%d/", r.name, r.place[fatal])) || !strings.Contains(log, "breaks the rule rooms (bedrooms < 50)") {
			t.Errorf("instance %s: exit status %d", i.id, code)
		}
	}
	r.stopped(ctx, fatal)

	r.write(strings.Replace(string(readFile(t, r.path("pipeline.yaml"))), "bedrooms < 50", "bedrooms < 100", 1))
	r.want[string(r.sales[fatal].AppendKey(nil))] = ""
	a, b = r.instance("a"), r.instance("b")
	r.await(ctx, 2*half)
	for _, i := range []*instance{a, b} {
		_, err := i.terminate(ctx)
		must(t, err)
	}
	r.compare(ctx)
}

func (r *checkRun) instance(id string) *instance {
	return r.start(r.t, id, "--state-dir", r.path("state-"+id))
}

// stopped makes sure that the sales before the fatal one are committed in its partition, and neither it nor one behind it.
func (r *checkRun) stopped(ctx context.Context, fatal int) {
	r.t.Helper()
	got, err := r.read(ctx)
	must(r.t, err)
	for i := range r.sales {
		_, there := got[string(r.sales[i].AppendKey(nil))]
		switch {
		case r.place[i] != r.place[fatal]:
		case i < fatal && !there:
			r.t.Errorf("sale %d, which came before the fatal one, has no result", i)
		case i >= fatal && there:
			r.t.Errorf("sale %d, which is the fatal one or behind it, has a result", i)
		}
	}
}

// checked is what has become of a sale.
type checked struct{ value, rules, letter string }

// read reads the committed results by the ids of the sales. A sale with two results is an error.
func (r *checkRun) read(ctx context.Context) (map[string]checked, error) {
	got := map[string]checked{}
	for _, topic := range []string{r.name + ".out", r.name + ".dlq"} {
		records, err := torture.Committed(ctx, r.cluster.Bootstrap(), topic)
		if err != nil {
			return nil, err
		}
		for _, rec := range records {
			var sale struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(rec.Value, &sale); err != nil {
				return nil, err
			}
			if _, twice := got[sale.ID]; twice {
				return nil, fmt.Errorf("%s has two results", sale.ID)
			}
			h := headers(rec)
			got[sale.ID] = checked{string(rec.Value), h["millrace.checks"], ""}
			if strings.HasSuffix(topic, ".dlq") {
				got[sale.ID] = checked{"", "", h["millrace.dlq.stage"] + "/" + h["millrace.dlq.class"]}
			}
		}
	}
	return got, nil
}

func (r *checkRun) await(ctx context.Context, n int) {
	r.t.Helper()
	must(r.t, poll(ctx, func() (bool, error) {
		got, err := r.read(ctx)
		return len(got) >= n, err
	}))
}

// compare holds the results against what predict gives, and against the rules that the sales were made to break.
func (r *checkRun) compare(ctx context.Context) {
	t := r.t
	t.Helper()
	got, err := r.read(ctx)
	must(t, err)
	must(t, os.WriteFile(r.path("listings.jsonl"), append(bytes.Join(r.values, []byte("\n")), '\n'), 0o644))
	r.ok(t, "predict", "--data", "listings.jsonl", "--out", "predicted.jsonl")
	predicted := map[string]string{}
	for line := range bytes.Lines(readFile(t, filepath.Join(r.dir, "predicted.jsonl"))) {
		var sale struct {
			ID string `json:"id"`
		}
		must(t, json.Unmarshal(line, &sale))
		predicted[sale.ID] = strings.TrimSuffix(string(line), "\n")
	}
	counts := map[string]int{}
	for i := range r.sales {
		id := string(r.sales[i].AppendKey(nil))
		want := checked{predicted[id], r.want[id], ""}
		if strings.HasPrefix(want.rules, "size") {
			want = checked{"", "", "check/size"}
		}
		counts[want.rules+want.letter]++
		if got[id] != want {
			t.Errorf("%s: %+v, want %+v", id, got[id], want)
		}
	}
	t.Logf("%d sales: %v", len(r.sales), counts)
	if len(got) != len(r.sales) || len(counts) != 5 {
		t.Errorf("%d results of %d sales, cases %v", len(got), len(r.sales), counts)
	}
}
