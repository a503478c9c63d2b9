package source

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"millrace.dev/record"
)

func gz(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func zst(tb testing.TB, text string, o ...zstd.EOption) string {
	tb.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append(o, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil { // it does not know how much there will be
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.csv": "CSV none", "A.CSV": "CSV none", "a.csv.gz": "CSV gzip", "a.json": "JSON lines none", "a.ndjson.zst": "JSON lines zstd",
		"a.jsonl": "JSON lines none", "a.parquet": "Parquet none", "a.parquet.gz": "unknown", "a.gz": "unknown", "a": "unknown", "csv": "unknown", "a.csv.bz2": "unknown",
	} {
		f, c, err := FormatOf(name)
		got := f.String() + " " + c.String()
		if err != nil {
			got = "unknown"
			if e, ok := errors.AsType[*DataError](err); !ok || e.Path != name || e.Hint == "" || !errors.Is(err, ErrFormat) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	csv := func(rows ...string) string { return "x,y\n" + strings.Join(rows, "\n") + "\n" }
	files := map[string]string{
		"a.csv": csv("1,a", "", "2,b"), "b.csv.gz": gz(t, csv("3,c")), "c.csv.zst": zst(t, csv("4,d")), "B.csv": csv("0,z"),
		"lines.jsonl": "{\"x\":1}\n\n{\"x\":2}", "lines.json.gz": gz(t, "{\"x\":3}\n") + gz(t, "{\"x\":4}\n"), "lines.zz.ndjson.zst": zst(t, `{"x":5}`) + zst(t, "\n{\"x\":6}"),
		"empty.csv.gz": gz(t, ""), "none.jsonl.gz": gz(t, ""), "odd[1].csv": csv("7,o"), "large.jsonl": `{"x":"` + strings.Repeat("x", 2000) + "\"}\n{\"x\":1}\n",
		"a.order.csv": "y,x\n", "a.zed.csv": "x,z\n1,2\n", "text.txt": "x", "twice.csv": "x,x\n",
	}
	dir := write(t, files)
	if err := os.Mkdir(filepath.Join(dir, "sub.csv"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		want []string
		err  string
	}{
		"a.csv":          {want: []string{"1,a", "2,b"}},
		"[aBbc].csv*":    {want: []string{"0,z", "1,a", "2,b", "3,c", "4,d"}}, // in the order of the bytes of the names
		"lines*":         {want: []string{`{"x":3}`, `{"x":4}`, `{"x":1}`, `{"x":2}`, `{"x":5}`, `{"x":6}`}},
		"odd[1].csv":     {want: []string{"7,o"}},
		"large.jsonl":    {want: []string{"!too_large", `{"x":1}`}},
		"none.jsonl.gz":  {},
		"empty.csv.gz":   {err: "empty.csv.gz: codec: the CSV file is empty"},
		"no*.csv":        {err: "no*.csv: no file matches"},
		"[.csv":          {err: "[.csv: syntax error in pattern"},
		"nothing.csv":    {err: "no such file"},
		"*.txt":          {err: "text.txt: unknown kind of data file"},
		"[al]*.[cj]s*":   {err: "files of several formats: " + dir + "/a.csv is CSV, and " + dir + "/large.jsonl is JSON lines"},
		"sub.csv":        {err: "sub.csv: not a file"},
		"[as]*.csv":      {err: "sub.csv: not a file"},
		"a.[cz]*":        {err: "a.zed.csv: its columns are not those of " + dir + "/a.csv: it lacks y, and it also has z"},
		"a.[co]*":        {err: "a.order.csv: its columns are not those of " + dir + "/a.csv: column 1 is y in the place of x"},
		"twice.csv":      {err: `the column "x" comes twice`},
		"\\odd[[]1].csv": {want: []string{"7,o"}},
		"*/odd*":         {err: "no file matches"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, digest, err := readAll(t.Context(), filepath.Join(dir, name), Options{MaxBytes: 1000})
			check(t, err, tc.err)
			if err != nil {
				if e, ok := errors.AsType[*DataError](err); ok && e.Hint == "" && !strings.Contains(err.Error(), "codec") {
					t.Errorf("%v: no hint", err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, valuesOf(rows), cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Error(diff)
			}
			paths, err := Files(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			for _, path := range paths {
				h.Write([]byte(files[filepath.Base(path)]))
			}
			if want := "sha256:" + hex.EncodeToString(h.Sum(nil)); digest != want {
				t.Errorf("digest %s, want %s", digest, want)
			}
			for i, r := range rows {
				if r.number != int64(i) {
					t.Errorf("record %d has the number %d", i, r.number)
				}
			}
		})
	}
}

// TestDamaged cuts compressed files short at every byte, and flips each of their bits: that is an error, or it changes
// nothing.
func TestDamaged(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "{\"x\":%d,\"y\":\"%x\"}\n", i, sha256.Sum256([]byte{byte(i)}))
	}
	for name, packed := range map[string]string{"a.jsonl.gz": gz(t, text.String()), "a.jsonl.zst": zst(t, text.String())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(write(t, map[string]string{name: packed}), name)
			want, _, err := readAll(t.Context(), path, Options{})
			if err != nil || len(want) != 40 {
				t.Fatalf("%d rows, %v", len(want), err)
			}
			damaged := func(what string, b []byte) {
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				rows, _, err := readAll(t.Context(), path, Options{})
				if err == nil && !cmp.Equal(want, rows, cmp.AllowUnexported(row{})) {
					t.Errorf("%s: %d rows and no error", what, len(rows))
				}
				if e, ok := errors.AsType[*DataError](err); err != nil && (!ok || e.Path != path || e.Hint == "") {
					t.Errorf("%s: error %v", what, err)
				}
			}
			step := 1
			if testing.Short() { // each byte is a file that one goroutine reads, or two
				step = 7
			}
			for n := 1; n < len(packed); n += step {
				damaged(fmt.Sprintf("the first %d bytes", n), []byte(packed[:n]))
			}
			for i := 0; i < len(packed); i += step {
				b := []byte(packed)
				b[i] ^= 1 << (i % 8)
				damaged(fmt.Sprintf("byte %d", i), b)
			}
			damaged("something behind", append([]byte(packed), "more"...))
		})
	}
}

// TestWindow refuses a zstd file that asks for much memory.
func TestWindow(t *testing.T) {
	t.Parallel()
	packed := zst(t, `{"x":1}`, zstd.WithWindowSize(256<<20), zstd.WithSingleSegment(false))
	dir := write(t, map[string]string{"a.jsonl.zst": packed})
	_, _, err := readAll(t.Context(), filepath.Join(dir, "a.jsonl.zst"), Options{})
	check(t, err, "needs more than 128 MiB of memory")
}

// TestBatchBytes wants large records in small batches.
func TestBatchBytes(t *testing.T) {
	t.Parallel()
	line := `{"city":"` + strings.Repeat("x", 1<<20-20) + "\"}\n"
	dir := write(t, map[string]string{"large.jsonl": strings.Repeat(line, 30)})
	s, err := Open(t.Context(), filepath.Join(dir, "large.jsonl"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := record.NewSchema(record.Field{Name: "city", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(schema, nil)
	r := s.Read(t.Context())
	defer r.Close() //nolint:errcheck // it was only read
	rows := 0
	for more := true; more; rows += b.Len() {
		if more, err = r.Fill(b); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 9 {
			t.Fatalf("%d records of 1 MB in a batch", b.Len())
		}
	}
	if rows != 30 {
		t.Errorf("%d records, want 30", rows)
	}
}

// TestChangedHeader changes the columns of a file after it was opened.
func TestChangedHeader(t *testing.T) {
	t.Parallel()
	path := filepath.Join(write(t, map[string]string{"a.csv": "x\n1\n"}), "a.csv")
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("y\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readOnce(t.Context(), s); !errors.Is(err, ErrChanged) {
		t.Errorf("error %v", err)
	}
}
