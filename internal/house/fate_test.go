package house

import (
	"testing"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// TestFates decodes each kind of broken record: it ends as Class says.
func TestFates(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema(
		record.Field{Name: "id", Type: record.String},
		record.Field{Name: "date", Type: record.Time},
		record.Field{Name: "bedrooms", Type: record.Numeric},
		record.Field{Name: "bathrooms", Type: record.Numeric},
		record.Field{Name: RequiredField, Type: record.Numeric, Required: true},
		record.Field{Name: OptionalField, Type: record.Numeric},
		record.Field{Name: "floors", Type: record.Numeric},
		record.Field{Name: "waterfront", Type: record.Enum},
		record.Field{Name: "view", Type: record.Enum},
		record.Field{Name: "condition", Type: record.Enum},
		record.Field{Name: "sqft_above", Type: record.Numeric},
		record.Field{Name: "sqft_basement", Type: record.Numeric},
		record.Field{Name: "yr_built", Type: record.Numeric},
		record.Field{Name: "yr_renovated", Type: record.Numeric},
		record.Field{Name: "street", Type: record.String},
		record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "statezip", Type: record.Enum},
		record.Field{Name: "country", Type: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := codec.NewJSON(schema, codec.JSONOptions{Reserved: "price"})
	if err != nil {
		t.Fatal(err)
	}
	batch := record.NewBatch(schema, map[string][]string{"city": {"Seattle"}})
	var faults []Fault
	for _, s := range sales(newTest(t, Options{Seed: 8}), 100) {
		for _, f := range append(Faults(), Intact) {
			batch.Append(record.Raw{Value: f.Break(s.AppendListing(nil))})
			faults = append(faults, f)
		}
	}
	decoder.Decode(batch)
	for i, f := range faults {
		class := ""
		if p := batch.Problem(i); p != nil {
			class = p.Class
			if p.Stage != record.StageDecode {
				t.Errorf("%v: stage %s", f, p.Stage)
			}
		}
		if class != f.Class() {
			t.Fatalf("%v: class %q, want %q: %s", f, class, f.Class(), batch.Raw(i).Value)
		}
	}
}
