package streamtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// teller says with which epoch it was called.
type teller struct {
	c *stream.ProcessorContext[string, string]
}

func (p *teller) Init(c *stream.ProcessorContext[string, string]) error {
	p.c = c
	return nil
}

func (p *teller) Process(r *stream.Record[string, string]) error {
	out := *r
	out.Value = fmt.Sprintf("%s p%d", r.Value, p.c.Epoch())
	return p.c.Forward(&out)
}

// epochs is an application whose output says with which epochs it was computed: in a processor, and in batches that are
// made of its output, of up to two records.
func epochs() *stream.Topology {
	t := stream.New("app")
	in := stream.From(t, "in", stream.String(), stream.String())
	told := stream.Process(in, "tell", func() stream.Processor[string, string, string, string] { return &teller{} })
	stream.MapBatch(told, "batch", func(_ context.Context, b *stream.Batch[string, string, string]) error {
		for i := range b.In {
			b.Out[i].Value = fmt.Sprintf("%s b%d", b.In[i].Value, b.Epoch)
		}
		return nil
	}, stream.BatchOptions{MaxSize: 2, Concurrency: 2}).To("out")
	return t
}

func TestSetEpoch(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, epochs(), streamtest.CommitByHand())
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	want := func(values ...string) {
		t.Helper()
		if diff := cmp.Diff(values, out.ReadValues()); diff != "" {
			t.Error(diff)
		}
	}
	in.Pipe("k", "a", 0)
	d.Commit()
	want("a p0 b0")
	d.SetEpoch(5) // nothing is in hand: at once
	in.Pipe("k", "b", 0)
	d.SetEpoch(7) // from the next commit on
	in.Pipe("k", "c", 0)
	in.Pipe("k", "d", 0)
	d.Commit()
	d.SetEpoch(6) // there was a higher one
	in.Pipe("k", "e", 0)
	d.Commit()
	want("b p5 b5", "c p5 b5", "d p5 b5", "e p7 b7")
	in.Pipe("k", "f", 0)
	d.SetEpoch(8)
	d.Crash() // before f was committed, which is done again
	in.Pipe("k", "g", 0)
	d.Commit()
	want("f p8 b8", "g p8 b8")
}

func TestSetEpochAfterEach(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, epochs(), streamtest.Partitions(2))
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	in.Pipe("k", "a", 0)
	d.SetEpoch(3)
	in.Pipe("k", "b", 0)
	in.Pipe("another", "c", 0)
	if diff := cmp.Diff([]string{"a p0 b0", "b p3 b3", "c p3 b3"}, out.ReadValues()); diff != "" {
		t.Error(diff)
	}
}
