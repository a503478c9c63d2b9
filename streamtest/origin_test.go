package streamtest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestCarryOrigin follows a record through two repartition topics: its results name it, and not what is in between.
func TestCarryOrigin(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dlq"))
	s := stream.From(top, "in", stream.String(), stream.String())
	twice := func(_, v string) string { return v + v }
	s = stream.SelectKey(s, twice).Repartition("one", stream.CarryOrigin())
	s = stream.MapValues(s, func(v string) string { return "<" + v + ">" }).Values(stream.String())
	s = stream.SelectKey(s, twice).Repartition("two", stream.CarryOrigin())
	checked := stream.TryMapValues(s, func(_ context.Context, v string) (string, error) {
		if v == "<bad>" {
			return "", &stream.Rejection{Stage: "process", Class: "bad", Reason: "it is bad"}
		}
		return v, nil
	}, stream.OnError(stream.DeadLetter)).Values(stream.String())
	checked.To("out", stream.Provenance())
	d := streamtest.New(t, top, streamtest.Partitions(2))
	headers := []record.Header{{Key: "h", Value: []byte("x")}}
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	in.PipeTo(1, stream.Record[string, string]{Key: "k", Value: "good", Timestamp: 5, Headers: headers})
	in.PipeTo(1, stream.Record[string, string]{Key: "k", Value: "bad", Timestamp: 6, Headers: headers})
	r, _ := streamtest.NewOutput(d, "out", stream.String(), stream.String()).Read()
	want := stream.Record[string, string]{
		Key: "<good><good>", Value: "<good>", Timestamp: 5, Headers: append(headers[:1:1], record.Header{Key: "millrace.source", Value: []byte("in/1/0")}),
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	var letters []record.Raw
	for p := range int32(2) {
		letters = append(letters, d.Raw("dlq", p)...)
	}
	if len(letters) != 1 || string(letters[0].Key) != "k" || string(letters[0].Value) != "bad" {
		t.Fatalf("dead letters: %v", letters)
	}
	got := map[string]string{}
	for _, h := range letters[0].Headers {
		got[h.Key] = string(h.Value)
	}
	for k, want := range map[string]string{"h": "x", "millrace.dlq.topic": "in", "millrace.dlq.partition": "1", "millrace.dlq.offset": "1", "millrace.origin": ""} {
		if got[k] != want {
			t.Errorf("%s is %q, want %q", k, got[k], want)
		}
	}
	if x := d.Drops()[0].Record; x.Topic != "in" || x.Offset != 1 {
		t.Errorf("dropped: %+v", x)
	}
}

// TestKeepNullKeys has records without a key go through a repartition topic, where nothing that follows asks for them.
func TestKeepNullKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []stream.RepartitionOption
		want    map[string]int // what is dropped
	}{
		"default": {nil, map[string]int{"r-repartition-sink/null_key": 1}},
		"kept":    {[]stream.RepartitionOption{stream.KeepNullKeys()}, map[string]int{}},
	} {
		top := stream.New("app")
		s := stream.From(top, "in", stream.String(), stream.String())
		s.Repartition("r", c.options...).To("out")
		d := streamtest.New(t, top, streamtest.Partitions(3))
		in := streamtest.NewInput(d, "in", stream.String(), stream.String())
		in.PipeTo(2, stream.Record[string, string]{NullKey: true, Value: "v", Timestamp: 5})
		in.PipeTo(2, stream.Record[string, string]{Key: "k", Value: "w", Timestamp: 6})
		if diff := cmp.Diff(c.want, d.Dropped(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		out := d.Raw("out", 2)
		if kept := len(out) > 0 && out[0].Key == nil && string(out[0].Value) == "v"; kept != (name == "kept") {
			t.Errorf("%s: %v", name, out)
		}
	}
}

// TestGlobalsInBatches looks rows up in a function over batches.
func TestGlobalsInBatches(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	rows := stream.GlobalTableFrom(top, "rows", "rows", stream.String(), stream.Decimal())
	s := stream.From(top, "in", stream.String(), stream.String())
	stream.MapBatch(s, "look", func(_ context.Context, b *stream.Batch[string, string, string]) error {
		for i := range b.In {
			b.Out[i].Value = "none"
			if n, ok := rows.Get(b, b.In[i].Value); ok && n > 1 {
				b.Out[i].Value = "many"
			} else if ok {
				b.Out[i].Value = "one"
			}
		}
		return nil
	}, stream.BatchOptions{Globals: []stream.GlobalRef{rows}}).To("out")
	d := streamtest.New(t, top)
	table := streamtest.NewInput(d, "rows", stream.String(), stream.Decimal())
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	table.Pipe("a", 1, 0)
	in.Pipe("k", "a", 1)
	in.Pipe("k", "b", 2)
	table.Pipe("a", 2, 3)
	d.Crash()
	in.Pipe("k", "a", 4)
	if diff := cmp.Diff([]string{"one", "none", "many"}, streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadValues()); diff != "" {
		t.Error(diff)
	}
	desc, err := top.Description()
	if err != nil || !cmp.Equal(desc.Edges[0], stream.EdgeInfo{From: 0, To: 2, Kind: stream.EdgeRows}) {
		t.Errorf("%v, %v", desc.Edges, err)
	}
}

// TestBatchOrigin holds that a function over batches knows which record led to each, and that a topic that cannot take a
// note beside the result makes no dead letter of it.
func TestBatchOrigin(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dlq"))
	s := stream.From(top, "in", stream.String(), stream.String())
	s = stream.SelectKey(s, func(_, v string) string { return v }).Repartition("moved", stream.CarryOrigin())
	out := stream.MapBatch(s, "batch", func(_ context.Context, b *stream.Batch[string, string, string]) error {
		for i := range b.In {
			origin, ok := b.Origin(i)
			b.Out[i].Value = fmt.Sprintf("%s/%d/%d %s %t", origin.Topic, origin.Partition, origin.Offset, origin.Key, ok)
		}
		return nil
	}, stream.BatchOptions{}).Values(stream.String())
	out.To("out")
	nowhere := stream.PartitionBy(func(*stream.Record[string, string], int) int { return 99 })
	out.To("notes", nowhere, stream.WithoutLetters())
	d := streamtest.New(t, top, streamtest.Partitions(2))
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	in.PipeTo(1, stream.Record[string, string]{Key: "k", Value: "a", Timestamp: 5})
	in.PipeTo(1, stream.Record[string, string]{Key: "k", Value: "b", Timestamp: 6})
	got := streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadValues()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"in/1/0 k true", "in/1/1 k true"}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(d.Raw("dlq", 0)) + len(d.Raw("dlq", 1)); n != 0 || len(d.Drops()) != 2 || d.Drops()[0].Problem.Class != "unknown_partition" {
		t.Errorf("%d dead letters, %v", n, d.Drops())
	}
}
