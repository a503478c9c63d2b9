package serve

import (
	"context"
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// times are how long the steps of a request took: those of its batches, which it may share with others.
type times struct {
	queue    time.Duration // until its first row was taken
	features time.Duration // decoding, look-ups, features and checks; of inputs, putting them in a batch
	scoring  time.Duration
	output   time.Duration // encoding, and taking apart
}

// add adds the times of another batch.
func (t *times) add(of *times) {
	t.features += of.features
	t.scoring += of.scoring
	t.output += of.output
}

// stats count what a version has done. They are safe for concurrent use.
type stats struct {
	rows, problems, batches, refusedBusy, refusedOther, gone atomic.Uint64
	pending                                                  atomic.Int64 // requests of which no row was taken
	last                                                     atomic.Int64 // nanoseconds since 1970; 0 is never
	queue, features, scoring, output, request, sizes         histogram
	explained                                                histogram // as request, of those that were explained
}

// batch counts a batch.
func (s *stats) batch(rows int) {
	s.batches.Add(1)
	s.sizes.add(uint64(rows))
}

// done counts a request that has all its rows.
func (s *stats) done(k kind, rows []Row, at time.Time, took time.Duration, t *times) {
	if k == kindExplained {
		s.explained.time(took)
	}
	s.rows.Add(uint64(len(rows)))
	problems := uint64(0)
	for i := range rows {
		if rows[i].Problem != nil {
			problems++
		}
	}
	s.problems.Add(problems)
	s.last.Store(at.UnixNano())
	s.queue.time(t.queue)
	s.features.time(t.features)
	s.scoring.time(t.scoring)
	s.output.time(t.output)
	s.request.time(took)
}

// refused counts a request that was not taken.
func (s *stats) refused(err error) {
	if errors.Is(err, ErrBusy) {
		s.refusedBusy.Add(1)
	} else {
		s.refusedOther.Add(1)
	}
}

// cancelled counts a request whose client has not waited.
func (s *stats) cancelled() { s.gone.Add(1) }

// VersionStats are what a version has done since the start of the process.
type VersionStats struct {
	Model, Version string
	Digest         string
	Promoted       bool
	Loaded         bool // it is in memory
	// Requests were answered, Busy and Refused were not taken, the latter while the server ends, Cancelled were not waited for.
	Requests, Busy, Refused, Cancelled uint64
	Rows, Batches                      uint64
	Problems                           uint64    // of the rows of requests that were answered, those without a prediction
	Last                               time.Time // when a request was answered last; the zero time is never
	// Of the requests that were answered, how long each step took; and of batches, how many rows each had.
	Queue, Features, Scoring, Output, Request Distribution
	Sizes                                     Distribution
	// Explain is as Request, of those that asked for explanations.
	Explain Distribution
	// Pending is how many requests wait whose first row no worker has.
	Pending int64
}

// Distribution is of durations in nanoseconds, or of counts.
type Distribution struct {
	Count, Sum uint64
	// Below[i] values are less than 2^i.
	Below [Buckets]uint64
}

// Add adds another distribution.
func (d *Distribution) Add(of *Distribution) {
	d.Count += of.Count
	d.Sum += of.Sum
	for i := range d.Below {
		d.Below[i] += of.Below[i]
	}
}

// Buckets is the number of buckets of a [Distribution]: the last holds durations up to 18 minutes.
const Buckets = 41

// histogram counts values by their number of bits. It is safe for concurrent use.
type histogram struct {
	sum     atomic.Uint64
	buckets [Buckets]atomic.Uint64 // buckets[i] has values of i bits; the last all that are larger
}

func (h *histogram) add(v uint64) {
	h.sum.Add(v)
	h.buckets[min(bits.Len64(v), Buckets-1)].Add(1)
}

func (h *histogram) time(d time.Duration) { h.add(uint64(max(d, 0))) }

// read returns what was counted.
func (h *histogram) read() Distribution {
	d := Distribution{Sum: h.sum.Load()}
	for i := range h.buckets {
		d.Count += h.buckets[i].Load()
		d.Below[i] = d.Count
	}
	return d
}

func (s *stats) read() VersionStats {
	// Of rows that have no prediction there are never more than rows: they are counted later, and read first.
	v := VersionStats{
		Busy: s.refusedBusy.Load(), Refused: s.refusedOther.Load(), Cancelled: s.gone.Load(), Problems: s.problems.Load(), Rows: s.rows.Load(), Batches: s.batches.Load(),
		Queue: s.queue.read(), Features: s.features.read(), Scoring: s.scoring.read(), Output: s.output.read(), Request: s.request.read(),
		Sizes: s.sizes.read(), Explain: s.explained.read(), Pending: s.pending.Load(),
	}
	if at := s.last.Load(); at != 0 {
		v.Last = time.Unix(0, at)
	}
	v.Requests = v.Request.Count
	return v
}

// Waiting returns how many rows wait for a worker.
func (m *Models) Waiting() int {
	m.queue.mu.Lock()
	defer m.queue.mu.Unlock()
	return m.queue.rows
}

// isContext tells whether an error is that of a context.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// ModelStats are how a model follows its registry.
type ModelStats struct {
	Model string
	Ready bool
	Stale bool // the registry does not answer: the present versions go on
	// Swaps is how often another version has taken over, Stales how often the registry did not answer, Failed how many versions cannot be
	// loaded.
	Swaps, Stales uint64
	Failed        int
	Versions      []VersionStats // rising
}

// Stats returns what was done, by model in the order of the options.
func (m *Models) Stats() []ModelStats {
	all := make([]ModelStats, 0, len(m.entries))
	for _, e := range m.entries {
		all = append(all, e.statistics())
	}
	return all
}

func (e *entry) statistics() ModelStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := ModelStats{Model: e.name, Ready: e.missing(0) == nil, Stale: e.stale != nil, Swaps: e.swaps, Stales: e.stales, Failed: len(e.failed)}
	for _, n := range slices.Sorted(maps.Keys(e.stats)) {
		v := e.stats[n].read()
		v.Model, v.Version, v.Digest = e.name, strconv.Itoa(n), e.digests[n]
		in := e.present(n)
		v.Promoted, v.Loaded = in != nil && in == e.promoted, in != nil
		s.Versions = append(s.Versions, v)
	}
	return s
}
