package codec

import (
	"math"
	"testing"

	"millrace.dev/record"
)

// TestUndeclared treats a declared field as if it were not: as it is when records of a stream carry the label.
func TestUndeclared(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema(
		record.Field{Name: "price", Type: record.Numeric, Required: true},
		record.Field{Name: "beds", Type: record.Numeric},
	)
	if err != nil {
		t.Fatal(err)
	}
	undeclared := []string{"price"}
	j, err := NewJSON(s, JSONOptions{Undeclared: undeclared})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCSV(s, []string{"price", "beds"}, CSVOptions{Undeclared: undeclared})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		d            Decoder
		value, class string
	}{
		{j, `{"beds":3}`, ""},
		{j, `{"price":"not a number","beds":3}`, ""},
		{j, `{"PRICE":1,"beds":3}`, ""},
		{j, `{"price":1}`, ClassNoFields},
		{j, `{"price":1,"price":2,"beds":3}`, ClassDuplicateKey},
		{c, `what,3`, ""},
		{c, `,3`, ""},
		{c, `7,`, ClassNoFields},
	} {
		b := record.NewBatch(s, nil)
		b.Append(record.Raw{Value: []byte(test.value)})
		test.d.Decode(b)
		p := b.Problem(0)
		if (p == nil) != (test.class == "") || p != nil && p.Class != test.class {
			t.Errorf("%s: problem %+v, want class %q", test.value, p, test.class)
		}
		if p == nil && (!math.IsNaN(b.Numbers(0)[0]) || b.Numbers(1)[0] != 3) {
			t.Errorf("%s: price %v, beds %v", test.value, b.Numbers(0)[0], b.Numbers(1)[0])
		}
	}
}
