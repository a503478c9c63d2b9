package batch

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/record"
)

// lane is a batch on its way, with all that works on it: lanes run side by side, and what depends on the order of records
// goes by the order of the lanes.
type lane struct {
	batch   *record.Batch
	first   int64 // the number of its first record
	times   []int64
	windows [][]float64 // by aggregate
	finder  *pipeline.Finder
	where   []*condition
	keep    []bool
	reasons []string // why a row is left out, "" where it is not
	decoder codec.Decoder
	work    worker
}

// worker does what a pass over the data is for.
type worker interface {
	// run works on a lane, beside others.
	run(l *lane)
	// commit takes over what run has made, in the order of the data.
	commit(l *lane) error
}

// enrichment is what the features of a lane need beside its batch.
func (l *lane) enrichment(rows pipeline.Lookup) feature.Enrichment {
	return feature.Enrichment{Rows: l.finder.Bind(l.batch, l.times, rows), Windows: l.windows}
}

// lookup finds rows of tables in memory: those of the plan, by their position.
type lookup []table.Rows

// newLookup returns the tables that a plan needs.
func newLookup(p *feature.Plan, rows map[string]table.Rows) (lookup, error) {
	var l lookup
	for _, t := range p.Tables() {
		if rows[t.Name] == nil {
			return nil, fmt.Errorf("no rows of the table %s were given", t.Name)
		}
		l = append(l, rows[t.Name])
	}
	return l, nil
}

// Row finds a row.
func (l lookup) Row(t, _ int, key string, at int64) *record.Row { return l[t].Get(key, at) }

// lanesPerThread is how many batches are in memory for each thread.
const lanesPerThread = 2

// scan reads the data once. Batches are decoded and worked on side by side; windows see the records in their order, and so
// does commit. It returns the digest of the data.
func (t *trainer) scan(ctx context.Context, levels map[string][]string, newWorker func() worker) (string, error) {
	threads := t.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var err error
	if t.tables, err = newLookup(t.plan, t.Rows); err != nil { // what was fitted can make a table one that is not needed
		return "", err
	}
	lanes := make([]*lane, lanesPerThread*threads)
	for i := range lanes {
		l, err := t.newLane(levels)
		if err != nil {
			return "", err
		}
		l.work = newWorker()
		lanes[i] = l
	}
	windows, err := pipeline.NewWindows(t.plan)
	if err != nil {
		return "", err
	}
	states := pipeline.NewMemoryStates(windows)
	r := t.data.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	for {
		wave, err := fill(ctx, r, lanes)
		if err != nil {
			return "", err
		}
		if len(wave) == 0 {
			t.count(lanes, windows)
			return r.Digest(), nil
		}
		if err := t.process(wave, threads, windows, states); err != nil {
			return "", err
		}
	}
}

// count adds up what the lanes of a pass have found.
func (t *trainer) count(lanes []*lane, windows *pipeline.Windows) {
	t.found = Found{}
	for i, of := range t.plan.Tables() {
		var sum pipeline.TableCounts
		for _, l := range lanes {
			sum.Add(l.finder.Counts()[i])
		}
		put(&t.found.Tables, of.Name, sum)
	}
	for i, n := range windows.Counts() {
		put(&t.found.Windows, windows.Info(i).Name, n)
	}
}

func (t *trainer) newLane(levels map[string][]string) (*lane, error) {
	d, err := t.newDecoder()
	if err != nil {
		return nil, err
	}
	l := &lane{batch: record.NewBatch(t.Schema, levels), decoder: d, finder: pipeline.NewFinder(t.plan, t.Required)}
	for _, c := range t.where {
		p, err := feature.CompilePredicate(t.Schema, c)
		if err != nil {
			return nil, fmt.Errorf("where: %w", err)
		}
		l.where = append(l.where, &condition{text: c, predicate: p})
	}
	return l, nil
}

// fill fills lanes with what comes next, and returns those that have something.
func fill(ctx context.Context, r *source.Reader, lanes []*lane) ([]*lane, error) {
	for i, l := range lanes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := r.Fill(l.batch)
		if err != nil {
			return nil, err
		}
		if !more {
			return lanes[:i], nil
		}
		l.first = r.First()
	}
	return lanes, nil
}

// process takes a wave of lanes through the pass.
func (t *trainer) process(wave []*lane, threads int, windows *pipeline.Windows, states *pipeline.MemoryStates) error {
	aside(wave, threads, func(l *lane) {
		l.number()
		l.decoder.Decode(l.batch)
		if t.labels != nil {
			t.labels.join(l.batch)
		}
		l.times = t.times.Append(l.times[:0], l.batch)
	})
	if n, _ := windows.Len(); n > 0 {
		for _, l := range wave {
			columns, err := windows.Observe(l.batch, l.times, states)
			if err != nil {
				return err
			}
			l.keepWindows(columns)
		}
	}
	aside(wave, threads, func(l *lane) {
		l.selectRows(t)
		l.work.run(l)
	})
	for _, l := range wave {
		if err := l.work.commit(l); err != nil {
			return err
		}
	}
	return nil
}

// number has the records go by their numbers in the data, as fitting does: an offset is one of each partition of a topic.
func (l *lane) number() {
	for i := range l.batch.Len() {
		l.batch.Raw(i).Offset = l.first + int64(i)
	}
}

// keepWindows copies the aggregates of the lane's records.
func (l *lane) keepWindows(columns [][]float64) {
	for len(l.windows) < len(columns) {
		l.windows = append(l.windows, nil)
	}
	for k, c := range columns {
		l.windows[k] = append(l.windows[k][:0], c...)
	}
}

// aside calls f with each lane, threads at a time, and returns when all are done.
func aside(lanes []*lane, threads int, f func(*lane)) {
	var wg sync.WaitGroup
	next := make(chan *lane, len(lanes))
	for _, l := range lanes {
		next <- l
	}
	close(next)
	for range min(threads, len(lanes)) {
		wg.Go(func() {
			for l := range next {
				f(l)
			}
		})
	}
	wg.Wait()
}
