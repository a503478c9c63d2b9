package cdc

import "testing"

func maxwell(kind, data, more string) string {
	return `{"database":"billing","table":"accounts","type":"` + kind + `","ts":1650000000,"xid":940752,"commit":true,"data":` + data + more + `}`
}

func TestMaxwell(t *testing.T) {
	t.Parallel()
	const (
		row  = `{"id":98155,"plan":"gold","balance":12.5,"since":"2022-01-01 00:00:00.000000","note":"ü","tags":["a"]}`
		want = ` at 1650000000000000 gold 12.5 1640995200000000 ü`
		key  = `{"database":"billing","table":"accounts","pk.id":98155}`
	)
	d := run(t, Options{Format: FormatMaxwell}, []step{
		{"insert", key, maxwell("insert", row, ""), nil, `upsert "98155"` + want},
		{"update", key, maxwell("update", row, `,"old":{"plan":"silver"}`), nil, `upsert "98155"` + want},
		{"update of the key", key, maxwell("update", row, `,"old":{"id":7}`), nil, `delete "7" at 1650000000000000; upsert "98155"` + want},
		{"key goes away", key, maxwell("update", `{"id":null,"plan":"a"}`, `,"old":{"id":7}`), nil, `delete "7" at 1650000000000000`},
		{"delete", key, maxwell("delete", row, ""), nil, `delete "98155" at 1650000000000000`},
		{"delete by the record's key", key, maxwell("delete", `{"plan":"a"}`, ""), nil, `delete "98155" at 1650000000000000`},
		{"bootstrap", key, maxwell("bootstrap-insert", row, ""), nil, `upsert "98155" at 1650000000000000 snapshot gold 12.5 1640995200000000 ü`},
		{"bootstrap starts", "", maxwell("bootstrap-start", "{}", ""), nil, ""},
		{"bootstrap is complete", "", maxwell("bootstrap-complete", "{}", ""), nil, ""},
		{"definition of a database", "", `{"type":"database-create","database":"billing","ts":1650000000000,"sql":"create database billing"}`, nil, ""},
		{"no time", key, `{"type":"insert","data":{"id":1,"plan":"a"}}`, nil, `upsert "1" at 1700000000000000 a - - - absent [1 2 3]`},
		{"no key", "", maxwell("insert", `{"plan":"a"}`, ""), nil, "no_key id"},
		{"null", key, "", nil, "null_value"},
		{"no type", "", `{"data":{}}`, nil, "bad_envelope type"},
		{"type is a number", "", `{"type":1,"data":{}}`, nil, "bad_envelope type"},
		{"another type", "", maxwell("secret", "{}", ""), nil, "unknown_op type"},
		{"no data", "", `{"type":"insert"}`, nil, "bad_envelope data"},
		{"data is text", "", maxwell("insert", `"secret"`, ""), nil, "bad_envelope data"},
		{"old is text", "", maxwell("update", row, `,"old":"secret"`), nil, "bad_envelope"},
		{"time is text", "", `{"type":"insert","ts":"secret","data":{}}`, nil, "bad_envelope ts"},
		{"column of another type", "", maxwell("insert", `{"id":1,"plan":["secret"]}`, ""), nil, "schema_changed plan"},
		{"definition of a table", "", `{"type":"table-alter","def":{"table":"accounts"},"ts":1650000000000}`, nil, ""},
	})
	if n := d.Counts().Ignored; n != 1 {
		t.Errorf("%d ignored", n)
	}
}
