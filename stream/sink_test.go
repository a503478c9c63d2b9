package stream_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

func TestPartitionBy(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dead"))
	stream.From(top, "in", stream.String(), stream.Int64()).To("out", stream.PartitionBy(func(r *stream.Record[string, int64], partitions int) int {
		switch {
		case r.NullValue:
			return partitions - 1
		case r.NullKey:
			return -1
		default:
			return int(r.Value)
		}
	}))
	d := streamtest.New(t, top, streamtest.Partitions(2, "in"), streamtest.Partitions(5, "out"))
	in := streamtest.NewInput(d, "in", stream.String(), stream.Int64())
	in.Pipe("a", 3, 1)
	in.Pipe("a", 0, 2)
	in.Pipe("a", 5, 3) // which there is not
	in.Pipe("a", -7, 4)
	in.PipeRecord(stream.Record[string, int64]{Key: "a", NullValue: true, Timestamp: 5})
	in.PipeTo(1, stream.Record[string, int64]{NullKey: true, Timestamp: 6})

	byKey := streamtest.New(t, copied(), streamtest.Partitions(5, "out"))
	streamtest.NewInput(byKey, "in", stream.String(), stream.Int64()).Pipe("a", 1, 1)
	want := map[int32][]int64{3: {1}, 0: {2}, 4: {5}, 1: {6}}
	for p := range int32(5) {
		if len(byKey.Raw("out", p)) > 0 { // where a key goes by default
			want[p] = append([]int64{4}, want[p]...)
		}
	}
	got := map[int32][]int64{}
	for p := range int32(5) {
		for _, r := range d.Raw("out", p) {
			got[p] = append(got[p], r.Timestamp)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times by partition (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"sink-1/unknown_partition": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
	if n := len(d.Raw("dead", 0)); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// copied copies a topic.
func copied() *stream.Topology {
	top := stream.New("copy")
	stream.From(top, "in", stream.String(), stream.Int64()).To("out")
	return top
}

func TestPartitionByOtherTypes(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	stream.From(top, "in", stream.String(), stream.Int64()).To("out", stream.PartitionBy(func(*stream.Record[string, string], int) int { return 0 }))
	if err := top.Err(); err == nil || !strings.Contains(err.Error(), "sink_test.go") || !strings.Contains(err.Error(), "PartitionBy takes") {
		t.Errorf("got %v", err)
	}
}
