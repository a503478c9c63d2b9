package trace

import (
	"context"
	"time"

	api "go.opentelemetry.io/otel/trace"
)

// scope is what OpenTelemetry calls the part of the program that makes the spans.
const scope = "millrace.dev/internal/trace"

// Step is a part of what was done, and how long it took.
type Step struct {
	Name string
	Took time.Duration
}

// Steps makes spans of what was done, one step after the other from a time on, within the span that ctx bears. Where it bears none, or
// one that is not sampled, it does nothing.
func Steps(ctx context.Context, from time.Time, steps ...Step) {
	span := api.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	tracer := span.TracerProvider().Tracer(scope)
	for _, s := range steps {
		_, span := tracer.Start(ctx, s.Name, api.WithTimestamp(from))
		from = from.Add(s.Took)
		span.End(api.WithTimestamp(from))
	}
}
