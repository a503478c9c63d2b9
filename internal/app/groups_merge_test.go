package app_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/rollout"
	"millrace.dev/model"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// parted is a pipeline whose records two models predict: each its arm, in one instance, or in a group for each arm with a merge behind.
type parted struct {
	e      *enrichment
	p      *config.Pipeline
	models [2]*model.Loaded
	split  *rollout.Split
	source [][]record.Raw // by partition
}

const (
	partedTopics = 3
	partedSet    = "tables.cities.join=global"
)

// partedClock is that of the driver.
func partedClock() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }

// newParted makes a pipeline with records of all kinds. key is the field by which they are divided, "" being the message's key.
func newParted(t *testing.T, key string) *parted {
	t.Helper()
	x := &parted{e: newEnrichment(t), source: make([][]record.Raw, partedTopics)}
	text, err := os.ReadFile(x.e.file)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "checks: {record: [{name: small, rule: area > 80, otherwise: warn}, {name: large, rule: area < 240, otherwise: dead_letter}]}\n"...)
	if err := os.WriteFile(x.e.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.e.a.Train(t.Context(), app.TrainOptions{File: x.e.file, Threads: 1, Set: []string{"train.gbm.ntrees=4"}}); err != nil {
		t.Fatal(err)
	}
	if x.p, err = x.e.a.Load(x.e.file, []string{partedSet, "tables.sellers.join=global", "tables.sellers.required=true"}); err != nil {
		t.Fatal(err)
	}
	slots, err := assign.New([]float64{60, 40})
	if err != nil {
		t.Fatal(err)
	}
	x.split = &rollout.Split{Experiment: "test", By: rollout.ByKey, Key: key, Salt: "salty", Override: "x-arm"}
	for i, name := range []string{"control", "new"} {
		if x.models[i], err = x.e.a.LoadModel(t.Context(), x.p.Model, x.p.Name, fmt.Sprintf("houses@%d", i+1)); err != nil {
			t.Fatal(err)
		}
		x.split.Arms = append(x.split.Arms, rollout.Arm{Name: name, Model: x.models[i].Ref, Digest: x.models[i].Digest, Slots: slots[i]})
	}
	return x
}

// start drives a topology, with the tables' rows in place where it reads them.
func (x *parted) start(t *testing.T, top *stream.Topology, tables bool) *streamtest.Driver {
	t.Helper()
	d := streamtest.New(t, top, streamtest.Partitions(partedTopics), streamtest.StartAt(partedClock()))
	if !tables {
		return d
	}
	for topic, row := range map[string]func(int) string{"ref.cities": cityRow, "ref.sellers": sellerRow} {
		in := streamtest.NewInput(d, topic, stream.String(), stream.String())
		for i := 0; row(i) != ""; i++ {
			in.Pipe(topic[4:5]+strconv.Itoa(i), row(i), 4)
		}
	}
	return d
}

// within has one instance predict the records, each with the model of its arm.
func (x *parted) within(t *testing.T) *streamtest.Driver {
	t.Helper()
	var scorings []*app.Scoring
	for _, m := range x.models {
		s, err := app.NewScoring(x.p, m, app.ScoringOptions{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		scorings = append(scorings, s)
	}
	d := x.start(t, app.Topology(x.p, x.models[0].Bundle.Plan, scorings[0]), true)
	if err := scorings[0].Serve(1, x.split, scorings...); err != nil {
		t.Fatal(err)
	}
	d.SetEpoch(1)
	in := streamtest.NewInput(d, "houses", stream.Bytes(), stream.Bytes())
	in.PipeAll(x.e.recs[:150]...)
	for _, r := range odd() {
		d.PipeRaw("houses", r)
	}
	override := func(arm string) []record.Header {
		return []record.Header{{Key: "x-arm", Value: []byte(arm)}, {Key: "millrace.ab.prediction", Value: []byte("1")}, {Key: "millrace.ab.refused", Value: []byte("{}")}}
	}
	d.PipeRaw("houses", record.Raw{Key: []byte("f1"), Value: []byte(`{"area":70,"city":"c1","seller":"s1"}`), Headers: override("control"), Timestamp: 20})
	d.PipeRaw("houses", record.Raw{Key: []byte("f1"), Value: []byte(`{"area":70,"city":"c1","seller":"s1"}`), Headers: override("new"), Timestamp: 21})
	d.PipeRaw("houses", record.Raw{Key: []byte("f1"), Value: []byte(`{"area":70,"city":"c1","seller":"s1"}`), Headers: override("no such arm"), Timestamp: 22})
	d.PipeRaw("houses", record.Raw{Key: []byte("no time"), Value: []byte(`{"area":70,"city":"c1","seller":"s1"}`), Timestamp: -1})
	d.PipeRaw("houses", record.Raw{Key: []byte("ahead"), Value: []byte(`{"area":71,"city":"c1","seller":"s1"}`), Timestamp: partedClock().Add(48 * time.Hour).UnixMilli()})
	d.PipeRaw("houses", record.Raw{Key: []byte("unreadable"), Unreadable: true, Timestamp: 23})
	in.PipeAll(x.e.recs[150:]...)
	for p := range x.source {
		x.source[p] = d.Raw("houses", int32(p))
	}
	return d
}

// arm has an arm predict all records, with crashes, and returns what it has written, by partition.
func (x *parted) arm(t *testing.T, i int) (results [][]record.Raw) {
	t.Helper()
	top, err := app.ArmTopology(x.p, x.split.Arms[i].Name, x.models[i])
	if err != nil {
		t.Fatal(err)
	}
	d := x.start(t, top, true)
	in := streamtest.NewInput(d, "houses", stream.Nullable(stream.Bytes()), stream.Nullable(stream.Bytes()))
	for p, rs := range x.source {
		for n, r := range rs {
			if r.Unreadable {
				d.PipeRaw("houses", r)
				continue
			}
			in.PipeTo(int32(p), typed(&r))
			if n == 40 {
				d.Crash()
			}
		}
	}
	results = make([][]record.Raw, partedTopics)
	for p := range results {
		results[p] = d.Raw("houses-ab-"+x.split.Arms[i].Name, int32(p))
		if len(results[p]) != len(x.source[p]) {
			t.Errorf("arm %d has %d results of %d records in partition %d", i, len(results[p]), len(x.source[p]), p)
		}
	}
	return results
}

// typed returns a record with its nulls.
func typed(r *record.Raw) stream.Record[*[]byte, *[]byte] {
	out := stream.Record[*[]byte, *[]byte]{Timestamp: r.Timestamp, Headers: r.Headers}
	if r.Key != nil {
		out.Key = &r.Key
	}
	if r.Value != nil {
		out.Value = &r.Value
	}
	return out
}

// merge starts the merge.
func (x *parted) merge(t *testing.T) *streamtest.Driver {
	t.Helper()
	top, err := app.MergeTopology(x.p, x.split, partedClock)
	if err != nil {
		t.Fatal(err)
	}
	return x.start(t, top, false)
}

// compared is what is compared of a record: dead letters of a driver name the topology, and not the group that an engine names.
type compared struct {
	Key, Value string
	Nulls      [2]bool
	Headers    []string
	Timestamp  int64
}

func comparing(rs []record.Raw) (out []compared) {
	for _, r := range rs {
		c := compared{string(r.Key), string(r.Value), [2]bool{r.Key == nil, r.Value == nil}, nil, r.Timestamp}
		for _, h := range r.Headers {
			// A record that is unreadable is refused by the source, or by the operator behind it.
			if h.Key != "millrace.dlq.group" && (h.Key != "millrace.dlq.node" || c.Key != "unreadable") {
				c.Headers = append(c.Headers, fmt.Sprintf("%s=%s", h.Key, h.Value))
			}
		}
		out = append(out, c)
	}
	return out
}

// TestMerge holds that the merge of two arms, whichever is ahead and whatever crashes, writes byte for byte and in the same order what one
// instance writes that has both.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "city"} {
		t.Run("key "+key, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			x := newParted(t, key)
			want := x.within(t)
			results := [][][]record.Raw{x.arm(t, 0), x.arm(t, 1)}
			for range 5 {
				d := x.merge(t)
				x.pipeAll(t, d, results, r)
				for _, topic := range []string{"predictions", "houses.dlq"} {
					n := 0
					for p := range int32(partedTopics) {
						n += len(want.Raw(topic, p))
						if diff := cmp.Diff(comparing(want.Raw(topic, p)), comparing(d.Raw(topic, p))); diff != "" {
							t.Fatalf("%s, partition %d: %s", topic, p, diff)
						}
					}
					if n < 6 {
						t.Errorf("%s has %d records: too few to compare", topic, n)
					}
				}
			}
		})
	}
}

// pipeAll gives the merge what the arms have written, in pieces, with crashes between.
func (x *parted) pipeAll(t *testing.T, d *streamtest.Driver, results [][][]record.Raw, r *rand.Rand) {
	t.Helper()
	var inputs []*streamtest.Input[*[]byte, *[]byte]
	for _, arm := range x.split.Arms {
		inputs = append(inputs, streamtest.NewInput(d, "houses-ab-"+arm.Name, stream.Nullable(stream.Bytes()), stream.Nullable(stream.Bytes())))
	}
	next := make([][partedTopics]int, len(results))
	for left := true; left; {
		left = false
		arm, p := r.IntN(len(results)), r.IntN(partedTopics)
		for range r.IntN(60) {
			if at := next[arm][p]; at < len(results[arm][p]) {
				inputs[arm].PipeTo(int32(p), typed(&results[arm][p][at]))
				next[arm][p]++
			}
		}
		switch r.IntN(12) {
		case 0:
			d.Crash()
		case 1:
			d.Abort()
		case 2:
			d.CrashAt(streamtest.CrashPoint(r.IntN(4)), r.IntN(20))
		case 3:
			d.Rebalance(0, int32(p))
		}
		for arm := range results {
			for p := range partedTopics {
				left = left || next[arm][p] < len(results[arm][p])
			}
		}
	}
}

// TestMergeIncomplete holds that a record that an arm lacks is not lost, and that what is no result of an arm becomes a dead letter.
func TestMergeIncomplete(t *testing.T) {
	t.Parallel()
	x := newParted(t, "")
	x.within(t)
	results := [][][]record.Raw{x.arm(t, 0), x.arm(t, 1)}
	d := x.merge(t)
	control := streamtest.NewInput(d, "houses-ab-control", stream.Nullable(stream.Bytes()), stream.Nullable(stream.Bytes()))
	other := streamtest.NewInput(d, "houses-ab-new", stream.Nullable(stream.Bytes()), stream.Nullable(stream.Bytes()))
	bytes := []byte("something else")
	foreign := stream.Record[*[]byte, *[]byte]{Value: &bytes, Timestamp: 5}
	control.PipeTo(0, foreign)
	foreign.Headers = []record.Header{{Key: "millrace.source", Value: []byte("houses/0/0")}}
	control.PipeTo(0, foreign)
	lacks := 0
	for i := range results[0][0] {
		control.PipeTo(0, typed(&results[0][0][i]))
		if i%10 == 3 { // the records were deleted before the arm came to them, say
			lacks++
			continue
		}
		other.PipeTo(0, typed(&results[1][0][i]))
	}
	seen := map[string]int{}
	for p := range int32(partedTopics) { // a prediction without a key goes by the partition of its record
		for _, r := range d.Raw("predictions", p) {
			seen[headerOf(&r, "millrace.source")]++
		}
		for _, r := range d.Raw("houses.dlq", p) {
			seen[headerOf(&r, "millrace.dlq.topic")+"/"+headerOf(&r, "millrace.dlq.partition")+"/"+headerOf(&r, "millrace.dlq.offset")]++
		}
	}
	for i := range results[0][0] {
		if at := fmt.Sprintf("houses/0/%d", i); seen[at] != 1 {
			t.Errorf("%s has %d results", at, seen[at])
		}
	}
	if seen["houses-ab-control/0/0"] != 1 || seen["houses-ab-control/0/1"] != 1 || lacks == 0 {
		t.Errorf("what is no result: %v", seen)
	}
	for _, r := range d.Raw("predictions", 0) {
		var n int
		if _, err := fmt.Sscanf(headerOf(&r, "millrace.source"), "houses/0/%d", &n); err != nil {
			t.Fatal(err)
		}
		if n%10 == 3 && headerOf(&r, "millrace.arm") != "control" {
			t.Errorf("record %d is of arm %s, which lacks it", n, headerOf(&r, "millrace.arm"))
		}
	}
}

// TestMergeInstead holds that the control's prediction stands where the model of another arm refuses a record that the control predicts.
func TestMergeInstead(t *testing.T) {
	t.Parallel()
	x := newParted(t, "")
	x.within(t)
	results := [][][]record.Raw{x.arm(t, 0), x.arm(t, 1)}
	want := map[string]string{} // the control's predictions, by source
	for i := range results[0][0] {
		if control := &results[0][0][i]; headerOf(control, "millrace.ab.prediction") != "" && headerOf(control, "millrace.model") != "" {
			want[headerOf(control, "millrace.source")] = string(control.Value)
		}
		other := &results[1][0][i]
		n := len(other.Headers)
		other.Headers = append([]record.Header{{Key: "millrace.ab.refused", Value: []byte(`{"stage":"score","class":"not_finite","reason":"it is not a number"}`)}}, other.Headers[n-2:]...)
	}
	for p := 1; p < partedTopics; p++ {
		results[0][p], results[1][p] = nil, nil
	}
	d := x.merge(t)
	x.pipeAll(t, d, results, rand.New(rand.NewPCG(1, 1)))
	arms := map[string]int{}
	for _, r := range d.Raw("predictions", 0) {
		arm, why := headerOf(&r, "millrace.arm"), headerOf(&r, "millrace.refused")
		arms[arm]++
		if headerOf(&r, "millrace.model") != "houses@1" || string(r.Value) != want[headerOf(&r, "millrace.source")] || (arm == "new") != (why == "not_finite") || (arm == "new") != (headerOf(&r, "millrace.baseline") != "") {
			t.Errorf("%s: %v", r.Value, r.Headers)
		}
	}
	if arms["new"] < 10 || arms["control"] < 10 {
		t.Errorf("%v", arms)
	}
}
