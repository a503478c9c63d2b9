package streamtest_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// ticks is a processor that sends on when it is called by the clock.
type ticks struct {
	c *stream.ProcessorContext[string, int64]
}

func (p *ticks) Init(c *stream.ProcessorContext[string, int64]) error {
	p.c = c
	start := c.Now().UnixMilli()
	c.OnWallClock(10*time.Millisecond, func(at int64) error {
		return c.Forward(&stream.Record[string, int64]{Key: "tick", Value: at - start, Timestamp: at})
	})
	return nil
}

func (p *ticks) Process(*stream.Record[string, string]) error { return nil }

func TestClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		move func(d *streamtest.Driver, by time.Duration)
		want []int64
	}{
		{"advance", (*streamtest.Driver).Advance, []int64{10, 20, 30, 40}},
		{"jump", (*streamtest.Driver).Jump, []int64{14, 35, 40}}, // as Kafka Streams' TopologyTestDriver
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("app")
			in := stream.From(top, "in", stream.String(), stream.String())
			stream.Process(in, "ticks", func() stream.Processor[string, string, string, int64] { return &ticks{} }).To("out")
			d := streamtest.New(t, top)
			for _, ms := range []int{5, 9, 1, 20, 5} {
				c.move(d, time.Duration(ms)*time.Millisecond)
			}
			if diff := cmp.Diff(c.want, streamtest.NewOutput(d, "out", stream.String(), stream.Int64()).ReadValues()); diff != "" {
				t.Error(diff)
			}
			if got := d.Now().Sub(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)); got != 40*time.Millisecond {
				t.Errorf("the clock has gone %v", got)
			}
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.IdleTimeout(time.Minute))
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.CountWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(10*time.Second)), "windows", stream.EmitOnClose()).ToStream().To("out")
	d := streamtest.New(t, top)
	src := streamtest.NewInput(d, "in", stream.String(), stream.String())
	src.PipeNext("a", "x")
	out := streamtest.NewOutput(d, "out", stream.WindowedKey(stream.String()), stream.Int64())
	d.Advance(time.Minute)
	if out.Len() > 0 {
		t.Error("the window has closed before stream time came to its end")
	}
	d.Advance(time.Minute)
	if r, ok := out.Read(); !ok || r.Value != 1 || r.Key.Key != "a" {
		t.Errorf("got %+v, %t", r, ok)
	}
}

// TestBatchesComeBackAtFixedPoints runs a function over batches that takes its time, beside a way without one: the
// order of what comes out is the same each time.
func TestBatchesComeBackAtFixedPoints(t *testing.T) {
	t.Parallel()
	run := func() string {
		top := stream.New("app")
		in := stream.From(top, "in", stream.String(), stream.Decimal())
		slow := stream.MapBatch(in, "slow", func(_ context.Context, b *stream.Batch[string, int64, int64]) error {
			for range b.In[0].Value % 7 * 50 {
				runtime.Gosched()
			}
			for i := range b.In {
				b.Out[i].Value = -b.In[i].Value
			}
			return nil
		}, stream.BatchOptions{MaxSize: 3, Concurrency: 4})
		slow.Merge(stream.MapValues(in, func(v int64) int64 { return v })).Keys(stream.String()).Values(stream.Decimal()).To("out")
		d := streamtest.New(t, top, streamtest.CommitByHand())
		src := streamtest.NewInput(d, "in", stream.String(), stream.Decimal())
		for i := range int64(20) {
			src.PipeAll(stream.Record[string, int64]{Key: "a", Value: 3 * i}, stream.Record[string, int64]{Key: "a", Value: 3*i + 1}, stream.Record[string, int64]{Key: "a", Value: 3*i + 2})
			if i%5 == 4 {
				d.Commit()
			}
		}
		return streamtest.NewOutput(d, "out", stream.String(), stream.Decimal()).Text()
	}
	want := run()
	for range 20 {
		if diff := cmp.Diff(want, run()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestBatchesWaitForTheClock(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	in := stream.From(top, "in", stream.String(), stream.Decimal())
	sizes := stream.MapBatch(in, "sizes", func(_ context.Context, b *stream.Batch[string, int64, int64]) error {
		for i := range b.In {
			b.Out[i].Value = int64(len(b.In))
		}
		return nil
	}, stream.BatchOptions{MaxSize: 10, MaxWait: time.Second})
	sizes.Keys(stream.String()).To("out")
	d := streamtest.New(t, top, streamtest.CommitByHand())
	src := streamtest.NewInput(d, "in", stream.String(), stream.Decimal())
	src.Pipe("a", 1, 1)
	d.Advance(time.Second / 2)
	src.Pipe("a", 2, 2)
	d.Advance(time.Second) // the first two, half a second after the second
	src.Pipe("a", 3, 3)
	d.Commit() // does not wait
	if diff := cmp.Diff([]int64{2, 2, 1}, streamtest.NewOutput(d, "out", stream.String(), stream.Decimal()).ReadValues()); diff != "" {
		t.Error(diff)
	}
}
