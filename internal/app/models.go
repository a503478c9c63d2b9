package app

import (
	"slices"
	"sync"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
)

// served is a model that batches are scored with, ready for it.
type served struct {
	*Scoring

	epoch   int64        // of the tasks whose batches it scores
	free    chan *scorer // the workers that no batch has at the moment
	sampler *sampler
	origins bool // timestamps are event times, which somebody asks for
}

// models are those that batches are scored with: each task says with its epoch which. A topology has one at first; others are added
// while it runs. They are all of one pipeline file, so that they have the same windows, tables and inputs, and differ in what they
// have learned. It is safe for concurrent use.
type models struct {
	mu   sync.RWMutex
	list []*served  // by epoch, rising; at least one
	next *Scoring   // one that other instances may go over to before this one; nil is none
	past pathCounts // what those have counted that are gone
}

// mostServed is how many models are kept: the present one, and the one before it for what other instances still count with it.
const mostServed = 2

// at returns the model of an epoch: the last one that has begun by then.
func (m *models) at(epoch int64) *served {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, s := range slices.Backward(m.list) {
		if s.epoch <= epoch {
			return s
		}
	}
	return m.list[0]
}

// last returns the newest model.
func (m *models) last() *served {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.list[len(m.list)-1]
}

// counting returns the watcher whose counts are called by, or nil.
func (m *models) counting(by string) *watcher {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, s := range m.list {
		if s.watcher != nil && s.watcher.options.By == by {
			return s.watcher
		}
	}
	if n := m.next; n != nil && n.watcher != nil && n.watcher.options.By == by {
		return n.watcher
	}
	return nil
}

// expect notes which model comes next; nil is none.
func (m *models) expect(s *Scoring) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = s
}

// add has batches of an epoch, and of those after it, scored with s.
func (m *models) add(s *served) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, s)
}

// forget lets go of models that no task needs any more, all being in an epoch or a later one.
func (m *models) forget(epoch int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.list) > mostServed && m.list[mostServed-1].epoch <= epoch {
		m.past.add(m.list[0].Scoring)
		m.list = slices.Delete(m.list, 0, 1)
	}
}

// counts returns what the workers of all models have counted, those too that are gone.
func (m *models) counts() pathCounts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := m.past.clone()
	for _, s := range m.list {
		c.add(s.Scoring)
	}
	return c
}

// pathCounts are what workers count: by input, table, fitted function and rule, each in the order of the plan.
type pathCounts struct {
	inputs, fitted []feature.Counts
	tables         []pipeline.TableCounts
	checks         []uint64
}

func (c *pathCounts) clone() pathCounts {
	return pathCounts{slices.Clone(c.inputs), slices.Clone(c.fitted), slices.Clone(c.tables), slices.Clone(c.checks)}
}

// add adds what the workers of a model have counted.
func (c *pathCounts) add(s *Scoring) {
	for _, w := range s.Workers {
		for i, n := range w.CheckCounts() {
			c.checks = grown(c.checks, i)
			c.checks[i] += n
		}
		for i, n := range w.Counts() {
			c.inputs = grown(c.inputs, i)
			c.inputs[i].Missing += n.Missing
			c.inputs[i].Unseen += n.Unseen
		}
		for i, n := range w.TableCounts() {
			c.tables = grown(c.tables, i)
			t := &c.tables[i]
			t.Found, t.NoRow, t.Missing = t.Found+n.Found, t.NoRow+n.NoRow, t.Missing+n.Missing
		}
		for i, n := range w.FittedCounts() {
			c.fitted = grown(c.fitted, i)
			c.fitted[i].Missing += n.Missing
			c.fitted[i].Unseen += n.Unseen
		}
	}
}

// grown returns s with an element i.
func grown[T any](s []T, i int) []T {
	for len(s) <= i {
		s = append(s, *new(T))
	}
	return s
}

// serve makes a model ready to score batches of an epoch.
func (s *scorers) serve(epoch int64, m *Scoring) *served {
	v := &served{Scoring: m, epoch: epoch, sampler: newSampler(s.pipeline, m), free: make(chan *scorer, len(m.Workers))}
	v.origins = m.Bundle.Manifest.EventTime == "" && (len(s.sources) > 0 || v.sampler != nil)
	for _, w := range m.Workers {
		one := newScorer(w)
		one.rows = finder{sources: s.sources, found: make([]table.Rows, len(s.sources))}
		one.windows = make([][]float64, s.columns)
		v.free <- one
	}
	return v
}
