package cdc

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/record"
)

// Whatever comes, a decoder gives either sound changes or a problem, leaves the record as it is, and gives the same again
// after other records.
func FuzzDecode(f *testing.F) {
	const row = `{"id":4.0,"plan":"gold","balance":"12.5","since":"2022-01-01 00:00:00","note":"__debezium_unavailable_value"}`
	for format, values := range map[int][]string{
		0: {envelope("u", `{"id":"7"}`, row), envelope("d", row, "null"), envelope("r", "null", row), `{"schema":{},"payload":` + envelope("c", "null", row) + `}`, `{"id":1,"plan":"a","__deleted":"true","__source_ts_ms":5}`, ""},
		1: {maxwell("update", row, `,"old":{"id":7}`), maxwell("delete", row, ""), maxwell("bootstrap-insert", row, ""), `{"type":"table-drop"}`},
		2: {row, `{"schema":{},"payload":` + row + `}`, `{"schema":{},"payload":null}`, ""},
	} {
		for _, v := range values {
			f.Add(format, []byte(`{"id":4}`), []byte(v))
			f.Add(format, []byte(`"x"`), []byte(v))
			f.Add(format, []byte(`{"schema":{},"payload":{"pk.id":4}}`), []byte(v))
		}
	}
	s := testSchema(f)
	formats := []Format{FormatDebezium, FormatMaxwell, FormatUpsert}
	f.Fuzz(func(t *testing.T, format int, key, value []byte) {
		if format < 0 || format >= len(formats) {
			return
		}
		o := Options{Format: formats[format], Key: "id", Schema: s, MaxBytes: 1 << 12}
		r := &record.Raw{Key: slices.Clip(key), Value: slices.Clip(value), Timestamp: 1_700_000_000_000}
		if len(value) == 0 {
			r.Value = nil
		}
		before := bytes.Clone(value)
		d := newDecoder(t, o)
		first, p := d.Decode(make([]Change, 0, 2), r)
		if !bytes.Equal(before, value) {
			t.Fatal("the record was changed")
		}
		check(t, s, first, p)
		if p == nil && r.Value != nil && !json.Valid(value) {
			t.Error("the value is no JSON")
		}
		flat := d.flat
		_, _ = d.Decode(nil, raw(`{"id":"other"}`, `{"id":"other","plan":"p","note":"n"}`))
		d.flat = flat
		again, p2 := d.Decode(nil, r)
		if diff := cmp.Diff(first, again, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" || (p == nil) != (p2 == nil) {
			t.Error(diff, p, p2)
		}
	})
}

// check tells whether changes are sound.
func check(t *testing.T, s *record.Schema, changes []Change, p *record.Problem) {
	t.Helper()
	if p != nil && (len(changes) > 0 || p.Stage != record.StageTable || p.Class == "" || p.Reason == "") {
		t.Errorf("%d changes with a problem: %+v", len(changes), p)
	}
	if len(changes) > 2 {
		t.Errorf("%d changes", len(changes))
	}
	for i, c := range changes {
		if (c.Row != nil) != (c.Op == Upsert) || !utf8.ValidString(c.Key) || c.At < 0 || c.Op == Truncate && c.Key != "" {
			t.Errorf("%+v", c)
		}
		if i == 1 && (changes[0].Op != Delete || c.Op != Upsert || c.Key == changes[0].Key) {
			t.Errorf("%+v", changes)
		}
		for _, f := range c.Keep {
			if showValue(s, c.Row, f) != "-" {
				t.Errorf("a value to keep is there: %+v", c)
			}
		}
	}
}
