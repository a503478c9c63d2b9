package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace.dev/internal/durable"
	"millrace.dev/internal/durable/errorfs"
)

func TestReplaceIsOldOrNew(t *testing.T) {
	t.Parallel()
	before, after := bytes.Repeat([]byte("old"), 1000), bytes.Repeat([]byte("new!"), 1000)
	for _, mode := range errorfs.Modes() {
		for n := 0; ; n++ {
			path := filepath.Join(t.TempDir(), "f")
			if err := durable.Replace(durable.OS(), path, before, 0o644); err != nil {
				t.Fatal(err)
			}
			fsys := errorfs.New(durable.OS(), n, mode)
			err := durable.Replace(fsys, path, after, 0o644)
			got, e := os.ReadFile(path)
			if e != nil {
				t.Fatal(e)
			}
			if !bytes.Equal(got, after) && (err == nil || !bytes.Equal(got, before)) {
				t.Fatalf("%v at step %d: %v: neither the old content nor the new: %d bytes", mode, n, err, len(got))
			}
			if !fsys.Failed() {
				if want := []string{"create", "write", "sync", "close", "rename", "sync dir"}; !slices.Equal(fsys.Steps(), want) {
					t.Fatalf("steps %q, want %q", fsys.Steps(), want)
				}
				break
			}
			if err == nil {
				t.Fatalf("%v at step %d: no error", mode, n)
			}
			checkDir(t, filepath.Dir(path), mode == errorfs.Fail)
		}
	}
}

func TestCreateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("data"), 1000)
	for _, mode := range errorfs.Modes() {
		for n := 0; ; n++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			fsys := errorfs.New(durable.OS(), n, mode)
			err := durable.Create(fsys, dir, path, data, 0o444)
			got, e := os.ReadFile(path)
			switch {
			case e == nil && !bytes.Equal(got, data), e != nil && !errors.Is(e, fs.ErrNotExist):
				t.Fatalf("%v at step %d: %d bytes, %v", mode, n, len(got), e)
			case err == nil && e != nil:
				t.Fatalf("%v at step %d: no error and no file", mode, n)
			}
			checkDir(t, dir, mode == errorfs.Fail && fsys.Failed() && err != nil)
			if !fsys.Failed() {
				if want := []string{"create", "write", "sync", "close", "link", "remove", "sync dir"}; !slices.Equal(fsys.Steps(), want) {
					t.Fatalf("steps %q, want %q", fsys.Steps(), want)
				}
				break
			}
		}
	}
}

// checkDir wants nothing in dir but the file f and temporary files, and none of these when clean.
func checkDir(t *testing.T, dir string, clean bool) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if temp := strings.HasSuffix(e.Name(), durable.TempSuffix); temp && clean || !temp && e.Name() != "f" {
			t.Fatalf("left behind: %s", e.Name())
		}
	}
}

func TestCreateKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(durable.OS(), dir, path, []byte("second"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v, want fs.ErrExist", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "first" {
		t.Fatalf("got %q", got)
	}
	checkDir(t, dir, true)
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(durable.OS(), deep); err != nil {
			t.Fatal(err)
		}
	}
	if i, err := os.Stat(deep); err != nil || !i.IsDir() {
		t.Fatal(i, err)
	}
	for n := range 6 { // three directories, each made and synced
		fsys := errorfs.New(durable.OS(), n, errorfs.Fail)
		if err := durable.MkdirAll(fsys, filepath.Join(t.TempDir(), "a", "b", "c")); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("step %d: %v", n, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(durable.OS(), filepath.Join(dir, "file", "below")); err == nil {
		t.Error("a directory below a file: no error")
	}
}
