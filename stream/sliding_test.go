package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// readSliding is read of windows with their ends in them, such as "k[0,10]=+v@7".
func (w *windows) readSliding() string { return strings.ReplaceAll(w.read(), ")=", "]=") }

func TestSlidingWindows(t *testing.T) {
	t.Parallel()
	onClose := []stream.WindowOption{stream.EmitOnClose()}
	tests := []struct {
		name string
		w    stream.SlidingWindows
		opts []stream.WindowOption
		in   string
		want string
		drop string
	}{
		{
			name: "both ends are in a window", w: stream.Sliding(ms(10)),
			in:   "k:a@20 k:b@30 k:c@41",
			want: "k[10,20]=+a@20 k[20,30]=+a+b@30 k[21,31]=+b@30 k[31,41]=+c@41",
		},
		{
			name: "keys have windows of their own", w: stream.Sliding(ms(10)),
			in:   "k:a@20 l:b@21 k:c@22",
			want: "k[10,20]=+a@20 l[11,21]=+b@21 k[12,22]=+a+c@22 k[21,31]=+c@22",
		},
		{
			name: "records of one time", w: stream.Sliding(ms(10)).Grace(ms(5)),
			in:   "k:a@20 k:b@20 k:c@25 k:d@20",
			want: "k[10,20]=+a@20 k[10,20]=+a+b@20 k[15,25]=+a+b+c@25 k[21,31]=+c@25 k[10,20]=+a+b+d@20 k[15,25]=+a+b+c+d@25",
		},
		{
			name: "a record between others", w: stream.Sliding(ms(10)).Grace(ms(100)),
			in: "k:a@20 k:b@30 k:c@24",
			want: "k[10,20]=+a@20 k[20,30]=+a+b@30 k[21,31]=+b@30 " +
				"k[14,24]=+a+c@24 k[20,30]=+a+b+c@30 k[21,31]=+b+c@30 k[25,35]=+b@30",
		},
		{
			name: "a record before all others", w: stream.Sliding(ms(10)).Grace(ms(100)),
			in:   "k:a@50 k:b@45 k:c@30",
			want: "k[40,50]=+a@50 k[35,45]=+b@45 k[40,50]=+a+b@50 k[46,56]=+a@50 k[20,30]=+c@30",
		},
		{
			name: "a window that ends with a record and begins after another is one", w: stream.Sliding(ms(10)).Grace(ms(100)),
			in:   "k:a@20 k:b@31 k:c@25",
			want: "k[10,20]=+a@20 k[21,31]=+b@31 k[15,25]=+a+c@25 k[21,31]=+b+c@31 k[26,36]=+b@31",
		},
		{
			name: "no window begins before 0", w: stream.Sliding(ms(10)).Grace(ms(100)),
			in: "k:a@3 k:b@8 k:c@5 k:d@10",
			want: "k[0,10]=+a@3 k[0,10]=+a+b@8 k[4,14]=+b@8 k[0,10]=+a+b+c@8 k[4,14]=+b+c@8 k[6,16]=+b@8 " +
				"k[0,10]=+a+b+c+d@10 k[4,14]=+b+c+d@10 k[6,16]=+b+d@10 k[9,19]=+d@10",
		},
		{
			name: "without a difference records of one time are together", w: stream.Sliding(0).Grace(ms(1)),
			in:   "k:a@0 k:b@0 k:c@1 k:d@0",
			want: "k[0,0]=+a@0 k[0,0]=+a+b@0 k[1,1]=+c@1 k[0,0]=+a+b+d@0",
		},
		{
			name: "a window takes records up to its end and the grace", w: stream.Sliding(ms(10)).Grace(ms(5)),
			in:   "k:a@20 l:b@25 k:c@20 l:d@26 k:e@20 k:f@10",
			want: "k[10,20]=+a@20 l[15,25]=+b@25 k[10,20]=+a+c@20 l[16,26]=+b+d@26 l[26,36]=+d@26",
			drop: "joined:late*1 joined:late*1",
		},
		{
			name: "a record that is late for some windows", w: stream.Sliding(ms(10)),
			in:   "k:a@25 k:b@30 k:c@26 k:d@21",
			want: "k[15,25]=+a@25 k[20,30]=+a+b@30 k[26,36]=+b@30 k[20,30]=+a+b+c@30 k[26,36]=+b+c@30 k[27,37]=+b@30 " +
				"k[20,30]=+a+b+c+d@30 k[22,32]=+a+b+c@30",
			drop: "joined:late*1 joined:late*2",
		},
		{
			name: "a record without key or value does not move the time", w: stream.Sliding(ms(10)),
			in:   "k:a@20 :b@100 k:@100 k:c@20",
			want: "k[10,20]=+a@20 k[10,20]=+a+c@20", drop: "joined:null_key*1 joined:null_value*1",
		},
		{
			name: "on close, by start and key", w: stream.Sliding(ms(10)).Grace(ms(2)), opts: onClose,
			in:   "b:a@20 a:b@20 a:c@24 a:d@32 a:e@33 a:f@50",
			want: "a[10,20]=+b@20 b[10,20]=+a@20 a[14,24]=+b+c@24 a[21,31]=+c@24 a[22,32]=+c+d@32 a[23,33]=+c+d+e@33 a[25,35]=+d+e@33 a[33,43]=+e@33",
		},
		{
			name: "on close, no jump of stream time loses a window", w: stream.Sliding(ms(10)), opts: onClose,
			in:   "k:a@20 k:b@1000 k:c@2000",
			want: "k[10,20]=+a@20 k[990,1000]=+b@1000",
		},
		{
			name: "on close with retention, as in Kafka Streams", w: stream.Sliding(ms(10)),
			opts: []stream.WindowOption{stream.EmitOnClose(), stream.Retention(ms(20))},
			in:   "k:a@20 k:b@40 k:c@61 k:d@80",
			want: "k[10,20]=+a@20 k[51,61]=+c@61",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := drive(t, joined(test.w, test.opts...))
			d.pipe(t, test.in)
			want(t, "output", test.want, d.readSliding())
			want(t, "dropped", test.drop, dropped(d.Driver))
		})
	}
}

func TestCountAndReduceSlidingWindows(t *testing.T) {
	t.Parallel()
	top := stream.New("counts")
	g := stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Sliding(ms(10)))
	stream.MapTable(stream.CountWindows(g, "counts"), func(_ stream.Windowed[string], n int64) string { return fmt.Sprint(n) }).ToStream().To("out")
	stream.ReduceWindows(g, "joined", func(a, v string) string { return a + v }).ToStream().To("joined")
	d := drive(t, top)
	d.pipe(t, "k:a@20 k:@21 k:b@22 k:c@31")
	want(t, "counts", "k[10,20]=1@20 k[12,22]=2@22 k[21,31]=1@22 k[21,31]=2@31 k[23,33]=1@31", d.readSliding())
	d.out = streamtest.NewOutput(d.Driver, "joined", stream.WindowedKey(stream.String()), stream.String())
	want(t, "joined", "k[10,20]=a@20 k[12,22]=ab@22 k[21,31]=b@22 k[21,31]=bc@31 k[23,33]=c@31", d.readSliding())
	want(t, "dropped", "counts:null_value*1 joined:null_value*1", dropped(d.Driver))
}

// TestNullAggregatesOfSlidingWindows looks at aggregates that are null: the row is deleted, and what the window holds is
// still known to others, also in another instance.
func TestNullAggregatesOfSlidingWindows(t *testing.T) {
	t.Parallel()
	top := stream.New("nulls")
	in := stream.From(top, "in", stream.String(), stream.Nullable(stream.String()))
	g := stream.WindowedBy(stream.GroupByKey(in), stream.Sliding(ms(10)))
	stream.ReduceWindows(g, "last", func(_, v *string) *string { return v }).ToStream().To("out")
	d := drive(t, top)
	d.pipe(t, "k:a@20 k:@20")
	d.Rebalance(0, 0)
	d.pipe(t, "k:b@25 k:@31")
	want(t, "output", "k[10,20]=a@20 k[10,20]=null@20 k[15,25]=b@25 k[21,31]=b@25 k[21,31]=null@31 k[26,36]=null@31", d.readSliding())
}

func TestEmitSlidingWindowsOnCommit(t *testing.T) {
	t.Parallel()
	for _, cached := range []int{1, 100} {
		d := drive(t, joined(stream.Sliding(ms(10)), stream.EmitOnCommit(), stream.CacheRows(cached)), streamtest.CommitByHand())
		d.pipe(t, "k:a@20 k:b@25 l:c@26 k:d@100 k:e@1000") // closed and expired windows have changed all the same
		want(t, "before the commit", "", d.read())
		d.Commit()
		want(t, "after it", "k[10,20]=+a@20 k[15,25]=+a+b@25 k[21,31]=+b@25 k[90,100]=+d@100 k[990,1000]=+e@1000 l[16,26]=+c@26", d.readSliding())
		d.pipe(t, "k:f@1000")
		d.Commit()
		want(t, "after another", "k[990,1000]=+e+f@1000", d.readSliding())
	}
}

// TestSlidingHeaders looks at where headers of results come from: from the record that caused the output.
func TestSlidingHeaders(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]stream.WindowOption{nil, {stream.EmitOnClose()}} {
		d := drive(t, joined(stream.Sliding(ms(10)), opts...))
		for i, id := range []string{"one", "two"} {
			r := parse(t, fmt.Sprintf("k:v@%d", 20+20*i))
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

// TestSlidingLookups joins a stream with the rows of windows, which are there until their retention ends.
func TestSlidingLookups(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts []stream.WindowOption
		want string // of the windows that end at 20, 40, ..., 120
	}{
		{"by default twice the difference and the grace", nil, "- - - +v +v +v"},
		{"of keys that are not in the cache", []stream.WindowOption{stream.CacheRows(1)}, "- - - +v +v +v"},
		{"with retention", []stream.WindowOption{stream.Retention(ms(60))}, "- - +v +v +v +v"},
		{"on close", []stream.WindowOption{stream.EmitOnClose()}, "- - - +v +v +v"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("lookups")
			table := join(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Sliding(ms(10)).Grace(ms(20)), test.opts...)
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
				for end := int64(20); end <= 120; end += 20 {
					ask.Pipe(stream.Windowed[string]{Key: "k", Start: end - 10, End: end}, "?", 0)
				}
				ask.Pipe(stream.Windowed[string]{Key: "k", Start: 110, End: 115}, "?", 0) // no such windows
				ask.Pipe(stream.Windowed[string]{Key: "k", Start: 111, End: 121}, "?", 0)
				var all []string
				for _, r := range d.out.ReadAll() {
					all = append(all, r.Value)
				}
				return strings.Join(all, " ")
			}
			d.pipe(t, "k:v@20 k:v@40 k:v@60 k:v@80 k:v@100 k:v@120 l:v@120")
			want(t, "rows", test.want+" - -", look())
			d.Rebalance(0, 0) // the changelog still has the rows that have expired
			want(t, "restored rows", test.want+" - -", look())
		})
	}
}

// TestSlidingState looks at the rows from outside.
func TestSlidingState(t *testing.T) {
	t.Parallel()
	d := drive(t, joined(stream.Sliding(ms(10)), stream.EmitOnClose()))
	d.pipe(t, "k:a@20 k:b@25")
	rows := streamtest.RowsOf(d.Driver, "joined", stream.WindowedKey(stream.String()), stream.String())
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s[%d,%d]=%s@%d", r.Key.Key, r.Key.Start, r.Key.End, r.Value, r.Timestamp))
	}
	want(t, "rows", "k[10,20]=+a@20 k[15,25]=+a+b@25 k[21,31]=+b@25", strings.Join(got, " "))
}
