package stream_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestRowsOfSeveralGroupsExpire has the records of one group, and then the clock alone, let rows go that another one has made, and
// looks at what a join with the table says.
func TestRowsOfSeveralGroupsExpire(t *testing.T) {
	t.Parallel()
	str := stream.String()
	top := stream.New("expiring", stream.IdleTimeout(time.Second))
	add := func(_, v, a string) string { return a + v }
	group := func(topic string) stream.Grouped[string, string] {
		return stream.GroupByKey(stream.From(top, topic, str, str))
	}
	c := stream.CogroupWith(stream.Cogroup(group("one"), add), group("two"), add)
	all := stream.AggregateCogroup(c, "all", str, func() string { return "" }, stream.TTL(time.Minute))
	stream.JoinTables(all, stream.TableFrom(top, "rows", "rows", str, str), func(a, b string) string { return a + b }).ToStream().Values(str).To("out")
	d := streamtest.New(t, top)
	out := streamtest.NewOutput(d, "out", str, str)
	now := d.Now().UnixMilli()
	rows := streamtest.NewInput(d, "rows", str, str)
	rows.Pipe("k", "!", now)
	rows.Pipe("l", "!", now)
	streamtest.NewInput(d, "one", str, str).Pipe("k", "a", now)
	two := streamtest.NewInput(d, "two", str, str)
	two.Pipe("k", "b", now)
	d.Advance(time.Minute)
	two.Pipe("l", "c", now+65_000)
	if diff := cmp.Diff([]string{"k=a!", "k=ab!", "k=null", "l=c!"}, shownRecords(out)); diff != "" {
		t.Errorf("by a record (-want +got):\n%s", diff)
	}
	d.Advance(3 * time.Minute)
	if diff := cmp.Diff([]string{"l=null"}, shownRecords(out)); diff != "" {
		t.Errorf("by the clock (-want +got):\n%s", diff)
	}
}
