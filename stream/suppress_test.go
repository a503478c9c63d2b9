package stream_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

func TestFaultsOfSuppress(t *testing.T) {
	t.Parallel()
	table := func(in texts) stream.Table[string, string] { return stream.ToTable(in, "rows") }
	windows := func(in texts) stream.Table[stream.Windowed[string], int64] {
		return stream.CountWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(time.Second)), "counts")
	}
	type str = stream.Table[string, string]
	limit := func(t str, wait time.Duration, b stream.Buffer, opts ...stream.StoreOption) {
		stream.SuppressUntilTimeLimit(t, "wait", wait, b, opts...)
	}
	expectFaults(t, []faulty{
		{"a table that is not of windows", func(top *stream.Topology, _ texts) {
			rows := stream.TableFrom(top, "rows", "rows", stream.WindowedKey(stream.String()), stream.String())
			stream.SuppressUntilWindowCloses(rows, "final", stream.Unbounded())
		}, "not those of windows"},
		{"windows that are not final", func(_ *stream.Topology, in texts) {
			stream.SuppressUntilWindowCloses(windows(in), "final", stream.MaxRecords(1).EmitEarlyWhenFull())
		}, "not final"},
		{"no name", func(_ *stream.Topology, in texts) {
			stream.SuppressUntilWindowCloses(windows(in), "", stream.Unbounded())
		}, "no name"},
		{"emit on commit", func(_ *stream.Topology, in texts) {
			limit(table(in), 0, stream.Unbounded(), stream.EmitOnCommit())
		}, "EmitOnCommit has no meaning"},
		{"no room", func(_ *stream.Topology, in texts) {
			stream.SuppressUntilWindowCloses(windows(in), "final", stream.MaxRecords(0))
		}, "without room"},
		{"less than no room", func(_ *stream.Topology, in texts) { limit(table(in), 0, stream.MaxBytes(-1)) }, "negative"},
		{"a negative wait", func(_ *stream.Topology, in texts) { limit(table(in), -1, stream.Unbounded()) }, "negative"},
		{"a wait of less than milliseconds", func(_ *stream.Topology, in texts) { limit(table(in), 1, stream.Unbounded()) }, "whole milliseconds"},
		{"a long wait", func(_ *stream.Topology, in texts) { limit(table(in), 1<<62, stream.Unbounded()) }, "at most 90 years"},
		{"a versioned table", func(_ *stream.Topology, in texts) {
			limit(stream.ToTable(in, "rows", stream.Versioned(time.Hour)), 0, stream.Unbounded())
		}, "is versioned"},
		{"no codec", func(_ *stream.Topology, in texts) {
			odd := stream.MapTable(table(in), func(_, v string) bool { return len(v)%2 == 1 })
			stream.SuppressUntilTimeLimit(odd, "wait", 0, stream.Unbounded())
		}, "no codec of the values"},
	})
}

// limited has updates of the table in wait for 10 ms, and writes what is sent on with its source.
func limited(top *stream.Topology, buffer stream.Buffer, opts ...stream.StoreOption) {
	rows := stream.TableFrom(top, "rows", "in", stream.String(), stream.String())
	sent := stream.SuppressUntilTimeLimit(rows, "waiting", ms(10), buffer, opts...)
	sent.ToStream().To("out", stream.Provenance())
}

// sentOn returns what is new in the topic out, with the record that is named as its source.
func sentOn(d *windows) string {
	var all []string
	for _, r := range streamtest.NewOutput(d.Driver, "out", stream.String(), stream.String()).ReadAll() {
		parts := []string{fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp)}
		for _, h := range r.Headers {
			parts = append(parts, string(h.Value))
		}
		all = append(all, strings.Join(parts, ","))
	}
	return strings.Join(all, " ")
}

// TestSuppressNamesItsSource: what is sent on has the headers of the last update, and names its record, also after a crash
// that takes the store with it.
func TestSuppressNamesItsSource(t *testing.T) {
	t.Parallel()
	top := stream.New("limit")
	limited(top, stream.Unbounded(), stream.InMemory())
	d := drive(t, top)
	pipe := func(k, v string, at int64) {
		d.in.PipeRecord(stream.Record[string, string]{Key: k, Value: v, NullValue: v == "", Timestamp: at, Headers: []record.Header{{Key: "h", Value: []byte("of " + v)}}})
	}
	pipe("a", "1", 0)
	pipe("b", "1", 3)
	pipe("a", "2", 7)
	d.LoseState()
	want(t, "before the limit", "", sentOn(d))
	pipe("c", "", 10)
	want(t, "of the first", "a=2@7,of_2,in/0/2", strings.ReplaceAll(sentOn(d), "of ", "of_"))
	pipe("a", "3", 13)
	want(t, "of the second", "b=1@3,of_1,in/0/1", strings.ReplaceAll(sentOn(d), "of ", "of_"))
	d.Rebalance(0, 0)
	pipe("d", "4", 40)
	want(t, "of all", "c=@10,of_,in/0/3 a=3@13,of_3,in/0/4", strings.ReplaceAll(sentOn(d), "of ", "of_"))
}

// TestFullBuffer ends the application, which goes on where it was when the limit is higher.
func TestFullBuffer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		buffer stream.Buffer
		fits   string
		want   string
	}{
		"records": {stream.MaxRecords(2).ShutDownWhenFull(), "a:1@0 b:1@1 a:2@2", "its limit is 2 rows. Raise that with WithMaxRecords, or shorten the wait"},
		"bytes":   {stream.MaxBytes(4).ShutDownWhenFull(), "a:1@0 b:1@1 a:2@2", "its limit is 4 bytes. Raise that with WithMaxBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("limit")
			limited(top, c.buffer)
			d := drive(t, top, streamtest.KeepErrors())
			d.pipe(t, c.fits)
			if err := d.Err(); err != nil {
				t.Fatal(err)
			}
			d.pipe(t, "c:1@9")
			if err := d.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			want(t, "sent on", "", sentOn(d))
		})
	}
	t.Run("windows", func(t *testing.T) {
		t.Parallel()
		top := stream.New("limit")
		in := stream.From(top, "in", stream.String(), stream.String())
		stream.SuppressUntilWindowCloses(join(stream.GroupByKey(in), stream.Tumbling(ms(10))), "final", stream.MaxRecords(2)).ToStream().To("out")
		d := drive(t, top, streamtest.KeepErrors())
		d.pipe(t, "a:1@0 b:1@9 c:1@10 d:1@11") // two windows have closed
		want(t, "two at a time", "a[0,10)=+1@0 b[0,10)=+1@9", d.read())
		d.pipe(t, "e:1@12")
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), "give the windows less grace") {
			t.Errorf("got %v", err)
		}
	})
}

// TestFullBufferEmitsEarly sends on what has waited longest.
func TestFullBufferEmitsEarly(t *testing.T) {
	t.Parallel()
	top := stream.New("limit")
	limited(top, stream.MaxRecords(2))
	d := drive(t, top)
	d.pipe(t, "b:1@5 a:1@6 b:2@7")
	want(t, "as long as there is room", "", sentOn(d))
	d.pipe(t, "c:1@4")
	want(t, "the earliest", "c=1@4,in/0/3", sentOn(d))
	d.pipe(t, "d:1@8")
	want(t, "then", "b=2@7,in/0/2", sentOn(d))
}

// TestSuppressOfIdleTasks sends on when stream time goes by the clock.
func TestSuppressOfIdleTasks(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	top := stream.New("idle", stream.IdleTimeout(time.Minute))
	limited(top, stream.Unbounded())
	d := drive(t, top, streamtest.StartAt(start))
	d.in.Pipe("k", "a", start.UnixMilli())
	d.Crash()
	d.Advance(59 * time.Second)
	want(t, "at first", "", sentOn(d))
	d.Advance(2 * time.Second)
	want(t, "when time has gone on", fmt.Sprintf("k=a@%d,in/0/0", start.UnixMilli()), sentOn(d))
}

// TestLookUpsOfSuppressedTables: a join sees what was sent on, and a join of the table with itself what was before.
func TestLookUpsOfSuppressedTables(t *testing.T) {
	t.Parallel()
	str := stream.String()
	top := stream.New("limit")
	rows := stream.TableFrom(top, "rows", "in", str, str)
	sent := stream.SuppressUntilTimeLimit(rows, "waiting", ms(10), stream.Unbounded())
	both := stream.OuterJoinTables(sent, rows, func(s stream.Sides[string, string]) string { return s.Left + "/" + s.Right }).Values(str)
	both.ToStream().To("out")
	// What was and what is, as the groups of the joined table are told.
	add := func(sign string) func(_, v, a string) string {
		return func(_, v, a string) string { return a + sign + v }
	}
	grouped := stream.GroupTable(both, str, str, func(k, v string) (string, string) { return k, v })
	stream.AggregateTable(grouped, "log", str, func() string { return "" }, add("+"), add("-")).ToStream().To("log")
	probes := stream.From(top, "probes", str, str)
	stream.LeftJoinTable(probes, sent, "probe", func(_, v string, ok bool) string { return v + strconv.FormatBool(ok) }).To("seen")

	d := drive(t, top)
	probe := streamtest.NewInput(d.Driver, "probes", str, str)
	seen := streamtest.NewOutput(d.Driver, "seen", str, str)
	joined := streamtest.NewOutput(d.Driver, "out", str, str)
	check := func(step, sees, becomes string) {
		t.Helper()
		probe.Pipe("k", "?", 0)
		want(t, step+": seen", sees, strings.Join(seen.ReadValues(), " "))
		want(t, step+": joined", becomes, strings.Join(joined.ReadValues(), " "))
	}
	d.pipe(t, "k:1@0")
	check("a row that waits", "false", "/1")
	d.pipe(t, "x:1@10")
	check("its time has come", "1true", "1/1 /1")
	d.pipe(t, "k:2@12")
	check("an update waits", "1true", "1/2")
	d.pipe(t, "k:@13")
	check("a deletion waits", "1true", "1/")
	d.pipe(t, "x:2@22")
	check("the row is deleted", "false", "2/2 2/2")
	log := streamtest.ReadTable(streamtest.NewOutput(d.Driver, "log", str, str))
	if got, want := log["k"], "+/1-/1+1/1-1/1+1/2-1/2+1/-1/"; got != want {
		t.Errorf("groups were told %s, want %s", got, want)
	}
}
