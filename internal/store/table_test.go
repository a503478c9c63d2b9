package store

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// manyKeys returns what draws keys that begin alike, or not, and of which many are there already.
func manyKeys(rng *rand.Rand) func() []byte {
	prefixes := []string{"", "customer", "customer/", "\xff\xff", "a"}
	prefixes = prefixes[:1+rng.IntN(len(prefixes))]
	if rng.IntN(2) == 0 {
		prefixes = prefixes[len(prefixes)-1:]
	}
	width := rng.IntN(12)
	return func() []byte {
		return fmt.Appendf(nil, "%s%0*d", prefixes[rng.IntN(len(prefixes))], width, rng.IntN(20_000))
	}
}

// runs is how many random tables are made. One goroutine makes them, for which the race detector finds nothing.
func runs() int {
	if testing.Short() {
		return 6
	}
	return 30
}

// TestOrder brings thousands of keys into order, all at once and in parts.
func TestOrder(t *testing.T) {
	t.Parallel()
	for range runs() {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		key, o := manyKeys(rng), newOverlay(maphash.MakeSeed())
		for generation := range 3 {
			want := map[string]bool{}
			ascending := rng.IntN(3) == 0
			for part := range rng.IntN(8) {
				for i := range rng.IntN(3000) {
					k := key()
					if ascending {
						k = fmt.Appendf(nil, "%d/%05d", part, i)
					}
					o.put(k, k)
					want[string(k)] = true
				}
				o.arrange()
				var got []string
				o.each(func(e *entry) { got = append(got, string(e.key)) })
				if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
					t.Fatalf("seed %d, generation %d: %d keys in another order than %d", seed, generation, len(got), len(want))
				}
				if len(got) > 0 {
					checkSeek(t, o, got, key())
				}
			}
			for k := range want {
				if v, known := o.get([]byte(k)); !known || string(v) != k {
					t.Fatalf("seed %d: %q is %q, %t", seed, k, v, known)
				}
			}
			o.reset()
			if !o.empty() || o.bytes() != 0 {
				t.Fatalf("seed %d: %d bytes after a reset", seed, o.bytes())
			}
		}
	}
}

// checkSeek looks for key, and walks both ways from there.
func checkSeek(t *testing.T, o *overlay, sorted []string, key []byte) {
	t.Helper()
	i, _ := slices.BinarySearch(sorted, string(key))
	p := o.order.seek(o.entries, key)
	at := func(p place) string { return string(o.entries[o.order.blocks[p.block][p.at]].key) }
	if p == o.order.end() != (i == len(sorted)) {
		t.Fatalf("seek %q: %v of %d", key, p, len(sorted))
	}
	if back, ok := o.order.prev(p); ok != (i > 0) || ok && at(back) != sorted[i-1] {
		t.Fatalf("before %q: %v, %t", key, back, ok)
	}
	for ; i < len(sorted); i++ {
		if at(p) != sorted[i] {
			t.Fatalf("from %q on: %q, not %q", key, at(p), sorted[i])
		}
		p = o.order.next(p)
	}
	if p != o.order.end() {
		t.Fatalf("from %q on: more than %d keys", key, len(sorted))
	}
}

// TestTable makes tables of tables, and looks at the old ones again at the end.
func TestTable(t *testing.T) {
	t.Parallel()
	for range runs() {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		key := manyKeys(rng)
		type state struct {
			table *table
			want  map[string]string
		}
		states := []state{{&table{}, map[string]string{}}}
		for range 15 {
			last := states[len(states)-1]
			next := state{last.table, maps.Clone(last.want)}
			if rng.IntN(4) == 0 {
				from, to := key(), key()
				next.table = next.table.without(from, to)
				maps.DeleteFunc(next.want, func(k, _ string) bool { return string(from) <= k && k < string(to) })
			} else {
				var writes []write
				for range rng.IntN(1500) {
					w := write{key: key()}
					if rng.IntN(4) > 0 {
						w.value = fmt.Append([]byte{}, rng.IntN(1000))
						next.want[string(w.key)] = string(w.value)
					} else {
						delete(next.want, string(w.key))
					}
					writes = append(writes, w)
				}
				next.table = next.table.with(lastOfEach(writes))
			}
			states = append(states, next)
		}
		for i, s := range states {
			if got := contents(s.table); !maps.Equal(got, s.want) || s.table.len != len(got) {
				t.Fatalf("seed %d: table %d has %d keys, says %d, wants %d", seed, i, len(got), s.table.len, len(s.want))
			}
			sorted := slices.Sorted(maps.Keys(s.want))
			for range 50 {
				k := key()
				at, found := slices.BinarySearch(sorted, string(k))
				if v := s.table.get(k); (v != nil) != found || string(v) != s.want[string(k)] {
					t.Fatalf("seed %d: table %d: %q is %q", seed, i, k, v)
				}
				p := s.table.seek(k)
				if at == len(sorted) != (p == s.table.end()) || at < len(sorted) && string(s.table.blocks[p.block].items[p.at].key()) != sorted[at] {
					t.Fatalf("seed %d: table %d: seek %q: %v", seed, i, k, p)
				}
			}
		}
	}
}

func contents(t *table) map[string]string {
	m := map[string]string{}
	var last []byte
	for _, b := range t.blocks {
		for i := range b.items {
			if k := b.items[i].key(); last == nil || bytes.Compare(last, k) < 0 {
				m[string(k)], last = string(b.items[i].value()), k
			}
		}
	}
	return m
}
