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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/cdc"
	"millrace.dev/internal/config"
	"millrace.dev/internal/sample"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

const sampledPipeline = `
version: 1
name: houses
schema:
  time: [{name: at, layouts: [unix_ms]}]
  numeric: [price, area]
  enum: [city]
source: {topic: houses, key: city, event_time: at}
tables:
  cities: {topic: ref.cities, data: cities.jsonl, key: city, history: 0s, schema: {numeric: [income], enum: [zone], time: [{name: since, layouts: [unix_ms]}]}}
windows:
  recent: {key: city, over: 1h, aggregates: {n: count(), mean_area: mean(area)}}
features:
  wealth: cities[city].income / area
  zone: cities[city].zone
  busy: recent.n
  relative: area / recent.mean_area
train: {data: sales.jsonl, label: price, ignore: [at], gbm: {ntrees: 5, min_rows: 2}}
sink: {topic: predictions}
dead_letter: {topic: houses.dlq}
sample_features: {rate: 1}
`

// sampling is a trained pipeline with a table and a window, and records for it.
type sampling struct {
	a     *app.App
	dir   string
	model *model.Loaded
	lines []string // of the records
}

const sampleSeed = 11

// sampledCities are the rows of the table; the third city has none.
func sampledCities() []string {
	return []string{`{"city":"c0","income":50.5,"zone":"north","since":1000}`, `{"city":"c1","income":0.1,"zone":"\"süd\"","since":null}`}
}

func newSampling(t *testing.T) *sampling {
	t.Helper()
	return newSamplingOf(t, sampledPipeline)
}

func newSamplingOf(t *testing.T, pipeline string) *sampling {
	t.Helper()
	t.Logf("seed %d", sampleSeed)
	r := rand.New(rand.NewPCG(sampleSeed, 0))
	s := &sampling{
		a:   &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"},
		dir: t.TempDir(),
	}
	house := func(i int) string {
		return fmt.Sprintf(`"at":%d,"area":%v,"city":"c%d"`, 1_700_000_000_000+60_000*i, 50+200*r.Float64(), r.IntN(3))
	}
	var sales strings.Builder
	for i := range 400 {
		fmt.Fprintf(&sales, "{%s,\"price\":%d}\n", house(i), r.IntN(1000))
	}
	for i := range 120 {
		s.lines = append(s.lines, "{"+house(i)+"}")
	}
	s.put(t, "pipeline.yaml", pipeline)
	s.put(t, "sales.jsonl", sales.String())
	s.put(t, "cities.jsonl", strings.Join(sampledCities(), "\n")+"\n")
	if _, err := s.a.Train(t.Context(), app.TrainOptions{File: filepath.Join(s.dir, "pipeline.yaml"), Threads: 1}); err != nil {
		t.Fatal(err)
	}
	var err error
	p := s.load(t)
	if s.model, err = s.a.LoadModel(t.Context(), p.Model, p.Name, "houses@1"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sampling) put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *sampling) load(t *testing.T, set ...string) *config.Pipeline {
	t.Helper()
	p, err := s.a.Load(filepath.Join(s.dir, "pipeline.yaml"), set)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs the topology over the records, with faults, and returns the driver.
func (s *sampling) run(t *testing.T, set ...string) *streamtest.Driver {
	t.Helper()
	p := s.load(t, set...)
	scoring, err := app.NewScoring(p, s.model, app.ScoringOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	d := streamtest.New(t, app.Topology(p, s.model.Bundle.Plan, scoring), streamtest.Partitions(3))
	cities := streamtest.NewInput(d, "ref.cities", stream.String(), stream.String())
	for i, row := range sampledCities() {
		cities.Pipe(fmt.Sprintf("c%d", i), row, 4)
	}
	in := streamtest.NewInput(d, "houses", stream.String(), stream.String())
	for i, line := range s.lines {
		var key struct {
			City string `json:"city"`
		}
		if err := json.Unmarshal([]byte(line), &key); err != nil {
			t.Fatal(err)
		}
		in.Pipe(key.City, line, int64(2000+i))
		switch i {
		case 30:
			in.Pipe("c1", `{"area":"wrong"}`, 9) // a dead letter, and no sample
		case 40:
			d.Crash()
		case 60:
			d.Abort()
		case 80:
			d.LoseState()
		}
	}
	return d
}

// samplesOf returns the texts of the samples, and of how many predictions.
func samplesOf(d *streamtest.Driver, topic string) (texts [][]byte, sources map[string]bool, predictions int) {
	sources = map[string]bool{}
	for p := range int32(3) {
		for _, r := range d.Raw(topic, p) {
			texts = append(texts, r.Value)
			sources[string(r.Headers[len(r.Headers)-1].Value)] = true
		}
		predictions += len(d.Raw("predictions", p))
	}
	return texts, sources, predictions
}

func (s *sampling) verify(t *testing.T, texts [][]byte, history string, rows map[string]table.Rows) (path, past *batch.Comparison) {
	t.Helper()
	var samples []*sample.Sample
	for _, text := range texts {
		one, err := sample.Decode(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		samples = append(samples, one)
	}
	path, past = batch.NewComparison(2), batch.NewComparison(2)
	if err := batch.Verify(t.Context(), batch.VerifyOptions{Samples: samples, Model: s.model, History: history, Rows: rows}, path, past); err != nil {
		t.Fatal(err)
	}
	return path, past
}

// rows returns the table with some rows.
func (s *sampling) rows(t *testing.T, lines ...string) map[string]table.Rows {
	t.Helper()
	schema := s.model.Bundle.Plan.Tables()[0].Schema
	rows, err := table.New(table.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		var v struct {
			City   string  `json:"city"`
			Income float64 `json:"income"`
			Zone   string  `json:"zone"`
			Since  *int64  `json:"since"`
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		since := record.MissingTime
		if v.Since != nil {
			since = *v.Since * 1000
		}
		rows.Apply(&cdc.Change{Op: cdc.Upsert, Key: v.City, Row: &record.Row{Numbers: []float64{v.Income}, Times: []int64{since}, Texts: []record.Text{{S: v.Zone, OK: true}}}})
	}
	return map[string]table.Rows{"cities": rows}
}

// faults returns the features of a comparison that differ, with what was counted.
func faults(c *batch.Comparison) []string {
	var list []string
	for _, f := range c.Features {
		if f.Mismatch+f.Missing+f.Extra > 0 {
			list = append(list, fmt.Sprintf("%s %s: %d %d %d", f.Kind, f.Feature, f.Mismatch, f.Missing, f.Extra))
		}
	}
	slices.Sort(list)
	return list
}

// TestSamples holds that a sample is committed with its prediction, whatever fails on the way, and that batch computes the
// same of it, from what was logged and from the history.
func TestSamples(t *testing.T) {
	t.Parallel()
	s := newSampling(t)
	history := s.put(t, "history.jsonl", strings.Join(s.lines, "\n")+"\n")
	var past *batch.Comparison
	for _, join := range []config.Join{config.JoinPartitioned, config.JoinGlobal} {
		texts, sources, predictions := samplesOf(s.run(t, "tables.cities.join="+string(join)), "houses.features")
		if len(texts) != len(s.lines) || len(sources) != len(texts) || predictions != len(texts) {
			t.Fatalf("%s: %d samples of %d records, %d predictions", join, len(texts), len(sources), predictions)
		}
		var path *batch.Comparison
		path, past = s.verify(t, texts, history, s.rows(t, sampledCities()...))
		for name, c := range map[string]*batch.Comparison{"path": path, "history": past} {
			if c.Records != len(texts) || c.Differing != 0 || len(faults(c)) > 0 {
				t.Errorf("%s, %s: %+v: %v", join, name, c, faults(c))
			}
		}
	}
	var compared []string
	for _, f := range past.Features {
		compared = append(compared, f.Kind+" "+f.Feature)
	}
	slices.Sort(compared)
	want := []string{
		"aggregate recent.mean_area", "aggregate recent.n", "column cities.income", "column cities.since", "column cities.zone",
		"input area", "input busy", "input city", "input relative", "input wealth", "input zone", "look-up cities", "prediction prediction", "time event_time",
	}
	if diff := cmp.Diff(want, compared); diff != "" {
		t.Error(diff)
	}
}

// TestSampleRate holds that the same records are sampled each time, and about as many as asked for.
func TestSampleRate(t *testing.T) {
	t.Parallel()
	s := newSampling(t)
	_, half, predictions := samplesOf(s.run(t, "sample_features.rate=0.5", "sample_features.topic=some"), "some")
	_, again, _ := samplesOf(s.run(t, "sample_features.rate=0.5", "sample_features.topic=some"), "some")
	if diff := cmp.Diff(half, again); diff != "" || predictions != len(s.lines) || len(half) < 40 || len(half) > 80 {
		t.Errorf("%d of %d: %s", len(half), predictions, diff)
	}
	if d := s.run(t, "sample_features.rate=0"); slices.Contains(d.Topics(), "houses.features") {
		t.Error("samples that nobody asked for")
	}
}

// TestVerifyFindsSkew plants differences, each of which has to be found at the feature where it is.
func TestVerifyFindsSkew(t *testing.T) {
	t.Parallel()
	s := newSampling(t)
	texts, _, _ := samplesOf(s.run(t), "houses.features")
	k := slices.IndexFunc(texts, func(b []byte) bool {
		return bytes.Contains(b, []byte(`"key":"c0","row":{`)) && bytes.Contains(b, []byte(`"windows":{"recent":{"n":3,`))
	})
	history := s.put(t, "history.jsonl", strings.Join(s.lines, "\n")+"\n")
	for name, tc := range map[string]struct {
		old, new   string
		path, past []string // that have to be among the faults
	}{
		"row":       {`"income":50.5`, `"income":50.6`, []string{"input wealth: 1 0 0"}, []string{"column cities.income: 1 0 0"}},
		"no row":    {`"row":{"since":1000000,"income":50.5,"zone":"north"}`, `"row":null`, []string{"input wealth: 0 1 0", "input zone: 0 1 0"}, []string{"look-up cities: 0 1 0"}},
		"column":    {`"income":50.5,`, ``, []string{"column cities.income: 0 0 1", "input wealth: 0 1 0"}, []string{"column cities.income: 0 0 1"}},
		"aggregate": {`"recent":{"n":3,`, `"recent":{"n":4,`, []string{"input busy: 1 0 0"}, []string{"aggregate recent.n: 1 0 0"}},
		"input":     {`"zone":"north"}`, `"zone":"south"}`, nil, nil},
		"missing":   {`"busy":3`, `"busy":null`, []string{"input busy: 0 1 0"}, []string{"input busy: 0 1 0"}},
		"unknown":   {`"busy":3`, `"busy":3,"more":1`, []string{"input more: 0 0 1"}, []string{"input more: 0 0 1"}},
		"look-up":   {`"table":"cities"`, `"table":"towns"`, []string{"look-up cities: 0 0 1", "look-up towns: 0 0 1"}, []string{"look-up cities: 0 0 1"}},
		"time":      {`"event_time":17`, `"event_time":18`, []string{"time event_time: 1 0 0"}, []string{"time event_time: 1 0 0"}},
		"type":      {`"busy":3`, `"busy":"3"`, []string{"input busy: 1 0 0"}, []string{"input busy: 1 0 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			planted := slices.Clone(texts)
			planted[k] = bytes.Replace(texts[k], []byte(tc.old), []byte(tc.new), 1)
			if name == "input" {
				planted[k] = bytes.Replace(texts[k], []byte(`"inputs":{"area":`), []byte(`"inputs":{"area":1`), 1)
				tc.path, tc.past = []string{"input area: 1 0 0"}, []string{"input area: 1 0 0"}
			}
			if bytes.Equal(planted[k], texts[k]) {
				t.Fatalf("nothing planted: %s", texts[k])
			}
			path, past := s.verify(t, planted, history, s.rows(t, sampledCities()...))
			for level, x := range map[string]struct {
				c    *batch.Comparison
				want []string
			}{"path": {path, tc.path}, "history": {past, tc.past}} {
				got := faults(x.c)
				for _, want := range x.want {
					if !slices.Contains(got, want) {
						t.Errorf("%s: want %s among %v", level, want, got)
					}
				}
				if x.c.Differing != 1 {
					t.Errorf("%s: %d samples differ", level, x.c.Differing)
				}
			}
		})
	}
	t.Run("table", func(t *testing.T) {
		t.Parallel()
		cities := sampledCities()
		path, past := s.verify(t, texts, history, s.rows(t, cities[0], strings.Replace(cities[1], "0.1", "0.2", 1)))
		if path.Differing != 0 || past.Differing == 0 || !strings.HasPrefix(strings.Join(faults(past), "\n"), "column cities.income: ") {
			t.Errorf("path %d, history %v", path.Differing, faults(past))
		}
	})
	t.Run("history", func(t *testing.T) {
		t.Parallel()
		short := s.put(t, "short.jsonl", strings.Join(s.lines[1:], "\n")+"\n")
		_, past := s.verify(t, texts, short, s.rows(t, sampledCities()...))
		if past.NotFound != 1 || past.Differing < 2 || !strings.HasPrefix(strings.Join(faults(past), "\n"), "aggregate recent.") {
			t.Errorf("%+v: %v", past, faults(past))
		}
	})
}
