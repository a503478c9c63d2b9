package store

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// script is what a task writes in the tests of crashes: commit n has the same writes whoever makes it.
type script struct {
	id    string
	task  *Task
	store *Store
	next  int64 // the number of the next commit, from 1 on; the checkpoint is that of the last
}

// ops returns the writes of a commit.
func (s *script) ops(n int64) []modelOp {
	seed := uint64(len(s.id)) + uint64(s.id[len(s.id)-1])
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	key := func() string { return fmt.Sprintf("key%04d", rng.IntN(3000)) }
	var ops []modelOp
	for range rng.IntN(30) {
		switch k := key(); rng.IntN(20) {
		case 0:
			to := k[:5] + "9"
			ops = append(ops, modelOp{ranged: true, from: &k, to: &to})
		case 1, 2, 3:
			ops = append(ops, modelOp{key: k})
		default:
			v := fmt.Sprintf("%s %d %s", s.id, n, strings.Repeat("x", rng.IntN(800)))
			ops = append(ops, modelOp{key: k, value: &v})
		}
	}
	return ops
}

func openScript(db *DB, id string) (*script, error) {
	s := &script{id: id}
	var err error
	if s.task, err = db.Task(id); err != nil {
		return nil, err
	}
	if s.store, err = s.task.Store(Spec{Name: "state", Logged: true}); err != nil {
		return nil, errors.Join(err, s.task.Close())
	}
	offset, _ := s.task.Checkpoint("state")
	s.next = offset + 1
	return s, nil
}

// commit makes the next commit; with rollback, after it has made and undone it.
func (s *script) commit(rollback bool) error {
	for {
		for _, op := range s.ops(s.next) {
			var err error
			switch {
			case op.ranged:
				err = s.store.DeleteRange([]byte(*op.from), []byte(*op.to))
			case op.value == nil:
				err = s.store.Delete([]byte(op.key))
			default:
				err = s.store.Put([]byte(op.key), []byte(*op.value))
			}
			if err != nil {
				return err
			}
		}
		s.task.Seal()
		if !rollback {
			break
		}
		s.task.Rollback()
		rollback = false
	}
	if err := s.task.Commit(map[string]int64{"state": s.next}); err != nil {
		return err
	}
	s.next++
	return nil
}

// want returns the state after the first n commits.
func (s *script) want(n int64) map[string]string {
	m := map[string]string{}
	for i := int64(1); i <= n; i++ {
		m = applyTo(m, s.ops(i))
	}
	return m
}

func dump(s *Store) (map[string]string, error) {
	m := map[string]string{}
	err := s.Scan(nil, nil, func(k, v []byte) (bool, error) {
		m[string(k)] = string(v)
		return true, nil
	})
	return m, err
}

// check compares the state with the checkpoint, and returns how many commits it has.
func (s *script) check(tb testing.TB) int64 {
	tb.Helper()
	n, _ := s.task.Checkpoint("state")
	got, err := dump(s.store)
	if err != nil {
		tb.Fatal(err)
	}
	if want := s.want(n); !maps.Equal(want, got) {
		tb.Fatalf("task %s with the checkpoint %d (-want +got):\n%.2000s", s.id, n, cmp.Diff(want, got))
	}
	return n
}

// checkFolder opens a folder after a crash, compares the states of its tasks, and returns their numbers of commits.
func checkFolder(tb testing.TB, fsys vfs.FS, dir string, ids ...string) (counts []int64) {
	tb.Helper()
	db, err := open(fsys, time.After, dir, Options{MemoryBytes: leastMemory})
	if err != nil {
		tb.Fatal(err)
	}
	for _, id := range ids {
		s, err := openScript(db, id)
		if err != nil {
			tb.Fatal(err)
		}
		counts = append(counts, s.check(tb))
		if err := s.task.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	return counts
}

// TestPowerCut loses a random part of what was not synced, at random moments of a database at work.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fsys := vfs.NewCrashableMem()
	if err := fsys.MkdirAll("/", 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := open(fsys, time.After, "/state", Options{MemoryBytes: leastMemory})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"0_0", "1_1"}
	var scripts []*script
	for _, id := range ids {
		s, err := openScript(db, id)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, s)
	}
	last := make([]int64, len(ids)) // what has been seen on disk
	flushed := make([]int64, len(ids))
	cuts := 40
	if testing.Short() {
		cuts = 10
	}
	for range cuts {
		for range rng.IntN(200) {
			if err := scripts[rng.IntN(2)].commit(rng.IntN(10) == 0); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(3) == 0 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
			for i, s := range scripts {
				flushed[i] = s.next - 1
			}
		}
		clone := fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rand.New(rand.NewPCG(rng.Uint64(), 0))})
		got := checkFolder(t, clone, "/state", ids...)
		for i := range got {
			if got[i] < max(last[i], flushed[i]) || got[i] >= scripts[i].next {
				t.Fatalf("task %s is at commit %d; flushed %d, seen %d, made %d", ids[i], got[i], flushed[i], last[i], scripts[i].next-1)
			}
		}
		last = got
	}
	if last[0] == 0 || last[1] == 0 {
		t.Errorf("nothing ever reached the disk: %v", last)
	}
	for _, s := range scripts {
		s.check(t)
		if err := s.task.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// childEnv names the state folder of a process that works until it is killed; see TestMain.
const childEnv = "MILLRACE_STORE_CHILD"

// child works on a state folder, and says after each commit which one it was, and when it has flushed.
func child(dir string) error {
	db, err := Open(dir, Options{MemoryBytes: leastMemory})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var work sync.WaitGroup
	errs := make(chan error, 3)
	for _, id := range []string{"0_0", "1_1"} {
		s, err := openScript(db, id)
		if err != nil {
			return err
		}
		work.Go(func() {
			for {
				if err := s.commit(s.next%7 == 0); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				_, err := fmt.Println(id, s.next-1)
				mu.Unlock()
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	work.Go(func() {
		for n := 1; ; n++ {
			err := db.Flush()
			mu.Lock()
			if err == nil {
				_, err = fmt.Println("flush", n)
			}
			mu.Unlock()
			if err != nil {
				errs <- err
				return
			}
		}
	})
	return <-errs
}

// TestKill kills a process at work with SIGKILL, again and again on the same folder.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	kills := 8
	if testing.Short() {
		kills = 2
	}
	ids := []string{"0_0", "1_1"}
	last := make([]int64, len(ids))
	for range kills {
		said := kill(t, dir, 1+rng.IntN(400))
		got := checkFolder(t, vfs.Default, dir, ids...)
		for i, id := range ids {
			// The last commits may have been made without being said.
			if got[i] < last[i] || got[i] > said[id]+1 && said[id] > 0 {
				t.Fatalf("task %s is at commit %d; seen %d, said %d", id, got[i], last[i], said[id])
			}
		}
		last = got
	}
	if last[0]+last[1] == 0 {
		t.Error("nothing ever reached the disk")
	}
}

// kill runs a child until it has said so many lines and flushed twice, and returns the last number that it has said of
// each task.
func kill(t *testing.T, dir string, lines int) map[string]int64 {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, killed := map[string]int64{}, false
	for in := bufio.NewScanner(out); in.Scan(); {
		id, n, ok := strings.Cut(in.Text(), " ")
		if !ok {
			break // the line that the kill has cut
		}
		if said[id], err = strconv.ParseInt(n, 10, 64); err != nil {
			break
		}
		if lines--; lines <= 0 && said["flush"] >= 2 && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || !killed {
		t.Fatalf("the child ended by itself: %v\n%s", err, stderr.String())
	}
	return said
}

// applyTo is apply on the map itself.
func applyTo(m map[string]string, ops []modelOp) map[string]string {
	for i := range ops {
		switch op := &ops[i]; {
		case op.ranged:
			maps.DeleteFunc(m, func(k, _ string) bool { return op.covers(k) })
		case op.value == nil:
			delete(m, op.key)
		default:
			m[op.key] = *op.value
		}
	}
	return m
}
