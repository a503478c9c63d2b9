package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

const badTables = `
version: 1
name: bad
schema: {numeric: [y, x], enum: [city], time: [{name: at, layouts: [unix_ms]}]}
source: {topic: in, event_time: at}
tables:
  zips: {topic: ref.zips, format: debezium, key: zip, join: global, schema: {numeric: [income], enum: [zone]}}
features: {income: "zips[city].income"}
train: {data: data.jsonl, label: y, ignore: [at], gbm: {ntrees: 3, min_rows: 2}}
sink: {topic: out}
dead_letter: {topic: dlq}
`

func badPipeline(t *testing.T, text string) (*App, *config.Pipeline) {
	t.Helper()
	a := &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	dir := t.TempDir()
	row := `{"y":1,"x":2,"city":"c1","at":86400000}` + "\n" + `{"y":2,"x":3,"city":"c2","at":86400001}` + "\n"
	for name, text := range map[string]string{"pipeline.yaml": text, "data.jsonl": strings.Repeat(row, 40)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := a.Load(filepath.Join(dir, "pipeline.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a, p
}

// TestBadChanges holds what becomes of each record of a table's topic that is no change as declared: it is a dead letter with a
// class that says why, whichever join, and the rows stay as they were; what follows is taken.
func TestBadChanges(t *testing.T) {
	t.Parallel()
	envelope := func(op, after string) string {
		return `{"op":"` + op + `","before":null,"after":` + after + `,"source":{"ts_us":86400000000}}`
	}
	for _, c := range []struct{ name, key, value, global, partitioned string }{
		{"no key", ``, envelope("c", `{"income":5,"zone":"a"}`), "no_key", "no_key"},
		{"unknown op", `{"zip":"c1"}`, envelope("x", `{"zip":"c1","income":5,"zone":"a"}`), "unknown_op", "unknown_op"},
		{"column of another type", `{"zip":"c1"}`, envelope("u", `{"zip":"c1","income":"five","zone":"a"}`), "schema_changed", "schema_changed"},
		{"no column left", `{"zip":"c1"}`, envelope("u", `{"zip":"c1","other":5}`), "schema_changed", "schema_changed"},
		{"truncated JSON", `{"zip":"c1"}`, `{"op":"u","after":{"zip":`, "not_json", "not_json"},
		{"no envelope", `{"zip":"c1"}`, `[1]`, "bad_envelope", "bad_envelope"},
		{"truncate", ``, `{"op":"t","before":null,"after":null,"source":{"ts_us":86400000000}}`, "", "truncate"},
		{"a message", ``, `{"op":"m","message":{},"source":{"ts_us":86400000000}}`, "", ""},
		{"a tombstone", `{"zip":"c9"}`, "", "", ""},
		{"a column that vanished", `{"zip":"c9"}`, envelope("u", `{"zip":"c9","zone":"a"}`), "", ""},
		{"a value that was not logged", `{"zip":"c1"}`, envelope("u", `{"zip":"c1","income":7,"zone":"__debezium_unavailable_value"}`), "", ""},
	} {
		for join, want := range map[string]string{"global": c.global, "partitioned": c.partitioned} {
			a, p := badPipeline(t, strings.Replace(badTables, "join: global", "join: "+join, 1))
			m, err := a.ModelOf(t.Context(), p, map[string][]record.Raw{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewScoring(p, m, ScoringOptions{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			d := streamtest.New(t, Topology(p, m.Bundle.Plan, s))
			pipe := func(key, value string) {
				r := record.Raw{Timestamp: 86_400_000}
				if key != "" {
					r.Key = []byte(key)
				}
				if value != "" {
					r.Value = []byte(value)
				}
				d.PipeRaw("ref.zips", r)
			}
			pipe(`{"zip":"c1"}`, envelope("c", `{"zip":"c1","income":1,"zone":"a"}`))
			pipe(c.key, c.value)
			pipe(`{"zip":"c2"}`, envelope("c", `{"zip":"c2","income":2,"zone":"b"}`))
			in := streamtest.NewInput(d, "in", stream.String(), stream.String())
			income := func(city string) float64 {
				in.Pipe("k", `{"x":1,"city":"`+city+`","at":86400001}`, 1)
				f := s.Workers[0].Frame()
				for _, col := range f.Columns {
					if col.Name == "income" {
						return col.Numbers[0]
					}
				}
				t.Fatal("no input")
				return 0
			}
			first := 1.0
			if c.name == "a value that was not logged" {
				first = 7
			}
			if got := income("c1"); got != first && (c.name != "truncate" || join != "global") {
				t.Errorf("%s, %s: the row before has %v", c.name, join, got)
			}
			if got := income("c2"); got != 2 {
				t.Errorf("%s, %s: the row after has %v", c.name, join, got)
			}
			var letters []string
			for _, l := range d.Raw("dlq", 0) {
				for _, h := range l.Headers {
					if h.Key == "millrace.dlq.class" {
						letters = append(letters, string(h.Value))
					}
				}
				if string(l.Value) != c.value {
					t.Errorf("%s, %s: the dead letter has the value %s", c.name, join, l.Value)
				}
			}
			if got := strings.Join(letters, " "); got != want {
				t.Errorf("%s, %s: dead letters %q, want %q", c.name, join, got, want)
			}
		}
	}
}

// TestEmptyTable trains and predicts with a table whose topic has no records; one that is required stops the training, and says
// so.
func TestEmptyTable(t *testing.T) {
	t.Parallel()
	a, p := badPipeline(t, badTables)
	if _, err := a.ModelOf(t.Context(), p, nil); err != nil {
		t.Errorf("a table without rows: %v", err)
	}
	a, p = badPipeline(t, strings.Replace(badTables, "key: zip,", "key: zip, required: true,", 1))
	if _, err := a.ModelOf(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "no_row in zips") {
		t.Errorf("a required table without rows: %v", err)
	}
}

// TestPartitionedKeys refuses a pipeline whose partitioned table is looked up by keys of which a record cannot know one.
func TestPartitionedKeys(t *testing.T) {
	t.Parallel()
	for _, feature := range []string{"zips[lower(city)].income", "zips[zips[city].zone].income"} {
		text := strings.Replace(badTables, "join: global", "join: partitioned", 1)
		text = strings.Replace(text, "features: {income", "features: {other: '"+feature+"', income", 1)
		a := &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
		file := filepath.Join(t.TempDir(), "pipeline.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := a.Load(file, nil)
		if err == nil || !strings.Contains(err.Error(), "tables.zips.join") {
			t.Errorf("%s: %v", feature, err)
		}
	}
}
