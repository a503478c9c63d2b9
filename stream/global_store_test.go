package stream_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// letters is a state of one's own: how often each first letter has come.
type letters struct{ n map[byte]int }

func (l *letters) Apply(r *record.Raw) *stream.Rejection {
	if len(r.Value) == 0 {
		return &stream.Rejection{Stage: record.StageTable, Class: "empty", Field: "f", Reason: "it is empty"}
	}
	l.n[r.Value[0]]++
	return nil
}

func (l *letters) Len() int { return len(l.n) }

// TestGlobalStore reads a topic into a state of one's own: before anything else, on after that, and anew after a crash; what
// it cannot take is dropped once, with a dead letter.
func TestGlobalStore(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dlq"))
	store := stream.GlobalStoreFrom(top, "letters", "texts", func() *letters { return &letters{map[byte]int{}} })
	s := stream.From(top, "in", stream.String(), stream.String())
	stream.MapBatch(s, "count", func(_ context.Context, b *stream.Batch[string, string, string]) error {
		state := store.In(b)
		for i := range b.In {
			b.Out[i].Value = strings.Repeat("*", state.n[b.In[i].Value[0]])
		}
		return nil
	}, stream.BatchOptions{Globals: []stream.GlobalRef{store}}).Values(stream.String()).To("out")
	d := streamtest.New(t, top, streamtest.Partitions(2), streamtest.Partitions(3, "texts"))
	texts := streamtest.NewInput(d, "texts", stream.String(), stream.String())
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	step := func(want string) {
		t.Helper()
		in.Pipe("k", "a", 1)
		if diff := cmp.Diff([]string{want}, out.ReadValues()); diff != "" {
			t.Error(diff)
		}
	}
	step("")
	for _, text := range []string{"a", "b", "", "abc"} {
		texts.Pipe(text+"key", text, 1)
	}
	step("**")
	d.Crash()
	step("**")
	d.LoseState()
	step("**")
	texts.Pipe("more", "a", 1)
	step("***")
	if diff := cmp.Diff(map[string]int{"letters/empty": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
	n := len(d.Raw("dlq", 0)) + len(d.Raw("dlq", 1))
	if n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// TestGlobalStoreFaults are declarations that cannot be.
func TestGlobalStoreFaults(t *testing.T) {
	t.Parallel()
	for want, declare := range map[string]func(top *stream.Topology){
		"newState": func(top *stream.Topology) { stream.GlobalStoreFrom[*letters](top, "a", "texts", nil) },
		"name":     func(top *stream.Topology) { stream.GlobalStoreFrom(top, "", "texts", func() *letters { return nil }) },
		"topic":    func(top *stream.Topology) { stream.GlobalStoreFrom(top, "a", "", func() *letters { return nil }) },
	} {
		top := stream.New("app")
		stream.From(top, "in", stream.String(), stream.String()).To("out")
		declare(top)
		if err := top.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
