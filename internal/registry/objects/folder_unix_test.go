//go:build unix

package objects

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadDoesNotWait: to open a named pipe is to wait for somebody who writes to it, for ever.
func TestReadDoesNotWait(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Read(t.Context(), "pipe", 10); err == nil {
		t.Error("a pipe was read")
	}
}

// TestFoldersElsewhere lists a folder that is a link to one on another disk.
func TestFoldersElsewhere(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, "events")); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for _, name := range []string{"events/1", "events/2", "events/a/3"} {
		if err := s.Create(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.List(t.Context(), "events", "events/1")
	if diff := cmp.Diff([]string{"events/2", "events/a/3"}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}
