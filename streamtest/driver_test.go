package streamtest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

func TestCountByWord(t *testing.T) {
	t.Parallel()
	top := stream.New("words")
	lines := stream.From(top, "lines", stream.String(), stream.String())
	words := stream.FlatMapValues(lines, strings.Fields)
	counts := stream.Count(stream.GroupBy(words, stream.String(), func(_, w string) string { return w }), "counts")
	counts.ToStream().To("counts")
	d := streamtest.New(t, top, streamtest.Partitions(3))
	in := streamtest.NewInput(d, "lines", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "counts", stream.String(), stream.Int64())
	in.Pipe("a", "to be or not to be", 1)
	d.Crash()
	in.Pipe("b", "to", 2)
	d.Rebalance(1, 0)
	d.Rebalance(1, 1)
	d.Rebalance(1, 2)
	in.Pipe("b", "to", 3)
	got := map[string]int64{}
	for _, r := range out.ReadAll() {
		got[r.Key] = r.Value
	}
	if diff := cmp.Diff(map[string]int64{"to": 4, "be": 2, "or": 1, "not": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestJoins(t *testing.T) {
	t.Parallel()
	top := stream.New("joins")
	homes := stream.From(top, "homes", stream.String(), stream.String())
	zips := stream.TableFrom(top, "zips", "zips", stream.String(), stream.String())
	states := stream.GlobalTableFrom(top, "states", "states", stream.String(), stream.String())
	joined := stream.LeftJoinTable(homes, zips, "with-zip", func(h, z string, ok bool) string {
		if !ok {
			return h + "/-"
		}
		return h + "/" + z
	})
	stream.JoinGlobal(joined, states, func(_, v string) (string, bool) { return v[:1], true }, func(v, s string) string { return v + "/" + s }).To("out")
	d := streamtest.New(t, top)
	in := streamtest.NewInput(d, "homes", stream.String(), stream.String())
	streamtest.NewInput(d, "states", stream.String(), stream.String()).Pipe("x", "WA", 0)
	in.Pipe("k", "x1", 1)
	streamtest.NewInput(d, "zips", stream.String(), stream.String()).Pipe("k", "98101", 2)
	in.Pipe("k", "x2", 3)
	in.Pipe("k", "y3", 3)
	var got []string
	for _, r := range streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadAll() {
		got = append(got, r.Value)
	}
	if diff := cmp.Diff([]string{"x1/-/WA", "x2/98101/WA"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMapBatch(t *testing.T) {
	t.Parallel()
	top := stream.New("batches")
	in := stream.From(top, "in", stream.String(), stream.Decimal())
	out := stream.MapBatch(in, "double", double, stream.BatchOptions{MaxSize: 7, Concurrency: 3})
	out.To("out")
	d := streamtest.New(t, top, streamtest.CommitByHand())
	src := streamtest.NewInput(d, "in", stream.String(), stream.Decimal())
	for i := range int64(100) {
		src.Pipe("k", i, i)
	}
	d.Commit()
	for i := range int64(100) {
		r, ok := streamtest.NewOutput(d, "out", stream.String(), stream.Decimal()).Read()
		if !ok || r.Value != 2*i {
			t.Fatalf("record %d: got %d, %v", i, r.Value, ok)
		}
	}
}

func double(_ context.Context, b *stream.Batch[string, int64, int64]) error {
	for i := range b.In {
		b.Out[i].Value = 2 * b.In[i].Value
	}
	return nil
}
