package cdc

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace.dev/record"
)

// source is what the PostgreSQL connector says of where a change comes from; MySQL's has other members, and the same times.
const source = `"source":{"version":"3.0.0.Final","connector":"postgresql","name":"billing","ts_ms":1650000000123,"snapshot":"false",` +
	`"db":"billing","sequence":"[\"24023119\",\"24023128\"]","ts_us":1650000000123456,"ts_ns":1650000000123456789,"schema":"public",` +
	`"table":"accounts","txId":555,"lsn":24023128,"xmin":null}`

const tail = `,"transaction":null,"ts_ms":1650000000999,"ts_us":1650000000999111,"ts_ns":1650000000999111222}`

// rowSchema is what the JSON converter puts in front of a payload, shortened.
const rowSchema = `{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"}],"optional":true,` +
	`"name":"billing.public.accounts.Value","field":"before"}],"optional":false,"name":"billing.public.accounts.Envelope","version":2}`

func envelope(op, before, after string) string {
	return `{"before":` + before + `,"after":` + after + `,` + source + `,"op":"` + op + `"` + tail
}

func TestEnvelopes(t *testing.T) {
	t.Parallel()
	const (
		row  = `{"id":98155,"plan":"gold","balance":"12.50","since":1640995200000000,"note":"ü","extra":[1]}`
		want = ` at 1650000000123456 gold 12.5 1640995200000000 ü`
		key  = `{"id":98155}`
	)
	run(t, Options{Format: FormatDebezium}, []step{
		{"create", key, envelope("c", "null", row), nil, `upsert "98155"` + want},
		{"create, with schemas", `{"schema":{"type":"struct"},"payload":{"id":98155}}`, `{"schema":` + rowSchema + `,"payload":` + envelope("c", "null", row) + `}`, nil, `upsert "98155"` + want},
		{"update without before", key, envelope("u", "null", row), nil, `upsert "98155"` + want},
		{"update", key, envelope("u", row, row), nil, `upsert "98155"` + want},
		{"update of the key", key, envelope("u", `{"id":7,"plan":null}`, row), nil, `delete "7" at 1650000000123456; upsert "98155"` + want},
		{"update, before without the key", key, envelope("u", `{"plan":"a"}`, row), nil, `upsert "98155"` + want},
		{"update, before with a null key", key, envelope("u", `{"id":null}`, row), nil, `upsert "98155"` + want},
		{"snapshot", key, envelope("r", "null", row), nil, strings.Replace(`upsert "98155"`+want, "456 gold", "456 snapshot gold", 1)},
		{"delete by before", "", envelope("d", `{"id":98155,"plan":null}`, "null"), nil, `delete "98155" at 1650000000123456`},
		{"delete by the record's key", key, envelope("d", "null", "null"), nil, `delete "98155" at 1650000000123456`},
		{"delete, the key not in before", key, envelope("d", `{"plan":"x"}`, "null"), nil, `delete "98155" at 1650000000123456`},
		{"delete, the key null in before", key, envelope("d", `{"id":null}`, "null"), nil, `delete "98155" at 1650000000123456`},
		{"delete, before left out", key, `{` + source + `,"op":"d"` + tail, nil, `delete "98155" at 1650000000123456`},
		{"delete without a key", `{"other":1}`, envelope("d", "null", "null"), nil, "no_key id"},
		{"truncate", "", `{` + source + `,"op":"t"` + tail, nil, `truncate "" at 1650000000123456`},
		{"message", `{"prefix":"p"}`, `{` + source + `,"op":"m","message":{"prefix":"p","content":"AAE="}` + tail, nil, ""},
		{"no source", key, `{"before":null,"after":` + row + `,"op":"c"` + tail, nil, `upsert "98155"` + strings.Replace(want, "123456", "999111", 1)},
		{"blanks", " { \"id\" : 98155 } ", strings.ReplaceAll(envelope("c", "null", row), ",", " ,  "), nil, `upsert "98155"` + want},
		{"key of the record", key, envelope("c", "null", `{"plan":"gold"}`), nil, `upsert "98155" at 1650000000123456 gold - - - absent [1 2 3]`},
		{"key is null", key, envelope("c", "null", `{"id":null,"plan":"gold"}`), nil, "no_key id"},
		{"key goes away", key, envelope("u", `{"id":9}`, `{"id":null,"plan":"gold"}`), nil, `delete "9" at 1650000000123456`},
		{"nulls", key, envelope("c", "null", `{"id":1,"plan":null,"balance":null,"since":null,"note":null}`), nil, `upsert "1" at 1650000000123456 - - - -`},
	})
}

func TestTimes(t *testing.T) {
	t.Parallel()
	times := func(source, outer string) string {
		return `{"before":null,"after":{"id":1,"plan":"a"},"source":{` + source + `},"op":"c"` + outer + `}`
	}
	want := func(at string) string { return `upsert "1" at ` + at + ` a - - - absent [1 2 3]` }
	run(t, Options{Format: FormatDebezium}, []step{
		{"microseconds", "", times(`"ts_ms":1,"ts_ns":2000,"ts_us":3`, ""), nil, want("3")},
		{"nanoseconds", "", times(`"ts_ms":1,"ts_ns":2999`, ""), nil, want("2")},
		{"milliseconds", "", times(`"ts_ms":1`, `,"ts_ms":2`), nil, want("1000")},
		{"0 is none", "", times(`"ts_ms":0`, `,"ts_ms":2`), nil, want("2000")},
		{"negative is none", "", times(`"ts_ms":-9223372036854775808`, `,"ts_ms":2`), nil, want("2000")},
		{"null is none", "", times(`"ts_ms":null`, `,"ts_ms":null,"ts_ns":7000`), nil, want("7")},
		{"the record's", "", times("", ""), nil, want("1700000000000000")},
		{"text", "", times(`"ts_ms":"1"`, ""), nil, "bad_envelope ts_ms"},
		{"fraction", "", times(`"ts_ms":1.5`, ""), nil, "bad_envelope ts_ms"},
		{"too large", "", times(`"ts_ms":253402300800000`, ""), nil, "bad_envelope ts_ms"},
		{"out of 64 bits", "", times("", `,"ts_us":99999999999999999999`), nil, "bad_envelope ts_us"},
	})
	d := newDecoder(t, Options{Format: FormatDebezium})
	r := raw("", times("", ""))
	r.Timestamp = -1
	if _, p := d.Decode(nil, r); p == nil || p.Class != ClassNoTime {
		t.Errorf("no time: %+v", p)
	}
}

func TestFlattened(t *testing.T) {
	t.Parallel()
	header := func(name, value string) []record.Header { return []record.Header{{Key: name, Value: []byte(value)}} }
	const none = " - - - absent [1 2 3]"
	run(t, Options{Format: FormatDebezium}, []step{
		{"row", `{"id":1}`, `{"id":1,"plan":"a"}`, nil, `upsert "1" at 1700000000000000 a` + none},
		{"row, with schemas", "", `{"schema":{},"payload":{"id":1,"plan":"a"}}`, nil, `upsert "1" at 1700000000000000 a` + none},
		{"not deleted", "", `{"id":1,"plan":"a","__deleted":"false","__op":"u","__source_ts_ms":5}`, nil, `upsert "1" at 5000 a` + none},
		{"snapshot", "", `{"id":1,"plan":"a","__op":"r","__ts_ms":5}`, nil, `upsert "1" at 5000 snapshot a` + none},
		{"time of the database first", "", `{"id":1,"plan":"a","__ts_ms":9,"__source_ts_ns":5000}`, nil, `upsert "1" at 5 a` + none},
		{"time in a header", "", `{"id":1,"plan":"a"}`, header("__source_ts_ms", "5"), `upsert "1" at 5000 a` + none},
		{"bad header", "", `{"id":1,"plan":"a"}`, header("__source_ts_ms", "secret"), "bad_envelope __source_ts_ms"},
		{"deleted", `{"id":1}`, `{"id":1,"plan":null,"__deleted":"true","__source_ts_ms":5}`, nil, `delete "1" at 5000`},
		{"deleted, as a boolean", `{"id":1}`, `{"id":1,"__deleted":true}`, nil, `delete "1" at 1700000000000000 tombstone`},
		{"deleted, by op", `{"id":1}`, `{"plan":null,"__op":"d"}`, nil, `delete "1" at 1700000000000000 tombstone`},
		{"deleted without key", `{"x":1}`, `{"plan":null,"__op":"d"}`, nil, "no_key id"},
		{"tombstone", `{"id":1}`, "", nil, `delete "1" at 1700000000000000 tombstone`},
		{"tombstone, with schemas", `{"schema":{},"payload":{"id":1}}`, `{"schema":{},"payload":null}`, nil, `delete "1" at 1700000000000000 tombstone`},
		{"tombstone with a time", `{"id":1}`, "", header("__source_ts_ms", "5"), `delete "1" at 5000`},
		{"columns with an envelope's names", "", `{"id":1,"plan":"a","op":"x","source":"web","before":"y"}`, nil, `upsert "1" at 1700000000000000 a` + none},
	})
}

// A tombstone without the key of the table has nothing to say after an envelope; in a flattened topic it is a delete.
func TestTombstoneWithoutKey(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, Options{Format: FormatDebezium})
	decode := func(key, value string) string {
		changes, p := d.Decode(nil, raw(key, value))
		return show(d.rows.schema, changes, p)
	}
	for i, want := range []string{"", "", "no_key id"} {
		switch i {
		case 1:
			decode(`{"pk":1}`, envelope("d", `{"id":1}`, "null"))
		case 2:
			decode(`{"pk":1}`, `{"id":1,"plan":"a"}`)
		}
		if got := decode(`{"pk":1}`, ""); got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
	if n := d.Counts().Tombstones; n != 2 {
		t.Error(n)
	}
	if got := decode(`{"id":`, ""); got != "not_json" {
		t.Error(got)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	quote := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const text = "__debezium_unavailable_value"
	numbers := []int{}
	for _, b := range []byte(text) {
		numbers = append(numbers, int(b))
	}
	for name, value := range map[string]string{
		"text":               quote(text),
		"escaped":            `"\u005f_debezium_unavailable_value"`,
		"bytes":              quote([]byte(text)),
		"bytes, hexadecimal": `"5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"`,
		"array of texts":     `[ ` + quote(text) + ` ]`,
		"array of bytes":     quote([][]byte{[]byte(text)}),
		"array of integers":  quote(numbers),
		"array of uuid":      `["` + uuidOf + `"]`,
		"map":                quote(map[string]string{text: text}),
		"map as text":        quote(quote(map[string]string{text: text})),
	} {
		for _, column := range []string{"plan", "balance", "since", "note"} {
			row := strings.Replace(`{"id":1,"plan":"a","balance":2,"since":3,"note":"n"}`, map[string]string{
				"plan": `"a"`, "balance": `2`, "since": `3`, "note": `"n"`,
			}[column], value, 1)
			field, _ := testSchema(t).Index(column)
			want := []string{"a", "2", "3", "n"}
			want[field] = "-"
			before := row
			run(t, Options{Format: FormatDebezium}, []step{{
				name + " in " + column, "", envelope("u", "null", row), nil,
				`upsert "1" at 1650000000123456 ` + strings.Join(want, " ") + ` keep [` + string(rune('0'+field)) + `]`,
			}})
			if row != before {
				t.Error("the record was changed")
			}
		}
	}
	run(t, Options{Format: FormatDebezium}, []step{
		{"in the key", `{"id":4}`, envelope("u", `{"id":"`+text+`"}`, `{"id":"`+text+`","plan":"a"}`), nil, `upsert "4" at 1650000000123456 a - - - absent [1 2 3]`},
		{"all", `{"id":4}`, envelope("u", "null", `{"id":4,"note":"`+text+`"}`), nil, `upsert "4" at 1650000000123456 - - - - keep [3] absent [0 1 2]`},
		{"something like it", "", envelope("u", "null", `{"id":4,"note":"`+text+`s"}`), nil, `upsert "4" at 1650000000123456 - - - ` + text + `s absent [0 1 2]`},
	})
	run(t, Options{Format: FormatDebezium, Unavailable: "n/a"}, []step{
		{"another one", "", envelope("u", "null", `{"id":4,"note":"n/a","plan":"`+text+`"}`), nil, `upsert "4" at 1650000000123456 ` + text + ` - - - keep [3] absent [1 2]`},
	})
	run(t, Options{Format: FormatUpsert}, []step{
		{"not in another format", "", `{"id":4,"note":"` + text + `"}`, nil, `upsert "4" at 1700000000000000 - - - ` + text + ` absent [0 1 2]`},
	})
}

// uuidOf is UUID.nameUUIDFromBytes of the default placeholder, as OpenJDK computes it.
const uuidOf = "b68a35a7-17ad-35b3-af2a-ae46edb4545a"

func TestFaults(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	run(t, Options{Format: FormatDebezium, MaxBytes: 2000}, []step{
		{"empty", "", " ", nil, "not_json"},
		{"Avro", "", "\x00\x00\x00\x00\x01\x02secret", nil, "not_json"},
		{"cut off", "", envelope("c", "null", `{"id":1`)[:60], nil, "not_json"},
		{"not UTF-8", "", "{\"id\":1,\"note\":\"\xffsecret\"}", nil, "not_json"},
		{"trailing", "", `{"id":1}secret`, nil, "not_json"},
		{"array", "", `["secret"]`, nil, "bad_envelope"},
		{"twice", "", `{"op":"c","op":"d"}`, nil, "duplicate_key"},
		{"deep", "", `{"x":` + deep + `}`, nil, "too_deep"},
		{"large", "", `{"id":"` + strings.Repeat("secret", 400) + `"}`, nil, "too_large"},
		{"large key", `{"id":"` + strings.Repeat("secret", 400) + `"}`, `{"plan":"a"}`, nil, "too_large"},
		{"op", "", envelope("secret", "null", `{}`), nil, "unknown_op op"},
		{"op is no text", "", strings.Replace(envelope("c", "null", `{"id":1}`), `"c"`, "7", 1), nil, "bad_envelope op"},
		{"op is null", "", strings.Replace(envelope("c", "null", `{"id":1}`), `"c"`, "null", 1), nil, "bad_envelope op"},
		{"no after", "", envelope("c", "null", "null"), nil, "bad_envelope after"},
		{"after is text", "", envelope("u", "null", `"secret"`), nil, "bad_envelope after"},
		{"before is text", "", envelope("u", `"secret"`, `{"id":1}`), nil, "bad_envelope"},
		{"payload is text", "", `{"schema":null,"payload":"secret"}`, nil, "bad_envelope"},
		{"type of a column", "", envelope("u", "null", `{"id":1,"plan":["secret"]}`), nil, "schema_changed plan"},
		{"type of a time", "", envelope("u", "null", `{"id":1,"since":true}`), nil, "schema_changed since"},
		{"text that is no number", "", envelope("u", "null", `{"id":1,"balance":"secret"}`), nil, "invalid_number balance"},
		{"decimal as base64", "", envelope("u", "null", `{"id":1,"balance":"BNI="}`), nil, "invalid_number balance"},
		{"text that is no time", "", envelope("u", "null", `{"id":1,"since":"secret"}`), nil, "invalid_time since"},
		{"other case", "", envelope("u", "null", `{"id":1,"Plan":"secret"}`), nil, "schema_changed plan"},
		{"no columns", "", envelope("u", "null", `{"id":1,"secret":"secret"}`), nil, "schema_changed"},
		{"no key", "", envelope("u", "null", `{"plan":"secret"}`), nil, "no_key id"},
		{"key is an object", "", envelope("u", "null", `{"id":{"secret":1},"plan":"a"}`), nil, "no_key id"},
		{"key has an exponent", "", envelope("u", "null", `{"id":1e3,"plan":"a"}`), nil, "no_key id"},
		{"key in before is an array", "", envelope("d", `{"id":[]}`, "null"), nil, "no_key id"},
		{"key of the record is text", `secret`, envelope("d", "null", "null"), nil, "no_key id"},
		{"payload of the key is text", `{"schema":null,"payload":"secret"}`, envelope("d", "null", "null"), nil, "no_key id"},
		{"key of the record is no JSON", `{secret`, envelope("d", "null", "null"), nil, "not_json"},
		{"key of the record is null there", `{"id":null}`, envelope("d", "null", "null"), nil, "no_key id"},
	})
}
