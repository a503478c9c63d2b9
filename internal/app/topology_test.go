package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

const enriched = `
version: 1
name: houses
schema:
  numeric: [price, area]
  enum: [city, seller]
  string: [street]
source: {topic: houses}
tables:
  cities: {topic: ref.cities, data: cities.jsonl, key: city, join: %s, history: 0s, schema: {numeric: [income], enum: [zone]}}
  sellers: {topic: ref.sellers, data: sellers.jsonl, key: seller, join: %s, history: 0s, schema: {numeric: [rate]}}
features:
  wealth: cities[city].income / area
  zone: cities[city].zone
  rate: sellers[seller].rate
train: {data: sales.csv, label: price, ignore: [street], gbm: {ntrees: 10, min_rows: 2}}
sink: {topic: predictions}
dead_letter: {topic: houses.dlq}
`

// enrichment is a trained pipeline whose records lack what two tables have.
type enrichment struct {
	a    *app.App
	file string
	want map[string]string // predictions, by the key of the record
	recs []stream.Record[[]byte, []byte]
}

const enrichSeed = 5

// cityRow and sellerRow are the rows of the tables: the last city and the last seller have none.
func cityRow(i int) string {
	return []string{`{"income": 50.5, "zone": "north"}`, `{"zone":"south","more":[1],"income":70}`, `{"income": null, "zone": "unheard of"}`, ""}[i]
}
func sellerRow(i int) string { return []string{`{"rate":1.5}`, `{"rate":2}`, ""}[i] }

// tableFile returns the rows of a table as the lines of a file.
func tableFile(key, prefix string, row func(int) string) string {
	var b strings.Builder
	for i := 0; row(i) != ""; i++ {
		fmt.Fprintf(&b, "{%q: %q, %s\n", key, prefix+strconv.Itoa(i), strings.TrimPrefix(row(i), "{"))
	}
	return b.String()
}

func newEnrichment(t *testing.T) *enrichment {
	t.Helper()
	r := rand.New(rand.NewPCG(enrichSeed, 0))
	dir := t.TempDir()
	e := &enrichment{
		a:    &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"},
		file: filepath.Join(dir, "pipeline.yaml"), want: map[string]string{},
	}
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("pipeline.yaml", fmt.Sprintf(enriched, "global", "global"))
	var csv, jsonl strings.Builder
	put("cities.jsonl", tableFile("city", "c", cityRow))
	put("sellers.jsonl", tableFile("seller", "s", sellerRow))
	csv.WriteString("price,area,city,seller,street\n")
	for range 400 {
		area, city, seller := 50+r.IntN(200), r.IntN(4), r.IntN(3)
		fmt.Fprintf(&csv, "%d,%d,c%d,s%d,x\n", area*(50+20*city)*(3+seller), area, city, seller)
	}
	put("sales.csv", csv.String())
	for i := range 300 {
		city, seller := r.IntN(4), r.IntN(3)
		head := fmt.Sprintf(`{"street": "no %d", "area": %d, "city": "c%d", "seller": "s%d"`, i, 50+r.IntN(200), city, seller)
		jsonl.WriteString(head + "}\n")
		rec := stream.Record[[]byte, []byte]{
			Key: fmt.Appendf(nil, "k%d", i), Value: []byte(head + ` }`), Timestamp: int64(1000 + i),
			Headers: []stream.Header{{Key: "trace", Value: fmt.Append(nil, i)}, {Key: "null"}},
		}
		if i%10 == 3 { // what a record says of the table's fields is not looked at
			rec.Value = []byte(head + `, "income": "x", "rate": -1 }`)
		}
		if i%10 == 4 { // nor what it says of its prediction: it is that of another pipeline, or forged
			rec.Headers = slices.Concat([]stream.Header{{Key: "millrace.checks", Value: []byte("forged")}, {Key: "millrace.model", Value: []byte("forged@1")}}, rec.Headers,
				[]stream.Header{{Key: "millrace.digest"}, {Key: "millrace.source", Value: []byte("forged/0/0")}, {Key: "millrace.source.timestamp", Value: []byte("1")}})
		}
		e.recs = append(e.recs, rec)
	}
	if _, err := e.a.Train(t.Context(), app.TrainOptions{File: e.file, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := e.a.Predict(t.Context(), app.PredictOptions{File: e.file, Model: "houses@1", Data: put("new.jsonl", jsonl.String()), Out: "-", Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		_, p, ok := strings.Cut(line, `,"prediction":`)
		if !ok {
			t.Fatalf("no prediction: %s", line)
		}
		e.want[fmt.Sprintf("k%d", i)] = strings.TrimSuffix(p, "}")
	}
	return e
}

// start runs the topology with the tables' rows in place.
func (e *enrichment) start(t *testing.T, cities, sellers config.Join, set ...string) *streamtest.Driver {
	t.Helper()
	p, err := e.a.Load(e.file, append([]string{"tables.cities.join=" + string(cities), "tables.sellers.join=" + string(sellers)}, set...))
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.a.LoadModel(t.Context(), p.Model, p.Name, "houses@1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := app.NewScoring(p, m, app.ScoringOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	d := streamtest.New(t, app.Topology(p, m.Bundle.Plan, s), streamtest.Partitions(3))
	for topic, row := range map[string]func(int) string{"ref.cities": cityRow, "ref.sellers": sellerRow} {
		in := streamtest.NewInput(d, topic, stream.String(), stream.String())
		in.Pipe("gone", `{"income":0,"rate":0}`, 1)
		in.PipeRecord(stream.Record[string, string]{Key: "gone", NullValue: true, Timestamp: 2})
		for i := 0; row(i) != ""; i++ {
			in.Pipe(topic[4:5]+strconv.Itoa(i), `{"income":0,"rate":0}`, 3)
			in.Pipe(topic[4:5]+strconv.Itoa(i), row(i), 4)
		}
	}
	return d
}

// odd are records that get no prediction, or whose key in a table is nowhere.
func odd() []record.Raw {
	trace := []record.Header{{Key: "trace", Value: []byte("odd")}}
	return []record.Raw{
		{Key: []byte("o1"), Value: []byte(`{"area": 1`), Headers: trace, Timestamp: 7},
		{Key: []byte("o2"), Value: nil, Headers: trace, Timestamp: 8},
		{Key: nil, Value: []byte(`{"area": "1", "city": "c1"}`), Timestamp: 9},
		{Key: []byte{}, Value: []byte(`{"area": 1, "prediction": 1, "city": "c0", "seller": "s0"}`), Headers: []record.Header{{Key: "millrace.origin", Value: []byte("forged")}}, Timestamp: 10},
		{Key: []byte("o5"), Value: []byte(`{"income": 5}`), Timestamp: 11},
	}
}

// TestTables holds that a record is predicted as it would be from a file that has the row's fields as columns, however
// the row comes to it, and through crashes; and that nobody can see which way it took.
func TestTables(t *testing.T) {
	t.Parallel()
	e := newEnrichment(t)
	type letter struct {
		Partition  int32
		Key, Value []byte
		Headers    []record.Header
	}
	var letters [][]letter
	var keyless []record.Raw
	for _, joins := range [][2]config.Join{
		{config.JoinGlobal, config.JoinGlobal}, {config.JoinGlobal, config.JoinPartitioned}, {config.JoinPartitioned, config.JoinGlobal},
	} {
		d := e.start(t, joins[0], joins[1])
		in := streamtest.NewInput(d, "houses", stream.Bytes(), stream.Bytes())
		in.PipeAll(e.recs[:100]...)
		d.Crash()
		in.PipeAll(e.recs[100:200]...)
		d.Abort()
		for _, r := range odd() {
			d.PipeRaw("houses", r)
		}
		d.LoseState()
		in.PipeAll(e.recs[200:]...)
		in.PipeTo(2, stream.Record[[]byte, []byte]{NullKey: true, Value: []byte(`{"area":1,"city":"c0","seller":"s1"}`), Timestamp: 12})

		sources := map[string]record.Raw{}
		for p := range int32(3) {
			for _, r := range d.Raw("houses", p) {
				sources[fmt.Sprintf("houses/%d/%d", r.Partition, r.Offset)] = r
			}
		}
		count := 0
		for p := range int32(3) {
			for _, r := range d.Raw("predictions", p) {
				if r.Key == nil {
					keyless = append(keyless, r)
					continue
				}
				count++
				n := len(r.Headers)
				src, ok := sources[string(r.Headers[n-1].Value)]
				if !ok || r.Headers[n-1].Key != "millrace.source" || !bytes.Equal(src.Key, r.Key) || src.Timestamp != r.Timestamp {
					t.Fatalf("%v: source %s of key %s", joins, r.Headers[n-1].Value, r.Key)
				}
				own := slices.DeleteFunc(slices.Clone(src.Headers), func(h stream.Header) bool { return strings.HasPrefix(h.Key, "millrace.") })
				if diff := cmp.Diff(own, r.Headers[:n-3]); diff != "" || r.Headers[n-3].Key != "millrace.model" {
					t.Fatalf("%v: headers of %s: %s", joins, r.Key, diff)
				}
				if want := string(src.Value[:len(src.Value)-1]) + `,"prediction":` + e.want[string(r.Key)] + "}"; string(r.Value) != want {
					t.Fatalf("%v: %s: %s, want %s", joins, r.Key, r.Value, want)
				}
			}
		}
		if count != len(e.recs) {
			t.Errorf("%v: %d predictions", joins, count)
		}
		var list []letter
		for p := range int32(3) {
			for _, r := range d.Raw("houses.dlq", p) {
				l := letter{Partition: r.Partition, Key: r.Key, Value: r.Value}
				for _, h := range r.Headers {
					if h.Key != "millrace.dlq.node" {
						l.Headers = append(l.Headers, h)
					}
				}
				list = append(list, l)
			}
		}
		letters = append(letters, list)
	}
	var classes []string
	for _, l := range letters[0] {
		for _, h := range l.Headers {
			if h.Key == "millrace.dlq.class" {
				classes = append(classes, string(h.Value))
			}
		}
	}
	slices.Sort(classes)
	if diff := cmp.Diff([]string{"field_exists", "invalid_json", "no_fields", "null_value", "wrong_type"}, classes); diff != "" {
		t.Errorf("dead letters: %s", diff)
	}
	for i := range letters {
		byID := func(l []letter) map[string]letter {
			m := map[string]letter{}
			for _, x := range l {
				m[string(x.Key)+"/"+string(x.Value)] = x
			}
			return m
		}
		if diff := cmp.Diff(byID(letters[0]), byID(letters[i])); diff != "" {
			t.Errorf("other dead letters: %s", diff)
		}
	}
	if len(keyless) != 3 || keyless[1].Partition != 2 {
		t.Errorf("without key: %v", keyless)
	}
	for _, r := range keyless {
		if diff := cmp.Diff(keyless[0], r); diff != "" {
			t.Errorf("without key: %s", diff)
		}
	}
}

// TestTableUpdates follows a row as it comes, changes and goes.
func TestTableUpdates(t *testing.T) {
	t.Parallel()
	e := newEnrichment(t)
	const value = `{"area":90,"city":"c9","seller":"s9"}`
	for _, join := range []config.Join{config.JoinGlobal, config.JoinPartitioned} {
		d := e.start(t, config.JoinGlobal, join, "tables.sellers.required=true")
		in := streamtest.NewInput(d, "houses", stream.String(), stream.String())
		sellers := streamtest.NewInput(d, "ref.sellers", stream.String(), stream.String())
		out := streamtest.NewOutput(d, "predictions", stream.String(), stream.String())
		var got []string
		var at int64 = 100
		step := func(row string) {
			at += 10
			if row != "" {
				sellers.PipeRecord(stream.Record[string, string]{Key: "s9", Value: row, NullValue: row == "null", Timestamp: at})
			}
			in.Pipe("k", value, at+1)
			if out.Len() == 0 {
				got = append(got, lastLetter(d, "houses"))
				return
			}
			var v map[string]any
			if err := json.Unmarshal([]byte(out.ReadValues()[0]), &v); err != nil || v["prediction"] == nil {
				t.Fatal(err, v)
			}
			got = append(got, "predicted")
		}
		for _, row := range []string{"", `{"rate":1}`, `{"rate":"1"}`, `{"rate":2}`, "null"} {
			step(row)
		}
		want := []string{"houses enrich no_row sellers", "predicted", "predicted", "predicted", "houses enrich " + pipeline.ClassNoRow + " sellers"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", join, diff)
		}
		if got := lastLetter(d, "ref.sellers"); !strings.HasPrefix(got, "ref.sellers table schema_changed") { // of the rate that is a text
			t.Errorf("%s: the row that cannot be read: %q", join, got)
		}
	}
}

// lastLetter describes the last dead letter of a topic's records.
func lastLetter(d *streamtest.Driver, topic string) string {
	last := ""
	for p := range int32(3) {
		for _, letter := range d.Raw("houses.dlq", p) {
			h := map[string]string{}
			for _, x := range letter.Headers {
				h[strings.TrimPrefix(x.Key, "millrace.dlq.")] = string(x.Value)
			}
			if h["topic"] == topic {
				last = h["topic"] + " " + h["stage"] + " " + h["class"] + " " + h["field"]
			}
		}
	}
	return last
}
