//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

// shadowsEnv says how many rounds of phases are measured.
const shadowsEnv = "MILLRACE_SHADOWS"

const shadowFile = `version: 1
name: house-prices
kafka:
  brokers: ${KAFKA_BROKERS}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: housing, key: statezip, event_time: date}
tables:
  zipcodes: {topic: zips, format: debezium, key: zip, schema: {numeric: [median_income, median_age]}, history: 300d}
windows:
  recent: {key: statezip, over: 30d, grace: 300d, aggregates: {n: count(), mean_size: mean(sqft_living)}}
features:
  zip: statezip[3:]
  income: zipcodes[zip].median_income
  busy: recent.n
  relative: sqft_living / recent.mean_size
train:
  data: sales.csv
  label: price
  label_unit: $
  ignore: [date, street, country, zip, statezip, city]
  gbm: {ntrees: 30, label_transform: log}
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
shadow: {tolerance: {share: 0, unpaired: 0}}
`

// shadows is a pipeline with a table and a window, whose production is measured while shadows misbehave.
type shadows struct {
	*project

	t         *testing.T
	producer  *kgo.Client
	perSecond int
	sent      int
	latencies *latencies
	phases    map[string][]time.Duration // the p99 of each, by what the shadow does
	counts    map[string]int
}

const shadowPartitions = 4

// TestShadows runs production, and beside it candidates that are well, are killed, stand still, are large, and have a full disk.
// Production's output is byte for byte what it is without them, the champion as a shadow of itself differs nowhere, and
// what a shadow predicts it predicts once. How late predictions come in each phase is logged: make shadow measures it.
func TestShadows(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(shadowsEnv))
	length := 12 * time.Second
	if err != nil || rounds < 1 {
		rounds, length = 1, 2*time.Second
		beside(t) // nothing is measured
	}
	seed := newSeed(t)
	ctx := deadline(t, time.Duration(rounds)*9*length+6*time.Minute)
	s := newShadows(ctx, t, seed)
	production := s.start(t, "production", "--state-dir", s.path("state"), "--threads", "1")
	s.phase(ctx, "", 4*time.Second) // the first seconds are others'
	must(t, settled(ctx, s.admin(t), s.topics.Source, shadowPartitions, 1))

	s.sameAsItself(ctx)
	for range rounds {
		s.phase(ctx, "no shadow", length)
		s.candidate(ctx, length)
		s.phase(ctx, "no shadow", length)
		s.large(ctx, length)
		s.phase(ctx, "no shadow", length)
		s.full(ctx, length)
	}
	s.settle(ctx)
	_, err = production.terminate(ctx)
	must(t, err)
	s.twin(ctx)
	s.report()
}

func newShadows(ctx context.Context, t *testing.T, seed uint64) *shadows {
	t.Helper()
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	s := &shadows{
		t: t, perSecond: 500, phases: map[string][]time.Duration{}, counts: map[string]int{},
		project: &project{
			binary: binary(t), dir: t.TempDir(), logs: t.ArtifactDir(), cluster: kafkatest.Start(t, kafkatest.Options{}), generator: g,
			topics: torture.Topics{Source: "housing", Predictions: "predictions", DeadLetters: letterID},
		},
	}
	s.producer = s.client(t)
	must(t, os.WriteFile(s.path("sales.csv"), g.CSV(history), 0o644))
	must(t, os.WriteFile(s.path("pipeline.yaml"), []byte(shadowFile), 0o644))
	s.createTopics(ctx, t, shadowPartitions, nil)
	must(t, s.cluster.CreateTopic(ctx, "zips", 1, nil))
	zips := g.Zips()
	for i := range zips {
		r := &kgo.Record{Topic: "zips", Key: zips[i].AppendKey(nil), Value: zips[i].AppendChange(nil, house.ZipRead, day(time.May, 1))}
		must(t, s.producer.ProduceSync(ctx, r).FirstErr())
	}
	s.ok(t, "train", "--by", "e2e")
	s.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")
	s.ok(t, "train", "--by", "e2e", "--set", "train.gbm.ntrees=12")
	s.ok(t, "train", "--by", "e2e", "--set", "train.gbm.ntrees=1500", "--set", "train.gbm.max_depth=10", "--set", "train.gbm.min_rows=3", "--set", "train.gbm.stopping_rounds=0", "--set", "train.gbm.learn_rate=0.02")
	s.latencies = s.measure(t)
	return s
}

// shadow starts a candidate.
func (s *shadows) shadow(id, model string, more ...string) *instance {
	s.t.Helper()
	args := []string{s.binary, "shadow", "--model", model, "--instance-id", id, "--create-topics", "--json", "--http", "127.0.0.1:0"}
	return s.launch(s.t, id, append(args, more...)...)
}

// phase sends records at the rate for some time, and notes how late their predictions came.
func (s *shadows) phase(ctx context.Context, name string, length time.Duration) {
	s.t.Helper()
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var failed error
	for n := 0; time.Since(began) < length; <-tick.C {
		for due := int(time.Since(began).Seconds() * float64(s.perSecond)); n < due; n++ {
			sale := s.generator.Sale(history + int64(s.sent))
			s.sent++
			r := &kgo.Record{Topic: s.topics.Source, Key: []byte(sale.StateZip), Value: sale.AppendListing(nil), Timestamp: began.Add(time.Duration(n) * time.Second / time.Duration(s.perSecond))}
			s.producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed = err
				}
			})
		}
	}
	must(s.t, s.producer.Flush(ctx))
	must(s.t, failed)
	s.settle(ctx)
	if name == "" {
		return
	}
	took := s.latencies.took(began, began.Add(length))
	s.phases[name] = append(s.phases[name], quantile(took, 0.99))
	s.counts[name] += len(took)
}

// settle waits until production has predicted all that was sent.
func (s *shadows) settle(ctx context.Context) {
	s.t.Helper()
	must(s.t, poll(ctx, func() (bool, error) {
		s.latencies.mu.Lock()
		defer s.latencies.mu.Unlock()
		return len(s.latencies.list) >= s.sent, nil
	}))
}

// sameAsItself replays all that there is with the champion: no prediction differs, though the window and the table have a part in it.
func (s *shadows) sameAsItself(ctx context.Context) {
	s.t.Helper()
	must(s.t, s.cluster.CreateTopic(ctx, "same", shadowPartitions, map[string]string{"message.timestamp.type": "LogAppendTime"}))
	i := s.shadow("same", "@champion", "--from", "earliest", "--to", "latest", "--set", "shadow.topic=same", "--state-dir", s.path("state-same"))
	if code, err := i.exit(ctx); code != 0 || err != nil {
		s.t.Fatalf("a shadow of a range ends with %d, %v", code, err)
	}
	r := s.compare(ctx, 0, "--shadow-topic", "same")
	if r.Pairs != s.sent || r.Agreement.Same != r.Pairs || r.Agreement.Different != 0 || len(r.Top) != 0 {
		s.t.Errorf("the champion beside itself: %+v of %d records", r, s.sent)
	}
	if l := r.Candidate.Latency; l == nil || l.Records != r.Pairs || !(l.P99 > 0) {
		s.t.Errorf("the brokers have set the times, and the latency is %+v", l)
	}
}

// comparison is what compare says.
type comparison struct {
	Pairs     int `json:"pairs"`
	Agreement struct {
		Same      int `json:"same"`
		Different int `json:"different"`
	} `json:"agreement"`
	Production compared `json:"production"`
	Candidate  compared `json:"candidate"`
	Top        []struct {
		Inputs []struct {
			Name string `json:"name"`
		} `json:"inputs"`
		Lacks string `json:"lacks"`
	} `json:"top"`
}

type compared struct {
	Read    int `json:"read"`
	Again   int `json:"again"`
	Latency *struct {
		Records int     `json:"records"`
		P99     float64 `json:"p99"`
	} `json:"latency"`
	Alone struct {
		Lacking int `json:"lacking"`
		Before  int `json:"before"`
		Behind  int `json:"behind"`
	} `json:"alone"`
}

// compare runs the command, which has to end with a status.
func (s *shadows) compare(ctx context.Context, code int, more ...string) comparison {
	s.t.Helper()
	o := s.run(ctx, s.t, append([]string{"compare", "--json"}, more...)...)
	if o.code != code {
		s.t.Fatalf("compare %v: exit status %d, want %d\n%s%s", more, o.code, code, o.stdout, o.stderr)
	}
	var c comparison
	must(s.t, json.Unmarshal([]byte(o.stdout), &c))
	return c
}

// candidate runs a small candidate, kills it, starts it again, and has it stand still.
func (s *shadows) candidate(ctx context.Context, length time.Duration) {
	s.t.Helper()
	const model = "house-prices@2"
	state := []string{"--state-dir", s.path("state-shadow")}
	i := s.shadow("small", model, state...)
	must(s.t, i.says(ctx, "msg=running", 1))
	s.phase(ctx, "a shadow", length)
	must(s.t, i.kill(ctx))
	s.phase(ctx, "a shadow that was killed", length)
	i = s.shadow("small", model, state...)
	must(s.t, i.says(ctx, "msg=running", 1))
	must(s.t, i.proc.Signal(syscall.SIGSTOP))
	s.phase(ctx, "a shadow that stands still", length)
	must(s.t, i.proc.Signal(syscall.SIGCONT))
	var c comparison
	must(s.t, poll(ctx, func() (bool, error) { // it catches up
		c = s.compare(ctx, 3, "--explain", "0")
		return c.Candidate.Alone.Lacking == 0 && c.Production.Alone.Lacking == 0 && c.Production.Alone.Behind == 0, nil
	}))
	_, err := i.terminate(ctx)
	must(s.t, err)
	c = s.compare(ctx, 3, "--explain", "2")
	if c.Pairs == 0 || c.Pairs+c.Production.Alone.Before != c.Production.Read || c.Candidate.Again != 0 || c.Candidate.Read != c.Pairs || c.Agreement.Different == 0 {
		s.t.Errorf("the candidate: %+v", c)
	}
	if len(c.Top) != 2 || len(c.Top[0].Inputs) == 0 || c.Top[0].Lacks != "" {
		s.t.Errorf("the largest differences: %+v", c.Top)
	}
}

// large runs a candidate that takes long.
func (s *shadows) large(ctx context.Context, length time.Duration) {
	s.t.Helper()
	i := s.shadow("large", "house-prices@3", "--from", "earliest", "--set", "shadow.topic=large", "--state-dir", s.path("state-large"))
	must(s.t, i.says(ctx, "msg=running", 1))
	s.phase(ctx, "a large shadow that has much to catch up with", length)
	must(s.t, i.kill(ctx))
}

// full runs a candidate whose state is on a file system that becomes full.
func (s *shadows) full(ctx context.Context, length time.Duration) {
	s.t.Helper()
	if err := exec.CommandContext(ctx, "unshare", "-rm", "true").Run(); err != nil {
		s.t.Log("no file system of its own can be had here: the full disk is left out")
		return
	}
	dir := s.path("small")
	must(s.t, os.MkdirAll(dir, 0o755))
	shadow := fmt.Sprintf("%s shadow --model @champion --instance-id full --create-topics --from earliest --set shadow.topic=full --state-dir %s/state", s.binary, dir)
	mount := func(size string) string { return fmt.Sprintf("mount -t tmpfs -o size=%s none %s && ", size, dir) }
	// There is no room from the beginning, and then it goes while the shadow runs: when its state is open, of which the options are written last.
	i := s.launch(s.t, "full", "unshare", "-rm", "sh", "-c", mount("8k")+"exec "+shadow+" --min-free 0")
	s.phase(ctx, "a shadow whose disk is full", length)
	if code, err := i.exit(ctx); code != 1 || err != nil || !strings.Contains(i.log(), "no space left") {
		s.t.Errorf("a shadow whose disk is full ends with %d, %v: %s", code, err, tail(i.log(), 5))
	}
	filling := fmt.Sprintf("%s & pid=$!; until ls %s/state-*/db/OPTIONS-* >/dev/null 2>&1; do sleep 0.1; done; dd if=/dev/zero of=%s/others bs=1k 2>/dev/null; wait $pid", shadow, dir, dir)
	i = s.launch(s.t, "filling", "unshare", "-rm", "sh", "-c", mount("2m")+filling)
	s.phase(ctx, "a shadow whose disk becomes full", length)
	if code, err := i.exit(ctx); code != 1 || err != nil || !strings.Contains(i.log(), "of its file system are free") {
		s.t.Errorf("a shadow whose disk becomes full ends with %d, %v: %s", code, err, tail(i.log(), 5))
	}
}

// twin has production's pipeline predict all again, with no shadow there is: the output is the same, byte for byte.
func (s *shadows) twin(ctx context.Context) {
	s.t.Helper()
	must(s.t, s.cluster.CreateTopic(ctx, "twin", shadowPartitions, nil))
	must(s.t, s.cluster.CreateTopic(ctx, "twin.dlq", shadowPartitions, nil))
	i := s.start(s.t, "twin", "--state-dir", s.path("state-twin"), "--set", "group=twin", "--set", "sink.topic=twin", "--set", "dead_letter.topic=twin.dlq", "--set", "model.update=restart")
	var twin []*kgo.Record
	must(s.t, poll(ctx, func() (bool, error) {
		var err error
		twin, err = torture.Committed(ctx, s.cluster.Bootstrap(), "twin")
		return len(twin) >= s.sent, err
	}))
	_, err := i.terminate(ctx)
	must(s.t, err)
	production, err := torture.Committed(ctx, s.cluster.Bootstrap(), s.topics.Predictions)
	must(s.t, err)
	a, b := inOrder(production), inOrder(twin)
	for p := range int32(shadowPartitions) {
		if len(a[p]) == 0 || !bytes.Equal(a[p], b[p]) {
			s.t.Errorf("partition %d of production's output, of %d bytes, is not what it is without a shadow, of %d", p, len(a[p]), len(b[p]))
		}
	}
	s.t.Logf("%d predictions are byte for byte what they are without a shadow", len(production))
}

// inOrder writes down what partitions hold, but for offsets, which markers of transactions move.
func inOrder(records []*kgo.Record) map[int32][]byte {
	slices.SortFunc(records, func(a, b *kgo.Record) int { return int(a.Offset - b.Offset) })
	all := map[int32][]byte{}
	for _, r := range records {
		b := fmt.Appendf(all[r.Partition], "%q %q %d", r.Key, r.Value, r.Timestamp.UnixMilli())
		for _, h := range r.Headers {
			b = fmt.Appendf(b, " %q=%q", h.Key, h.Value)
		}
		all[r.Partition] = append(b, '\n')
	}
	return all
}

// report says how late predictions came.
func (s *shadows) report() {
	s.t.Helper()
	calm := quantile(s.phases["no shadow"], 0.5)
	for _, name := range slices.Sorted(maps.Keys(s.phases)) {
		list := s.phases[name]
		median := quantile(list, 0.5)
		s.t.Logf("%-48s %6d records, p99 %v in the median of %d phases (%+.0f %%), %v to %v", name, s.counts[name], median.Round(100*time.Microsecond), len(list),
			100*(float64(median)/float64(calm)-1), slices.Min(list).Round(100*time.Microsecond), slices.Max(list).Round(100*time.Microsecond))
	}
}
