package sample

import (
	"strings"

	"millrace.dev/record"
)

// Finder finds rows of tables, as the data path's look-up does.
type Finder interface {
	Row(table, i int, key string, at int64) *record.Row
}

// Lookup is a row that was looked for.
type Lookup struct {
	Table int // a position in the plan's tables
	Key   string
	Row   *record.Row // nil: there is none
}

// Journal finds rows, and notes the look-ups of some of the records of a batch. It is for one goroutine at a time.
type Journal struct {
	of    Finder
	slots []int // by record: where its look-ups are, or -1
	lists [][]Lookup
	used  int
}

// Begin makes ready for a batch of n records, none of which is noted yet, whose rows of finds; nil finds none.
func (j *Journal) Begin(of Finder, n int) {
	j.of = of
	j.slots = j.slots[:0]
	for range n {
		j.slots = append(j.slots, -1)
	}
	for k := range j.used {
		clear(j.lists[k]) // let go of the rows
		j.lists[k] = j.lists[k][:0]
	}
	j.used = 0
}

// Mark has the look-ups of record i noted.
func (j *Journal) Mark(i int) {
	if j.slots[i] >= 0 {
		return
	}
	if j.used == len(j.lists) {
		j.lists = append(j.lists, nil)
	}
	j.slots[i] = j.used
	j.used++
}

// Any tells whether a record is marked.
func (j *Journal) Any() bool { return j.used > 0 }

// Marked tells whether record i is marked.
func (j *Journal) Marked(i int) bool { return j.slots[i] >= 0 }

// Row finds a row.
func (j *Journal) Row(table, i int, key string, at int64) *record.Row {
	var row *record.Row
	if j.of != nil {
		row = j.of.Row(table, i, key, at)
	}
	if k := j.slots[i]; k >= 0 {
		j.note(k, Lookup{Table: table, Key: key, Row: row})
	}
	return row
}

// note adds a look-up, unless it was made before: two expressions can ask for one row.
func (j *Journal) note(k int, l Lookup) {
	for _, was := range j.lists[k] {
		if was.Table == l.Table && was.Key == l.Key {
			return
		}
	}
	l.Key = strings.Clone(l.Key)
	j.lists[k] = append(j.lists[k], l)
}

// Lookups returns the look-ups of record i, in the order in which they were made, valid until Begin.
func (j *Journal) Lookups(i int) []Lookup {
	if j.slots[i] < 0 {
		return nil
	}
	return j.lists[j.slots[i]]
}
