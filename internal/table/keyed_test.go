package table

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// What is kept of single keys, through their bytes and through restarts, gives what the model gives.
func TestKeyed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Schema: modelSchema(), History: rapid.SampledFrom([]time.Duration{0, 1, 5 * time.Microsecond, 20 * time.Microsecond, time.Hour, Forever}).Draw(t, "history")}
		start := func(newest int64) *Keyed {
			k, err := NewKeyed(o)
			if err != nil {
				t.Fatal(err)
			}
			if newest != math.MinInt64 {
				k.Advance(newest)
			}
			return k
		}
		k := start(math.MinInt64)
		m := &model{history: k.table.history, newest: math.MinInt64, events: map[string][]event{}}
		store := map[string][]byte{}
		var log strings.Builder
		for n := range rapid.IntRange(1, 60).Draw(t, "changes") {
			c := anyChange(t, n)
			if c.Op == cdc.Truncate {
				k = start(k.Newest())
				continue
			}
			fmt.Fprintf(&log, "%+v\n", *c)
			m.apply(*c)
			v, err := k.Decode(store[c.Key])
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Apply(v, k.AppendChange(nil, c)); err != nil {
				t.Fatal(err)
			}
			store[c.Key] = k.Append(nil, v)
			for _, key := range []string{"a", "b", "a key that is too long for a line"} {
				v, err := k.Decode(store[key])
				if err != nil {
					t.Fatal(err)
				}
				if k.Forget(v); !bytes.Equal(k.Append(nil, v), store[key]) && rapid.Bool().Draw(t, "swept") {
					store[key] = k.Append(nil, v)
				}
				for _, at := range times() {
					if got, want := show(k.Get(v, at)), m.get(key, at); got != want {
						t.Fatalf("%s at %d: %s, want %s\n%s", key, at, got, want, log.String())
					}
				}
			}
		}
	})
}

func times() []int64 {
	list := []int64{record.MissingTime}
	for at := range int64(76) {
		list = append(list, at)
	}
	return list
}

// Bytes are read as what they were written as, or not at all.
func FuzzVersions(f *testing.F) {
	k, err := NewKeyed(Options{Schema: modelSchema(), History: Forever})
	if err != nil {
		f.Fatal(err)
	}
	var v Versions
	for n, c := range []*cdc.Change{snapshot("a", 1, 1), keeping("a", 2, 2, 1, 3), remove("a", 3), upsert("a", 4, 4), tombstone("a", 9)} {
		if err := k.Apply(&v, k.AppendChange(nil, c)); err != nil {
			f.Fatal(n, err)
		}
		f.Add(k.Append(nil, &v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := k.Decode(b)
		if err != nil {
			return
		}
		again := k.Append(nil, v)
		w, err := k.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, k.Append(nil, w)) {
			t.Fatalf("%x, then %x", again, k.Append(nil, w))
		}
	})
}
