package table

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// model is a table that keeps the changes of each key in a list, by time and then in their order, makes rows of all of them
// for each look-up, and gives no memory back.
type model struct {
	history   int64
	newest    int64
	events    map[string][]event
	truncates []int64
}

type event struct {
	cdc.Change
	guess bool
}

func (m *model) horizon() int64 {
	if m.history <= 0 || m.newest == math.MinInt64 {
		return math.MinInt64
	}
	return m.newest - m.history
}

func (m *model) apply(c cdc.Change) {
	if !c.Tombstone {
		m.newest = max(m.newest, c.At)
	}
	m.truncates = slices.DeleteFunc(m.truncates, func(at int64) bool { return at <= m.horizon() })
	if c.Op != cdc.Truncate {
		m.add(event{c, c.Tombstone})
		return
	}
	if c.At > m.horizon() {
		m.truncates = append(m.truncates, c.At)
	}
	for key, all := range m.events {
		if n := len(all); n == 0 || all[n-1].Op == cdc.Delete && all[n-1].At <= m.horizon() {
			continue // not known any more
		}
		m.add(event{cdc.Change{Op: cdc.Delete, Key: key, At: c.At}, false})
	}
	if m.history == 0 {
		clear(m.events)
	}
}

// add adds the event of one key.
func (m *model) add(e event) {
	all := m.events[e.Key]
	if n := len(all); n > 0 && all[n-1].Op == cdc.Delete && all[n-1].At <= m.horizon() {
		all = nil
	}
	n := len(all)
	if m.history == 0 { // the order is all that counts
		m.events[e.Key] = append(all, e)
		return
	}
	if e.guess {
		if n == 0 || all[n-1].Op == cdc.Delete {
			m.set(e.Key, all)
			return
		}
		e.At = max(e.At, all[n-1].At+1)
	} else if n > 0 && all[n-1].guess && e.At <= all[n-1].At {
		all = all[:n-1]
	}
	i := 0
	for i < len(all) && all[i].At <= e.At {
		i++
	}
	if i < len(all) && all[i].At <= m.horizon() {
		m.set(e.Key, all)
		return
	}
	all = slices.Insert(all, i, e)
	next := int64(math.MaxInt64) // the first truncate after e
	for _, at := range m.truncates {
		if at > e.At {
			next = min(next, at)
		}
		if at < e.At {
			all[i].Snapshot = false
		}
	}
	if next < math.MaxInt64 && !slices.ContainsFunc(all, func(o event) bool { return o.At > e.At && o.At <= next }) {
		all = slices.Insert(all, i+1, event{cdc.Change{Op: cdc.Delete, Key: e.Key, At: next}, false})
	}
	m.set(e.Key, all)
}

func (m *model) set(key string, all []event) { m.events[key] = all }

// get folds the events of a key.
func (m *model) get(key string, at int64) string {
	var rows []*record.Row // by time
	var times []int64
	var row *record.Row
	all := m.events[key]
	for i := range all {
		row = fold(row, &all[i].Change)
		if n := len(times); n > 0 && times[n-1] == all[i].At && m.history != 0 {
			rows[n-1] = row
			continue
		}
		rows, times = append(rows, row), append(times, all[i].At)
	}
	n := len(rows)
	switch {
	case n == 0:
		return "-"
	case at == record.MissingTime || m.history == 0:
		return show(rows[n-1])
	}
	i := n - 1
	for i >= 0 && times[i] > at {
		i--
	}
	if i < 0 && m.isSnapshot(all, times[0]) {
		i = 0
	}
	if i < 0 || i+1 < n && times[i+1] <= m.horizon() {
		return "-"
	}
	return show(rows[i])
}

// isSnapshot tells whether what was applied last of the first time is a snapshot.
func (m *model) isSnapshot(all []event, first int64) bool {
	snapshot := false
	for _, e := range all {
		if e.At == first {
			snapshot = e.Op == cdc.Upsert && e.Snapshot
		}
	}
	return snapshot
}

// fold returns the row after a change.
func fold(row *record.Row, c *cdc.Change) *record.Row {
	if c.Op == cdc.Delete {
		return nil
	}
	n := &record.Row{Numbers: slices.Clone(c.Row.Numbers), Times: slices.Clone(c.Row.Times), Texts: slices.Clone(c.Row.Texts)}
	for _, f := range c.Keep {
		switch {
		case row == nil:
		case f == 1:
			n.Numbers[0] = row.Numbers[0]
		case f == 2:
			n.Times[0] = row.Times[0]
		default:
			n.Texts[f/3] = row.Texts[f/3]
		}
	}
	return n
}

func anyChange(t *rapid.T, n int) *cdc.Change {
	key := rapid.SampledFrom([]string{"a", "b", "a key that is too long for a line"}).Draw(t, "key")
	at := rapid.Int64Range(0, 40).Draw(t, "at") + int64(n)/2 // in disorder, and ahead as a whole
	switch rapid.IntRange(0, 19).Draw(t, "op") {
	case 0, 1, 2:
		return remove(key, at)
	case 3, 4:
		return tombstone(key, at)
	case 5:
		return truncate(at)
	case 6, 7:
		return snapshot(key, n, at)
	case 8, 9, 10, 11:
		return keeping(key, n, at, rapid.SampledFrom([][]int{{0}, {1, 2}, {3}, {0, 1, 2, 3}}).Draw(t, "keep")...)
	default:
		return upsert(key, n, at)
	}
}

// Changes in any order give what the model gives, at any time.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := rapid.SampledFrom([]time.Duration{0, 1, 5 * time.Microsecond, 20 * time.Microsecond, time.Hour, Forever}).Draw(t, "history")
		table, err := New(Options{Schema: modelSchema(), History: history})
		if err != nil {
			t.Fatal(err)
		}
		m := &model{history: table.history, newest: math.MinInt64, events: map[string][]event{}}
		var log strings.Builder
		for n := range rapid.IntRange(1, 60).Draw(t, "changes") {
			c := anyChange(t, n)
			fmt.Fprintf(&log, "%+v\n", *c)
			m.apply(*c)
			table.Apply(c)
			live := 0
			for _, key := range []string{"a", "b", "a key that is too long for a line"} {
				for at := int64(-1); at <= 75; at++ {
					if at == -1 {
						at = record.MissingTime
					}
					if got, want := show(table.Get(key, at)), m.get(key, at); got != want {
						t.Fatalf("%s at %d: %s, want %s\n%s", key, at, got, want, log.String())
					}
					at = max(at, -1)
				}
				if m.get(key, record.MissingTime) != "-" {
					live++
				}
			}
			if table.Len() != live || table.Bytes() < 0 {
				t.Fatalf("%d keys, want %d; %d bytes\n%s", table.Len(), live, table.Bytes(), log.String())
			}
		}
	})
}

// modelSchema is testSchema without a test.
func modelSchema() *record.Schema {
	s, err := record.NewSchema(
		record.Field{Name: "key", Type: record.Enum}, record.Field{Name: "n", Type: record.Numeric},
		record.Field{Name: "from", Type: record.Time}, record.Field{Name: "text", Type: record.String},
	)
	if err != nil {
		panic(err)
	}
	return s
}

// An index is a map, whatever is set and removed.
func TestIndex(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var x index
		x.init()
		want := map[string]int64{}
		keys := rapid.IntRange(1, 3000).Draw(t, "keys")
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, keys), 0, 3000).Draw(t, "steps") {
			key := fmt.Sprint(strings.Repeat("x", n%40), n)
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				x.set(key, nil)
				delete(want, key)
				continue
			}
			e := &entry{at: int64(i)}
			e.setKey(key)
			x.set(key, e)
			want[key] = int64(i)
		}
		got := map[string]int64{}
		x.each(func(e *entry) bool { got[e.key()] = e.at; return true })
		if len(got) != len(want) || x.live != len(want) {
			t.Fatalf("%d keys, %d live, want %d", len(got), x.live, len(want))
		}
		for key, at := range want {
			if e := x.find(key); e == nil || e.at != at || got[key] != at {
				t.Fatalf("%s is not found", key)
			}
		}
		if x.find("none") != nil {
			t.Fatal("a key that is not there was found")
		}
	})
}
