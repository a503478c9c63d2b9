package stream_test

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// aged is a topology whose tables lose rows by age: a table, an aggregation, and a store of a processor.
func aged(ttl time.Duration, opts ...stream.StoreOption) *stream.Topology {
	opts = append([]stream.StoreOption{stream.TTL(ttl), stream.CacheRows(2)}, opts...)
	top := stream.New("aged")
	in := stream.From(top, "in", stream.String(), stream.String())
	var tableOpts []stream.TableOption
	for _, o := range opts {
		tableOpts = append(tableOpts, o)
	}
	rows := stream.ToTable(in, "rows", tableOpts...)
	rows.ToStream().To("rows")
	rows.Filter(func(_, v string) bool { return v != "" }, stream.Named("all")).ToStream().To("filtered")
	add := func(_, v, a string) string { return a + "+" + v }
	stream.Aggregate(stream.GroupByKey(in), "sums", stream.String(), func() string { return "" }, add, opts...).ToStream().To("sums")
	probes := stream.From(top, "probes", stream.String(), stream.String())
	stream.LeftJoinTable(probes, rows, "join", func(v, row string, ok bool) string { return fmt.Sprint(v, row, ok) }).To("joined")
	return top
}

// agedModel is one partition of it, with all that was ever written.
type agedModel struct {
	ttl, time int64
	rows      map[string]event
	sums      map[string]event
	late      int
	out       map[string]map[string][]string // by topic and key
}

func newAgedModel(ttl int64) *agedModel {
	return &agedModel{ttl: ttl, time: math.MinInt64 / 2, rows: map[string]event{}, sums: map[string]event{}, out: map[string]map[string][]string{"rows": {}, "sums": {}, "joined": {}}}
}

func (m *agedModel) emit(topic, key, value string, at int64) {
	m.out[topic][key] = append(m.out[topic][key], result{key, value, at}.String())
}

// gone deletes the row of a key if it is too old.
func (m *agedModel) gone(topic string, rows map[string]event, key string) {
	if r, ok := rows[key]; ok && m.time-r.at > m.ttl {
		delete(rows, key)
		m.emit(topic, key, "", r.at+m.ttl+1)
	}
}

func (m *agedModel) process(e event) {
	m.time = max(m.time, e.at)
	if m.time-e.at > m.ttl {
		m.late += 2 // the table and the aggregation drop it
		return
	}
	m.gone("rows", m.rows, e.key)
	m.gone("sums", m.sums, e.key)
	m.emit("rows", e.key, e.value, e.at)
	if e.value == "" {
		delete(m.rows, e.key)
		m.late++ // which the aggregation drops
		return
	}
	m.rows[e.key] = e
	sum := m.sums[e.key]
	sum.value, sum.at = sum.value+"+"+e.value, max(sum.at, e.at)
	m.sums[e.key] = sum
	m.emit("sums", e.key, sum.value, sum.at)
}

// probe looks a row up.
func (m *agedModel) probe(e event) {
	r, ok := m.rows[e.key]
	if ok = ok && m.time-r.at <= m.ttl; !ok {
		r = event{}
	}
	m.emit("joined", e.key, fmt.Sprint(e.value, r.value, ok), e.at)
}

// TestTTLSurvivesFaults compares what comes of each key with a recomputation, while the application crashes, rounds are
// undone and tasks move.
func TestTTLSurvivesFaults(t *testing.T) {
	t.Parallel()
	const partitions = 2
	rapid.Check(t, func(rt *rapid.T) {
		ttl := rapid.Int64Range(1, 100).Draw(rt, "ttl")
		opts := []streamtest.Option{streamtest.Partitions(partitions)}
		if rapid.Bool().Draw(rt, "by hand") {
			opts = append(opts, streamtest.CommitByHand())
		}
		if rapid.IntRange(0, 9).Draw(rt, "on disk") == 0 {
			opts = append(opts, streamtest.OnDisk())
		}
		d := streamtest.New(t, aged(ms(ttl)), opts...)
		in := streamtest.NewInput(d, "in", stream.String(), stream.String())
		probes := streamtest.NewInput(d, "probes", stream.String(), stream.String())
		var models [partitions]*agedModel
		for p := range models {
			models[p] = newAgedModel(ttl)
		}
		var now [partitions]int64
		for i := range rapid.IntRange(1, 60).Draw(rt, "records") {
			disturb(rt, d)
			p := rapid.Int32Range(0, partitions-1).Draw(rt, "partition")
			now[p] += rapid.OneOf(rapid.Int64Range(0, 5), rapid.Just(ttl), rapid.Just(3*ttl)).Draw(rt, "step")
			e := event{key: fmt.Sprintf("%d%s", p, rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "key")), value: strconv.Itoa(i)}
			e.at = max(0, now[p]-rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 2*ttl)).Draw(rt, "delay"))
			if rapid.IntRange(0, 6).Draw(rt, "delete") == 0 {
				e.value = ""
			}
			r := stream.Record[string, string]{Key: e.key, Value: e.value, Timestamp: e.at, NullValue: e.value == ""}
			in.PipeTo(p, r)
			models[p].process(e)
			if d.Commit(); rapid.IntRange(0, 2).Draw(rt, "probe") == 0 {
				e.value = "?"
				probes.PipeTo(p, stream.Record[string, string]{Key: e.key, Value: "?", Timestamp: e.at})
				models[p].probe(e)
				d.Commit() // or a crash would have it after records that came later
			}
		}
		for p := range int32(partitions) { // a record so late that all others are gone
			e := event{key: fmt.Sprintf("%dend", p), value: "end", at: now[p] + 10*ttl + 10}
			in.PipeTo(p, stream.Record[string, string]{Key: e.key, Value: e.value, Timestamp: e.at})
			m := models[p]
			m.process(e)
			for _, k := range []string{"a", "b", "c", "d"} {
				k = fmt.Sprintf("%d%s", p, k)
				m.gone("rows", m.rows, k)
				m.gone("sums", m.sums, k)
			}
		}
		d.Commit()
		d.Crash()
		d.Commit()
		compareAged(rt, d, models[:])
	})
}

func compareAged(t *rapid.T, d *streamtest.Driver, models []*agedModel) {
	late := 0
	for topic := range models[0].out {
		wanted, got := map[string][]string{}, map[string][]string{}
		for _, m := range models {
			maps.Copy(wanted, m.out[topic])
			if topic == "rows" {
				late += m.late
			}
		}
		for _, r := range streamtest.NewOutput(d, topic, stream.String(), stream.String()).ReadAll() {
			got[r.Key] = append(got[r.Key], result{r.Key, r.Value, r.Timestamp}.String())
		}
		if diff := gocmp.Diff(wanted, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", topic, diff)
		}
	}
	n := 0
	for _, x := range d.Drops() {
		n += x.Count
	}
	if n != late {
		t.Fatalf("%d drops, want %d", n, late)
	}
	for _, s := range []string{"rows", "sums"} {
		if left := streamtest.StateOf(d, s, stream.String(), stream.String()); len(left) != len(models) {
			t.Fatalf("%s: %v is left", s, left)
		}
	}
}

// TestTTLOnCommit holds updates back until the commit: an expiry is one of them.
func TestTTLOnCommit(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, aged(time.Minute, stream.EmitOnCommit()), streamtest.CommitByHand())
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "rows", stream.String(), stream.String())
	in.Pipe("a", "1", 0)
	in.Pipe("b", "2", 0)
	d.Commit()
	want(t, "the updates", "a=1@0 b=2@0", strings.Join(resultsOf(out), " "))
	in.Pipe("b", "3", 100_000)
	d.Commit()
	want(t, "after the TTL", "a=@60001 b=3@100000", strings.Join(resultsOf(out), " "))
}

// TestTTLOfIdleTasks deletes rows when no records come, also after a restart in which none came either.
func TestTTLOfIdleTasks(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, fault := range []string{"", "crash", "rebalance"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			top := stream.New("idle", stream.IdleTimeout(time.Minute))
			stream.TableFrom(top, "rows", "in", stream.String(), stream.String(), stream.TTL(time.Hour)).ToStream().To("out")
			d := streamtest.New(t, top, streamtest.StartAt(start))
			in := streamtest.NewInput(d, "in", stream.String(), stream.String())
			out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
			for i := range 1000 { // more than are deleted at a time
				in.Pipe(strconv.Itoa(i), "x", start.UnixMilli())
			}
			switch fault {
			case "crash":
				d.Crash()
			case "rebalance":
				d.Rebalance(0, 0)
			}
			d.Advance(30 * time.Minute)
			if n := len(out.ReadAll()); n != 1000 {
				t.Errorf("%d updates before any row was too old", n)
			}
			d.Advance(time.Hour)
			list := out.ReadAll()
			if len(list) != 1000 || !list[0].NullValue || list[0].Timestamp != start.Add(time.Hour).UnixMilli()+1 {
				t.Errorf("%d updates after it: %v", len(list), list[:min(1, len(list))])
			}
			if left := streamtest.StateOf(d, "rows", stream.String(), stream.String()); len(left) != 0 {
				t.Errorf("%d rows are left", len(left))
			}
		})
	}
}

// remembering counts in a store with a TTL.
type remembering struct {
	store *stream.Store[string, int64]
	rows  *stream.State[string, int64]
	ctx   *stream.ProcessorContext[string, int64]
}

func (p *remembering) Init(c *stream.ProcessorContext[string, int64]) error {
	p.ctx, p.rows = c, stream.Open(c, p.store)
	return nil
}

func (p *remembering) Process(r *stream.Record[string, string]) error {
	n, _, err := p.rows.Get(r.Key)
	if err != nil {
		return err
	}
	rows := int64(0)
	if err := p.rows.All(func(string, int64) (bool, error) { rows++; return true, nil }); err != nil {
		return err
	}
	if err := p.rows.Put(r.Key, n+1); err != nil {
		return err
	}
	return p.ctx.Forward(&stream.Record[string, int64]{Key: r.Key, Value: 10*(n+1) + rows, Timestamp: r.Timestamp})
}

// TestTTLOfProcessors looks at the rows that a processor finds.
func TestTTLOfProcessors(t *testing.T) {
	t.Parallel()
	top := stream.New("seen")
	s := stream.NewStore("seen", stream.String(), stream.Int64(), stream.TTL(time.Minute))
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.Process(in, "count", func() stream.Processor[string, string, string, int64] { return &remembering{store: s} }, s).To("out")
	d := streamtest.New(t, top)
	pipe := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for _, x := range []struct {
		key string
		at  int64
	}{{"a", 1000}, {"b", 0}, {"a", 60_000}, {"b", 61_000}, {"b", 61_500}, {"a", 121_000}, {"c", 121_500}, {"a", 10 * 60_000}} {
		pipe.Pipe(x.key, "", x.at)
		d.Crash()
	}
	// b is put at 0, when stream time is 1000: it has that time.
	out := streamtest.NewOutput(d, "out", stream.String(), stream.Int64())
	want(t, "counts and rows", "[10 11 22 22 32 11 12 10]", fmt.Sprint(out.ReadValues()))
}

func TestTTLFaults(t *testing.T) {
	t.Parallel()
	group := func(top *stream.Topology) stream.Grouped[string, string] {
		return stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String()))
	}
	for name, declare := range map[string]func(*stream.Topology){
		"windows": func(top *stream.Topology) {
			stream.CountWindows(stream.WindowedBy(group(top), stream.Tumbling(time.Minute)), "n", stream.TTL(time.Hour))
		},
		"versioned": func(top *stream.Topology) {
			stream.TableFrom(top, "n", "in", stream.String(), stream.String(), stream.Versioned(time.Hour), stream.TTL(time.Hour))
		},
		"suppressed": func(top *stream.Topology) {
			stream.SuppressUntilTimeLimit(stream.Count(group(top), "rows"), "n", time.Minute, stream.Unbounded(), stream.TTL(time.Hour))
		},
		"foreign": func(top *stream.Topology) {
			rows := stream.Count(group(top), "rows")
			stream.JoinForeignKey(rows, rows, "n", func(k string, _ int64) (string, bool) { return k, true }, func(a, b int64) int64 { return a + b }, stream.TTL(time.Hour))
		},
		"none":     func(top *stream.Topology) { stream.Count(group(top), "n", stream.TTL(0)) },
		"negative": func(top *stream.Topology) { stream.Count(group(top), "n", stream.TTL(-time.Hour)) },
		"part":     func(top *stream.Topology) { stream.Count(group(top), "n", stream.TTL(time.Microsecond)) },
		"long":     func(top *stream.Topology) { stream.Count(group(top), "n", stream.TTL(100*365*24*time.Hour)) },
	} {
		top := stream.New("faults")
		if declare(top); top.Err() == nil || !strings.Contains(top.Err().Error(), "TTL") || !strings.Contains(top.Err().Error(), "expiry_model_test.go:") {
			t.Errorf("%s: %v", name, top.Err())
		}
	}
}
