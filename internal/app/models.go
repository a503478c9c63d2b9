package app

import (
	"slices"
	"sync"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// served is a model that batches are scored with, ready for it.
type served struct {
	*Scoring

	free    chan *scorer // the workers that no batch has at the moment
	spare   spare        // scorers of a model on another server
	sampler *sampler
	origins bool // timestamps are event times, which somebody asks for
}

// serving is what the batches of an epoch are scored with: a model, or one for each arm of a split.
type serving struct {
	epoch int64
	arms  []*served // the control first; without a split it is the only one
	split *split    // nil: there are no arms
	arm   []arm     // by arm
}

// models are those that batches are scored with: each task says with its epoch which. A topology has one at first; others are added
// while it runs. They are all of one pipeline file, so that they have the same windows, tables and inputs, and differ in what they
// have learned. It is safe for concurrent use.
type models struct {
	mu   sync.RWMutex
	list []*serving   // by epoch, rising; at least one
	next []*Scoring   // those that other instances may go over to before this one
	past pathCounts   // what those have counted that are gone
	arms []*armCounts // of the experiments of the list
}

// mostServed is how many servings are kept: the present one, and the one before it for what other instances still count with it.
const mostServed = 2

// at returns what serves an epoch: the last one that has begun by then.
func (m *models) at(epoch int64) *serving {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, s := range slices.Backward(m.list) {
		if s.epoch <= epoch {
			return s
		}
	}
	return m.list[0]
}

// last returns the newest model, of arms the control's.
func (m *models) last() *served {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.list[len(m.list)-1].arms[0]
}

// counting returns the watcher whose counts are called by, or nil.
func (m *models) counting(by string) *watcher {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, v := range m.list {
		for _, s := range v.arms {
			if s.watcher != nil && s.watcher.options.By == by {
				return s.watcher
			}
		}
	}
	for _, s := range m.next {
		if s.watcher != nil && s.watcher.options.By == by {
			return s.watcher
		}
	}
	return nil
}

// known returns the model of a digest, if there is one ready to be served, or nil.
func (m *models) known(digest string) *Scoring {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, v := range m.list {
		for _, s := range v.arms {
			if s.Digest == digest {
				return s.Scoring
			}
		}
	}
	for _, s := range m.next {
		if s.Digest == digest {
			return s
		}
	}
	return nil
}

// expect notes which models come next.
func (m *models) expect(next []*Scoring) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.next
	m.next = next
	for i, s := range before { // one that was of the list, and did not come again
		if !m.keeps(s) && slices.Index(before, s) == i {
			m.past.add(s)
			s.disconnect()
		}
	}
}

// add has batches of an epoch, and of those after it, scored with v.
func (m *models) add(v *serving) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, v)
}

// forget lets go of models that no task needs any more, all being in an epoch or a later one.
func (m *models) forget(epoch int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.list) > mostServed && m.list[mostServed-1].epoch <= epoch {
		gone := m.list[0]
		m.list = slices.Delete(m.list, 0, 1)
		for i, s := range gone.arms {
			if !m.keeps(s.Scoring) && slices.Index(gone.arms, s) == i { // one that comes again counts on
				m.past.add(s.Scoring)
				s.disconnect()
			}
		}
	}
	m.arms = slices.DeleteFunc(m.arms, func(c *armCounts) bool {
		return !slices.ContainsFunc(m.list, func(v *serving) bool { return v.split != nil && v.split.of.Experiment == c.Experiment })
	})
}

// keeps tells whether a model is in the list, or comes next.
func (m *models) keeps(s *Scoring) bool {
	is := func(one *served) bool { return one.Scoring == s }
	return slices.Contains(m.next, s) || slices.ContainsFunc(m.list, func(v *serving) bool { return slices.ContainsFunc(v.arms, is) })
}

// ready returns a model of the list as it is served already, or nil.
func (m *models) ready(s *Scoring) *served {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, v := range m.list {
		for _, one := range v.arms {
			if one.Scoring == s {
				return one
			}
		}
	}
	return nil
}

// begin has the counts of an experiment begin at 0, unless it goes on.
func (m *models) begin(experiment string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := m.list[len(m.list)-1]; last.split != nil && last.split.of.Experiment == experiment {
		return
	}
	m.arms = slices.DeleteFunc(m.arms, func(c *armCounts) bool { return c.Experiment == experiment })
}

// countsOf returns the counts of an arm, which go on while its experiment does.
func (m *models) countsOf(experiment string, a *rollout.Arm) *armCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.arms {
		if c.Experiment == experiment && c.Arm == a.Name && c.Model == a.Model {
			return c
		}
	}
	c := &armCounts{ArmStatus: rollout.ArmStatus{Experiment: experiment, Arm: a.Name, Model: a.Model}}
	m.arms = append(m.arms, c)
	return c
}

// armStatuses returns what was done for arms.
func (m *models) armStatuses() []rollout.ArmStatus {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []rollout.ArmStatus
	for _, c := range m.arms {
		all = append(all, c.status())
	}
	return all
}

// counts returns what the workers of all models have counted, those too that are gone.
func (m *models) counts() pathCounts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := m.past.clone()
	var seen []*Scoring
	for _, s := range m.next {
		if !slices.Contains(seen, s) {
			seen = append(seen, s)
			c.add(s)
		}
	}
	for _, v := range m.list {
		for _, s := range v.arms {
			if !slices.Contains(seen, s.Scoring) {
				seen = append(seen, s.Scoring)
				c.add(s.Scoring)
			}
		}
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
	for _, w := range s.staff() {
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

// serve makes a model ready to score batches, or returns it as it is served already.
func (s *scorers) serve(m *Scoring) *served {
	if v := s.models.ready(m); v != nil {
		return v
	}
	v := &served{Scoring: m, sampler: newSampler(s.pipeline, m), free: make(chan *scorer, len(m.Workers))}
	v.origins = m.Bundle.Manifest.EventTime == "" && (len(s.sources) > 0 || v.sampler != nil)
	for _, w := range m.Workers {
		v.free <- s.newScorer(w)
	}
	return v
}

// serving makes what batches of an epoch are scored with: one model, or one for each arm of a split.
func (s *scorers) serving(epoch int64, of *rollout.Split, models []*Scoring) (*serving, error) {
	v := &serving{epoch: epoch}
	for i, m := range models {
		if at := slices.Index(models, m); at < i { // two arms with one model
			v.arms = append(v.arms, v.arms[at])
			continue
		}
		v.arms = append(v.arms, s.serve(m))
	}
	if of == nil {
		return v, nil
	}
	if serve := s.pipeline.Model.Serve; serve != nil && !serve.Bound() {
		return nil, &Error{
			Code: Refused, Op: "load split", Where: of.Experiment, Err: errOneRemote,
			Hint: "have a server that knows the registry's models, and set model.serve.version: registry",
		}
	}
	var err error
	if v.split, err = newSplit(s.pipeline, of); err != nil {
		return nil, err
	}
	s.models.begin(of.Experiment)
	v.arm = make([]arm, len(of.Arms))
	for i := range of.Arms {
		a := &v.arm[i]
		a.headers = []record.Header{
			{Key: headerExperiment, Value: []byte(of.Experiment)}, {Key: headerArm, Value: []byte(of.Arms[i].Name)},
		}
		a.counts = s.models.countsOf(of.Experiment, &of.Arms[i])
		if i == 0 {
			continue
		}
		a.control, a.idle = v.arms[0], make(chan *scorer, cap(v.arms[i].free))
		for range cap(a.idle) {
			w, err := models[0].path.NewWorker()
			if err != nil {
				return nil, err
			}
			a.idle <- s.newScorer(w)
		}
	}
	return v, nil
}
