package batch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/source"
	"millrace.dev/record"
)

// TestUnusableData holds what training says of a data file that it cannot use.
func TestUnusableData(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema(record.Field{Name: "area", Type: record.Numeric}, record.Field{Name: "price", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		file, text, want string
		unfit            bool
	}{
		"kind":           {"data.xlsx", "", "unknown kind of data file", false},
		"empty":          {"data.csv", "", "needs a header", false},
		"no records":     {"data.csv", "area,price\n", "it has no records", false},
		"no label":       {"data.csv", "area,prize\n1,2\n", `it has no column "price", the label: its columns are area, prize`, false},
		"no input":       {"data.csv", "size,price\n1,2\n", "inputs of the model need columns that it does not have: area", false},
		"case of a name": {"data.csv", "Area,price\n1,2\n", "differs in case", false},
		"bad rows":       {"data.csv", "area,price\n1,2\nx,3\ny,4\n", "2 of 3 records do not fit the schema (2: invalid_number in area)", true},
		"few rows":       {"data.csv", "area,price\n1,2\n", "no row is left for the", false},
		"no labels":      {"data.jsonl", "{\"area\":1}\n{\"area\":2}\n", "no row is left for the train part (read: 2; excluded: 2: price is missing)", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), tc.file)
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := TrainModel(t.Context(), TrainOptions{
				Name: "houses", Data: path, Declaration: feature.Declaration{Schema: schema, Inputs: []string{"area"}, Label: "price"}, Field: "prediction",
				Split: Split{Train: 0.7, Validation: 0.2, Test: 0.1}, Params: gbm.DefaultParams(), CodeVersion: "test",
			})
			d, ok := errors.AsType[*source.DataError](err)
			if !ok || d.Path != path || d.Unfit != tc.unfit || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant a DataError of %s with %q, unfit %v", err, path, tc.want, tc.unfit)
			}
		})
	}
}
