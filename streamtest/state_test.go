package streamtest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

func TestStateOf(t *testing.T) {
	t.Parallel()
	text := stream.String()
	top := stream.New("app")
	in := stream.From(top, "in", text, text)
	stream.Count(stream.GroupByKey(in), "counts")
	stream.CountWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(10*time.Millisecond)), "windows", stream.Retention(time.Second))
	stream.TableFrom(top, "rows", "rows", text, text, stream.Versioned(time.Minute))
	seen := stream.NewStore("seen", text, stream.Int64())
	stream.Process(in, "see", func() stream.Processor[string, string, string, string] { return &see{store: seen} }, seen)
	d := streamtest.New(t, top, streamtest.Partitions(3))
	src := streamtest.NewInput(d, "in", text, text)
	for i, k := range []string{"a", "b", "a", "c", "a"} {
		src.Pipe(k, "x", int64(4*i))
	}
	rows := streamtest.NewInput(d, "rows", text, text)
	rows.Pipe("a", "old", 1)
	rows.Pipe("a", "new", 2)
	for name, check := range map[string]func() string{
		"counts": func() string {
			return cmp.Diff(map[string]int64{"a": 3, "b": 1, "c": 1}, streamtest.StateOf(d, "counts", text, stream.Int64()))
		},
		"windows": func() string {
			want := map[stream.Windowed[string]]int64{{Key: "a", End: 10}: 2, {Key: "b", End: 10}: 1, {Key: "c", Start: 10, End: 20}: 1, {Key: "a", Start: 10, End: 20}: 1}
			return cmp.Diff(want, streamtest.StateOf(d, "windows", stream.WindowedKey(text), stream.Int64()))
		},
		"rows": func() string {
			return cmp.Diff(map[string]string{"a": "new"}, streamtest.StateOf(d, "rows", text, text))
		},
		"seen": func() string {
			return cmp.Diff(map[string]int64{"a": 16, "b": 4, "c": 12}, streamtest.StateOf(d, "seen", text, stream.Int64()))
		},
	} {
		if diff := check(); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	list := streamtest.RowsOf(d, "counts", text, stream.Int64())
	for _, r := range list {
		if n := len(d.Raw("in", r.Partition)); r.Key == "a" && (r.Timestamp != 16 || n < 3) {
			t.Errorf("%+v in a partition of %d records", r, n)
		}
	}
	if diff := cmp.Diff([]string{"counts", "rows", "seen", "windows"}, d.Stores()); diff != "" {
		t.Error(diff)
	}
}

// see keeps when it has seen a key last.
type see struct {
	store *stream.Store[string, int64]
	rows  *stream.State[string, int64]
}

func (s *see) Init(c *stream.ProcessorContext[string, string]) error {
	s.rows = stream.Open(c, s.store)
	return nil
}

func (s *see) Process(r *stream.Record[string, string]) error { return s.rows.Put(r.Key, r.Timestamp) }
