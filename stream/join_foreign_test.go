package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// foreignDriver runs a join by foreign key of the topics left, with three partitions, and right, with two.
func foreignDriver(t *testing.T, c foreignCase) (d *streamtest.Driver, left, right *streamtest.Input[string, string], out *streamtest.Output[string, string]) {
	t.Helper()
	text := stream.String()
	d = streamtest.New(t, c.topology(), streamtest.Partitions(3), streamtest.Partitions(2, "right"))
	return d, streamtest.NewInput(d, "left", text, text), streamtest.NewInput(d, "right", text, text), streamtest.NewOutput(d, "out", text, text)
}

// TestForeignKeyJoinTopics: the topics of the join have as many partitions as those of the table whose rows they lead to.
func TestForeignKeyJoinTopics(t *testing.T) {
	t.Parallel()
	d, _, _, _ := foreignDriver(t, foreignCase{})
	for topic, n := range map[string]int32{"foreign-join-subscription-repartition": 2, "foreign-join-response-repartition": 3} {
		d.Raw(topic, n-1) // which ends the test if there is no such partition
	}
	if n := len(d.Tasks()); n != 3+2+3 { // the left side, the right side, and the group of the result
		t.Errorf("tasks %v", d.Tasks())
	}
}

// TestForeignKeyJoinLetsGo: who has gone, or has another foreign key, is told nothing any more.
func TestForeignKeyJoinLetsGo(t *testing.T) {
	t.Parallel()
	d, left, right, out := foreignDriver(t, foreignCase{})
	responses := func() int { return rawCount(d, "foreign-join-response-repartition", 3) }
	right.Pipe("f1", "r1", 1)
	right.Pipe("f2", "r2", 1)
	for i := range 3 {
		left.Pipe(fmt.Sprintf("k%d", i), "l0|f1", 1)
	}
	left.Pipe("k0", "l1|f2", 2)
	left.PipeRecord(stream.Record[string, string]{Key: "k1", NullValue: true, Timestamp: 2})
	before := responses()
	right.Pipe("f1", "r3", 3)
	if n := responses() - before; n != 1 {
		t.Errorf("%d partitions were told of f1: want that of k2 alone", n)
	}
	before = responses()
	left.Pipe("k2", "l2|f1", 4)
	if n := responses() - before; n != 0 {
		t.Errorf("%d responses for a row that keeps its foreign key", n)
	}
	want := map[string]string{"k0": "l1|f2+r2", "k2": "l2|f1+r3"}
	if diff := cmp.Diff(want, streamtest.ReadTable(out)); diff != "" {
		t.Error(diff)
	}
}

// TestForeignKeyJoinTimes: a result has the later time of both sides, now and after updates; and what the right side tells has that of
// the update that led to it, which is what the delay of results is measured by.
func TestForeignKeyJoinTimes(t *testing.T) {
	t.Parallel()
	text := stream.String()
	d := streamtest.New(t, (&foreignCase{}).topology())
	left, right := streamtest.NewInput(d, "left", text, text), streamtest.NewInput(d, "right", text, text)
	right.Pipe("f1", "r1", 40)
	left.Pipe("a", "l1|f1", 50)
	left.Pipe("b", "l1|f1", 30)
	left.Pipe("a", "l2|f1", 20)
	right.Pipe("f1", "r2", 60)
	left.Pipe("a", "l3|f1", 55)
	want := "a=l1|f1+r1@50 b=l1|f1+r1@40 a=l2|f1+r1@40 a=l2|f1+r2@60 b=l1|f1+r2@60 a=l3|f1+r2@60"
	if diff := cmp.Diff(want, strings.Join(resultsOf(streamtest.NewOutput(d, "out", text, text)), " ")); diff != "" {
		t.Error(diff)
	}
	var times []int64
	for _, r := range d.Raw("foreign-join-response-repartition", 0) {
		times = append(times, r.Timestamp)
	}
	if diff := cmp.Diff([]int64{50, 60}, times); diff != "" {
		t.Error(diff)
	}
}

// TestForeignKeyJoinOfWindows: rows that expire cannot ask, but they can be asked for, also if they lie in many partitions.
func TestForeignKeyJoinOfWindows(t *testing.T) {
	t.Parallel()
	text := stream.String()
	top := stream.New("windows")
	windows := stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "counts")
	names := stream.TableFrom(top, "names", "names", text, text)
	first := func(_, of string) (stream.Windowed[string], bool) {
		return stream.Windowed[string]{Key: of, Start: 0, End: 10}, true
	}
	stream.JoinForeignKey(names, windows, "join", first, func(of string, n int64) string { return fmt.Sprint(of, n) }).ToStream().To("out")
	d := streamtest.New(t, top, streamtest.Partitions(5))
	in, rows := streamtest.NewInput(d, "in", text, text), streamtest.NewInput(d, "names", text, text)
	want := map[string]string{}
	for i := range 20 {
		k := fmt.Sprintf("k%d", i)
		in.Pipe(k, "", 1)
		rows.Pipe("of "+k, k, 2)
		want["of "+k] = k + "1"
	}
	if diff := cmp.Diff(want, streamtest.ReadTable(streamtest.NewOutput(d, "out", text, text))); diff != "" {
		t.Error(diff)
	}

	top = stream.New("faults")
	windows = stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "counts")
	names = stream.TableFrom(top, "names", "names", text, text)
	of := func(w stream.Windowed[string], _ int64) (string, bool) { return w.Key, true }
	both := func(n int64, name string) string { return fmt.Sprint(name, n) }
	stream.JoinForeignKey(windows.Filter(func(stream.Windowed[string], int64) bool { return true }), names, "join", of, both)
	if err := top.Err(); err == nil || !strings.Contains(err.Error(), "the rows of the left table are windows") {
		t.Error(err)
	}
}

// TestForeignKeyJoinForgetsExpired: the way that is left for windows. When a left row has expired nothing is kept of it.
func TestForeignKeyJoinForgetsExpired(t *testing.T) {
	t.Parallel()
	text := stream.String()
	top := stream.New("windows")
	windows := stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "counts")
	left := stream.ToTable(windows.ToStream(), "left", stream.TTL(ms(20)))
	right := stream.TableFrom(top, "names", "names", text, text)
	of := func(w stream.Windowed[string], _ int64) (string, bool) { return w.Key, true }
	stream.LeftJoinForeignKey(left, right, "join", of, func(n int64, name string, _ bool) string { return fmt.Sprint(name, n) }).ToStream().To("out")
	d := streamtest.New(t, top, streamtest.Partitions(3))
	in, names := streamtest.NewInput(d, "in", text, text), streamtest.NewInput(d, "names", text, text)
	for at := range int64(1000) {
		in.Pipe("k", "", at)
	}
	before := rawCount(d, "out", 3)
	names.Pipe("k", "anna", 1000)
	if n := rawCount(d, "out", 3) - before; n < 2 || n > 4 {
		t.Errorf("%d rows were told: want those of the last 20 ms", n)
	}
}

func rawCount(d *streamtest.Driver, topic string, partitions int32) (n int) {
	for p := range partitions {
		n += len(d.Raw(topic, p))
	}
	return n
}

// TestForeignKeyJoinOfManyRows tells five hundred rows of an update, and of its deletion.
func TestForeignKeyJoinOfManyRows(t *testing.T) {
	t.Parallel()
	d, left, right, out := foreignDriver(t, foreignCase{outer: true})
	const rows = 500
	list := make([]stream.Record[string, string], rows)
	for i := range list {
		list[i] = stream.Record[string, string]{Key: fmt.Sprintf("k%d", i), Value: "l0|f1", Timestamp: 1}
	}
	left.PipeAll(list...)
	out.ReadAll()
	d.LoseState()
	right.Pipe("f1", "r1", 2)
	right.PipeRecord(stream.Record[string, string]{Key: "f1", NullValue: true, Timestamp: 3})
	n := map[string]int{}
	for _, r := range out.ReadAll() {
		n[r.Value]++
	}
	if diff := cmp.Diff(map[string]int{"l0|f1+r1": rows, "l0|f1+-": rows}, n); diff != "" {
		t.Error(diff)
	}
}

// TestForeignKeyJoinNulls: what a join does where something is missing, and what counts as dropped.
func TestForeignKeyJoinNulls(t *testing.T) {
	t.Parallel()
	for _, outer := range []bool{false, true} {
		d, left, right, out := foreignDriver(t, foreignCase{outer: outer})
		right.Pipe("f1", "r1", 1)
		left.Pipe("a", "l0", 2) // no foreign key
		left.Pipe("a", "l1|f1", 3)
		left.Pipe("a", "l2", 4)
		left.Pipe("b", "l3|f9", 5) // no such row
		left.PipeRecord(stream.Record[string, string]{Key: "a", NullValue: true, Timestamp: 6})
		left.PipeRecord(stream.Record[string, string]{Key: "c", NullValue: true, Timestamp: 6}) // no such row
		want, dropped := "a=l1|f1+r1@3 a=@4", map[string]int{"join/null_key": 2}
		if outer {
			want, dropped = "a=l0+-@2 a=l1|f1+r1@3 a=l2+-@4 b=l3|f9+-@5 a=@6", map[string]int{}
		}
		if diff := cmp.Diff(want, strings.Join(resultsOf(out), " ")); diff != "" {
			t.Errorf("outer %t: %s", outer, diff)
		}
		if diff := cmp.Diff(dropped, d.Dropped()); diff != "" {
			t.Errorf("outer %t: %s", outer, diff)
		}
	}
}

// TestForeignKeyJoinFaults: what is missing is told once, before anything runs.
func TestForeignKeyJoinFaults(t *testing.T) {
	t.Parallel()
	type rows = stream.Table[string, string]
	join := func(l, r rows, name string, opts ...stream.StoreOption) {
		stream.JoinForeignKey(l, r, name, foreignOf, func(l, r string) string { return l + r }, opts...)
	}
	for name, c := range map[string]struct {
		declare func(l, r rows)
		want    string
	}{
		"no name":        {func(l, r rows) { join(l, r, "") }, "no name"},
		"emit on commit": {func(l, r rows) { join(l, r, "join", stream.EmitOnCommit()) }, "EmitOnCommit has no meaning"},
		"no codec":       {func(l, r rows) { join(l.Values(nil), r, "join") }, "no codec of the values of the left table"},
		"no right codec": {func(l, r rows) { join(l, r.Values(nil), "join") }, "no codec of the values of the right table"},
		"null values": {func(l, r rows) {
			maybe := stream.MapTable(l, func(_, v string) *string { return &v }).Values(stream.Nullable(stream.String()))
			stream.JoinForeignKey(maybe, r, "join", func(string, *string) (string, bool) { return "", false }, func(_ *string, r string) string { return r })
		}, "is Nullable"},
		"another topology": {func(l, _ rows) {
			join(l, stream.TableFrom(stream.New("other"), "right", "right", stream.String(), stream.String()), "join")
		}, "belongs to another topology"},
	} {
		top := stream.New("app")
		l := stream.TableFrom(top, "left", "left", stream.String(), stream.String())
		r := stream.TableFrom(top, "right", "right", stream.String(), stream.String())
		c.declare(l, r)
		err := top.Err()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// lowerCase is a codec that makes the same bytes of several keys.
type lowerCase struct{ stream.Codec[string] }

func (c lowerCase) Append(dst []byte, k string) ([]byte, error) {
	return c.Codec.Append(dst, strings.ToLower(k))
}

// TestForeignKeyJoinOfLikeKeys: foreign keys are the same if their bytes are.
func TestForeignKeyJoinOfLikeKeys(t *testing.T) {
	t.Parallel()
	text := stream.String()
	top := stream.New("foreign")
	left, right := stream.TableFrom(top, "left", "left", text, text), stream.TableFrom(top, "right", "right", lowerCase{text}, text)
	stream.JoinForeignKey(left, right, "join", foreignOf, func(l, r string) string { return l + "+" + r }).ToStream().To("out")
	d := streamtest.New(t, top, streamtest.Partitions(3))
	l, r := streamtest.NewInput(d, "left", text, text), streamtest.NewInput(d, "right", text, text)
	l.Pipe("k1", "l1|F", 1)
	r.Pipe("f", "r1", 2)
	l.Pipe("k2", "l2|f", 3)
	l.Pipe("k1", "l3|f", 4)
	r.Pipe("f", "r2", 5)
	want := map[string]string{"k1": "l3|f+r2", "k2": "l2|f+r2"}
	if diff := cmp.Diff(want, streamtest.ReadTable(streamtest.NewOutput(d, "out", text, text))); diff != "" {
		t.Error(diff)
	}
}

// TestForeignKeyJoinWaits: the result of a row that has waited for an answer has the row's own headers, and names its own record; also if
// another row has asked for the foreign key.
func TestForeignKeyJoinWaits(t *testing.T) {
	t.Parallel()
	text := stream.String()
	top := stream.New("foreign")
	left, right := stream.TableFrom(top, "left", "left", text, text), stream.TableFrom(top, "right", "right", text, text)
	stream.JoinForeignKey(left, right, "join", foreignOf, func(l, r string) string { return l + "+" + r }).ToStream().To("out", stream.Provenance())
	d := streamtest.New(t, top, streamtest.CommitByHand())
	streamtest.NewInput(d, "right", text, text).Pipe("f", "r", 1)
	in := streamtest.NewInput(d, "left", text, text)
	put := func(key, value string) {
		in.PipeRecord(stream.Record[string, string]{Key: key, Value: value + "|f", Timestamp: 2, Headers: []stream.Header{{Key: "of", Value: []byte(value)}}})
	}
	put("k1", "l0")
	put("k2", "l1")
	put("k1", "l2") // while it waits
	for range 4 {
		d.Commit()
	}
	put("k3", "l3") // which need not wait
	d.Commit()
	var got []string
	for _, r := range d.Raw("out", 0) {
		of := []string{string(r.Key) + "=" + string(r.Value)}
		for _, h := range r.Headers {
			of = append(of, string(h.Value))
		}
		got = append(got, strings.Join(of, " "))
	}
	slices.Sort(got)
	want := []string{"k1=l2|f+r l2 left/0/2", "k2=l1|f+r l1 left/0/1", "k3=l3|f+r l3 left/0/3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestForeignKeyJoinNumbers: what is said of a subscription that is no more, by who was slow, changes nothing of the one that is.
func TestForeignKeyJoinNumbers(t *testing.T) {
	t.Parallel()
	text := stream.String()
	d := streamtest.New(t, (&foreignCase{}).topology())
	left, right := streamtest.NewInput(d, "left", text, text), streamtest.NewInput(d, "right", text, text)
	out := streamtest.NewOutput(d, "out", text, text)
	right.Pipe("f1", "r1", 1)
	left.Pipe("k", "l1|f1", 1)
	const old = 77
	d.PipeRaw("foreign-join-subscription-repartition", record.Raw{Key: []byte("f1"), Value: []byte{1, 0, old}, Timestamp: 2})         // it ends
	d.PipeRaw("foreign-join-response-repartition", record.Raw{Key: []byte("f1"), Value: []byte{3, old, 'o', 'l', 'd'}, Timestamp: 2}) // an update
	right.Pipe("f1", "r2", 3)
	want := "k=l1|f1+r1@1 k=l1|f1+r2@3"
	if diff := cmp.Diff(want, strings.Join(resultsOf(out), " ")); diff != "" {
		t.Error(diff)
	}
	before := rawCount(d, "foreign-join-response-repartition", 1)
	left.PipeRecord(stream.Record[string, string]{Key: "k", NullValue: true, Timestamp: 4}) // now it ends
	right.Pipe("f1", "r3", 5)
	if n := rawCount(d, "foreign-join-response-repartition", 1) - before; n != 0 {
		t.Errorf("%d responses for nobody", n)
	}
}
