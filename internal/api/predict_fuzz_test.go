package api_test

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"

	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/server"
	"millrace.dev/record"
)

// FuzzPredict sends bodies: each is answered with JSON, every record with what a stream makes of it, and nothing else.
func FuzzPredict(f *testing.F) {
	w := theWorld(f)
	s := newSite(f, w, server.Options{Limits: server.Limits{Body: 64 << 10}})
	for _, seed := range []string{
		``, ` `, `{}`, `[]`, `{"bedrooms":3}`, "\n{\"bedrooms\":3}\n", `[{"bedrooms":3},{"bedrooms":"x"}]`, `{"predicted_price":1,"bedrooms":2}`, "{\"bedrooms\":3}\n{\"city\":\"Kent\"}\n",
		`[{"city":"\ud800"}]`, `{"date":"2014-05-02 00:00:00","sqft_living":9e999}`, `[[]]`, `[{"a":{"b":[1,{"c":"]"}]}}]`, `{"bedrooms":0}`, `nul`, `[1,]`, string(w.records[0]),
	} {
		for kind := range kinds() {
			f.Add([]byte(seed), byte(kind))
		}
	}
	path, err := w.houses.NewWorker()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, kind byte) {
		s.t = t
		k := kinds()[int(kind)%len(kinds())]
		a := s.send("POST", "/predict"+k.query, string(body), "Content-Type", k.contentType)
		switch a.status {
		case http.StatusOK:
			if a.header.Get("Millrace-Checks") == "" && !strings.HasPrefix(a.body, `{"predictions":`) && k.query == "" {
				if want := string(made(path, body)); a.body != want {
					t.Errorf("%q: %s\nwant %s", body, a.body, want)
				}
				return
			}
			answered(t, a.body)
		case http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			var e struct {
				Error   string             `json:"error"`
				Problem *map[string]string `json:"problem"`
			}
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error == "" || (e.Problem == nil) != (a.status != http.StatusUnprocessableEntity) {
				t.Errorf("%q: %d %s", body, a.status, a.body)
			}
		default:
			t.Errorf("%q: %d %s", body, a.status, a.body)
		}
	})
}

type bodyKind struct{ contentType, query string }

func kinds() []bodyKind {
	return []bodyKind{{"application/json", ""}, {"application/x-ndjson", ""}, {"application/json", "?explain=1"}}
}

// made returns what a stream makes of a record.
func made(w *pipeline.Worker, value []byte) []byte {
	b := w.NewBatch()
	b.Append(record.Raw{Value: value, Timestamp: -1})
	w.Process(b)
	return w.Output(0)
}

// answered wants an answer with several records to be JSON, and each record to have a prediction that is a number.
func answered(t *testing.T, body string) {
	t.Helper()
	if !json.Valid([]byte(body)) {
		t.Fatalf("no JSON: %q", body)
	}
	if !strings.HasPrefix(body, `{"predictions":`) {
		return
	}
	var of predictions
	if err := json.Unmarshal([]byte(body), &of); err != nil {
		t.Fatalf("%v of %q", err, body)
	}
	for i, p := range of.Predictions {
		if (p.Record == nil) == (p.Problem == nil) {
			t.Errorf("record %d has a record and a problem, or neither: %s", i, body)
		}
		if p.Record == nil {
			continue
		}
		var r struct {
			Price *float64 `json:"predicted_price"`
		}
		if err := json.Unmarshal(p.Record, &r); err != nil || r.Price == nil || math.IsNaN(*r.Price) {
			t.Errorf("record %d has no prediction: %s: %v", i, p.Record, err)
		}
	}
}
