package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/metrics"
	"millrace.dev/internal/table"
	"millrace.dev/record"
)

// behindEvery is how often it is looked at how far behind its topic a table is.
const behindEvery = 5 * time.Second

// servedTables are the tables that requests are looked up in. Those of topics are followed beside the requests, as global tables are in a
// stream; also those that a stream shares among its partitions, since a request can have any key.
type servedTables struct {
	client  *kafka.Client // nil where no table needs one
	rows    map[string]table.Rows
	stop    context.CancelFunc // nil before read
	running sync.WaitGroup

	mu       sync.Mutex
	followed []*followedTable // those that are read
}

// servedTables returns the tables of a plan, which are to be read.
func (a *App) servedTables(p *config.Pipeline, plan *feature.Plan) (*servedTables, error) {
	client, err := a.clientFor(p, runData(p, plan)...)
	if err != nil {
		return nil, err
	}
	return &servedTables{client: client, rows: map[string]table.Rows{}}, nil
}

// runData returns the names of the data that the tables of a plan are read from by what runs for long: the topic, where there is one.
func runData(p *config.Pipeline, plan *feature.Plan) []string {
	own := *p
	own.Tables = append([]config.Table(nil), p.Tables...)
	for i := range own.Tables {
		if own.Tables[i].Topic != "" {
			own.Tables[i].Data = ""
		}
	}
	return tableData(&own, plan)
}

// read reads the tables, those that have a topic to its end. It follows these until close.
func (t *servedTables) read(ctx context.Context, a *App, p *config.Pipeline, plan *feature.Plan) error {
	follow, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	static, err := a.staticRows(ctx, p, plan, t.client)
	if err != nil {
		return err
	}
	maps.Copy(t.rows, static)
	for _, of := range plan.Tables() {
		declared, err := tableOf(p, of)
		if err != nil {
			return err
		}
		if declared.Topic == "" {
			continue
		}
		f := &followedTable{app: a, client: t.client, pipeline: p, table: declared, loaded: make(chan struct{})}
		t.rows[declared.Name] = f
		failed := make(chan error, 1)
		t.running.Go(func() {
			if err := f.follow(follow); err != nil {
				failed <- err
			}
		})
		select {
		case <-f.loaded:
		case err := <-failed:
			return fmt.Errorf("table %s: %w", declared.Name, err)
		case <-ctx.Done():
			return ctx.Err()
		}
		t.mu.Lock()
		t.followed = append(t.followed, f)
		t.mu.Unlock()
		t.running.Go(func() { f.watch(follow) })
	}
	return nil
}

func (t *servedTables) close() {
	if t.stop != nil {
		t.stop()
	}
	t.running.Wait()
	closeClient(t.client)
}

// followedTable is a table as its topic has it. Reading it is safe beside following.
type followedTable struct {
	app      *App
	client   *kafka.Client
	pipeline *config.Pipeline
	table    *config.Table
	state    atomic.Pointer[tableState] // nil before it was read for the first time
	loaded   chan struct{}              // closed then

	mu      sync.Mutex
	next    kafka.Offsets // how far it was read
	current time.Time     // when it was last seen to be at the end
	refused uint64        // records that are no changes of the table
}

// Get implements [table.Rows].
func (f *followedTable) Get(key string, at int64) *record.Row {
	return f.state.Load().table.Get(key, at)
}

// changelogReader is a topic on its way into a table, from its beginning: a table is made anew when the topic is another one.
type changelogReader struct {
	of    *followedTable
	state *tableState
	id    [16]byte
	next  kafka.Offsets
	left  map[int32]bool // partitions that were not read to their ends yet
	count uint64         // records
	bad   uint64         // of them, those that are no changes of the table
	first record.Problem // of these
}

// follow reads the topic until ctx ends, and then returns nil. An error is returned that comes before the table was read for the first
// time, and does not pass; later ones are logged, and the table stays as it is until its topic can be read again.
func (f *followedTable) follow(ctx context.Context) error {
	backoff := kafka.Backoff{Min: 200 * time.Millisecond, Max: 10 * time.Second}
	var r *changelogReader
	for try := 1; ; try++ {
		err := f.open(ctx, &r)
		if err == nil {
			err = r.read(ctx, func() { try = 1 })
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whoever ended it knows
		}
		k, ok := errors.AsType[*kafka.Error](err)
		switch {
		case ok && k.Code == kafka.CodeUnavailable:
		case ok && (k.Code == kafka.CodeOutOfRange || k.Code == kafka.CodeTopicChanged):
			r = nil // what is there does not lead on from what was read
		case f.state.Load() == nil:
			return err
		}
		again := backoff.Pause(try)
		f.app.Log.LogAttrs(ctx, slog.LevelWarn, "a table's topic cannot be read; its rows stay as they are", slog.String("table", f.table.Name),
			slog.Any("error", err), slog.Duration("next_try_in", again.Round(time.Millisecond)))
		_ = pause(ctx, again) // the next try tells whether it is over
	}
}

// open begins to read the topic, where that was not begun.
func (f *followedTable) open(ctx context.Context, r **changelogReader) error {
	if *r != nil {
		return nil
	}
	topics, err := f.client.Topics(ctx, f.table.Topic)
	if err != nil {
		return err
	}
	next, err := f.client.StartOffsets(ctx, f.table.Topic)
	if err != nil {
		return err
	}
	state, err := newTableState(f.pipeline, f.table, false)
	if err != nil {
		return err
	}
	own := &changelogReader{of: f, state: state, id: topics[0].ID, next: next, left: map[int32]bool{}}
	for p := range next {
		own.left[p] = true
	}
	*r = own
	return nil
}

// read takes over what the topic says, from where that was interrupted. progress is called at each step.
func (r *changelogReader) read(ctx context.Context, progress func()) error {
	topic := r.of.table.Topic
	config := kafka.ReadConfig{From: map[string]kafka.Offsets{topic: r.next}, IDs: map[string][16]byte{topic: r.id}, Follow: true}
	return r.of.client.Read(ctx, config, func(s kafka.Step) error {
		progress()
		for i := range s.Len() {
			var raw record.Raw
			s.Read(i, &raw)
			r.apply(&raw)
		}
		r.next[s.Partition] = s.Next
		if s.Next >= s.Goal {
			delete(r.left, s.Partition)
		}
		if len(r.left) > 0 {
			return nil
		}
		return r.of.step(r)
	})
}

// apply takes over a record.
func (r *changelogReader) apply(raw *record.Raw) {
	r.count++
	if p := r.state.Apply(raw); p != nil {
		if r.bad == 0 {
			r.first = record.Problem(*p)
		}
		r.bad++
	}
}

// step notes how far a topic was read that was read to its end once: requests find the rows from then on.
func (f *followedTable) step(r *changelogReader) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.refused = maps.Clone(r.next), r.bad
	before := f.state.Load()
	if before == r.state {
		return nil
	}
	if r.bad > r.count/2 && before == nil {
		return &Error{
			Code: Refused, Op: "read table", Where: "tables." + f.table.Name, Hint: "mend the format, the key or the schema of the table in the pipeline file",
			Err: fmt.Errorf("%d of %d records of the topic %s cannot be read, the first one for %s: %s", r.bad, r.count, f.table.Topic, r.first.Class, r.first.Reason),
		}
	}
	f.state.Store(r.state)
	f.current = f.app.Now()
	f.app.Log.LogAttrs(context.Background(), slog.LevelInfo, "table loaded", slog.String("table", f.table.Name), slog.Int("rows", r.state.Len()), slog.Uint64("refused", r.bad))
	if before == nil {
		close(f.loaded)
	}
	return nil
}

// watch looks again and again whether the table is at the end of its topic, until ctx ends.
func (f *followedTable) watch(ctx context.Context) {
	for pause(ctx, behindEvery) == nil {
		at := f.app.Now()
		ends, err := f.client.EndOffsets(ctx, f.table.Topic, true)
		if err != nil {
			continue // it is as old as it was
		}
		f.mu.Lock()
		current := true
		for p, end := range ends {
			current = current && f.next[p] >= end
		}
		if current {
			f.current = at
		}
		f.mu.Unlock()
	}
}

// stats returns how the tables of topics are, for the model of a name.
func (t *servedTables) stats(name string) []metrics.ServeTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]metrics.ServeTable, 0, len(t.followed))
	for _, f := range t.followed {
		f.mu.Lock()
		all = append(all, metrics.ServeTable{
			Model: name, Table: f.table.Name, Rows: f.state.Load().Len(), Refused: f.refused, Age: max(0, f.app.Now().Sub(f.current)),
		})
		f.mu.Unlock()
	}
	return all
}
