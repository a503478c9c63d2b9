package stream

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/store"
)

// profile is a value with pieces of memory of its own.
type profile struct {
	Name   string
	Tags   []string
	Counts map[string]int64
}

// heap returns how much memory is in use, when collections find nothing more to free: pools and finalizers keep some for a while.
func heap() int64 {
	var m runtime.MemStats
	for last := uint64(math.MaxUint64); ; last = m.HeapAlloc {
		runtime.GC()
		if runtime.ReadMemStats(&m); m.HeapAlloc+16<<10 > last {
			return int64(m.HeapAlloc)
		}
	}
}

// cacheOf fills a cache, and returns how much it says that takes, and how much it does.
func cacheOf[K comparable, V any](t *testing.T, n int, keys Codec[K], values Codec[V], key func(int) K, value func(int) V) (says, takes int64) {
	t.Helper()
	db, err := store.Open(t.TempDir(), store.Options{})
	noError(t, err)
	state, err := db.Task("0_0")
	noError(t, err)
	s, err := state.Store(store.Spec{Name: "rows"})
	noError(t, err)
	kv := newKVStore("rows", s, keys, values, n)
	for i := range n {
		kv.key, err = keys.Append(append(kv.key[:0], prefixRow), key(i))
		noError(t, err)
		kv.value, err = values.Append(append(kv.value[:0], make([]byte, timestampBytes)...), value(i))
		noError(t, err)
		noError(t, s.Put(kv.key, kv.value))
	}
	state.Seal()
	noError(t, state.Commit(nil))
	state.Seal()
	noError(t, state.Commit(nil))
	noError(t, db.Flush()) // or it is done meanwhile, and gives memory back
	before := heap()
	for i := range n {
		_, err := kv.get(key(i))
		noError(t, err)
	}
	takes = heap() - before
	says = kv.account.Bytes()
	runtime.KeepAlive(kv)
	noError(t, state.Close())
	noError(t, db.Close())
	return says, takes
}

// TestRowSizes compares the estimate of what cached rows take with the heap. It is at most a third too low, and half too high.
func TestRowSizes(t *testing.T) { // not parallel: it measures the heap
	if testing.Short() {
		t.Skip("under the race detector Pebble's cache is a part of the heap")
	}
	number := func(i int) int64 { return int64(i) }
	name := func(i int) string { return fmt.Sprintf("customer-%07d", i) }
	text := func(n int) func(int) string {
		return func(i int) string { return strings.Repeat(string(rune('a'+i%26)), n) }
	}
	check := func(what string, says, takes int64) {
		t.Logf("%-20s says %9d, takes %9d: %+.0f %%", what, says, takes, 100*(float64(says)/float64(takes)-1))
		if low, high := takes*2/3, takes*3/2; says < low || says > high {
			t.Errorf("%s: the estimate is %d of %d bytes", what, says, takes)
		}
	}
	say := func(what string) func(int64, int64) { return func(a, b int64) { check(what, a, b) } }
	say("numbers")(cacheOf(t, 50_000, Int64(), Int64(), number, number))
	say("strings to numbers")(cacheOf(t, 50_000, String(), Int64(), name, number))
	say("10 B")(cacheOf(t, 50_000, String(), String(), name, text(10)))
	say("1 kB")(cacheOf(t, 10_000, String(), String(), name, text(1000)))
	say("100 kB")(cacheOf(t, 200, String(), String(), name, text(100_000)))
	say("sessions")(windowsOf(t, 20_000, Int64(), number, false, 1))
	say("sessions of 1 kB")(windowsOf(t, 10_000, String(), text(1000), false, 1))
	say("sliding")(windowsOf(t, 10_000, Int64(), number, true, 6))
	say("sliding of 1 kB")(windowsOf(t, 1_000, String(), text(1000), true, 6))
	say("profiles")(cacheOf(t, 10_000, String(), JSON[profile](), name, func(i int) profile {
		return profile{name(i), []string{name(i), "b"}, map[string]int64{"x": 1, name(i): 2}}
	}))
}

// windowsOf fills a cache with the sessions, or the sliding windows, of keys with a few records each.
func windowsOf[V any](t *testing.T, n int, values Codec[V], value func(int) V, sliding bool, records int) (says, takes int64) {
	t.Helper()
	top := New("windows")
	g := GroupByKey(From(top, "in", String(), values))
	last := func(_, v V) V { // of memory of its own
		b, err := values.Append(nil, v)
		noError(t, err)
		v, err = values.Decode(b)
		noError(t, err)
		return v
	}
	if sliding {
		ReduceWindows(WindowedBy(g, Sliding(time.Minute)), "rows", last, CacheRows(1_000_000))
	} else {
		ReduceSessions(WindowedBySessions(g, Sessions(time.Minute)), "rows", last, CacheRows(1_000_000))
	}
	d := drive(t, top)
	in := first[string, V](d)
	for i := range n * records {
		noError(t, in.send(&Record[string, V]{Key: fmt.Sprintf("customer-%07d", i%n), Value: value(i), Timestamp: int64(i)}))
	}
	d.commit()
	d.commit()
	used := heap()
	for _, node := range d.nodes {
		switch a := node.(type) {
		case *aggregateSliding[string, V, V]:
			says = a.account.Bytes()
			a.shrink(0)
		case *aggregateSessions[string, V, V]:
			says = a.rows.account.Bytes()
			a.rows.shrink(0)
		}
	}
	takes = used - heap()
	runtime.KeepAlive(d)
	return says, takes
}
