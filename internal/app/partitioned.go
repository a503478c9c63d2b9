package app

import (
	"encoding/binary"
	"errors"
	"fmt"

	"millrace.dev/internal/cdc"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// table takes the records to their rows in the table that is partitioned, a position in the plan's tables. A key has its
// whole past in one row of the store, by the rules of package table: rows of one partition come from all partitions of the
// topic, in no order of their times, so that nothing can be told from the time of other keys.
func (r *route) table(t *stream.Topology, i int) {
	declared := r.p.Table(r.plan.Tables()[i].Name)
	pasts, err := table.NewPasts(table.Options{Schema: declared.Schema, History: declared.History})
	if err != nil {
		panic("app: " + err.Error()) // the file was checked
	}
	history := declared.History > 0
	changes := stream.From(t, declared.Topic, stream.Bytes(), stream.Nullable(stream.Bytes()), stream.UseClock())
	keyed := stream.Process(changes, changesOf(declared.Name), func() stream.Processor[[]byte, *[]byte, string, cdc.Change] {
		return &changing{route: r, table: i, history: history}
	})
	keyed = keyed.Keys(stream.String()).Values(stream.Codec[cdc.Change](changeCodec{declared.Schema})).Repartition(declared.Name+"-rows", stream.CarryOrigin())
	rows := stream.Aggregate(stream.GroupByKey(keyed), declared.Name, stream.Nullable(stream.Codec[past](pastCodec{declared, pasts})),
		func() *past { return nil }, func(key string, c cdc.Change, before *past) *past { return applied(pasts, key, c, before) })
	r.move(declared.Name, func(o *pipeline.Observer) (string, bool) { return o.TableKey(i) },
		func(o *pipeline.Observer) error { return o.WatchTable(r.scoring.Bundle.Plan, i) }, history)
	r.records = stream.LeftJoinTable(r.records, rows, declared.Name+"-join", func(c carried, p *past, ok bool) carried {
		if ok {
			c.row, _ = pasts.Get(p.bytes, c.at) // the codec has looked at them
		}
		return c
	})
}

// past is what is known of a key.
type past struct{ bytes []byte }

// applied returns the past of a key after a change.
func applied(pasts *table.Pasts, key string, c cdc.Change, before *past) *past {
	var old []byte
	if before != nil {
		old = before.bytes
	}
	c.Key = key
	now, err := pasts.Apply(old, &c)
	if err != nil || now == nil { // the codec has looked at what was there
		return nil
	}
	return &past{now}
}

// pastCodec is the codec of pasts.
type pastCodec struct {
	table *config.Table
	pasts *table.Pasts
}

// Append appends the bytes of a past.
func (pastCodec) Append(dst []byte, p past) ([]byte, error) { return append(dst, p.bytes...), nil }

// Decode reads what Append has written. Rows of other columns stop the application: without them it would predict as if there
// were none, and the topic has been read past them.
func (c pastCodec) Decode(b []byte) (past, error) {
	if err := c.pasts.Check(b); err != nil {
		return past{}, fmt.Errorf("table %s: the rows that are kept have other columns than tables.%s.schema of the pipeline file: run under another group, which reads the topic again: %w", c.table.Name, c.table.Name, err)
	}
	return past{b}, nil
}

// changeCodec is the codec of changes on their way to the partition of their key: flags, the time, the fields that keep
// their value, and the row.
type changeCodec struct{ schema *record.Schema }

const (
	changeDeletes = 1 << iota
	changeSnapshot
	changeTombstone
	changeEnd
)

// Append appends the bytes of a change, without its key.
func (cc changeCodec) Append(dst []byte, c cdc.Change) ([]byte, error) {
	flags := byte(0)
	if c.Op == cdc.Delete {
		flags |= changeDeletes
	}
	if c.Snapshot {
		flags |= changeSnapshot
	}
	if c.Tombstone {
		flags |= changeTombstone
	}
	dst = binary.AppendVarint(append(dst, flags), c.At)
	dst = binary.AppendUvarint(dst, uint64(len(c.Keep)))
	for _, f := range c.Keep {
		dst = binary.AppendUvarint(dst, uint64(f))
	}
	if c.Row != nil {
		dst = cc.schema.AppendRow(dst, c.Row)
	}
	return dst, nil
}

var errChange = errors.New("these are not the bytes of a change of the table: was the topic written by another program, or with other columns?")

// Decode reads what Append has written.
func (cc changeCodec) Decode(b []byte) (c cdc.Change, err error) {
	if len(b) == 0 || b[0] >= changeEnd {
		return c, errChange
	}
	flags := b[0]
	c.Op, c.Snapshot, c.Tombstone = cdc.Upsert, flags&changeSnapshot != 0, flags&changeTombstone != 0
	b = b[1:]
	at, size := binary.Varint(b)
	if size <= 0 {
		return c, errChange
	}
	c.At, b = at, b[size:]
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(cc.schema.Len()) {
		return c, errChange
	}
	b = b[size:]
	for range n {
		f, size := binary.Uvarint(b)
		if size <= 0 || f >= uint64(cc.schema.Len()) {
			return c, errChange
		}
		c.Keep, b = append(c.Keep, int(f)), b[size:]
	}
	if flags&changeDeletes != 0 {
		if c.Op = cdc.Delete; len(b) > 0 {
			return c, errChange
		}
		return c, nil
	}
	if c.Row, err = cc.schema.DecodeRow(b); err != nil {
		return c, errChange
	}
	return c, nil
}

// changing turns the records of a changelog into changes by key.
type changing struct {
	route   *route
	table   int
	history bool // the changes get their own times
	ctx     *stream.ProcessorContext[string, cdc.Change]
	decoder *cdc.Decoder
	changes []cdc.Change
	out     stream.Record[string, cdc.Change]
}

// Init makes the decoder.
func (c *changing) Init(ctx *stream.ProcessorContext[string, cdc.Change]) (err error) {
	c.ctx = ctx
	c.decoder, err = newChanges(c.route.p, c.route.p.Table(c.route.plan.Tables()[c.table].Name))
	return err
}

// classTruncate is the class of a change that a partitioned table cannot take.
const classTruncate = "truncate"

// Process sends the changes of a record on.
func (c *changing) Process(r *stream.Record[[]byte, *[]byte]) error {
	raw := record.Raw{Timestamp: r.Timestamp, Headers: r.Headers}
	if origin, ok := c.ctx.Origin(); ok {
		raw.Timestamp = origin.Timestamp // that of r may be the clock's
	}
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

// forward sends a change on. Its time as a record says no more than in which order it is read: with a history by the time
// of the change, as records are read by their event times, so that a row comes before the records that need it.
func (c *changing) forward(r *stream.Record[[]byte, *[]byte], change *cdc.Change) error {
	if change.Op == cdc.Truncate {
		c.ctx.Drop(stream.Rejection{
			Stage: record.StageTable, Class: classTruncate, Reason: "a partitioned table cannot be truncated: its rows stay. Delete them, or make the table global",
		})
		return nil
	}
	c.out = stream.Record[string, cdc.Change]{Key: change.Key, Value: *change, Timestamp: r.Timestamp}
	if at := change.At / 1000; c.history && at >= 0 && at <= c.ctx.Now().UnixMilli() {
		c.out.Timestamp = at
	}
	if c.history && change.Snapshot {
		c.out.Timestamp = 0 // it has been true since before
	}
	return c.ctx.Forward(&c.out)
}
