package stream_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// slidingCase is a random aggregation in sliding windows with its input.
type slidingCase struct {
	difference, grace int64
	emit              string
	records           []windowRecord
}

// drawSlidingCase draws records that are up to delay behind stream time, and no more than the grace if that is negative.
func drawSlidingCase(t *rapid.T, delay int64) slidingCase {
	c := slidingCase{difference: rapid.Int64Range(0, 15).Draw(t, "difference"), grace: rapid.Int64Range(0, 15).Draw(t, "grace")}
	c.emit = rapid.SampledFrom([]string{"update", "commit", "close", "close with retention"}).Draw(t, "emit")
	if delay < 0 {
		delay = c.grace
	}
	var now [windowPartitions]int64
	for i := range rapid.IntRange(1, 40).Draw(t, "records") {
		r := windowRecord{partition: rapid.Int32Range(0, windowPartitions-1).Draw(t, "partition"), value: strconv.Itoa(i)}
		r.key = fmt.Sprintf("%d%s", r.partition, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"))
		at := now[r.partition] + rapid.OneOf(rapid.Int64Range(0, 4), rapid.Just(int64(60))).Draw(t, "step")
		r.at = max(0, at-rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, delay)).Draw(t, "delay"))
		now[r.partition] = max(now[r.partition], r.at)
		c.records = append(c.records, r)
	}
	return c
}

func (c *slidingCase) topology() *stream.Topology {
	opts := []stream.WindowOption{stream.CacheRows(3)}
	switch c.emit {
	case "commit":
		opts = append(opts, stream.EmitOnCommit())
	case "close":
		opts = append(opts, stream.EmitOnClose())
	case "close with retention":
		opts = append(opts, stream.EmitOnClose(), stream.Retention(ms(2*c.difference+c.grace)))
	}
	return joined(stream.Sliding(ms(c.difference)).Grace(ms(c.grace)), opts...)
}

func (c *slidingCase) onClose() bool { return strings.HasPrefix(c.emit, "close") }

// run drives the topology while the application crashes, rounds are undone and tasks move, and compares the output and the
// drops.
func (c *slidingCase) run(t *testing.T, rt *rapid.T, wanted [windowPartitions][]string, late int) {
	t.Helper()
	opts := []streamtest.Option{streamtest.Partitions(windowPartitions)}
	if rapid.Bool().Draw(rt, "by hand") {
		opts = append(opts, streamtest.CommitByHand())
	}
	d := drive(t, c.topology(), opts...)
	for _, r := range c.records {
		disturb(rt, d.Driver)
		d.in.PipeTo(r.partition, stream.Record[string, string]{Key: r.key, Value: r.value, Timestamp: r.at})
	}
	d.Commit()
	d.Crash()
	d.Commit()
	var got [windowPartitions][]string
	for _, r := range d.out.ReadAll() {
		p := r.Key.Key[0] - '0'
		got[p] = append(got[p], show(r))
	}
	for p := range wanted {
		if c.emit == "commit" {
			wanted[p], got[p] = last(wanted[p]), last(got[p])
		}
		if diff := gocmp.Diff(wanted[p], got[p]); diff != "" {
			rt.Fatalf("partition %d (-want +got):\n%s", p, diff)
		}
	}
	n := 0
	for _, x := range d.Drops() {
		n += x.Count
	}
	if n != late {
		rt.Fatalf("%d drops, want %d", n, late)
	}
}

// windowsOf returns what windows hold by the definition: for each record of a key one that ends with it, and one that begins
// after it if a record is in that, each with all records of the key from start to end.
func (c *slidingCase) windowsOf(records []windowRecord, key string) map[int64]stream.Record[stream.Windowed[string], string] {
	all := map[int64]stream.Record[stream.Windowed[string], string]{}
	for _, of := range records {
		for _, start := range []int64{max(0, of.at-c.difference), of.at + 1} {
			r := stream.Record[stream.Windowed[string], string]{Key: stream.Windowed[string]{Key: key, Start: start, End: start + c.difference}}
			for _, x := range records {
				if of.key == key && x.key == key && x.at >= start && x.at <= r.Key.End {
					r.Value += "+" + x.value
					r.Timestamp = max(r.Timestamp, x.at)
				}
			}
			if r.Value != "" {
				all[start] = r
			}
		}
	}
	return all
}

// define returns the output of each partition by the definition. No record is late, and no window is lost.
func (c *slidingCase) define() (out [windowPartitions][]string) {
	for p := range out {
		var taken []windowRecord
		streamTime, closed := int64(0), int64(0)
		before := map[string]map[int64]stream.Record[stream.Windowed[string], string]{}
		for _, r := range c.records {
			if int(r.partition) != p {
				continue
			}
			taken = append(taken, r)
			streamTime = max(streamTime, r.at)
			now := c.windowsOf(taken, r.key)
			var emitted []stream.Record[stream.Windowed[string], string]
			if !c.onClose() {
				for start, w := range now {
					if w.Value != before[r.key][start].Value {
						emitted = append(emitted, w)
					}
				}
			}
			before[r.key] = now
			if limit := streamTime - c.grace; c.onClose() {
				for _, all := range before {
					for _, w := range all {
						if w.Key.End >= closed && w.Key.End < limit {
							emitted = append(emitted, w)
						}
					}
				}
				closed = max(closed, limit)
			}
			slices.SortFunc(emitted, func(a, b stream.Record[stream.Windowed[string], string]) int {
				return cmp.Or(cmp.Compare(a.Key.Start, b.Key.Start), cmp.Compare(a.Key.Key, b.Key.Key))
			})
			for _, w := range emitted {
				out[p] = append(out[p], show(w))
			}
		}
	}
	return out
}

// TestSlidingWindowsAreAsDefined compares windows with the definition, for records that come in any order within the grace.
func TestSlidingWindowsAreAsDefined(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := drawSlidingCase(rt, -1)
		if c.emit == "close with retention" {
			c.emit = "close"
		}
		c.run(t, rt, c.define(), 0)
	})
}

// slidingModel is the windows of a partition by the rules that also hold for late records, without a store.
type slidingModel struct {
	*slidingCase
	streamTime, closed, newest int64
	windows                    map[stream.Windowed[string]]stream.Record[stream.Windowed[string], string]
	out                        []string
	late                       int
}

func (m *slidingModel) window(key string, start int64) stream.Windowed[string] {
	return stream.Windowed[string]{Key: key, Start: start, End: start + m.difference}
}

func (m *slidingModel) floor() int64 { return m.newest - 2*m.difference - m.grace }

// latest returns the last window of a key that begins from one time up to another, and is kept.
func (m *slidingModel) latest(key string, from, to int64) (w stream.Record[stream.Windowed[string], string], ok bool) {
	for start := to; start >= max(0, from, m.floor()); start-- {
		if w, ok = m.windows[m.window(key, start)]; ok {
			return w, true
		}
	}
	return w, false
}

func (m *slidingModel) process(r windowRecord) {
	m.streamTime = max(m.streamTime, r.at)
	limit, left := m.streamTime-m.grace, max(0, r.at-m.difference)
	if r.at+m.difference < limit {
		m.late++
		return
	}
	after, newAfter := m.latest(r.key, left, r.at)
	newAfter = newAfter && after.Timestamp > r.at
	previous, found := m.latest(r.key, 0, left)
	add := map[int64]string{}
	for start := left; start <= r.at; start++ {
		if w, ok := m.latest(r.key, start, start); ok {
			add[start] = w.Value
		}
	}
	if _, ok := add[left]; !ok {
		add[left] = ""
		if found && previous.Timestamp >= left {
			add[left] = previous.Value
		}
	}
	if next := previous.Timestamp + 1; found && next > left && next <= r.at {
		if _, ok := add[next]; !ok {
			add[next] = ""
		}
	}
	if _, there := m.windows[m.window(r.key, r.at+1)]; there {
		newAfter = false
	}
	for start := left; start <= r.at; start++ {
		value, ok := add[start]
		if !ok {
			continue
		}
		if start+m.difference < limit {
			m.late++
			continue
		}
		k := m.window(r.key, start)
		m.set(k, value+"+"+r.value, max(r.at, m.windows[k].Timestamp))
	}
	if newAfter {
		m.set(m.window(r.key, r.at+1), after.Value, after.Timestamp)
	}
	if m.onClose() {
		m.close(limit)
	}
}

func (m *slidingModel) set(k stream.Windowed[string], value string, at int64) {
	w := stream.Record[stream.Windowed[string], string]{Key: k, Value: value, Timestamp: at}
	m.windows[k] = w
	m.newest = max(m.newest, k.Start)
	if !m.onClose() {
		m.out = append(m.out, show(w))
	}
}

func (m *slidingModel) close(limit int64) {
	for start := max(0, m.closed-m.difference); start+m.difference < limit; start++ {
		for _, key := range []string{"0a", "0b", "1a", "1b"} {
			w, ok := m.windows[m.window(key, start)]
			if ok && (m.emit == "close" || start >= m.floor()) {
				m.out = append(m.out, show(w))
			}
		}
	}
	m.closed = max(m.closed, limit)
}

// TestSlidingWindowsSurviveFaults compares windows with a model, for records that may be late.
func TestSlidingWindowsSurviveFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := drawSlidingCase(rt, 40)
		var out [windowPartitions][]string
		late := 0
		for p := range out {
			m := &slidingModel{slidingCase: &c, windows: map[stream.Windowed[string]]stream.Record[stream.Windowed[string], string]{}}
			for _, r := range c.records {
				if int(r.partition) == p {
					m.process(r)
				}
			}
			out[p] = m.out
			late += m.late
		}
		c.run(t, rt, out, late)
	})
}

// TestSlidingWindowsOfIdleTasks closes windows when no records come, also after a restart in which none came either.
func TestSlidingWindowsOfIdleTasks(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return start.Add(d).UnixMilli() }
	for _, fault := range []string{"", "crash", "rebalance", "lose"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			top := stream.New("idle", stream.IdleTimeout(time.Minute))
			in := stream.From(top, "in", stream.String(), stream.String())
			join(stream.GroupByKey(in), stream.Sliding(time.Minute).Grace(10*time.Second), stream.EmitOnClose()).ToStream().To("out")
			d := drive(t, top, streamtest.StartAt(start))
			d.in.Pipe("k", "a", at(0))
			switch fault {
			case "crash":
				d.Crash()
			case "rebalance":
				d.Rebalance(0, 0)
			case "lose":
				d.LoseState()
			}
			d.Advance(69 * time.Second)
			want(t, "before stream time has passed the grace", "", d.readSliding())
			d.Advance(2 * time.Second)
			want(t, "after it", fmt.Sprintf("k[%d,%d]=+a@%d", at(-time.Minute), at(0), at(0)), d.readSliding())
			d.Rebalance(0, 0)
			d.in.Pipe("k", "late", at(-59*time.Second-500*time.Millisecond))
			d.in.Pipe("k", "b", at(10*time.Second))
			d.Advance(10 * time.Minute)
			want(t, "then", fmt.Sprintf("k[%d,%d]=+a+b@%d k[%d,%d]=+b@%d", at(-50*time.Second), at(10*time.Second), at(10*time.Second),
				at(0)+1, at(time.Minute)+1, at(10*time.Second)), d.readSliding())
			want(t, "dropped", "joined:late*1", dropped(d.Driver))
		})
	}
}
