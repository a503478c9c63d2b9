package cdc

import "testing"

func BenchmarkDecode(b *testing.B) {
	const row = `{"id":98155,"plan":"gold","balance":"12.50","since":1640995200000000,"note":"as it was","extra":[1]}`
	for name, c := range map[string]struct {
		format Format
		value  string
	}{
		"upsert":              {FormatUpsert, row},
		"envelope":            {FormatDebezium, envelope("u", row, row)},
		"envelope_and_schema": {FormatDebezium, `{"schema":` + rowSchema + `,"payload":` + envelope("u", row, row) + `}`},
		"maxwell":             {FormatMaxwell, maxwell("insert", `{"id":98155,"plan":"gold","balance":12.5,"note":"x"}`, "")},
	} {
		b.Run(name, func(b *testing.B) {
			d := newDecoder(b, Options{Format: c.format})
			r := raw(`{"id":98155}`, c.value)
			var changes []Change
			b.SetBytes(int64(len(c.value)))
			b.ReportAllocs()
			for b.Loop() {
				var p any
				if changes, p = d.Decode(changes[:0], r); len(changes) != 1 {
					b.Fatal(p)
				}
			}
		})
	}
}
