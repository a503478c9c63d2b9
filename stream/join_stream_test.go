package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// units are the lengths of a unit of time: windows in one segment, and windows over many.
func units() *rapid.Generator[int64] { return rapid.SampledFrom([]int64{1, 1000, 20_000}) }

func kinds() *rapid.Generator[string] { return rapid.SampledFrom([]string{"inner", "left", "outer"}) }

// TestJoinStreamAsRecomputed holds joins, which crash, move and lose their state at random, against a recomputation
// from everything that came.
func TestJoinStreamAsRecomputed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		unit, kind, partitions := units().Draw(rt, "unit"), kinds().Draw(rt, "kind"), rapid.Int32Range(1, 3).Draw(rt, "partitions")
		w := drawWindow(rt, unit)
		events := eventsOf(rt, rapid.IntRange(1, 80).Draw(rt, "events"), unit, partitions)
		top := stream.New("joins")
		in := stream.From(top, "in", stream.String(), stream.String())
		joinTopology(in.Filter(side("l")), in.Filter(side("r")), kind, w)
		got, d := runWithFaults(rt, t, top, events, partitions)
		late := 0
		want := make([][]string, len(byPartition(nil, events)))
		for p := range want {
			m := newJoinModel(w, kind)
			for _, e := range events {
				if int(e.partition) == p {
					m.process(e)
				}
			}
			want[p], late = m.out, late+m.late
		}
		if diff := cmp.Diff(want, byPartition(got, events)); diff != "" {
			rt.Fatalf("%+v, events %v:\n%s", w, events, diff)
		}
		if n := d.Dropped()["pairs/late"]; n != late {
			rt.Fatalf("%d late records dropped, want %d", n, late)
		}
	})
}

// TestJoinTopics joins two topics, with either side through a repartition topic or not.
func TestJoinTopics(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		kind, w := kinds().Draw(rt, "kind"), drawWindow(rt, 1)
		events := eventsOf(rt, rapid.IntRange(1, 60).Draw(rt, "events"), 1, 1)
		top := stream.New("joins")
		sides := make([]stream.Stream[string, string], 2)
		for i, topic := range []string{"right", "left"} {
			sides[i] = stream.From(top, topic, stream.String(), stream.String())
		}
		joinTopology(sides[1], sides[0], kind, w)
		d := streamtest.New(t, top)
		m := newJoinModel(w, kind)
		for _, e := range events {
			topic := "right"
			if e.left {
				topic = "left"
			}
			streamtest.NewInput(d, topic, stream.String(), stream.String()).PipeRecord(e.record())
			m.process(e)
		}
		if diff := cmp.Diff(m.out, resultsOf(streamtest.NewOutput(d, "out", stream.String(), stream.String()))); diff != "" {
			rt.Fatalf("%+v, events %v:\n%s", w, events, diff)
		}
	})
}

// rekey returns the stream with the part of the value before the colon as key.
func rekey(s stream.Stream[string, string]) stream.Stream[string, string] {
	return stream.SelectKey(s, func(_, v string) string {
		k, _, _ := strings.Cut(v, ":")
		return k
	})
}

func TestJoinStreamRepartitions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                    string
		rekeyLeft, rekeyRight   bool
		leftTopics, rightTopics int // partitions
		want                    []string
	}{
		{name: "neither", leftTopics: 3, rightTopics: 3},
		{name: "left", rekeyLeft: true, leftTopics: 2, rightTopics: 3, want: []string{"joins-pairs-left-repartition"}},
		{name: "right", rekeyRight: true, leftTopics: 3, rightTopics: 5, want: []string{"joins-pairs-right-repartition"}},
		{name: "both", rekeyLeft: true, rekeyRight: true, leftTopics: 2, rightTopics: 4, want: []string{"joins-pairs-left-repartition", "joins-pairs-right-repartition"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("joins")
			left := stream.From(top, "left", stream.String(), stream.String())
			right := stream.From(top, "right", stream.String(), stream.String())
			keyOf := func(rekeyed bool, i string) string {
				if rekeyed {
					return "other-" + i
				}
				return "k" + i
			}
			if test.rekeyLeft {
				left = rekey(left)
			}
			if test.rekeyRight {
				right = rekey(right)
			}
			joinTopology(left, right, "inner", stream.Symmetric(time.Second))
			d := streamtest.New(t, top, streamtest.Partitions(test.leftTopics, "left"), streamtest.Partitions(test.rightTopics, "right"))
			l := streamtest.NewInput(d, "left", stream.String(), stream.String())
			r := streamtest.NewInput(d, "right", stream.String(), stream.String())
			const n = 20
			for i := range n {
				k := string(rune('A' + i))
				l.Pipe(keyOf(test.rekeyLeft, k), "k"+k+":l", int64(i))
				r.Pipe(keyOf(test.rekeyRight, k), "k"+k+":r", int64(i))
			}
			got := streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadAll()
			if len(got) != n {
				t.Errorf("%d pairs, want %d", len(got), n)
			}
			for _, r := range got {
				if want := r.Key + ":l+" + r.Key + ":r"; r.Value != want {
					t.Errorf("key %s: got %s, want %s", r.Key, r.Value, want)
				}
			}
			var internal []string
			for _, topic := range d.Topics() {
				if strings.HasSuffix(topic, "-repartition") {
					internal = append(internal, topic)
				}
			}
			if diff := cmp.Diff(test.want, internal); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOuterJoinKeepsNullKeysOverRepartition has records without keys go through repartition topics of the sides that
// want them.
func TestOuterJoinKeepsNullKeysOverRepartition(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string][]string{
		"inner": nil, "left": {"-=l+-@1"}, "outer": {"-=l+-@1", "-=-+r@2"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			top := stream.New("joins")
			keyless := func(topic string) stream.Stream[string, string] {
				s := stream.Process(stream.From(top, topic, stream.String(), stream.String()), topic+"-p",
					func() stream.Processor[string, string, string, string] { return new(forward) })
				return s.Keys(stream.String()).Values(stream.String())
			}
			joinTopology(keyless("left"), keyless("right"), kind, stream.Symmetric(time.Minute))
			d := streamtest.New(t, top, streamtest.Partitions(2))
			for i, topic := range []string{"left", "right"} {
				streamtest.NewInput(d, topic, stream.String(), stream.String()).PipeRecord(
					stream.Record[string, string]{NullKey: true, Value: topic[:1], Timestamp: int64(i + 1)})
			}
			if diff := cmp.Diff(want, resultsOf(streamtest.NewOutput(d, "out", stream.String(), stream.String()))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// forward passes records on, as a stream whose keys may have changed.
type forward struct {
	c *stream.ProcessorContext[string, string]
}

func (f *forward) Init(c *stream.ProcessorContext[string, string]) error {
	f.c = c
	return nil
}

func (f *forward) Process(r *stream.Record[string, string]) error { return f.c.Forward(r) }

func TestSelfJoin(t *testing.T) {
	t.Parallel()
	for _, rekeyed := range []bool{false, true} {
		name := "same key"
		if rekeyed {
			name = "another key"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("joins", stream.DeadLetters("dead"))
			in := stream.From(top, "in", stream.String(), stream.String())
			topics := 0
			if rekeyed {
				in, topics = rekey(in), 1
			}
			joinTopology(in, in, "inner", stream.JoinWindow{Before: 5 * time.Millisecond, After: 10 * time.Millisecond})
			d := streamtest.New(t, top)
			src := streamtest.NewInput(d, "in", stream.String(), stream.String())
			src.Pipe("k", "k:a", 100)
			src.Pipe("k", "k:b", 108)
			src.Pipe("k", "k:c", 108)
			src.Pipe("x", "x:d", 108)
			got := resultsOf(streamtest.NewOutput(d, "out", stream.String(), stream.String()))
			want := []string{
				"k=k:a+k:a@100",
				"k=k:a+k:b@108", "k=k:b+k:b@108",
				"k=k:c+k:b@108", "k=k:a+k:c@108", "k=k:b+k:c@108", "k=k:c+k:c@108",
				"x=x:d+x:d@108",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			n := 0
			for _, topic := range d.Topics() {
				if strings.HasSuffix(topic, "-repartition") {
					n++
				}
			}
			if n != topics {
				t.Errorf("%d repartition topics, want %d", n, topics)
			}
		})
	}
}

// TestSelfJoinDropsOnce counts a record that comes to both sides once, and only if neither made something of it.
func TestSelfJoinDropsOnce(t *testing.T) {
	t.Parallel()
	top := stream.New("joins", stream.DeadLetters("dead"))
	in := stream.From(top, "in", stream.String(), stream.String())
	joinTopology(in, in, "inner", stream.JoinWindow{Before: -time.Millisecond, After: 10 * time.Millisecond})
	d := streamtest.New(t, top)
	src := streamtest.NewInput(d, "in", stream.String(), stream.String())
	src.PipeRecord(stream.Record[string, string]{NullKey: true, Value: "x", Timestamp: 100})
	src.PipeRecord(stream.Record[string, string]{Key: "k", NullValue: true, Timestamp: 100})
	src.Pipe("k", "a", 100)
	src.Pipe("k", "late for both", 50)
	src.Pipe("k", "late for one", 90) // a is at most 10 newer
	if diff := cmp.Diff([]string{"k=late for one+a@100"}, resultsOf(streamtest.NewOutput(d, "out", stream.String(), stream.String()))); diff != "" {
		t.Error(diff)
	}
	want := map[string]int{"pairs/null_key": 1, "pairs/null_value": 1, "pairs/late": 1}
	if diff := cmp.Diff(want, d.Dropped()); diff != "" {
		t.Error(diff)
	}
}

// TestUnmatchedKeepsWhatItWasMadeOf has a record wait, crash with it, and looks at what comes out.
func TestUnmatchedKeepsWhatItWasMadeOf(t *testing.T) {
	t.Parallel()
	top := stream.New("joins", stream.DeadLetters("dead"))
	left := stream.From(top, "left", stream.String(), stream.String())
	right := stream.From(top, "right", stream.String(), stream.String())
	joined := stream.LeftJoinStream(left, right, "pairs", stream.Symmetric(10*time.Millisecond), func(l, _ string, ok bool) string {
		if ok {
			return "matched"
		}
		return l
	})
	joined.To("out", stream.Provenance())
	stream.TryMapValues(joined, func(_ context.Context, v string) (string, error) {
		if v == "waits" {
			return "", errors.New("refused")
		}
		return v, nil
	}, stream.OnError(stream.DeadLetter)).To("none")
	d := streamtest.New(t, top)
	in := streamtest.NewInput(d, "left", stream.String(), stream.String())
	in.PipeRecord(stream.Record[string, string]{Key: "k", Value: "waits", Timestamp: 100, Headers: []stream.Header{{Key: "trace", Value: []byte("1")}}})
	d.Crash()
	d.LoseState()
	in.PipeRecord(stream.Record[string, string]{Key: "z", Value: "later", Timestamp: 111, Headers: []stream.Header{{Key: "trace", Value: []byte("2")}}})
	raws := d.Raw("out", 0)
	if len(raws) != 1 {
		t.Fatalf("%d records, want 1", len(raws))
	}
	headers := map[string]string{}
	for _, h := range raws[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if headers["trace"] != "1" || raws[0].Timestamp != 100 || string(raws[0].Key) != "k" {
		t.Errorf("got key %s, time %d, headers %v", raws[0].Key, raws[0].Timestamp, headers)
	}
	drops := d.Drops()
	if len(drops) != 1 {
		t.Fatalf("drops: %v", drops)
	}
	want := record.Raw{
		Topic: "left", Key: []byte("k"), Value: []byte("waits"), Timestamp: 100,
		Headers: []record.Header{{Key: "trace", Value: []byte("1")}},
	}
	if diff := cmp.Diff(want, drops[0].Record); diff != "" {
		t.Errorf("the record of the drop: %s", diff)
	}
}

// TestUnmatchedFollowTheClock has windows close because no record comes.
func TestUnmatchedFollowTheClock(t *testing.T) {
	t.Parallel()
	top := stream.New("joins", stream.IdleTimeout(time.Second))
	left := stream.From(top, "left", stream.String(), stream.String())
	right := stream.From(top, "right", stream.String(), stream.String())
	joinTopology(left, right, "outer", stream.JoinWindow{Before: 10 * time.Millisecond, After: 20 * time.Millisecond, Grace: 5 * time.Millisecond})
	d := streamtest.New(t, top)
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	start := d.Now().UnixMilli()
	streamtest.NewInput(d, "left", stream.String(), stream.String()).Pipe("k", "l", start)
	streamtest.NewInput(d, "right", stream.String(), stream.String()).Pipe("z", "r", start)
	d.Crash()
	d.LoseState()
	for _, step := range []struct {
		by   time.Duration
		want []string
	}{
		{1015 * time.Millisecond, nil},
		{time.Millisecond, []string{"-+r"}}, // the window of a right record ends after Before, and the grace
		{9 * time.Millisecond, nil},
		{time.Millisecond, []string{"l+-"}},
		{time.Hour, nil},
	} {
		d.Advance(step.by)
		if diff := cmp.Diff(step.want, out.ReadValues()); diff != "" {
			t.Errorf("after %v: %s", step.by, diff)
		}
	}
}

// TestJoinsKeepNulls has values and keys that are null by their codec wait in stores.
func TestJoinsKeepNulls(t *testing.T) {
	t.Parallel()
	top := stream.New("joins")
	codec := stream.Nullable(stream.String())
	left := stream.From(top, "left", codec, codec)
	right := stream.From(top, "right", codec, codec)
	show := func(v *string, ok bool) string {
		switch {
		case !ok:
			return "-"
		case v == nil:
			return "null"
		default:
			return *v
		}
	}
	stream.OuterJoinStream(left, right, "pairs", stream.Symmetric(10*time.Millisecond), func(s stream.Sides[*string, *string]) string {
		return show(s.Left, s.HasLeft) + "+" + show(s.Right, s.HasRight)
	}).To("out")
	d := streamtest.New(t, top)
	l, r := streamtest.NewInput(d, "left", codec, codec), streamtest.NewInput(d, "right", codec, codec)
	empty, text := "", "text"
	l.Pipe(nil, nil, 1)
	l.Pipe(&empty, &empty, 1)
	d.LoseState()
	r.Pipe(nil, &text, 2)
	r.Pipe(&text, nil, 2)
	d.LoseState()
	l.Pipe(&text, &text, 100)
	want := []string{"null+text", "+-", "-+null"}
	if diff := cmp.Diff(want, streamtest.NewOutput(d, "out", codec, stream.String()).ReadValues()); diff != "" {
		t.Error(diff)
	}
}

// TestJoinsDropWhatTheyCannotKeep has values that their codec does not take.
func TestJoinsDropWhatTheyCannotKeep(t *testing.T) {
	t.Parallel()
	top := stream.New("joins")
	in := stream.MapValues(stream.From(top, "in", stream.String(), stream.Float64()), func(v float64) float64 { return 1 / v }).Values(stream.JSON[float64]())
	add := func(a, b float64) float64 { return a + b }
	stream.JoinStream(in, in, "self", stream.Symmetric(time.Second), add).To("out")
	rows := stream.TableFrom(top, "rows", "rows", stream.String(), stream.Float64(), stream.Versioned(time.Second))
	stream.JoinTable(in, rows, "joined", add, stream.Grace(time.Second)).To("joined")
	d := streamtest.New(t, top)
	src := streamtest.NewInput(d, "in", stream.String(), stream.Float64())
	src.Pipe("k", 0, 1) // infinity is not in JSON
	src.Pipe("k", 1, 1)
	if diff := cmp.Diff(map[string]int{"self/unencodable": 1, "joined/unencodable": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]float64{2}, streamtest.NewOutput(d, "out", stream.String(), stream.Float64()).ReadValues()); diff != "" {
		t.Error(diff)
	}
}

// TestLongestJoinWindow: what a window, its grace and the slack of a changelog take fits in a duration.
func TestLongestJoinWindow(t *testing.T) {
	t.Parallel()
	const years = 365 * 24 * time.Hour
	for _, test := range []struct {
		d     time.Duration
		fault bool
	}{{90 * years, false}, {90*years + time.Millisecond, true}} {
		top := stream.New("join")
		text := stream.String()
		l, r := stream.From(top, "l", text, text), stream.From(top, "r", text, text)
		stream.JoinStream(l, r, "both", stream.JoinWindow{Before: test.d, After: test.d, Grace: test.d}, func(a, b string) string { return a + b }).To("out")
		if err := top.Err(); (err != nil) != test.fault {
			t.Errorf("%v: %v", test.d, err)
		}
		p, err := top.Program()
		if err != nil {
			continue
		}
		for _, s := range p.Subs[0].Stores {
			if s.Retention < 3*test.d {
				t.Errorf("store %s is kept for %v", s.Name, s.Retention)
			}
		}
	}
}
