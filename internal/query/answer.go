package query

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"millrace.dev/internal/engine"
	"millrace.dev/internal/task"
)

// Isolation is what every answer says of itself: what no transaction has committed is not in it.
const Isolation = "read_committed"

// Stores is the answer to which stores there are.
type Stores struct {
	Application string  `json:"application"`
	Instance    string  `json:"instance"` // that answers
	Stores      []Store `json:"stores"`
}

// The kinds of stores.
const (
	KindTable   = "table"   // a row for each key
	KindWindows = "windows" // a row for each key and window
	KindBytes   = "bytes"   // rows whose types are not known
)

// Store is a store.
type Store struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Operator is the name of the operator that has it.
	Operator   string `json:"operator"`
	Partitions int    `json:"partitions,omitempty"` // 0: they are not known yet
	// WindowMillis is how long the windows are, where all are equally long.
	WindowMillis int64  `json:"window_ms,omitempty"`
	Changelog    string `json:"changelog,omitempty"` // the topic
}

// Places is the answer to where a store is.
type Places struct {
	Store

	Places []Place `json:"places"`
}

// Place is where a partition of a store is.
type Place struct {
	Partition int32  `json:"partition"`
	Task      string `json:"task"`
	Instance  string `json:"instance,omitempty"` // the name, else the id, of the member of the group; "" is none now
	Address   string `json:"address,omitempty"`  // where it can be asked, if it says
	// State is running, restoring or moving, of what this instance has; and else elsewhere or nowhere.
	State string `json:"state"`
}

// Answer is the answer to which rows there are.
type Answer struct {
	Store     string `json:"store"`
	Isolation string `json:"isolation"`
	Rows      []Row  `json:"rows"`
	// Next is what to ask for as after to get the rows that follow; "" is that there are none.
	Next string `json:"next,omitempty"`
	// Partitions are those that were looked at, each as of one commit.
	Partitions []Part `json:"partitions"`
	// Missing are those that could not be looked at.
	Missing []Missing `json:"missing,omitempty"`
}

// RowAnswer is the answer to what the row of a key is.
type RowAnswer struct {
	Store     string `json:"store"`
	Isolation string `json:"isolation"`
	Row       Row    `json:"row"`
	AsOf      Part   `json:"as_of"`
}

// Fault is the answer where there is no other.
type Fault struct {
	Error   string    `json:"error"`
	AsOf    *Part     `json:"as_of,omitempty"`   // of a row that is not there
	Missing []Missing `json:"missing,omitempty"` // of what cannot be answered now
}

// Row is a row of a store.
type Row struct {
	Key    json.RawMessage `json:"key"`
	Window *Window         `json:"window,omitempty"`
	Value  json.RawMessage `json:"value"`
	// Timestamp is the event time, in milliseconds since 1970; 0 in stores of processors without a TTL, whose rows have none.
	Timestamp int64 `json:"timestamp"`
	Partition int32 `json:"partition"`
	// Error says why key or value, or both, cannot be shown by their types, and are in base64; "" where they can.
	Error string `json:"error,omitempty"`
	// At is the key in the store, between instances.
	At []byte `json:"at,omitempty"`
}

// Window is a window, in milliseconds since 1970.
type Window struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Part says as of which commit a partition was looked at.
type Part struct {
	Partition int32  `json:"partition"`
	Task      string `json:"task"`
	Instance  string `json:"instance"`
	State     string `json:"state"` // of the instance: running, or why it may be behind
	// Committed is when the instance committed that, by its clock; none: whoever had the partition before did.
	Committed  *time.Time       `json:"committed_at,omitempty"`
	StreamTime *int64           `json:"stream_time,omitempty"` // the highest event time that was seen
	Sources    map[string]int64 `json:"source_offsets"`        // by topic, up to which records are in
	Changelog  *int64           `json:"changelog_offset,omitempty"`
	// Behind is how many offsets of the sources came after that, as far as the instance knows; none: it does not.
	Behind *int64 `json:"behind,omitempty"`
	// End is up to which key in the store the rows were given, between instances; none: all were.
	End []byte `json:"end,omitempty"`
}

// Missing is a partition that could not be looked at.
type Missing struct {
	Partition int32  `json:"partition"`
	Task      string `json:"task"`
	Reason    string `json:"reason"`
}

// mark is a place in the order of the rows: by the key in the store, then by partition.
type mark struct {
	at        []byte
	partition int32
}

func (m mark) compare(o mark) int {
	return cmp.Or(bytes.Compare(m.at, o.at), cmp.Compare(m.partition, o.partition))
}

// part describes what a view shows.
func (a *API) part(id task.ID, store string, at *engine.AsOf, stats *engine.Stats) Part {
	p := Part{Partition: id.Partition, Task: id.String(), Instance: a.engine.Instance(), State: string(stats.State), Sources: at.Sources}
	if !at.Committed.IsZero() {
		t := at.Committed.UTC()
		p.Committed = &t
	}
	if at.StreamTime != task.NoTime {
		p.StreamTime = &at.StreamTime
	}
	if offset, ok := at.Changelogs[store]; ok {
		p.Changelog = &offset
	}
	behind, known := int64(0), len(at.Sources) > 0
	for topic := range at.Sources {
		n, ok := stats.Lag[engine.Partition{Topic: topic, Partition: id.Partition}]
		behind, known = behind+n, known && ok
	}
	if known {
		p.Behind = &behind
	}
	return p
}

// result is what was found of an ask, of one or several partitions.
type result struct {
	rows    []Row
	parts   []Part
	missing []Missing
}

func (r *result) add(o *result) {
	r.rows = append(r.rows, o.rows...)
	r.parts = append(r.parts, o.parts...)
	r.missing = append(r.missing, o.missing...)
}

// settle brings rows into order and returns no more of them than all partitions have given, and than are wanted; and where to go
// on, nil if all were given.
func (r *result) settle(limit int) *mark {
	order := func(x *Row) mark { return mark{x.At, x.Partition} }
	slices.SortFunc(r.rows, func(x, y Row) int { return order(&x).compare(order(&y)) })
	var end *mark // the first of those up to which partitions have given their rows
	for i := range r.parts {
		if p := &r.parts[i]; p.End != nil {
			if m := (mark{p.End, p.Partition}); end == nil || m.compare(*end) < 0 {
				end = &m
			}
		}
	}
	if end != nil {
		n := 0
		for n < len(r.rows) && order(&r.rows[n]).compare(*end) <= 0 {
			n++
		}
		r.rows = r.rows[:n]
	}
	if len(r.rows) > limit {
		r.rows = r.rows[:limit]
		m := order(&r.rows[limit-1])
		end = &m
	}
	slices.SortFunc(r.parts, func(x, y Part) int { return cmp.Compare(x.Partition, y.Partition) })
	slices.SortFunc(r.missing, func(x, y Missing) int { return cmp.Compare(x.Partition, y.Partition) })
	return end
}
