package stream_test

import (
	"fmt"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// finals are the records of a topic of windows.
func finals(out *streamtest.Output[stream.Windowed[string], string]) (s []string) {
	for _, r := range out.ReadAll() {
		value := r.Value
		if r.NullValue {
			value = "null"
		}
		s = append(s, fmt.Sprintf("%s[%d,%d)=%s", r.Key.Key, r.Key.Start, r.Key.End, value))
	}
	return s
}

// TestSuppressedDeletionOfClosedWindow has the other side of a join change the row of a window that was sent on.
func TestSuppressedDeletionOfClosedWindow(t *testing.T) {
	t.Parallel()
	top, text, windows := stream.New("final"), stream.String(), stream.WindowedKey(stream.String())
	counts := stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "counts", stream.Retention(time.Hour))
	names := stream.TableFrom(top, "names", "names", windows, text)
	both := stream.JoinTables(counts, names, func(n int64, name string) string { return fmt.Sprint(n, name) }).Values(text)
	stream.SuppressUntilWindowCloses(both, "final", stream.Unbounded()).ToStream().To("out")
	d := streamtest.New(t, top)
	in, named := streamtest.NewInput(d, "in", text, text), streamtest.NewInput(d, "names", windows, text)
	out := streamtest.NewOutput(d, "out", windows, text)
	first, last := stream.Windowed[string]{Key: "k", End: 10}, stream.Windowed[string]{Key: "k", Start: 20, End: 30}
	named.Pipe(first, "a", 1)
	named.Pipe(last, "x", 1)
	in.Pipe("k", "", 1)
	in.Pipe("k", "", 25)
	want(t, "of the closed window", "[k[0,10)=1a]", fmt.Sprint(finals(out)))
	named.Pipe(first, "b", 26)
	want(t, "of its change", "[k[0,10)=1b]", fmt.Sprint(finals(out)))
	named.PipeRecord(stream.Record[stream.Windowed[string], string]{Key: first, NullValue: true, Timestamp: 27})
	want(t, "of its deletion", "[]", fmt.Sprint(finals(out)))
}

// TestSuppressTwice: windows that are sent on once, when they close, are not to wait for that again.
func TestSuppressTwice(t *testing.T) {
	t.Parallel()
	const once = "suppress-until-window-closes: the table sends each window on once already"
	windows := func(in texts, opts ...stream.WindowOption) stream.Table[stream.Windowed[string], string] {
		return join(stream.GroupByKey(in), stream.Tumbling(ms(10)), opts...)
	}
	final := func(t stream.Table[stream.Windowed[string], string], name string) stream.Table[stream.Windowed[string], string] {
		return stream.SuppressUntilWindowCloses(t, name, stream.Unbounded())
	}
	expectFaults(t, []faulty{
		{"emitted on close", func(_ *stream.Topology, in texts) { final(windows(in, stream.EmitOnClose()), "final") }, once},
		{"suppressed", func(_ *stream.Topology, in texts) { final(final(windows(in), "first"), "final") }, once},
		{"mapped", func(_ *stream.Topology, in texts) {
			rows := stream.MapTable(windows(in, stream.EmitOnClose()), func(_ stream.Windowed[string], v string) string { return v })
			final(rows.Filter(func(stream.Windowed[string], string) bool { return true }), "final")
		}, once},
		{"sessions", func(_ *stream.Topology, in texts) {
			s := stream.WindowedBySessions(stream.GroupByKey(in), stream.Sessions(ms(10)))
			stream.SuppressUntilWindowCloses(stream.CountSessions(s, "n", stream.EmitOnClose()), "final", stream.Unbounded())
		}, once},
	})
}
