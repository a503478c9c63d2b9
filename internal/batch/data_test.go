package batch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/record"
)

// TestBatchBytes wants large records in small batches.
func TestBatchBytes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "large.jsonl")
	line := `{"city":"` + strings.Repeat("x", 1<<20-20) + "\"}\n"
	if err := os.WriteFile(path, []byte(strings.Repeat(line, 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close() //nolint:errcheck // it was only read
	b := record.NewBatch(mustSchema(t, record.Field{Name: "city", Type: record.Enum}), nil)
	rows := 0
	for more := true; more; rows += b.Len() {
		if more, err = src.fill(b); err != nil {
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

func TestOpenFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "x.csv")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var e *DataError
	if _, err := open(dir, 0); !errors.As(err, &e) || !errors.Is(err, errNoFile) {
		t.Errorf("error %v", err)
	}
}
