package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/server"
	"millrace.dev/record"
)

// written returns what a stream would write for a record, "" for a record without a prediction.
func written(t *testing.T, p *pipeline.Path, value string) string {
	t.Helper()
	w, err := p.NewWorker()
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBatch()
	b.Append(record.Raw{Value: []byte(value), Timestamp: -1})
	w.Process(b)
	return string(w.Output(0))
}

const bare = `{"bedrooms":0,"sqft_living":1000}`

// TestPredictOne answers with the bytes that a stream would write, or with why there are none.
func TestPredictOne(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	for i, value := range w.records {
		body := string(value)
		switch i {
		case 0:
			body = "\n " + body + "\n"
		case 1:
			body = strings.Replace(body, `"bedrooms":`, `"extra":[{"a":"}]"}],"bedrooms" : `, 1)
		case 2:
			body = `{"sqft_living":5000}`
		}
		want := written(t, w.houses, body)
		for _, target := range []string{"/predict", "/predict/house-prices", "/predict/house-prices/versions/2", "/predict/house-prices/versions/latest"} {
			a := s.send("POST", target, body, "Content-Type", "application/json")
			if a.status != http.StatusOK || a.body != want || want == "" {
				t.Fatalf("record %d at %s: %d %s, want %s", i, target, a.status, a.body, want)
			}
			if m, d := a.header.Get("Millrace-Model"), a.header.Get("Millrace-Digest"); m != "house-prices@2" || d != "sha256:0123" {
				t.Errorf("the model is %s with the digest %s", m, d)
			}
			if got, want := a.header.Get("Millrace-Checks"), map[bool]string{true: "large"}[i == 2]; i < 3 && got != want {
				t.Errorf("record %d breaks %q, want %q", i, got, want)
			}
		}
	}
	for body, want := range map[string]string{
		bare:                   `{"error":"the record cannot be predicted: the record breaks the rule bedrooms > 0","problem":{"stage":"check","class":"bare","field":"bedrooms","reason":"the record breaks the rule bedrooms > 0"}}`,
		`{"bedrooms":"three"}`: `{"error":"the record cannot be predicted: byte 12: a numeric field cannot be a string","problem":{"stage":"decode","class":"wrong_type","field":"bedrooms","reason":"byte 12: a numeric field cannot be a string"}}`,
		`{"bedrooms":3`:        `{"error":"the record cannot be predicted: byte 13: the record ends inside an object or an array","problem":{"stage":"decode","class":"invalid_json","reason":"byte 13: the record ends inside an object or an array"}}`,
		`3`:                    `{"error":"the record cannot be predicted: byte 0: the record is not an object","problem":{"stage":"decode","class":"not_object","reason":"byte 0: the record is not an object"}}`,
	} {
		if a := s.send("POST", "/predict", body); a.status != http.StatusUnprocessableEntity || a.body != want || a.header.Get("Millrace-Model") != "house-prices@2" {
			t.Errorf("%s: %d %s\nwant %s", body, a.status, a.body, want)
		}
	}
}

// predictions is the answer to a list of records.
type predictions struct {
	Predictions []struct {
		Record      json.RawMessage   `json:"record"`
		Problem     map[string]string `json:"problem"`
		Checks      []string          `json:"checks"`
		Explanation *struct {
			Prediction float64 `json:"prediction"`
			Baseline   float64 `json:"baseline"`
			Inputs     []struct {
				Name  string  `json:"name"`
				Value any     `json:"value"`
				Adds  float64 `json:"adds"`
			} `json:"inputs"`
		} `json:"explanation"`
	} `json:"predictions"`
	Model  string `json:"model"`
	Digest string `json:"digest"`
}

// TestPredictList answers records in their order, each on its own.
func TestPredictList(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	records := []string{string(w.records[0]), bare, ` {"sqft_living":5000} `, `{"bedrooms":}`, string(w.records[1]), `"text"`}
	array := "\n[" + strings.Join(records, " , ") + "]\n"
	lines := strings.Join(records, "\n\n") + "\r\n"
	for kind, body := range map[string]string{"application/json": array, "application/x-ndjson; charset=utf-8": lines} {
		a := s.send("POST", "/predict/house-prices/versions/1", body, "Content-Type", kind)
		var got predictions
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", kind, a.status, a.body)
		}
		if got.Model != "house-prices@1" || got.Digest != "sha256:0123" || len(got.Predictions) != len(records) {
			t.Fatalf("%s: %+v", kind, got)
		}
		for i, p := range got.Predictions {
			want := written(t, w.houses, strings.TrimSpace(records[i]))
			if string(p.Record) != want || (want == "") != (len(p.Problem) > 0) {
				t.Errorf("%s, record %d: %s, %v, want %s", kind, i, p.Record, p.Problem, want)
			}
		}
		if diff := cmp.Diff([]string{"large"}, got.Predictions[2].Checks); diff != "" {
			t.Error(diff)
		}
		if p := got.Predictions[3].Problem; p["stage"] != "decode" || p["class"] != "invalid_json" || p["reason"] == "" {
			t.Errorf("%v", p)
		}
	}
	for _, body := range []string{"[]", " [ ] "} {
		if a := s.send("POST", "/predict", body); a.status != http.StatusOK || a.body != `{"predictions":[],"model":"house-prices@2","digest":"sha256:0123"}` {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

// TestPredictExplain takes predictions apart.
func TestPredictExplain(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	one := s.send("POST", "/predict?explain=true", string(w.records[0]))
	list := s.send("POST", "/predict?explain=1", fmt.Sprintf("[%s,%s]", w.records[0], bare))
	var got predictions
	if err := json.Unmarshal([]byte(list.body), &got); err != nil {
		t.Fatal(err)
	}
	e := got.Predictions[0].Explanation
	if e == nil || got.Predictions[1].Explanation != nil || got.Predictions[1].Problem["class"] != "bare" {
		t.Fatal(list.body)
	}
	var record struct {
		Price float64 `json:"predicted_price"`
	}
	if err := json.Unmarshal(got.Predictions[0].Record, &record); err != nil {
		t.Fatal(err)
	}
	sum := e.Baseline
	var names []string
	for _, in := range e.Inputs {
		sum += in.Adds
		names = append(names, in.Name)
	}
	if e.Prediction != record.Price || sum < record.Price*0.999999 || sum > record.Price*1.000001 {
		t.Errorf("%v and the inputs make %v, the prediction is %v", e.Baseline, sum, record.Price)
	}
	if diff := cmp.Diff(strings.Fields("bedrooms bathrooms sqft_living floors condition city age"), names); diff != "" {
		t.Error(diff)
	}
	if want := strings.TrimPrefix(strings.Split(list.body, `},{"problem"`)[0], `{"predictions":[`) + "}"; one.body != want || one.status != http.StatusOK {
		t.Errorf("one record: %d %s\nwant %s", one.status, one.body, want)
	}
	if a := s.send("POST", "/predict?explain=false", string(w.records[0])); a.body != written(t, w.houses, string(w.records[0])) {
		t.Errorf("not explained: %s", a.body)
	}
}

// TestPredictRefused says what is wrong with requests.
func TestPredictRefused(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{Limits: server.Limits{Body: 100_000}})
	good := string(w.records[0])
	for _, test := range []struct {
		name, target, body, kind string
		status                   int
		text                     string
	}{
		{"no record", "/predict", "", "", 400, "there is no record"},
		{"blanks", "/predict", " \n", "", 400, "there is no record"},
		{"half a list", "/predict", "[" + good, "", 400, "want one JSON object, or a list of them"},
		{"a list with a hole", "/predict", "[" + good + ",,]", "", 400, "want one JSON object, or a list of them"},
		{"a list that ends in a comma", "/predict", "[" + good + ",]", "", 400, "want one JSON object, or a list of them"},
		{"something behind a list", "/predict", "[" + good + "] x", "", 400, "something follows the list of records"},
		{"too many", "/predict", "[" + strings.Repeat("1,", 1<<14) + "1]", "", 413, "more than 16384 records"},
		{"too many lines", "/predict", strings.Repeat("1\n", 1<<14+1), "application/x-ndjson", 413, "more than 16384 records"},
		{"too large", "/predict", strings.Repeat(" ", 100_001), "", 413, "the body has more than 100000 bytes"},
		{"CSV", "/predict", "a,b", "text/csv", 415, "want Content-Type: application/json"},
		{"no type at all", "/predict", good, "/", 415, "want Content-Type: application/json"},
		{"another model", "/predict/nothing", good, "", 404, `there is no such model: "nothing"`},
		{"another version", "/predict/house-prices/versions/4", good, "", 404, "there is no such version that is approved: house-prices@4"},
		{"no version", "/predict/house-prices/versions/champion", good, "", 404, "versions are numbers from 1"},
		{"explain what", "/predict?explain=perhaps", good, "", 400, "explain is true or false"},
		{"windows", "/predict/busy-streets", good, "", 501, "only a stream knows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := s.send("POST", test.target, test.body, "Content-Type", test.kind)
			var e map[string]string
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != test.status || len(e) != 1 || !strings.Contains(e["error"], test.text) {
				t.Errorf("%d %s, want %d with %q", a.status, a.body, test.status, test.text)
			}
		})
	}
	if a := s.send("GET", "/predict", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow: %s", a.status, a.header.Get("Allow"))
	}
	large := `{"bedrooms":3,"note":"` + strings.Repeat("x", 10_000) + `"}`
	if a := s.send("POST", "/predict", large); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"class":"too_large"`) {
		t.Errorf("a record that is too large: %d %s", a.status, a.body)
	}
}

// TestPredictCompressed takes and gives compressed bodies.
func TestPredictCompressed(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{Limits: server.Limits{Body: 20_000}})
	list := "[" + string(bytes.Join(w.records[:5], []byte(","))) + "]"
	plain := s.send("POST", "/predict", list)
	packed := s.send("POST", "/predict", zip(t, list), "Content-Encoding", "gzip", "Accept-Encoding", "gzip")
	r, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatalf("%v of %d %q", err, packed.status, packed.body)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil || got.String() != plain.body || packed.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%v: %s, want %s", err, got.String(), plain.body)
	}
	if a := s.send("POST", "/predict", zip(t, strings.Repeat(" ", 1<<20)), "Content-Encoding", "gzip"); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a bomb: %d %s", a.status, a.body)
	}
	if a := s.send("POST", "/predict", "half", "Content-Encoding", "gzip"); a.status != http.StatusBadRequest {
		t.Errorf("no gzip: %d %s", a.status, a.body)
	}
	if a := s.send("POST", "/predict", list, "Content-Encoding", "br"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("brotli: %d %s", a.status, a.body)
	}
}

func zip(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHealth says whether requests should be sent here.
func TestHealth(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	says := func(target string, status int, body string) {
		t.Helper()
		if a := s.send("GET", target, ""); a.status != status || a.body != body {
			t.Errorf("%s: %d %q, want %d %q", target, a.status, a.body, status, body)
		}
	}
	says("/livez", 200, "running\n")
	says("/readyz", 200, "ready\n")
	if err := s.models.Unload("house-prices"); err != nil {
		t.Fatal(err)
	}
	says("/readyz", 200, "ready\n")
	if a := s.send("POST", "/predict", string(w.records[0])); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a model that is unloaded: %d %s, Retry-After: %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	s.models.Drain()
	says("/livez", 200, "running\n")
	says("/readyz", 503, "the server is about to end\n")
	if a := s.send("POST", "/predict/house-prices/versions/9", "{}"); a.status != http.StatusServiceUnavailable {
		t.Errorf("a version of it: %d %s", a.status, a.body)
	}
}
