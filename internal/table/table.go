package table

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"millrace.dev/record"
)

// Rows are rows that can be looked up. They are safe for concurrent use.
type Rows interface {
	// Get returns the row of a key that was valid at a time, in microseconds since 1970, or nil if there was none.
	// record.MissingTime asks for the latest. The row is not to be changed.
	Get(key string, at int64) *record.Row
}

var (
	_ Rows = (*Table)(nil)
	_ Rows = (*Ranges)(nil)
)

// Forever is a history that keeps everything.
const Forever time.Duration = -1

// Options are the settings of a [Table].
type Options struct {
	// Schema is that of the rows. Required.
	Schema *record.Schema
	// History is how far back from its newest change a table answers as of then; negative values stand for all of time.
	// Default: 0, the latest rows alone
	History time.Duration
}

// Counts are of what a [Table] could not do with changes.
type Counts struct {
	// Late are changes that had ended before the horizon when they came. They are dropped.
	Late int64
	// Gaps are columns that were to keep the value of the row before where there was no such row. They are missing.
	Gaps int64
}

// Table holds rows by key, with their history. One goroutine at a time may apply changes; look-ups are safe beside that, and
// do not wait for it.
type Table struct {
	schema  *record.Schema
	history int64 // microseconds; 0 is none, negative all
	keyed   bool  // of a Keyed: what is known of keys lies elsewhere
	index   index

	horizon    atomic.Int64 // what has ended at or before it is forgotten
	live       atomic.Int64 // keys with a row
	bytes      atomic.Int64
	late, gaps atomic.Int64

	// Of the goroutine that applies changes.
	newest    int64
	truncates []int64 // the times of truncates beyond the horizon, in order
	due       queue
	single    [1]version
}

// New returns an empty table.
func New(o Options) (*Table, error) {
	if o.Schema == nil {
		return nil, errors.New("table: no schema")
	}
	t := &Table{schema: o.Schema, newest: math.MinInt64}
	t.index.init()
	switch {
	case o.History < 0:
		t.history = -1
	case o.History > 0:
		t.history = max(o.History.Microseconds(), 1)
	}
	t.horizon.Store(math.MinInt64)
	return t, nil
}

// Schema returns the schema of the rows.
func (t *Table) Schema() *record.Schema { return t.schema }

// Get implements [Rows]. A key is the text that a decoder of changes makes of it, or an enum's level. It does not allocate.
func (t *Table) Get(key string, at int64) *record.Row {
	e := t.index.find(key)
	switch {
	case e == nil:
		return nil
	case at >= e.at || at == record.MissingTime || t.history == 0:
		return e.row
	case e.all != nil:
		return rowAt(*e.all, at, t.horizon.Load())
	case e.snapshot:
		return e.row
	default:
		return nil
	}
}

// Len returns the number of keys that have a row now.
func (t *Table) Len() int { return int(t.live.Load()) }

// Bytes returns about how many bytes of memory the table takes.
func (t *Table) Bytes() int64 { return t.bytes.Load() }

// Counts returns what the table has counted since it was made.
func (t *Table) Counts() Counts { return Counts{Late: t.late.Load(), Gaps: t.gaps.Load()} }

// Horizon returns the time up to which the table has forgotten what had ended, in microseconds since 1970; math.MinInt64 as
// long as it has forgotten nothing.
func (t *Table) Horizon() int64 { return t.horizon.Load() }

// Each calls fn for each key with its latest row, in no order, until fn returns false. Changes that are applied meanwhile may
// be seen or not.
func (t *Table) Each(fn func(key string, row *record.Row) bool) {
	t.index.each(func(e *entry) bool { return e.row == nil || fn(e.key(), e.row) })
}
