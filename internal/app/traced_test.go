package app_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"millrace.dev/internal/app"
	"millrace.dev/record"
	"millrace.dev/streamtest"
)

// spans is a collector, which keeps the spans of one trace by their names.
type spans struct {
	mu    sync.Mutex
	trace string
	named map[string]*wire.Span
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var m collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(b, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range m.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				if hex.EncodeToString(span.GetTraceId()) == s.trace {
					s.named[span.GetName()] = span
				}
			}
		}
	}
}

// TestTraced follows a record with a trace through its batch and the call of millrace serve, to the steps there: one trace, over two
// processes' worth of tracers. Its prediction goes on with it.
func TestTraced(t *testing.T) {
	f := newFlats(t, flatsFile)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for protocol, route := range map[string]string{
		"oip": "POST /v2/models/{model}/versions/{version}/infer", "oip-grpc": "POST /inference.GRPCInferenceService/ModelInfer", "predict": "POST /predict/{model}/versions/{version}",
	} {
		t.Run(protocol, func(t *testing.T) {
			got := &spans{trace: "0af7651916cd43dd8448eb211c80319c", named: map[string]*wire.Span{}}
			receiver := httptest.NewServer(got)
			defer receiver.Close()
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
			ctx, cancel := context.WithCancel(t.Context())
			started, ended := make(chan string, 1), make(chan error, 1)
			go func() {
				_, err := f.a.Serve(ctx, app.ServeOptions{Files: []string{f.file}, HTTP: "127.0.0.1:0", Threads: 1, Started: func(s *app.Serving) { started <- "http://" + s.Address }})
				ended <- err
			}()
			url := <-started
			header := tracedPrediction(t, f, parent, "model.serve.url="+url, "model.serve.protocol="+protocol, "model.serve.version=registry", "model.serve.timeout=30s")
			cancel()
			if err := <-ended; err != nil { // its spans are sent now
				t.Fatal(err)
			}
			chain := []string{"predict batch", "remote model", route}
			within := "b7ad6b7169203331"
			for _, name := range chain {
				span := got.named[name]
				if span == nil || hex.EncodeToString(span.GetParentSpanId()) != within {
					t.Fatalf("%s: %v, want it within %s; there are %d spans", name, span, within, len(got.named))
				}
				within = hex.EncodeToString(span.GetSpanId())
			}
			for _, name := range []string{"queue", "features", "score", "encode"} {
				if span := got.named[name]; span == nil || hex.EncodeToString(span.GetParentSpanId()) != within {
					t.Errorf("%s: %v, want it within the request", name, span)
				}
			}
			if own := got.named["predict record"]; own == nil || header != strings.Replace(parent, "b7ad6b7169203331", hex.EncodeToString(own.GetSpanId()), 1) {
				t.Errorf("the prediction has %s, and the span of its record is %v", header, own)
			}
		})
	}
}

// tracedPrediction has a stream predict a record that came with a trace, and returns what its prediction goes on with.
func tracedPrediction(t *testing.T, f *flats, parent string, set ...string) string {
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
	d := streamtest.New(t, app.Topology(p, m.Bundle.Plan, s), streamtest.Partitions(1))
	value := `{"id":"1","size":70,"floor":2,"city":"c1","heating":"h1","date":"2026-01-11"}`
	d.PipeRaw("flats", record.Raw{Value: []byte(value), Timestamp: 1, Headers: []record.Header{{Key: "a", Value: []byte("b")}, {Key: "traceparent", Value: []byte(parent)}}})
	d.Commit()
	out := d.Raw("out", 0)
	if len(out) != 1 {
		t.Fatalf("%d predictions, %v", len(out), d.Drops())
	}
	for _, h := range out[0].Headers {
		if h.Key == "traceparent" {
			return string(h.Value)
		}
	}
	return ""
}
