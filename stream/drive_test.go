package stream

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// driven is the task of a topology with one sub-topology and one source, driven without a copy of anything.
type driven struct {
	tb     testing.TB
	task   *task.Task
	state  *store.Task
	source task.Loader
	nodes  []any
	output discard
}

// discard is an output that keeps nothing but changelogs.
type discard struct {
	drops int
	logs  map[string][]store.Entry // by store
}

// Send does nothing.
func (*discard) Send(*task.Message) *record.Problem { return nil }

// Change appends to a changelog.
func (o *discard) Change(name string, key, value []byte) error {
	o.logs[name] = append(o.logs[name], store.Entry{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return nil
}

// Drop counts.
func (o *discard) Drop(_ *record.Raw, d task.Drop) { o.drops += d.Count }

// first returns the edge from the source, to send typed records.
func first[K, V any](d *driven) *edge[K, V] {
	s, ok := d.source.(*sourceNode[K, V])
	if !ok {
		d.tb.Fatalf("the source is %T", d.source)
	}
	return &s.next
}

func noError(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// drive starts the task of a topology, with state in memory.
func drive(tb testing.TB, top *Topology) *driven {
	tb.Helper()
	return driveIn(tb, top, "", nil)
}

// resume starts the task of a topology with the state that changelogs hold.
func resume(tb testing.TB, top *Topology, logs map[string][]store.Entry) *driven {
	tb.Helper()
	return driveIn(tb, top, "", logs)
}

// driveIn starts the task of a topology with the state that changelogs hold, in a folder or in memory.
func driveIn(tb testing.TB, top *Topology, folder string, logs map[string][]store.Entry) *driven {
	tb.Helper()
	d := &driven{tb: tb, output: discard{logs: map[string][]store.Entry{}}}
	p, err := top.Program()
	noError(tb, err)
	build := p.Subs[0].Build
	p.Subs[0].Build = func(ctx *task.Context) (*task.Processors, error) {
		procs, err := build(ctx)
		if err == nil {
			d.source, d.nodes = procs.Sources[0], procs.Nodes
		}
		return procs, err
	}
	db, err := store.Open(folder, store.Options{})
	noError(tb, err)
	d.state, err = db.Task("0_0")
	noError(tb, err)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	d.task, err = task.New(p, task.ID{}, task.Env{
		Context: tb.Context(), Output: &d.output, State: d.state, Now: func() time.Time { return now },
		Log: slog.New(slog.DiscardHandler), Wake: func() {},
	})
	noError(tb, err)
	for name, log := range logs {
		noError(tb, d.state.Restore(name, log, int64(len(log))))
	}
	noError(tb, d.task.Start())
	tb.Cleanup(func() {
		d.task.Close()
		noError(tb, d.state.Close())
		noError(tb, db.Close())
	})
	return d
}

// commit ends a round.
func (d *driven) commit() {
	d.tb.Helper()
	noError(d.tb, d.task.Flush())
	d.state.Seal()
	noError(d.tb, d.state.Commit(nil))
}

// raws is a run of records.
type raws struct{ list []record.Raw }

func (r *raws) Len() int                    { return len(r.list) }
func (r *raws) Read(i int, raw *record.Raw) { *raw = r.list[i] }
func (*raws) CaughtUp() bool                { return true }
