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

const zipcodesFile = `version: 1
name: NAME
kafka:
  brokers: ${KAFKA_BROKERS}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: NAME.in, key: statezip, event_time: date}
tables:
  zipcodes: {topic: NAME.zips, format: debezium, key: zip, schema: {numeric: [median_income, median_age]}, history: 300d, required: true, join: JOIN}
windows:
  recent: {key: statezip, over: 30d, grace: 300d, aggregates: {n: count(), mean_size: mean(sqft_living)}}
features:
  zip: statezip[3:]
  income: zipcodes[zip].median_income
  age: zipcodes[zip].median_age
  busy: recent.n
  relative: sqft_living / recent.mean_size
train:
  data: sales.csv
  label: price
  ignore: [date, street, country, zip, statezip, city]
  gbm: {ntrees: 30, label_transform: log}
sink: {topic: NAME.out}
dead_letter: {topic: NAME.dlq}
`

// TestZipcodesChange joins sales with a table of zip codes that comes as Debezium's changes, and with a window, on Kafka with
// two instances, one of which is killed. While sales are streamed, a zip code gets another income, another one is deleted, a
// third one is deleted and comes back: each sale is predicted as of its own time, with the bytes that predict gives.
func TestZipcodesChange(t *testing.T) {
	seed := newSeed(t)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	for _, join := range []string{"global", "partitioned"} {
		t.Run(join, func(t *testing.T) { newZipRun(t, cluster, seed, join).run(deadline(t, 3*time.Minute)) })
	}
}

// zipRun is one run of the pipeline.
type zipRun struct {
	*project

	t       *testing.T
	name    string
	client  *kgo.Client
	zips    []house.Zip
	sales   []house.Sale
	results map[string]string // by the id of a sale: the value of its prediction, or the class of its dead letter
}

const (
	zipPartitions = 4 // of the sales' topic
	zipChangelogs = 2 // partitions of the table's
)

func newZipRun(t *testing.T, c *kafkatest.Cluster, seed uint64, join string) *zipRun {
	t.Helper()
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	z := &zipRun{
		t: t, name: "zips-" + join, zips: g.Zips(),
		project: &project{binary: binary(t), dir: t.TempDir(), logs: t.TempDir(), cluster: c, generator: g},
	}
	z.client = z.project.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, os.WriteFile(z.path("sales.csv"), g.CSV(history), 0o644))
	must(t, os.WriteFile(z.path("pipeline.yaml"), []byte(strings.NewReplacer("NAME", z.name, "JOIN", join).Replace(zipcodesFile)), 0o644))
	return z
}

func day(month time.Month, d int) time.Time { return time.Date(2014, month, d, 0, 0, 0, 0, time.UTC) }

func (z *zipRun) run(ctx context.Context) {
	t := z.t
	for topic, n := range map[string]int{".in": zipPartitions, ".out": zipPartitions, ".dlq": 1, ".zips": zipChangelogs} {
		must(t, z.cluster.CreateTopic(ctx, z.name+topic, n, nil))
	}
	changed, deleted, back := &z.zips[0], &z.zips[1], &z.zips[2]
	for i := range z.zips {
		z.change(ctx, &z.zips[i], house.ZipRead, day(time.May, 1))
	}
	z.ok(t, "train", "--by", "e2e")
	z.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")
	a, b := z.instance("a"), z.instance("b")
	z.probe(ctx, 1)
	const half = 600
	for i := int64(0); len(z.sales) < half; i++ { // sales from before the changes, which are not known yet
		if s := z.generator.Sale(2 * i); s.Date.Before(day(time.June, 10)) {
			z.sales = append(z.sales, s)
		}
	}
	z.send(ctx, 0, half)

	changed.MedianIncome *= 2
	z.change(ctx, changed, house.ZipUpdate, day(time.June, 15))
	z.change(ctx, deleted, house.ZipDelete, day(time.July, 1))
	z.put(ctx, deleted, nil)
	z.change(ctx, back, house.ZipDelete, day(time.July, 1))
	back.MedianIncome /= 2
	z.change(ctx, back, house.ZipCreate, day(time.August, 1))
	z.probe(ctx, 2)
	for i := range int64(half) {
		s := z.generator.Sale(i * 9)
		if i%5 == 0 { // more of those that matter
			zip := []*house.Zip{changed, deleted, back}[i/5%3]
			s.StateZip, s.City = "WA "+zip.Code, zip.City
		}
		z.sales = append(z.sales, s)
	}
	z.send(ctx, half, half+half/2)
	must(t, a.kill(ctx))
	z.send(ctx, half+half/2, 2*half)
	a = z.instance("a")
	z.await(ctx, len(z.sales))
	for _, i := range []*instance{a, b} {
		_, err := i.terminate(ctx)
		must(t, err)
	}
	z.compare(changed, deleted, back)
}

func (z *zipRun) instance(id string) *instance {
	return z.start(z.t, id, "--state-dir", z.path("state-"+id))
}

// change writes what Debezium does of a change.
func (z *zipRun) change(ctx context.Context, zip *house.Zip, op string, at time.Time) {
	z.t.Helper()
	z.put(ctx, zip, zip.AppendChange(nil, op, at))
}

func (z *zipRun) put(ctx context.Context, zip *house.Zip, value []byte) {
	z.t.Helper()
	partition := int32(zip.Code[len(zip.Code)-1]) % zipChangelogs
	z.produce(ctx, &kgo.Record{Topic: z.name + ".zips", Partition: partition, Key: zip.AppendKey(nil), Value: value})
}

func (z *zipRun) produce(ctx context.Context, records ...*kgo.Record) {
	z.t.Helper()
	must(z.t, z.client.ProduceSync(ctx, records...).FirstErr())
}

// send writes sales from one number up to another, each with that as its id.
func (z *zipRun) send(ctx context.Context, from, to int) {
	z.t.Helper()
	place := kgo.StickyKeyPartitioner(nil).ForTopic("")
	var records []*kgo.Record
	for i := from; i < to; i++ {
		z.sales[i].ID = int64(i)
		key := []byte(z.sales[i].StateZip)
		records = append(records, &kgo.Record{
			Topic: z.name + ".in", Key: key, Value: z.sales[i].AppendListing(nil), Partition: int32(place.Partition(&kgo.Record{Key: key}, zipPartitions)),
		})
	}
	z.produce(ctx, records...)
}

// probe waits until every instance has what the table's topic holds now: it adds zip codes behind that, so that there is one
// for each partition in which rows are kept, and sends sales of them to each partition until all are predicted.
func (z *zipRun) probe(ctx context.Context, phase int) {
	z.t.Helper()
	place := kgo.StickyKeyPartitioner(nil).ForTopic("")
	probes, need := []house.Zip{}, map[[2]int]bool{}
	for n := 0; len(need) < zipChangelogs*zipPartitions; n++ {
		zip := house.Zip{Code: fmt.Sprintf("%d%04d", phase, n), City: "Nowhere", MedianIncome: 50_000}
		at := [2]int{int(zip.Code[4]) % zipChangelogs, place.Partition(&kgo.Record{Key: []byte(zip.Code)}, zipPartitions)}
		if !need[at] {
			need[at] = true
			probes = append(probes, zip)
			z.change(ctx, &zip, house.ZipCreate, day(time.January, 1))
		}
	}
	sale := z.generator.Sale(0)
	for attempt := 0; ; attempt++ {
		var records []*kgo.Record
		for i := range probes {
			for partition := range int32(zipPartitions) {
				sale.StateZip = "WA " + probes[i].Code
				value := bytes.Replace(sale.AppendListing(nil), []byte(`"house-0000000"`), fmt.Appendf(nil, `"probe-%d-%d-%d-%d"`, phase, attempt, i, partition), 1)
				records = append(records, &kgo.Record{Topic: z.name + ".in", Partition: partition, Value: value})
			}
		}
		z.produce(ctx, records...)
		missed := 0
		must(z.t, poll(ctx, func() (bool, error) {
			got, err := z.read(ctx)
			if err != nil {
				return false, err
			}
			n := 0
			missed = 0
			for id, result := range got {
				if strings.HasPrefix(id, fmt.Sprintf("probe-%d-%d-", phase, attempt)) {
					n++
					if result == "no_row" {
						missed++
					}
				}
			}
			return n == len(records), nil
		}))
		if missed == 0 {
			z.t.Logf("the table is known after %d probes", attempt+1)
			return
		}
	}
}

// read reads the committed results by the ids of the sales. A sale with two results is an error.
func (z *zipRun) read(ctx context.Context) (map[string]string, error) {
	got := map[string]string{}
	for _, topic := range []string{z.name + ".out", z.name + ".dlq"} {
		records, err := torture.Committed(ctx, z.cluster.Bootstrap(), topic)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			var sale struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(r.Value, &sale); err != nil {
				return nil, err
			}
			if _, twice := got[sale.ID]; twice {
				return nil, fmt.Errorf("%s has two results", sale.ID)
			}
			got[sale.ID] = string(r.Value)
			if strings.HasSuffix(topic, ".dlq") {
				got[sale.ID] = headers(r)["millrace.dlq.class"]
			}
		}
	}
	return got, nil
}

// await waits for the results of so many sales.
func (z *zipRun) await(ctx context.Context, n int) {
	z.t.Helper()
	must(z.t, poll(ctx, func() (bool, error) {
		all, err := z.read(ctx)
		if err != nil {
			return false, err
		}
		z.results = map[string]string{}
		for id, result := range all {
			if strings.HasPrefix(id, "house-") {
				z.results[id] = result
			}
		}
		return len(z.results) >= n, nil
	}))
}

// predicted returns what predict gives, by the id of the sale; sales that get no prediction are not there.
func (z *zipRun) predicted(set ...string) map[string]string {
	z.t.Helper()
	var file []byte
	for i := range z.sales {
		file = append(z.sales[i].AppendListing(file), '\n')
	}
	must(z.t, os.WriteFile(z.path("listings.jsonl"), file, 0o644))
	z.ok(z.t, append([]string{"predict", "--data", "listings.jsonl", "--out", "predicted.jsonl"}, set...)...)
	want := map[string]string{}
	for line := range bytes.Lines(readFile(z.t, filepath.Join(z.dir, "predicted.jsonl"))) {
		var sale struct {
			ID string `json:"id"`
		}
		must(z.t, json.Unmarshal(line, &sale))
		want[sale.ID] = strings.TrimSuffix(string(line), "\n")
	}
	return want
}

// compare holds the results against what predict gives, and makes sure that the changes have mattered.
func (z *zipRun) compare(changed, deleted, back *house.Zip) {
	t := z.t
	t.Helper()
	want, latest := z.predicted(), z.predicted("--set", "tables.zipcodes.history=0s")
	counts := map[string]int{}
	for i := range z.sales {
		s := &z.sales[i]
		id := string(s.AppendKey(nil))
		predicted, ok := want[id]
		if !ok {
			predicted = "no_row"
		}
		if got := z.results[id]; got != predicted {
			t.Errorf("%s of %s in %s: %s, want %s", id, s.Date.Format(time.DateOnly), s.StateZip, got, predicted)
		}
		gone := !s.Date.Before(day(time.July, 1)) && (s.StateZip == "WA "+deleted.Code || s.StateZip == "WA "+back.Code && s.Date.Before(day(time.August, 1)))
		if gone != !ok {
			t.Errorf("%s of %s in %s: predict gives a prediction: %t", id, s.Date.Format(time.DateOnly), s.StateZip, ok)
		}
		switch {
		case gone:
			counts["without a row"]++
		case s.StateZip == "WA "+changed.Code && predicted != latest[id]:
			counts["another income than the latest"]++
			if !s.Date.Before(day(time.June, 15)) {
				t.Errorf("%s of %s does not have the latest income", id, s.Date.Format(time.DateOnly))
			}
		case s.StateZip == "WA "+changed.Code && !s.Date.Before(day(time.June, 15)):
			counts["the latest income"]++
		}
	}
	t.Logf("%d sales: %v", len(z.sales), counts)
	if len(counts) != 3 || len(z.results) != len(z.sales) {
		t.Errorf("%d results, cases %v", len(z.results), counts)
	}
}
