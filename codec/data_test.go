package codec

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
)

// openData opens a file of the data folder. Without the folder it ends the test as [testenv.Missing] does.
func openData(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join(testenv.Data(t), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Real house sales give equal columns as CSV and as JSON, whether numbers of an enum are sent as numbers or
// as text, and in whatever order the fields come.
func TestHouseSales(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	r, err := NewCSVReader(openData(t, "housedata.csv"), CSVReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var rows, numbers, texts, reversed [][]byte
	for {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, raw)
		cells, err := csv.NewReader(strings.NewReader(string(raw))).Read()
		if err != nil {
			t.Fatal(err)
		}
		n, x := objectOf(t, s, r.Header(), cells)
		numbers, texts = append(numbers, []byte("{"+strings.Join(n, ",")+"}")), append(texts, []byte("{ "+strings.Join(x, " , ")+" }"))
		slices.Reverse(n)
		reversed = append(reversed, []byte("{"+strings.Join(n, ",")+"}"))
	}
	if len(rows) != 4600 {
		t.Errorf("%d rows", len(rows))
	}
	fromCSV, err := NewCSV(s, r.Header(), CSVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := decode(fromCSV, s, rows...)
	for name, values := range map[string][][]byte{"numbers": numbers, "texts": texts, "reversed": reversed} {
		got := decode(newJSON(t, s, JSONOptions{}), s, values...)
		if want.Rejected()+got.Rejected() > 0 {
			t.Fatalf("%s: %d and %d rows are rejected", name, want.Rejected(), got.Rejected())
		}
		for i := range rows {
			if diff := cmp.Diff(row(want, i), row(got, i)); diff != "" {
				t.Fatalf("%s: row %d: %s", name, i, diff)
			}
		}
		for f := range s.Len() { // codes and not only levels, since both saw the rows in the same order
			if s.Field(f).Type == record.Enum && !slices.Equal(want.Codes(f), got.Codes(f)) {
				t.Errorf("%s: other codes of %s", name, s.Field(f).Name)
			}
		}
	}
}

// objectOf makes JSON members of a row, with enum cells that are numbers as numbers, and as texts.
func objectOf(t *testing.T, s *record.Schema, header, cells []string) (numbers, texts []string) {
	t.Helper()
	for i, cell := range cells {
		f, declared := s.Index(header[i])
		if !declared {
			t.Fatalf("column %s is not declared", header[i])
		}
		quoted, err := json.Marshal(cell)
		if err != nil {
			t.Fatal(err)
		}
		name, text := `"`+header[i]+`":`, string(quoted)
		switch kind := s.Field(f).Type; {
		case cell == "":
			numbers, texts = append(numbers, name+"null"), append(texts, name+"null")
		case kind == record.Numeric:
			numbers, texts = append(numbers, name+cell), append(texts, name+cell)
		case kind == record.Enum && json.Valid([]byte(cell)):
			numbers, texts = append(numbers, name+cell+".0"), append(texts, name+text)
		default:
			numbers, texts = append(numbers, name+text), append(texts, name+text)
		}
	}
	return numbers, texts
}
