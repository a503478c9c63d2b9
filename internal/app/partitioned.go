package app

import (
	"math"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// table takes the records to their rows in the table that is partitioned, a position in the plan's tables: both go to topics
// of the pipeline's own, by the key of the row, and meet in one task, whose store has the rows.
func (r *route) table(t *stream.Topology, i int) {
	declared := r.p.Table(r.plan.Tables()[i].Name)
	history := declared.History > 0
	changes := stream.From(t, declared.Topic, stream.Bytes(), stream.Nullable(stream.Bytes()), stream.UseClock())
	keyed := stream.Process(changes, declared.Name+"-changes", func() stream.Processor[[]byte, *[]byte, string, []byte] {
		return &changing{route: r, declared: declared}
	})
	keyed = keyed.Keys(stream.String()).Values(stream.Bytes()).Repartition(declared.Name + "-rows")
	rows := stream.MapValues(keyed, func(change []byte) carried { return carried{change: change} })
	r.move(declared.Name, func(o *pipeline.Observer) (string, bool) { return o.TableKey(i) },
		func(o *pipeline.Observer) error { return o.WatchTable(r.scoring.Bundle.Plan, i) }, history)
	codec := &versionsCodec{}
	var err error
	if codec.of, err = newKeyed(declared); err != nil {
		panic("app: " + err.Error()) // the file was checked
	}
	store := stream.NewStore(declared.Name, stream.String(), stream.Codec[*table.Versions](codec))
	r.records = stream.Process(rows.MergeByKey(r.records), declared.Name, func() stream.Processor[string, carried, string, carried] {
		return &joining{declared: declared, store: store}
	}, store)
}

func newKeyed(t *config.Table) (*table.Keyed, error) {
	return table.NewKeyed(table.Options{Schema: t.Schema, History: t.History})
}

// versionsCodec is the codec of what is known of a key of a table.
type versionsCodec struct{ of *table.Keyed }

// Append appends the bytes of v.
func (c *versionsCodec) Append(dst []byte, v *table.Versions) ([]byte, error) {
	return c.of.Append(dst, v), nil
}

// Decode reads what Append has written.
func (c *versionsCodec) Decode(b []byte) (*table.Versions, error) { return c.of.Decode(b) }

// changing turns the records of a changelog into rows by key.
type changing struct {
	route    *route
	declared *config.Table
	ctx      *stream.ProcessorContext[string, []byte]
	decoder  *cdc.Decoder
	keyed    *table.Keyed
	changes  []cdc.Change
	out      stream.Record[string, []byte]
}

// Init makes the decoder.
func (c *changing) Init(ctx *stream.ProcessorContext[string, []byte]) (err error) {
	c.ctx = ctx
	if c.keyed, err = newKeyed(c.declared); err != nil {
		return err
	}
	c.decoder, err = newChanges(c.route.p, c.declared)
	return err
}

// classTruncate is the class of a change that a partitioned table cannot take.
const classTruncate = "truncate"

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

// forward sends a change on. Where the table has a history, the change has its own time, by which it comes before the records
// that are to see it; a row of a snapshot has been true since before, and a tombstone does
// not say when.
func (c *changing) forward(r *stream.Record[[]byte, *[]byte], change *cdc.Change) error {
	if change.Op == cdc.Truncate {
		c.ctx.Drop(stream.Rejection{
			Stage: record.StageTable, Class: classTruncate, Reason: "a partitioned table cannot be truncated: its rows stay. Delete them, or make the table global",
		})
		return nil
	}
	c.out = stream.Record[string, []byte]{Key: change.Key, Timestamp: r.Timestamp, Value: c.keyed.AppendChange(nil, change)}
	if c.declared.History > 0 {
		if c.out.Timestamp = max(0, change.At/1000); change.Snapshot || change.Tombstone {
			c.out.Timestamp = 0
		}
	}
	return c.ctx.Forward(&c.out)
}

// joining keeps the rows, and has the records carry them.
type joining struct {
	declared *config.Table
	store    *stream.Store[string, *table.Versions]
	ctx      *stream.ProcessorContext[string, carried]
	state    *stream.State[string, *table.Versions]
	keyed    *table.Keyed
	swept    int64 // when keys were last forgotten, in the time of changes
	out      stream.Record[string, carried]
}

// The keys of the store: rowKey and the key of a row, and newestKey, which has the time from which history counts.
const (
	rowKey    = "r"
	newestKey = "t"
)

// Init opens the store.
func (j *joining) Init(ctx *stream.ProcessorContext[string, carried]) (err error) {
	j.ctx, j.state = ctx, stream.Open(ctx, j.store)
	if j.keyed, err = newKeyed(j.declared); err != nil {
		return err
	}
	newest, ok, err := j.state.Get(newestKey)
	if ok {
		j.keyed.Advance(newest.Newest())
	}
	j.swept = j.keyed.Newest()
	return err
}

// Process takes over a change, or sends a record on with its row.
func (j *joining) Process(r *stream.Record[string, carried]) error {
	if r.Value.change != nil {
		return j.apply(r.Key, r.Value.change)
	}
	j.out = *r
	if !r.NullKey {
		versions, ok, err := j.state.Get(rowKey + r.Key)
		if err != nil {
			return err
		}
		if ok {
			if row := j.keyed.Get(versions, r.Value.at); row != nil {
				j.out.Value.row = j.declared.Schema.AppendRow(nil, row)
			}
		}
	}
	return j.ctx.Forward(&j.out)
}

func (j *joining) apply(key string, change []byte) error {
	key = rowKey + key
	versions, ok, err := j.state.Get(key)
	if err != nil {
		return err
	}
	if !ok {
		versions = &table.Versions{}
	}
	before := j.keyed.Newest()
	if err := j.keyed.Apply(versions, change); err != nil {
		return err
	}
	if err := j.put(key, versions); err != nil {
		return err
	}
	newest := j.keyed.Newest()
	if j.declared.History == 0 || newest == before {
		return nil
	}
	if err := j.state.Put(newestKey, table.Moment(newest)); err != nil {
		return err
	}
	return j.forget(newest)
}

// put keeps what is known of a key, if that is anything.
func (j *joining) put(key string, versions *table.Versions) error {
	if versions.Empty() {
		return j.state.Delete(key)
	}
	return j.state.Put(key, versions)
}

// forget drops what has ended before the history of keys that have had no change since, now and then.
func (j *joining) forget(newest int64) error {
	if j.swept == math.MinInt64 {
		j.swept = newest
	}
	if newest-j.swept < max(j.declared.History/4, time.Hour).Microseconds() {
		return nil
	}
	j.swept = newest
	return j.state.All(func(key string, versions *table.Versions) (bool, error) {
		if key == newestKey || !j.keyed.Forget(versions) {
			return true, nil
		}
		return true, j.put(key, versions)
	})
}
