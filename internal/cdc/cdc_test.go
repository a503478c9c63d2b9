package cdc

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// testSchema has a field of each type; id, the usual key, is not among them.
func testSchema(t testing.TB) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "plan", Type: record.Enum},
		record.Field{Name: "balance", Type: record.Numeric, Quoted: true},
		record.Field{Name: "since", Type: record.Time, Layouts: []string{record.LayoutUnixMicro, time.DateTime}},
		record.Field{Name: "note", Type: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newDecoder(t testing.TB, o Options) *Decoder {
	t.Helper()
	if o.Key == "" {
		o.Key = "id"
	}
	if o.Schema == nil {
		o.Schema = testSchema(t)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// raw returns a record; "" is a null value.
func raw(key, value string, headers ...record.Header) *record.Raw {
	r := &record.Raw{Headers: headers, Timestamp: 1_700_000_000_000}
	if key != "" {
		r.Key = []byte(key)
	}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

// show writes changes and a problem as a test wants them.
func show(s *record.Schema, changes []Change, p *record.Problem) string {
	var parts []string
	for _, c := range changes {
		parts = append(parts, showChange(s, c))
	}
	if p != nil {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s", p.Class, p.Field)))
	}
	return strings.Join(parts, "; ")
}

func showChange(s *record.Schema, c Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q at %d", [...]string{Upsert: "upsert", Delete: "delete", Truncate: "truncate"}[c.Op], c.Key, c.At)
	if c.Snapshot {
		b.WriteString(" snapshot")
	}
	if c.Tombstone {
		b.WriteString(" tombstone")
	}
	if c.Row != nil {
		for f := range s.Len() {
			fmt.Fprintf(&b, " %s", showValue(s, c.Row, f))
		}
	}
	if c.Keep != nil {
		fmt.Fprintf(&b, " keep %v", c.Keep)
	}
	if c.Absent != nil {
		fmt.Fprintf(&b, " absent %v", c.Absent)
	}
	return b.String()
}

func showValue(s *record.Schema, r *record.Row, f int) string {
	slot := s.Slot(f)
	switch s.Field(f).Type {
	case record.Numeric:
		if !math.IsNaN(r.Numbers[slot]) {
			return fmt.Sprint(r.Numbers[slot])
		}
	case record.Time:
		if r.Times[slot] != record.MissingTime {
			return strconv.FormatInt(r.Times[slot], 10)
		}
	case record.Enum, record.String:
		if r.Texts[slot].OK {
			return r.Texts[slot].S
		}
	}
	return "-"
}

// step is a record and what it makes.
type step struct {
	name       string
	key, value string
	headers    []record.Header
	want       string
}

func run(t *testing.T, o Options, steps []step) *Decoder {
	t.Helper()
	var last *Decoder
	for _, s := range steps {
		d := newDecoder(t, o)
		last = d
		changes, p := d.Decode(nil, raw(s.key, s.value, s.headers...))
		if got := show(d.rows.schema, changes, p); got != s.want {
			t.Errorf("%s:\n got %s\nwant %s", s.name, got, s.want)
		}
		if p != nil && (p.Stage != record.StageTable || p.Reason == "" || strings.Contains(p.Reason, "secret")) {
			t.Errorf("%s: %+v", s.name, p)
		}
	}
	return last
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	bad, err := record.NewSchema(record.Field{Name: "t", Type: record.Time, Layouts: []string{"15:04"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no format":      {Key: "id", Schema: s},
		"no such format": {Format: "avro", Key: "id", Schema: s},
		"no key":         {Format: FormatUpsert, Schema: s},
		"key not UTF-8":  {Format: FormatUpsert, Key: "\xff", Schema: s},
		"no schema":      {Format: FormatUpsert, Key: "id"},
		"layout":         {Format: FormatUpsert, Key: "id", Schema: bad},
		"bound":          {Format: FormatUpsert, Key: "id", Schema: s, MaxBytes: -1},
		"placeholder":    {Format: FormatDebezium, Key: "id", Schema: s, Unavailable: "\xff"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is appended to a slice of the caller's leaves what is there, and a fault leaves all of it.
func TestReuse(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, Options{Format: FormatUpsert})
	changes, p := d.Decode(nil, raw("", `{"id":1,"plan":"a"}`))
	if p != nil {
		t.Fatal(p)
	}
	changes, p = d.Decode(changes, raw("", `{"id":2,"plan":"b"}`))
	if p != nil || len(changes) != 2 {
		t.Fatal(len(changes), p)
	}
	first := changes[0].Row
	for _, value := range []string{`{"id":3,"plan":[]}`, `{"plan":"c"}`, `{`} {
		if changes, p = d.Decode(changes, raw("", value)); p == nil || len(changes) != 2 {
			t.Error(value, len(changes), p)
		}
	}
	if first.Texts[0].S != "a" || changes[1].Row.Texts[0].S != "b" {
		t.Error("a later record has changed a row")
	}
}

// A required column that is absent or null is a fault, and names itself.
func TestRequired(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema(record.Field{Name: "plan", Type: record.Enum, Required: true}, record.Field{Name: "n", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	run(t, Options{Format: FormatDebezium, Schema: s}, []step{
		{"there", "", `{"id":1,"plan":"a","n":2}`, nil, `upsert "1" at 1700000000000000 a 2`},
		{"absent", "", `{"id":1,"n":2}`, nil, "schema_changed plan"},
		{"null", "", `{"id":1,"plan":null,"n":2}`, nil, "schema_changed plan"},
		{"kept", "", `{"id":1,"plan":"__debezium_unavailable_value","n":2}`, nil, `upsert "1" at 1700000000000000 - 2 keep [0]`},
	})
}

// Rows that lack the same columns share what says so.
func TestAbsentIsShared(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, Options{Format: FormatUpsert})
	var changes []Change
	for range 2 {
		changes, _ = d.Decode(changes, raw("", `{"id":1,"plan":"a"}`))
	}
	changes, _ = d.Decode(changes, raw("", `{"id":1,"plan":"a","note":"x"}`))
	if diff := cmp.Diff([][]int{{1, 2, 3}, {1, 2, 3}, {1, 2}}, [][]int{changes[0].Absent, changes[1].Absent, changes[2].Absent}); diff != "" {
		t.Error(diff)
	}
	if &changes[0].Absent[0] != &changes[1].Absent[0] {
		t.Error("not shared")
	}
}
