package app

import (
	"bytes"

	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/stream"
)

// pipelineTables returns the tables of a pipeline file as the data path knows them.
func pipelineTables(p *config.Pipeline) []pipeline.Table {
	var list []pipeline.Table
	for i := range p.Tables {
		list = append(list, pipelineTable(&p.Tables[i]))
	}
	return list
}

func pipelineTable(t *config.Table) pipeline.Table {
	return pipeline.Table{Name: t.Name, Key: t.Key, Fields: t.Fields, Required: t.Required}
}

// withRow is a record's value, nil for null, with its row in the table that is partitioned, nil if there is none.
type withRow struct{ value, row []byte }

// joinRows takes the records to their rows in the table that is partitioned. They keep their keys, their headers and
// their origin.
func joinRows(t *stream.Topology, p *config.Pipeline, records stream.Stream[[]byte, *[]byte]) stream.Stream[[]byte, withRow] {
	table := p.Partitioned()
	rows := stream.TableFrom(t, table.Name, table.Topic, stream.String(), stream.Bytes(), stream.UseClock())
	keyed := stream.Process(records, table.Name+"-key", func() stream.Processor[[]byte, *[]byte, string, *[]byte] {
		return &tableKey{p: p, table: pipelineTable(table)}
	})
	keyed = keyed.Values(stream.Nullable(stream.Bytes())).Repartition(table.Name, stream.CarryOrigin())
	with := stream.LeftJoinTable(keyed, rows, table.Name+"-join", func(value *[]byte, row []byte, ok bool) withRow {
		var j withRow
		if value != nil {
			j.value = *value
		}
		if ok {
			j.row = row
		}
		return j
	})
	return stream.Process(with, table.Name+"-origin", func() stream.Processor[string, withRow, []byte, withRow] { return &originKey{} })
}

// tableKey gives records the key of their row.
type tableKey struct {
	p     *config.Pipeline
	table pipeline.Table
	ctx   *stream.ProcessorContext[string, *[]byte]
	keys  *pipeline.KeyReader
	out   stream.Record[string, *[]byte]
}

// Init makes the reader of keys.
func (k *tableKey) Init(ctx *stream.ProcessorContext[string, *[]byte]) (err error) {
	k.ctx = ctx
	k.keys, err = pipeline.NewKeyReader(k.p.Schema, k.table, k.p.Source.MaxRecordBytes)
	return err
}

// Process sends the record on with the key of its row. One that has none is predicted without a row, or refused, where
// the others are.
func (k *tableKey) Process(r *stream.Record[[]byte, *[]byte]) error {
	k.out = stream.Record[string, *[]byte]{Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullKey: true}
	if r.Value != nil {
		if key, ok := k.keys.Key(*r.Value); ok {
			k.out.Key, k.out.NullKey = key, false
		}
	}
	return k.ctx.Forward(&k.out)
}

// originKey gives records back the key that they came with.
type originKey struct {
	ctx *stream.ProcessorContext[[]byte, withRow]
	out stream.Record[[]byte, withRow]
}

// Init notes the context.
func (o *originKey) Init(ctx *stream.ProcessorContext[[]byte, withRow]) error {
	o.ctx = ctx
	return nil
}

// Process sends the record on with its own key.
func (o *originKey) Process(r *stream.Record[string, withRow]) error {
	o.out = stream.Record[[]byte, withRow]{Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullKey: true}
	if origin, ok := o.ctx.Origin(); ok && origin.Key != nil {
		o.out.Key, o.out.NullKey = bytes.Clone(origin.Key), false
	}
	return o.ctx.Forward(&o.out)
}
