package task

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/record"
)

// Start says where an application that has committed nothing begins to read a topic.
type Start string

// The starts.
const (
	Earliest Start = "earliest"
	Latest   Start = "latest"
)

// Program is a compiled topology. It does not change, and is safe for concurrent use.
type Program struct {
	Name        string // of the application: the consumer group, and the prefix of internal topics
	Nodes       []Node // in the order in which they were declared; Node.ID is the index
	Subs        []*Subtopology
	Globals     []*Global
	Origins     []string      // the topics whose records carry the ones that led to them: see [Program.Origin]
	DeadLetters string        // the topic for dropped records, or ""
	MaxIdle     time.Duration // how long a task waits for records of a partition that has none, to merge by time
	IdleTimeout time.Duration // after how long without records stream time follows the clock; 0 is never
}

// KindMerge is the kind of a node that brings streams together as they are. Other nodes with several inputs join them,
// and need all records of a key in one task.
const KindMerge = "merge"

// Node is an operator, a source or a sink, as data.
type Node struct {
	ID     int      `json:"id"`
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Sub    int      `json:"subtopology"` // -1 for a global table
	Topic  string   `json:"topic,omitempty"`
	Stores []string `json:"stores,omitempty"`
	To     []int    `json:"to,omitempty"`    // nodes that get its records
	Reads  []int    `json:"reads,omitempty"` // nodes whose stores it reads
	At     string   `json:"at,omitempty"`    // where it was declared, file:line
}

// Subtopology is a connected part of a topology. It has a task for each partition of its sources, which are
// co-partitioned.
type Subtopology struct {
	ID      int
	Sources []Source
	Stores  []StoreSpec
	Sinks   []Sink
	// InStep says that the event times of each source rise from record to record, and that those of one event time are processed at once,
	// when every source has a record of that time or a later one: a task waits for a source that has none for as long as it takes.
	InStep bool
	// Build makes the processors of a task.
	Build func(*Context) (*Processors, error)
}

// Source is a topic that a sub-topology reads.
type Source struct {
	Node  int
	Topic string
	Start Start // Default: Earliest
	// Internal marks a repartition topic, which the application makes and empties itself.
	Internal bool
	// Partitions of a repartition topic. Default: as many as the largest topic that flows into it
	Partitions int
	// Follows has a repartition topic take the number of partitions of the topics that it is joined with, and say nothing about theirs.
	Follows bool
	// CarriesOrigin marks a topic as one of the program's Origins.
	CarriesOrigin bool
	// NullKeys has records without a key go through a repartition topic, too.
	NullKeys bool
	// Purge has records deleted from the topic that were processed, as from a repartition topic.
	Purge bool
}

// Sink is a topic that a sub-topology writes.
type Sink struct {
	Node     int
	Topic    string
	Internal bool // a repartition topic
}

// StoreSpec is a state store of a sub-topology.
type StoreSpec struct {
	Node    int
	Name    string
	Backend store.Backend
	Logged  bool // has a changelog topic
	// Retention is how long a record of the store can matter, in event time; 0 is for ever.
	Retention time.Duration
	// Expires says that rows are deleted when they are older than TTL, in event time.
	Expires bool
	TTL     time.Duration
	// Row reads a row of the store, for who looks at it from outside. It is not ok for what the operator keeps beside the
	// rows. nil: the store has no rows by key.
	Row func(key, value []byte) (r Row, ok bool, err error)
	// Lookup says how its rows are found and shown by who does not know their types. nil: its rows can only be gone through, as bytes.
	Lookup *Lookup
}

// Lookup is how the rows of a store are found and shown from outside. The keys of windows are meant without start and end, where
// nothing else is said.
type Lookup struct {
	// Windows says that the rows are of windows: their keys have a start and an end.
	Windows bool
	// ParseKey returns the bytes of the key that a text stands for, appended to dst.
	ParseKey func(dst []byte, text string) ([]byte, error)
	// PlacedBy returns which of the bytes of a key its partition goes by.
	PlacedBy func(key []byte) []byte
	// Key and Value return key and value of a row as JSON.
	Key, Value func(b []byte) ([]byte, error)
	// At returns the key in the store of the row of a key; start is that of the window. nil: it cannot be told.
	At func(dst, key []byte, start int64) []byte
	// Size is how long a window is, in milliseconds, where all are equally long. Their rows lie in the store by their starts, and those of
	// one start by their keys, as At says, unless there are segments. Else 0.
	Size int64
	// Segment is how many bytes of a key in the store, of those of rows, say in which segment the row is. In each segment the rows of a
	// key lie together: what follows in their keys begins as Of says. Rows is what the keys of all begin with. 0: there are no segments.
	Segment int
	Of      func(dst, key []byte) []byte
	Rows    []byte
	// EndIncluded says that the end of a window is in it, as of sessions.
	EndIncluded bool
	// Floor returns the lowest start of the windows that are kept, from what get finds in the store. nil: none expires by its start.
	Floor func(get func(key []byte) ([]byte, error)) (int64, error)
	// Since returns the lowest time of the rows that are kept, likewise. nil: none expires by its time.
	Since func(get func(key []byte) ([]byte, error)) (int64, error)
}

// Kept is which rows of a store are kept: others have expired, and may be there until they are deleted.
type Kept struct {
	Windows bool
	Floor   int64 // the lowest start of a window
	Since   int64 // the lowest time of a row
}

// Kept returns which rows are kept, from what get finds in the store.
func (s *StoreSpec) Kept(get func(key []byte) ([]byte, error)) (k Kept, err error) {
	k = Kept{Floor: math.MinInt64, Since: math.MinInt64}
	l := s.Lookup
	if l == nil {
		return k, nil
	}
	k.Windows = l.Windows
	if l.Floor != nil {
		if k.Floor, err = l.Floor(get); err != nil {
			return k, err
		}
	}
	if l.Since != nil {
		k.Since, err = l.Since(get)
	}
	return k, err
}

// windowBytes is what the key of a window begins with: start and end.
const windowBytes = 16

// Has tells whether a row is kept.
func (k *Kept) Has(r *Row) bool {
	if k.Windows && (len(r.Key) < windowBytes || int64(binary.BigEndian.Uint64(r.Key)) < k.Floor) {
		return false
	}
	return r.Timestamp >= k.Since
}

// Row is a row of a store, with key and value as their codecs encode them. The key of a window is its start and its end,
// in eight bytes each, big-endian, and the key.
type Row struct {
	Key, Value []byte
	Timestamp  int64
}

// Global is a table of which every instance has all partitions.
type Global struct {
	Node  int
	Name  string
	Topic string
	// New makes an empty table. [Context.Global] gives it to processors.
	New func() GlobalTable
}

// GlobalTable is the content of a [Global]. Apply is for one goroutine at a time, and runs while tasks read.
type GlobalTable interface {
	// Apply takes over a record of the table's topic, or says why it cannot.
	Apply(*record.Raw) *record.Problem
	// Len returns the number of rows.
	Len() int
	// Each calls fn with a copy of each row, in no order, until it returns false. Keys and values have their types.
	Each(fn func(key, value any) bool)
}

// Sized is a [GlobalTable] that knows about how many bytes it takes. Bytes is for the goroutine of Apply.
type Sized interface{ Bytes() int64 }

// ID names a task: the number of its sub-topology and its partition.
type ID struct {
	Sub       int
	Partition int32
}

// String returns the id as in Kafka Streams: 0_3.
func (id ID) String() string { return fmt.Sprintf("%d_%d", id.Sub, id.Partition) }

// Changelog returns the name of a store's changelog topic.
func (p *Program) Changelog(store string) string { return p.Name + "-" + store + "-changelog" }

// Processors are the typed half of a task.
type Processors struct {
	Sources []Loader // one for each source of the sub-topology
	// Nodes that take part in the life of the task, those that get records first first. They implement any of
	// [Flusher], [Holder], [Poller], [Drainer], [Timer], [Advancer], [Stepper] and [Closer].
	Nodes []any
	// Apart is the one of Nodes that commits do not wait for, in a sub-topology with one source. All that comes of a record but a
	// drop comes through it. nil: there is none
	Apart Async
}

// Loader is a source in a task.
type Loader interface {
	// Load decodes a record and returns its event time in milliseconds. It returns false if the record was dropped.
	Load(*record.Raw) (timestamp int64, ok bool, err error)
	// Push sends the record that was last loaded through the sub-topology.
	Push() error
}

// Flusher has something to finish before a commit: batches, caches.
type Flusher interface{ Flush() error }

// Async has records under way for so long that a commit had better not wait for them. It sends on results when it is polled,
// settled or flushed, in the order of the records.
type Async interface {
	// Settle is Flush for what is there. It does not wait.
	Settle() error
	// UnderWay returns how many records were taken whose results were not sent on, and the first of them, or nil.
	UnderWay() (int, *record.Raw)
	// Full tells whether no more records can be taken. [Context.Wake] is called when that changes.
	Full() bool
}

// Holder holds rows in memory until Flush.
type Holder interface{ Uncommitted() int }

// Poller has results that come by themselves. Poll sends on those that are there; it does not wait.
type Poller interface{ Poll() error }

// Drainer is told when there are no more records at the moment.
type Drainer interface{ Drained() error }

// Timer is called by the clock.
type Timer interface {
	// Next returns when Tick is due; the zero time is never.
	Next() time.Time
	Tick(now time.Time) error
}

// Advancer is told that stream time has moved without a record.
type Advancer interface{ Advance(streamTime int64) error }

// Stepper is told that it was given all records of one event time, in a sub-topology whose sources are in step.
type Stepper interface{ Step() error }

// Closer has goroutines or memory to give back. Close waits for them.
type Closer interface{ Close() }
