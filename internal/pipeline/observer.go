package pipeline

import (
	"fmt"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/record"
)

// Observer is the part of the path that has to see a record before its batch is complete: it knows by which keys the
// record goes to windows and to a table, and brings windows up to date. It decodes the whole record, since what the path
// rejects must not count in a window. It is for one goroutine at a time.
type Observer struct {
	Windows *Windows
	decoder codec.Decoder
	batch   *record.Batch
	times   EventTimes
	at      []int64
	rows    []feature.WindowRows
	keys    []*feature.KeyReader // by table; nil where the key is not known before
	out     []float64
}

// NewObserver returns an observer of the records of a model.
func NewObserver(b *model.Bundle, o Options) (*Observer, error) {
	w, err := NewWindows(b.Plan)
	if err != nil {
		return nil, err
	}
	if o.Field == "" {
		o.Field = b.Manifest.SinkField
	}
	d, err := NewDecoder(b.Schema, o, b.Manifest.Label)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	_, n := w.Len()
	return &Observer{
		Windows: w, decoder: d, batch: record.NewBatch(b.Schema, b.Plan.Levels()), times: NewEventTimes(b.Schema, b.Manifest.EventTime),
		out: make([]float64, n),
	}, nil
}

// WatchTable has [Observer.TableKey] know the keys of a table of the plan.
func (o *Observer) WatchTable(p *feature.Plan, table int) error {
	r, err := p.NewKeyReader(table)
	if err != nil {
		return err
	}
	for len(o.keys) <= table {
		o.keys = append(o.keys, nil)
	}
	o.keys[table] = r
	return nil
}

// Take decodes a record. What the other methods say is about it.
func (o *Observer) Take(r record.Raw) {
	o.batch.Reset()
	o.batch.Append(r)
	o.decoder.Decode(o.batch)
	o.at = o.times.Append(o.at[:0], o.batch)
	o.rows = o.Windows.Rows(o.batch)
}

// WindowKey returns the key by which the record goes to a window; false if there is none.
func (o *Observer) WindowKey(window int) (string, bool) {
	k := o.rows[window].Keys[0]
	return strings.Clone(k.S), k.OK && o.batch.Problem(0) == nil
}

// TableKey returns the key by which the record goes to a table that is watched; false if there is none.
func (o *Observer) TableKey(table int) (string, bool) {
	k := o.keys[table].Read(o.batch)[0]
	return strings.Clone(k.S), k.OK && o.batch.Problem(0) == nil
}

// EventTime returns the event time of the record, in microseconds since 1970, or record.MissingTime.
func (o *Observer) EventTime() int64 { return o.at[0] }

// Observe reads the aggregates of a window for the record, and adds it. The result is valid until the next Observe.
func (o *Observer) Observe(window int, states WindowStates) ([]float64, error) {
	out := o.out[:len(o.Windows.infos[window].Aggregates)]
	return out, o.Windows.One(window, 0, o.batch, &o.rows[window], o.at[0], states, out)
}
