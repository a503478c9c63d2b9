//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
)

const flatsFile = `version: 1
name: flats
kafka: {brokers: "${KAFKA_BROKERS}"}
schema: {time: [at], numeric: [rent, area], enum: [city]}
source: {topic: flats.in, event_time: at}
features: {large: area > 120}
train: {data: rents.csv, label: rent, ignore: [at], gbm: {ntrees: 10}}
checks:
  window: {every: 1h, grace: 5s, false_alarms: 0.01%, on_fail: pause, topic: flats.checks}
sink: {topic: flats.out}
dead_letter: {topic: flats.dlq}
`

// flatsPerHour is how many flats there are in each window, dealt out to flatPartitions.
const (
	flatsPerHour   = 800
	flatPartitions = 4
)

// flatsRun streams flats, hour by hour, of which those of the third are larger than in training.
type flatsRun struct {
	*project

	t      *testing.T
	client *kgo.Client
	rng    *rand.Rand
}

// flatWindow is what matters of a result.
type flatWindow struct {
	Result string `json:"result"`
	Action string `json:"action"`
	Rows   int    `json:"rows"`
	From   int64  `json:"from"`
	Late   int    `json:"late"`
}

// TestWindowChecks has two instances compare the windows of a stream with the training data, one of which is killed: each
// window has every record once. The third window differs: the pipeline pauses, also for an instance that starts then, and
// goes on when it is told to.
func TestWindowChecks(t *testing.T) {
	seed := newSeed(t)
	ctx := deadline(t, 3*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	f := &flatsRun{
		t: t, rng: newRand(seed), project: &project{binary: binary(t), dir: t.TempDir(), logs: t.TempDir(), cluster: cluster},
	}
	f.client = f.project.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, os.WriteFile(f.path("pipeline.yaml"), []byte(flatsFile), 0o644))
	var csv strings.Builder
	csv.WriteString("at,rent,area,city\n")
	for range 3000 {
		area, city := f.draw(0)
		fmt.Fprintf(&csv, "2025-12-31,%d,%d,c%d\n", area*(10+city), area, city)
	}
	must(t, os.WriteFile(f.path("rents.csv"), []byte(csv.String()), 0o644))
	must(t, cluster.CreateTopic(ctx, "flats.in", flatPartitions, nil))
	f.ok(t, "train", "--by", "e2e")
	f.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")

	a, b := f.instance("a"), f.instance("b")
	f.send(ctx, 0)
	f.await(ctx, flatsPerHour)
	must(t, a.kill(ctx))
	f.send(ctx, 1)
	a = f.instance("a")
	f.await(ctx, 2*flatsPerHour)
	f.send(ctx, 2)
	f.await(ctx, 3*flatsPerHour)
	list := f.windows(ctx, 3)
	start := flatsStart().UnixMilli()
	for i, want := range []flatWindow{
		{"ok", "", flatsPerHour, start, 0}, {"ok", "", flatsPerHour, start + 3600_000, 0}, {"fail", "pause", flatsPerHour, start + 7200_000, 0},
	} {
		if list[i] != want {
			t.Errorf("window %d: %+v, want %+v", i, list[i], want)
		}
	}

	const paused = "paused: no records are processed"
	must(t, b.says(ctx, paused, 1))
	must(t, a.says(ctx, paused, 1))
	f.send(ctx, 3)
	c := f.instance("c")
	must(t, c.says(ctx, paused, 1))
	_, err := a.terminate(ctx)
	must(t, err)
	if n := f.predictions(ctx); n != 3*flatsPerHour {
		t.Errorf("%d predictions, want none since the pause: %d", n, 3*flatsPerHour)
	}
	f.ok(t, "resume", "--by", "e2e", "--reason", "the flats are larger now")
	f.await(ctx, 4*flatsPerHour)
	if last := f.windows(ctx, 4)[3]; last.Result != "ok" || last.Rows != flatsPerHour {
		t.Errorf("the last window: %+v", last)
	}
	for _, i := range []*instance{b, c} {
		_, err := i.terminate(ctx)
		must(t, err)
	}
}

func flatsStart() time.Time { return time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC) }

func (f *flatsRun) instance(id string) *instance {
	return f.start(f.t, id, "--state-dir", f.path("state-"+id), "--create-topics")
}

func (f *flatsRun) draw(shift int) (area, city int) {
	return 50 + shift + f.rng.IntN(150), f.rng.IntN(3)
}

// send writes the flats of an hour.
func (f *flatsRun) send(ctx context.Context, hour int) {
	f.t.Helper()
	shift := 0
	if hour == 2 {
		shift = 40
	}
	records := make([]*kgo.Record, flatsPerHour)
	for i := range records {
		at := flatsStart().Add(time.Duration(hour)*time.Hour + time.Duration(i)*time.Hour/flatsPerHour)
		area, city := f.draw(shift)
		records[i] = &kgo.Record{
			Topic: "flats.in", Partition: int32(i % flatPartitions), Value: fmt.Appendf(nil, `{"at":%q,"area":%d,"city":"c%d"}`, at.Format(time.RFC3339), area, city),
		}
	}
	must(f.t, f.client.ProduceSync(ctx, records...).FirstErr())
}

func (f *flatsRun) predictions(ctx context.Context) int {
	f.t.Helper()
	records, err := torture.Committed(ctx, f.cluster.Bootstrap(), "flats.out")
	must(f.t, err)
	return len(records)
}

// await waits for so many predictions.
func (f *flatsRun) await(ctx context.Context, n int) {
	f.t.Helper()
	must(f.t, poll(ctx, func() (bool, error) {
		records, err := torture.Committed(ctx, f.cluster.Bootstrap(), "flats.out")
		return len(records) >= n, err
	}))
}

// windows waits for the results of so many windows, and returns them.
func (f *flatsRun) windows(ctx context.Context, n int) (list []flatWindow) {
	f.t.Helper()
	must(f.t, poll(ctx, func() (bool, error) {
		records, err := torture.Committed(ctx, f.cluster.Bootstrap(), "flats.checks")
		if err != nil {
			return false, err
		}
		list = nil
		for _, r := range records {
			var w flatWindow
			if err := json.Unmarshal(r.Value, &w); err != nil {
				return false, err
			}
			list = append(list, w)
		}
		return len(list) >= n, nil
	}))
	return list
}
