package app

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/config"
	"millrace.dev/internal/outcome"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// outcomesFile is a pipeline whose labels come in the topic sold. Horizon and grace are an hour each.
const outcomesFile = `version: 1
name: houses
schema: {time: [date], numeric: [price, sqft], enum: [id, zip]}
source: {topic: housing}
train: {data: houses.csv, label: price, ignore: [date]}
sink: {topic: predictions}
dead_letter: {topic: housing.dlq}
outcomes: {topic: sold, horizon: 1h, grace: 1h%s}
`

// joinTest is a topology of outcomes under test.
type joinTest struct {
	*streamtest.Driver

	t      *testing.T
	p      *config.Pipeline
	watch  *outcomesWatch
	offset int
}

// start is the time of the first prediction of tests: the driver's clock is a day later, so that nothing is in the future.
const start = int64(1_893_369_600_000) // 2029-12-31

func newJoinTest(t *testing.T, more string, o ...streamtest.Option) *joinTest {
	t.Helper()
	p, err := config.Parse("x.yaml", fmt.Appendf(nil, outcomesFile, more), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := &joinTest{t: t, p: p}
	clock := time.UnixMilli(start).Add(24 * time.Hour)
	j.watch = newOutcomesWatch(func() time.Time { return clock }, time.Hour)
	j.Driver = streamtest.New(t, OutcomesTopology(p, j.watch, 0, 0), append([]streamtest.Option{streamtest.StartAt(clock)}, o...)...)
	return j
}

// minutes is a time of a test.
func minutes(n int) int64 { return start + int64(n)*60_000 }

// predicted writes a prediction of a key, by its own message's timestamp. What is "" has no header.
func (j *joinTest) predicted(key string, at int64, value float64, headers ...string) {
	j.offset++
	j.predictedAs(fmt.Sprintf("housing/0/%d", j.offset), key, at, value, headers...)
}

func (j *joinTest) predictedAs(source, key string, at int64, value float64, headers ...string) {
	hs := []record.Header{
		{Key: "trace", Value: []byte("x")},
		{Key: "millrace.model", Value: []byte("houses@1")},
		{Key: "millrace.digest", Value: []byte("sha256:1")},
		{Key: "millrace.source", Value: []byte(source)},
	}
	for i := 0; i < len(headers); i += 2 {
		hs = append(hs, record.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	j.PipeRaw("predictions", record.Raw{
		Key: []byte(key), Value: fmt.Appendf(nil, `{"sqft":1,"id":%q,"zip":"98001","prediction":%g}`, key, value), Headers: hs, Timestamp: at,
	})
}

func (j *joinTest) labelled(key string, at int64, value float64) {
	j.PipeRaw("sold", record.Raw{Key: []byte(key), Value: fmt.Appendf(nil, `{"id":%q,"price":%g}`, key, value), Timestamp: at})
}

// reach lets predictions expire as of a time.
func (j *joinTest) reach(at int64) {
	j.watch.reached.Store(&outcome.Reached{Labels: at, Predictions: at})
	j.Advance(time.Second)
}

// got returns the outcomes that were written since the last call, each as "source status label".
func (j *joinTest) got() []string {
	j.t.Helper()
	out := []string{}
	for _, r := range streamtest.NewOutput(j.Driver, j.p.Outcomes.Sink, stream.Bytes(), stream.Bytes()).ReadAll() {
		o, err := outcome.DecodeOutcome(r.Value)
		if err != nil {
			j.t.Fatalf("%s: %v", r.Value, err)
		}
		if r.Timestamp != o.PredictedAt {
			j.t.Errorf("%s has the timestamp %d", r.Value, r.Timestamp)
		}
		line := strings.TrimPrefix(o.Source, "housing/0/") + " " + string(o.Status)
		if o.Label != nil {
			line += fmt.Sprintf(" %g at %d", *o.Label, (*o.LabelledAt-start)/60_000)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func (j *joinTest) want(lines ...string) {
	j.t.Helper()
	if d := cmp.Diff(append([]string{}, lines...), j.got()); d != "" {
		j.t.Errorf("outcomes (-want +got):\n%s", d)
	}
}

// cohorts returns the last record of each cohort.
func (j *joinTest) cohorts() map[string]*outcome.Cohort {
	j.t.Helper()
	all := map[string]*outcome.Cohort{}
	for _, r := range streamtest.NewOutput(j.Driver, j.p.Outcomes.Cohorts, stream.String(), stream.Bytes()).ReadAll() {
		c, err := outcome.DecodeCohort(r.Value)
		if err != nil {
			j.t.Fatalf("%s: %v", r.Value, err)
		}
		if c.Key() != r.Key {
			j.t.Errorf("%s has the key %s", r.Value, r.Key)
		}
		all[r.Key] = c
	}
	return all
}

// sum adds up the cohorts of an arm.
func sum(all map[string]*outcome.Cohort, arm string) outcome.Cohort {
	var s outcome.Cohort
	for _, c := range all {
		if c.Arm == arm {
			s.Merge(c)
		}
	}
	return s
}

func TestLabelsWithinTheHorizon(t *testing.T) {
	t.Parallel()
	for name, labelsFirst := range map[string]bool{"labels come last": false, "labels come first": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJoinTest(t, "")
			labels := func() {
				j.labelled("a", minutes(9), 1)  // before its prediction: of nobody
				j.labelled("b", minutes(10), 2) // at the time of its prediction
				j.labelled("c", minutes(70), 3) // at the end of the horizon
				j.labelled("d", minutes(71), 4) // after it
				j.labelled("e", minutes(30), 5)
				j.labelled("e", minutes(31), 6) // the first counts
				j.labelled("f", minutes(30), 7)
			}
			if labelsFirst {
				labels()
			}
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				j.predicted(key, minutes(10), 100)
			}
			if !labelsFirst {
				labels()
			}
			j.want("2 resolved 2 at 10", "3 resolved 3 at 70", "5 resolved 5 at 30")
			j.reach(minutes(129)) // 10 and two hours are 130
			j.want()
			j.reach(minutes(130))
			j.want("1 expired", "4 expired")
			if n := len(streamtest.StateOf(j.Driver, joinNode, stream.String(), stream.Bytes())); n == 0 {
				t.Error("labels that can still be asked for are forgotten")
			}
			j.reach(minutes(1000))
			if rows := streamtest.StateOf(j.Driver, joinNode, stream.String(), stream.Bytes()); len(rows) > 0 {
				t.Errorf("%d rows are kept after all has passed", len(rows))
			}
			j.want()
		})
	}
}

// TestOneSideFarBehind reads history: all labels are there, and predictions come one after the other; and the other way round.
func TestOneSideFarBehind(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, "")
	j.labelled("a", minutes(10), 1)
	j.labelled("z", minutes(900), 1)
	j.watch.reached.Store(&outcome.Reached{Labels: minutes(900), Predictions: outcome.Unknown})
	j.Advance(time.Second)
	j.predicted("a", minutes(5), 1)
	j.predicted("b", minutes(6), 1)
	j.want("1 resolved 1 at 10")
	j.watch.reached.Store(&outcome.Reached{Labels: minutes(901), Predictions: minutes(6)})
	j.Advance(time.Second)
	j.want("2 expired")
	j.predicted("z", minutes(880), 1)
	j.want("3 resolved 1 at 900")

	j = newJoinTest(t, "")
	j.predicted("a", minutes(5), 1)
	j.predicted("b", minutes(900), 1)
	j.watch.reached.Store(&outcome.Reached{Labels: minutes(5), Predictions: minutes(900)})
	j.Advance(time.Second)
	j.labelled("a", minutes(10), 2)
	j.want("1 resolved 2 at 10")
	j.watch.reached.Store(&outcome.Reached{Labels: minutes(10), Predictions: minutes(901)})
	j.Advance(time.Second)
	if rows := streamtest.StateOf(j.Driver, joinNode, stream.String(), stream.Bytes()); len(rows) != 3 {
		t.Errorf("%d rows: want two of the prediction that waits, and one of that which is resolved", len(rows))
	}
}

func TestEarlyLabels(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, ", early: 10m")
	j.predicted("a", minutes(20), 1)
	j.labelled("a", minutes(9), 1)
	j.want()
	j.labelled("a", minutes(10), 2)
	j.want("1 resolved 2 at 10")
	j.labelled("b", minutes(15), 3)
	j.predicted("b", minutes(20), 1)
	j.want("2 resolved 3 at 15")
}

func TestSeveralOfAKey(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, "")
	j.predicted("a", minutes(0), 1)
	j.predicted("a", minutes(10), 2)
	j.predicted("a", minutes(10), 3) // at the same time
	j.predicted("a", minutes(30), 4)
	j.labelled("a", minutes(20), 5)
	j.want("1 resolved 5 at 20", "2 resolved 5 at 20", "3 resolved 5 at 20")
	j.labelled("a", minutes(40), 6) // of the last; the others have theirs for good
	j.want("4 resolved 6 at 40")
	j.labelled("a", minutes(5), 7) // late, and earlier: what was written stays
	j.want()
	j.predicted("a", minutes(1), 5) // of the labels that are there, the first
	j.want("5 resolved 7 at 5")
	j.labelled("a", minutes(40), 8) // a correction, for predictions to come
	j.predicted("a", minutes(35), 6)
	j.want("6 resolved 8 at 40")
}

func TestSamePredictionTwice(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, "")
	for range 2 {
		j.predictedAs("housing/0/7", "a", minutes(0), 1)
	}
	j.labelled("a", minutes(1), 5)
	j.want("7 resolved 5 at 1")
	j.predictedAs("housing/0/7", "a", minutes(0), 1)
	j.want()
	if c := sum(j.cohorts(), ""); c.Records != 1 || c.Resolved != 1 {
		t.Errorf("%d records, %d resolved: want one", c.Records, c.Resolved)
	}
}

func TestWithdrawnLabels(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, "")
	withdraw := func(key string, at int64) { j.PipeRaw("sold", record.Raw{Key: []byte(key), Timestamp: at}) }
	j.labelled("a", minutes(10), 1)
	withdraw("a", minutes(12))
	j.predicted("a", minutes(5), 1)
	j.want()
	j.labelled("a", minutes(11), 2) // older than the tombstone
	j.want()
	j.labelled("a", minutes(13), 3)
	j.want("1 resolved 3 at 13")
	withdraw("a", minutes(20)) // what is written stays
	j.want()
	withdraw("a", minutes(15))
	j.predicted("a", minutes(6), 1)
	j.want()
	j.reach(minutes(500))
	j.want("2 expired")
	if rows := streamtest.StateOf(j.Driver, joinNode, stream.String(), stream.Bytes()); len(rows) > 0 {
		t.Errorf("%d rows are kept after all has passed", len(rows))
	}
}

func TestJoinByAField(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, ", key: id, field: sold_for, prediction_time: date, label_time: at, metrics: [absolute_error]", streamtest.Partitions(3))
	headers := []record.Header{{Key: "millrace.model", Value: []byte("houses@1")}, {Key: "millrace.source", Value: []byte("housing/2/9")}}
	value := `{"date":"2029-12-31T00:10:00Z","id":4,"prediction":7.5}`
	j.PipeRaw("predictions", record.Raw{Value: []byte(value), Headers: headers, Timestamp: -1})
	j.PipeRaw("sold", record.Raw{Key: []byte("anything"), Value: []byte(`{"sold_for":8,"id":"4","at":"2029-12-31T00:20:00Z"}`), Timestamp: minutes(500)})
	j.PipeRaw("sold", record.Raw{Key: []byte("anything"), Timestamp: minutes(500)}) // a tombstone, which has no field
	raw := streamtest.NewOutput(j.Driver, j.p.Outcomes.Sink, stream.Bytes(), stream.Bytes()).ReadAll()
	if len(raw) != 1 {
		t.Fatalf("%d outcomes, %v", len(raw), j.Drops())
	}
	const want = `{"version":1,"pipeline":"houses","status":"resolved","topic":"predictions","source":"housing/2/9","model":"houses@1","digest":"",` +
		`"experiment":"","arm":"","forced":false,"unpaired":false,"refused":false,"predicted_at":1893370200000,"prediction":7.5,"baseline":null,"label":8,` +
		`"labelled_at":1893370800000,"id":"4"}`
	if r := raw[0]; string(r.Value) != want || !r.NullKey || r.Timestamp != minutes(10) {
		t.Errorf("got %s, key %q, at %d", r.Value, r.Key, r.Timestamp)
	}
	if len(j.Drops()) > 0 {
		t.Errorf("dropped %v", j.Drops())
	}
}

func TestUnreadableInputs(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, "")
	source := record.Header{Key: "millrace.source", Value: []byte("housing/0/1")}
	model := record.Header{Key: "millrace.model", Value: []byte("houses@1")}
	good := `{"prediction":1}`
	long := strings.Repeat("x", maxOutcomeKey+1)
	for _, c := range []struct {
		class, topic string
		r            record.Raw
	}{
		{"null_value", "predictions", record.Raw{Key: []byte("a"), Headers: []record.Header{source, model}, Timestamp: minutes(1)}},
		{"invalid_json", "predictions", record.Raw{Key: []byte("a"), Value: []byte("{"), Headers: []record.Header{source, model}, Timestamp: minutes(1)}},
		{"missing_field", "predictions", record.Raw{Key: []byte("a"), Value: []byte(`{"prediction":null}`), Headers: []record.Header{source, model}, Timestamp: minutes(1)}},
		{"wrong_type", "predictions", record.Raw{Key: []byte("a"), Value: []byte(`{"prediction":"NaN"}`), Headers: []record.Header{source, model}, Timestamp: minutes(1)}},
		{"no_source", "predictions", record.Raw{Key: []byte("a"), Value: []byte(good), Headers: []record.Header{model}, Timestamp: minutes(1)}},
		{"no_source", "predictions", record.Raw{Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source}, Timestamp: minutes(1)}},
		{"null_key", "predictions", record.Raw{Value: []byte(good), Headers: []record.Header{source, model}, Timestamp: minutes(1)}},
		{"key_too_large", "predictions", record.Raw{Key: []byte(long), Value: []byte(good), Headers: []record.Header{source, model}, Timestamp: minutes(1)}},
		{"no_timestamp", "predictions", record.Raw{Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source, model}, Timestamp: -1}},
		{"future_timestamp", "predictions", record.Raw{Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source, model}, Timestamp: minutes(3 * 24 * 60)}},
		{"invalid_header", "predictions", record.Raw{
			Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source, model, {Key: "millrace.baseline", Value: []byte("1e400")}}, Timestamp: minutes(1),
		}},
		{"invalid_header", "predictions", record.Raw{
			Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source, model, {Key: "millrace.baseline"}}, Timestamp: minutes(1),
		}},
		{"invalid_header", "predictions", record.Raw{
			Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source, model, {Key: "millrace.arm", Value: []byte(long)}}, Timestamp: minutes(1),
		}},
		{"invalid_header", "predictions", record.Raw{ // of few bytes, whose replacements are more than a cohort takes
			Key: []byte("a"), Value: []byte(good), Headers: []record.Header{source, model, {Key: "millrace.arm", Value: []byte(strings.Repeat("a\xff", 200))}}, Timestamp: minutes(1),
		}},
		{"missing_field", "sold", record.Raw{Key: []byte("a"), Value: []byte(`{"price":null}`), Timestamp: minutes(1)}},
		{"wrong_type", "sold", record.Raw{Key: []byte("a"), Value: []byte(`{"price":"much"}`), Timestamp: minutes(1)}},
		{"out_of_range", "sold", record.Raw{Key: []byte("a"), Value: []byte(`{"price":1e309}`), Timestamp: minutes(1)}},
		{"null_key", "sold", record.Raw{Value: []byte(`{"price":1}`), Timestamp: minutes(1)}},
		{"null_key", "sold", record.Raw{Timestamp: minutes(1)}},
		{"key_too_large", "sold", record.Raw{Key: []byte(long), Value: []byte(`{"price":1}`), Timestamp: minutes(1)}},
		{"no_timestamp", "sold", record.Raw{Key: []byte("a"), Value: []byte(`{"price":1}`), Timestamp: -5}},
		{"future_timestamp", "sold", record.Raw{Key: []byte("a"), Value: []byte(`{"price":1}`), Timestamp: math.MaxInt64}},
	} {
		before := len(j.Drops())
		j.PipeRaw(c.topic, c.r)
		drops := j.Drops()
		if len(drops) != before+1 || drops[before].Problem.Class != c.class {
			t.Errorf("%s of %s: dropped %v", c.class, c.topic, drops[before:])
		}
		if c.class == "wrong_type" && drops[before].Problem.Field == "" {
			t.Errorf("%s of %s: the letter does not name the field", c.class, c.topic)
		}
	}
	if letters := j.Raw(j.p.Outcomes.DeadLetter, 0); len(letters) != len(j.Drops()) {
		t.Errorf("%d dead letters for %d drops", len(letters), len(j.Drops()))
	}
	j.predicted("a", minutes(1), 1)
	j.want()
}

func TestCohorts(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, ", unit: zip")
	arm := func(name string, more ...string) []string {
		return append([]string{"millrace.experiment", "pricing", "millrace.arm", name}, more...)
	}
	const day = 24 * 60
	// One unit, which is the zip code, in each arm; the key is the house.
	j.predicted("a", minutes(0), 10, arm("control")...)
	j.predicted("b", minutes(1), 12, arm("control")...)
	j.predicted("c", minutes(0), 14, arm("new", "millrace.baseline", "11")...)
	j.predicted("d", minutes(0), 14, arm("new", "millrace.baseline", "NaN")...)
	j.predicted("r", minutes(0), 14, arm("new", "millrace.baseline", "14", "millrace.refused", "score/not_finite")...)
	j.predicted("e", minutes(0), 14, arm("new", "millrace.baseline", "11", "millrace.forced", "true")...)
	j.predicted("f", minutes(0), 1) // of no experiment
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "r"} {
		j.labelled(key, minutes(2), 13)
	}
	j.predicted("g", minutes(3), 1, arm("control")...)
	j.predicted("h", minutes(day-1), 13, arm("control")...) // the next day begins with minutes(day)
	j.predicted("i", minutes(day), 15, arm("control")...)
	j.labelled("i", minutes(day+1), 13)
	j.reach(minutes(day))
	all := j.cohorts()

	s := sum(all, "control")
	if s.Records != 5 || s.Resolved != 3 || s.Expired != 1 || s.Units != 1 || s.Unpaired != 0 || s.Forced != 0 {
		t.Errorf("control: %+v", s)
	}
	// One unit with the records a, b and i: its squared errors are 9, 1 and 4.
	if x := s.Metrics["squared_error"]; x.Units != 1 || x.D.Float64() != 3 || x.Y.Float64() != 14 || x.X.Float64() != 14 || x.YY.Float64() != 196 {
		t.Errorf("control: %+v", x)
	}
	if got, want := s.Delays[:2], []int64{2, 1}; !slices.Equal(got, want) { // one and one minute, and two
		t.Errorf("delays %v, want %v", s.Delays, want)
	}
	s = sum(all, "new")
	if s.Records != 3 || s.Resolved != 3 || s.Unpaired != 1 || s.Refused != 1 || s.Forced != 1 || s.Units != 1 {
		t.Errorf("new: %+v", s)
	}
	if x := s.Metrics["squared_error"]; x.Units != 1 || x.D.Float64() != 2 || x.Y.Float64() != 2 || x.X.Float64() != 5 {
		t.Errorf("new: %+v", x)
	}
	if s = sum(all, ""); s.Records != 1 || s.Units != 1 || s.Metrics["absolute_error"].Y.Float64() != 12 {
		t.Errorf("no experiment: %+v", s)
	}
	var keys []string
	for _, c := range all {
		keys = append(keys, fmt.Sprintf("%s %s %s %d/%d, units %d", c.Arm, c.Model, c.Day, c.Resolved, c.Records, c.Units))
	}
	slices.Sort(keys)
	want := []string{
		" houses@1 2029-12-31 1/1, units 1", "control houses@1 2029-12-31 2/4, units 1", "control houses@1 2030-01-01 1/1, units 0",
		"new houses@1 2029-12-31 3/3, units 1",
	}
	if d := cmp.Diff(want, keys); d != "" {
		t.Errorf("cohorts (-want +got):\n%s", d)
	}
	counted := j.watch.counted()
	if len(counted) != 3 || counted[1].Pending() != 1 || counted[1].Arm != "control" {
		t.Errorf("counted %+v", counted)
	}
}

func TestLossesThatAreNone(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, ", metrics: [squared_error, absolute_error, log_loss, brier, pinball_0.9, auc]")
	j.predicted("a", minutes(0), 0.5)
	j.labelled("a", minutes(1), 1)
	j.predicted("b", minutes(0), 1e308)
	j.labelled("b", minutes(1), -1e308)
	j.predicted("c", minutes(0), 0)
	j.labelled("c", minutes(1), 1)
	j.want("1 resolved 1 at 1", "2 resolved -1e+308 at 1", "3 resolved 1 at 1")
	s := sum(j.cohorts(), "")
	for name, want := range map[string]float64{"squared_error": 1.25, "absolute_error": 1.5, "log_loss": -math.Log(0.5) - math.Log(0x1p-52), "brier": 1.25, "pinball_0.9": 1.35} {
		if x := s.Metrics[name]; math.Abs(x.Y.Float64()-want) > 1e-9 || x.Units != 2 || s.Excluded[name] != 1 {
			t.Errorf("%s: %+v, %d excluded, want %g of two units", name, x, s.Excluded[name], want)
		}
	}
	for i := range 4 { // two records of either label
		key := fmt.Sprintf("d%d", i)
		j.predicted(key, minutes(0), float64(i)/4)
		j.labelled(key, minutes(1), float64(i/2))
	}
	s = sum(j.cohorts(), "")
	if a, err := s.Curve.AUC(); err != nil || a.Area != 0.8125 || a.Ones != 4 || s.Excluded["auc"] != 1 {
		t.Errorf("area %+v, %v, %d excluded", a, err, s.Excluded["auc"])
	}
}

// TestManyOfAKey has one label for more predictions than are resolved at once.
func TestManyOfAKey(t *testing.T) {
	t.Parallel()
	j := newJoinTest(t, "", streamtest.CommitByHand())
	const n = 25_000
	for i := range n {
		j.predicted("hot", minutes(0)+int64(i%1000), 1)
		if i%5000 == 0 {
			j.Commit()
		}
	}
	j.Commit()
	j.labelled("hot", minutes(1), 2)
	j.Commit()
	if got := len(j.got()); got != 1000 {
		t.Errorf("%d outcomes at once, want 1000", got)
	}
	j.predicted("hot", minutes(0), 1) // of which nobody has to wait
	j.Commit()
	if got := len(j.got()); got != 1 {
		t.Errorf("%d outcomes, want 1", got)
	}
	j.CrashAt(streamtest.BeforeCommit, 0)
	total := 0
	for range 20 {
		j.Advance(outcomesTick)
		j.Commit()
		got := len(j.got())
		if got > sliceRows {
			t.Errorf("%d outcomes in a tick", got)
		}
		total += got
	}
	if total != n-1000 {
		t.Errorf("%d outcomes more, want %d", total, n-1000)
	}
	for key, value := range streamtest.StateOf(j.Driver, joinNode, stream.String(), stream.Bytes()) {
		if len(key)+len(value) > 1000 {
			t.Fatalf("a row of %d bytes", len(key)+len(value))
		}
	}
}

// TestOutcomesThroughCrashes has the same outcomes and sums, whatever happens to tasks.
func TestOutcomesThroughCrashes(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, harm func(*joinTest, int)) (outcomes []string, cohorts map[string]*outcome.Cohort) {
		j := newJoinTest(t, ", unit: zip", streamtest.Partitions(3), streamtest.OnDisk())
		arms := []string{"control", "new"}
		for i := range 60 {
			harm(j, i)
			key := fmt.Sprintf("k%d", i%17)
			j.predicted(key, minutes(i), float64(i), "millrace.experiment", "x", "millrace.arm", arms[i%2], "millrace.baseline", "3")
			if i%3 == 0 {
				j.labelled(fmt.Sprintf("k%d", (i*5)%17), minutes(i), float64(2*i))
			}
			if i%20 == 19 {
				j.reach(minutes(i))
			}
		}
		j.reach(minutes(1000))
		return j.got(), j.cohorts()
	}
	wantOutcomes, wantCohorts := run(t, func(*joinTest, int) {})
	if len(wantOutcomes) != 60 {
		t.Fatalf("%d outcomes of 60 predictions", len(wantOutcomes))
	}
	for name, harm := range map[string]func(*joinTest, int){
		"crash while processing": func(j *joinTest, i int) { j.crash(i, streamtest.WhileProcessing) },
		"crash before a flush":   func(j *joinTest, i int) { j.crash(i, streamtest.BeforeFlush) },
		"crash before a commit":  func(j *joinTest, i int) { j.crash(i, streamtest.BeforeCommit) },
		"crash after a commit":   func(j *joinTest, i int) { j.crash(i, streamtest.AfterCommit) },
		"lost state": func(j *joinTest, i int) {
			if i%11 == 0 {
				j.LoseState()
			}
		},
		"rebalance": func(j *joinTest, i int) {
			if i%7 == 0 {
				for sub := range 3 {
					j.Rebalance(sub, int32(i%3))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcomes, cohorts := run(t, harm)
			if d := cmp.Diff(wantOutcomes, outcomes); d != "" {
				t.Errorf("outcomes (-want +got):\n%s", d)
			}
			if d := cmp.Diff(wantCohorts, cohorts); d != "" {
				t.Errorf("cohorts (-want +got):\n%s", d)
			}
		})
	}
}

// crash has the application crash with a record now and then.
func (j *joinTest) crash(i int, at streamtest.CrashPoint) {
	if i%9 == 4 && !j.Pending() {
		j.CrashAt(at, i%3)
	}
}

func TestOutcomesClock(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(start).Add(240 * time.Hour)
	c := newOutcomesClock(func() time.Time { return now }, time.Hour)
	if got := c.time(); got != outcome.Unknown {
		t.Errorf("it is %d before anything came", got)
	}
	c.note(minutes(100))
	c.note(now.UnixMilli()) // a wrong clock
	now = now.Add(2 * mostTick)
	if got := c.time(); got != outcome.Unknown {
		t.Errorf("two records tell that it is %d", got)
	}
	c.note(minutes(101))
	if got := c.time(); got != minutes(101) {
		t.Errorf("it is %d, want the median", got)
	}
	for i := range 2 * ticks {
		at := minutes(200)
		if i%3 == 0 {
			at = now.UnixMilli()
		}
		c.note(at)
	}
	if got := c.time(); got != minutes(200) {
		t.Errorf("it is %d after many records, want %d", got, minutes(200))
	}
	for range 2 * ticks {
		c.note(minutes(100)) // it never goes back
	}
	if got := c.time(); got != minutes(200) {
		t.Errorf("it is %d after old records, want %d", got, minutes(200))
	}
	now = now.Add(time.Hour - time.Second)
	if got := c.time(); got != minutes(200) {
		t.Errorf("it is %d before it has been quiet for long", got)
	}
	now = now.Add(time.Second)
	if got, want := c.time(), now.Add(-time.Hour).UnixMilli(); got != want {
		t.Errorf("it is %d after an hour without records, want %d", got, want)
	}
	for range 2 * ticks {
		c.note(now.Add(10 * time.Hour).UnixMilli())
	}
	if got, want := c.time(), now.UnixMilli(); got != want {
		t.Errorf("it is %d with all clocks ahead, want the clock's time %d", got, want)
	}
	c.fixed = 7
	if got := c.time(); got != 7 {
		t.Errorf("it is %d, want what was fixed", got)
	}
}

func TestOutcomesTopology(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{"outcomes.golden": "", "outcomes_units.golden": ", unit: zip, predictions: [predictions, houses.shadow]"} {
		p, err := config.Parse("x.yaml", fmt.Appendf(nil, outcomesFile, more), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		streamtest.Golden(t, OutcomesTopology(p, nil, 0, 0), "testdata/"+name)
	}
}
