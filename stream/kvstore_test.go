package stream

import (
	"maps"
	"runtime"
	"strconv"
	"testing"
	"weak"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/store"
	"pgregory.net/rapid"
)

// openKV returns an empty store of rows.
func openKV(tb rapid.TB, limit int) *kvStore[int64, int64] {
	db, err := store.Open("", store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	state, err := db.Task("0_0")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := state.Store(store.Spec{Name: "rows"})
	if err != nil {
		tb.Fatal(err)
	}
	return newKVStore("rows", s, Int64(), Int64(), limit)
}

// TestKVStore compares the cache over the store with a map, and looks at the bounds of the cache.
func TestKVStore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		s := openKV(t, limit)
		s.hold = rapid.Bool().Draw(t, "hold")
		rows, sent := map[int64]int64{}, map[int64]int64{} // sent is what a receiver of held updates has
		flush := func() {
			if !s.hold {
				checkRapid(t, s.flush(nil))
				return
			}
			checkRapid(t, s.flush(func(c *cached[int64, int64], was row[int64]) error {
				if v, ok := sent[c.key]; ok != was.exists || ok && v != was.value {
					t.Fatalf("row %d was %v, and %d, %v was sent", c.key, was, v, ok)
				}
				if delete(sent, c.key); c.row.exists {
					sent[c.key] = c.row.value
				}
				return nil
			}))
			if !maps.Equal(sent, rows) {
				t.Fatalf("sent %v, want %v", sent, rows)
			}
		}
		key := rapid.Int64Range(0, 11)
		t.Repeat(map[string]func(*rapid.T){
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				r, err := s.get(k)
				if v, ok := rows[k]; err != nil || r.exists != ok || ok && (r.value != v || r.timestamp != -v) {
					t.Fatalf("row %d: got %v, %v, want %d, %v", k, r, err, v, ok)
				}
			},
			"set": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.Int64Range(0, 99).Draw(t, "value")
				c, err := s.at(k)
				checkRapid(t, err)
				s.mark(c)
				c.row = row[int64]{value: v, timestamp: -v, exists: true}
				rows[k] = v
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				c, err := s.at(k)
				checkRapid(t, err)
				s.mark(c)
				c.row = row[int64]{}
				delete(rows, k)
			},
			"flush": func(*rapid.T) { flush() },
			"scan": func(t *rapid.T) {
				flush()
				got := map[int64]int64{}
				checkRapid(t, s.scan([]byte{prefixRow}, []byte{prefixRow + 1}, func(k int64, r row[int64]) (bool, error) {
					got[k] = r.value
					return true, nil
				}))
				if diff := cmp.Diff(rows, got); diff != "" {
					t.Fatal(diff)
				}
			},
			"": func(t *rapid.T) { checkCache(t, s) },
		})
	})
}

func checkRapid(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// checkCache looks whether the lists of the cache are whole, and within their bounds.
func checkCache(t *rapid.T, s *kvStore[int64, int64]) {
	clean := 0
	for c := s.clean.next; c != &s.clean; c = c.next {
		if clean++; c.dirty || s.rows[c.key] != c || c.next.prev != c || clean > len(s.rows) {
			t.Fatalf("the list of clean rows is broken at %d", c.key)
		}
	}
	dirty := 0
	for _, c := range s.dirty {
		if dirty++; !c.dirty || s.rows[c.key] != c {
			t.Fatalf("row %d is not the dirty one", c.key)
		}
	}
	if clean+dirty != len(s.rows) || dirty != s.uncommitted() {
		t.Fatalf("%d clean and %d dirty rows of %d", clean, dirty, len(s.rows))
	}
	if s.hold && len(s.before) != dirty || !s.hold && (dirty > s.limit || len(s.before) > 0) {
		t.Fatalf("%d rows wait, with %d old ones, of %d at most", dirty, len(s.before), s.limit)
	}
	if len(s.rows) > max(s.limit, dirty+1) {
		t.Fatalf("%d rows in a cache of %d, %d of them dirty", len(s.rows), s.limit, dirty)
	}
}

// TestCacheReusesRows looks at the number of rows that were ever made.
func TestCacheReusesRows(t *testing.T) {
	t.Parallel()
	s := openKV(t, 64)
	made := map[*cached[int64, int64]]bool{}
	for k := range int64(1000) {
		c, err := s.at(k)
		noError(t, err)
		s.mark(c)
		c.row = row[int64]{value: k, exists: true}
		made[c] = true
	}
	if len(made) > s.limit+1 {
		t.Errorf("%d rows were made for a cache of %d", len(made), s.limit)
	}
}

// TestForgottenRowsAreFreed has all rows forgotten but some that are used again and again: these must not keep the memory of others.
func TestForgottenRowsAreFreed(t *testing.T) {
	t.Parallel()
	const rows, often = 1000, 10
	s := openKV(t, 10*rows)
	var pointers []weak.Pointer[cached[int64, int64]]
	use := func(k int64) {
		c, err := s.at(k)
		noError(t, err)
		pointers = append(pointers, weak.Make(c))
	}
	for k := range int64(rows) {
		use(k)
	}
	for k := int64(0); k < rows; k += often {
		use(k)
	}
	s.shrink(s.account.Bytes() / often)
	runtime.GC()
	held := 0
	for _, p := range pointers[:rows] {
		if p.Value() != nil {
			held++
		}
	}
	if held != rows/often || len(s.rows) != held {
		t.Errorf("%d of %d rows are in memory, and %d in the cache, want %d", held, rows, len(s.rows), rows/often)
	}
	runtime.KeepAlive(s)
}

// TestRowsThatAreGone looks whether a flush leaves out the rows that nobody will read.
func TestRowsThatAreGone(t *testing.T) {
	t.Parallel()
	s := openKV(t, 10)
	s.gone = func(k int64) bool { return k < 3 }
	for k := range int64(6) {
		c, err := s.at(k)
		noError(t, err)
		s.mark(c)
		c.row = row[int64]{value: k, exists: true}
	}
	var got []int64
	noError(t, s.scan([]byte{prefixRow}, []byte{prefixRow + 1}, func(k int64, _ row[int64]) (bool, error) {
		got = append(got, k)
		return true, nil
	}))
	if diff := cmp.Diff([]int64{3, 4, 5}, got); diff != "" || len(s.rows) != 3 {
		t.Errorf("%d rows are cached, and in the store is\n%s", len(s.rows), diff)
	}
}

// TestUncommitted looks at the number of rows that a task says it holds.
func TestUncommitted(t *testing.T) {
	t.Parallel()
	top := New("held")
	s := From(top, "in", String(), Int64())
	Count(GroupByKey(s), "held", EmitOnCommit(), CacheRows(2))
	Count(GroupByKey(s), "written", CacheRows(2))
	CountWindows(WindowedBy(GroupByKey(s), Tumbling(1e6)), "windows", EmitOnCommit())
	d := drive(t, top)
	for i := range 5 {
		noError(t, first[string, int64](d).send(&Record[string, int64]{Key: strconv.Itoa(i)}))
	}
	if n := d.task.Uncommitted(); n != 5+1+5 {
		t.Errorf("%d rows", n)
	}
	d.commit()
	if n := d.task.Uncommitted(); n != 0 {
		t.Errorf("%d rows after a commit", n)
	}
}
