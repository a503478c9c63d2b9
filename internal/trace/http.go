package trace

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	api "go.opentelemetry.io/otel/trace"
)

// Handler has a span around a handler, within the trace that a request came with. name is that of the route, such as
// "POST /predict/{model}". A nil tracer returns next itself.
func (t *Tracer) Handler(name string, next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, name, api.WithSpanKind(api.SpanKindServer), api.WithAttributes(attribute.String("http.request.method", r.Method)))
		defer span.End()
		s := &status{ResponseWriter: w}
		next.ServeHTTP(s, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", s.code))
		if s.code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	})
}

// status notes the status of an answer.
type status struct {
	http.ResponseWriter
	code int
}

// WriteHeader writes the status.
func (s *status) WriteHeader(code int) {
	if s.code == 0 && code >= http.StatusOK {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

// Write writes a part of the body.
func (s *status) Write(b []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Flush sends what was written.
func (s *status) Flush() { _ = http.NewResponseController(s.ResponseWriter).Flush() }

// Unwrap returns the response, for http.ResponseController.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Transport has a span around each request of a client, and sends its context along. name is that of the spans. A nil tracer returns
// next itself.
func (t *Tracer) Transport(name string, next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &transport{tracer: t, name: name, next: next}
}

type transport struct {
	tracer *Tracer
	name   string
	next   http.RoundTripper
}

// RoundTrip sends a request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, of := t.tracer.tracer.Start(r.Context(), t.name, api.WithSpanKind(api.SpanKindClient))
	span := Span{of}
	r = r.Clone(ctx)
	r.Header.Set(Header, Inject(ctx))
	a, err := t.next.RoundTrip(r)
	if a != nil {
		span.Int("http.response.status_code", a.StatusCode)
	}
	span.End(err)
	return a, err
}
