package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// memDB opens a state folder in a file system in memory.
func memDB(tb testing.TB, fsys *vfs.MemFS) *DB {
	tb.Helper()
	db, err := open(fsys, testClock, "/state", Options{MemoryBytes: leastMemory})
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func must[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func check(tb testing.TB, errs ...error) {
	tb.Helper()
	if err := errors.Join(errs...); err != nil {
		tb.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int64]bool{-1: false, 1: false, leastMemory - 1: false, 0: true, leastMemory: true, 1 << 40: true} {
		if err := (Options{MemoryBytes: n}).Validate(); (err == nil) != ok {
			t.Errorf("%d: %v", n, err)
		}
	}
	for _, tc := range []struct {
		memory, files int64
		ok            bool
	}{
		{0, defaultMemory / 4 * 3, true},
		{0, defaultMemory/4*3 + 1, false},
		{leastMemory, leastFiles, true},
		{leastMemory, leastFiles - 1, false},
		{leastMemory, 3 * leastFiles, true},
		{leastMemory, 3*leastFiles + 1, false},
		{leastMemory, -1, false},
		{1 << 40, 1 << 39, true},
	} {
		if err := (Options{MemoryBytes: tc.memory, FileBytes: tc.files}).Validate(); (err == nil) != tc.ok {
			t.Errorf("FileBytes %d of %d: %v", tc.files, tc.memory, err)
		}
	}
	if _, err := Open("", Options{MemoryBytes: 1}); err == nil {
		t.Error("opened with 1 byte")
	}
}

// TestTasks keeps tasks and stores apart, lists them and removes them.
func TestTasks(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	db := memDB(t, fsys)
	// Ids and names of which one begins as another, and keys that look like what comes before keys.
	ids, names := []string{"0_1", "0_10", "0_1\x00", "1", "\xff\xff\xff\xff\xff", strings.Repeat("i", maxTaskID)}, []string{"a", "aa", "\x00", "\xff", strings.Repeat("n", maxStoreName)}
	keys := []string{"", "\x00", "\xff\xff\xff\xff\xff\xff\xff\xff", "a", "d\x00\x00\x00\x01"}
	each := func(id string, f func(t *Task, s *Store, name string)) {
		task := must[*Task](t)(db.Task(id))
		for _, name := range names {
			f(task, must[*Store](t)(task.Store(Spec{Name: name})), name)
		}
		check(t, task.Close())
	}
	for _, id := range ids {
		each(id, func(task *Task, s *Store, name string) {
			for _, k := range keys {
				check(t, s.Put([]byte(k), []byte(id+"/"+name+"/"+k)))
			}
			task.Seal()
			check(t, task.Commit(map[string]int64{name: int64(len(id) * len(name))}))
		})
	}
	verify := func(ids []string) {
		t.Helper()
		want := map[string]bool{}
		for _, id := range ids {
			want[id] = true
			each(id, func(task *Task, s *Store, name string) {
				got := must[map[string]string](t)(dump(s))
				if len(got) != len(keys) {
					t.Errorf("%q/%q has %q", id, name, got)
				}
				for k, v := range got {
					if v != id+"/"+name+"/"+k {
						t.Errorf("%q/%q: %q=%q", id, name, k, v)
					}
				}
				if n, ok := task.Checkpoint(name); !ok || n != int64(len(id)*len(name)) {
					t.Errorf("%q/%q: checkpoint %d, %t", id, name, n, ok)
				}
			})
		}
		for _, id := range must[[]string](t)(db.Tasks()) {
			if !want[id] {
				t.Errorf("there is a task %q", id)
			}
			delete(want, id)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
	}
	verify(ids)
	check(t, db.Remove("0_1"), db.Remove("nobody"))
	verify(ids[1:])
	check(t, db.Flush(), db.Close())
	db = memDB(t, fsys)
	verify(ids[1:])
	each("0_1", func(task *Task, s *Store, name string) { // what was removed stays away
		if got := must[map[string]string](t)(dump(s)); len(got) > 0 {
			t.Errorf("%q has %q again", name, got)
		}
		if _, ok := task.Checkpoint(name); ok {
			t.Errorf("%q has a checkpoint again", name)
		}
	})
	check(t, db.Close())
}

// TestBackendChanges moves a store between disk and memory: what it had does not come back.
func TestBackendChanges(t *testing.T) {
	t.Parallel()
	db := memDB(t, vfs.NewMem())
	for i, backend := range []Backend{Disk, Memory, Disk, Disk} {
		task := must[*Task](t)(db.Task("0_0"))
		s := must[*Store](t)(task.Store(Spec{Name: "s", Backend: backend}))
		other := must[*Store](t)(task.Store(Spec{Name: "other"}))
		got := must[map[string]string](t)(dump(s))
		if want := i == 3; (len(got) > 0) != want {
			t.Errorf("open %d: %q", i, got)
		}
		if _, ok := task.Checkpoint("s"); ok != (i == 3) {
			t.Errorf("open %d: checkpoint %t", i, ok)
		}
		if got := must[map[string]string](t)(dump(other)); (len(got) > 0) != (i > 0) {
			t.Errorf("open %d: the other store has %q", i, got)
		}
		check(t, s.Put([]byte("k"), []byte("v")), other.Put([]byte("k"), []byte("v")))
		task.Seal()
		check(t, task.Commit(map[string]int64{"s": 1, "other": 1}), task.Close())
	}
	check(t, db.Close())
}

// TestMisuse does what must not be done.
func TestMisuse(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", "/state"} {
		t.Run("folder "+dir, func(t *testing.T) {
			t.Parallel()
			db := must[*DB](t)(open(vfs.NewMem(), testClock, dir, Options{}))
			task := must[*Task](t)(db.Task("0_0"))
			s := must[*Store](t)(task.Store(Spec{Name: "s"}))
			_, again := db.Task("0_0")
			_, twice := task.Store(Spec{Name: "s", Backend: Memory})
			for what, err := range map[string]error{"task": again, "store": twice, "remove": db.Remove("0_0"), "close": db.Close()} {
				if !errors.Is(err, ErrOpen) {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, noID := db.Task("")
			_, longID := db.Task(strings.Repeat("i", maxTaskID+1))
			_, noName := task.Store(Spec{})
			_, longName := task.Store(Spec{Name: strings.Repeat("i", maxStoreName+1)})
			for what, err := range map[string]error{
				"no id": noID, "long id": longID, "no name": noName, "long name": longName,
				"restore": task.Restore("none", nil, 1), "commit": task.Commit(nil),
			} {
				if err == nil {
					t.Errorf("%s: no error", what)
				}
			}
			task.Seal()
			if err := task.Commit(map[string]int64{"none": 1}); err == nil {
				t.Error("a checkpoint of a store that is not open")
			}
			wantPanic(t, "seal twice", task.Seal)
			check(t, task.Commit(nil), s.Put([]byte("k"), []byte("v")))
			check(t, s.Scan(nil, nil, func(_, _ []byte) (bool, error) {
				wantPanic(t, "seal", task.Seal)
				wantPanic(t, "roll back", task.Rollback)
				wantPanic(t, "close", func() { _ = task.Close() })
				return true, nil
			}))
			boom := errors.New("boom")
			stop := func(_, _ []byte) (bool, error) { return true, boom }
			if err := s.Scan(nil, nil, stop); !errors.Is(err, boom) {
				t.Errorf("the scan's error: %v", err)
			}
			check(t, task.Close())
			_, get := s.Get(nil)
			_, store := task.Store(Spec{Name: "t"})
			for what, err := range map[string]error{
				"get": get, "put": s.Put(nil, nil), "delete": s.Delete(nil), "delete range": s.DeleteRange(nil, nil), "scan": s.Scan(nil, nil, stop),
				"scan reverse": s.ScanReverse(nil, nil, stop), "store": store, "close": task.Close(), "restore": task.Restore("s", nil, 1),
			} {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("%s of a closed task: %v", what, err)
				}
			}
			check(t, db.Close())
			_, open := db.Task("0_0")
			_, tasks := db.Tasks()
			for what, err := range map[string]error{"task": open, "tasks": tasks, "remove": db.Remove("0_0"), "flush": db.Flush(), "close": db.Close()} {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("%s of a closed DB: %v", what, err)
				}
			}
		})
	}
}

func wantPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// TestPanicInScan leaves a store that can be used.
func TestPanicInScan(t *testing.T) {
	t.Parallel()
	db := memDB(t, vfs.NewMem())
	task := must[*Task](t)(db.Task("0_0"))
	s := must[*Store](t)(task.Store(Spec{Name: "s"}))
	check(t, s.Put([]byte("k"), []byte("v")))
	wantPanic(t, "scan", func() { _ = s.Scan(nil, nil, func(_, _ []byte) (bool, error) { panic("boom") }) })
	task.Seal()
	check(t, task.Commit(nil), task.Close(), db.Close())
}

// TestTooLarge bounds a generation, which has to fit in one batch.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	db := memDB(t, vfs.NewMem())
	task := must[*Task](t)(db.Task("0_0"))
	task.maxOpen = 1 << 20
	s := must[*Store](t)(task.Store(Spec{Name: "s"}))
	value := make([]byte, 10_000)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = s.Put(fmt.Append(nil, n), value)
	}
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "commit more often") || n < 50 || n > 110 {
		t.Fatalf("after %d: %v", n, err)
	}
	if err := s.DeleteRange(value, nil); err == nil {
		t.Error("a range fits")
	}
	task.Seal()
	check(t, s.Put([]byte("k"), value), task.Commit(nil))
	if got := must[map[string]string](t)(dump(s)); len(got) != n {
		t.Errorf("%d keys, not %d", len(got), n)
	}
	check(t, task.Close(), db.Close())
}

// TestLargeValues commits values that are larger than Pebble's memtables, and than the chunks of a generation.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	db := memDB(t, vfs.NewMem())
	task := must[*Task](t)(db.Task("0_0"))
	var stores []*Store
	for _, b := range []Backend{Disk, Memory} {
		stores = append(stores, must[*Store](t)(task.Store(Spec{Name: fmt.Sprint(b), Backend: b, Logged: true})))
	}
	sizes := []int{0, 1, 7, 8, large - 1, large + 1, largeChunk + 1, 3 << 20, 0, 5, 40_000}
	for round := range 3 {
		for _, s := range stores {
			for i, size := range sizes {
				check(t, s.Put([]byte{byte(i)}, bytes.Repeat([]byte{byte(round + 1)}, size)), s.Put([]byte{255}, make([]byte, size)))
			}
			for i, size := range sizes {
				if v := must[[]byte](t)(s.Get([]byte{byte(i)})); v == nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(round + 1)}, size)) {
					t.Errorf("round %d: %d bytes, not %d", round, len(v), size)
				}
			}
		}
		task.Seal()
		check(t, task.Commit(map[string]int64{"0": int64(round)}))
		for _, s := range stores {
			for i, size := range sizes {
				if v := must[[]byte](t)(s.Get([]byte{byte(i)})); v == nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(round + 1)}, size)) {
					t.Errorf("round %d: %d bytes, not %d, after the commit", round, len(v), size)
				}
			}
			if n := must[int64](t)(s.Bytes()); n == 0 && s.memory != nil {
				t.Error("no bytes")
			}
		}
	}
	check(t, db.Flush())
	if n := must[int64](t)(stores[0].Bytes()); n == 0 {
		t.Error("no bytes on disk")
	}
	if _, known := stores[0].Len(); known {
		t.Error("the length of a store on disk is known")
	}
	check(t, task.Close(), db.Close())
}

// TestCommitMeanwhile commits on another goroutine while the task goes on, for several tasks at once; the race detector
// looks on.
func TestCommitMeanwhile(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	db := memDB(t, vfs.NewMem())
	var work sync.WaitGroup
	for id := range 3 {
		work.Go(func() {
			if err := commitMeanwhile(db, fmt.Sprintf("0_%d", id), rand.New(rand.NewPCG(seed, uint64(id)))); err != nil {
				t.Error(err)
			}
		})
	}
	work.Go(func() {
		for range 20 {
			if err := db.Flush(); err != nil {
				t.Error(err)
			}
			if _, err := db.Tasks(); err != nil {
				t.Error(err)
			}
		}
	})
	work.Wait()
	check(t, db.Close())
}

func commitMeanwhile(db *DB, id string, rng *rand.Rand) error {
	task, err := db.Task(id)
	if err != nil {
		return err
	}
	var stores []*Store
	models := make([]map[string]string, 2)
	for i, b := range []Backend{Disk, Memory} {
		s, err := task.Store(Spec{Name: fmt.Sprint(b), Backend: b, Logged: true})
		if err != nil {
			return err
		}
		stores, models[i] = append(stores, s), map[string]string{}
	}
	for round := range 60 {
		task.Seal()
		done := make(chan error, 1)
		go func() { done <- task.Commit(map[string]int64{"0": int64(round)}) }()
		for range rng.IntN(200) {
			i := rng.IntN(2)
			if err := step(stores[i], models[i], rng); err != nil {
				return fmt.Errorf("task %s: %w", id, err)
			}
			_ = task.UncommittedBytes()
			_, _ = task.Checkpoint("0")
		}
		if err := <-done; err != nil {
			return err
		}
	}
	return task.Close()
}

// step reads or writes one key or range, and compares with the model.
func step(s *Store, model map[string]string, rng *rand.Rand) error {
	key := fmt.Sprintf("k%03d", rng.IntN(500))
	switch n := rng.IntN(10); {
	case n < 5:
		model[key] = strconv.Itoa(rng.IntN(1000))
		return s.Put([]byte(key), []byte(model[key]))
	case n < 6:
		to := key[:3] + "9"
		applyTo(model, []modelOp{{ranged: true, from: &key, to: &to}})
		return s.DeleteRange([]byte(key), []byte(to))
	case n < 9:
		v, err := s.Get([]byte(key))
		if string(v) != model[key] {
			return fmt.Errorf("%s is %q, not %q", key, v, model[key])
		}
		return err
	default:
		got, err := dump(s)
		if !maps.Equal(model, got) {
			return fmt.Errorf("(-want +got):\n%s", cmp.Diff(model, got))
		}
		return err
	}
}

// TestAllocations holds what a record must not cost.
func TestAllocations(t *testing.T) { // not parallel: it counts what all goroutines allocate
	_, task, s := benchStore(t, Memory)
	keys := benchKeys(1000)
	for range 3 {
		for _, k := range keys {
			check(t, s.Put(k, k))
		}
		task.Seal()
		check(t, task.Commit(nil))
	}
	for _, k := range keys {
		check(t, s.Put(k, k))
	}
	i := 0
	count := func(_, _ []byte) (bool, error) { return true, nil }
	for what, f := range map[string]func() error{
		"get":       func() error { i++; _, err := s.Get(keys[i%1000]); return err },
		"get miss":  func() error { _, err := s.Get([]byte("absent")); return err },
		"put again": func() error { i++; return s.Put(keys[i%1000], keys[i%1000]) },
		"scan":      func() error { i++; return s.Scan(keys[i%1000], nil, count) },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
