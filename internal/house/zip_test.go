package house

import (
	"math"
	"testing"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
)

// TestZips holds that the figures of zip codes are plausible, go with the prices, and are read as what Debezium writes.
func TestZips(t *testing.T) {
	t.Parallel()
	g := newTest(t, Options{Seed: 7})
	zips := g.Zips()
	if len(zips) != len(g.f.zips) {
		t.Fatalf("%d zip codes of %d", len(zips), len(g.f.zips))
	}
	schema, err := record.NewSchema(
		record.Field{Name: "median_income", Type: record.Numeric}, record.Field{Name: "median_age", Type: record.Numeric},
		record.Field{Name: "density", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum},
	)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cdc.New(cdc.Options{Format: cdc.FormatDebezium, Key: "zip", Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2014, 5, 2, 1, 2, 3, 4e6, time.UTC)
	var incomes, effects []float64
	for i := range zips {
		z := &zips[i]
		if len(z.Code) != 5 || z.MedianIncome < 30_000 || z.MedianIncome > 250_000 || z.MedianAge < 25 || z.MedianAge > 50 || z.Density < 100 || z.Density > 30_000 {
			t.Errorf("%+v", z)
		}
		incomes, effects = append(incomes, float64(z.MedianIncome)), append(effects, g.f.zips[i].effect)
		for op, want := range map[string]cdc.Op{ZipRead: cdc.Upsert, ZipCreate: cdc.Upsert, ZipUpdate: cdc.Upsert, ZipDelete: cdc.Delete} {
			got, problem := d.Decode(nil, &record.Raw{Key: z.AppendKey(nil), Value: z.AppendChange(nil, op, at), Timestamp: at.UnixMilli()})
			if problem != nil || len(got) != 1 || got[0].Op != want || got[0].Key != z.Code || got[0].At != at.UnixMicro() || got[0].Snapshot != (op == ZipRead) {
				t.Fatalf("%s: %+v, %v", op, got, problem)
			}
			if want == cdc.Upsert {
				if n := got[0].Row.Numbers; n[0] != float64(z.MedianIncome) || math.Abs(n[1]-z.MedianAge) > 1e-9 || n[2] != float64(z.Density) || got[0].Row.Texts[0].S != z.City {
					t.Fatalf("%+v of %+v", n, z)
				}
			}
		}
	}
	if r := spearman(incomes, effects); r < 0.9 {
		t.Errorf("rank correlation of income and price: %.3f", r)
	}
}
