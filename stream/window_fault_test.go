package stream_test

import (
	"cmp"
	"fmt"
	"maps"
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

// windowCase is a random aggregation in windows with its input.
type windowCase struct {
	size, advance, grace int64
	emit                 string
	records              []windowRecord
}

type windowRecord struct {
	partition  int32
	key, value string
	at         int64
}

const windowPartitions = 2

func drawWindowCase(t *rapid.T) windowCase {
	c := windowCase{size: rapid.Int64Range(1, 20).Draw(t, "size"), grace: rapid.Int64Range(0, 15).Draw(t, "grace")}
	c.advance = rapid.Int64Range(1, c.size).Draw(t, "advance")
	c.emit = rapid.SampledFrom([]string{"update", "commit", "close", "close with retention"}).Draw(t, "emit")
	var now [windowPartitions]int64
	for i := range rapid.IntRange(1, 40).Draw(t, "records") {
		r := windowRecord{partition: rapid.Int32Range(0, windowPartitions-1).Draw(t, "partition"), value: strconv.Itoa(i)}
		r.key = fmt.Sprintf("%d%s", r.partition, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"))
		step := rapid.OneOf(rapid.Int64Range(0, 4), rapid.Just(int64(60))).Draw(t, "step")
		now[r.partition] += step
		r.at = max(0, now[r.partition]-rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 40)).Draw(t, "delay"))
		c.records = append(c.records, r)
	}
	return c
}

func (c *windowCase) topology() *stream.Topology {
	var opts []stream.WindowOption
	switch c.emit {
	case "commit":
		opts = append(opts, stream.EmitOnCommit())
	case "close":
		opts = append(opts, stream.EmitOnClose())
	case "close with retention":
		opts = append(opts, stream.EmitOnClose(), stream.Retention(ms(c.size+c.grace)))
	}
	opts = append(opts, stream.CacheRows(3))
	return joined(stream.Hopping(ms(c.size), ms(c.advance)).Grace(ms(c.grace)), opts...)
}

// expect recomputes the output of each partition from all records of each window, and the number of drops.
func (c *windowCase) expect() (out [windowPartitions][]string, late int) {
	for p := range out {
		streamTime, newest := int64(-1), int64(-1)
		var taken []windowRecord
		emitted := map[string]bool{}
		for _, r := range c.records {
			if int(r.partition) != p {
				continue
			}
			streamTime = max(streamTime, r.at)
			taken = append(taken, r)
			for start := int64(0); start <= r.at; start += c.advance {
				newest = max(newest, start)
				if r.at >= start+c.size {
					continue
				}
				if start+c.size <= streamTime-c.grace {
					late++
				} else if !strings.HasPrefix(c.emit, "close") {
					out[p] = append(out[p], c.result(taken, r.key, start))
				}
			}
			if strings.HasPrefix(c.emit, "close") {
				for _, k := range c.closed(taken, streamTime) {
					if id := fmt.Sprint(k); !emitted[id] {
						emitted[id] = true
						if c.emit == "close" || k.Start >= newest-c.size-c.grace {
							out[p] = append(out[p], c.result(taken, k.Key, k.Start))
						}
					}
				}
			}
		}
	}
	return out, late
}

// accepted tells whether the window that starts at start took the last of some records.
func (c *windowCase) accepted(records []windowRecord, start int64) bool {
	last, streamTime := records[len(records)-1], int64(-1)
	for _, r := range records {
		streamTime = max(streamTime, r.at)
	}
	return start <= last.at && last.at < start+c.size && start+c.size > streamTime-c.grace
}

// result returns what a window of a key holds.
func (c *windowCase) result(records []windowRecord, key string, start int64) string {
	r := stream.Record[stream.Windowed[string], string]{Key: stream.Windowed[string]{Key: key, Start: start, End: start + c.size}}
	for i, x := range records {
		if x.key == key && c.accepted(records[:i+1], start) {
			r.Value += "+" + x.value
			r.Timestamp = max(r.Timestamp, x.at)
		}
	}
	return show(r)
}

// closed returns the windows that hold a record and are closed, in the order of start and key.
func (c *windowCase) closed(records []windowRecord, streamTime int64) []stream.Windowed[string] {
	seen := map[stream.Windowed[string]]bool{}
	for i, x := range records {
		for start := int64(0); start <= x.at; start += c.advance {
			if start+c.size <= streamTime-c.grace && c.accepted(records[:i+1], start) {
				seen[stream.Windowed[string]{Key: x.key, Start: start, End: start + c.size}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b stream.Windowed[string]) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Key, b.Key))
	})
}

// TestWindowsSurviveFaults compares windows with a recomputation, while the application crashes, rounds are undone and
// tasks move: each window is emitted once, none is forgotten, and the same records are late.
func TestWindowsSurviveFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := drawWindowCase(rt)
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
		c.compare(rt, d)
	})
}

// disturb does something or nothing to the application.
func disturb(t *rapid.T, d *streamtest.Driver) {
	switch rapid.IntRange(0, 12).Draw(t, "fault") {
	case 0:
		d.Crash()
	case 1:
		d.Abort()
	case 2:
		d.Rebalance(0, rapid.Int32Range(0, windowPartitions-1).Draw(t, "moved"))
	case 3:
		d.LoseState()
	case 4, 5:
		d.Commit()
	case 6, 7:
		points := []streamtest.CrashPoint{streamtest.WhileProcessing, streamtest.BeforeFlush, streamtest.BeforeCommit, streamtest.AfterCommit}
		d.CrashAt(rapid.SampledFrom(points).Draw(t, "point"), rapid.IntRange(0, 2).Draw(t, "skip"))
	}
}

// compare looks at the output, by partition, and at the drops.
func (c *windowCase) compare(t *rapid.T, d *windows) {
	wanted, late := c.expect()
	compareWindows(t, d, c.emit == "commit", wanted, late)
}

// compareWindows looks at the output, by partition, and at the drops. Where updates wait for the commit, the last results
// count.
func compareWindows(t *rapid.T, d *windows, lastOnly bool, wanted [windowPartitions][]string, late int) {
	var got [windowPartitions][]string
	for _, r := range d.out.ReadAll() {
		p := r.Key.Key[0] - '0'
		got[p] = append(got[p], show(r))
	}
	for p := range wanted {
		if lastOnly {
			wanted[p], got[p] = last(wanted[p]), last(got[p])
		}
		if diff := gocmp.Diff(wanted[p], got[p]); diff != "" {
			t.Fatalf("partition %d (-want +got):\n%s", p, diff)
		}
	}
	n := 0
	for _, x := range d.Drops() {
		n += x.Count
	}
	if n != late {
		t.Fatalf("%d drops, want %d", n, late)
	}
}

// last returns the last result of each window that there still is, in order.
func last(results []string) []string {
	byKey := map[string]string{}
	for _, r := range results {
		k, v, _ := strings.Cut(r, "=")
		if byKey[k] = r; strings.HasPrefix(v, "null") {
			delete(byKey, k)
		}
	}
	return slices.Sorted(maps.Values(byKey))
}

// TestWindowsOfIdleTasks closes windows when no records come, also after a restart in which none came either.
func TestWindowsOfIdleTasks(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return start.Add(d).UnixMilli() }
	for _, fault := range []string{"", "crash", "rebalance"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			top := stream.New("idle", stream.IdleTimeout(time.Minute))
			in := stream.From(top, "in", stream.String(), stream.String())
			join(stream.GroupByKey(in), stream.Tumbling(time.Minute).Grace(10*time.Second), stream.EmitOnClose()).ToStream().To("out")
			d := drive(t, top, streamtest.StartAt(start))
			d.in.Pipe("k", "a", at(0))
			d.Advance(30 * time.Second)
			switch fault {
			case "crash":
				d.Crash()
			case "rebalance":
				d.Rebalance(0, 0)
			}
			d.Advance(90 * time.Second)
			want(t, "before stream time has passed the grace", "", d.read())
			d.Advance(time.Minute)
			want(t, "after it", fmt.Sprintf("k[%d,%d)=+a@%d", at(0), at(time.Minute), at(0)), d.read())
			d.Rebalance(0, 0)
			d.in.Pipe("k", "late", at(59*time.Second))
			d.in.Pipe("k", "b", at(90*time.Second))
			d.Advance(10 * time.Minute)
			want(t, "then", fmt.Sprintf("k[%d,%d)=+b@%d", at(time.Minute), at(2*time.Minute), at(90*time.Second)), d.read())
			want(t, "dropped", "joined:late*1", dropped(d.Driver))
		})
	}
}
