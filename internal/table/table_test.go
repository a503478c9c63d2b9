package table

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
)

func testSchema(t testing.TB) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "key", Type: record.Enum},
		record.Field{Name: "n", Type: record.Numeric},
		record.Field{Name: "from", Type: record.Time},
		record.Field{Name: "text", Type: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTable(t testing.TB, history time.Duration) *Table {
	t.Helper()
	table, err := New(Options{Schema: testSchema(t), History: history})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// rowOf returns a row by testSchema that has n in each field.
func rowOf(n int) *record.Row {
	text := strconv.Itoa(n)
	return &record.Row{Numbers: []float64{float64(n)}, Times: []int64{int64(n)}, Texts: []record.Text{{S: text, OK: true}, {S: text, OK: true}}}
}

// show returns what tells rowOf's rows apart: - is no row, and ? a field without a value.
func show(r *record.Row) string {
	if r == nil {
		return "-"
	}
	parts := []string{"?", "?", "?", "?"}
	if r.Texts[0].OK {
		parts[0] = r.Texts[0].S
	}
	if !math.IsNaN(r.Numbers[0]) {
		parts[1] = strconv.Itoa(int(r.Numbers[0]))
	}
	if r.Times[0] != record.MissingTime {
		parts[2] = strconv.Itoa(int(r.Times[0]))
	}
	if r.Texts[1].OK {
		parts[3] = r.Texts[1].S
	}
	if slices.Max(parts) == slices.Min(parts) {
		return parts[0]
	}
	return fmt.Sprint(parts)
}

func upsert(key string, n int, at int64) *cdc.Change {
	return &cdc.Change{Op: cdc.Upsert, Key: key, Row: rowOf(n), At: at}
}

// keeping is an upsert that does not tell the values of some fields.
func keeping(key string, n int, at int64, fields ...int) *cdc.Change {
	c := upsert(key, n, at)
	for _, f := range fields {
		switch f {
		case 0, 3:
			c.Row.Texts[f/3] = record.Text{}
		case 1:
			c.Row.Numbers[0] = math.NaN()
		case 2:
			c.Row.Times[0] = record.MissingTime
		}
	}
	c.Keep = fields
	return c
}

func snapshot(key string, n int, at int64) *cdc.Change {
	c := upsert(key, n, at)
	c.Snapshot = true
	return c
}

func remove(key string, at int64) *cdc.Change { return &cdc.Change{Op: cdc.Delete, Key: key, At: at} }

func tombstone(key string, at int64) *cdc.Change {
	return &cdc.Change{Op: cdc.Delete, Key: key, At: at, Tombstone: true}
}

func truncate(at int64) *cdc.Change { return &cdc.Change{Op: cdc.Truncate, At: at} }

func TestHistory(t *testing.T) {
	t.Parallel()
	const micro = time.Microsecond
	type want map[int64]string // by time
	const latest = record.MissingTime
	for name, c := range map[string]struct {
		history time.Duration
		changes []*cdc.Change
		want    want
	}{
		"valid from its time on":       {Forever, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 20)}, want{9: "-", 10: "1", 19: "1", 20: "2", 99: "2", latest: "2"}},
		"out of order":                 {Forever, []*cdc.Change{upsert("k", 3, 30), upsert("k", 1, 10), upsert("k", 2, 20)}, want{9: "-", 10: "1", 20: "2", 29: "2", 30: "3", latest: "3"}},
		"the later one stands":         {Forever, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 10)}, want{9: "-", 10: "2", latest: "2"}},
		"the later one of old ones":    {Forever, []*cdc.Change{upsert("k", 1, 10), upsert("k", 3, 20), upsert("k", 2, 10)}, want{10: "2", 20: "3"}},
		"deleted":                      {Forever, []*cdc.Change{upsert("k", 1, 10), remove("k", 20)}, want{10: "1", 19: "1", 20: "-", latest: "-"}},
		"deleted in the past":          {Forever, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 30), remove("k", 20)}, want{19: "1", 20: "-", 30: "2"}},
		"deleted before":               {Forever, []*cdc.Change{remove("k", 20), upsert("k", 1, 10)}, want{10: "1", 20: "-"}},
		"deleted and made again":       {Forever, []*cdc.Change{upsert("k", 1, 10), remove("k", 20), upsert("k", 2, 20)}, want{19: "1", 20: "2"}},
		"snapshot":                     {Forever, []*cdc.Change{snapshot("k", 1, 10), upsert("k", 2, 20)}, want{-99: "1", 19: "1", 20: "2"}},
		"snapshot alone":               {Forever, []*cdc.Change{snapshot("k", 1, 10)}, want{-99: "1", 19: "1"}},
		"snapshot, older version":      {Forever, []*cdc.Change{snapshot("k", 2, 20), upsert("k", 1, 10)}, want{9: "-", 10: "1", 19: "1", 20: "2"}},
		"snapshot after a delete":      {Forever, []*cdc.Change{remove("k", 5), snapshot("k", 2, 20)}, want{9: "-", 20: "2"}},
		"truncate":                     {Forever, []*cdc.Change{upsert("k", 1, 10), upsert("l", 1, 10), truncate(20), upsert("k", 2, 30)}, want{10: "1", 20: "-", 29: "-", 30: "2"}},
		"truncate, then a late change": {Forever, []*cdc.Change{truncate(20), upsert("k", 1, 10)}, want{10: "1", 20: "-"}},
		"truncate, then two late ones": {Forever, []*cdc.Change{truncate(20), upsert("k", 2, 15), upsert("k", 1, 10)}, want{10: "1", 15: "2", 20: "-"}},
		"truncate, then a row at once": {Forever, []*cdc.Change{upsert("k", 1, 10), truncate(20), upsert("k", 2, 20)}, want{10: "1", 20: "2"}},
		"a row, then a truncate":       {Forever, []*cdc.Change{upsert("k", 2, 20), truncate(20)}, want{20: "-"}},
		"truncate before a snapshot":   {Forever, []*cdc.Change{truncate(5), snapshot("k", 1, 10)}, want{4: "-", 9: "-", 10: "1"}},
		"truncate of a snapshot":       {Forever, []*cdc.Change{snapshot("k", 1, 10), truncate(20)}, want{4: "1", 19: "1", 20: "-"}},
		"tombstone":                    {Forever, []*cdc.Change{upsert("k", 1, 10), tombstone("k", 20)}, want{19: "1", 20: "-"}},
		"tombstone after a delete":     {Forever, []*cdc.Change{upsert("k", 1, 10), remove("k", 11), tombstone("k", 20), upsert("k", 2, 15)}, want{10: "1", 11: "-", 15: "2", latest: "2"}},
		"made again before tombstone":  {Forever, []*cdc.Change{upsert("k", 1, 10), tombstone("k", 20), upsert("k", 2, 15)}, want{14: "1", 15: "2", 20: "2", latest: "2"}},
		"tombstone from before":        {Forever, []*cdc.Change{upsert("k", 1, 10), tombstone("k", 5)}, want{10: "1", 11: "-"}},
		"tombstone of nothing":         {Forever, []*cdc.Change{tombstone("k", 5), upsert("k", 1, 3)}, want{3: "1", 5: "1"}},
		"keep":                         {Forever, []*cdc.Change{upsert("k", 1, 10), keeping("k", 2, 20, 0, 1, 2), upsert("k", 3, 30)}, want{10: "1", 20: "[1 1 1 2]", 30: "3"}},
		"keep with nothing before":     {Forever, []*cdc.Change{keeping("k", 2, 20, 3)}, want{20: "[2 2 2 ?]"}},
		"keep after a delete":          {Forever, []*cdc.Change{upsert("k", 1, 10), remove("k", 15), keeping("k", 2, 20, 3)}, want{20: "[2 2 2 ?]"}},
		"keep, then a late row":        {Forever, []*cdc.Change{upsert("k", 1, 10), keeping("k", 3, 30, 3), keeping("k", 4, 40, 1, 3), upsert("k", 2, 20)}, want{30: "[3 3 3 2]", 40: "[4 3 4 2]"}},
		"keep what had the same time":  {Forever, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 20), keeping("k", 3, 20, 3), upsert("k", 4, 15)}, want{20: "[3 3 3 2]"}},
		"keep twice at one time":       {Forever, []*cdc.Change{upsert("k", 1, 10), keeping("k", 2, 20, 3), keeping("k", 3, 20, 1, 3), upsert("k", 4, 15)}, want{20: "[3 2 3 4]"}},

		"what ended is forgotten":      {10 * micro, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 20), upsert("l", 1, 30)}, want{10: "-", 19: "-", 20: "2", latest: "2"}},
		"what was valid then is not":   {10 * micro, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 20), upsert("l", 1, 29)}, want{9: "-", 10: "1", 19: "1", 20: "2"}},
		"the latest stays":             {10 * micro, []*cdc.Change{upsert("k", 1, 10), upsert("l", 1, 99)}, want{9: "-", 10: "1", latest: "1"}},
		"too late":                     {10 * micro, []*cdc.Change{upsert("k", 2, 20), upsert("l", 1, 30), upsert("k", 1, 10)}, want{10: "-", 20: "2"}},
		"late, and valid at the end":   {10 * micro, []*cdc.Change{upsert("k", 2, 25), upsert("l", 1, 30), upsert("k", 1, 10)}, want{10: "1", 24: "1", 25: "2"}},
		"late, for a new key":          {10 * micro, []*cdc.Change{upsert("l", 1, 99), upsert("k", 1, 10)}, want{9: "-", 10: "1"}},
		"a delete is forgotten":        {10 * micro, []*cdc.Change{remove("k", 20), upsert("l", 1, 30), upsert("k", 1, 10)}, want{10: "1", 99: "1"}},
		"a delete is known":            {10 * micro, []*cdc.Change{remove("k", 20), upsert("l", 1, 29), upsert("k", 1, 10)}, want{10: "1", 20: "-"}},
		"snapshot, the older forgot":   {10 * micro, []*cdc.Change{upsert("k", 1, 10), snapshot("k", 2, 20), upsert("l", 1, 99)}, want{19: "-", 20: "2"}},
		"no history":                   {0, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 20)}, want{0: "2", 10: "2", latest: "2"}},
		"no history, times go back":    {0, []*cdc.Change{upsert("k", 1, 10), upsert("k", 2, 5)}, want{0: "2", latest: "2"}},
		"no history, deleted":          {0, []*cdc.Change{upsert("k", 1, 10), remove("k", 5)}, want{0: "-", latest: "-"}},
		"no history, tombstone":        {0, []*cdc.Change{upsert("k", 1, 10), tombstone("k", 5)}, want{0: "-", latest: "-"}},
		"no history, truncated":        {0, []*cdc.Change{upsert("k", 1, 10), truncate(20), upsert("l", 2, 30)}, want{0: "-", latest: "-"}},
		"no history, keep":             {0, []*cdc.Change{upsert("k", 1, 10), keeping("k", 2, 20, 3)}, want{0: "[2 2 2 1]"}},
		"no history, keep of nothing":  {0, []*cdc.Change{keeping("k", 2, 20, 3)}, want{0: "[2 2 2 ?]"}},
		"no history, the key is empty": {0, []*cdc.Change{upsert("", 2, 20)}, want{0: "-"}},
	} {
		table := newTable(t, c.history)
		for _, change := range c.changes {
			table.Apply(change)
		}
		for at, want := range c.want {
			if got := show(table.Get("k", at)); got != want {
				t.Errorf("%s: at %d: %s, want %s", name, at, got, want)
			}
		}
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	table := newTable(t, 10*time.Microsecond)
	for _, c := range []*cdc.Change{
		upsert("a", 1, 10), upsert("b", 1, 20), upsert("c", 1, 30), remove("c", 31), upsert("a", 2, 5), upsert("a", 3, 12), upsert("a", 2, 11), keeping("d", 1, 30, 1, 3),
	} {
		table.Apply(c)
	}
	if got, want := table.Counts(), (Counts{Late: 2, Gaps: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if table.Len() != 3 || table.Horizon() != 21 {
		t.Errorf("%d keys, horizon %d", table.Len(), table.Horizon())
	}
	seen := map[string]string{}
	table.Each(func(key string, row *record.Row) bool {
		seen[key] = show(row)
		return true
	})
	if len(seen) != 3 || seen["a"] != "3" || seen["d"] != "[1 ? 1 ?]" {
		t.Error(seen)
	}
	calls := 0
	table.Each(func(string, *record.Row) bool { calls++; return false })
	if calls != 1 {
		t.Errorf("%d calls after false", calls)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no error without a schema")
	}
}

// What is forgotten gives its memory back, also of keys that do not change any more, and what is empty takes none.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	table := newTable(t, 100*time.Microsecond)
	for i := range 10_000 {
		key := strconv.Itoa(i % 500)
		table.Apply(upsert(key, i, int64(i)))
		if i%7 == 0 {
			table.Apply(remove(key, int64(i)))
		}
	}
	for i := range 500 {
		table.Apply(remove(strconv.Itoa(i), 20_000))
	}
	table.Apply(remove("x", 30_000))
	table.Apply(remove("x", 40_000))
	entries := table.index.live
	if entries > 1 || table.Len() != 0 || len(table.due.items)-table.due.head > 2 {
		t.Errorf("%d entries, %d keys, %d to forget", entries, table.Len(), len(table.due.items)-table.due.head)
	}
	if b := table.Bytes(); b < 0 || b > 1000 {
		t.Errorf("%d bytes", b)
	}
}

// The estimate is near what the heap says.
func TestBytes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what allocations take")
	}
	for name, c := range map[string]struct {
		history  time.Duration
		versions int
	}{"latest": {0, 1}, "one version": {Forever, 1}, "five versions": {Forever, 5}} {
		const keys = 50_000
		before := heap()
		table := newTable(t, c.history)
		for v := range c.versions {
			for i := range keys {
				table.Apply(upsert("customer-"+strconv.Itoa(i), i, int64(v)))
			}
		}
		took := heap() - before
		if ratio := float64(table.Bytes()) / float64(took); ratio < 0.75 || ratio > 1.33 {
			t.Errorf("%s: %d bytes, the heap grew by %d", name, table.Bytes(), took)
		}
		runtime.KeepAlive(table)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Look-ups beside changes give a row that was there, and race with nothing.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	for _, history := range []time.Duration{0, 50 * time.Microsecond, Forever} {
		table := newTable(t, history)
		done := make(chan struct{})
		var readers sync.WaitGroup
		for r := range 4 {
			readers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					key := i % 100
					if row := table.Get(strconv.Itoa(key), int64(i%5000)); row != nil && int(row.Numbers[0])%100 != key {
						t.Errorf("key %d has row %v", key, row.Numbers[0])
					}
					if r == 0 && i%1000 == 0 {
						table.Each(func(string, *record.Row) bool { return true })
						_, _, _ = table.Len(), table.Bytes(), table.Counts()
					}
				}
			})
		}
		for i := range 5000 {
			switch key := strconv.Itoa(i % 100); {
			case i%997 == 0:
				table.Apply(truncate(int64(i)))
			case i%11 == 0:
				table.Apply(remove(key, int64(i)))
			case i%13 == 0:
				table.Apply(keeping(key, i, int64(i), 3))
			default:
				table.Apply(upsert(key, i, int64(i-i%3*20)))
			}
		}
		close(done)
		readers.Wait()
	}
}

// value writes the value of a field; - is missing.
func value(s *record.Schema, r *record.Row, f int) string {
	slot := s.Slot(f)
	switch s.Field(f).Type {
	case record.Numeric:
		if v := r.Numbers[slot]; !math.IsNaN(v) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case record.Time:
		if v := r.Times[slot]; v != record.MissingTime {
			return strconv.FormatInt(v, 10)
		}
	case record.Enum, record.String:
		if v := r.Texts[slot]; v.OK {
			return v.S
		}
	}
	return "-"
}
