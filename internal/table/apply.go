package table

import (
	"math"
	"slices"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
)

// Apply applies a change. The table keeps the change's row and its slices. The row is by the table's schema. It is not to be
// called from two goroutines at once.
func (t *Table) Apply(c *cdc.Change) {
	if !c.Tombstone { // its time is its record's, which may be far from those of the database
		t.advance(c.At)
	}
	switch c.Op {
	case cdc.Upsert:
		t.put(c.Key, version{row: c.Row, at: c.At, keep: c.Keep, snapshot: c.Snapshot}, false)
	case cdc.Delete:
		t.put(c.Key, version{at: c.At, guess: c.Tombstone}, false)
	case cdc.Truncate:
		t.truncate(c.At)
	}
}

// advance takes note of the time of a change, and forgets what has ended before the horizon then.
func (t *Table) advance(at int64) {
	if t.history <= 0 || at <= t.newest {
		return
	}
	t.newest = at
	horizon := at - t.history
	if horizon > at {
		return // before all that can be told
	}
	t.horizon.Store(horizon)
	gone := 0
	for gone < len(t.truncates) && t.truncates[gone] <= horizon {
		gone++
	}
	t.truncates = slices.Delete(t.truncates, 0, gone)
	for {
		key, ok := t.due.pop(horizon)
		if !ok {
			return
		}
		t.bytes.Add(-momentBytes)
		if e := t.index.find(key); e != nil {
			t.store(key, e, t.forget(t.versions(e)))
		}
	}
}

// put makes v a version of a key, and tells whether it took the place of one with the same time.
func (t *Table) put(key string, v version, byTime bool) (replaced bool) {
	e := t.index.find(key)
	if t.history == 0 {
		return t.putLatest(key, e, v, byTime)
	}
	versions, replaced := t.insert(key, t.forget(t.versions(e)), v)
	t.store(key, e, t.forget(versions))
	return replaced
}

// insert puts v among the versions of its key, if it is not too late, and with it the delete that a truncate made of it.
func (t *Table) insert(key string, versions []version, v version) (all []version, replaced bool) {
	n := len(versions)
	switch {
	case v.guess && (n == 0 || versions[n-1].row == nil):
		return versions, false // the delete is there, or what it deletes never was
	case v.guess:
		v.at = max(v.at, versions[n-1].at+1)
	case n > 0 && versions[n-1].guess && v.at <= versions[n-1].at:
		t.bytes.Add(-versionBytes(&versions[n-1])) // v was made after it
		versions = slices.Clone(versions[:n-1])
	}
	if i := after(versions, v.at); i < len(versions) && versions[i].at <= t.horizon.Load() {
		t.late.Add(1)
		return versions, false
	}
	next, same := slices.BinarySearch(t.truncates, v.at)
	if next > 0 {
		v.snapshot = false // something older is known
	}
	if same {
		next++
	}
	versions, i, replaced := t.place(versions, v)
	if next < len(t.truncates) {
		if at := t.truncates[next]; i+1 == len(versions) || at < versions[i+1].at {
			versions, _, _ = t.place(versions, version{at: at})
			t.wait(at, key)
		}
	}
	if len(versions) > 1 || v.row == nil {
		t.wait(v.at, key)
	}
	if i+1 < len(versions) {
		t.wait(versions[i+1].at, key)
	}
	return versions, replaced
}

// wait notes that something of a key can be forgotten when the horizon gets to a time.
func (t *Table) wait(at int64, key string) {
	if t.history > 0 {
		t.due.push(at, key)
		t.bytes.Add(momentBytes)
	}
}

// putLatest is put for a table without history. What comes from a file has no order but its times.
func (t *Table) putLatest(key string, e *entry, v version, byTime bool) (replaced bool) {
	if e != nil && byTime && v.at < e.at {
		return false
	}
	var before *record.Row
	if e != nil {
		before = e.row
		t.bytes.Add(-versionBytes(&version{row: before}))
	}
	t.fill(&v, before, v.keep)
	v.keep = nil
	versions := t.single[:0]
	if v.row != nil {
		versions = append(versions, v)
		t.bytes.Add(versionBytes(&v))
	}
	replaced = e != nil && e.at == v.at
	t.store(key, e, versions)
	return replaced
}

// versions returns what is known of a key. A single version is in t.single; others are to be seen by readers.
func (t *Table) versions(e *entry) []version {
	switch {
	case e == nil:
		return t.single[:0]
	case e.all != nil:
		return *e.all
	}
	t.single[0] = version{row: e.row, at: e.at, snapshot: e.snapshot, older: e.older, guess: e.guess}
	return t.single[:]
}

// store makes versions those of a key, whose entry was e.
func (t *Table) store(key string, e *entry, versions []version) {
	before := e != nil && e.row != nil
	n := len(versions)
	switch {
	case n == 0:
		if e != nil {
			t.index.set(key, nil)
			t.bytes.Add(-keyBytes(key))
		}
		t.count(before, false)
		return
	case e == nil:
		t.bytes.Add(keyBytes(key))
	case e.all != nil && len(*e.all) == n && &(*e.all)[0] == &versions[0]:
		return // they are what they were
	}
	last := &versions[n-1]
	now := &entry{row: last.row, at: last.at, snapshot: last.snapshot, older: last.older, guess: last.guess}
	now.setKey(key)
	if n > 1 || len(last.keep) > 0 {
		if n == 1 {
			versions = slices.Clone(versions) // it may be in t.single
		}
		now.all = &versions
	}
	t.index.set(key, now)
	t.single[0] = version{} // let go of the row
	t.count(before, now.row != nil)
}

func (t *Table) count(before, now bool) {
	switch {
	case now && !before:
		t.live.Add(1)
	case before && !now:
		t.live.Add(-1)
	}
}

// truncate deletes all keys at a time.
func (t *Table) truncate(at int64) {
	if t.history == 0 {
		t.index.clear()
		t.live.Store(0)
		t.bytes.Store(0)
		return
	}
	if i, there := slices.BinarySearch(t.truncates, at); !there && at > t.horizon.Load() {
		t.truncates = slices.Insert(t.truncates, i, at)
	}
	t.index.each(func(e *entry) bool {
		key := e.key()
		versions := t.forget(t.versions(e))
		if len(versions) > 0 { // otherwise it is a key that is no more known, and has only not been dropped yet
			versions, _ = t.insert(key, versions, version{at: at})
		}
		t.store(key, e, t.forget(versions))
		return true
	})
}

// queue has the times at which there is something to forget, in the order in which they became known. An early one behind a
// late one waits for it.
type queue struct {
	items []moment
	head  int
}

type moment struct {
	at  int64
	key string
}

func (q *queue) push(at int64, key string) { q.items = append(q.items, moment{at, key}) }

// pop returns the next key whose time has come.
func (q *queue) pop(now int64) (string, bool) {
	if q.head == len(q.items) || q.items[q.head].at > now {
		return "", false
	}
	key := q.items[q.head].key
	q.items[q.head] = moment{}
	q.head++
	if q.head >= 64 && 2*q.head >= len(q.items) {
		q.items = slices.Delete(q.items, 0, q.head)
		q.head = 0
	}
	return key, true
}

// beginning is before the time of any change.
const beginning = math.MinInt64 + 1
