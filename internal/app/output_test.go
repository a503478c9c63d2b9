package app

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// names returns what a folder holds.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func opened(t *testing.T, path string) *output {
	t.Helper()
	o, err := create(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.discard)
	return o
}

// TestOutputAppearsWhole holds that a file gets its name, in place of one of before, when it is complete and no sooner.
func TestOutputAppearsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "before")
	first, second := opened(t, a), opened(t, b)
	for _, o := range []*output{first, second} {
		if _, err := io.WriteString(o, "new"); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, a); got != "before" {
		t.Errorf("before the commit: %q", got)
	}
	if err := commit(first, second); err != nil {
		t.Fatal(err)
	}
	first.discard() // as a deferred call does
	second.discard()
	if got := names(t, dir); !slices.Equal(got, []string{"a", "b"}) || read(t, a) != "new" || read(t, b) != "new" {
		t.Errorf("after the commit: %q", got)
	}
	if info, err := os.Stat(a); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the file that was there: %v, %v", info.Mode(), err)
	}
}

func TestOutputDiscarded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	write(t, path, "before")
	o := opened(t, path)
	if _, err := o.Write(make([]byte, 2*outputBuffer)); err != nil {
		t.Fatal(err)
	}
	o.discard()
	o.discard()
	if got := names(t, dir); !slices.Equal(got, []string{"a"}) || read(t, path) != "before" {
		t.Errorf("after the discard: %q", got)
	}
}

// TestOutputsOfOneFailAll holds that when one output cannot be finished the others do not appear either.
func TestOutputsOfOneFailAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := opened(t, filepath.Join(dir, "good")), opened(t, filepath.Join(dir, "bad"))
	if err := bad.file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	err := commit(good, bad)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != Failed || !strings.HasPrefix(err.Error(), "write "+bad.path+": ") {
		t.Errorf("got %v", err)
	}
	good.discard()
	bad.discard()
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func TestOutputRenameFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := opened(t, filepath.Join(dir, "a"))
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil { // it came meanwhile
		t.Fatal(err)
	}
	if err := commit(o); err == nil || strings.Contains(err.Error(), "partial") {
		t.Errorf("got %v, want an error that names the output as it was given", err)
	}
	o.discard()
	if got := names(t, dir); !slices.Equal(got, []string{"a"}) {
		t.Errorf("left: %q", got)
	}
}

func TestOutputFollowsLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, file, "before")
	if err := os.Symlink("file", link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	o := opened(t, link)
	if _, err := o.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if err := commit(o); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || read(t, file) != "new" {
		t.Errorf("link: %v, %v; file: %q", info.Mode(), err, read(t, file))
	}
}

func TestOutputStandard(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	o, err := create("-", &b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := commit(o); err != nil || b.String() != "x" {
		t.Errorf("%q, %v", b.String(), err)
	}
	o.discard()
	o, err = create("-", brokenWriter{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := commit(o); err == nil || err.Error() != "write standard output: broken" {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestOutputFullDisk(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("no /dev/full here")
	}
	o := opened(t, "/dev/full")
	if _, err := o.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := commit(o); !errors.Is(err, syscall.ENOSPC) || err.Error() != "write /dev/full: no space left on device" {
		t.Errorf("got %v", err)
	}
	if code, _ := Explain(commit(o)); code != Failed {
		t.Errorf("code %d: a retry may help", code)
	}
	o.discard()
	if info, err := os.Stat("/dev/full"); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		t.Errorf("/dev/full is no device any more: %v, %v", info, err)
	}
}

func TestOutputRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{dir: "it is a folder", filepath.Join(dir, "no", "file"): "no such file or directory"} {
		_, err := create(path, nil)
		if code, _ := Explain(err); err == nil || code != Usage || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "partial") {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestDistinct(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, missing := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "missing")
	write(t, a, "")
	if err := os.Link(a, b); err != nil {
		t.Skip("no hard links here: ", err)
	}
	for name, tc := range map[string]struct {
		x, y string
		same bool
	}{
		"none":         {"", "", false},
		"one":          {a, "", false},
		"same":         {a, a, true},
		"hard link":    {a, b, true},
		"spelling":     {missing, dir + "//missing", true},
		"different":    {a, missing, false},
		"standard out": {"-", "-", true},
		"device":       {os.DevNull, os.DevNull, false},
	} {
		if err := distinct(named{"--x", tc.x}, named{"--y", tc.y}); (err != nil) != tc.same {
			t.Errorf("%s: %v", name, err)
		}
	}
}
