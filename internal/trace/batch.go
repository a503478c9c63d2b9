package trace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	api "go.opentelemetry.io/otel/trace"
)

// Batch is the span of records that are predicted together, and the spans of the records themselves, each in the trace that it came
// with. The zero value is none. It is for one goroutine at a time.
type Batch struct {
	Span
	records []api.Span // in the order of the parents; nil for one without a trace, or with one that is not sampled
}

// Batch begins the span of a batch. parents are the values of the header [Header] of its records, "" for one that has none. A record
// that came with a trace that is sampled gets a span there, with a link to that of the batch, and the batch has links to those of the
// first 128. The batch itself is in the trace of the first of them, so that it is sampled with it; without any it begins a trace.
func (t *Tracer) Batch(ctx context.Context, name string, parents []string) (context.Context, Batch) {
	if t == nil {
		return ctx, Batch{}
	}
	b := Batch{records: t.records(ctx, name, parents)}
	var links []api.Link
	for i, r := range b.records {
		if r == nil {
			continue
		}
		if links == nil && !api.SpanContextFromContext(ctx).IsValid() {
			ctx = api.ContextWithRemoteSpanContext(ctx, parse(parents[i])) //nolint:fatcontext // once: the first record
		}
		if len(links) < maxLinks {
			links = append(links, api.Link{SpanContext: r.SpanContext()})
		}
	}
	ctx, span := t.tracer.Start(ctx, name+" batch", api.WithLinks(links...), api.WithAttributes(attribute.Int("messaging.batch.message_count", len(parents))))
	b.Span = Span{span}
	for _, r := range b.records {
		if r != nil {
			r.AddLink(api.Link{SpanContext: span.SpanContext()})
		}
	}
	return ctx, b
}

// records begins the spans of the records that came with a trace that is sampled. Without any it returns nil.
func (t *Tracer) records(ctx context.Context, name string, parents []string) (spans []api.Span) {
	for i, header := range parents {
		if header == "" {
			continue
		}
		from := parse(header)
		if !from.IsSampled() {
			continue
		}
		if spans == nil {
			spans = make([]api.Span, len(parents))
		}
		_, span := t.tracer.Start(api.ContextWithRemoteSpanContext(ctx, from), name+" record", api.WithSpanKind(api.SpanKindConsumer))
		spans[i] = span
	}
	return spans
}

// Record returns the context of the span of a record, for the header [Header] of what is written of it, and "" where it has none:
// then what it came with goes on.
func (b Batch) Record(i int) string {
	if b.records == nil || b.records[i] == nil {
		return ""
	}
	return traceparent(b.records[i].SpanContext())
}

// End ends the spans of the records and that of the batch.
func (b Batch) End(err error) {
	for _, r := range b.records {
		if r != nil {
			Span{r}.End(err)
		}
	}
	b.Span.End(err)
}
