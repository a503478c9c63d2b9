//go:build unix

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/experiment"
	outcomes "millrace.dev/internal/outcome"
)

const outcomesPipeline = `version: 1
name: houses
kafka: {brokers: "${KAFKA_BROKERS}"}
schema: {numeric: [price, sqft], enum: [zip]}
source: {topic: housing}
train: {data: sales.csv, label: price}
sink: {topic: predictions}
dead_letter: {topic: housing.dlq}
outcomes: {topic: sold, horizon: 10m, grace: 2m, unit: zip}
`

// The times of the test's events, which are in the past: half an hour goes by in as many seconds as the traffic takes.
const (
	outcomesSpan    = 30 * time.Minute
	outcomesHorizon = 10 * time.Minute
	outcomesLate    = time.Minute // that events come at most behind others
)

// event is a prediction or a label, and when it comes.
type event struct {
	at, comes int64 // milliseconds, of events
	topic     string
	record    *kgo.Record
}

// expected is what has to come of a prediction.
type expected struct {
	arm, unit       string
	at              int64
	value, baseline float64
	label           float64
	labelled        int64 // 0: it expires
}

// plot makes the events of a test: predictions of two arms, the first of which has more labels, and what has to come of them.
func plot(seed uint64, n int, start int64) (events []event, want map[string]*expected) {
	rng := newRand(seed)
	want = map[string]*expected{}
	share := map[string]float64{"control": 0.8, "new": 0.6}
	labels := map[string][]int64{} // times by key
	byKey := map[string][]*expected{}
	late := func(at int64) int64 { return at + rng.Int64N(outcomesLate.Milliseconds()) }
	for i := range n {
		key := fmt.Sprintf("house-%d", rng.IntN(n*3/4)) // some have several predictions
		e := &expected{arm: "control", at: start + int64(i)*outcomesSpan.Milliseconds()/int64(n), value: float64(rng.IntN(1000))}
		e.baseline = e.value
		if key[len(key)-1]&1 == 1 { // a key has one arm
			e.arm, e.baseline = "new", float64(rng.IntN(1000))
		}
		e.unit = fmt.Sprintf("zip-%s-%d", e.arm, len(key)*7+int(key[len(key)-1]))
		source := fmt.Sprintf("housing/%d/%d", i%6, i)
		want[source] = e
		byKey[key] = append(byKey[key], e)
		r := &kgo.Record{
			Topic: "predictions", Key: []byte(key), Timestamp: time.UnixMilli(e.at), Value: fmt.Appendf(nil, `{"sqft":%d,"zip":%q,"prediction":%g}`, i, e.unit, e.value),
			Headers: []kgo.RecordHeader{
				{Key: "millrace.experiment", Value: []byte("pricing")},
				{Key: "millrace.arm", Value: []byte(e.arm)},
				{Key: "millrace.model", Value: []byte("houses@1")},
				{Key: "millrace.digest", Value: []byte("sha256:1")},
				{Key: "millrace.source", Value: []byte(source)},
			},
		}
		if e.arm == "new" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "millrace.baseline", Value: fmt.Appendf(nil, "%g", e.baseline)})
		}
		events = append(events, event{at: e.at, comes: late(e.at), topic: r.Topic, record: r})
		if rng.Float64() < share[e.arm] {
			at := e.at + rng.Int64N(outcomesHorizon.Milliseconds()*5/4)
			if slices.Contains(labels[key], at) { // of two at the same time the order would decide
				continue
			}
			labels[key] = append(labels[key], at)
			l := &kgo.Record{Topic: "sold", Key: []byte(key), Timestamp: time.UnixMilli(at), Value: fmt.Appendf(nil, `{"price":%d}`, at%1000)}
			events = append(events, event{at: at, comes: late(at), topic: l.Topic, record: l})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.comes, b.comes) })
	firsts(byKey, events)
	return events, want
}

// firsts finds the first label of each prediction.
func firsts(byKey map[string][]*expected, events []event) {
	labels := map[string][]int64{}
	for i := range events {
		if key := string(events[i].record.Key); events[i].topic == "sold" {
			labels[key] = append(labels[key], events[i].at)
		}
	}
	for key, list := range byKey {
		for _, e := range list {
			for _, at := range labels[key] {
				if at >= e.at && at <= e.at+outcomesHorizon.Milliseconds() && (e.labelled == 0 || at < e.labelled) {
					e.labelled, e.label = at, float64(at%1000)
				}
			}
		}
	}
}

// TestOutcomesKilled joins predictions with labels while instances are killed: each prediction has one outcome, and the sums are those of the
// outcomes.
func TestOutcomesKilled(t *testing.T) {
	beside(t)
	const partitions, n = 6, 60_000
	seed := newSeed(t)
	ctx := deadline(t, 5*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	logs := filepath.Join(t.ArtifactDir(), "instances")
	must(t, os.Mkdir(logs, 0o755))
	p := &project{binary: binary(t), dir: t.TempDir(), logs: logs, cluster: cluster}
	must(t, os.WriteFile(p.path("pipeline.yaml"), []byte(outcomesPipeline), 0o644))
	must(t, cluster.CreateTopic(ctx, "housing", partitions, nil))
	must(t, cluster.CreateTopic(ctx, "predictions", partitions, nil))
	must(t, cluster.CreateTopic(ctx, "sold", partitions/2, nil))

	start := time.Now().Add(-2 * time.Hour).UnixMilli()
	events, want := plot(seed, n, start)
	crew := &crew{p: p, t: t, members: make([]*instance, 3), down: make([]bool, 3)}
	launch := func(i int) *instance {
		id := fmt.Sprintf("outcomes-%d", i)
		return p.startCommand(t, []string{"outcomes"}, id, "--create-topics", "--state-dir", p.path(id))
	}
	restart := func(at time.Duration, i int) fault {
		return fault{at: at, what: fmt.Sprintf("start %d", i), do: func(context.Context) error {
			crew.members[i], crew.down[i] = launch(i), false
			return nil
		}}
	}
	for i := range crew.members {
		crew.members[i] = launch(i)
	}
	for _, m := range crew.members {
		must(t, m.says(ctx, "partitions changed", 1))
	}
	began := time.Now()
	sent := make(chan error, 1)
	const length = 24 * time.Second
	go func() { sent <- p.play(ctx, t, events, length) }()
	rng := rand.New(rand.NewPCG(seed, 2))
	some := func() time.Duration { return time.Duration(rng.Int64N(int64(2 * time.Second))) }
	faults := []fault{crew.kill(3*time.Second+some(), 0)}
	faults = append(faults, restart(faults[0].at+500*time.Millisecond, 0), crew.kill(8*time.Second+some(), 1), restart(17*time.Second+some(), 1))
	faults = append(faults, crew.terminate(12*time.Second+some(), 2), restart(15*time.Second+some(), 2))
	faults = append(faults, crew.freeze(19*time.Second, 20*time.Second, 0)...)
	faults = append(faults, fault{at: 10 * time.Second, what: "two partitions more of sold", do: func(ctx context.Context) error {
		_, err := p.admin(t).CreatePartitions(ctx, 2, "sold")
		return err
	}})
	inflict(ctx, t, began, faults)
	must(t, <-sent)
	// Some have expired while others were still coming.
	must(t, poll(ctx, func() (bool, error) {
		list, err := p.outcomes(ctx)
		return len(list) > len(want)/2 && slices.ContainsFunc(list, func(o *outcomes.Outcome) bool { return o.Status == outcomes.Expired }), err
	}))
	crew.stop(ctx)
	end := time.UnixMilli(start).Add(outcomesSpan + 2*outcomesHorizon).UTC().Format(time.RFC3339)
	p.ok(t, "outcomes", "--once", "--until", end)
	if o := p.run(ctx, t, "outcomes", "--once", "--until", end); o.code != 99 {
		t.Errorf("once more: exit status %d\n%s", o.code, o.stderr)
	}

	got, err := p.outcomes(ctx)
	must(t, err)
	compareOutcomes(t, got, want)
	p.compareCohorts(ctx, t, want)
	if letters, err := torture.Committed(ctx, cluster.Bootstrap(), "houses.outcomes.dlq"); err != nil || len(letters) > 0 {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
}

// play writes events, as fast as it takes.
func (p *project) play(ctx context.Context, t *testing.T, events []event, length time.Duration) error {
	cl := p.client(t, kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	began := time.Now()
	failed := make(chan error, 1)
	for i := range events {
		if i%200 == 0 {
			if err := pause(ctx, time.Until(began.Add(length*time.Duration(i)/time.Duration(len(events))))); err != nil {
				return err
			}
		}
		cl.Produce(ctx, events[i].record, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// outcomes reads the outcomes that are committed.
func (p *project) outcomes(ctx context.Context) ([]*outcomes.Outcome, error) {
	records, err := torture.Committed(ctx, p.cluster.Bootstrap(), "houses.outcomes")
	if err != nil {
		return nil, err
	}
	list := make([]*outcomes.Outcome, len(records))
	for i, r := range records {
		if list[i], err = outcomes.DecodeOutcome(r.Value); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// compareOutcomes wants one outcome for each prediction, and the right one.
func compareOutcomes(t *testing.T, got []*outcomes.Outcome, want map[string]*expected) {
	t.Helper()
	seen := map[string]bool{}
	resolved, wrong, other := 0, 0, 0
	for _, o := range got {
		e := want[o.Source]
		switch {
		case e == nil:
			t.Fatalf("an outcome of %s, which was never predicted", o.Source)
		case seen[o.Source]:
			wrong++
			t.Logf("%s has two outcomes", o.Source)
		case o.Status == outcomes.Expired && e.labelled != 0 || o.Status == outcomes.Resolved && (e.labelled == 0 || *o.LabelledAt < e.labelled),
			o.Arm != e.arm, o.PredictedAt != e.at, o.Prediction != e.value:
			wrong++
			t.Logf("%s is %s with label %v: want label %g at %d, of %+v", o.Source, o.Status, o.LabelledAt, e.label, e.labelled, e)
		case o.Status == outcomes.Resolved:
			resolved++
			if *o.LabelledAt != e.labelled { // one that came before the first: what was written stays
				other++
				e.labelled, e.label = *o.LabelledAt, *o.Label
			}
			if *o.Label != float64(*o.LabelledAt%1000) {
				wrong++
			}
		}
		seen[o.Source] = true
	}
	if wrong > 0 || len(seen) != len(want) {
		t.Fatalf("%d outcomes are wrong, %d of %d predictions have one", wrong, len(seen), len(want))
	}
	t.Logf("%d predictions: %d resolved, %d of them by a label that came before an earlier one; %d expired", len(want), resolved, other, len(want)-resolved)
	if other*20 > resolved {
		t.Errorf("%d of %d are resolved by another label than the first", other, resolved)
	}
}

// compareCohorts holds the sums against the outcomes.
func (p *project) compareCohorts(ctx context.Context, t *testing.T, want map[string]*expected) {
	t.Helper()
	records, err := torture.Committed(ctx, p.cluster.Bootstrap(), "houses.cohorts")
	must(t, err)
	last := map[string]*outcomes.Cohort{}
	largest := 0
	for _, r := range records {
		c, err := outcomes.DecodeCohort(r.Value)
		must(t, err)
		last[string(r.Key)] = c
		largest = max(largest, len(r.Value))
	}
	sums := map[string]*outcomes.Cohort{"control": {}, "new": {}}
	for _, c := range last {
		sums[c.Arm].Merge(c)
	}
	type unit struct{ y, x, d float64 }
	units := map[string]map[string]unit{"control": {}, "new": {}}
	for arm, got := range sums {
		records, resolved := int64(0), int64(0)
		for _, e := range want {
			if e.arm != arm {
				continue
			}
			records++
			u := units[arm][e.unit]
			if e.labelled != 0 {
				resolved++
				y, x := e.value-e.label, e.baseline-e.label
				u = unit{u.y + float64(y*y), u.x + float64(x*x), u.d + 1}
			}
			units[arm][e.unit] = u
		}
		var sum experiment.Cross
		for _, u := range units[arm] {
			if u.d > 0 { // else no label of it came
				must(t, sum.Add(u.y, u.x, u.d))
			}
		}
		if got.Records != records || got.Resolved != resolved || got.Expired != records-resolved || got.Units != int64(len(units[arm])) {
			t.Errorf("%s: %d records, %d resolved, %d expired, %d units: want %d, %d, %d, %d", arm, got.Records, got.Resolved, got.Expired, got.Units,
				records, resolved, records-resolved, len(units[arm]))
		}
		if x := got.Metrics["squared_error"]; x == nil || *x != sum { // whole numbers, which add up exactly
			t.Errorf("%s: %+v, want %+v", arm, x, sum)
		}
		t.Logf("%s: %d of %d predictions resolved, a share of %.3f; %d units", arm, resolved, records, float64(resolved)/float64(records), len(units[arm]))
	}
	z := proportions(sums["control"], sums["new"])
	t.Logf("%d records of cohorts, the largest has %d bytes; the share of labels differs by %.1f standard errors", len(records), largest, z)
	if z < 10 {
		t.Errorf("the share of labels of the arms differs by %g standard errors: it was made to differ", z)
	}
	if largest > 4096 {
		t.Errorf("a record of cohorts has %d bytes", largest)
	}
}

// proportions returns by how many standard errors the shares of resolved predictions of two arms differ.
func proportions(a, b *outcomes.Cohort) float64 {
	n, m := float64(a.Records), float64(b.Records)
	p, q := float64(a.Resolved)/n, float64(b.Resolved)/m
	all := float64(a.Resolved+b.Resolved) / (n + m)
	return (p - q) / math.Sqrt(float64(all*(1-all))*(1/n+1/m))
}
