package stream

import (
	"bytes"
	"testing"
	"time"

	"millrace.dev/internal/task"
)

// TestLookup has each store whose rows have keys tell how these are found and shown.
func TestLookup(t *testing.T) {
	t.Parallel()
	top := New("app")
	in := From(top, "in", String(), Int64())
	g := GroupByKey(in)
	Count(g, "counts")
	Reduce(g, "sums", func(a, v int64) int64 { return a + v })
	ToTable(in, "latest")
	ToTable(in, "versions", Versioned(time.Second))
	TableFrom(top, "table", "topic", pairs(), JSON[map[string]int]())
	CountWindows(WindowedBy(g, Tumbling(time.Second)), "windows")
	CountTable(GroupTable(ToTable(in, "rows"), String(), Int64(), func(k string, v int64) (string, int64) { return k, v }), "groups")
	CountWindows(WindowedBy(g, Sliding(time.Second)), "sliding")
	CountWindows(WindowedBy(g, Sliding(time.Second)), "sliding-close", EmitOnClose())
	CountSessions(WindowedBySessions(g, Sessions(time.Second)), "sessions")
	sum := func(_ string, v, a int64) int64 { return a + v }
	zero := func() int64 { return 0 }
	c := Cogroup(g, sum)
	AggregateCogroup(c, "together", Int64(), zero, TTL(time.Second))
	AggregateCogroupWindows(c, Tumbling(time.Second), "together-windows", Int64(), zero)
	AggregateCogroupSessions(c, Sessions(time.Second), "together-sessions", Int64(), zero, sum)
	JoinStream(in, in, "join", Symmetric(time.Second), func(a, _ int64) int64 { return a })
	SuppressUntilTimeLimit(ToTable(in, "updates"), "wait", time.Second, Unbounded())
	JoinForeignKey(ToTable(in, "left"), ToTable(in, "right"), "foreign", func(k string, _ int64) (string, bool) { return k, true }, func(a, _ int64) int64 { return a })
	Process(in, "own", func() Processor[string, int64, string, int64] { return nil }, NewStore("own-store", Float64(), Nullable(Decimal())))
	p, err := top.Program()
	if err != nil {
		t.Fatal(err)
	}
	stores := map[string]task.StoreSpec{}
	for _, sub := range p.Subs {
		for _, s := range sub.Stores {
			stores[s.Name] = s
			if s.Row != nil && s.Lookup == nil {
				t.Errorf("store %s has rows, and does not say how they are found", s.Name)
			}
		}
	}
	for _, name := range []string{"join-left", "join-right", "wait", "foreign-subscriptions"} { // what operators keep for themselves
		if s, ok := stores[name]; !ok || s.Row != nil || s.Lookup != nil {
			t.Errorf("store %s is shown: %v, %+v", name, ok, s)
		}
	}
	for _, x := range []struct{ store, text, json string }{
		{"counts", "a b", `"a b"`},
		{"counts", "", `""`},
		{"counts", "\xff", `"/w=="`},
		{"own-store", "0.5", "0.5"},
		{"own-store", "NaN", `"NaN"`},
		{"windows", "k", `"k"`},
		{"table", "[1,2]", "[1,2]"},
		{"groups", "k", `"k"`},
		{"sliding", "k", `"k"`},
		{"sessions", "k", `"k"`},
		{"together", "k", `"k"`},
		{"together-windows", "k", `"k"`},
		{"together-sessions", "k", `"k"`},
	} {
		l := stores[x.store].Lookup
		key, err := l.ParseKey(nil, x.text)
		if err != nil {
			t.Errorf("%s: %q: %v", x.store, x.text, err)
			continue
		}
		if got, err := l.Key(key); err != nil || string(got) != x.json {
			t.Errorf("%s: %q is shown as %s: %v", x.store, x.text, got, err)
		}
		// The key in the store is one whose row has the key.
		var at []byte
		if l.Segment > 0 {
			of := l.Of(appendTime(bytes.Clone(l.Rows), 7), key)
			if !bytes.Equal(of[:l.Segment], appendTime([]byte{prefixRow}, 7)) {
				t.Errorf("%s: %x is no beginning of a row in a segment", x.store, of)
			}
			at = appendTime(appendTime(of, 5000), 5000)
			if x.store != "sliding" {
				at = appendTime(appendTime(of, 6000), 5000)
			}
		} else {
			at = l.At(nil, key, 5000)
		}
		row, ok, err := stores[x.store].Row(at, make([]byte, timestampBytes+1))
		if l.Windows && ok {
			w, e := WindowedKey(String()).Decode(row.Key)
			if e != nil || w.Start != 5000 || w.End != 6000 || w.Key != x.text {
				t.Errorf("%s: %q: %+v, %v", x.store, x.text, w, e)
			}
		} else if string(row.Key) != string(key) {
			t.Errorf("%s: %q: row %+v", x.store, x.text, row)
		}
		if !ok || err != nil {
			t.Errorf("%s: %q: no row: %v", x.store, x.text, err)
		}
	}
	for store, text := range map[string]string{"own-store": "x", "table": "{"} {
		if _, err := stores[store].Lookup.ParseKey(nil, text); err == nil {
			t.Errorf("%s: %q is a key", store, text)
		}
	}
	if b, err := stores["own-store"].Lookup.Value(nil); err != nil || string(b) != "null" {
		t.Errorf("null is shown as %s: %v", b, err)
	}
	numbers := func(list ...int64) (b []byte) {
		for _, n := range list {
			b = appendTime(b, n)
		}
		return b
	}
	for _, x := range []struct {
		store        string
		meta         []byte
		floor, since int64
	}{
		{"windows", nil, never, never},
		{"windows", numbers(9000, 8000, 8000), 7001, never},
		{"sliding", nil, never, never},
		{"sliding", numbers(9000, 9000, 8500), 6500, never}, // twice the difference
		{"sliding", numbers(9000, never, never), never, never},
		{"sliding-close", numbers(9000, 2000, 8500), 1000, never}, // not emitted yet
		{"sessions", nil, never, never},
		{"sessions", numbers(9000, 8000, 0), never, 8000},
		{"together", nil, never, never},
		{"together", numbers(9000, 62), never, 8000},
		{"together", numbers(task.NoTime, 62), never, never},
		{"latest", numbers(9000, 8000), never, never},
	} {
		s := stores[x.store]
		k, err := s.Kept(func([]byte) ([]byte, error) { return x.meta, nil })
		if err != nil || k.Floor != x.floor || k.Since != x.since {
			t.Errorf("%s with %x: %+v, %v", x.store, x.meta, k, err)
		}
	}
	damaged := stores["sliding"]
	for _, b := range [][]byte{{1}, numbers(1)} {
		if _, err := damaged.Kept(func([]byte) ([]byte, error) { return b, nil }); err == nil {
			t.Errorf("%x was read", b)
		}
	}
}

// pairs is the codec of keys of a type that has none of its own: two numbers as JSON.
func pairs() Codec[[2]int] { return JSON[[2]int]() }
