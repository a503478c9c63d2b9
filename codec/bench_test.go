package codec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace.dev/record"
)

// houseSchema is that of a house sale.
func houseSchema(tb testing.TB) *record.Schema {
	tb.Helper()
	fields := []record.Field{{Name: "date", Type: record.Time}}
	for n := range strings.FieldsSeq("price bedrooms bathrooms sqft_living sqft_lot floors sqft_above sqft_basement yr_built yr_renovated") {
		fields = append(fields, record.Field{Name: n, Type: record.Numeric})
	}
	for n := range strings.FieldsSeq("waterfront view condition city statezip") {
		fields = append(fields, record.Field{Name: n, Type: record.Enum})
	}
	for n := range strings.FieldsSeq("id street country") {
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

const (
	benchRows    = 512  // of a batch
	benchRecords = 1024 // so many that no branch predictor learns them by heart
)

// houseRecords are JSON records of 400 bytes each that differ as real ones do; one field is undeclared.
func houseRecords() [][]byte {
	cities := strings.Split("Seattle,Renton,Bellevue,Redmond,Issaquah,Kirkland,Kent,Auburn,Sammamish,Federal Way,Shoreline,Woodinville,Maple Valley,Mercer Island,Des Moines,Bothell", ",")
	r := rand.New(rand.NewPCG(1, 2))
	records := make([][]byte, benchRecords)
	for i := range records {
		renovated := 0
		if r.IntN(2) == 0 {
			renovated = 1980 + r.IntN(35)
		}
		s := fmt.Sprintf(`{"id":"%08x","date":"2014-%02d-%02d 00:00:00","bedrooms":%d,"bathrooms":%.2f,"sqft_living":%d,"sqft_lot":%d,"floors":%.1f,"waterfront":"%d","view":"%d","condition":%d,"sqft_above":%d,"sqft_basement":%d,"yr_built":%d,"yr_renovated":%d,"street":"%d %dth Ave NE","city":"%s","statezip":"WA 98%03d","country":"USA","x":"`,
			r.Uint32(), 5+r.IntN(3), 1+r.IntN(28), 1+r.IntN(6), 1+float64(r.IntN(12))/4, 500+r.IntN(4000), 900+r.IntN(20000), 1+float64(r.IntN(5))/2, r.IntN(2), r.IntN(5), 1+r.IntN(5),
			500+r.IntN(3000), max(0, r.IntN(1500)-800), 1900+r.IntN(115), renovated, 100+r.IntN(30000), 1+r.IntN(200), cities[r.IntN(len(cities))], r.IntN(77))
		s += strings.Repeat("x", 398-len(s)) + `"}`
		records[i] = []byte(s)
	}
	return records
}

// houseRows are the same records as rows of CSV.
func houseRows(records [][]byte) (header string, rows [][]byte) {
	for _, r := range records {
		var names, cells []string
		for member := range strings.SplitSeq(strings.Trim(string(r), "{}"), ",\"") {
			name, value, _ := strings.Cut(member, ":")
			names, cells = append(names, strings.Trim(name, `"`)), append(cells, strings.Trim(value, `"`))
		}
		header = strings.Join(names, ",")
		rows = append(rows, []byte(strings.Join(cells, ",")))
	}
	return header, rows
}

// knownBatch returns an empty batch that knows the levels of the records, as it does when a model is served.
func knownBatch(s *record.Schema, d Decoder, values [][]byte) *record.Batch {
	b := record.NewBatch(s, nil)
	fill(b, values)
	d.Decode(b)
	levels := map[string][]string{}
	for f := range s.Len() {
		if s.Field(f).Type == record.Enum {
			for c := range b.Dict(f).Len() {
				levels[s.Field(f).Name] = append(levels[s.Field(f).Name], b.Dict(f).Level(int32(c)))
			}
		}
	}
	return record.NewBatch(s, levels)
}

func fill(b *record.Batch, values [][]byte) {
	b.Reset()
	for i, v := range values {
		b.Append(record.Raw{Value: v, Offset: int64(i)})
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	s := houseSchema(b)
	benchmarkDecode(b, newJSON(b, s, JSONOptions{Reserved: "prediction"}), s, houseRecords())
}

func BenchmarkCSVDecode(b *testing.B) {
	s := houseSchema(b)
	header, rows := houseRows(houseRecords())
	benchmarkDecode(b, newCSV(b, s, header, CSVOptions{}), s, rows)
}

// benchmarkDecode measures a record; what appending it to the batch costs is measured beside it, to be taken
// off.
func benchmarkDecode(b *testing.B, d Decoder, s *record.Schema, values [][]byte) {
	b.Helper()
	batch := knownBatch(s, d, values)
	for _, name := range []string{"append", "append+decode"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(values[0])))
			for n := 0; n < b.N; n += benchRows {
				from := n % benchRecords
				fill(batch, values[from:from+benchRows])
				if name != "append" {
					d.Decode(batch)
				}
			}
			if batch.Rejected() > 0 {
				b.Fatal(batch.Problem(0))
			}
		})
	}
}

func BenchmarkJSONEncode(b *testing.B) {
	e, err := NewJSONEncoder("prediction")
	if err != nil {
		b.Fatal(err)
	}
	records := houseRecords()
	var buf []byte
	b.ReportAllocs()
	for n := range b.N {
		buf = e.Encode(buf[:0], records[n%benchRecords], 313000.25+float64(n))
	}
}

func BenchmarkCSVReader(b *testing.B) {
	header, rows := houseRows(houseRecords())
	file := append([]byte(header+"\n"), bytes.Join(rows, []byte{'\n'})...)
	b.SetBytes(int64(len(file) / len(rows)))
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(rows) {
		r, err := NewCSVReader(bytes.NewReader(file), CSVReaderOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for range rows {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
