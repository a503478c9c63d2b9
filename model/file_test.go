package model

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteFileAndOpen(t *testing.T) {
	t.Parallel()
	data := encode(t, small(t))
	path := filepath.Join(t.TempDir(), "houses"+Extension)
	for _, content := range [][]byte{[]byte("old"), data} {
		if err := WriteFile(path, content); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if l.Digest != Digest(data) || l.Ref != "house-prices" || l.Bundle.Manifest.Label != "price" {
		t.Errorf("loaded %s %s %+v", l.Digest, l.Ref, l.Bundle.Manifest)
	}
	if l, err = Load(data, "house-prices@3"); err != nil || l.Ref != "house-prices@3" {
		t.Error(l, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	data := encode(t, small(t))
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := bytes.Clone(data)
	flipped[len(flipped)/2]++
	for path, want := range map[string]error{
		filepath.Join(dir, "none"):        fs.ErrNotExist,
		write("empty", nil):               ErrNotBundle,
		write("csv", []byte("price\n1")):  ErrNotBundle,
		write("flipped", flipped):         ErrCorrupt,
		write("cut", data[:len(data)-1]):  ErrCorrupt,
		write("long", append(data, '\n')): ErrTooLarge,
	} {
		_, err := Open(path, WithMaxBytes(int64(len(data))))
		if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want %v and the path", err, want)
		}
	}
	if err := WriteFile(filepath.Join(dir, "no", "folder"), data); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestOldBundlesOpen opens a bundle that an earlier millrace has written. With MILLRACE_UPDATE=1 it writes the
// file anew, which nobody may do once a release can have written bundles of its format.
func TestOldBundlesOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "format1"+Extension)
	if os.Getenv("MILLRACE_UPDATE") != "" {
		if err := WriteFile(path, encode(t, small(t))); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got := goldenRows(l.Bundle)
	if len(got) != len(l.Bundle.Golden) || len(got) == 0 {
		t.Fatalf("%d golden rows, want %d", len(got), len(l.Bundle.Golden))
	}
	for i := range got {
		if err := l.Bundle.CheckGolden(i, got[i]); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, small(b))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
