package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"millrace.dev/record"
)

// metaTable is a random table with its random past.
type metaTable struct {
	name, key string // key is the expression that features look it up by
	format    string // "" is a file
	join      string
	history   string
	required  bool
	truncates bool
	wrapped   bool // keys and values have their schemas around them
	changes   []record.Raw
	times     []int64 // of the changes, in microseconds
}

func (t *metaTable) topic() bool { return t.format != "" }

func (t *metaTable) yaml() string {
	schema := "{numeric: [income, pop], enum: [zone], string: [label], time: [since]}"
	if !t.topic() {
		valid := ", valid_from: since"
		if t.history == "0s" {
			valid = ""
		}
		return fmt.Sprintf("%s: {data: %s.jsonl, key: code, history: %s, required: %v%s, schema: %s}", t.name, t.name, t.history, t.required, valid, schema)
	}
	return fmt.Sprintf("%s: {topic: ref.%s, format: %s, key: code, join: %s, history: %s, required: %v, schema: %s}", t.name, t.name, t.format, t.join, t.history, t.required, schema)
}

// features returns expressions that need the table.
func (t *metaTable) features(w *world) []string {
	ref := fmt.Sprintf("%s[%s]", t.name, t.key)
	list := []string{
		ref + ".income", ref + ".zone", "coalesce(" + ref + ".income, -1)", ref + ".pop / x", "days_since(at, " + ref + ".since)", "len(" + ref + ".label)", "standard(" + ref + ".pop)",
		"one_hot(" + ref + ".zone, top: 2)", "target_mean(" + ref + ".zone)", "is_missing(" + ref + ".label)",
	}
	if t.join == "partitioned" {
		return list
	}
	list = append(list, t.name+"[seller].income", t.name+`["c1"].pop`)
	for _, other := range w.tables {
		if other.join != "partitioned" {
			list = append(list, fmt.Sprintf("%s[%s.zone].income", other.name, ref), fmt.Sprintf("%s[%s[%s.zone].zone].pop", t.name, other.name, ref))
		}
	}
	return list
}

// makeTables makes up to three tables, of which one can be partitioned.
func (w *world) makeTables() {
	partitioned := false
	for i := range w.r.IntN(4) {
		t := &metaTable{
			name: fmt.Sprintf("t%d", i), key: w.pick("city", "city", "seller", "lower(city)"), format: w.pick("debezium", "upsert", "maxwell", "debezium", ""),
			join: "global", history: w.pick("0s", "2000h", "2000h"), required: w.chance(8),
		}
		if t.topic() && !partitioned && w.chance(2) {
			t.join, partitioned = "partitioned", true
		}
		t.required = t.required && w.required
		t.wrapped = w.chance(3)
		t.truncates = t.format == "debezium" && t.join == "global" && w.chance(3)
		w.tables = append(w.tables, t)
		if t.topic() {
			w.makeChanges(t)
		} else {
			w.makeRows(t)
		}
	}
}

// row returns a row of a table as JSON.
func (w *world) row(key string, since int64) map[string]any {
	row := map[string]any{"code": key, "income": w.r.NormFloat64() * 100, "zone": w.pick("c0", "c1", "c2", "s1", "north"), "label": w.pick("", "a", "long label"), "since": rfc3339(since)}
	for _, name := range []string{"income", "zone", "label"} {
		if w.chance(8) {
			row[name] = nil
		}
	}
	if w.chance(2) {
		row["pop"] = w.r.IntN(1000)
	}
	return row
}

// makeRows makes the file of a table.
func (w *world) makeRows(t *metaTable) {
	var b strings.Builder
	for range 25 {
		key := w.pick("c0", "c1", "c2", "c3", "s0", "s1", "s2", "north")
		row := w.row(key, metaStart+w.r.Int64N(6*metaDay))
		if w.chance(6) {
			delete(row, "since")
		}
		text, _ := json.Marshal(row)
		b.Write(text)
		b.WriteByte('\n')
	}
	w.files[t.name+".jsonl"] = b.String()
}

// makeChanges makes the topic of a table: a snapshot, updates, deletes and rows that come back, now and then out of order in
// time, and some records that cannot be read. Changes of different keys may have one time, those of one key too.
func (w *world) makeChanges(t *metaTable) {
	keys := []string{"c0", "c1", "c2", "c3", "s0", "s1", "s2", "s3", "north"}
	now := (metaStart - metaDay) * 1000 // microseconds
	for _, k := range keys[:len(keys)-1] {
		if !w.chance(6) {
			t.change(w, k, "r", now)
		}
		now += w.r.Int64N(2) * 1500
	}
	for range 60 {
		now += w.r.Int64N(6 * metaDay * 1000 / 25)
		at := now
		switch w.r.IntN(8) {
		case 0:
			at -= w.r.Int64N(metaDay * 1000)
		case 1:
			at -= w.r.Int64N(3000) // within a few milliseconds
		}
		key := w.pick(keys...)
		switch w.r.IntN(12) {
		case 0, 1, 2:
			t.change(w, key, "d", at)
		case 3:
			t.change(w, key, "bad", at)
		case 4:
			if t.truncates {
				t.change(w, key, "t", now+1)
				now += 2
				continue
			}
			t.change(w, key, "u", at)
			t.change(w, key, "u", at) // the same time: the later one counts
		case 5: // gone and back before the tombstone is written
			t.change(w, key, "d", at)
			t.change(w, key, "c", at+w.r.Int64N(5000))
		default:
			t.change(w, key, "u", at)
		}
	}
}

// change appends what the topic says of a change.
func (t *metaTable) change(w *world, key, op string, at int64) {
	t.times = append(t.times, at)
	row := w.row(key, at/1000)
	raw := record.Raw{Topic: "ref." + t.name, Timestamp: at/1000 + w.r.Int64N(3000)}
	put := func(recordKey, value any) {
		raw.Key, _ = json.Marshal(recordKey)
		raw.Value = nil
		if value != nil {
			raw.Value, _ = json.Marshal(value)
		}
		t.changes = append(t.changes, raw)
	}
	if op == "bad" {
		value := w.pick(`{"op":"u","after":{"code":`, `{"op":"x","after":{"code":"c1"},"source":{}}`, `{"type":"strange","data":{"code":"c1"}}`, `{"code":"c1","income":"much"}`, `{"nothing":1}`, `[]`)
		raw.Key, raw.Value = []byte(`{"code":"`+key+`"}`), []byte(value)
		t.changes = append(t.changes, raw)
		return
	}
	switch t.format {
	case "upsert":
		if raw.Timestamp = at / 1000; op == "d" {
			put(key, nil)
			return
		}
		if w.chance(2) {
			delete(row, "code") // the record's key has it
		}
		put(key, row)
	case "maxwell":
		kind := map[string]string{"r": "bootstrap-insert", "c": "insert", "u": "update", "d": "delete"}[op]
		value := map[string]any{"type": kind, "ts": at / 1_000_000, "data": row}
		if kind == "update" {
			value["old"] = map[string]any{"income": 1}
		}
		put(map[string]any{"database": "db", "table": t.name, "pk.code": key}, value)
	default:
		id := map[string]any{"code": key}
		value := map[string]any{"op": op, "source": map[string]any{"ts_ms": at / 1000, "ts_us": at}, "before": nil, "after": row}
		if op == "d" {
			value["before"], value["after"] = row, nil
		}
		if op == "t" {
			value["after"] = nil
			raw.Value, _ = json.Marshal(value)
			t.changes = append(t.changes, raw)
			return
		}
		if t.wrapped {
			put(map[string]any{"schema": nil, "payload": id}, map[string]any{"schema": map[string]any{}, "payload": value})
		} else {
			put(id, value)
		}
		if op == "d" && !w.chance(3) {
			raw.Value = nil
			t.changes = append(t.changes, raw)
		}
	}
}

func rfc3339(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
