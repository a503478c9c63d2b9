package batch_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/house"
	"millrace.dev/internal/source"
	"millrace.dev/record"
)

// BenchmarkMakeProfile makes the profile of made-up sales, of CSV, with one thread.
func BenchmarkMakeProfile(b *testing.B) {
	const rows = 300_000
	path := filepath.Join(b.TempDir(), "houses.csv")
	g, err := house.New(house.Options{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, g.CSV(rows), 0o600); err != nil {
		b.Fatal(err)
	}
	data, err := source.Open(context.Background(), path, source.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var fields []record.Field
	for _, name := range data.Columns() {
		f := record.Field{Name: name, Type: record.Numeric}
		switch name {
		case "date":
			f.Type = record.Time
		case "waterfront", "view", "condition", "city", "statezip":
			f.Type = record.Enum
		case "street", "country":
			f.Type = record.String
		}
		fields = append(fields, f)
	}
	schema, err := record.NewSchema(fields...)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := batch.MakeProfile(context.Background(), batch.ProfileOptions{Data: data, Schema: schema, Threads: 1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
