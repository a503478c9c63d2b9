package stream_test

import (
	"slices"
	"strings"
	"testing"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// ranger keeps its values as keys, and answers "from..to" with those that lie between.
type ranger struct {
	store *stream.Store[string, int64]
	ctx   *stream.ProcessorContext[string, string]
	rows  *stream.State[string, int64]
}

func (r *ranger) Init(c *stream.ProcessorContext[string, string]) error {
	r.ctx, r.rows = c, stream.Open(c, r.store)
	return nil
}

func (r *ranger) Process(in *stream.Record[string, string]) error {
	from, to, ok := strings.Cut(in.Value, "..")
	if !ok {
		return r.rows.Put(in.Value, 1)
	}
	var found []string
	err := r.rows.Range(from, to, func(key string, _ int64) (bool, error) {
		found = append(found, key)
		if err := r.rows.Put(key+"'", 1); err != nil { // it is not seen by this call
			return false, err
		}
		return len(found) < 3, r.rows.Delete(key)
	})
	if err != nil {
		return err
	}
	return r.ctx.Forward(&stream.Record[string, string]{Key: in.Key, Value: strings.Join(found, " ")})
}

func TestRangeOfAStore(t *testing.T) {
	t.Parallel()
	topology := stream.New("ranges")
	store := stream.NewStore("rows", stream.String(), stream.Int64())
	in := stream.From(topology, "in", stream.String(), stream.String())
	out := stream.Process(in, "range", func() stream.Processor[string, string, string, string] { return &ranger{store: store} }, store)
	out.Keys(stream.String()).Values(stream.String()).To("out")
	d := streamtest.New(t, topology)
	input := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for i, value := range []string{"b", "a", "d", "c", "e", "ä", "b..d", "a..c", "c..c", "d..b", "e..\xff", "..z"} {
		input.Pipe("k", value, int64(i))
	}
	got := streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadValues()
	want := []string{"b c", "a b'", "", "", "e ä", "a' b'' c'"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
