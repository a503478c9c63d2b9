package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a collector of spans, that of OTLP over HTTP.
type receiver struct {
	*httptest.Server

	mu       sync.Mutex
	status   int
	resource map[string]string
	spans    map[string]*wire.Span // by name
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{resource: map[string]string{}, spans: map[string]*wire.Span{}, status: http.StatusOK}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(q.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var m collector.ExportTraceServiceRequest
	if q.URL.Path != "/v1/traces" || err != nil || proto.Unmarshal(b, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(r.status)
	for _, of := range m.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			r.resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans[s.GetName()] = s
			}
		}
	}
}

func environment(set map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := set[name]; return v, ok }
}

func TestConfigured(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_SERVICE_NAME": "x"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "TRUE"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "otlp"}, true},
	} {
		if got := Configured(environment(c.set)); got != c.want {
			t.Errorf("%v: %t", c.set, got)
		}
	}
}

// TestOff has a tracer that is none: it does nothing, and allocates nothing.
func TestOff(t *testing.T) {
	off, err := New(t.Context(), Options{})
	if err != nil || off != nil {
		t.Fatal(off, err)
	}
	ctx, parents, failed := t.Context(), []string{"", ""}, errors.New("x")
	if n := testing.AllocsPerRun(100, func() {
		if allOf(ctx, off, parents, failed) != 0 {
			t.Error("a header")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := off.Handler("x", http.NotFoundHandler()); got == nil {
		t.Error("no handler")
	}
	if got := off.Transport("x", http.DefaultTransport); got != http.DefaultTransport {
		t.Error("another transport")
	}
	if err := off.Close(ctx); err != nil {
		t.Error(err)
	}
}

// allOf does what is done for a batch.
func allOf(ctx context.Context, t *Tracer, parents []string, err error) (headers int) {
	ctx, b := t.Batch(ctx, "predict", parents)
	ctx, s := Call(ctx, "remote")
	_, inner := t.Start(ctx, "score")
	inner.Int("rows", 7)
	inner.Text("model", "houses@3")
	inner.End(nil)
	Steps(ctx, time.Time{}, Step{"queue", 1}, Step{"features", 2}, Step{"score", 3})
	header := Inject(ctx)
	s.End(err)
	b.End(err)
	return len(header) + len(b.Record(0))
}

const (
	first  = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	second = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"
	quiet  = "00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203333-00" // not sampled
)

// TestSpans follows records through their batch, and the call of a server, to that server: all that is known of them arrives where the
// environment says.
func TestSpans(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_SERVICE_NAME", "houses")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	tracer, err := New(t.Context(), Options{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	var arrived string
	remote := httptest.NewServer(tracer.Handler("POST /predict", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		arrived = q.Header.Get(Header)
		_, score := tracer.Start(q.Context(), "score")
		score.Int("rows", 2)
		score.Text("model", "houses@3")
		score.End(nil)
		Steps(q.Context(), time.Unix(100, 0), Step{"queue", time.Second}, Step{"features", 2 * time.Second})
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = http.NewResponseController(w).Flush()
	})))

	ctx, b := tracer.Batch(t.Context(), "predict", []string{"", first, "garbage", quiet, second})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: tracer.Transport("remote", transport)}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, remote.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	remote.Close() // so that its span has ended
	records := []string{b.Record(0), b.Record(1), b.Record(2), b.Record(3), b.Record(4)}
	b.End(errors.New("the server is busy"))
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	batch, call, server, score, record := r.spans["predict batch"], r.spans["remote"], r.spans["POST /predict"], r.spans["score"], r.spans["predict record"]
	if batch == nil || call == nil || server == nil || score == nil || record == nil {
		t.Fatalf("spans: %v", r.spans)
	}
	want := map[string]string{"service.name": "houses", "service.version": "1.2.3", "deployment.environment": "test"}
	for k, v := range want {
		if r.resource[k] != v {
			t.Errorf("resource: %s is %q, want %q", k, r.resource[k], v)
		}
	}
	trace := strings.Split(first, "-")[1]
	for _, s := range []*wire.Span{batch, call, server, score} {
		if hexOf(s.GetTraceId()) != trace {
			t.Errorf("%s is in another trace", s.GetName())
		}
	}
	for _, pair := range [][2][]byte{{call.GetParentSpanId(), batch.GetSpanId()}, {server.GetParentSpanId(), call.GetSpanId()}, {score.GetParentSpanId(), server.GetSpanId()}} {
		if !bytes.Equal(pair[0], pair[1]) {
			t.Error("a span is not within the one before")
		}
	}
	if q, f := r.spans["queue"], r.spans["features"]; !bytes.Equal(q.GetParentSpanId(), server.GetSpanId()) || q.GetStartTimeUnixNano() != 100e9 ||
		f.GetStartTimeUnixNano() != 101e9 || f.GetEndTimeUnixNano() != 103e9 {
		t.Errorf("steps: %v, %v", q, f)
	}
	if want := "00-" + trace + "-" + hexOf(call.GetSpanId()) + "-01"; arrived != want {
		t.Errorf("the request had %s, want %s", arrived, want)
	}
	// The record that is kept by its name is the last one.
	if want := "00-" + strings.Split(second, "-")[1] + "-" + hexOf(record.GetSpanId()) + "-01"; records[4] != want || hexOf(record.GetParentSpanId()) != strings.Split(second, "-")[2] {
		t.Errorf("a record has %s, want %s", records[4], want)
	}
	if records[0] != "" || records[2] != "" || records[3] != "" || !strings.HasPrefix(records[1], "00-"+trace+"-") {
		t.Errorf("records: %q", records)
	}
	if len(batch.GetLinks()) != 2 || !bytes.Equal(batch.GetLinks()[1].GetSpanId(), record.GetSpanId()) || len(record.GetLinks()) != 1 || !bytes.Equal(record.GetLinks()[0].GetSpanId(), batch.GetSpanId()) {
		t.Errorf("links: %v and %v", batch.GetLinks(), record.GetLinks())
	}
	if batch.GetStatus().GetMessage() != "the server is busy" || server.GetStatus().GetCode() != wire.Status_STATUS_CODE_ERROR || score.GetStatus().GetCode() != wire.Status_STATUS_CODE_UNSET {
		t.Errorf("statuses: %v, %v, %v", batch.GetStatus(), server.GetStatus(), score.GetStatus())
	}
	kinds := []wire.Span_SpanKind{batch.GetKind(), call.GetKind(), server.GetKind(), record.GetKind()}
	if d := cmp.Diff([]wire.Span_SpanKind{wire.Span_SPAN_KIND_INTERNAL, wire.Span_SPAN_KIND_CLIENT, wire.Span_SPAN_KIND_SERVER, wire.Span_SPAN_KIND_CONSUMER}, kinds); d != "" {
		t.Error(d)
	}
	if got := []int64{attributeOf(batch, "messaging.batch.message_count"), attributeOf(call, "http.response.status_code"), attributeOf(score, "rows")}; !slices.Equal(got, []int64{5, 503, 2}) {
		t.Errorf("attributes: %v", got)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func attributeOf(s *wire.Span, name string) int64 {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == name {
			return a.GetValue().GetIntValue()
		}
	}
	return -1
}

// TestSampler has the environment say which traces are made: none of its own, but those that came along sampled.
func TestSampler(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", r.URL+"/v1/traces")
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
	tracer, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, own := tracer.Batch(t.Context(), "own", []string{"", quiet})
	own.End(nil)
	_, came := tracer.Batch(t.Context(), "came", []string{"", first})
	came.End(nil)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.spans) != 2 || r.spans["came batch"] == nil || r.spans["came record"] == nil {
		t.Errorf("spans: %v", r.spans)
	}
	if r.resource["service.name"] != service {
		t.Errorf("resource: %v", r.resource)
	}
}

// TestLinks bounds how many records a batch names.
func TestLinks(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	tracer, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, b := tracer.Batch(t.Context(), "x", slices.Repeat([]string{first}, 1000))
	if b.Record(999) == "" {
		t.Error("the last record has no span")
	}
	b.End(nil)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.spans["x batch"].GetLinks()); n != maxLinks {
		t.Errorf("%d links", n)
	}
}

// TestBadEnvironment has variables that cannot be followed, and a collector that refuses what it gets.
func TestBadEnvironment(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := New(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"`) {
		t.Error(err)
	}
	r := newReceiver(t)
	r.status = http.StatusBadRequest
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf") // which goes before the other one
	var log bytes.Buffer
	tracer, err := New(t.Context(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	_, s := tracer.Start(t.Context(), "x")
	s.End(nil)
	err = tracer.Close(t.Context())
	if text := log.String(); err == nil && !strings.Contains(text, "spans are not sent") {
		t.Errorf("neither an error nor a word in the log: %q", text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(first)
	f.Add(quiet)
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what the future will be like")
	f.Fuzz(func(t *testing.T, header string) {
		c := parse(header)
		if again := parse(traceparent(c)); c.IsValid() && (again.TraceID() != c.TraceID() || again.SpanID() != c.SpanID() || again.IsSampled() != c.IsSampled()) {
			t.Errorf("%q is %v, and then %v", header, c, again)
		}
	})
}

// BenchmarkBatch is what a batch of 512 records costs: without a tracer, and with one to which one record in 100 came with a trace.
func BenchmarkBatch(b *testing.B) {
	parents := make([]string, 512)
	for i := range parents {
		if i%100 == 0 {
			parents[i] = first
		}
	}
	b.Run("off", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			allOf(b.Context(), nil, parents, nil)
		}
	})
	b.Run("on", func(b *testing.B) {
		r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
		defer r.Close()
		b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL)
		tracer, err := New(b.Context(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			allOf(b.Context(), tracer, parents, nil)
		}
		b.StopTimer()
		if err := tracer.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Fatal(err)
		}
	})
}
