package streamtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// copied copies a topic of text.
func copied() *stream.Topology {
	top := stream.New("copy")
	stream.From(top, "in", stream.String(), stream.String()).To("out")
	return top
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, copied(), streamtest.Partitions(10, "in"), streamtest.Partitions(7, "out"))
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	in.Pipe("21", "x", 1)
	in.PipeTo(9, stream.Record[string, string]{NullKey: true, Value: "y"})
	in.PipeTo(4, stream.Record[string, string]{Key: "21", Value: "z"})
	hash := int32(-973932308) & 0x7fffffff // as Kafka's Utils.murmur2
	for _, c := range []struct {
		topic     string
		partition int32
		want      string
	}{{"in", hash % 10, "x"}, {"out", hash % 7, "x"}, {"in", 9, "y"}, {"out", 2, "y"}, {"in", 4, "z"}} {
		if list := d.Raw(c.topic, c.partition); len(list) == 0 || string(list[0].Value) != c.want || list[0].Offset != 0 {
			t.Errorf("%s/%d has %v, want %s", c.topic, c.partition, list, c.want)
		}
	}
	if diff := cmp.Diff([]string{"in", "out"}, d.Topics()); diff != "" {
		t.Error(diff)
	}
	if got := d.Tasks(); len(got) != 10 || got[3] != "0_3" {
		t.Errorf("tasks %v", got)
	}
}

func TestUnequalPartitions(t *testing.T) {
	t.Parallel()
	top := stream.New("joins")
	s := stream.From(top, "in", stream.String(), stream.String())
	rows := stream.TableFrom(top, "rows", "rows", stream.String(), stream.String())
	stream.JoinTable(s, rows, "looked-up", func(v, r string) string { return v + r }).To("out")
	d := streamtest.New(t, top, streamtest.KeepErrors(), streamtest.Partitions(2, "rows"))
	for _, part := range []string{"join-table looked-up at topics_test.go:", "in has 1, rows has 2"} {
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %s", err, part)
		}
	}
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("a", "b", 1) // does nothing, and does not panic
	d.Crash()
	if d.Err() == nil {
		t.Error("a crash has mended the topology")
	}
	equal := streamtest.New(t, top, streamtest.Partitions(2))
	streamtest.NewInput(equal, "in", stream.String(), stream.String()).Pipe("a", "b", 1)
}

func TestRepartitionTopicsHaveAsManyAsTheyNeed(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	s := stream.From(top, "in", stream.String(), stream.String())
	stream.Count(stream.GroupBy(s, stream.String(), func(_, v string) string { return v }), "counts")
	s.Repartition("five", stream.Partitions(5)).To("out")
	d := streamtest.New(t, top, streamtest.Partitions(3, "in"))
	want := map[string]int{"0": 3, "1": 3, "2": 5}
	got := map[string]int{}
	for _, id := range d.Tasks() {
		sub, _, _ := strings.Cut(id, "_")
		got[sub]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTimesAndHeaders(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, copied(), streamtest.StartAt(time.UnixMilli(5000)))
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	in.PipeNext("a", "by the clock")
	in.Times(time.UnixMilli(100), 10*time.Millisecond)
	in.PipeNext("a", "1")
	in.PipeNext("a", "2")
	in.PipeAll(
		stream.Record[string, string]{Key: "b", Value: "3", Timestamp: 7, Headers: []stream.Header{{Key: "h", Value: []byte("v")}, {Key: "i"}}},
		stream.Record[string, string]{Key: "b", NullValue: true, Timestamp: 8},
		stream.Record[string, string]{NullKey: true, Value: "two\nlines", Timestamp: 9},
	)
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	want := "5000 a by the clock\n100 a 1\n110 a 2\n7 b 3 [h=v i=]\n8 b null\n9 null two\\nlines\n"
	if got := out.Text(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	in.PipeAll(
		stream.Record[string, string]{Key: "a", Value: "1"}, stream.Record[string, string]{Key: "b", Value: "2"},
		stream.Record[string, string]{Key: "a", Value: "3"}, stream.Record[string, string]{Key: "b", NullValue: true},
	)
	if n := out.Len(); n != 4 {
		t.Errorf("%d records wait, want 4", n)
	}
	if diff := cmp.Diff(map[string]string{"a": "3"}, streamtest.ReadTable(out)); diff != "" {
		t.Error(diff)
	}
	if _, ok := out.Read(); ok {
		t.Error("there is one more")
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dead"))
	in := stream.From(top, "in", stream.String(), stream.Decimal())
	stream.Count(stream.GroupByKey(in), "counts").ToStream().To("out")
	d := streamtest.New(t, top)
	d.PipeRaw("in", record.Raw{Key: []byte("k"), Value: []byte("not a number"), Timestamp: 3})
	d.PipeRaw("in", record.Raw{Value: []byte("1"), Timestamp: 4})
	letters := streamtest.NewOutput(d, "dead", stream.String(), stream.String()).ReadAll()
	if len(letters) != 2 {
		t.Fatalf("%d letters: %+v", len(letters), letters)
	}
	get := func(r stream.Record[string, string], key string) string {
		for _, h := range r.Headers {
			if h.Key == key {
				return string(h.Value)
			}
		}
		return ""
	}
	for i, want := range []struct{ node, class, offset string }{{"in", "undecodable", "0"}, {"counts", "null_key", "1"}} {
		r := letters[i]
		if get(r, task.LetterNode) != want.node || get(r, task.LetterClass) != want.class || get(r, task.LetterOffset) != want.offset {
			t.Errorf("letter %d: %+v, want %+v", i, r, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"in/undecodable": 1, "counts/null_key": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
	if drops := d.Drops(); len(drops) != 2 || drops[1].Node != "counts" || drops[1].Record.Offset != 1 {
		t.Errorf("%+v", drops)
	}
}

func TestGlobalTables(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dead"))
	states := stream.GlobalTableFrom(top, "states", "states", stream.String(), stream.Decimal())
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.JoinGlobal(in, states, func(_, v string) (string, bool) { return v, true }, func(_ string, n int64) int64 { return n }).To("out")
	d := streamtest.New(t, top, streamtest.Partitions(2))
	rows := streamtest.NewInput(d, "states", stream.String(), stream.Decimal())
	rows.Pipe("WA", 1, 0)
	rows.Pipe("OR", 2, 0)
	rows.PipeRecord(stream.Record[string, int64]{Key: "OR", NullValue: true})
	d.PipeRaw("states", record.Raw{Key: []byte("CA"), Value: []byte("x")})
	d.Crash() // it is read again, and what it drops is not counted again
	if diff := cmp.Diff(map[string]int64{"WA": 1}, streamtest.GlobalOf[string, int64](d, "states")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"states/undecodable": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
	if n := streamtest.NewOutput(d, "dead", stream.String(), stream.String()).Len(); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

func TestProvenance(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	stream.From(top, "in", stream.String(), stream.String()).To("out", stream.Provenance())
	d := streamtest.New(t, top)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("a", "b", 1)
	r, _ := streamtest.NewOutput(d, "out", stream.String(), stream.String()).Read()
	if diff := cmp.Diff([]stream.Header{{Key: "millrace.source", Value: []byte("in/0/0")}}, r.Headers); diff != "" {
		t.Error(diff)
	}
}
