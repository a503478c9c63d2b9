package source

import (
	"os"
	"path/filepath"
	"testing"

	"millrace.dev/internal/house"
	"millrace.dev/record"
)

// BenchmarkRead reads made-up sales; what decoding them costs is not in it.
func BenchmarkRead(b *testing.B) {
	g, err := house.New(house.Options{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	csv, lines := []byte(house.CSVHeader), []byte(nil)
	const rows = 20000
	sales := make([]house.Sale, rows)
	for i := range sales {
		sales[i] = g.Sale(int64(i))
		csv = sales[i].AppendCSV(csv)
		lines = append(sales[i].AppendListing(lines), '\n')
	}
	schema, err := record.NewSchema(record.Field{Name: "price", Type: record.Numeric})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []struct {
		name string
		text string
	}{
		{"a.csv", string(csv)},
		{"a.jsonl", string(lines)},
		{"a.csv.gz", gz(b, string(csv))},
		{"a.csv.zst", zst(b, string(csv))},
		{"a.parquet", saleParquet(b, sales)},
	} {
		path := filepath.Join(b.TempDir(), f.name)
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				s, err := Open(b.Context(), path, Options{})
				if err != nil {
					b.Fatal(err)
				}
				r := s.Read(b.Context())
				batch, n := record.NewBatch(schema, nil), 0
				for more := true; more; n += batch.Len() {
					if more, err = r.Fill(batch); err != nil {
						b.Fatal(err)
					}
				}
				if n != rows {
					b.Fatal(n)
				}
				_ = r.Digest()
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
