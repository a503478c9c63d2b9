package app

import (
	"fmt"

	"millrace.dev/feature"
	"millrace.dev/internal/cdc"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// pipelineTables returns the tables of a pipeline file as the data path knows them.
func pipelineTables(p *config.Pipeline) []pipeline.Table {
	var list []pipeline.Table
	for i := range p.Tables {
		list = append(list, pipeline.Table{Name: p.Tables[i].Name, Required: p.Tables[i].Required})
	}
	return list
}

// tableState is a global table: what its topic has said so far. Reading it is safe beside Apply.
type tableState struct {
	decoder *cdc.Decoder
	table   *table.Table
	changes []cdc.Change
}

func newTableState(p *config.Pipeline, t *config.Table, history bool) (*tableState, error) {
	o := table.Options{Schema: t.Schema, History: t.History}
	if history && t.History > 0 {
		o.History = table.Forever
	}
	rows, err := table.New(o)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	d, err := newChanges(p, t)
	if err != nil {
		return nil, err
	}
	return &tableState{decoder: d, table: rows}, nil
}

// newChanges returns the decoder of a table's topic.
func newChanges(p *config.Pipeline, t *config.Table) (*cdc.Decoder, error) {
	d, err := cdc.New(cdc.Options{Format: cdc.Format(t.Format), Key: t.Key, Schema: t.Schema, MaxBytes: p.Source.MaxRecordBytes})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return d, nil
}

// Apply takes over a record of the table's topic.
func (s *tableState) Apply(r *record.Raw) *stream.Rejection {
	var problem *record.Problem
	if s.changes, problem = s.decoder.Decode(s.changes[:0], r); problem != nil {
		rejection := stream.Rejection(*problem)
		return &rejection
	}
	for i := range s.changes {
		s.table.Apply(&s.changes[i])
	}
	clear(s.changes)
	return nil
}

// Len returns the number of rows.
func (s *tableState) Len() int { return s.table.Len() }

// rowSource is where the rows of a table come from: one of a global store, a file, or what a record carries.
type rowSource struct {
	ref    stream.GlobalRef
	store  stream.GlobalStore[*tableState]
	static table.Rows
	schema *record.Schema // of rows that records carry
}

func newRowSource(t *stream.Topology, p *config.Pipeline, of feature.Table, s *Scoring) rowSource {
	declared := p.Table(of.Name)
	switch {
	case declared == nil:
		return rowSource{} // a model of another file, which is refused before it runs
	case declared.Topic == "":
		if s == nil {
			return rowSource{}
		}
		return rowSource{static: s.Static[of.Name]}
	case declared.Join == config.JoinPartitioned:
		return rowSource{schema: of.Schema}
	}
	store := stream.GlobalStoreFrom(t, declared.Name, declared.Topic, func() *tableState {
		state, err := newTableState(p, declared, false)
		if err != nil {
			panic("app: " + err.Error()) // the file was checked
		}
		if s != nil {
			s.tables.watch(declared.Name, state)
		}
		return state
	})
	return rowSource{ref: store, store: store}
}

// finder looks rows up for the records of a batch.
type finder struct {
	sources []rowSource
	found   []table.Rows // by table, as long as a batch lasts
	rows    [][]byte     // by record: the row that it carries
}

// bind points the finder at what the global tables hold now.
func (f *finder) bind(b stream.GlobalReader) {
	for i := range f.sources {
		if s := &f.sources[i]; s.ref != nil {
			f.found[i] = s.store.In(b).table
		} else {
			f.found[i] = s.static
		}
	}
}

// release lets go of the records.
func (f *finder) release() {
	clear(f.rows)
	f.rows = f.rows[:0]
}

// Row finds a row.
func (f *finder) Row(t, i int, key string, at int64) *record.Row {
	if f.found[t] != nil {
		return f.found[t].Get(key, at)
	}
	s := f.sources[t].schema
	if s == nil || i >= len(f.rows) || f.rows[i] == nil {
		return nil
	}
	row, err := s.DecodeRow(f.rows[i])
	if err != nil {
		return nil // a row of another schema: the table's columns have changed since, and this is what it lacks
	}
	return row
}
