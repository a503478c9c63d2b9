package app

import (
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// table takes the records to their rows in the table that is partitioned, a position in the plan's tables.
func (r *route) table(t *stream.Topology, i int) {
	declared := r.p.Table(r.plan.Tables()[i].Name)
	history := declared.History > 0
	changes := stream.From(t, declared.Topic, stream.Bytes(), stream.Nullable(stream.Bytes()), stream.UseClock())
	keyed := stream.Process(changes, changesOf(declared.Name), func() stream.Processor[[]byte, *[]byte, string, []byte] {
		return &changing{route: r, table: i, history: history}
	})
	keyed = keyed.Keys(stream.String()).Values(stream.Bytes()).Repartition(declared.Name + "-rows")
	var options []stream.TableOption
	if history {
		options = append(options, stream.Versioned(max(declared.History, time.Millisecond)))
	}
	rows := stream.ToTable(keyed, declared.Name, options...)
	r.move(declared.Name, func(o *pipeline.Observer) (string, bool) { return o.TableKey(i) },
		func(o *pipeline.Observer) error { return o.WatchTable(r.scoring.Bundle.Plan, i) }, history)
	r.records = stream.LeftJoinTable(r.records, rows, declared.Name+"-join", func(c carried, row []byte, ok bool) carried {
		if ok {
			c.row = row
		}
		return c
	})
}

// changing turns the records of a changelog into rows by key.
type changing struct {
	route   *route
	table   int
	history bool // the rows get the times of their changes
	ctx     *stream.ProcessorContext[string, []byte]
	decoder *cdc.Decoder
	schema  *record.Schema
	changes []cdc.Change
	out     stream.Record[string, []byte]
}

// Init makes the decoder.
func (c *changing) Init(ctx *stream.ProcessorContext[string, []byte]) (err error) {
	c.ctx = ctx
	t := c.route.p.Table(c.route.plan.Tables()[c.table].Name)
	c.schema = t.Schema
	c.decoder, err = newChanges(c.route.p, t)
	return err
}

// The classes of changes that a partitioned table cannot take.
const (
	classTruncate    = "truncate"
	classUnavailable = "unavailable"
)

// Process sends the rows of a record on.
func (c *changing) Process(r *stream.Record[[]byte, *[]byte]) error {
	raw := record.Raw{Timestamp: r.Timestamp, Headers: r.Headers}
	if !r.NullKey {
		raw.Key = r.Key
	}
	if r.Value != nil {
		raw.Value = *r.Value
	}
	var p *record.Problem
	if c.changes, p = c.decoder.Decode(c.changes[:0], &raw); p != nil {
		c.ctx.Drop(stream.Rejection(*p))
		return nil
	}
	for i := range c.changes {
		if err := c.forward(r, &c.changes[i]); err != nil {
			return err
		}
	}
	clear(c.changes)
	return nil
}

// forward sends the row of a change on.
func (c *changing) forward(r *stream.Record[[]byte, *[]byte], change *cdc.Change) error {
	switch {
	case change.Op == cdc.Truncate:
		c.ctx.Drop(stream.Rejection{
			Stage: record.StageTable, Class: classTruncate, Reason: "a partitioned table cannot be truncated: its rows stay. Delete them, or make the table global",
		})
		return nil
	case len(change.Keep) > 0:
		c.ctx.Drop(stream.Rejection{
			Stage: record.StageTable, Class: classUnavailable, Field: c.schema.Field(change.Keep[0]).Name,
			Reason: "the change does not have the value of a column: have the database log whole rows (REPLICA IDENTITY FULL), or make the table global",
		})
		return nil
	}
	c.out = stream.Record[string, []byte]{Key: change.Key, Timestamp: r.Timestamp, NullValue: change.Op == cdc.Delete}
	if c.history {
		if c.out.Timestamp = max(0, change.At/1000); change.Snapshot {
			c.out.Timestamp = 0 // it has been true since before
		}
	}
	if change.Row != nil {
		c.out.Value = c.schema.AppendRow(nil, change.Row)
	}
	return c.ctx.Forward(&c.out)
}
