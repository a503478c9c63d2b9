package remote

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"sync"
	"time"

	"millrace.dev/record"
)

// Limits of what is tried.
const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
	// persistent is how often a batch fails before its rows are suspected; of a row alone, how often before it is given up.
	persistent = 3
	// candidates is how many rows of a batch are tried one by one while nothing is known that the server predicts.
	candidates = 8
	// witnessAge is when the row that is known to be good is replaced by one that is known since.
	witnessAge = 10 * time.Second
)

// caller speaks a protocol: one call, one answer. A prediction that is not finite is NaN or infinite in the answer, without a problem.
type caller interface {
	call(ctx context.Context, r *Request, rows []int) (*Answer, *Error)
}

// client is a [Model].
type client struct {
	o       Options
	where   string
	caller  caller
	release func()
	breaker *breaker
	turns   chan struct{} // a token for each call under way

	mu      sync.Mutex
	stats   Stats
	witness witness
	closed  bool
	ends    map[*scoring]context.CancelFunc // of what is under way
	under   sync.WaitGroup
}

// witness is a row that the server has predicted.
type witness struct {
	request *Request
	since   time.Time
}

func newClient(o Options, where string, c caller, release func()) *client {
	return &client{
		o: o, where: where, caller: c, release: release,
		breaker: newBreaker(o.Now, o.Random), turns: make(chan struct{}, o.Connections),
		stats: Stats{Failures: map[Class]uint64{}}, ends: map[*scoring]context.CancelFunc{},
	}
}

// Close implements [Model]. It waits for the calls that it has ended.
func (c *client) Close() {
	c.mu.Lock()
	c.closed = true
	for _, end := range c.ends {
		end()
	}
	c.mu.Unlock()
	c.under.Wait()
	c.release()
}

// begin notes that s is under way, until the function is called that it returns; nil where the client is closed.
func (c *client) begin(s *scoring, end context.CancelFunc) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.ends[s] = end
	c.under.Add(1)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.ends, s)
		c.under.Done()
	}
}

func (c *client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Stats implements [Model].
func (c *client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Failures = maps.Clone(s.Failures)
	s.State, s.Since, s.Opened = c.breaker.state()
	return s
}

// Score implements [Model].
func (c *client) Score(ctx context.Context, r *Request) (*Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &scoring{client: c, request: r, answer: Answer{Scores: make([]float64, len(r.Rows))}}
	done := c.begin(s, cancel)
	if done == nil {
		return nil, &Error{Class: Unavailable, Where: c.where, Err: errClosed}
	}
	defer done()
	if len(r.Rows) == 0 {
		return &s.answer, nil
	}
	if err := s.score(ctx, span{0, len(r.Rows)}, 0); err != nil {
		if c.isClosed() {
			err = &Error{Class: Unavailable, Err: errClosed}
		}
		err.Where = c.where
		return nil, err
	}
	return &s.answer, nil
}

// scoring is a request that is being predicted.
type scoring struct {
	*client

	request *Request
	answer  Answer
}

// span is a range of the rows of a request.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

func (s *scoring) rows(p span) []int { return s.request.Rows[p.from:p.to] }

// score predicts rows, and tries again until that succeeds, or is no use. failed is how often calls with these rows in them have failed
// already, though the server is well.
func (s *scoring) score(ctx context.Context, p span, failed int) *Error {
	var before *Error
	for tries := 0; ; {
		answer, err := s.try(ctx, s.request, s.rows(p))
		if err == nil {
			s.take(p, answer)
			return nil
		}
		if ctx.Err() != nil { // what came before says more of the server
			return cmp.Or(before, err)
		}
		if errors.Is(err, errOpen) { // nobody waits for a server that is known to be down
			return cmp.Or(before, err)
		}
		before = err
		tries++
		if err.Class != Forbidden {
			failed++
		}
		last := s.o.Retries >= 0 && tries > s.o.Retries
		if s.suspect(err, p, failed, last) && s.well(ctx, p) {
			return s.apart(ctx, p, failed, err)
		}
		if last {
			return err
		}
		if !s.pause(ctx, tries, err.after) {
			return err
		}
	}
}

// suspect tells whether it may be a row that is at fault, rather than the server. A row alone is no reason to be without an answer: the
// network is, or a server that is short of time; only a batch may be too much. Who waits for the server without end waits for a row
// alone, too: a server that fails for some of its callers would have their rows given up else.
func (s *scoring) suspect(err *Error, p span, failed int, last bool) bool {
	switch {
	case err.Class == Forbidden, err.Class == Unavailable && p.len() == 1:
		return false
	case err.Class == Refused:
		return true
	case p.len() == 1 && s.o.Retries < 0:
		return false
	default:
		return failed >= persistent || last && err.Class == Failed
	}
}

// well tells whether the server predicts other rows than those that it has failed at.
func (s *scoring) well(ctx context.Context, p span) bool {
	if w := s.known(); w != nil {
		return s.probe(ctx, w, w.Rows)
	}
	for i := range min(candidates, p.len()) {
		at := p.from + i*p.len()/min(candidates, p.len())
		if p.len() > 1 && s.probe(ctx, s.request, s.request.Rows[at:at+1]) {
			return true
		}
	}
	return false
}

// apart deals with rows of which one is at fault at least: it halves them, and the row that is left gets a problem.
func (s *scoring) apart(ctx context.Context, p span, failed int, err *Error) *Error {
	if p.len() > 1 {
		half := p.from + p.len()/2
		// One failure more of a half is enough to go on: that the server is well is asked again.
		failed = min(failed, persistent-1)
		if err := s.score(ctx, span{p.from, half}, failed); err != nil {
			return err
		}
		return s.score(ctx, span{half, p.to}, failed)
	}
	class, reason := Refused, "the model's server refuses the record"
	if err.Class != Refused {
		class, reason = err.Class, "the model's server fails at the record again and again, while it predicts others"
	}
	s.problem(p.from, &record.Problem{Stage: record.StageScore, Class: string(class), Reason: reason})
	s.mu.Lock()
	s.stats.Refused++
	s.mu.Unlock()
	return nil
}

func (s *scoring) problem(row int, p *record.Problem) {
	if s.answer.Problems == nil {
		s.answer.Problems = make([]*record.Problem, len(s.request.Rows))
	}
	s.answer.Problems[row] = p
}

// take keeps what was said of the rows p.
func (s *scoring) take(p span, a *Answer) {
	s.answer.Model = a.Model
	copy(s.answer.Scores[p.from:p.to], a.Scores)
	good := -1
	for i, v := range a.Scores {
		switch {
		case a.Problems != nil && a.Problems[i] != nil:
			s.problem(p.from+i, a.Problems[i])
		case math.IsNaN(v) || math.IsInf(v, 0):
			s.problem(p.from+i, &record.Problem{Stage: record.StageScore, Class: "not_finite", Reason: "the prediction is not a finite number"})
		default:
			good = p.from + i
		}
	}
	if good >= 0 {
		s.remember(s.request, s.request.Rows[good])
	}
}

// pause waits before the next try: by chance, up to a time that doubles, so that many clients do not come back in step.
func (c *client) pause(ctx context.Context, tries int, after time.Duration) bool {
	d := maxPause
	if shift := tries - 1; shift < 16 && minPause<<shift < maxPause {
		d = minPause << shift
	}
	d = time.Duration(c.o.Random() * float64(d))
	return sleep(ctx, after+d) == nil
}

// try makes a call when the server is not known to be down. While it is down, a row that is known to be good is the probe.
func (c *client) try(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	for {
		probe, err := c.breaker.enter(ctx, c.o.Retries < 0)
		if err != nil {
			return nil, &Error{Class: Unavailable, Err: err}
		}
		if !probe {
			return c.once(ctx, r, rows, false)
		}
		w := c.known()
		if w == nil {
			defer c.breaker.probed()
			return c.once(ctx, r, rows, true)
		}
		_, fault := c.once(ctx, w, w.Rows, true)
		c.breaker.probed()
		if fault != nil && c.o.Retries >= 0 {
			return nil, fault
		}
	}
}

// probe tells whether the server predicts rows, now.
func (c *client) probe(ctx context.Context, r *Request, rows []int) bool {
	a, err := c.once(ctx, r, rows, true)
	if err != nil || a.Problems != nil && a.Problems[0] != nil {
		return false
	}
	c.remember(r, rows[0])
	return true
}

// once makes a call, and counts it.
func (c *client) once(ctx context.Context, r *Request, rows []int, probe bool) (*Answer, *Error) {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return nil, &Error{Class: Unavailable, Err: ctx.Err()}
	}
	c.count(func(s *Stats) { s.InFlight++ })
	start := c.o.Now()
	timed, cancel := context.WithTimeout(ctx, c.o.Timeout)
	answer, err := c.caller.call(timed, r, rows)
	cancel()
	call := Call{Rows: len(rows), Duration: c.o.Now().Sub(start), Probe: probe}
	if err != nil {
		call.Class, call.Err = err.Class, &Error{Class: err.Class, Where: c.where, Err: err.Err, Hint: err.Hint}
	}
	c.count(func(s *Stats) {
		s.InFlight--
		s.Calls++
		switch {
		case err != nil:
			s.Failures[err.Class]++
		case !probe:
			s.Rows += uint64(len(rows))
		}
	})
	if ctx.Err() == nil { // a call that was given up by who made it says nothing about the server
		c.report(err)
	}
	if c.o.Observe != nil {
		c.o.Observe(call)
	}
	return answer, err
}

// report tells the breaker what a call says of the server. One that refuses, or is overloaded for a moment, is there.
func (c *client) report(err *Error) {
	switch {
	case err == nil:
		c.breaker.report(true)
	case err.Class == Refused, err.after > 0:
	default:
		c.breaker.report(false)
	}
}

func (c *client) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// known returns a request of one row that the server has predicted, or nil.
func (c *client) known() *Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.witness.request
}

// remember keeps a row that was predicted.
func (c *client) remember(r *Request, row int) {
	now := c.o.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.witness.request == nil || now.Sub(c.witness.since) >= witnessAge {
		c.witness = witness{oneRow(r, row), now}
	}
}

// oneRow returns a request for one row of r that shares nothing with it which its owner may change.
func oneRow(r *Request, row int) *Request {
	out := &Request{Rows: []int{0}, Digest: r.Digest}
	if r.Frame != nil {
		out.Frame = &record.Frame{Rows: 1, Columns: make([]record.Column, len(r.Frame.Columns))}
		for i, from := range r.Frame.Columns {
			to := &out.Frame.Columns[i]
			to.Name, to.Type, to.Levels = from.Name, from.Type, from.Levels
			if from.Type == record.Numeric {
				to.Numbers = []float64{from.Numbers[row]}
			} else {
				to.Codes = []int32{from.Codes[row]}
			}
		}
	}
	if r.Value != nil {
		value := append([]byte(nil), r.Value(row)...)
		out.Value = func(int) []byte { return value }
	}
	return out
}
