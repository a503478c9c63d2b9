package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestViewShowsOneCommit reads stores on other goroutines while their task writes, commits, rolls back and closes: each view shows
// exactly what one commit has left, which its stamp names, and a later one no older commit.
func TestViewShowsOneCommit(t *testing.T) {
	t.Parallel()
	for _, backend := range []Backend{Disk, Memory} {
		t.Run(fmt.Sprint(backend), func(t *testing.T) {
			t.Parallel()
			const seed, keys, rounds, readers = 11, 40, 150, 3
			t.Logf("seed %d", seed)
			db := memDB(t, vfs.NewMem())
			task := must[*Task](t)(db.Task("0_0"))
			for _, name := range []string{"a", "b"} {
				must[*Store](t)(task.Store(Spec{Name: name, Backend: backend}))
			}
			task.Stamp(uint64(0))
			models := make([]map[string]uint64, 1, rounds+1) // by commit; written before the commit, read after
			models[0] = map[string]uint64{}
			var lock sync.Mutex
			var done sync.WaitGroup
			for r := range readers {
				done.Go(func() {
					lookOn(t, task, r, func(n uint64) map[string]uint64 { lock.Lock(); defer lock.Unlock(); return models[n] })
				})
			}
			rng := rand.New(rand.NewPCG(seed, 0))
			now := map[string]uint64{}
			for round := uint64(1); round <= rounds; {
				next := map[string]uint64{}
				maps.Copy(next, now)
				for range 1 + rng.IntN(20) {
					k := fmt.Sprintf("%02d", rng.IntN(keys))
					for _, name := range []string{"a", "b"} {
						switch s := task.byName[name]; rng.IntN(10) {
						case 0:
							check(t, s.Delete([]byte(k)))
							delete(next, name+k)
						case 1:
							check(t, s.DeleteRange([]byte("10"), []byte("12")))
							delete(next, name+"10")
							delete(next, name+"11")
						default:
							check(t, s.Put([]byte(k), binary.BigEndian.AppendUint64(nil, round)))
							next[name+k] = round
						}
					}
				}
				if rng.IntN(4) == 0 {
					if rng.IntN(2) == 0 {
						task.Seal()
					}
					task.Rollback()
					continue
				}
				task.Seal()
				lock.Lock()
				models = append(models, next)
				lock.Unlock()
				check(t, task.CommitStamped(nil, round))
				now = next
				round++
			}
			check(t, task.Close())
			done.Wait()
			if _, err := task.View("a"); !errors.Is(err, ErrClosed) {
				t.Errorf("a view of a closed task: %v", err)
			}
			check(t, db.Close())
			if _, err := task.View("a"); !errors.Is(err, ErrClosed) {
				t.Errorf("a view of a closed DB: %v", err)
			}
		})
	}
}

// lookOn takes views until the task is closed.
func lookOn(t *testing.T, task *Task, reader int, model func(n uint64) map[string]uint64) {
	last := uint64(0)
	for n := 0; ; n++ {
		name := []string{"a", "b"}[n%2]
		v, err := task.View(name)
		if errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		stamp, _ := v.Stamp().(uint64)
		if stamp < last {
			t.Errorf("reader %d: commit %d after %d", reader, stamp, last)
		}
		last = stamp
		want, before, seen := model(stamp), "", 0
		err = v.Scan(nil, nil, func(key, value []byte) (bool, error) {
			k := string(key)
			if seen++; k <= before || binary.BigEndian.Uint64(value) != want[name+k] {
				return false, fmt.Errorf("key %s after %q: %x, want %d of commit %d", k, before, value, want[name+k], stamp)
			}
			before = k
			return true, nil
		})
		all := 0
		for k, value := range want {
			if k[:1] == name {
				all++
				if b, e := v.Get([]byte(k[1:])); e != nil || len(b) != 8 || binary.BigEndian.Uint64(b) != value {
					err = errors.Join(err, e, fmt.Errorf("get %s: %x, want %d", k, b, value))
				}
			}
		}
		if b, e := v.Get([]byte("100")); b != nil || e != nil {
			err = errors.Join(err, fmt.Errorf("get what is not there: %x, %w", b, e))
		}
		if err = errors.Join(err, v.Close()); err != nil || seen != all {
			t.Errorf("reader %d, commit %d: %d keys of %d: %v", reader, stamp, seen, all, err)
			return
		}
	}
}

// TestViewOutlivesItsTask keeps a view while its task closes and the state is deleted, and has the DB wait for it.
func TestViewOutlivesItsTask(t *testing.T) {
	t.Parallel()
	db := memDB(t, vfs.NewMem())
	task := must[*Task](t)(db.Task("0_0"))
	s := must[*Store](t)(task.Store(Spec{Name: "s"}))
	for i := range 100 {
		check(t, s.Put(fmt.Appendf(nil, "%02d", i), []byte{byte(i)}))
	}
	task.Seal()
	check(t, task.Commit(nil))
	check(t, s.Put([]byte("50"), []byte("uncommitted")))
	if _, err := task.View("none"); err == nil {
		t.Error("a view of no store")
	}
	v := must[*View](t)(task.View("s"))
	check(t, task.Close(), db.Remove("0_0"), db.Flush())
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	var got []byte
	check(t, v.Scan([]byte("49"), []byte("52"), func(_, value []byte) (bool, error) {
		got = append(got, value...)
		return true, nil
	}))
	if string(got) != "\x31\x32\x33" {
		t.Errorf("got %x", got)
	}
	select {
	case err := <-closed:
		t.Errorf("the DB closed under a view: %v", err)
	default:
	}
	check(t, v.Close(), <-closed)
}
