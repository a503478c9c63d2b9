//go:build linux

package main

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const few = 30_000 // records, so that keys come again

// outputs returns what a row should make of the first few records, each update.
func outputs(r row) []*kgo.Record {
	var all []*kgo.Record
	have, open := map[counted]int64{}, map[int][]counted{}
	for i := range few {
		in := recordOf(i)
		key, at := eventOf(i)
		out := &kgo.Record{Key: in.Key, Value: in.Value, Timestamp: in.Timestamp}
		switch r.topology {
		case "map":
			out.Value = append(out.Value, ";mapped"...)
		case "join":
			out.Value = append(append(out.Value, ';'), rowOf(key)...)
		case "sessions":
			gone, of := session(have, open, key, at)
			for _, g := range gone {
				all = append(all, &kgo.Record{Key: sessionKey(g), Timestamp: in.Timestamp})
			}
			out.Key, out.Value = sessionKey(of), binary.BigEndian.AppendUint64(nil, uint64(have[of]))
		default:
			of := counted{key: key}
			if r.topology == "tumbling" {
				of.start = at - at%window.Milliseconds()
				out.Key = binary.BigEndian.AppendUint64(out.Key, uint64(of.start))
			}
			have[of]++
			out.Value = binary.BigEndian.AppendUint64(nil, uint64(have[of]))
		}
		all = append(all, out)
	}
	return all
}

// session adds a record to the sessions that its key has, and returns those that are no more, and the one that it is in.
func session(have map[counted]int64, of map[int][]counted, key int, at int64) (gone []counted, now counted) {
	now = counted{key, at, at}
	n := int64(1)
	var stay []counted
	for _, s := range of[key] {
		if s.start-gap.Milliseconds() > at || s.end+gap.Milliseconds() < at {
			stay = append(stay, s)
			continue
		}
		now.start, now.end = min(now.start, s.start), max(now.end, s.end)
		n += have[s]
		gone = append(gone, s)
	}
	of[key], have[now] = append(stay, now), n
	return gone, now
}

// sessionKey writes a key as Kafka Streams does.
func sessionKey(of counted) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(keyOf(of.key), uint64(of.end)), uint64(of.start))
}

func run1(t *testing.T, r row, all []*kgo.Record) error {
	t.Helper()
	c, err := newCheck(r, few, splits{keyThenStart, keyThenEndThenStart})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if err := c.see(o); err != nil {
			return err
		}
	}
	return c.finish()
}

// again returns the number of the first output with a value whose key had one before.
func again(all []*kgo.Record) int {
	seen := map[string]bool{}
	for i, r := range all {
		if r.Value == nil {
			continue
		}
		if seen[string(r.Key)] {
			return i
		}
		seen[string(r.Key)] = true
	}
	return -1
}

func TestCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, for which the race detector finds nothing and needs ten times as long")
	}
	t.Parallel()
	twice := func(all []*kgo.Record) []*kgo.Record {
		i := again(all)
		return slices.Insert(all, i, all[i])
	}
	swapped := func(all []*kgo.Record) []*kgo.Record {
		i := again(all)
		before := slices.IndexFunc(all, func(r *kgo.Record) bool { return r.Value != nil && string(r.Key) == string(all[i].Key) })
		all[i], all[before] = all[before], all[i]
		return all
	}
	newest := func(all []*kgo.Record) []*kgo.Record { // as a cache lets through
		seen := map[string]bool{}
		var kept []*kgo.Record
		for _, r := range slices.Backward(all) {
			if !seen[string(r.Key)] {
				kept = append(kept, r)
			}
			seen[string(r.Key)] = true
		}
		return kept
	}
	changed := func(change func(r *kgo.Record)) func(all []*kgo.Record) []*kgo.Record {
		return func(all []*kgo.Record) []*kgo.Record {
			change(all[len(all)-1])
			return all
		}
	}
	const stateless, stateful = "map join", "count tumbling sessions"
	for _, c := range []struct {
		name, topologies, guarantee string
		cached                      bool
		fake                        func(all []*kgo.Record) []*kgo.Record
		want                        string // in the error; "" is none
	}{
		{"right", stateless + " " + stateful, exactlyOnce, false, nil, ""},
		{"right", stateless + " " + stateful, atLeastOnce, true, nil, ""},
		{"twice", stateless + " " + stateful, atLeastOnce, true, twice, ""},
		{"twice", stateless, exactlyOnce, true, twice, "twice"},
		{"twice", stateful, exactlyOnce, true, twice, "after"},
		{"swapped", stateless + " " + stateful, exactlyOnce, true, swapped, "after"},
		{"collapsed", stateful, exactlyOnce, true, newest, ""},
		{"collapsed", "count tumbling", exactlyOnce, false, newest, "each update"},
		{"collapsed", "sessions", exactlyOnce, false, newest, "updates were written"},
		{"collapsed", stateful, atLeastOnce, false, newest, "updates were written"},
		{"lost", stateless, atLeastOnce, true, func(all []*kgo.Record) []*kgo.Record { return all[1:] }, "no output, the first one is 0"},
		{"lost", stateful, atLeastOnce, true, func(all []*kgo.Record) []*kgo.Record { return all[:few-1] }, "want"},
		{"too much", stateful, exactlyOnce, true, changed(func(r *kgo.Record) { r.Value[7] += 9 }), "want"},
		{"another value", stateless, atLeastOnce, true, changed(func(r *kgo.Record) { r.Value[20] = 'X' }), "want"},
		{"another key", stateless, atLeastOnce, true, changed(func(r *kgo.Record) { r.Key[9]++ }), "want"},
		{"another time", stateless, atLeastOnce, true, changed(func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Second) }), "want"},
		{"no such record", stateless, atLeastOnce, true, changed(func(r *kgo.Record) { r.Value[0] = '9' }), "no such record"},
		{"not deleted", "sessions", exactlyOnce, true, func(all []*kgo.Record) []*kgo.Record {
			return slices.DeleteFunc(all, func(r *kgo.Record) bool { return r.Value == nil })
		}, "keys have counts"},
		{"not a count", stateful, atLeastOnce, true, changed(func(r *kgo.Record) { r.Value = r.Value[1:] }), "7 bytes"},
		{"not a key", stateful, atLeastOnce, true, changed(func(r *kgo.Record) { r.Key = r.Key[6:] }), "key"},
		{"another window", "tumbling", atLeastOnce, true, changed(func(r *kgo.Record) { r.Key[12]++ }), "want"},
	} {
		for topology := range strings.FieldsSeq(c.topologies) {
			r := row{topology: topology, guarantee: c.guarantee, cached: c.cached}
			t.Run(c.name+", "+r.String(), func(t *testing.T) {
				t.Parallel()
				all := outputs(r)
				if c.fake != nil {
					all = c.fake(all)
				}
				err := run1(t, r, all)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("error %v: want %q", err, c.want)
				}
			})
		}
	}
}

func TestCheckOfAnythingElse(t *testing.T) {
	t.Parallel()
	if _, err := newCheck(row{topology: "sort"}, few, splits{}); err == nil {
		t.Error("there is a check of it")
	}
}
