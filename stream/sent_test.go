package stream_test

import (
	"testing"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestOldResults: what a result of a join was before is computed where somebody looks at it, as a group does that it leaves, and only there.
func TestOldResults(t *testing.T) {
	t.Parallel()
	text := stream.String()
	for name, join := range map[string]func(l, r textTable, joiner func(l, r string) string) textTable{
		"tables": func(l, r textTable, joiner func(l, r string) string) textTable {
			return stream.JoinTables(l, r, joiner)
		},
		"tables of one table": func(l, _ textTable, joiner func(l, r string) string) textTable {
			return stream.JoinTables(l, l.Filter(func(string, string) bool { return true }), joiner)
		},
		"foreign key": func(l, r textTable, joiner func(l, r string) string) textTable {
			return stream.JoinForeignKey(l, r, "join", func(string, string) (string, bool) { return "k", true }, joiner)
		},
	} {
		for _, grouped := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", grouped"}[grouped], func(t *testing.T) {
				t.Parallel()
				top := stream.New("app")
				calls := 0
				joined := join(stream.TableFrom(top, "l", "left", text, text), stream.TableFrom(top, "r", "right", text, text), func(l, r string) string {
					calls++
					return l + r
				}).Values(text)
				joined.ToStream().To("out")
				if grouped {
					byValue := stream.GroupTable(joined, text, text, func(_, v string) (string, string) { return v, v })
					stream.CountTable(byValue, "counts").ToStream().To("counts")
				}
				d := streamtest.New(t, top)
				left, right := streamtest.NewInput(d, "left", text, text), streamtest.NewInput(d, "right", text, text)
				right.Pipe("k", "x", 1)
				for i, l := range []string{"a", "b", "b", "c"} {
					left.Pipe("k", l, int64(2+i))
				}
				right.Pipe("k", "y", 6)
				left.PipeRecord(stream.Record[string, string]{Key: "k", NullValue: true, Timestamp: 7})

				results := len(resultsOf(streamtest.NewOutput(d, "out", text, text)))
				if !grouped {
					if made := results - 1; results < 2 || calls != made { // the last is a deletion
						t.Errorf("the joiner was called %d times for %d results", calls, made)
					}
					return
				}
				for v, n := range streamtest.ReadTable(streamtest.NewOutput(d, "counts", text, stream.Int64())) {
					if n != 0 {
						t.Errorf("%d rows are left in the group %s", n, v)
					}
				}
			})
		}
	}
}

// TestOldRightRows: the right side of a join by a foreign key does not look at what its rows were.
func TestOldRightRows(t *testing.T) {
	t.Parallel()
	text := stream.String()
	top := stream.New("app")
	calls := 0
	one, two := stream.TableFrom(top, "one", "first", text, text), stream.TableFrom(top, "two", "second", text, text)
	joined := stream.JoinTables(one, two, func(a, b string) string {
		calls++
		return a + b
	}).Values(text)
	left := stream.TableFrom(top, "l", "left", text, text)
	foreign := func(string, string) (string, bool) { return "k", true }
	stream.JoinForeignKey(left, joined, "join", foreign, func(l, r string) string { return l + r }).Values(text).ToStream().To("out")
	d := streamtest.New(t, top)
	streamtest.NewInput(d, "second", text, text).Pipe("k", "x", 1)
	first := streamtest.NewInput(d, "first", text, text)
	for i := range 3 {
		first.Pipe("k", "y", int64(2+i))
		if calls != 1+i {
			t.Errorf("the joiner was called %d times for %d rows", calls, 1+i)
		}
	}
}
