package cdc

import (
	"testing"

	"millrace.dev/record"
)

func TestUpsert(t *testing.T) {
	t.Parallel()
	const none = " - - - absent [1 2 3]"
	run(t, Options{Format: FormatUpsert}, []step{
		{"key in the row", "other", `{"id":98155,"plan":"a"}`, nil, `upsert "98155" at 1700000000000000 a` + none},
		{"with schemas", "", `{"schema":{},"payload":{"id":1,"plan":"a"}}`, nil, `upsert "1" at 1700000000000000 a` + none},
		{"plain key", "98155", `{"plan":"a"}`, nil, `upsert "98155" at 1700000000000000 a` + none},
		{"plain key with a fraction", "98155.0", `{"plan":"a"}`, nil, `upsert "98155" at 1700000000000000 a` + none},
		{"plain text", "Ünna street", `{"plan":"a"}`, nil, `upsert "Ünna street" at 1700000000000000 a` + none},
		{"JSON string", `"a\"b"`, `{"plan":"a"}`, nil, `upsert "a\"b" at 1700000000000000 a` + none},
		{"a quote alone", `"`, `{"plan":"a"}`, nil, `upsert "\"" at 1700000000000000 a` + none},
		{"no JSON string", `"a"b"`, `{"plan":"a"}`, nil, `upsert "\"a\"b\"" at 1700000000000000 a` + none},
		{"smuggled member", `"a","text2":"b"`, `{"plan":"a"}`, nil, `upsert "\"a\",\"text2\":\"b\"" at 1700000000000000 a` + none},
		{"object", `{"x":1,"id":"a"}`, `{"plan":"a"}`, nil, `upsert "a" at 1700000000000000 a` + none},
		{"object with schemas", `{"schema":{},"payload":{"id":4}}`, `{"plan":"a"}`, nil, `upsert "4" at 1700000000000000 a` + none},
		{"single value with schemas", `{"schema":{},"payload":4}`, `{"plan":"a"}`, nil, `upsert "4" at 1700000000000000 a` + none},
		{"delete by plain text", "98155", "", nil, `delete "98155" at 1700000000000000`},
		{"delete by an object", `{"id":98155.0}`, "", nil, `delete "98155" at 1700000000000000`},
		{"delete by an envelope", `{"schema":{},"payload":98155}`, `{"schema":{},"payload":null}`, nil, `delete "98155" at 1700000000000000`},
		{"delete without a key", "", "", nil, "no_key id"},
		{"no key", "", `{"plan":"a"}`, nil, "no_key id"},
		{"key is null", "98155", `{"id":null,"plan":"a"}`, nil, "no_key id"},
		{"key is not UTF-8", "\xff", `{"plan":"a"}`, nil, "no_key id"},
		{"key's payload is null", `{"schema":{},"payload":null}`, `{"plan":"a"}`, nil, "no_key id"},
		{"row is no object", "1", `[]`, nil, "bad_envelope"},
		{"row is no JSON", "1", `{`, nil, "not_json"},
	})
}

// All spellings of an integer are one key, as they are one level; a column that is a string has its text.
func TestKeyText(t *testing.T) {
	t.Parallel()
	run(t, Options{Format: FormatUpsert}, []step{
		{"integer", "", `{"id":4,"plan":"a"}`, nil, `upsert "4" at 1700000000000000 a - - - absent [1 2 3]`},
		{"fraction of zeros", "", `{"id":4.0,"plan":"a"}`, nil, `upsert "4" at 1700000000000000 a - - - absent [1 2 3]`},
		{"text", "", `{"id":"4","plan":"a"}`, nil, `upsert "4" at 1700000000000000 a - - - absent [1 2 3]`},
		{"text with a fraction", "", `{"id":"4.0","plan":"a"}`, nil, `upsert "4" at 1700000000000000 a - - - absent [1 2 3]`},
		{"long", "", `{"id":9007199254740993,"plan":"a"}`, nil, `upsert "9007199254740993" at 1700000000000000 a - - - absent [1 2 3]`},
		{"boolean", "", `{"id":true,"plan":"a"}`, nil, `upsert "true" at 1700000000000000 a - - - absent [1 2 3]`},
		{"leading zero", "", `{"id":"04","plan":"a"}`, nil, `upsert "04" at 1700000000000000 a - - - absent [1 2 3]`},
		{"empty", "", `{"id":"","plan":"a"}`, nil, `upsert "" at 1700000000000000 a - - - absent [1 2 3]`},
	})
	s, err := record.NewSchema(record.Field{Name: "id", Type: record.String})
	if err != nil {
		t.Fatal(err)
	}
	run(t, Options{Format: FormatUpsert, Schema: s}, []step{
		{"string", "", `{"id":"4.0"}`, nil, `upsert "4.0" at 1700000000000000 4.0`},
		{"number", "", `{"id":4}`, nil, "schema_changed id"},
		{"plain key", "4.0", "", nil, `delete "4.0" at 1700000000000000`},
	})
}

// Columns may be called as the parts of an envelope are.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"schema", "payload", "op", "before", "type", "__op", "__deleted", "text", "pk.x"} {
		s, err := record.NewSchema(record.Field{Name: name, Type: record.Enum}, record.Field{Name: "x", Type: record.Enum})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []Format{FormatDebezium, FormatUpsert} {
			run(t, Options{Format: f, Schema: s, Key: name}, []step{
				{name, "", `{"` + name + `":"7","x":"y"}`, nil, `upsert "7" at 1700000000000000 7 y`},
				{name + ", with schemas", "", `{"schema":{},"payload":{"` + name + `":"7","x":"y"}}`, nil, `upsert "7" at 1700000000000000 7 y`},
				{name + " in the key", `{"` + name + `":"7"}`, `{"x":"y","z":1}`, nil, `upsert "7" at 1700000000000000 - y absent [0]`},
				{name + " in the key, with schemas", `{"schema":{},"payload":{"` + name + `":"7"}}`, `{"x":"y","z":1}`, nil, `upsert "7" at 1700000000000000 - y absent [0]`},
			})
		}
	}
}
