package codec

import (
	"fmt"
	"strings"
	"testing"

	"millrace.dev/record"
)

// houseSchema is that of a house sale.
func houseSchema(tb testing.TB) *record.Schema {
	tb.Helper()
	fields := []record.Field{{Name: "date", Type: record.Time}}
	for _, n := range strings.Fields("price bedrooms bathrooms sqft_living sqft_lot floors sqft_above sqft_basement yr_built yr_renovated") {
		fields = append(fields, record.Field{Name: n, Type: record.Numeric})
	}
	for _, n := range strings.Fields("waterfront view condition city statezip") {
		fields = append(fields, record.Field{Name: n, Type: record.Enum})
	}
	for _, n := range strings.Fields("id street country") {
		fields = append(fields, record.Field{Name: n, Type: record.String})
	}
	return newSchema(tb, fields...)
}

func newSchema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema(fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

const benchRows = 256

// houseRecords are JSON records of 400 bytes each, with one undeclared field.
func houseRecords() [][]byte {
	cities := []string{"Seattle", "Renton", "Bellevue", "Redmond", "Kirkland", "Issaquah", "Kent", "Auburn"}
	records := make([][]byte, benchRows)
	for i := range records {
		r := fmt.Sprintf(`{"id":"%08x","date":"2014-%02d-%02d 00:00:00","bedrooms":%d,"bathrooms":%d.%d,"sqft_living":%d,"sqft_lot":%d,"floors":%d.5,"waterfront":"%d","view":"%d","condition":%d,"sqft_above":%d,"sqft_basement":%d,"yr_built":%d,"yr_renovated":%d,"street":"%d Burke-Gilman Trail NE","city":"%s","statezip":"WA 98%03d","country":"USA","x":"`,
			i*2654435761, 5+i%3, 1+i%28, 1+i%6, 1+i%4, i%3*25, 500+i*37, 900+i*317, 1+i%3, i%2, i%5, 1+i%5, 500+i*31, i%7*110, 1900+i%115, i%4*500, 100+i*71, cities[i%8], i%77)
		r += strings.Repeat("x", 398-len(r)) + `"}`
		records[i] = []byte(r)
	}
	return records
}

func houseBatch(tb testing.TB, s *record.Schema, values [][]byte) *record.Batch {
	tb.Helper()
	b := record.NewBatch(s, nil)
	fill(b, values)
	return b
}

func fill(b *record.Batch, values [][]byte) {
	b.Reset()
	for i, v := range values {
		b.Append(record.Raw{Value: v, Offset: int64(i)})
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	s := houseSchema(b)
	d, err := NewJSON(s, JSONOptions{Reserved: "prediction"})
	if err != nil {
		b.Fatal(err)
	}
	batch := houseBatch(b, s, houseRecords())
	run := func(b *testing.B, refill func()) {
		b.Helper()
		b.ReportAllocs()
		b.SetBytes(400)
		for n := 0; n < b.N; n += benchRows {
			refill()
			d.Decode(batch)
		}
		if batch.Rejected() > 0 {
			b.Fatal(batch.Problem(0))
		}
	}
	b.Run("house", func(b *testing.B) { run(b, func() {}) })
	records := houseRecords()
	b.Run("house-with-append", func(b *testing.B) { run(b, func() { fill(batch, records) }) })
}
