package app_test

import (
	"encoding/json"
	"math"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// metaOracle says of some of what is looked up what it has to be, by the plainest of means: what batch and streams share
// they would get wrong together.
type metaOracle struct {
	m      *meta
	infos  []feature.WindowInfo
	sizes  [][2]int64           // size and hop of windows, in microseconds
	exprs  []string             // their keys
	counts []map[string][]int64 // the event times of the records of each key, by window
	latest []map[string]int64   // of each key
	grace  []int64
	where  []bool
}

func newMetaOracle(m *meta, w *pipeline.Windows) *metaOracle {
	o := &metaOracle{m: m, infos: m.model.Bundle.Plan.Windows()}
	for i, info := range o.infos {
		spec := w.Compiled(i).Spec()
		o.sizes = append(o.sizes, [2]int64{spec.Size.Microseconds(), spec.Hop.Microseconds()})
		o.grace = append(o.grace, max(0, spec.Grace).Microseconds())
		for _, declared := range m.pipeline.Windows {
			if declared.Name == info.Name {
				o.exprs, o.where = append(o.exprs, declared.Key), append(o.where, declared.Where != "")
			}
		}
		o.counts, o.latest = append(o.counts, map[string][]int64{}), append(o.latest, map[string]int64{})
	}
	return o
}

// at is the event time of a record, by its text.
func (o *metaOracle) at(i int) (int64, bool) {
	var r struct {
		At *int64 `json:"at"`
	}
	if json.Unmarshal([]byte(o.m.w.records[i].value), &r) != nil || r.At == nil {
		return record.MissingTime, false
	}
	at := *r.At
	if strings.Contains(o.m.w.yaml, "layouts: [unix_us]") {
		return int64(math.Floor(float64(at)/1000)) * 1000, true
	}
	return at * 1000, true
}

// windows checks the counts of windows for a record that is not late: it is not in its own window, and those before it are.
func (o *metaOracle) windows(i int, good bool, columns [][]float64) {
	o.m.t.Helper()
	column := 0
	for w, info := range o.infos {
		from := column
		column += len(info.Aggregates)
		key, ok := o.m.w.records[i].windowKey(o.exprs[w])
		at, timed := o.at(i)
		if !good || !ok || !timed || o.where[w] {
			continue
		}
		latest, seen := o.latest[w][key]
		if seen && latest-at > o.grace[w] {
			continue
		}
		size, hop := o.sizes[w][0], o.sizes[w][1]
		start := int64(math.Floor(float64(at-size)/float64(hop))) * hop
		n := 0.0
		for _, x := range o.counts[w][key] {
			if x > start && x <= at {
				n++
			}
		}
		if late := seen && at < latest; !late {
			o.latest[w][key] = at
			for a, of := range info.Aggregates {
				if of.Func == "count" && of.Arg < 0 && columns[from+a][0] != n {
					o.m.t.Errorf("record %d: window %s counts %v, and there are %v", i, info.Name, columns[from+a][0], n)
				}
			}
		}
		o.counts[w][key] = append(o.counts[w][key], at)
	}
}

// lookup finds rows in the tables of the model, and checks those of tables in the format upsert.
func (o *metaOracle) lookup(i int) pipeline.Lookup { return &metaLookup{o, i} }

type metaLookup struct {
	*metaOracle

	i int
}

func (l *metaLookup) Row(t, _ int, key string, at int64) *record.Row {
	l.m.t.Helper()
	of := l.m.model.Bundle.Plan.Tables()[t]
	row := l.m.rows[of.Name].Get(key, at)
	want, _ := l.at(l.i)
	if at != want {
		l.m.t.Errorf("record %d looks up %s as of %d, and has the time %d", l.i, of.Name, at, want)
	}
	for _, mine := range l.m.w.tables {
		if mine.name == of.Name && mine.format == "upsert" {
			if income, there := mine.income(key, want); there != (row != nil) || there && income != row.Numbers[0] && !(income != income && row.Numbers[0] != row.Numbers[0]) {
				l.m.t.Errorf("record %d: the row %s of %s as of %d: %v, want %v (%v)", l.i, key, of.Name, want, row, income, there)
			}
		}
	}
	return row
}

// income is the income of a row as of a time, by the records of the table's topic.
func (t *metaTable) income(key string, at int64) (income float64, there bool) {
	last := int64(math.MinInt64)
	for _, c := range t.changes {
		var k string
		if json.Unmarshal(c.Key, &k) != nil || k != key {
			continue // also what cannot be read: its key is an object
		}
		when := c.Timestamp * 1000
		if t.history == "0s" {
			when = 0
		} else if at != record.MissingTime && when > at || when < last {
			continue
		}
		last = when
		if there = c.Value != nil; there {
			row := struct {
				Income *float64 `json:"income"`
			}{}
			if json.Unmarshal(c.Value, &row) != nil {
				return 0, false
			}
			if income = math.NaN(); row.Income != nil {
				income = *row.Income
			}
		}
	}
	return income, there
}
