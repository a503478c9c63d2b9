package reload

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestValue reads a file again when it has changed, at most once a second, and keeps what it has where that fails.
func TestValue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now, reads := time.Unix(0, 0), 0
	var log bytes.Buffer
	read := func() (string, error) {
		reads++
		b, err := os.ReadFile(path)
		if string(b) == "bad" {
			return "", errors.New("what is in it is bad")
		}
		return string(b), err
	}
	if _, err := New([]string{path}, read, func() time.Time { return now }, nil); err == nil {
		t.Fatal("a file that is not there")
	}
	write("a")
	v, err := New([]string{path}, read, func() time.Time { return now }, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := func(text string, n int) {
		t.Helper()
		if got := v.Get(t.Context()); got != text || reads != n {
			t.Errorf("%q after %d reads, want %q after %d", got, reads, text, n)
		}
	}
	want("a", 1)
	now = now.Add(Every)
	want("a", 1)
	write("bb")
	want("a", 1)
	now = now.Add(Every)
	want("bb", 2)
	write("bad")
	for n := range 3 {
		now = now.Add(Every)
		want("bb", 3+n)
	}
	if s := log.String(); strings.Count(s, "what is in it is bad") != 1 {
		t.Errorf("log %q", s)
	}
	write("cccc")
	now = now.Add(-time.Hour) // the clock was set back
	want("cccc", 6)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(Every)
	want("cccc", 6)
	if !strings.Contains(log.String(), "no such file") {
		t.Errorf("log %q", log.String())
	}
}
