package stream

import (
	"strconv"
	"testing"

	"millrace.dev/internal/task"
	"pgregory.net/rapid"
)

// TestVersionedRowsAsRecomputed updates few keys at few times, which lie in several segments, and looks them up as of
// all times.
func TestVersionedRowsAsRecomputed(t *testing.T) {
	t.Parallel()
	const unit, history = 20_000, 12 * 20_000 // two minutes a segment
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore(t)
		open := func() *versionedRows[string, string] {
			v := &versionedRows[string, string]{
				latest: newKVStore("rows", s, String(), String(), 10), keys: String(), values: String(), history: history, observed: task.NoTime,
			}
			noError(t, v.open(s))
			return v
		}
		rows := open()
		var updates []row[string]
		asOf := func(at int64) (last row[string]) {
			for _, u := range updates {
				if u.timestamp <= at && u.timestamp >= last.timestamp {
					last = u
				}
			}
			return last
		}
		for i := range rapid.IntRange(1, 30).Draw(rt, "updates") {
			now := row[string]{timestamp: rapid.Int64Range(0, 20).Draw(rt, "at") * unit, exists: rapid.IntRange(0, 2).Draw(rt, "deletes") > 0}
			if now.exists {
				now.value = strconv.Itoa(i)
			}
			if rows.late(now.timestamp) {
				continue
			}
			latest := asOf(1 << 40)
			old, stale, err := rows.update("k", now)
			noError(t, err)
			if want := len(updates) > 0 && latest.timestamp > now.timestamp; stale != want {
				rt.Fatalf("update %v of %v: stale is %v", now, updates, stale)
			}
			if old.value != latest.value || old.exists != latest.exists {
				rt.Fatalf("update %v of %v: the old row is %v", now, updates, old)
			}
			updates = append(updates, now)
			if rapid.IntRange(0, 4).Draw(rt, "reopen") == 0 {
				noError(t, rows.meta.flush())
				noError(t, rows.latest.flush(nil))
				rows = open()
			}
			for at := int64(-1); at <= 21; at++ {
				want := asOf(at * unit)
				if at < 0 || at*unit < rows.observed-history && want != asOf(1<<40) {
					want = row[string]{}
				}
				got, err := rows.getAsOf("k", at*unit)
				noError(t, err)
				if got.exists != want.exists || got.value != want.value || got.exists && got.timestamp != want.timestamp {
					rt.Fatalf("as of %d after %v: got %v, want %v", at*unit, updates, got, want)
				}
			}
		}
	})
}
