package pipeline_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"millrace.dev/codec"
	"millrace.dev/internal/house"
	"millrace.dev/internal/pipeline"
	"millrace.dev/model"
	"millrace.dev/record"
)

// zips is a table that the tests take fields of each type from. The model knows the levels of city.
func zips() pipeline.Table {
	return pipeline.Table{Name: "zips", Key: "statezip", Fields: []string{"city", "sqft_lot", "date", "street"}}
}

// apart splits a listing into the record without the table's fields, and the row with them.
func apart(t testing.TB, listing []byte, fields []string) (rec, row []byte) {
	t.Helper()
	inner := strings.TrimSuffix(strings.TrimPrefix(string(listing), "{"), "}")
	var of [2][]string
	for member := range strings.SplitSeq(inner, ", \"") {
		member = `"` + strings.TrimPrefix(member, `"`)
		to := 0
		for _, f := range fields {
			if strings.HasPrefix(member, `"`+f+`":`) {
				to = 1
			}
		}
		of[to] = append(of[to], member)
	}
	return []byte("{" + strings.Join(of[0], ",") + "}"), []byte("{" + strings.Join(of[1], ",") + "}")
}

// join runs a batch through a worker whose only table has a row for each record; nil is none.
func join(w *pipeline.Worker, b *record.Batch, values, rows [][]byte) {
	b.Reset()
	for _, v := range values {
		b.Append(record.Raw{Value: v})
	}
	w.Decode(b)
	for i := range rows {
		w.SetRow(0, i, rows[i])
	}
	w.Complete(b)
}

// TestTableEqualsRecord holds that a field counts the same, whether it comes from the record or from a row.
func TestTableEqualsRecord(t *testing.T) {
	t.Parallel()
	b, sales := train(t)
	table := zips()
	whole, split := newWorker(t, newPath(t, b, pipeline.Options{})), newWorker(t, newPath(t, b, pipeline.Options{Tables: []pipeline.Table{table}}))
	keys, err := pipeline.NewKeyReader(b.Schema, table, 0)
	if err != nil {
		t.Fatal(err)
	}
	var listings, values, rows [][]byte
	for i := range sales[:1000] {
		l := sales[i].AppendListing(nil)
		if i%7 == 0 {
			l = bytes.Replace(l, []byte(`"city": "`), []byte(`"city": "Nowhere `), 1) // a level that training has not seen
		}
		v, row := apart(t, l, table.Fields)
		listings, values, rows = append(listings, l), append(values, v), append(rows, row)
	}
	x, y := whole.NewBatch(), split.NewBatch()
	for range 2 { // the second time with memory that was used
		join(split, y, values, rows)
		x.Reset()
		for _, l := range listings {
			x.Append(record.Raw{Value: l})
		}
		whole.Process(x)
	}
	for i := range values {
		if x.Problem(i) != nil || y.Problem(i) != nil {
			t.Fatalf("%s: %v, %v", listings[i], x.Problem(i), y.Problem(i))
		}
		if p, q := whole.Prediction(i), split.Prediction(i); math.Float64bits(p) != math.Float64bits(q) {
			t.Fatalf("%s: %v from the record, %v from the row", listings[i], p, q)
		}
		if want := fmt.Sprintf("%s,%q:%s}", bytes.TrimSuffix(values[i], []byte("}")), sinkField, codec.AppendFloat(nil, split.Prediction(i))); string(split.Output(i)) != want {
			t.Fatalf("got %s, want %s", split.Output(i), want)
		}
		k, ok := split.Key(y, 0, i)
		if k2, ok2 := keys.Key(values[i]); k != k2 || !ok || !ok2 || !strings.Contains(string(values[i]), `"statezip": "`+k+`"`) {
			t.Fatalf("%s: key %q, %q", values[i], k, k2)
		}
	}
	for i, c := range whole.Counts() {
		if got := split.Counts()[i]; got != c {
			t.Errorf("%s: %+v, want %+v", b.Inputs[i].Name, got, c)
		}
	}
}

func TestTableOutcomes(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	optional := zips()
	required := zips()
	required.Required = true
	byField := pipeline.Table{Name: "r", Key: "statezip", Fields: []string{house.RequiredField, "sqft_lot"}}
	const value = `{"sqft_living":1340,"statezip":"WA 98103"}`
	for name, tc := range map[string]struct {
		table        pipeline.Table
		value, row   string
		class, field string
		stage        string
		missing      bool // sqft_lot is, as the model sees it
	}{
		"row":                             {table: optional, value: value, row: `{"sqft_lot":5}`},
		"not from the record":             {table: optional, value: `{"sqft_living":1340,"sqft_lot":7,"city":5}`, missing: true},
		"whatever the record says":        {table: optional, value: `{"sqft_living":1340,"sqft_lot":"x"}`, row: `{"sqft_lot":5}`},
		"no row":                          {table: optional, value: value, missing: true},
		"null in the row":                 {table: optional, value: value, row: `{"sqft_lot":null}`, missing: true},
		"no row, and one is required":     {table: required, value: value, class: pipeline.ClassNoRow, field: "statezip", stage: record.StageEnrich},
		"no row, and a field is required": {table: byField, value: `{"statezip":"x"}`, class: pipeline.ClassNoRow, field: "statezip", stage: record.StageEnrich},
		"required field not in the row":   {table: byField, value: `{"statezip":"x"}`, row: `{"sqft_lot":5}`, class: codec.ClassMissingField, field: house.RequiredField, stage: record.StageEnrich},
		"row with a required field":       {table: byField, value: `{"statezip":"x"}`, row: `{"sqft_lot":5,"sqft_living":1}`},
		"wrong type in the row":           {table: optional, value: value, row: `{"sqft_lot":"5"}`, class: codec.ClassWrongType, field: "sqft_lot", stage: record.StageEnrich},
		"row without the fields":          {table: optional, value: value, row: `{"lot":5}`, class: codec.ClassNoFields, stage: record.StageEnrich},
		"row that is no JSON":             {table: optional, value: value, row: `{`, class: codec.ClassInvalidJSON, stage: record.StageEnrich},
		"broken record":                   {table: required, value: `{`, row: `{"sqft_lot":5}`, class: codec.ClassInvalidJSON, stage: record.StageDecode},
		"record of the table's fields":    {table: optional, value: `{"sqft_lot":5}`, class: codec.ClassNoFields, stage: record.StageDecode},
	} {
		w := newWorker(t, newPath(t, b, pipeline.Options{Tables: []pipeline.Table{tc.table}}))
		var row []byte
		if tc.row != "" {
			row = []byte(tc.row)
		}
		bt := w.NewBatch()
		join(w, bt, [][]byte{[]byte(tc.value)}, [][]byte{row})
		var got record.Problem
		if p := bt.Problem(0); p != nil {
			got = *p
		}
		if got.Class != tc.class || got.Field != tc.field || got.Stage != tc.stage {
			t.Errorf("%s: %+v", name, got)
		}
		if missing := inputMissing(b, w, "sqft_lot"); tc.class == "" && missing != tc.missing {
			t.Errorf("%s: sqft_lot missing: %v", name, missing)
		}
		if out := w.Output(0); (out == nil) != (tc.class != "") || out != nil && !bytes.HasPrefix(out, []byte(strings.TrimSuffix(tc.value, "}"))) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func inputMissing(b *model.Bundle, w *pipeline.Worker, input string) bool {
	for i, c := range w.Counts() {
		if b.Inputs[i].Name == input {
			return c.Missing > 0
		}
	}
	return false
}

func TestTableKeys(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	for _, key := range []string{"statezip", "street"} { // an enum and a string
		table := pipeline.Table{Name: "t", Key: key, Fields: []string{"sqft_lot"}}
		w := newWorker(t, newPath(t, b, pipeline.Options{Tables: []pipeline.Table{table}}))
		r, err := pipeline.NewKeyReader(b.Schema, table, 0)
		if err != nil {
			t.Fatal(err)
		}
		for value, want := range map[string]string{
			`{"sqft_living":1,"%s":"WA 98103"}`: "WA 98103",
			`{"sqft_living":1,"%s":"\u00e9"}`:   "é",
			`{"sqft_living":1,"%s":""}`:         "",
			`{"sqft_living":1,"%s":null}`:       "none",
			`{"sqft_living":1,"x%s":1}`:         "none",
			`{"sqft_living":1,"%s":{}}`:         "none",
			`{"sqft_living":1`:                  "none",
		} {
			value = strings.Replace(value, "%s", key, 1)
			bt := w.NewBatch()
			join(w, bt, [][]byte{[]byte(value)}, nil)
			for name, find := range map[string]func() (string, bool){
				"worker": func() (string, bool) { return w.Key(bt, 0, 0) },
				"reader": func() (string, bool) { return r.Key([]byte(value)) },
			} {
				got, ok := find()
				if !ok {
					got = "none"
				}
				if got != want {
					t.Errorf("%s: %s: %q, want %q", name, value, got, want)
				}
			}
		}
	}
}

func TestTableOptions(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	for want, o := range map[string]pipeline.Options{
		`table t: the schema has no field "k"`:                   {Tables: []pipeline.Table{{Name: "t", Key: "k", Fields: []string{"city"}}}},
		`table t: the schema has no field "f"`:                   {Tables: []pipeline.Table{{Name: "t", Key: "street", Fields: []string{"f"}}}},
		`table t: the key "sqft_lot" is a field of type numeric`: {Tables: []pipeline.Table{{Name: "t", Key: "sqft_lot", Fields: []string{"city"}}}},
		`table t: the key "city" comes from a table itself`:      {Tables: []pipeline.Table{{Name: "t", Key: "city", Fields: []string{"city"}}}},
		`tables: a field comes from one table, once`:             {Tables: []pipeline.Table{{Key: "street", Fields: []string{"city"}}, {Key: "street", Fields: []string{"city"}}}},
		`table t: record: a schema needs at least one field`:     {Tables: []pipeline.Table{{Name: "t", Key: "street"}}},
		`tables: the records have to be JSON`:                    {Format: pipeline.CSV, Header: []string{"sqft_living"}, Tables: []pipeline.Table{{Key: "street", Fields: []string{"city"}}}},
	} {
		if _, err := pipeline.New(b, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestTableNoAllocations(t *testing.T) {
	b, sales := train(t)
	table := zips()
	w := newWorker(t, newPath(t, b, pipeline.Options{Tables: []pipeline.Table{table}}))
	bt := w.NewBatch()
	var values, rows [][]byte
	for i := range pipeline.BatchRows {
		v, row := apart(t, sales[i].AppendListing(nil), table.Fields)
		values, rows = append(values, v), append(rows, row)
	}
	run := func() { join(w, bt, values, rows) }
	run()
	run()
	if n := testing.AllocsPerRun(20, run); n > 1 { // the counts of the inputs, once a batch
		t.Errorf("%v allocations for a batch of %d records", n, len(values))
	}
}
