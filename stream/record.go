package stream

import (
	"time"

	"millrace.dev/record"
)

// Header is a header of a Kafka record.
type Header = record.Header

// Record is a keyed value with its time. An operator must not change a record that it was given, nor keep the pointer
// to it; it may keep what the record refers to.
type Record[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64 // event time, milliseconds since 1970-01-01 00:00:00 UTC
	Headers   []Header
	NullKey   bool // there is no key, and Key is the zero K
	NullValue bool // there is no value, and Value is the zero V
}

// Time returns the event time.
func (r *Record[K, V]) Time() time.Time { return time.UnixMilli(r.Timestamp).UTC() }

// Change is an update of a row of a table.
type Change[V any] struct {
	Old, New V
	HasOld   bool // there was a row
	HasNew   bool // there is a row now; if not it was deleted
	// Stale marks an update of a versioned table that came after a later one: only look-ups of the past see it.
	Stale bool
}

// Windowed is the key of a window: of which key, and of which times. Those of [TimeWindows] are from Start up to but not
// including End; of [SlidingWindows], and of sessions, End is in the window. So it is in Kafka Streams.
type Windowed[K any] struct {
	Key        K
	Start, End int64 // milliseconds since 1970-01-01 00:00:00 UTC
}
