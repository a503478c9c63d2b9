package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "state")
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "/", filepath.Join(dir, "..", "state"), link} {
		for what, err := range map[string]error{"open": openAndClose(path), "wipe": Wipe(path)} {
			if !errors.Is(err, ErrLocked) {
				t.Errorf("%s %s: %v", what, path, err)
			}
		}
	}
	out := runChild(t, dir)
	if !strings.Contains(out, "in use") || !strings.Contains(out, "state folder of its own") {
		t.Errorf("another process: %s", out)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openAndClose(link); err != nil {
		t.Errorf("after it was closed: %v", err)
	}
}

func openAndClose(dir string) error {
	db, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	return db.Close()
}

// runChild runs a process on a state folder that it cannot open, and returns what it says.
func runChild(t *testing.T, dir string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		t.Fatalf("the other process: %v", err)
	}
	return string(out)
}

// TestOpenRefuses opens folders that are not as they should be.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  error
		text  string
	}{
		"newer":          {func(d string) error { return os.WriteFile(filepath.Join(d, formatFile), []byte("2\n"), 0o600) }, ErrNewer, "newer version"},
		"no number":      {func(d string) error { return os.WriteFile(filepath.Join(d, formatFile), []byte("x"), 0o600) }, ErrCorrupt, "not a number"},
		"empty format":   {func(d string) error { return os.WriteFile(filepath.Join(d, formatFile), nil, 0o600) }, ErrCorrupt, "not a number"},
		"no format":      {func(d string) error { return os.Remove(filepath.Join(d, formatFile)) }, ErrCorrupt, "FORMAT is missing"},
		"marked":         {func(d string) error { return os.WriteFile(filepath.Join(d, damagedFile), []byte("bad block"), 0o600) }, ErrCorrupt, "bad block"},
		"no tables":      {func(d string) error { return removeAll(d, "*.sst") }, ErrCorrupt, ""},
		"no manifest":    {func(d string) error { return removeAll(d, "MANIFEST-*") }, ErrCorrupt, ""},
		"empty manifest": {func(d string) error { return truncateAll(d, "MANIFEST-*") }, ErrCorrupt, ""},
		"empty tables":   {func(d string) error { return truncateAll(d, "*.sst") }, ErrCorrupt, ""},
		"a file":         {func(d string) error { return errors.Join(os.RemoveAll(d), os.WriteFile(d, nil, 0o600)) }, nil, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "state")
			fillFolder(t, dir, 10)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err := openAndClose(dir)
				if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
					t.Fatalf("got %v", err)
				}
			}
			if c.want == nil {
				return
			}
			if err := Wipe(dir); err != nil {
				t.Fatal(err)
			}
			if got := checkFolder(t, vfs.Default, dir, "0_0"); got[0] != 0 {
				t.Errorf("commit %d in a wiped folder", got[0])
			}
		})
	}
}

func matching(dir, pattern string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, database, pattern))
	if err == nil && len(names) == 0 {
		err = fs.ErrNotExist
	}
	return names, err
}

func removeAll(dir, pattern string) error {
	names, err := matching(dir, pattern)
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func truncateAll(dir, pattern string) error {
	names, err := matching(dir, pattern)
	for _, name := range names {
		err = errors.Join(err, os.Truncate(name, 0))
	}
	return err
}

// fillFolder makes n commits in a new folder, a flush after each.
func fillFolder(tb testing.TB, dir string, n int) {
	tb.Helper()
	db, err := Open(dir, Options{MemoryBytes: leastMemory})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := openScript(db, "0_0")
	if err != nil {
		tb.Fatal(err)
	}
	for range n {
		if err := errors.Join(s.commit(false), db.Flush()); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(s.task.Close(), db.Close()); err != nil {
		tb.Fatal(err)
	}
}

// TestDamage changes bytes of files, cuts them or loses them. What is read is then the state of some commit, or
// the damage is told as what it is.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	fillFolder(t, dir, 40)
	runs := 300
	if testing.Short() {
		runs = 60
	}
	found := map[bool]int{}
	for range runs {
		seed := rand.Uint64()
		mem := vfs.NewMem()
		if ok, err := vfs.Clone(vfs.Default, mem, dir, "/state"); err != nil || !ok {
			t.Fatal(ok, err)
		}
		what := damage(t, mem, rand.New(rand.NewPCG(seed, 0)))
		err := useDamaged(t, mem, what)
		found[err != nil]++
		if err == nil || errors.Is(err, ErrNewer) && strings.HasPrefix(what, formatFile) { // a digit became another
			continue
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("seed %d: %s: %v", seed, what, err)
		}
		if db, err := open(mem, time.After, "/state", Options{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("seed %d: %s: it can be opened again: %v, %v", seed, what, db, err)
		}
		if err := wipe(mem, "/state"); err != nil {
			t.Fatal(err)
		}
		checkFolder(t, mem, "/state", "0_0")
	}
	t.Logf("damage was told %d times of %d", found[true], runs)
	if found[true] < runs/4 {
		t.Error("too little of the damage is found")
	}
}

// damage spoils one file, and says how.
func damage(t *testing.T, fsys *vfs.MemFS, rng *rand.Rand) string {
	t.Helper()
	dir := "/state"
	if rng.IntN(10) > 0 {
		dir = "/state/" + database
	}
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for {
		name := names[rng.IntN(len(names))]
		if name == lockFile || name == database {
			continue
		}
		path := fsys.PathJoin(dir, name)
		if rng.IntN(10) == 0 {
			if err := fsys.Remove(path); err != nil {
				t.Fatal(err)
			}
			return name + " removed"
		}
		data, err := fsys.UnsafeGetFileDataBuffer(path)
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.Clone(data)
		how := "cut"
		switch {
		case len(data) == 0:
			data, how = []byte{byte(rng.IntN(256))}, "filled"
		case rng.IntN(4) == 0:
			data = data[:rng.IntN(len(data))]
		default:
			at := rng.IntN(len(data))
			data[at] ^= byte(1 + rng.IntN(255))
			how = fmt.Sprintf("changed at %d of %d", at, len(data))
		}
		f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(data)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		return name + " " + how
	}
}

// useDamaged opens the folder, reads all and goes on writing. It returns the first error.
func useDamaged(t *testing.T, fsys *vfs.MemFS, what string) (err error) {
	t.Helper()
	db, err := open(fsys, testClock, "/state", Options{MemoryBytes: leastMemory})
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	s, err := openScript(db, "0_0")
	if err != nil {
		return err
	}
	defer func() {
		if e := s.task.Close(); err == nil {
			err = e
		}
	}()
	got, err := dump(s.store)
	if err != nil {
		return err
	}
	want := s.want(s.next - 1)
	if len(want) != len(got) {
		t.Fatalf("%s: %d keys after commit %d, not %d", what, len(got), s.next-1, len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: another value of %s after commit %d", what, k, s.next-1)
		}
		if g, err := s.store.Get([]byte(k)); err != nil {
			return err
		} else if string(g) != v {
			t.Fatalf("%s: Get and Scan differ in %s", what, k)
		}
	}
	for range 5 {
		if err := s.commit(false); err != nil {
			return err
		}
	}
	if err := db.Flush(); err != nil {
		return err
	}
	s.check(t)
	return nil
}
