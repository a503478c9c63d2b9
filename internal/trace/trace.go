// Package trace tells where time goes: spans of OpenTelemetry, from a record of the stream or a request through the batch that it is
// predicted in to the call of a model elsewhere. It is off unless the environment says where spans go, and then costs nothing: a nil
// *Tracer does nothing, and whoever calls it need not ask.
package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

// Header is the header of a Kafka record, and of a request, that has the context of a trace, as the W3C's Trace Context says.
const Header = "traceparent"

// service is the name of the service where the environment has none.
const service = "millrace"

// maxLinks bounds the records that a batch names.
const maxLinks = 128

// Options say what is traced.
type Options struct {
	Version string // of millrace
	// Log is told of spans that could not be sent. Default: nothing is.
	Log *slog.Logger
}

// Tracer makes spans and sends them to where the environment says. A nil one makes none. It is for many goroutines.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   api.Tracer
}

// Configured tells whether the environment says where spans go: OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, and
// nothing that turns them off.
func Configured(env func(name string) (value string, set bool)) bool {
	get := func(name string) string { v, _ := env(name); return strings.TrimSpace(v) }
	return (get("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "") &&
		!strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") && get("OTEL_TRACES_EXPORTER") != "none"
}

// New returns a tracer as the environment of the process says, by the variables of OpenTelemetry, and nil where they say nothing. It
// fails for a protocol other than http/protobuf. It sets the error handler of OpenTelemetry, which the process has one of.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if !Configured(os.LookupEnv) {
		return nil, nil //nolint:nilnil // a nil tracer is one that does nothing
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" {
			if p != "http/protobuf" {
				return nil, fmt.Errorf("trace: %s is %.20q: spans are sent by http/protobuf alone, to port 4318 of most collectors", name, p)
			}
			break
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if o.Log != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
			o.Log.LogAttrs(context.Background(), slog.LevelWarn, "spans are not sent", slog.Any("error", err))
		}))
	}
	return newTracer(sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))), nil
}

func newTracer(p *sdk.TracerProvider) *Tracer {
	return &Tracer{provider: p, tracer: p.Tracer(scope)}
}

// Close sends what was not sent yet, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}

// Span is a part of what is done. The zero value is none.
type Span struct{ span api.Span }

// End ends the span, which failed where err is not nil. The error's text is in it.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}

// Int and Text add what is known of the span. A text must be no record's value and no secret.
func (s Span) Int(name string, v int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(name, v))
	}
}

// Text is described at Int.
func (s Span) Text(name, v string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(name, v))
	}
}

// Start begins a span within the one that ctx bears. Its names are few: what differs between two of a kind is an attribute.
func (t *Tracer) Start(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name) //nolint:spancheck // who asked for it ends it
	return ctx, Span{span}                 //nolint:spancheck // who asked for it ends it
}

// Call begins the span of a call of another server within the span that ctx bears, and is none where that bears none, or one that is not
// sampled. The request bears it: see [Inject].
func Call(ctx context.Context, name string) (context.Context, Span) {
	within := api.SpanFromContext(ctx)
	if !within.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := within.TracerProvider().Tracer(scope).Start(ctx, name, api.WithSpanKind(api.SpanKindClient)) //nolint:spancheck // who asked for it ends it
	return ctx, Span{span}                                                                                    //nolint:spancheck // who asked for it ends it
}

// Inject returns the context of the span that ctx bears, for the header [Header], and "" where it bears none.
func Inject(ctx context.Context) string { return traceparent(api.SpanContextFromContext(ctx)) }

func traceparent(c api.SpanContext) string {
	if !c.IsValid() {
		return ""
	}
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// parse returns the context in a header, which is not valid where it has none.
func parse(header string) api.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{Header: header})
	return api.SpanContextFromContext(ctx)
}
