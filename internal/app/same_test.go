package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/config"
)

const samePipeline = `
version: 1
name: same
schema: {numeric: [y, x], enum: [city], time: [at]}
source: {topic: in, event_time: at}
tables:
  zips: {topic: ref.zips, key: zip, schema: {numeric: [income, area], enum: [zone]}}
windows:
  sales: {key: city, over: 30d, where: x > 0, aggregates: {n: count(), mean: "mean(x)", back: "lag(x, 2)"}}
features:
  income: zips[city].income
  n: sales.n
train: {data: data.jsonl, label: y, ignore: [at], gbm: {ntrees: 3, min_rows: 2}}
sink: {topic: out}
dead_letter: {topic: dlq}
`

// TestSameFeatures holds that run refuses a file with other fields, features, tables or windows than the model was trained
// with, and names what is another.
func TestSameFeatures(t *testing.T) {
	t.Parallel()
	a := &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	load := func(text string) *config.Pipeline {
		t.Helper()
		dir := t.TempDir()
		var data strings.Builder
		for i := range 40 {
			data.WriteString(`{"y":` + string(rune('0'+i%7)) + `,"x":1,"city":"c` + string(rune('0'+i%3)) + `","at":"2025-01-01"}` + "\n")
		}
		for name, content := range map[string]string{"pipeline.yaml": text, "data.jsonl": data.String()} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := a.Load(filepath.Join(dir, "pipeline.yaml"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := load(samePipeline)
	m, err := a.ModelOf(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sameFeatures(p, m.Bundle); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"  n: sales.n\n", "", `the model was trained with the input "n", which the pipeline file does not have`},
		{"n: sales.n\n", "n: sales.n\n  extra: x + 1\n", `the pipeline file has the input "extra", which the model was not trained with`},
		{"  n: sales.n\n", "  count: sales.n\n", `the pipeline file has the input "count", which the model was not trained with`},
		{"income: zips[city].income", "income: zips[city].area", `the feature "income" is declared otherwise than when the model was trained`},
		{"numeric: [y, x]", "numeric: [y, {name: x, quoted: true}]", `the field "x" is declared otherwise than when the model was trained`},
		{"numeric: [y, x]", "numeric: [y, x, z]", `the pipeline file has the field "z", which the model was not trained with`},
		{", event_time: at", "", `source.event_time is "", and was "at" when the model was trained`},
		{"numeric: [income, area]", "numeric: [income, area, pop]", `tables.zips.schema has the column "pop", which the model was not trained with`},
		{"numeric: [income, area]", "numeric: [income]", `the model was trained with the column "area" of the table zips, which tables.zips.schema does not have`},
		{"numeric: [income, area], enum: [zone]", "numeric: [income], enum: [zone, area]", `tables.zips.schema: the column "area" is of type enum, and was of type numeric when the model was trained`},
		{"numeric: [income, area]", "numeric: [area, {name: income, quoted: true}]", `tables.zips.schema: the column "income" is declared otherwise than when the model was trained`},
		{"over: 30d", "over: 7d", "windows.sales: over is 168h0m0s, and was 720h0m0s when the model was trained"},
		{"over: 30d", "over: 30d, hop: 1h", "windows.sales: hop was another, the default, when the model was trained"},
		{"over: 30d", "over: 30d, grace: 0s", "windows.sales: grace was another, the default, when the model was trained"},
		{"key: city, over", "key: lower(city), over", "windows.sales: key was another when the model was trained"},
		{"where: x > 0", "where: x > 1", "windows.sales: where, or what the aggregates are of, was another when the model was trained"},
		{`mean: "mean(x)"`, `mean: "mean(x + 1)"`, "windows.sales: where, or what the aggregates are of, was another when the model was trained"},
		{"lag(x, 2)", "lag(x, 3)", `windows.sales: the aggregate "back" was another when the model was trained`},
		{`mean: "mean(x)"`, `avg: "mean(x)"`, `windows.sales: the aggregate "avg" was not there when the model was trained`},
		{`mean: "mean(x)", `, "", `windows.sales: there was an aggregate "mean" when the model was trained`},
	} {
		if !strings.Contains(samePipeline, c.old) {
			t.Fatal(c.old)
		}
		err := sameFeatures(load(strings.Replace(samePipeline, c.old, c.new, 1)), m.Bundle)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.new, err, c.want)
		}
	}
}
