package batch

import (
	"testing"

	"millrace.dev/codec"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// TestTombstones holds that a message without a value takes the label of its key away, and one without a key as well that of
// none: the empty key is a key.
func TestTombstones(t *testing.T) {
	t.Parallel()
	s := mustSchema(t, record.Field{Name: "rent", Type: record.Numeric})
	d, err := pipeline.NewDecoder(s, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(s, nil)
	value := []byte(`{"rent":5}`)
	for _, r := range []record.Raw{{Key: []byte{}, Value: value}, {Key: []byte("a"), Value: value}, {Key: []byte("b"), Value: value}, {}, {Key: []byte("a")}} {
		b.Append(r)
	}
	d.Decode(b)
	if p := b.Problem(3); p == nil || p.Class != codec.ClassNullValue {
		t.Fatalf("not a tombstone: %v", p)
	}
	l := &labels{key: -1, values: map[string]float64{}}
	l.add(b)
	if len(l.values) != 2 || l.values[""] != 5 || l.values["b"] != 5 {
		t.Errorf("labels %v, want those of the empty key and of b", l.values)
	}
}
