package pipeline

import (
	"math"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// Lookup finds rows of tables for the records of a batch. A Lookup is called by one goroutine.
type Lookup interface {
	// Row returns the row of a key in a table that was valid at a time, in microseconds since 1970, for record i of the
	// batch, or nil if there is none. The table is a position in the plan's tables. A time of record.MissingTime asks for
	// the latest row. The key is valid during the call.
	Row(table, i int, key string, at int64) *record.Row
}

// Enrichment is what a driver has found for a batch between [Worker.Decode] and [Worker.Complete].
type Enrichment struct {
	// Rows finds rows of tables. Default: no table has a row.
	Rows Lookup
	// Windows has the aggregates of the windows: see [Windows.Observe]. Default: they are missing.
	Windows [][]float64
}

// Table says what the path does with the records that have no row in a table.
type Table struct {
	// Name is the table's name in the plan.
	Name string
	// Required makes a record without a row one that gets no prediction. Default: its columns are missing, and it is
	// counted.
	Required bool
}

// ClassNoRow is the class of the problem of a record for which a table that is required has no row. Its stage is
// record.StageEnrich.
const ClassNoRow = "no_row"

// TableCounts counts what was looked up in a table: no record twice, where a feature needs several columns of one row.
type TableCounts struct {
	Found   uint64 `json:"found"`
	NoRow   uint64 `json:"no_row"`      // the key has no row
	Missing uint64 `json:"missing_key"` // there was no key
}

// Add adds other counts.
func (c *TableCounts) Add(other TableCounts) {
	c.Found += other.Found
	c.NoRow += other.NoRow
	c.Missing += other.Missing
}

// Finder looks up rows for one batch on behalf of the features, counts, and rejects records that lack a row that is
// required. It is for one goroutine at a time.
type Finder struct {
	tables []Table // of the plan
	counts []TableCounts
	batch  *record.Batch
	times  []int64
	rows   Lookup
}

// NewFinder returns a finder of rows in the tables of a plan; declared says which are required.
func NewFinder(plan *feature.Plan, declared []Table) *Finder {
	f := &Finder{}
	for _, t := range plan.Tables() {
		own := Table{Name: t.Name}
		for _, d := range declared {
			if d.Name == t.Name {
				own = d
			}
		}
		f.tables = append(f.tables, own)
	}
	f.counts = make([]TableCounts, len(f.tables))
	return f
}

// Bind points the finder at a batch, with the event times of its records, and at where the rows are. What it returns is
// the finder.
func (f *Finder) Bind(b *record.Batch, times []int64, rows Lookup) feature.Lookup {
	f.batch, f.times, f.rows = b, times, rows
	return f
}

// Counts returns what was looked up, by table of the plan. The slice is a copy.
func (f *Finder) Counts() []TableCounts { return append([]TableCounts(nil), f.counts...) }

// Row looks a row up.
func (f *Finder) Row(table, i int, key record.Text) *record.Row {
	if f.batch.Problem(i) != nil {
		return nil
	}
	var row *record.Row
	if key.OK && f.rows != nil {
		row = f.rows.Row(table, i, key.S, f.times[i])
	}
	c := &f.counts[table]
	switch {
	case row != nil:
		c.Found++
		return row
	case key.OK:
		c.NoRow++
	default:
		c.Missing++
	}
	if t := &f.tables[table]; t.Required {
		f.batch.Reject(i, record.Problem{
			Stage: record.StageEnrich, Class: ClassNoRow, Field: t.Name, Reason: "the table " + t.Name + " has no row for the record",
		})
	}
	return nil
}

// EventTimes tells the event times of records: what a field of the schema says, or the records' timestamps.
type EventTimes struct{ field int }

// NewEventTimes returns the event times by a time field of a schema; "" is the timestamps.
func NewEventTimes(s *record.Schema, field string) EventTimes {
	if i, ok := s.Index(field); ok && s.Field(i).Type == record.Time {
		return EventTimes{i}
	}
	return EventTimes{-1}
}

// Append appends the event time of each record of b to dst, in microseconds since 1970, or record.MissingTime. They are
// whole milliseconds, as in Kafka, so that a file with finer times gives what a topic gives. A timestamp that cannot be told
// in microseconds is missing.
func (e EventTimes) Append(dst []int64, b *record.Batch) []int64 {
	const milli = 1000
	for i := range b.Len() {
		at := record.MissingTime
		switch {
		case e.field >= 0:
			if t := b.Times(e.field)[i]; t != record.MissingTime {
				at = t - ((t%milli)+milli)%milli
			}
		case b.Raw(i).Timestamp >= 0 && b.Raw(i).Timestamp <= math.MaxInt64/milli:
			at = b.Raw(i).Timestamp * milli
		}
		dst = append(dst, at)
	}
	return dst
}
