package stream

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/store"
	"pgregory.net/rapid"
)

// TestEntries looks whether each row has one entry, that of its segment, and there is no other, while the TTL changes, is
// taken away and comes back.
func TestEntries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		logs, at := map[string][]store.Entry{}, int64(0)
		for range rapid.IntRange(1, 4).Draw(rt, "runs") {
			var opts []TableOption
			ttl := rapid.SampledFrom([]int64{0, 10, 100, 1000}).Draw(rt, "ttl")
			if ttl > 0 {
				opts = append(opts, TTL(time.Duration(ttl)*time.Millisecond))
			}
			top := New("entries")
			TableFrom(top, "rows", "in", Int64(), Int64(), opts...)
			d := resume(t, top, logs)
			for range rapid.IntRange(0, 50).Draw(rt, "records") {
				at += rapid.OneOf(rapid.Int64Range(-20, 20), rapid.Just(int64(500))).Draw(rt, "step")
				at = max(at, 0)
				r := Record[int64, int64]{Key: rapid.Int64Range(0, 9).Draw(rt, "key"), Timestamp: at}
				r.NullValue = rapid.IntRange(0, 5).Draw(rt, "delete") == 0
				noError(t, first[int64, int64](d).send(&r))
				if rapid.IntRange(0, 5).Draw(rt, "commit") == 0 {
					d.commit()
				}
			}
			d.commit()
			checkEntries(rt, d, ttl)
			for name, log := range d.output.logs {
				logs[name] = append(logs[name], log...)
			}
		}
	})
}

func checkEntries(t *rapid.T, d *driven, ttl int64) {
	wanted, got := map[string]bool{}, map[string]bool{}
	interval := max(1, ttl/segmentsOfTTL)
	checkRapid(t, d.state.Changes(func(string, []byte, []byte) error { return nil }))
	checkRapid(t, d.task.Store("rows").Scan(nil, nil, func(key, value []byte) (bool, error) {
		switch {
		case key[0] == prefixRow && ttl > 0:
			r, _, err := tableRow(key, value)
			wanted[fmt.Sprintf("%x in %d", r.Key, r.Timestamp/interval)] = true
			return true, err
		case len(key) > 2 && key[0] == prefixMeta:
			got[fmt.Sprintf("%x in %d", key[entryHead:], timeOf(key[2:]))] = true
		}
		return true, nil
	}))
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Fatalf("entries (-want +got):\n%s", diff)
	}
}

// TestExpiryIsNoPause expires many rows at once: with each record some of them.
func TestExpiryIsNoPause(t *testing.T) {
	t.Parallel()
	top := New("pause")
	n, deleted := int64(5*expireAtOnce), 0
	TableFrom(top, "rows", "in", Int64(), Int64(), TTL(time.Hour)).ToStream().Foreach(func(r *Record[int64, int64]) {
		if r.NullValue {
			deleted++
		}
	})
	d := drive(t, top)
	for k := range n {
		noError(t, first[int64, int64](d).send(&Record[int64, int64]{Key: k, Timestamp: k}))
	}
	d.commit()
	for i := range int64(6) {
		before := deleted
		noError(t, first[int64, int64](d).send(&Record[int64, int64]{Key: n, Timestamp: 10 * 3600_000}))
		if by := deleted - before; by > expireAtOnce || i < 5 && by == 0 {
			t.Errorf("%d rows are deleted with record %d", by, i)
		}
	}
	if deleted != int(n) {
		t.Errorf("%d of %d rows are deleted", deleted, n)
	}
	d.commit()
	keys := 0
	noError(t, d.task.Store("rows").Scan(nil, nil, func(_, _ []byte) (bool, error) {
		keys++
		return true, nil
	}))
	if keys != 3 { // the times, and the last row with its entry
		t.Errorf("%d keys are in the store", keys)
	}
}
