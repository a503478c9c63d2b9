package source

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"millrace.dev/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a record as a source gives it.
type row struct {
	value  string // "!CLASS" of a rejected one
	topic  string
	number int64
}

// readAll reads data twice, which has to give the same, and returns its records and its digest.
func readAll(ctx context.Context, name string, o Options) (rows []row, digest string, err error) {
	s, err := Open(ctx, name, o)
	if err != nil {
		return nil, "", err
	}
	rows, digest, err = readOnce(ctx, s)
	if err != nil {
		return nil, "", err
	}
	again, digestAgain, err := readOnce(ctx, s)
	if err != nil || digest != digestAgain || len(again) != len(rows) {
		panic("the data is another when it is read again")
	}
	return rows, digest, nil
}

func readOnce(ctx context.Context, s *Source) (rows []row, digest string, err error) {
	schema, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric})
	if err != nil {
		return nil, "", err
	}
	b := record.NewBatch(schema, nil)
	r := s.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	for {
		more, err := r.Fill(b)
		if err != nil {
			return nil, "", err
		}
		if !more {
			return rows, r.Digest(), nil
		}
		for i := range b.Len() {
			raw := b.Raw(i)
			value := string(raw.Value)
			if p := b.Problem(i); p != nil {
				value = "!" + p.Class
			}
			rows = append(rows, row{value, raw.Topic, r.First() + int64(i)})
		}
	}
}

func valuesOf(rows []row) []string {
	all := make([]string, len(rows))
	for i := range rows {
		all[i] = rows[i].value
	}
	return all
}

// write writes files into a folder, which it returns.
func write(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// check compares an error with what it should say, "" being none.
func check(tb testing.TB, err error, want string) {
	tb.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		tb.Errorf("error %v: want one with %q", err, want)
	}
}
