package metrics_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/metrics"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
	"millrace.dev/model"
	"millrace.dev/record"
)

// onePath is a registry with one version.
type onePath struct{ path *pipeline.Path }

func (onePath) State(context.Context) (serve.State, error) {
	return serve.State{Promoted: 1, Approved: []int{1}}, nil
}

func (o onePath) Load(context.Context, int) (*serve.Loaded, error) {
	return &serve.Loaded{Digest: "sha256:0123", Path: o.path}, nil
}

// newModels returns a model of y = 2 x at work.
func newModels(t *testing.T) *serve.Models {
	t.Helper()
	data := []byte("x,y\n")
	for i := range 100 {
		data = strconv.AppendInt(append(strconv.AppendInt(data, int64(i), 10), ','), int64(2*i), 10)
		data = append(data, '\n')
	}
	file := filepath.Join(t.TempDir(), "data.csv")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "y", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	params := gbm.DefaultParams()
	params.NTrees, params.MinRows = 3, 2
	b, err := batch.TrainModel(t.Context(), batch.TrainOptions{
		Name: "doubles", Data: file, Field: "prediction", Declaration: feature.Declaration{Schema: s, Label: "y", Inputs: []string{"x"}},
		Split: batch.Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: 1}, Params: params, Threads: 1, CodeVersion: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	encoded, _, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := model.Load(encoded, "")
	if err != nil {
		t.Fatal(err)
	}
	path, err := pipeline.New(loaded.Bundle, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := serve.New(serve.Options{Models: []serve.ModelOptions{{Name: "doubles", Source: onePath{path}}}, Refresh: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns the metrics by name with labels.
func scrape(t *testing.T, h http.Handler) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	all := map[string]float64{}
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			at := strings.LastIndexByte(line, ' ')
			v, err := strconv.ParseFloat(line[at+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			all[line[:at]] = v
		}
	}
	return all
}

// TestServe counts requests by all the names that there are.
func TestServe(t *testing.T) {
	t.Parallel()
	m := newModels(t)
	s, err := metrics.NewServe(metrics.ServeOptions{
		Models: m, Server: func() server.Stats { return server.Stats{Connections: 3, InFlight: 2, BodyBytes: 99} },
		Tables: func() []metrics.ServeTable {
			return []metrics.ServeTable{{Model: "doubles", Table: "zips", Rows: 7, Refused: 1, Age: 1500 * time.Millisecond}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Open(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	records := []record.Raw{{Value: []byte(`{"x":1}`)}, {Value: []byte(`{"x":2}`)}, {Value: []byte(`{`)}}
	for _, explain := range []bool{false, true} {
		if _, err := v.Predict(t.Context(), records, serve.PredictOptions{Explain: explain}); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Predict(gone, records, serve.PredictOptions{}); err == nil {
		t.Fatal("nobody waits for it, and it is answered")
	}
	for range 5 {
		s.Observe(t.Context(), server.Observation{Method: "POST", Pattern: "/predict", Status: 200, Duration: 3 * time.Millisecond})
	}
	s.Observe(t.Context(), server.Observation{Method: "GET", Status: 404})
	got := scrape(t, s.Handler())
	const version = `{model="doubles",version="1"}`
	for name, want := range map[string]float64{
		`millrace_serve_requests_total{code="200",method="POST",route="/predict"}`:                    5,
		`millrace_serve_requests_total{code="404",method="GET",route=""}`:                             1,
		`millrace_serve_request_seconds_count{route="/predict"}`:                                      5,
		`millrace_serve_request_seconds_sum{route="/predict"}`:                                        0.015,
		`millrace_serve_rows_total` + version:                                                         6,
		`millrace_serve_queue_seconds_count` + version:                                                2,
		`millrace_serve_features_seconds_count` + version:                                             2,
		`millrace_serve_scoring_seconds_count` + version:                                              2,
		`millrace_serve_encoding_seconds_count` + version:                                             2,
		`millrace_serve_predict_seconds_count` + version:                                              2,
		`millrace_serve_batch_rows_count` + version:                                                   2,
		`millrace_serve_batch_rows_sum` + version:                                                     6,
		`millrace_serve_batch_rows_bucket{model="doubles",version="1",le="1"}`:                        0,
		`millrace_serve_batch_rows_bucket{model="doubles",version="1",le="3"}`:                        2,
		`millrace_serve_batch_rows_bucket{model="doubles",version="1",le="+Inf"}`:                     2,
		`millrace_serve_refused_total{model="doubles",reason="busy",version="1"}`:                     0,
		`millrace_serve_waiting_rows`:                                                                 0,
		`millrace_serve_model_info{digest="sha256:0123",model="doubles",promoted="true",version="1"}`: 1,
		`millrace_serve_model_ready{model="doubles"}`:                                                 1,
		`millrace_serve_registry_stale{model="doubles"}`:                                              0,
		`millrace_serve_in_flight_requests`:                                                           2,
		`millrace_serve_connections`:                                                                  3,
		`millrace_serve_body_bytes`:                                                                   99,
		`millrace_serve_table_rows{model="doubles",table="zips"}`:                                     7,
		`millrace_serve_table_refused_total{model="doubles",table="zips"}`:                            1,
		`millrace_serve_table_age_seconds{model="doubles",table="zips"}`:                              1.5,
		`request_preprocess_seconds_count{model_name="doubles"}`:                                      2,
		`request_predict_seconds_count{model_name="doubles"}`:                                         2,
		`request_postprocess_seconds_count{model_name="doubles"}`:                                     2,
		`request_explain_seconds_count{model_name="doubles"}`:                                         1,
		`nv_inference_request_success` + version:                                                      2,
		`nv_inference_request_failure{model="doubles",reason="REJECTED",version="1"}`:                 0,
		`nv_inference_count` + version:                                                                4,
		`millrace_serve_problems_total` + version:                                                     2,
		`nv_inference_exec_count` + version:                                                           2,
		`nv_inference_pending_request_count` + version:                                                0,
	} {
		if have, ok := got[name]; !ok || have != want {
			t.Errorf("%s is %v (there: %t), want %v", name, have, ok, want)
		}
	}
	documented(t, got)
	stats := m.Stats()[0].Versions[0]
	for name, sum := range map[string]uint64{
		"request": stats.Request.Sum, "queue": stats.Queue.Sum, "compute_input": stats.Features.Sum, "compute_infer": stats.Scoring.Sum, "compute_output": stats.Output.Sum,
	} {
		if have, ok := got["nv_inference_"+name+"_duration_us"+version]; !ok || have != float64(sum/1000) {
			t.Errorf("nv_inference_%s_duration_us is %v, want %v", name, have, sum/1000)
		}
	}
	if s := got[`millrace_serve_predict_seconds_sum`+version]; s <= 0 || s > 60 {
		t.Errorf("predictions took %v s", s)
	}
}

// documented wants each metric to be in the guide, and no other there.
func documented(t *testing.T, got map[string]float64) {
	t.Helper()
	guide, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for name := range got {
		name, _, _ = strings.Cut(name, "{")
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && strings.HasSuffix(base, "_seconds") || ok && base == "millrace_serve_batch_rows" {
				name = base
			}
		}
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			names[name] = true
		}
	}
	for name := range names {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("docs/serve.md does not tell of %s", name)
		}
	}
	for i, part := range strings.Split(string(guide), "`") {
		for _, prefix := range []string{"millrace_serve_", "request_", "nv_"} {
			if i%2 == 1 && strings.HasPrefix(part, prefix) && !names[part] {
				t.Errorf("docs/serve.md tells of %s, which there is not", part)
			}
		}
	}
}
