package app_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

const historyFile = `
version: 1
name: houses
schema: {numeric: [price, area], enum: [city], time: [sold]}
source: {topic: houses, event_time: sold}
tables:
  cities: {topic: ref.cities, format: debezium, data: cities.csv, key: city, history: 30d, schema: {numeric: [income, rank]}, required: true}
features: {wealth: "cities[city].income / area", rank: "cities[city].rank"}
train: {data: sales.csv, label: price, ignore: [sold], gbm: {ntrees: 30, min_rows: 2}}
sink: {topic: predictions}
dead_letter: {topic: houses.dlq}
`

// historic is a trained pipeline with a table that has a history.
type historic struct {
	a    *app.App
	file string
}

func newHistoric(t *testing.T) *historic {
	t.Helper()
	r := rand.New(rand.NewPCG(enrichSeed, 1))
	dir := t.TempDir()
	h := &historic{
		a:    &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"},
		file: filepath.Join(dir, "pipeline.yaml"),
	}
	sales, cities := []byte("price,area,city,sold\n"), []byte("city,income,rank\n")
	for i := range 40 {
		cities = fmt.Appendf(cities, "c%d,%d,%d\n", i, 10*i, i%7)
	}
	for range 500 {
		area, city := 50+r.IntN(200), r.IntN(40)
		sales = fmt.Appendf(sales, "%d,%d,c%d,2014-05-01\n", 1000+10*city*area/50+(city%7)*100, area, city)
	}
	for name, text := range map[string]string{"pipeline.yaml": historyFile, "sales.csv": string(sales), "cities.csv": string(cities)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.a.Train(t.Context(), app.TrainOptions{File: h.file, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *historic) start(t *testing.T, join string) *streamtest.Driver {
	t.Helper()
	p, err := h.a.Load(h.file, []string{"tables.cities.join=" + join})
	if err != nil {
		t.Fatal(err)
	}
	m, err := h.a.LoadModel(t.Context(), p.Model, p.Name, "houses@1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := app.NewScoring(p, m, app.ScoringOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return streamtest.New(t, app.Topology(p, m.Bundle.Plan, s), streamtest.Partitions(3), streamtest.Partitions(2, "ref.cities"))
}

// change is an envelope of Debezium: the row of a city, made some microseconds after midnight of a day in May 2014.
func change(op, city string, day int, micros int64, income string) stream.Record[string, string] {
	at := time.Date(2014, 5, day, 0, 0, 0, 0, time.UTC).UnixMicro() + micros
	row := fmt.Sprintf(`{"city":%q,"income":%s,"rank":3}`, city, income)
	side := `"before":null,"after":` + row
	if op == "d" {
		side = `"before":` + row + `,"after":null`
	}
	return stream.Record[string, string]{
		Key: fmt.Sprintf(`{"city":%q}`, city), Timestamp: time.Date(2014, 8, 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
		Value: fmt.Sprintf(`{"op":%q,%s,"source":{"ts_us":%d}}`, op, side, at),
	}
}

// TestHistory holds that a record finds the row that was valid at its time, whichever way the rows are shared: also one that
// comes from another partition than much later changes, one that a second snapshot tells of, one to the microsecond, and one
// of which a column was not logged.
func TestHistory(t *testing.T) {
	t.Parallel()
	h := newHistoric(t)
	changes := []struct {
		partition int32
		change    stream.Record[string, string]
	}{
		{0, change("r", "c1", 3, 0, "100")},
		{0, change("u", "c1", 20, 0, "200")},
		{0, change("c", "far", 70, 0, "300")}, // the history begins 30 days before
		{1, change("r", "c2", 1, 0, "110")},   // older than the history, and all that is known
		{1, change("u", "c4", 2, 0, "150")},
		{2, change("c", "c3", 45, 1500, "120")},
		{2, change("u", "c3", 50, 500, "390")},
		{2, change("d", "c3", 60, 0, "130")},
		{2, change("r", "c5", 44, 0, "140")},
		{2, change("r", "c5", 58, 0, "160")}, // a second snapshot: something had been missed
		{1, change("d", "gone", 30, 0, "1")},
		{1, stream.Record[string, string]{Key: `{"city":"gone"}`, NullValue: true, Timestamp: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()}}, // says nothing of time
		{0, change("u", "c6", 50, 0, "170")},
		{0, change("u", "c6", 55, 0, `"__debezium_unavailable_value"`)},
	}
	records := []stream.Record[string, string]{}
	for _, city := range []string{"c1", "c2", "c3", "c4", "c5", "c6", "none"} {
		for _, sold := range []string{
			"2014-04-01", "2014-06-10", "2014-06-14 00:00:00.001", "2014-06-14 00:00:00.002", "2014-06-18 23:59:59.999", "2014-06-19", "2014-06-19 00:00:00.0009",
			"2014-06-24", "2014-06-26 23:59:59", "2014-06-27", "2014-06-29", "2014-07-09", "2020-01-01", "1969-07-20", "",
		} {
			value := fmt.Sprintf(`{"area":60,"city":%q}`, city)
			if sold != "" {
				value = fmt.Sprintf(`{"area":60,"city":%q,"sold":%q}`, city, sold)
			}
			records = append(records, stream.Record[string, string]{Key: city + " " + sold, Value: value, Timestamp: time.Date(2014, 6, 1, 0, 0, 0, 0, time.UTC).UnixMilli()})
		}
	}
	got := map[string]map[string]string{}
	for _, join := range []string{"global", "partitioned"} {
		d := h.start(t, join)
		rows := streamtest.NewInput(d, "ref.cities", stream.String(), stream.String())
		in := streamtest.NewInput(d, "houses", stream.String(), stream.String())
		for _, c := range changes {
			rows.PipeTo(c.partition%2, c.change)
		}
		in.PipeAll(records[:20]...)
		d.Crash()
		in.PipeAll(records[20:60]...)
		d.LoseState()
		in.PipeAll(records[60:]...)
		results := map[string]string{}
		for p := range int32(3) {
			for _, r := range d.Raw("predictions", p) {
				_, prediction, _ := strings.Cut(string(r.Value), `"prediction":`)
				results[string(r.Key)] = prediction
			}
			for _, r := range d.Raw("houses.dlq", p) {
				for _, x := range r.Headers {
					if x.Key == "millrace.dlq.class" {
						results[string(r.Key)] = string(x.Value)
					}
				}
			}
		}
		if len(results) != len(records) {
			t.Errorf("%s: %d results of %d records", join, len(results), len(records))
		}
		got[join] = results
	}
	// The history of a partitioned table goes back from the newest change of each key, that of a global one from the newest of
	// all: what had ended before it is kept longer by the former.
	for _, old := range []string{"c1 1969-07-20", "c1 2014-04-01"} {
		if got["global"][old] != "no_row" || got["partitioned"][old] == "no_row" {
			t.Errorf("%s: global %s, partitioned %s", old, got["global"][old], got["partitioned"][old])
		}
		delete(got["global"], old)
		delete(got["partitioned"], old)
	}
	if diff := cmp.Diff(got["global"], got["partitioned"]); diff != "" {
		t.Errorf("global and partitioned differ: %s", diff)
	}
	of := func(key string) string { return got["partitioned"][key] }
	for key, none := range map[string]bool{
		"none 2014-07-09": true, "c2 2014-04-01": false, "c2 2014-07-09": false, "c4 2014-04-01": true, "c4 2014-06-10": false,
		"c3 2014-06-14 00:00:00.001": true, "c3 2014-06-14 00:00:00.002": false, "c3 2014-06-29": true, "c3 2014-07-09": true, "c3 ": true, "c6 ": false,
	} {
		if (of(key) == "no_row") != none {
			t.Errorf("%s: %s", key, of(key))
		}
	}
	for _, pair := range [][2]string{ // before and after a change
		{"c3 2014-06-19", "c3 2014-06-24"}, {"c5 2014-06-26 23:59:59", "c5 2014-06-27"},
	} {
		if of(pair[0]) == of(pair[1]) {
			t.Errorf("%s and %s: %s", pair[0], pair[1], of(pair[0]))
		}
	}
	if of("c6 2014-06-24") != of("c6 2014-07-09") { // the income is what it was
		t.Errorf("c6: %s, then %s", of("c6 2014-06-24"), of("c6 2014-07-09"))
	}
}
