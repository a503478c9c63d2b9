package streamtest_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace.dev/stream"
)

// What a spec can be in the DSL. The nulls stream shows null values to functions, as Kafka Streams does: the nil
// pointer.
type (
	plain        = stream.Stream[value, value]
	nulls        = stream.Stream[value, *value]
	windows      = stream.Stream[stream.Windowed[value], value]
	table        = stream.Table[value, value]
	windowTable  = stream.Table[stream.Windowed[value], value]
	global       = stream.GlobalTable[value, value]
	windowRecord = stream.Record[stream.Windowed[value], value]
)

// lack names what the library does not have yet.
type lack string

func (l lack) Error() string { return "lacks " + string(l) }

// lacks returns what is missing, and whether err says nothing else.
func lacks(err error) (names []string, only bool) {
	switch e := err.(type) { //nolint:errorlint // the tree of errors itself is asked for
	case nil:
		return nil, true
	case lack:
		return []string{string(e)}, true
	case interface{ Unwrap() []error }:
		only = true
		for _, err := range e.Unwrap() {
			n, o := lacks(err)
			names, only = append(names, n...), only && o
		}
		return names, only
	case interface{ Unwrap() error }:
		return lacks(e.Unwrap())
	}
	return nil, false
}

// build makes topologies of specs.
type build struct {
	top     *stream.Topology
	made    map[string]made // by the JSON of the spec: the same spec is the same operator
	nulls   map[string]bool // topics whose records go to functions
	outputs map[string]bool // the topics that are written; whether the keys are windows
	numbers map[string]int
	early   bool // joins of streams as before KAFKA-19536
}

type made struct {
	what any
	err  error
}

// topology makes a topology. Where the spec names no sink, out is one.
func topology(s *spec, out string, early bool) (*build, error) {
	b := &build{
		// Event times may be anything: what is too far ahead is the library's own rule.
		top: stream.New("vectors", stream.MaxAhead(200*365*24*time.Hour)), made: map[string]made{},
		nulls: map[string]bool{}, outputs: map[string]bool{}, numbers: map[string]int{}, early: early,
	}
	s.walk(func(s *spec) {
		if s.seesNulls() {
			for _, of := range s.Of {
				if of.Op == "group_by_key" || of.Op == "group_by" {
					of = of.Of[0]
				}
				if of.Op == "stream" {
					b.nulls[of.Topic] = true
				}
			}
		}
	})
	if len(s.Sinks) > 0 {
		var errs []error
		for _, k := range s.Sinks {
			errs = append(errs, b.write(k.of, k.topic))
		}
		return b, errors.Join(errs...)
	}
	return b, b.write(s, out)
}

// name returns a name for an operator.
func (b *build) name(op string) string {
	b.numbers[op]++
	return fmt.Sprintf("%s-%d", strings.ReplaceAll(op, "_", "-"), b.numbers[op])
}

// write writes what a spec makes to a topic.
func (b *build) write(s *spec, topic string) error {
	x, err := b.make(s)
	if err != nil {
		return err
	}
	switch x := x.(type) {
	case table:
		x.ToStream().Values(values()).To(topic)
	case windowTable:
		b.writeWindows(x.ToStream(), topic)
	case windows:
		b.writeWindows(x, topic)
	case plain:
		x.Keys(values()).Values(values()).To(topic)
	case nulls:
		x.Keys(values()).Values(stream.Nullable(values())).To(topic)
	case nil: // the spec names its topics
		return nil
	default:
		return fmt.Errorf("a %T cannot be written", x)
	}
	b.outputs[topic] = b.outputs[topic] || false
	return nil
}

func (b *build) writeWindows(s windows, topic string) {
	s.Keys(stream.WindowedKey(values())).Values(values()).To(topic)
	b.outputs[topic] = true
}

// make makes what a spec says, once.
func (b *build) make(s *spec) (any, error) {
	if s == nil {
		return nil, errors.New("an operand is missing")
	}
	if m, ok := b.made[s.raw]; ok {
		return m.what, m.err
	}
	x, err := b.operator(s)
	if err != nil {
		if _, only := lacks(err); !only {
			err = fmt.Errorf("%s: %w", s.Op, err)
		}
	}
	b.made[s.raw] = made{x, err}
	return x, err
}

func (b *build) operator(s *spec) (any, error) {
	switch s.Op {
	case "stream":
		if b.nulls[s.Topic] {
			return stream.From(b.top, s.Topic, values(), stream.Nullable(values())), nil
		}
		return stream.From(b.top, s.Topic, values(), values()), nil
	case "table":
		return b.source(s)
	case "global_table":
		return stream.GlobalTableFrom(b.top, b.name("global"), s.Topic, values(), values()), nil
	case "change_stream":
		return stream.TableFrom(b.top, b.name("changes"), s.Topic, values(), values()), nil
	case "to_table", "to_stream", "repartition", "merge":
		return b.convert(s)
	case "group_by", "group_by_key":
		return b.group(s)
	case "count", "reduce", "aggregate", "table_aggregate", "table_reduce", "table_count":
		return b.aggregate(s)
	case "windowed_aggregate":
		return b.windowed(s)
	case "cogroup":
		return b.cogroup(s)
	case "suppress":
		return b.suppress(s)
	}
	if strings.HasSuffix(s.Op, "_join") {
		return b.join(s)
	}
	return b.stateless(s)
}

// operand makes the only operand.
func (b *build) operand(s *spec) (any, error) {
	if len(s.Of) != 1 {
		return nil, fmt.Errorf("%d operands: want one", len(s.Of))
	}
	return b.make(s.Of[0])
}

// convert makes operators that turn one thing into another.
func (b *build) convert(s *spec) (any, error) {
	if s.Op == "merge" {
		return b.merge(s)
	}
	x, err := b.operand(s)
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "to_stream":
		return b.toStream(s, x)
	case "to_table":
		p, err := b.plain(x)
		return stream.ToTable(p, b.name("to-table")), err
	default:
		p, err := b.plain(x)
		return p.Keys(values()).Values(values()).Repartition(b.name(s.Op)), err
	}
}

func (b *build) toStream(s *spec, x any) (any, error) {
	switch t := x.(type) {
	case table:
		x = t.ToStream()
	case windowTable:
		x = t.ToStream()
	default:
		return nil, fmt.Errorf("%T is not a table", x)
	}
	if s.KeyFn == "" {
		return x, nil
	}
	f, err := selectKeyOf(s.KeyFn)
	if err != nil {
		return nil, err
	}
	in, err := b.see(x)
	return stream.SelectKey(in, func(k value, v *value) value { return f(k, deref(v)) }).Keys(values()), err
}

func (b *build) merge(s *spec) (any, error) {
	var all []plain
	for _, of := range s.inputs() {
		x, err := b.make(of)
		if err != nil {
			return nil, err
		}
		p, err := b.plain(x)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) < 2 {
		return nil, errors.New("merge of less than two streams")
	}
	out := all[0]
	for _, p := range all[1:] {
		out = out.Merge(p)
	}
	return out, nil
}

// change turns records into records, with null where Kafka has null.
type change[K, V, K2, V2 any] struct {
	f    func(in *stream.Record[K, V], out *stream.Record[K2, V2])
	next *stream.ProcessorContext[K2, V2]
}

func (c *change[K, V, K2, V2]) Init(next *stream.ProcessorContext[K2, V2]) error {
	c.next = next
	return nil
}

func (c *change[K, V, K2, V2]) Process(in *stream.Record[K, V]) error {
	out := stream.Record[K2, V2]{Timestamp: in.Timestamp, Headers: in.Headers}
	c.f(in, &out)
	return c.next.Forward(&out)
}

func changed[K, V, K2, V2 any](s stream.Stream[K, V], f func(in *stream.Record[K, V], out *stream.Record[K2, V2])) stream.Stream[K2, V2] {
	return stream.Process(s, "", func() stream.Processor[K, V, K2, V2] { return &change[K, V, K2, V2]{f: f} })
}

// plain returns a stream whose nulls are flags, as operators with state want them.
func (b *build) plain(x any) (plain, error) {
	switch x := x.(type) {
	case plain:
		return x.Keys(values()).Values(values()), nil
	case nulls:
		return changed(x, func(in *stream.Record[value, *value], out *stream.Record[value, value]) {
			out.Key, out.NullKey = in.Key, in.Key == value{}
			out.Value, out.NullValue = deref(in.Value), deref(in.Value) == value{}
		}).Keys(values()).Values(values()), nil
	case windows:
		return changed(x, func(in *windowRecord, out *stream.Record[value, value]) {
			out.Key, out.Value, out.NullValue = in.Key.Key.in(in.Key.Start, in.Key.End), in.Value, in.NullValue
		}).Keys(values()).Values(values()), nil
	}
	return plain{}, fmt.Errorf("%T is not a stream", x)
}

// see returns a stream whose functions see nulls.
func (b *build) see(x any) (nulls, error) {
	if x, ok := x.(nulls); ok {
		return x, nil
	}
	p, err := b.plain(x)
	if err != nil {
		return nulls{}, err
	}
	return changed(p, func(in *stream.Record[value, value], out *stream.Record[value, *value]) {
		if out.Key = in.Key; !in.NullValue {
			out.Value = ref(in.Value)
		}
	}).Keys(values()).Values(stream.Nullable(values())), nil
}

func deref(v *value) value {
	if v == nil {
		return value{}
	}
	return *v
}

func ref(v value) *value {
	if v == (value{}) {
		return nil
	}
	return &v
}
