package engine

import (
	"context"
	"log/slog"
	"time"

	"millrace.dev/internal/kafka"
)

// How often the monitor looks, and what it finds worth a line in the log.
const (
	lookEvery    = time.Second
	measureEvery = 5 * time.Second
	silentFor    = 4 * time.Second // heartbeats come every second
	stalledFor   = 30 * time.Second
)

// monitor watches from outside what the client does by itself, so that nothing stands still in silence: whether
// brokers answer, whether the topics are still the same, how much waits, whether that becomes less. It returns
// when ctx is cancelled; it cancels the run when the topics have changed.
func (e *Engine) monitor(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	m := watch{
		engine: e, backoff: kafka.Backoff{Min: silentFor, Max: time.Minute},
		measured: time.Now(), moved: time.Now(), stalled: stalledFor,
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := e.current.Load()
		if s == nil { // Run itself tries, and says so
			m.silent, m.moved, m.measured = 0, time.Now(), time.Now()
			continue
		}
		if !m.answers(ctx, s) || time.Since(m.measured) < measureEvery {
			continue
		}
		m.measured = time.Now()
		if err := m.measure(ctx); err != nil && ctx.Err() == nil && kafka.Recover(err) == kafka.Fatal {
			cancel(err)
			return
		}
	}
}

// watch is what the monitor remembers.
type watch struct {
	engine   *Engine
	backoff  kafka.Backoff
	silent   int           // lines logged in this silence
	next     time.Duration // of silence, until the next line
	measured time.Time
	moved    time.Time // when there was last progress, or nothing to do
	commits  uint64
	stalled  time.Duration // since moved, until the next line
}

// answers tells whether brokers answer the session, and logs when they stop and when they begin again.
func (m *watch) answers(ctx context.Context, s *kafka.Session) bool {
	e := m.engine
	d, failure := s.Silence()
	if d < silentFor {
		if m.silent > 0 {
			m.silent = 0
			e.stats.setState(Running)
			e.options.Log.LogAttrs(ctx, slog.LevelInfo, "kafka answers again")
		}
		m.next = silentFor
		return true
	}
	m.moved = time.Now()
	if d < m.next {
		return false
	}
	m.silent++
	m.next = d + m.backoff.Pause(m.silent)
	e.stats.setState(WaitingForBroker)
	e.options.Log.LogAttrs(ctx, slog.LevelWarn, "kafka does not answer; trying again", slog.Any("brokers", e.options.Client.Brokers()),
		slog.Duration("for", d.Round(time.Second)), slog.Any("error", failure), slog.String("hint", "check the brokers and the network between"))
	return false
}

// measure compares the topics with what they were, and notes the lag.
func (m *watch) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	e := m.engine
	if err := e.checkTopics(ctx); err != nil {
		return err
	}
	e.checkGrown()
	if err := m.lag(ctx); unknown(err) {
		return nil // the topics were there a moment ago: the next time shows whether they are gone
	} else if err != nil {
		return err
	}
	m.progress(ctx)
	return nil
}

// lag notes how much waits.
func (m *watch) lag(ctx context.Context) error {
	e := m.engine
	at, err := e.options.Client.Committed(ctx, e.options.Group)
	if err != nil {
		return err
	}
	for _, t := range e.session.Topics {
		end, err := e.options.Client.EndOffsets(ctx, t.Name, true)
		if err != nil {
			return err
		}
		start, err := e.options.Client.StartOffsets(ctx, t.Name)
		if err != nil {
			return err
		}
		e.stats.measured(t.Name, end, start, at.Offsets(t.Name))
	}
	return nil
}

// progress logs when records wait and nothing is committed.
func (m *watch) progress(ctx context.Context) {
	e := m.engine
	s := e.stats.snapshot()
	// The markers of a transaction at the end of a partition are never read.
	if s.Commits != m.commits || s.Paused != "" || s.activeLag() <= int64(len(s.Lag)) {
		m.commits, m.moved, m.stalled = s.Commits, time.Now(), stalledFor
		return
	}
	if d := time.Since(m.moved); d >= m.stalled {
		m.stalled = 2 * d
		e.stats.setState(Stalled)
		e.options.Log.LogAttrs(ctx, slog.LevelWarn, "records wait and none are committed", slog.String("group", e.options.Group),
			slog.Int64("lag", s.TotalLag()), slog.Duration("for", d.Round(time.Second)),
			slog.String("hint", "look at the brokers' logs, and for transactions that hang on the source topic"))
	}
}
