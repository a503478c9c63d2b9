package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// modelOp is a write of the model: of a key, or of a range.
type modelOp struct {
	ranged   bool
	key      string
	value    *string // nil: deleted
	from, to *string
}

func (op *modelOp) covers(key string) bool {
	return (op.from == nil || *op.from <= key) && (op.to == nil || key < *op.to)
}

// modelStore is what a store has to be: a base, and lists of writes above it.
type modelStore struct {
	base         map[string]string
	sealed, open []modelOp
	checkpoint   int64 // 0: unknown
}

func apply(m map[string]string, ops []modelOp) map[string]string {
	if m = maps.Clone(m); m == nil {
		m = map[string]string{}
	}
	return applyTo(m, ops)
}

func (m *modelStore) view() map[string]string { return apply(apply(m.base, m.sealed), m.open) }

// pair is a key with its value, "" and "absent" told apart.
type pair struct{ Key, Value string }

func (m *modelStore) scan(from, to *string, reverse bool) []pair {
	var got []pair
	view := m.view()
	for _, k := range slices.Sorted(maps.Keys(view)) {
		if (from == nil || *from <= k) && (to == nil || k < *to) {
			got = append(got, pair{k, view[k]})
		}
	}
	if reverse {
		slices.Reverse(got)
	}
	return got
}

// changes returns the last write of each key of the open generation.
func (m *modelStore) changes() []pair {
	last := map[string]string{}
	for i := range m.open {
		switch op := &m.open[i]; {
		case op.ranged:
			for k := range last {
				if op.covers(k) {
					last[k] = "deleted"
				}
			}
		case op.value == nil:
			last[op.key] = "deleted"
		default:
			last[op.key] = "=" + *op.value
		}
	}
	var got []pair
	for _, k := range slices.Sorted(maps.Keys(last)) {
		got = append(got, pair{k, last[k]})
	}
	return got
}

// machine runs the same calls on a task and on its model.
type machine struct {
	fs     *vfs.MemFS // nil: in memory only
	db     *DB
	task   *Task
	specs  []Spec
	stores []*Store
	models []*modelStore
	sealed bool
	offset int64
}

func testClock(time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	c <- time.Time{}
	return c
}

func (m *machine) open(t *rapid.T) {
	dir := ""
	if m.fs != nil {
		dir = "/state"
	}
	var err error
	if m.db, err = open(m.fs, testClock, dir, Options{MemoryBytes: leastMemory}); err != nil {
		t.Fatal(err)
	}
	if m.task, err = m.db.Task("0_1"); err != nil {
		t.Fatal(err)
	}
	m.stores = nil
	for _, s := range m.specs {
		st, err := m.task.Store(s)
		if err != nil {
			t.Fatal(err)
		}
		m.stores = append(m.stores, st)
	}
}

func (m *machine) close(t *rapid.T) {
	if err := errors.Join(m.task.Close(), m.db.Close()); err != nil {
		t.Fatal(err)
	}
}

func keys() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00\x7f")), 0, 3, -1)
}

func values() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.StringN(0, 40, -1))
}

func (m *machine) pick(t *rapid.T) (*Store, *modelStore) {
	i := rapid.IntRange(0, len(m.stores)-1).Draw(t, "store")
	return m.stores[i], m.models[i]
}

func (m *machine) put(t *rapid.T, s *Store, model *modelStore) {
	k, v := keys().Draw(t, "key"), values().Draw(t, "value")
	key, value := []byte(k), append([]byte{}, v...)
	if err := s.Put(key, value); err != nil {
		t.Fatal(err)
	}
	clear(key) // the store has to have copied both
	clear(value)
	model.open = append(model.open, modelOp{key: k, value: &v})
}

func (m *machine) Put(t *rapid.T) {
	s, model := m.pick(t)
	m.put(t, s, model)
}

func (m *machine) Delete(t *rapid.T) {
	s, model := m.pick(t)
	m.delete(t, s, model)
}

func (m *machine) delete(t *rapid.T, s *Store, model *modelStore) {
	k := keys().Draw(t, "key")
	var err error
	if rapid.Bool().Draw(t, "by put") {
		err = s.Put([]byte(k), nil)
	} else {
		err = s.Delete([]byte(k))
	}
	if err != nil {
		t.Fatal(err)
	}
	model.open = append(model.open, modelOp{key: k})
}

// bounds draws a range, also an empty one.
func bounds(t *rapid.T) (from, to *string, f, u []byte) {
	from = rapid.Ptr(keys(), true).Draw(t, "from")
	to = rapid.Ptr(keys(), true).Draw(t, "to")
	if from != nil {
		f = append([]byte{}, *from...)
	}
	if to != nil {
		u = append([]byte{}, *to...)
	}
	return from, to, f, u
}

func (m *machine) DeleteRange(t *rapid.T) {
	s, model := m.pick(t)
	m.deleteRange(t, s, model)
}

func (m *machine) deleteRange(t *rapid.T, s *Store, model *modelStore) {
	from, to, f, u := bounds(t)
	if err := s.DeleteRange(f, u); err != nil {
		t.Fatal(err)
	}
	clear(f)
	clear(u)
	model.open = append(model.open, modelOp{ranged: true, from: from, to: to})
}

func (m *machine) Get(t *rapid.T) {
	s, model := m.pick(t)
	k := keys().Draw(t, "key")
	got, err := s.Get([]byte(k))
	if err != nil {
		t.Fatal(err)
	}
	want, ok := model.view()[k]
	if ok != (got != nil) || string(got) != want {
		t.Fatalf("get %q: %q, present %t, want %q, present %t", k, got, got != nil, want, ok)
	}
}

func (m *machine) scan(t *rapid.T, s *Store, from, to []byte, reverse bool, fn func() bool) []pair {
	var got []pair
	scan := s.Scan
	if reverse {
		scan = s.ScanReverse
	}
	err := scan(from, to, func(k, v []byte) (bool, error) {
		got = append(got, pair{string(k), string(v)})
		if v == nil {
			t.Fatalf("scan: nil for %q", k)
		}
		more := fn()
		if last := got[len(got)-1]; last.Key != string(k) || last.Value != string(v) {
			t.Fatalf("scan: %q=%q became %q=%q meanwhile", last.Key, last.Value, k, v)
		}
		return more, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (m *machine) Scan(t *rapid.T) {
	s, model := m.pick(t)
	from, to, f, u := bounds(t)
	reverse := rapid.Bool().Draw(t, "reverse")
	want := model.scan(from, to, reverse)
	if diff := cmp.Diff(want, m.scan(t, s, f, u, reverse, func() bool { return true })); diff != "" {
		t.Fatalf("scan (-want +got):\n%s", diff)
	}
}

// ScanAndWrite writes while it scans, and scans while it scans: each sees what was there when it began.
func (m *machine) ScanAndWrite(t *rapid.T) {
	s, model := m.pick(t)
	from, to, f, u := bounds(t)
	reverse, inner := rapid.Bool().Draw(t, "reverse"), rapid.Bool().Draw(t, "inner")
	want := model.scan(from, to, reverse)
	stop := rapid.IntRange(1, 10).Draw(t, "stop")
	want = want[:min(stop, len(want))]
	n := 0
	got := m.scan(t, s, f, u, reverse, func() bool {
		switch rapid.IntRange(0, 4).Draw(t, "write") {
		case 0:
			m.put(t, s, model)
		case 1:
			m.delete(t, s, model)
		case 2:
			m.deleteRange(t, s, model)
		case 3:
			if inner {
				all := model.scan(nil, nil, !reverse)
				if diff := cmp.Diff(all, m.scan(t, s, nil, nil, !reverse, func() bool { return true })); diff != "" {
					t.Fatalf("inner scan (-want +got):\n%s", diff)
				}
			}
		}
		n++
		return n < stop
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("scan with writes (-want +got):\n%s", diff)
	}
}

func (m *machine) Changes(t *rapid.T) {
	type change struct {
		store      string
		key, value []byte
	}
	var slicesGiven []change
	got := map[string][]pair{}
	err := m.task.Changes(func(store string, key, value []byte) error {
		slicesGiven = append(slicesGiven, change{store, key, value})
		v := "deleted"
		if value != nil {
			v = "=" + string(value)
		}
		got[store] = append(got[store], pair{string(key), v})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range m.specs {
		var want []pair
		if s.Logged {
			want = m.models[i].changes()
		}
		if diff := cmp.Diff(want, got[s.Name]); diff != "" {
			t.Fatalf("changes of %s (-want +got):\n%s", s.Name, diff)
		}
	}
	m.Put(t) // which must not reach what was given
	m.Delete(t)
	for _, c := range slicesGiven {
		p := got[c.store][0]
		got[c.store] = got[c.store][1:]
		if p.Key != string(c.key) || c.value != nil && p.Value != "="+string(c.value) {
			t.Fatalf("a change of %s is %q=%q now, was %v", c.store, c.key, c.value, p)
		}
	}
}

func (m *machine) Seal(t *rapid.T) {
	if m.sealed {
		t.Skip()
	}
	m.task.Seal()
	m.sealed = true
	for _, s := range m.models {
		s.sealed, s.open = s.open, nil
	}
}

func (m *machine) Commit(t *rapid.T) {
	if !m.sealed {
		if m.task.Commit(nil) == nil {
			t.Fatal("a commit without a sealed generation")
		}
		t.Skip()
	}
	next := map[string]int64{}
	for i, s := range m.specs {
		if rapid.Bool().Draw(t, "with offset") {
			m.offset++
			next[s.Name] = m.offset
			m.models[i].checkpoint = m.offset
		}
	}
	if err := m.task.Commit(next); err != nil {
		t.Fatal(err)
	}
	m.sealed = false
	for _, s := range m.models {
		s.base, s.sealed = apply(s.base, s.sealed), nil
	}
}

func (m *machine) Rollback(*rapid.T) {
	m.task.Rollback()
	m.sealed = false
	for _, s := range m.models {
		s.sealed, s.open = nil, nil
	}
}

func (m *machine) Restore(t *rapid.T) {
	i := rapid.IntRange(0, len(m.stores)-1).Draw(t, "store")
	var entries []Entry
	var ops []modelOp
	for range rapid.IntRange(0, 50).Draw(t, "n") {
		k, v := keys().Draw(t, "key"), rapid.Ptr(values(), true).Draw(t, "value")
		e := Entry{Key: []byte(k)}
		if v != nil {
			e.Value = append([]byte{}, *v...)
		}
		entries = append(entries, e)
		ops = append(ops, modelOp{key: k, value: v})
	}
	m.offset++
	if err := m.task.Restore(m.specs[i].Name, entries, m.offset); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		clear(e.Key)
		clear(e.Value)
	}
	m.models[i].base = apply(m.models[i].base, ops)
	m.models[i].checkpoint = m.offset
}

func (m *machine) Flush(t *rapid.T) {
	if err := m.db.Flush(); err != nil {
		t.Fatal(err)
	}
}

// Reopen closes everything in good order and opens it again.
func (m *machine) Reopen(t *rapid.T) {
	m.Flush(t)
	m.close(t)
	for i, s := range m.models {
		s.sealed, s.open = nil, nil
		if m.fs == nil || m.specs[i].Backend == Memory {
			s.base = nil
		}
	}
	m.sealed = false
	m.open(t)
}

// Check looks at the whole state.
func (m *machine) Check(t *rapid.T) {
	for i, s := range m.stores {
		name := m.specs[i].Name
		if diff := cmp.Diff(m.models[i].scan(nil, nil, false), m.scan(t, s, nil, nil, false, func() bool { return true })); diff != "" {
			t.Fatalf("state of %s (-want +got):\n%s", name, diff)
		}
		want := m.models[i].checkpoint
		if s.memory != nil {
			want = 0
			if n, known := s.Len(); !known || n != len(m.models[i].base) {
				t.Fatalf("%s has %d keys, %t; want %d", name, n, known, len(m.models[i].base))
			}
			checkTable(t, s.memory.table.Load())
		}
		if got, ok := m.task.Checkpoint(name); ok != (want != 0) || got != want {
			t.Fatalf("checkpoint of %s: %d, %t, want %d", name, got, ok, want)
		}
	}
	if got := m.task.UncommittedBytes(); (got == 0) != (m.uncommitted() == 0) || got < 0 {
		t.Fatalf("%d uncommitted bytes of %d writes", got, m.uncommitted())
	}
}

// uncommitted returns how many writes there are that say anything.
func (m *machine) uncommitted() (n int) {
	for _, s := range m.models {
		for _, op := range slices.Concat(s.open, s.sealed) {
			if !op.ranged || op.to == nil || op.from == nil && *op.to > "" || op.from != nil && *op.from < *op.to {
				n++
			}
		}
	}
	return n
}

// checkTable looks whether a table keeps its own rules.
func checkTable(t *rapid.T, tb *table) {
	var n int
	var size int64
	var last []byte
	for i, b := range tb.blocks {
		if len(b.items) == 0 || len(b.items) > blockItems {
			t.Fatalf("block %d has %d items", i, len(b.items))
		}
		n += len(b.items)
		size += b.bytes
		for j := range b.items {
			if k := b.items[j].key(); i+j > 0 && bytes.Compare(last, k) >= 0 {
				t.Fatalf("%q after %q", k, last)
			} else {
				last = k
			}
		}
	}
	if n != tb.len || size != tb.bytes {
		t.Fatalf("the table counts %d items of %d bytes, and has %d of %d", tb.len, tb.bytes, n, size)
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for name, onDisk := range map[string]bool{"folder": true, "memory only": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				m := &machine{specs: []Spec{
					{Name: "a", Backend: Disk, Logged: true},
					{Name: "aa", Backend: Memory, Logged: true},
					{Name: "b", Backend: Disk},
				}}
				if onDisk {
					m.fs = vfs.NewMem()
				}
				for range m.specs {
					m.models = append(m.models, &modelStore{})
				}
				m.open(t)
				defer func() { m.close(t) }()
				t.Repeat(map[string]func(*rapid.T){
					"put": m.Put, "put 2": m.Put, "put 3": m.Put, "delete": m.Delete, "delete range": m.DeleteRange,
					"get": m.Get, "scan": m.Scan, "scan and write": m.ScanAndWrite, "changes": m.Changes,
					"seal": m.Seal, "commit": m.Commit, "rollback": m.Rollback,
					"restore": m.Restore, "flush": m.Flush, "reopen": m.Reopen,
					"": m.Check,
				})
			})
		})
	}
}

func (p pair) String() string { return fmt.Sprintf("%q=%q", p.Key, p.Value) }
