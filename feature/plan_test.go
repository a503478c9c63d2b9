package feature

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace.dev/record"
)

func houseSchema(t testing.TB) *record.Schema {
	t.Helper()
	fields := []record.Field{{Name: "date", Type: record.Time}}
	for _, n := range []string{
		"price", "bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated",
	} {
		fields = append(fields, record.Field{Name: n, Type: record.Numeric})
	}
	for _, n := range []string{"waterfront", "view", "condition", "city", "statezip"} {
		fields = append(fields, record.Field{Name: n, Type: record.Enum})
	}
	for _, n := range []string{"id", "street", "country"} {
		fields = append(fields, record.Field{Name: n, Type: record.String})
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func houseSpecs() []Spec {
	return []Spec{
		{"zip", "statezip[3:]"},
		{"age", "year(date) - yr_built"},
		{"renovated", "yr_renovated > 0"},
		{"living_share", "sqft_living / sqft_lot"},
	}
}

func houseInputs() []string {
	return []string{"zip", "age", "renovated", "living_share", "bedrooms", "city", "statezip"}
}

func compile(t testing.TB, s *record.Schema, specs []Spec, inputs ...string) *Plan {
	t.Helper()
	p, err := Compile(s, specs, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func encoded(t testing.TB, p *Plan) []byte {
	t.Helper()
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGolden holds the encoded plan of the house features against a file. MILLRACE_UPDATE=1 writes the file.
func TestGolden(t *testing.T) {
	t.Parallel()
	p := compile(t, houseSchema(t), houseSpecs(), houseInputs()...)
	got := append(encoded(t, p), p.Digest()+"\n"...)
	file := filepath.Join("testdata", "house_plan.json")
	if os.Getenv("MILLRACE_UPDATE") != "" {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"date", "bedrooms", "sqft_living", "sqft_lot", "yr_built", "yr_renovated", "city", "statezip"}, p.Used()); diff != "" {
		t.Error(diff)
	}
}
