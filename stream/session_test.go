package stream_test

import (
	"strconv"
	"strings"
	"testing"

	"millrace.dev/stream"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	onClose := []stream.WindowOption{stream.EmitOnClose()}
	tests := []struct {
		name string
		w    stream.SessionWindows
		opts []stream.WindowOption
		in   string
		want string
		drop string
	}{
		{
			name: "a session goes on for the gap", w: stream.Sessions(ms(10)),
			in:   "k:a@0 k:b@10 k:c@21",
			want: "k[0,0)=+a@0 k[0,0)=null@0 k[0,10)=/+a+b@10 k[21,21)=+c@21",
		},
		{
			name: "keys have sessions of their own", w: stream.Sessions(ms(10)),
			in:   "k:a@0 l:b@1 k:c@2",
			want: "k[0,0)=+a@0 l[1,1)=+b@1 k[0,0)=null@0 k[0,2)=/+a+c@2",
		},
		{
			name: "a record between two sessions", w: stream.Sessions(ms(10)).Grace(ms(20)),
			in:   "k:a@0 k:b@20 k:c@10",
			want: "k[0,0)=+a@0 k[20,20)=+b@20 k[0,0)=null@0 k[20,20)=null@20 k[0,20)=/+a/+b+c@20",
		},
		{
			name: "a record within a session deletes its row first", w: stream.Sessions(ms(10)),
			in:   "k:a@0 k:b@8 k:c@4",
			want: "k[0,0)=+a@0 k[0,0)=null@0 k[0,8)=/+a+b@8 k[0,8)=null@8 k[0,8)=//+a+b+c@8",
		},
		{
			name: "records of one time are one update each", w: stream.Sessions(ms(10)),
			in:   "k:a@3 k:b@3",
			want: "k[3,3)=+a@3 k[3,3)=/+a+b@3",
		},
		{
			name: "a record before its session", w: stream.Sessions(ms(10)),
			in:   "k:a@9 k:b@3",
			want: "k[9,9)=+a@9 k[9,9)=null@9 k[3,9)=/+a+b@9",
		},
		{
			name: "late is what would end before stream time, gap and grace", w: stream.Sessions(ms(10)).Grace(ms(5)),
			in:   "k:a@100 k:b@85 k:c@84",
			want: "k[100,100)=+a@100 k[85,85)=+b@85", drop: "joined:late*1",
		},
		{
			name: "a late record joins a session that is open", w: stream.Sessions(ms(10)),
			in:   "k:a@100 k:b@95 l:c@105 k:d@90",
			want: "k[100,100)=+a@100 k[100,100)=null@100 k[95,100)=/+a+b@100 l[105,105)=+c@105 k[95,100)=null@100 k[90,100)=//+a+b+d@100",
		},
		{
			name: "a session takes no more at the end of gap and grace", w: stream.Sessions(ms(10)),
			in:   "k:a@5 l:b@15 k:c@5 k:d@6 k:e@5",
			want: "k[5,5)=+a@5 l[15,15)=+b@15 k[5,5)=+c@5 k[6,6)=+d@6 k[6,6)=null@6 k[5,6)=/+d+e@6",
		},
		{
			name: "a record without a key does not move the time", w: stream.Sessions(ms(10)),
			in:   "k:a@1 :b@100 k:c@9",
			want: "k[1,1)=+a@1 k[1,1)=null@1 k[1,9)=/+a+c@9", drop: "joined:null_key*1",
		},
		{
			name: "a record without a value moves it", w: stream.Sessions(ms(10)),
			in:   "k:a@1 k:@12 k:c@1",
			want: "k[1,1)=+a@1", drop: "joined:null_value*1 joined:late*1",
		},
		{
			name: "on close, by end and key", w: stream.Sessions(ms(10)).Grace(ms(2)), opts: onClose,
			in:   "b:a@7 a:b@7 c:c@0 c:d@9 d:e@8 a:f@22",
			want: "a[7,7)=+b@7 b[7,7)=+a@7 d[8,8)=+e@8 c[0,9)=/+c+d@9",
		},
		{
			name: "on close, no jump of stream time loses a session", w: stream.Sessions(ms(10)), opts: onClose,
			in:   "k:a@1 k:b@300000 k:c@900000",
			want: "k[1,1)=+a@1 k[300000,300000)=+b@300000",
		},
		{
			name: "on close, nor does a retention", w: stream.Sessions(ms(10)), opts: []stream.WindowOption{stream.EmitOnClose(), stream.Retention(ms(10))},
			in:   "k:a@1 k:b@300000 k:c@900000",
			want: "k[1,1)=+a@1 k[300000,300000)=+b@300000",
		},
		{
			name: "on close, a record without a value closes too", w: stream.Sessions(ms(10)), opts: onClose,
			in:   "k:a@1 k:@12",
			want: "k[1,1)=+a@1", drop: "joined:null_value*1",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := drive(t, sessions(test.w, test.opts...))
			d.pipe(t, test.in)
			want(t, "output", test.want, d.read())
			want(t, "dropped", test.drop, dropped(d.Driver))
		})
	}
}

func TestCountAndReduceSessions(t *testing.T) {
	t.Parallel()
	top := stream.New("counts")
	g := stream.WindowedBySessions(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Sessions(ms(10)))
	stream.MapTable(stream.CountSessions(g, "counts"), func(_ stream.Windowed[string], n int64) string { return strconv.FormatInt(n, 10) }).ToStream().To("out")
	d := drive(t, top)
	d.pipe(t, "k:a@0 k:@5 l:b@5")
	want(t, "a record without a value is counted", "k[0,0)=1@0 k[0,0)=null@0 k[0,5)=2@5 l[5,5)=1@5", d.read())

	top = stream.New("longest")
	g = stream.WindowedBySessions(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Sessions(ms(10)).Grace(ms(20)))
	stream.ReduceSessions(g, "all", func(a, v string) string { return a + v }).ToStream().To("out")
	d = drive(t, top)
	d.pipe(t, "k:a@0 k:@5 k:b@20 k:c@10")
	want(t, "reduced", "k[0,0)=a@0 k[20,20)=b@20 k[0,0)=null@0 k[20,20)=null@20 k[0,20)=abc@20", d.read())
	want(t, "dropped", "all:null_value*1", dropped(d.Driver))
}

// TestSessionsWithoutAnAggregate deletes the row of a session whose aggregate is null.
func TestSessionsWithoutAnAggregate(t *testing.T) {
	t.Parallel()
	top := stream.New("null")
	in := stream.From(top, "in", stream.String(), stream.String())
	same := func(_ string, _, b *string) *string { return b }
	sessions := stream.AggregateSessions(stream.WindowedBySessions(stream.GroupByKey(in), stream.Sessions(ms(10))), "last", stream.Nullable(stream.String()),
		func() *string { return nil },
		func(_, v string, _ *string) *string {
			if v == "none" {
				return nil
			}
			return &v
		}, same)
	stream.MapTable(sessions, func(_ stream.Windowed[string], v *string) string { return *v }).ToStream().To("out")
	d := drive(t, top)
	d.pipe(t, "k:a@0 k:none@5 k:b@7")
	want(t, "output", "k[0,0)=a@0 k[0,0)=null@0 k[0,5)=null@5 k[7,7)=b@7", d.read())
}

// TestSessionFaults looks at what a declaration must not be.
func TestSessionFaults(t *testing.T) {
	t.Parallel()
	declare := func(w stream.SessionWindows, opts ...stream.WindowOption) error { return sessions(w, opts...).Err() }
	long := 91 * 365 * 24 * ms(3_600_000)
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"no gap":         {declare(stream.Sessions(0)), "is not positive"},
		"negative grace": {declare(stream.Sessions(ms(1)).Grace(-1)), "is negative"},
		"long":           {declare(stream.Sessions(long)), "at most 90 years"},
		"parts":          {declare(stream.Sessions(ms(1) + 1)), "whole milliseconds"},
		"retention":      {declare(stream.Sessions(ms(10)).Grace(ms(5)), stream.Retention(ms(14))), "sessions, their gap and their grace take 15ms"},
		"both":           {declare(stream.Sessions(ms(10)), stream.EmitOnClose(), stream.EmitOnCommit()), "at one or at the other"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, test.err, test.want)
		}
	}
	top := stream.New("nil")
	g := stream.WindowedBySessions(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), stream.Sessions(ms(1)))
	stream.AggregateSessions[string, string, string](g, "all", nil, nil, nil, nil)
	stream.ReduceSessions(g, "reduced", nil)
	for _, want := range []string{"no codec of the aggregates", "initial", "add", "merge", "f is nil"} {
		if err := top.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
