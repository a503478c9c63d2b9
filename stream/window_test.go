package stream_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/task"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// ms is so many milliseconds.
func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// joined declares a topology that joins the values of windows by "+" and writes them to the topic out.
func joined(w stream.Windows, opts ...stream.WindowOption) *stream.Topology {
	top := stream.New("windows")
	in := stream.From(top, "in", stream.String(), stream.String())
	join(stream.GroupByKey(in), w, opts...).ToStream().To("out")
	return top
}

func join(g stream.Grouped[string, string], w stream.Windows, opts ...stream.WindowOption) stream.Table[stream.Windowed[string], string] {
	return stream.AggregateWindows(stream.WindowedBy(g, w), "joined", stream.String(),
		func() string { return "" }, func(_, v, a string) string { return a + "+" + v }, opts...)
}

// windows drives such a topology.
type windows struct {
	*streamtest.Driver
	in  *streamtest.Input[string, string]
	out *streamtest.Output[stream.Windowed[string], string]
}

func drive(t testing.TB, top *stream.Topology, opts ...streamtest.Option) *windows {
	t.Helper()
	d := streamtest.New(t, top, opts...)
	return &windows{
		d, streamtest.NewInput(d, "in", stream.String(), stream.String()),
		streamtest.NewOutput(d, "out", stream.WindowedKey(stream.String()), stream.String()),
	}
}

// pipe writes records such as "k:v@7"; an empty key or value is null.
func (w *windows) pipe(t testing.TB, records string) {
	t.Helper()
	for text := range strings.FieldsSeq(records) {
		w.in.PipeRecord(parse(t, text))
	}
}

func parse(t testing.TB, text string) (r stream.Record[string, string]) {
	t.Helper()
	kv, at, _ := strings.Cut(text, "@")
	r.Key, r.Value, _ = strings.Cut(kv, ":")
	r.NullKey, r.NullValue = r.Key == "", r.Value == ""
	if _, err := fmt.Sscan(at, &r.Timestamp); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// read returns what is new in the output, such as "k[0,10)=+v@7".
func (w *windows) read() string {
	var all []string
	for _, r := range w.out.ReadAll() {
		all = append(all, show(r))
	}
	return strings.Join(all, " ")
}

func show(r stream.Record[stream.Windowed[string], string]) string {
	v := r.Value
	if r.NullValue {
		v = "null"
	}
	return fmt.Sprintf("%s[%d,%d)=%s@%d", r.Key.Key, r.Key.Start, r.Key.End, v, r.Timestamp)
}

// dropped returns the classes of what was dropped, with their counts.
func dropped(d *streamtest.Driver) string {
	var all []string
	for _, x := range d.Drops() {
		all = append(all, fmt.Sprintf("%s:%s*%d", x.Node, x.Problem.Class, x.Count))
	}
	return strings.Join(all, " ")
}

func want(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	onClose := []stream.WindowOption{stream.EmitOnClose()}
	tests := []struct {
		name string
		w    stream.Windows
		opts []stream.WindowOption
		in   string
		want string
		drop string
	}{
		{
			name: "a window ends before its end", w: stream.Tumbling(ms(10)),
			in:   "k:a@0 k:b@9 k:c@10",
			want: "k[0,10)=+a@0 k[0,10)=+a+b@9 k[10,20)=+c@10",
		},
		{
			name: "keys have windows of their own", w: stream.Tumbling(ms(10)),
			in:   "k:a@0 l:b@1 k:c@2",
			want: "k[0,10)=+a@0 l[0,10)=+b@1 k[0,10)=+a+c@2",
		},
		{
			name: "the result has the highest time", w: stream.Tumbling(ms(10)),
			in:   "k:a@7 k:b@3",
			want: "k[0,10)=+a@7 k[0,10)=+a+b@7",
		},
		{
			name: "without grace a window closes at its end", w: stream.Tumbling(ms(10)),
			in:   "k:a@1 l:b@10 k:c@9",
			want: "k[0,10)=+a@1 l[10,20)=+b@10", drop: "joined:late*1",
		},
		{
			name: "grace keeps a window open", w: stream.Tumbling(ms(10)).Grace(ms(5)),
			in:   "k:a@1 l:b@14 k:c@9 l:d@15 k:e@9",
			want: "k[0,10)=+a@1 l[10,20)=+b@14 k[0,10)=+a+c@9 l[10,20)=+b+d@15", drop: "joined:late*1",
		},
		{
			name: "hopping windows, the oldest first, and none before 0", w: stream.Hopping(ms(12), ms(5)),
			in:   "k:a@4 k:b@16",
			want: "k[0,12)=+a@4 k[5,17)=+b@16 k[10,22)=+b@16 k[15,27)=+b@16",
		},
		{
			name: "a record that is late for some windows", w: stream.Hopping(ms(10), ms(5)),
			in:   "k:a@15 k:b@13 k:c@9",
			want: "k[10,20)=+a@15 k[15,25)=+a@15 k[10,20)=+a+b@15", drop: "joined:late*1 joined:late*2",
		},
		{
			name: "a record without a key does not move the time", w: stream.Tumbling(ms(10)),
			in:   "k:a@1 :b@100 k:c@9",
			want: "k[0,10)=+a@1 k[0,10)=+a+c@9", drop: "joined:null_key*1",
		},
		{
			name: "a record without a value moves it", w: stream.Tumbling(ms(10)),
			in:   "k:a@1 k:@10 k:c@9",
			want: "k[0,10)=+a@1", drop: "joined:null_value*1 joined:late*1",
		},
		{
			name: "on close, by start and key", w: stream.Hopping(ms(10), ms(5)).Grace(ms(2)), opts: onClose,
			in:   "b:a@7 a:b@8 a:c@3 a:d@11 a:e@12 a:f@16 a:g@17",
			want: "a[0,10)=+b+c@8 b[0,10)=+a@7 a[5,15)=+b+d+e@12 b[5,15)=+a@7",
		},
		{
			name: "on close, a window without a record is none", w: stream.Tumbling(ms(10)), opts: onClose,
			in:   "k:a@1 k:b@35 k:c@40",
			want: "k[0,10)=+a@1 k[30,40)=+b@35",
		},
		{
			name: "on close, no jump of stream time loses a window", w: stream.Hopping(ms(10), ms(5)), opts: onClose,
			in:   "k:a@1 k:b@1000 k:c@2000",
			want: "k[0,10)=+a@1 k[995,1005)=+b@1000 k[1000,1010)=+b@1000",
		},
		{
			name: "on close, a record without a value closes too", w: stream.Tumbling(ms(10)), opts: onClose,
			in:   "k:a@1 k:@10",
			want: "k[0,10)=+a@1", drop: "joined:null_value*1",
		},
		{
			name: "on close with retention, as in Kafka Streams", w: stream.Tumbling(ms(10)),
			opts: []stream.WindowOption{stream.EmitOnClose(), stream.Retention(ms(10))},
			in:   "k:a@1 k:b@10 k:c@30 k:d@40",
			want: "k[0,10)=+a@1 k[30,40)=+c@30",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := drive(t, joined(test.w, test.opts...))
			d.pipe(t, test.in)
			want(t, "output", test.want, d.read())
			want(t, "dropped", test.drop, dropped(d.Driver))
		})
	}
}

func TestCountAndReduceWindows(t *testing.T) {
	t.Parallel()
	top := stream.New("counts")
	g := stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Tumbling(ms(10)))
	stream.MapTable(stream.CountWindows(g, "counts"), func(_ stream.Windowed[string], n int64) string { return strconv.FormatInt(n, 10) }).ToStream().To("out")
	stream.ReduceWindows(g, "longest", func(a, v string) string {
		if len(v) > len(a) {
			return v
		}
		return a
	}).ToStream().To("longest")
	d := drive(t, top)
	d.pipe(t, "k:a@1 k:@2 k:bbb@3 k:cc@11")
	want(t, "counts", "k[0,10)=1@1 k[0,10)=2@2 k[0,10)=3@3 k[10,20)=1@11", d.read())
	d.out = streamtest.NewOutput(d.Driver, "longest", stream.WindowedKey(stream.String()), stream.String())
	want(t, "longest", "k[0,10)=a@1 k[0,10)=bbb@3 k[10,20)=cc@11", d.read())
	want(t, "dropped", "longest:null_value*1", dropped(d.Driver))
}

// TestNullAggregates looks at aggregates that are null: as in Kafka Streams they delete the row, whether the codec of the
// values lets functions see null or not.
func TestNullAggregates(t *testing.T) {
	t.Parallel()
	top := stream.New("nulls")
	in := stream.From(top, "in", stream.String(), stream.Nullable(stream.String()))
	stream.ReduceWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(ms(10))), "last", func(_, v *string) *string { return v }).ToStream().To("out")
	for _, byHand := range []bool{false, true} {
		var opts []streamtest.Option
		if byHand {
			opts = append(opts, streamtest.CommitByHand())
		}
		d := drive(t, top, opts...)
		d.pipe(t, "k:a@1 k:@2 k:b@1")
		d.Commit()
		want(t, fmt.Sprintf("by hand: %v", byHand), "k[0,10)=a@1 k[0,10)=null@2 k[0,10)=b@1", d.read())
	}
}

func TestEmitWindowsOnCommit(t *testing.T) {
	t.Parallel()
	d := drive(t, joined(stream.Tumbling(ms(10)), stream.EmitOnCommit()), streamtest.CommitByHand())
	d.pipe(t, "k:a@1 k:b@2 l:c@3 k:d@12 k:e@100") // closed and expired windows have changed all the same
	want(t, "before the commit", "", d.read())
	d.Commit()
	want(t, "after it", "k[0,10)=+a+b@2 l[0,10)=+c@3 k[10,20)=+d@12 k[100,110)=+e@100", d.read())
	d.pipe(t, "k:f@101")
	d.Commit()
	want(t, "after another", "k[100,110)=+e+f@101", d.read())
}

// TestWindowHeaders looks at where headers of results come from: from the record that caused the output.
func TestWindowHeaders(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]stream.WindowOption{nil, {stream.EmitOnClose()}} {
		d := drive(t, joined(stream.Tumbling(ms(10)), opts...))
		for i, id := range []string{"one", "two"} {
			r := parse(t, fmt.Sprintf("k:v@%d", 10*i))
			r.Headers = []stream.Header{{Key: "id", Value: []byte(id)}}
			d.in.PipeRecord(r)
		}
		var got []string
		for _, r := range d.out.ReadAll() {
			got = append(got, string(r.Headers[0].Value))
		}
		wanted := "one two"
		if opts != nil {
			wanted = "two"
		}
		want(t, "headers", wanted, strings.Join(got, " "))
	}
}

// TestWindowLookups joins a stream with the rows of windows, which are there until their retention ends.
func TestWindowLookups(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts []stream.WindowOption
		want string // of the windows that start at 0, 10, ..., 50
	}{
		{"by default until they close", nil, "- - - - +v +v"},
		{"with retention", []stream.WindowOption{stream.Retention(ms(31))}, "- - +v +v +v +v"},
		{"on close a little longer", []stream.WindowOption{stream.EmitOnClose()}, "- - - +v +v +v"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("lookups")
			table := join(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Tumbling(ms(10)).Grace(ms(10)), test.opts...)
			asked := stream.From(top, "asked", stream.WindowedKey(stream.String()), stream.String())
			stream.LeftJoinTable(asked, table, "ask", func(_, v string, ok bool) string {
				if !ok {
					return "-"
				}
				return v
			}).To("out")
			d := drive(t, top)
			ask := streamtest.NewInput(d.Driver, "asked", stream.WindowedKey(stream.String()), stream.String())
			look := func() string {
				for start := int64(0); start < 60; start += 10 {
					ask.Pipe(stream.Windowed[string]{Key: "k", Start: start, End: start + 10}, "?", 0)
				}
				ask.Pipe(stream.Windowed[string]{Key: "k", Start: 50, End: 55}, "?", 0) // no such window
				var all []string
				for _, r := range d.out.ReadAll() {
					all = append(all, r.Value)
				}
				return strings.Join(all, " ")
			}
			d.pipe(t, "k:v@0 k:v@10 k:v@20 k:v@30 k:v@40 k:v@50")
			want(t, "rows", test.want+" -", look())
			d.Rebalance(0, 0) // the changelog still has the rows that have expired
			want(t, "restored rows", test.want+" -", look())
		})
	}
}

// backwards is a processor that gives records a time before 1970.
type backwards struct {
	ctx *stream.ProcessorContext[string, string]
}

func (b *backwards) Init(ctx *stream.ProcessorContext[string, string]) error {
	b.ctx = ctx
	return nil
}

func (b *backwards) Process(r *stream.Record[string, string]) error {
	out := *r
	out.Timestamp = -1
	return b.ctx.Forward(&out)
}

func TestWindowsNeedATime(t *testing.T) {
	t.Parallel()
	top := stream.New("times")
	in := stream.From(top, "in", stream.String(), stream.String())
	back := stream.Process(in, "back", func() stream.Processor[string, string, string, string] { return &backwards{} })
	join(stream.GroupByKey(back.Keys(stream.String())), stream.Tumbling(ms(10))).ToStream().To("out")
	d := drive(t, top)
	d.pipe(t, "k:a@5")
	want(t, "output", "", d.read())
	want(t, "dropped", "joined-repartition-source:no_timestamp*1", dropped(d.Driver))
}

func TestWindowFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		w    stream.Windows
		opts []stream.WindowOption
		want string
	}{
		{nil, nil, "windowed-by: no windows: want Tumbling, Hopping or Sliding"},
		{stream.Sliding(-1), nil, "windowed-by: the difference of sliding windows, -1ns, is negative"},
		{stream.Sliding(0).Grace(-1), nil, "windowed-by: the grace of the windows, -1ns, is negative"},
		{stream.Sliding(1500 * time.Microsecond), nil, "windowed-by: sliding windows of 1.5ms with a grace of 0s: want whole milliseconds"},
		{
			stream.Sliding(math.MaxInt64), nil,
			"windowed-by: sliding windows of 2562047h47m16.854775807s with a grace of 0s: want at most 60 years of each",
		},
		{
			stream.Sliding(ms(5)).Grace(ms(2)),
			[]stream.WindowOption{stream.Retention(ms(11))},
			"aggregate-windows: a retention of 11ms is too short: windows and their grace take 12ms",
		},
		{stream.Tumbling(0), nil, "windowed-by: the size of the windows, 0s, is not positive"},
		{stream.Hopping(ms(5), ms(6)), nil, "windowed-by: the advance of the windows, 6ms: want more than 0 and at most the size, 5ms"},
		{stream.Hopping(ms(5), 0), nil, "windowed-by: the advance of the windows, 0s: want more than 0 and at most the size, 5ms"},
		{stream.Hopping(24*time.Hour, ms(1)), nil, "windowed-by: windows of 24h0m0s that advance by 1ms: a record would be in 86400000 of them, want at most 10000"},
		{stream.Tumbling(ms(5)).Grace(-1), nil, "windowed-by: the grace of the windows, -1ns, is negative"},
		{stream.Tumbling(1500 * time.Microsecond), nil, "windowed-by: windows of 1.5ms that advance by 1.5ms, with a grace of 0s: want whole milliseconds"},
		{
			stream.Tumbling(time.Hour).Grace(math.MaxInt64), nil,
			"windowed-by: windows of 1h0m0s with a grace of 2562047h47m16.854775807s: want at most 90 years of each",
		},
		{
			stream.Tumbling(math.MaxInt64), nil,
			"windowed-by: windows of 2562047h47m16.854775807s with a grace of 0s: want at most 90 years of each",
		},
		{
			stream.Tumbling(ms(5)),
			[]stream.WindowOption{stream.Retention(math.MaxInt64)},
			"aggregate-windows: a retention of 2562047h47m16.854775807s: want at most 180 years",
		},
		{
			stream.Tumbling(ms(5)),
			[]stream.WindowOption{stream.EmitOnClose(), stream.EmitOnCommit()},
			"aggregate-windows: EmitOnClose and EmitOnCommit: a window is emitted at one or at the other",
		},
		{
			stream.Tumbling(ms(5)).Grace(ms(2)),
			[]stream.WindowOption{stream.Retention(ms(6))},
			"aggregate-windows: a retention of 6ms is too short: windows and their grace take 7ms",
		},
	}
	for _, test := range tests {
		top := stream.New("faults")
		join(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), test.w, test.opts...)
		err := fmt.Sprint(top.Err())
		if at, msg, _ := strings.Cut(err, ": "); msg != test.want || !strings.HasPrefix(at, "window_test.go:") {
			t.Errorf("got %s, want %s", err, test.want)
		}
	}
}

// TestTableOptions looks whether both kinds of options can be given to a table.
func TestTableOptions(t *testing.T) {
	t.Parallel()
	top := stream.New("options")
	stream.TableFrom(top, "rows", "rows", stream.String(), stream.String(), stream.StartLatest(), stream.InMemory(), stream.CacheRows(1))
	if err := top.Err(); err != nil {
		t.Error(err)
	}
}

// TestWindowsOfAKeyStayTogether: all windows of a key are written to the partition of the key, in the order of their updates.
func TestWindowsOfAKeyStayTogether(t *testing.T) {
	t.Parallel()
	const partitions = 4
	text, keys := stream.String(), stream.WindowedKey(stream.String())
	top := stream.New("windows")
	counts := stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "counts")
	out := counts.ToStream()
	out.To("out")
	type counted = *stream.Record[stream.Windowed[string], int64]
	out.ToChosen("chosen", []string{"even", "odd"}, func(w stream.Windowed[string], _ int64) string {
		return []string{"even", "odd"}[w.Start/10%2]
	}, stream.PartitionBy(func(counted, int) int { return -1 }))
	d := streamtest.New(t, top, streamtest.Partitions(partitions))
	in := streamtest.NewInput(d, "in", text, text)
	for i := range 80 {
		in.Pipe(fmt.Sprintf("k%d", i%7), "v", int64(i))
	}
	for _, topic := range []string{"out", "even", "odd"} {
		n := 0
		for p := range int32(partitions) {
			last := map[string]int64{}
			for _, r := range d.Raw(topic, p) {
				w, err := keys.Decode(r.Key)
				if err != nil {
					t.Fatal(err)
				}
				if want := task.Place([]byte(w.Key), 0, partitions); want != p {
					t.Errorf("%s: a window of %s is in partition %d, the key in %d", topic, w.Key, p, want)
				}
				if r.Timestamp < last[w.Key] {
					t.Errorf("%s: an update of %s at %d after one at %d", topic, w.Key, r.Timestamp, last[w.Key])
				}
				last[w.Key], n = r.Timestamp, n+1
			}
		}
		if want := map[string]int{"out": 80, "even": 40, "odd": 40}[topic]; n != want {
			t.Errorf("%s: %d records, want %d", topic, n, want)
		}
	}
}

// TestWindowsMeetInTheirPartition: what is joined with windows goes to where they are, from another key and from a topic.
func TestWindowsMeetInTheirPartition(t *testing.T) {
	t.Parallel()
	const partitions = 5
	text, keys := stream.String(), stream.WindowedKey(stream.String())
	top := stream.New("windows")
	counts := stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "counts")
	limits := stream.TableFrom(top, "limits", "limits", keys, text)
	both := stream.JoinTables(counts, limits, func(n int64, limit string) string { return fmt.Sprintf("%d of %s", n, limit) })
	asked := stream.SelectKey(stream.From(top, "asked", text, text), func(_, k string) stream.Windowed[string] {
		return stream.Windowed[string]{Key: k, Start: 0, End: 10}
	}).Keys(keys)
	stream.JoinTable(asked, both, "look-up", func(_, row string) string { return row }).Values(text).To("out")
	d := streamtest.New(t, top, streamtest.Partitions(partitions))
	in, questions := streamtest.NewInput(d, "in", text, text), streamtest.NewInput(d, "asked", text, text)
	rows := streamtest.NewInput(d, "limits", keys, text)
	for i := range 20 {
		k := fmt.Sprintf("k%d", i)
		rows.Pipe(stream.Windowed[string]{Key: k, Start: 0, End: 10}, "9", 1)
		in.Pipe(k, "v", 1)
		questions.Pipe("?", k, 2)
	}
	got := streamtest.NewOutput(d, "out", keys, text).ReadValues()
	if len(got) != 20 || slices.ContainsFunc(got, func(v string) bool { return v != "1 of 9" }) {
		t.Errorf("got %q", got)
	}
}
