package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/record"
	"millrace.dev/streamtest"
)

// flatsFile has what the path can do without state: enums with levels that training has not seen, missing values, a table, fitted features,
// times, rules.
const flatsFile = `
version: 1
name: flats
schema: {time: [date], numeric: [rent, size, floor], enum: [city, heating], string: [id]}
source: {topic: flats}
tables:
  cities: {data: cities.csv, key: city, schema: {numeric: [income], enum: [zone]}}
features:
  share: size / (floor + 1)
  month: month(date)
  income: cities[city].income
  zone: cities[city].zone
  scaled: standard(log(size))
train: {data: flats.csv, label: rent, ignore: [id, date], gbm: {ntrees: 25, min_rows: 3}}
checks: {record: [{name: small, rule: size < 400, otherwise: dead_letter}, {name: low, rule: floor < 20, otherwise: warn}]}
sink: {topic: out, field: predicted}
dead_letter: {topic: dlq}
`

// flats is a pipeline with an approved model, and records for it.
type flats struct {
	a       *app.App
	file    string
	records []string
	want    []string // the predictions of batch; "" where there is none
}

const flatsSeed = 11

func newFlats(t *testing.T, file string) *flats {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(flatsSeed, 0))
	f := &flats{
		a:    &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"},
		file: filepath.Join(dir, "pipeline.yaml"),
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("pipeline.yaml", file)
	put("cities.csv", "city,income,zone\nc0,31.5,north\nc1,,south\nc2,70.125,\n")
	var csv, lines strings.Builder
	csv.WriteString("date,rent,size,floor,city,heating,id\n")
	for i := range 500 {
		size, floor, city, kind := 20+r.Float64()*180, r.IntN(12), r.IntN(4), r.IntN(3)
		fmt.Fprintf(&csv, "2025-%02d-%02d,%g,%g,%d,c%d,%s,%d\n", 1+r.IntN(12), 1+r.IntN(28), size*float64(5+city)+float64(floor)*7+float64(kind)*400, size, floor, city, heating(kind), i)
	}
	put("flats.csv", csv.String())
	for i := range 700 {
		f.records = append(f.records, flatRecord(r, i))
		lines.WriteString(f.records[i] + "\n")
	}
	put("new.jsonl", lines.String())
	if _, err := f.a.Train(t.Context(), app.TrainOptions{File: f.file, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	f.approve(t, "flats@1")
	f.want = f.batch(t, "flats@1")
	return f
}

// heating returns a level.
func heating(i int) string { return []string{"h", "h1", "h2", "h3"}[i] }

// flatRecord returns a record, whose id is i: some lack fields, some are wrong.
func flatRecord(r *rand.Rand, i int) string {
	fields := []string{fmt.Sprintf(`"id":"%d"`, i)}
	add := func(often int, text string) {
		if r.IntN(often) > 0 {
			fields = append(fields, text)
		}
	}
	size := strconv.FormatFloat(20+r.Float64()*180, 'g', -1, 64)
	switch r.IntN(25) {
	case 0:
		size = "12e2" // which a rule refuses
	case 1:
		size = `"large"`
	case 2:
		size = "null"
	}
	add(12, `"size": `+size)
	add(9, `"floor":`+strconv.Itoa(r.IntN(25)))
	add(9, fmt.Sprintf(`"city":"c%d"`, r.IntN(6)))
	add(9, `"heating" : "`+heating(r.IntN(4))+`"`)
	add(9, fmt.Sprintf(`"date":"2026-%02d-11"`, 1+r.IntN(13)))
	add(3, `"more":[1,{"é":"\u00e9"}]`)
	r.Shuffle(len(fields), func(i, k int) { fields[i], fields[k] = fields[k], fields[i] })
	return "{" + strings.Join(fields, ", ") + "}"
}

func (f *flats) approve(t *testing.T, ref string) {
	t.Helper()
	p := f.load(t)
	reg, err := registry.Open(p.Model.Registry, registry.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Approve(t.Context(), ref, "flats", registry.Decision{By: "eve", Reason: "fine"}); err != nil {
		t.Fatal(err)
	}
}

// load reads the pipeline file.
func (f *flats) load(t *testing.T, set ...string) *config.Pipeline {
	t.Helper()
	p, err := f.a.Load(f.file, set)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// batch returns what predict makes of the records.
func (f *flats) batch(t *testing.T, ref string) []string {
	t.Helper()
	var out bytes.Buffer
	if _, err := f.a.Predict(t.Context(), app.PredictOptions{File: f.file, Model: ref, Data: filepath.Join(filepath.Dir(f.file), "new.jsonl"), Out: "-", Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	return f.byID(t, strings.Split(strings.TrimSpace(out.String()), "\n"))
}

// byID puts predictions in the order of the records.
func (f *flats) byID(t *testing.T, lines []string) []string {
	t.Helper()
	all := make([]string, len(f.records))
	for _, line := range lines {
		var of struct{ ID string }
		if err := json.Unmarshal([]byte(line), &of); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		i, err := strconv.Atoi(of.ID)
		if err != nil || all[i] != "" {
			t.Fatalf("%s: %v, or it comes twice", line, err)
		}
		all[i] = line
	}
	return all
}

// serve has millrace serve answer, until the test ends, and returns its URL.
func (f *flats) serve(t *testing.T, set ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		_, err := f.a.Serve(ctx, app.ServeOptions{
			Files: []string{f.file}, Set: set, HTTP: "127.0.0.1:0", Threads: 2, Started: func(s *app.Serving) { started <- "http://" + s.Address },
		})
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case url := <-started:
		return url
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return ""
	}
}

// stream returns what a stream makes of the records, with the headers of each, and how many dead letters there are of each class.
func (f *flats) stream(t *testing.T, set ...string) (lines []string, headers []map[string]string, letters map[string]int) {
	t.Helper()
	p := f.load(t, set...)
	m, err := f.a.LoadModel(t.Context(), p.Model, p.Name, "flats@1")
	if err != nil {
		t.Fatal(err)
	}
	s, done, err := f.a.Connected(t.Context(), p, m)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	d := streamtest.New(t, app.Topology(p, m.Bundle.Plan, s), streamtest.Partitions(3))
	for i, r := range f.records {
		d.PipeRaw("flats", record.Raw{Partition: int32(i % 3), Key: fmt.Append(nil, i), Value: []byte(r), Timestamp: int64(1 + i)})
	}
	d.Commit()
	headers, letters = make([]map[string]string, len(f.records)), map[string]int{}
	var out []string
	for partition := range int32(3) {
		for _, r := range d.Raw("out", partition) {
			out = append(out, string(r.Value))
			i, err := strconv.Atoi(string(r.Key))
			if err != nil {
				t.Fatal(err)
			}
			headers[i] = map[string]string{}
			for _, h := range r.Headers {
				headers[i][h.Key] = string(h.Value)
			}
		}
	}
	for _, drop := range d.Drops() {
		letters[drop.Problem.Class]++
	}
	return f.byID(t, out), headers, letters
}

// TestServedBits has one data set go through a file, a stream, a stream whose model is behind millrace serve, over each of its protocols,
// and through POST /predict: all make the same bytes of it, and refuse the same records.
func TestServedBits(t *testing.T) {
	t.Parallel()
	f := newFlats(t, flatsFile)
	url := f.serve(t)
	embedded, _, refused := f.stream(t)
	if d := cmp.Diff(f.want, embedded); d != "" {
		t.Errorf("the stream differs from batch (-batch +stream):\n%s", d)
	}
	if len(refused) < 3 { // a rule, a time, a number
		t.Errorf("records are refused for %v alone: too little for a test", refused)
	}
	for _, protocol := range []string{"oip", "oip-grpc", "predict"} {
		set := []string{"model.serve.url=" + url, "model.serve.protocol=" + protocol, "model.serve.batch=50", "model.serve.version=registry", "model.serve.timeout=2s"}
		got, headers, letters := f.stream(t, set...)
		if d := cmp.Diff(f.want, got); d != "" {
			t.Errorf("%s: the stream differs from batch (-batch +stream):\n%s", protocol, d)
		}
		if d := cmp.Diff(refused, letters); d != "" {
			t.Errorf("%s: other records are refused (-embedded +remote):\n%s", protocol, d)
		}
		for i, h := range headers {
			if h != nil && (h["millrace.model"] != "flats@1" || h["millrace.remote"] != url || !strings.HasPrefix(h["millrace.digest"], "sha256:")) {
				t.Fatalf("%s: record %d has headers %v", protocol, i, h)
			}
		}
	}
	for _, size := range []int{1, 7, 700} {
		if d := cmp.Diff(f.want, f.post(t, url, size)); d != "" {
			t.Errorf("POST /predict of %d at a time differs from batch (-batch +served):\n%s", size, d)
		}
	}
}

// post returns what POST /predict makes of the records, so many at a time.
func (f *flats) post(t *testing.T, url string, size int) []string {
	t.Helper()
	var lines []string
	for i := 0; i < len(f.records); i += size {
		body := strings.Join(f.records[i:min(i+size, len(f.records))], "\n")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/predict", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v: %s", resp.Status, err, answer)
		}
		var of struct {
			Predictions []struct {
				Record  json.RawMessage
				Problem *struct{ Stage, Class, Field, Reason string }
			}
		}
		if err := json.Unmarshal(answer, &of); err != nil {
			t.Fatal(err)
		}
		for _, p := range of.Predictions {
			switch {
			case (p.Record == nil) == (p.Problem == nil):
				t.Fatalf("a row has neither a record nor a problem, or both: %s", answer)
			case p.Record != nil:
				lines = append(lines, string(p.Record))
			}
		}
	}
	return f.byID(t, lines)
}
