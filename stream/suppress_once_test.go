package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// finalRows has the windows of the topic in be sent on when they close.
func finalRows(opts []stream.TopologyOption, of func(stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string]) *stream.Topology {
	top := stream.New("final", opts...)
	rows := of(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())))
	stream.SuppressUntilWindowCloses(rows, "final", stream.Unbounded()).ToStream().To("out")
	return top
}

// TestSuppressSendsWindowsOnce has records come with the very time at which a window was sent on. The window takes them, but is
// not sent on again, also not after a crash.
func TestSuppressSendsWindowsOnce(t *testing.T) {
	t.Parallel()
	sliding := func(opts ...stream.WindowOption) func(stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string] {
		return func(g stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string] {
			return join(g, stream.Sliding(ms(10)), opts...)
		}
	}
	sessions := func(opts ...stream.WindowOption) func(stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string] {
		return func(g stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string] {
			add := func(a, v string) string { return a + "+" + v }
			return stream.ReduceSessions(stream.WindowedBySessions(g, stream.Sessions(ms(10))), "reduced", add, opts...)
		}
	}
	tests := []struct {
		name     string
		of       func(stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string]
		at, then string // the records up to the time at which a window is sent on, and those of that time
		want     string
		late     int
		next     string // what time has gone on makes of it
	}{
		{"sliding windows", sliding(), "k:a@20", "k:b@20 l:c@20 k:d@20", "k[10,20]=+a@20 l[10,20]=+c@20", 2, ""},
		{"sliding windows, sent at commits", sliding(stream.EmitOnCommit()), "k:a@20", "k:b@20 l:c@20 k:d@20", "k[10,20]=+a@20 l[10,20]=+c@20", 2, ""},
		{"sessions", sessions(), "l:a@20", "k:b@10 k:c@10", "k[10,10]=b@10", 1, "l[20,20]=a@20"},
	}
	for _, test := range tests {
		for _, fault := range []string{"none", "crash", "lost state"} {
			t.Run(test.name+", fault "+fault, func(t *testing.T) {
				t.Parallel()
				d := drive(t, finalRows(nil, test.of), streamtest.OnDisk())
				d.pipe(t, test.at)
				for text := range strings.FieldsSeq(test.then) {
					switch fault {
					case "crash":
						d.Crash()
					case "lost state":
						d.LoseState()
					}
					d.pipe(t, text)
				}
				want(t, "of the windows that are sent on", test.want, d.readSliding())
				late := 0
				for _, x := range d.Drops() {
					if late += x.Count; x.Problem.Class != "late" {
						t.Errorf("dropped with class %s", x.Problem.Class)
					}
				}
				if late != test.late {
					t.Errorf("%d late, want %d", late, test.late)
				}
				d.pipe(t, "m:x@30")
				if test.next != "" {
					want(t, "of the next", test.next, d.readSliding())
				}
			})
		}
	}
}

// TestSuppressOfHeldRowsAndIdleTasks: updates that wait for the commit are in the windows that the clock closes before it.
func TestSuppressOfHeldRowsAndIdleTasks(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := start.UnixMilli()
	top := finalRows([]stream.TopologyOption{stream.IdleTimeout(time.Minute)}, func(g stream.Grouped[string, string]) stream.Table[stream.Windowed[string], string] {
		return join(g, stream.Tumbling(time.Minute), stream.EmitOnCommit())
	})
	d := drive(t, top, streamtest.StartAt(start), streamtest.CommitByHand())
	d.in.Pipe("k", "a", at)
	d.Commit()
	d.in.Pipe("k", "b", at)
	d.Advance(3 * time.Minute)
	d.Commit()
	d.Advance(3 * time.Minute)
	d.Commit()
	want(t, "of the window", fmt.Sprintf("k[%d,%d)=+a+b@%d", at, at+60_000, at), d.read())
}
