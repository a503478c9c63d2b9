package cdc

import (
	"testing"

	"millrace.dev/record"
)

// TestFuture refuses what would move a table's horizon to the far future, by the clock of the record.
func TestFuture(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema(record.Field{Name: "v", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	const written = 1_400_000_000_000 // ms
	for _, tc := range []struct {
		format    Format
		value     string
		timestamp int64
		class     string
	}{
		{FormatMaxwell, `{"type":"insert","ts":1400000000,"data":{"k":"a","v":1}}`, written, ""},
		{FormatMaxwell, `{"type":"insert","ts":1400086400,"data":{"k":"a","v":1}}`, written, ""},
		{FormatMaxwell, `{"type":"insert","ts":1400086401,"data":{"k":"a","v":1}}`, written, ClassFuture},
		{FormatMaxwell, `{"type":"delete","ts":253000000000,"data":{"k":"a"}}`, written, ClassFuture},
		{FormatMaxwell, `{"type":"insert","ts":253000000000,"data":{"k":"a","v":1}}`, -1, ""},
		{FormatMaxwell, `{"type":"insert","ts":1,"data":{"k":"a","v":1}}`, 0, ""},
		{FormatDebezium, `{"op":"u","after":{"k":"a","v":1},"source":{"ts_ms":1400086400001}}`, written, ClassFuture},
		{FormatDebezium, `{"op":"u","after":{"k":"a","v":1},"source":{"ts_ms":1300000000000}}`, written, ""},
		{FormatUpsert, `{"k":"a","v":1}`, written, ""},
	} {
		d, err := New(Options{Format: tc.format, Key: "k", Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		changes, p := d.Decode(nil, &record.Raw{Value: []byte(tc.value), Timestamp: tc.timestamp})
		class := ""
		if p != nil {
			class = p.Class
		}
		if class != tc.class || (p == nil) != (len(changes) == 1) {
			t.Errorf("%s at %d: %q, %d changes, want %q", tc.value, tc.timestamp, class, len(changes), tc.class)
		}
	}
}
