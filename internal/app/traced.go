package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"millrace.dev/internal/trace"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// traceTime is how long spans that are left may take to be sent at the end.
const traceTime = 3 * time.Second

// tracer returns what makes spans, nil where the environment says nothing of them, and a function that sends those that are left. A
// mistake in what it says is no reason not to predict.
func (a *App) tracer(ctx context.Context) (t *trace.Tracer, done func()) {
	t, err := trace.New(ctx, trace.Options{Version: a.Version, Log: a.Log})
	if err != nil {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "nothing is traced", slog.Any("error", err))
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceTime)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			a.Log.LogAttrs(ctx, slog.LevelWarn, "spans are not sent", slog.Any("error", err))
		}
	}
}

// traceBatch begins the span of a batch. end ends it, and has the predictions of records that came with a trace go on with theirs.
func traceBatch[K, V any](ctx context.Context, t *trace.Tracer, b *stream.Batch[K, V, scored]) (traced context.Context, end func(error)) {
	parents := make([]string, len(b.In))
	for i := range b.In {
		if k := traceHeader(b.In[i].Headers); k >= 0 {
			parents[i] = string(b.In[i].Headers[k].Value)
		}
	}
	traced, spans := t.Batch(ctx, "predict", parents)
	return traced, func(err error) {
		for i := range b.Out {
			k, own := traceHeader(b.Out[i].Headers), spans.Record(i)
			if k < 0 || own == "" {
				continue
			}
			b.Out[i].Headers = slices.Clone(b.Out[i].Headers) // others may have them too
			b.Out[i].Headers[k].Value = []byte(own)
		}
		spans.End(err)
	}
}

// traceHeader returns the place of the header that has the context of a trace, or -1.
func traceHeader(headers []record.Header) int {
	return slices.IndexFunc(headers, func(h record.Header) bool { return h.Key == trace.Header })
}
