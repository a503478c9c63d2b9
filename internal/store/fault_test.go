package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// faults fails operations of a file system as long as err is set: those that match.
type faults struct {
	err   atomic.Pointer[syscall.Errno]
	match func(errorfs.Op) bool
	hits  atomic.Int64
}

func (f *faults) MaybeError(op errorfs.Op) error {
	if e := f.err.Load(); e != nil && f.match(op) {
		f.hits.Add(1)
		return *e
	}
	return nil
}

func (f *faults) String() string { return "faults" }

func (f *faults) fail(e syscall.Errno) { f.err.Store(&e) }
func (f *faults) heal()                { f.err.Store(nil) }

func isWrite(op errorfs.Op) bool {
	return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpRemove && op.Kind != errorfs.OpRemoveAll && op.Kind != errorfs.OpFileClose
}

func isTable(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") && isWrite(op) }

func isManifest(op errorfs.Op) bool {
	return strings.Contains(op.Path, "MANIFEST-") && isWrite(op)
}

// faulty opens a state folder in memory whose file system fails on demand, with one task.
func faulty(t *testing.T, match func(errorfs.Op) bool) (*vfs.MemFS, *faults, *DB, *script, *strings.Builder) {
	t.Helper()
	mem, f := vfs.NewCrashableMem(), &faults{match: match}
	var log strings.Builder
	db, err := open(errorfs.Wrap(mem, f), testClock, "/state", Options{
		MemoryBytes: leastMemory,
		Logger:      slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := openScript(db, "0_0")
	if err != nil {
		t.Fatal(err)
	}
	return mem, f, db, s, &log
}

func closeAll(t *testing.T, db *DB, s *script) {
	t.Helper()
	if err := s.task.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// wantUnwritable checks that an error says what is wrong and what to do.
func wantUnwritable(t *testing.T, err error, hint string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !errors.Is(err, ErrUnwritable) || !ok {
		t.Fatalf("not an error of the disk: %v", err)
	}
	if !strings.Contains(e.Hint(), hint) || !strings.HasSuffix(err.Error(), e.Hint()) || !strings.Contains(err.Error(), "/state") {
		t.Fatalf("what does it say of %q? %v", hint, err)
	}
}

// aloneEnv tells a process that it runs one test of those that leave goroutines behind.
const aloneEnv = "MILLRACE_STORE_ALONE"

// alone runs the test in a process of its own, and tells whether it is in that: after an error of the manifest
// goroutines stay behind, as they have to, and what must not happen is that the process ends.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) != "" {
		return true
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.short="+strconv.FormatBool(testing.Short()))
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// TestDiskFull fills the disk for the files of the state: commits go on until memory is full, then fail, and go
// on once there is space; nothing is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	mem, f, db, s, log := faulty(t, isTable)
	for range 50 {
		if err := s.commit(false); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	flushed := s.next - 1
	f.fail(syscall.ENOSPC)
	var err error
	for err == nil {
		err = s.commit(false)
	}
	wantUnwritable(t, err, "free space")
	if s.next < flushed+10 {
		t.Errorf("%d commits only", s.next-flushed)
	}
	if err := s.task.Commit(map[string]int64{"state": s.next}); err == nil {
		t.Error("a commit in vain works the second time")
	}
	wantUnwritable(t, db.Flush(), "free space")
	if f.hits.Load() > 10_000 {
		t.Errorf("%d tries in vain", f.hits.Load())
	}
	// What a crash leaves now is the last state that reached the disk.
	if got := checkFolder(t, mem.CrashClone(vfs.CrashCloneCfg{}), "/state", "0_0"); got[0] < flushed || got[0] >= s.next {
		t.Errorf("after a crash: commit %d; flushed %d, made %d", got[0], flushed, s.next-1)
	}
	f.heal()
	for err = errors.New("not yet"); err != nil; { // until Pebble has tried again
		err = s.task.Commit(map[string]int64{"state": s.next})
	}
	s.next++
	if err := s.commit(false); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	s.check(t)
	closeAll(t, db, s)
	if got := checkFolder(t, mem.CrashClone(vfs.CrashCloneCfg{}), "/state", "0_0"); got[0] != s.next-1 {
		t.Errorf("commit %d on disk, not %d", got[0], s.next-1)
	}
	if text := log.String(); !strings.Contains(text, "cannot be written") || !strings.Contains(text, "can be written again") || strings.Count(text, "\n") > 20 {
		t.Errorf("the log:\n%s", text)
	}
}

// TestManifestFails fails where Pebble would end the process. Nothing changes on disk from then on.
func TestManifestFails(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync} {
			t.Run(fmt.Sprintf("%v/%d", errno, kind), func(t *testing.T) {
				t.Parallel()
				mem, f, db, s, log := faulty(t, func(op errorfs.Op) bool { return isManifest(op) && op.Kind == kind })
				for range 50 {
					if err := s.commit(false); err != nil {
						t.Fatal(err)
					}
				}
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
				flushed := s.next - 1
				if err := s.commit(false); err != nil {
					t.Fatal(err)
				}
				busy(t, db, f, errno)
				hint := "see to the disk"
				if errno == syscall.ENOSPC {
					hint = "free space"
				}
				wantUnwritable(t, db.Flush(), hint)
				f.heal()
				wantUnwritable(t, s.commit(false), hint)
				wantUnwritable(t, db.Flush(), hint)
				wantUnwritable(t, s.task.Restore("state", []Entry{{[]byte("a"), []byte("b")}}, 1), hint)
				if v, err := s.store.Get([]byte("key0001")); err != nil {
					t.Errorf("reading fails: %q, %v", v, err)
				}
				closeAll(t, db, s)
				for _, percent := range []int{0, 50, 100} {
					clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 1))})
					if got := checkFolder(t, clone, "/state", "0_0"); got[0] < flushed || got[0] > flushed+1 {
						t.Errorf("after the failure: commit %d, flushed %d", got[0], flushed)
					}
				}
				checkFolder(t, mem, "/state", "0_0") // in the same process
				if text := log.String(); strings.Count(text, "has failed") != 1 {
					t.Errorf("the log:\n%s", text)
				}
			})
		}
	}
}

// busy makes the file system fail while other tasks commit all the time. Each of them has to end with the error.
func busy(t *testing.T, db *DB, f *faults, errno syscall.Errno) {
	t.Helper()
	var work sync.WaitGroup
	for i := range 2 {
		s, err := openScript(db, fmt.Sprintf("9_%d", i))
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			for n := 0; err == nil; n++ {
				if err = s.commit(false); n == 100 {
					f.fail(errno)
				}
			}
			if !errors.Is(err, ErrUnwritable) {
				t.Error(err)
			}
			if err := s.task.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
}

// TestRandomFaults fails any operation now and then. Whatever comes of it, it is an error, or the right state.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	runs := 60
	if testing.Short() {
		runs = 8
	}
	for range runs {
		seed := rand.Uint64()
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			randomFaults(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func randomFaults(t *testing.T, rng *rand.Rand) {
	t.Helper()
	reads := rng.IntN(3) == 0
	var n atomic.Int64
	every := 1 + rng.Int64N(60)
	mem, f, db, s, _ := faulty(t, func(op errorfs.Op) bool {
		if op.Kind == errorfs.OpFileClose || !reads && op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return false
		}
		return n.Add(1)%every == 0
	})
	flushed := int64(0)
	errno := []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EACCES}[rng.IntN(3)]
	var failure error
	for range 400 {
		switch rng.IntN(20) {
		case 0:
			f.fail(errno)
		case 1:
			f.heal()
		case 2, 3:
			if failure = db.Flush(); failure == nil {
				flushed = s.next - 1
			}
		case 4:
			if _, failure = dump(s.store); failure == nil {
				s.check(t)
			}
		default:
			failure = s.commit(rng.IntN(10) == 0)
		}
		if failure != nil {
			break
		}
	}
	if failure != nil && !errors.Is(failure, ErrUnwritable) && (!reads || !errors.Is(failure, errno)) {
		t.Errorf("an error that does not say of what kind it is: %v", failure)
	}
	f.heal()
	s.task.Rollback()
	_, err := dump(s.store)
	for i := 0; i < 3 && errors.Is(err, errno); i++ {
		// Pebble opens a file once for all who want it: a merge that had begun to when the disk failed gives its error to others.
		_, err = dump(s.store)
	}
	if err != nil {
		t.Errorf("reading the state after it has healed: %v", err)
	}
	if err := s.task.Close(); err != nil {
		t.Error(err)
	}
	_ = db.Close() // it may say once more what has failed
	clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rand.New(rand.NewPCG(rng.Uint64(), 0))})
	if got := checkFolder(t, clone, "/state", "0_0"); got[0] < flushed || got[0] > s.next {
		t.Errorf("commit %d on disk; flushed %d, made %d", got[0], flushed, s.next-1)
	}
}

// TestOpenFails fails each single operation of opening a new folder, and of opening it again.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EACCES} {
		for _, old := range []bool{false, true} {
			for n := int64(1); ; n++ {
				mem := vfs.NewCrashableMem()
				if old {
					checkFolder(t, mem, "/state", "0_0")
				}
				var count atomic.Int64
				f := &faults{match: func(op errorfs.Op) bool { return op.Kind != errorfs.OpFileClose && count.Add(1) == n }}
				f.fail(errno)
				db, err := open(errorfs.Wrap(mem, f), testClock, "/state", Options{})
				if err == nil {
					if err := db.Close(); err != nil && f.hits.Load() == 0 {
						t.Fatal(err)
					}
				} else if errors.Is(err, ErrCorrupt) || !errors.Is(err, errno) {
					t.Fatalf("operation %d of opening fails: %v", n, err)
				}
				checkFolder(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), "/state", "0_0")
				if f.hits.Load() == 0 {
					break
				}
			}
		}
	}
}
