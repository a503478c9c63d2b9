package table

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/codec"
	"millrace.dev/record"
)

// decoded returns a batch of JSON rows.
func decoded(t *testing.T, s *record.Schema, rows ...string) *record.Batch {
	t.Helper()
	d, err := codec.NewJSON(s, codec.JSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(s, nil)
	for _, r := range rows {
		b.Append(record.Raw{Value: []byte(r)})
	}
	d.Decode(b)
	return b
}

func TestAddBatch(t *testing.T) {
	t.Parallel()
	rows := []string{
		`{"key":4.0,"n":1,"from":"1970-01-01 00:00:02"}`, `{"key":"4","n":2,"from":"1970-01-01 00:00:01"}`, `{"n":3}`, `{"key":[]}`,
		`{"key":"b","n":4}`, `{"key":"b","n":5}`, `{"key":"","n":6}`, `{"key":4,"n":7,"from":"1970-01-01 00:00:02"}`,
	}
	for name, c := range map[string]struct {
		history   time.Duration
		validFrom int
		want      Added
		numbers   map[int64]float64 // of key 4, by second
	}{
		"latest":               {0, -1, Added{Rows: 6, Duplicates: 3, NoKey: 1, Rejected: 1}, map[int64]float64{0: 7, 9: 7}},
		"history":              {Forever, 2, Added{Rows: 6, Duplicates: 2, NoKey: 1, Rejected: 1}, map[int64]float64{0: 0, 1: 2, 2: 7, 9: 7}},
		"history, no times":    {Forever, -1, Added{Rows: 6, Duplicates: 3, NoKey: 1, Rejected: 1}, map[int64]float64{-9: 7, 9: 7}},
		"latest, with times":   {0, 2, Added{Rows: 6, Duplicates: 2, NoKey: 1, Rejected: 1}, map[int64]float64{0: 7, 1: 7, 9: 7}},
		"a second, with times": {time.Second, 2, Added{Rows: 6, Duplicates: 2, NoKey: 1, Rejected: 1}, map[int64]float64{0: 0, 1: 2, 2: 7}},
	} {
		table := newTable(t, c.history)
		got, err := table.AddBatch(decoded(t, table.Schema(), rows...), 0, c.validFrom)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for second, want := range c.numbers {
			row := table.Get("4", second*1e6)
			if (row == nil) != (want == 0) || row != nil && row.Numbers[0] != want {
				t.Errorf("%s, second %d: %+v, want %g", name, second, row, want)
			}
		}
		if row := table.Get("", -1); row == nil || row.Numbers[0] != 6 {
			t.Errorf("%s: the empty key: %+v", name, row)
		}
		if table.Len() != 3 {
			t.Errorf("%s: %d keys", name, table.Len())
		}
	}
}

// A string is a key as it stands.
func TestAddBatchByString(t *testing.T) {
	t.Parallel()
	table := newTable(t, 0)
	if _, err := table.AddBatch(decoded(t, table.Schema(), `{"text":"4.0","n":1}`, `{"text":"4","n":2}`), 3, -1); err != nil {
		t.Fatal(err)
	}
	if a, b := table.Get("4.0", 0), table.Get("4", 0); a.Numbers[0] != 1 || b.Numbers[0] != 2 {
		t.Error(a, b)
	}
}

func TestAddBatchRefuses(t *testing.T) {
	t.Parallel()
	table := newTable(t, 0)
	other := decoded(t, testSchema(t), `{"key":1}`)
	own := decoded(t, table.Schema(), `{"key":1}`)
	for name, c := range map[string]struct {
		batch          *record.Batch
		key, validFrom int
	}{
		"another schema":    {other, 0, -1},
		"no such key":       {own, 4, -1},
		"negative key":      {own, -1, -1},
		"a number as key":   {own, 1, -1},
		"no such time":      {own, 0, 4},
		"a text for a time": {own, 0, 3},
	} {
		if _, err := table.AddBatch(c.batch, c.key, c.validFrom); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if table.Len() != 0 {
		t.Error("something was added")
	}
}
