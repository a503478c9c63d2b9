package app

import (
	"math"
	"slices"
	"strings"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/window"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// windowCodec is the codec of the states of a window's keys.
type windowCodec struct {
	of    *window.Window
	names []string // of the aggregates
}

// Append appends the bytes of a state.
func (c windowCodec) Append(dst []byte, s *window.State) ([]byte, error) { return s.Append(dst), nil }

// Decode reads what Append has written.
func (c windowCodec) Decode(b []byte) (*window.State, error) { return c.of.Decode(b) }

type windowStore = stream.Store[string, *window.State]

// windows takes the records by the windows from from up to to, which have one key.
func (r *route) windows(infos []feature.WindowInfo, from, to int) {
	name := infos[from].Name
	if r.moved || infos[from].KeyField == "" || infos[from].KeyField != r.p.Source.Key {
		r.move(name, func(o *pipeline.Observer) (string, bool) { return o.WindowKey(from) }, nil, false)
	}
	var stores []*windowStore
	var refs []stream.StoreRef
	before := 0
	for i := range infos[:from] {
		before += len(infos[i].Aggregates)
	}
	for i := from; i < to; i++ {
		compiled, err := pipeline.CompileWindow(&infos[i])
		if err != nil {
			continue // no model has such a window; a pipeline file that has it is refused when it is loaded
		}
		names := make([]string, len(infos[i].Aggregates))
		for k, aggregate := range infos[i].Aggregates {
			names[k] = aggregate.Name
		}
		s := stream.NewStore(infos[i].Name, stream.String(), stream.Codec[*window.State](windowCodec{compiled, names}))
		stores, refs = append(stores, s), append(refs, s)
	}
	r.records = stream.Process(r.records, name, func() stream.Processor[string, carried, string, carried] {
		return &observing{route: r, from: from, before: before, stores: stores}
	}, refs...)
}

// observing brings windows up to date with records, and has these carry the aggregates.
type observing struct {
	route    *route
	from     int // the first window
	before   int // the aggregates of the windows before it
	stores   []*windowStore
	ctx      *stream.ProcessorContext[string, carried]
	states   []*stream.State[string, *window.State]
	observer *pipeline.Observer
	clock    eventClock
	swept    int64 // when keys were last forgotten, in event time
	out      stream.Record[string, carried]
}

// Init opens the stores.
func (o *observing) Init(ctx *stream.ProcessorContext[string, carried]) (err error) {
	o.ctx, o.swept = ctx, math.MinInt64
	for _, s := range o.stores {
		o.states = append(o.states, stream.Open(ctx, s))
	}
	o.observer, err = o.route.observer()
	return err
}

// Process sends a record on with the aggregates.
func (o *observing) Process(r *stream.Record[string, carried]) error {
	o.out = *r
	origin, ok := o.ctx.Origin()
	if !ok {
		return o.ctx.Forward(&o.out)
	}
	o.observer.Take(originRecord(origin, r.Value.value))
	windows := append(make([]float64, 0, o.before+8), r.Value.windows...)
	for len(windows) < o.before {
		windows = append(windows, math.NaN())
	}
	for k := range o.stores {
		values, err := o.observer.Observe(o.from+k, o)
		if err != nil {
			return err
		}
		windows = append(windows, values...)
	}
	o.out.Value.windows = windows
	if err := o.forget(o.observer.EventTime()); err != nil {
		return err
	}
	return o.ctx.Forward(&o.out)
}

// State returns the state of a key.
func (o *observing) State(w int, key string) (*window.State, error) {
	s, ok, err := o.states[w-o.from].Get(strings.Clone(key)) // the store keeps the key
	if err == nil && !ok {
		s = o.observer.Windows.New(w)
	}
	return s, err
}

// Changed puts the state of a key into the store.
func (o *observing) Changed(w int, key string, s *window.State) error {
	return o.states[w-o.from].Put(string([]byte(key)), s)
}

// forgetAfter is how much longer the state of a key is kept than any record within its grace can ask for it.
const forgetAfter = 24 * time.Hour

// forget drops the states of keys that have had no record for long, now and then.
func (o *observing) forget(at int64) error {
	if at == record.MissingTime {
		return nil
	}
	now, ok := o.clock.tick(at)
	if !ok {
		return nil
	}
	now = min(now, o.ctx.Now().UnixMicro())
	if o.swept == math.MinInt64 {
		o.swept = now
	}
	for k := range o.states {
		spec := o.observer.Windows.Compiled(o.from + k).Spec()
		if now-o.swept < max(spec.Size/4, time.Hour).Microseconds() {
			return nil
		}
	}
	o.swept = now
	for _, states := range o.states {
		err := states.All(func(key string, s *window.State) (bool, error) {
			if s.Expired(now - forgetAfter.Microseconds()) {
				return true, states.Delete(key)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eventClock tells what time it is by the event times of records, of whatever keys: the median of some in a row, so that
// one with a wrong clock has no say in what is forgotten of others.
type eventClock struct {
	times []int64
}

// ticks is how many event times make a time.
const ticks = 63

// tick takes the time of a record into account, and tells the time now and then.
func (c *eventClock) tick(at int64) (int64, bool) {
	if c.times = append(c.times, at); len(c.times) < ticks {
		return 0, false
	}
	return c.tell()
}

// tell tells the time by those that came since it was last told; false if there was none.
func (c *eventClock) tell() (int64, bool) {
	if len(c.times) == 0 {
		return 0, false
	}
	slices.Sort(c.times)
	median := c.times[len(c.times)/2]
	c.times = c.times[:0]
	return median, true
}
