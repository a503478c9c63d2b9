package stream

import "time"

// WindowOption is an option of an aggregation in windows: a [StoreOption], [EmitOnClose] or [Retention].
type WindowOption interface{ applyWindow(*windowOptions) }

func (f storeOption) applyWindow(o *windowOptions) { f(&o.storeOptions) }

type windowOptions struct {
	storeOptions
	emitOnClose bool
	retention   time.Duration // 0: not given
}

type windowOption func(*windowOptions)

func (f windowOption) applyWindow(o *windowOptions) { f(o) }

// EmitOnClose sends the result of a window on once, when the window closes: as soon as stream time has reached its end
// and the grace after it, or passed them if it is one of [SlidingWindows]; a session when stream time is past its end, the gap
// and the grace. Windows that close at the same time are sent in the order of their starts, sessions in that of their ends, and
// those of one such time in the order of their keys' bytes. The timestamp is that of the newest record in the window; the headers are those of the
// record that closed it, and none where [IdleTimeout] did.
//
// Kafka Streams forgets a window, and never emits it, if the next record is so much newer that the window falls out
// of its store before it is emitted: by default if it begins more than size and grace after the window. Here a window
// waits in the store until it was emitted, unless there is a [Retention].
//
// Default: each update is sent on.
func EmitOnClose() WindowOption { return windowOption(func(o *windowOptions) { o.emitOnClose = true }) }

// Retention is how long the rows of windows are kept, for joins that look them up, measured from the start of a window to
// the start of the newest one: whole milliseconds, at most 180 years; at least size and grace, and of [SlidingWindows] twice the difference and grace. Given together with [EmitOnClose] it also holds for windows that
// were not emitted yet, as in Kafka Streams: those that the newest leaves so far behind are never emitted.
// Rows of sessions are kept from their end to stream time, at least for gap and grace, and are emitted whatever the retention is.
// Default: the least, and with [EmitOnClose] until the window was emitted.
func Retention(d time.Duration) WindowOption {
	return windowOption(func(o *windowOptions) { o.retention = d })
}

func windowOptionsOf(opts []WindowOption) windowOptions {
	o := windowOptions{storeOptions: storeOptions{cached: defaultCacheRows}}
	each(opts, func(opt WindowOption) { opt.applyWindow(&o) })
	return o
}

// retentionOf returns how long rows are kept to be looked up.
func (o *windowOptions) retentionOf(w Windows) time.Duration {
	least, _ := w.times()
	return max(o.retention, least)
}

// forever tells whether a row has to be kept until its window was emitted.
func (o *windowOptions) forever() bool { return o.emitOnClose && o.retention == 0 }

// check notes a fault of the options. least is how long the rows of what are kept at least.
func (o *windowOptions) check(t *Topology, kind, what string, least time.Duration) {
	if o.emitOnClose && o.emitOnCommit {
		t.fail(kind, "EmitOnClose and EmitOnCommit: a window is emitted at one or at the other")
	}
	switch {
	case o.retention != 0 && o.retention < least:
		t.fail(kind, "a retention of %v is too short: %s take %v", o.retention, what, least)
	case o.retention > 2*longest:
		t.fail(kind, "a retention of %v: want at most 180 years", o.retention)
	case o.retention%time.Millisecond != 0:
		t.fail(kind, "a retention of %v: want whole milliseconds", o.retention)
	}
}
