package stream

import (
	"math"
	"testing"

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
	ToTable(in, "versions", Versioned(1000*1000*1000))
	TableFrom(top, "table", "topic", pairs(), JSON[map[string]int]())
	CountWindows(WindowedBy(g, Tumbling(1000*1000*1000)), "windows")
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
	for _, x := range []struct{ store, text, json string }{
		{"counts", "a b", `"a b"`}, {"counts", "", `""`}, {"counts", "\xff", `"/w=="`}, {"own-store", "0.5", "0.5"}, {"own-store", "NaN", `"NaN"`},
		{"windows", "k", `"k"`}, {"table", "[1,2]", "[1,2]"},
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
		at := l.At(nil, key, 5000)
		row, ok, err := stores[x.store].Row(at, make([]byte, timestampBytes))
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
	floor := stores["windows"].Lookup.Floor
	for _, x := range []struct {
		meta []byte
		want int64
	}{{nil, math.MinInt64}, {appendTime(appendTime(appendTime(nil, 9000), 8000), 8000), 7001}} {
		if got, err := floor(func([]byte) ([]byte, error) { return x.meta, nil }); err != nil || got != x.want {
			t.Errorf("floor of %x: %d, %v", x.meta, got, err)
		}
	}
}

// pairs is the codec of keys of a type that has none of its own: two numbers as JSON.
func pairs() Codec[[2]int] { return JSON[[2]int]() }
