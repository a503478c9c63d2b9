package query

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/task"
)

// TestDamagedRow: a row that its codecs cannot show does not hide the others.
func TestDamagedRow(t *testing.T) {
	t.Parallel()
	show := func(b []byte) ([]byte, error) {
		switch string(b) {
		case "damaged":
			return nil, errors.New("what is damaged")
		case "strange":
			return []byte("{"), nil
		}
		return []byte(`"` + string(b) + `"`), nil
	}
	lookup := task.Lookup{Key: show, Value: show}
	r := reader{q: &ask{store: &source{spec: &task.StoreSpec{Lookup: &lookup}}}, partition: 2}
	for _, x := range [][2]string{{"k", "damaged"}, {"strange", "v"}, {"k", "v"}} {
		r.take([]byte("at"), &task.Row{Key: []byte(x[0]), Value: []byte(x[1]), Timestamp: 7})
	}
	row := func(key, value, why string) Row {
		return Row{Key: []byte(key), Value: []byte(value), Timestamp: 7, Partition: 2, At: []byte("at"), Error: why}
	}
	want := []Row{
		row(`"k"`, `"ZGFtYWdlZA=="`, "the value cannot be shown: what is damaged"),
		row(`"c3RyYW5nZQ=="`, `"v"`, "the key cannot be shown: its codec makes what is no JSON"),
		row(`"k"`, `"v"`, ""),
	}
	if diff := cmp.Diff(want, r.rows); diff != "" {
		t.Error(diff)
	}
}
