package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// LeaderConfig says what is led.
type LeaderConfig struct {
	Group string // the consumer group whose members stand by; a group of nobody else
	Topic string // one that exists; who has its partition 0 leads. It is not read
	// SessionTimeout is how long a leader may be silent before another one takes over. Default: 30 s
	SessionTimeout time.Duration
}

const defaultLeaderTimeout = 30 * time.Second

// Lead is the time of a leader.
type Lead struct {
	session *Session
	topic   string
	saves   chan save
}

// save is a state that is to be kept, and where to say what came of it.
type save struct {
	text string
	done chan error
}

// ErrNotLeader means that another member leads by now, or none does.
var ErrNotLeader = errors.New("not the leader any more")

// State returns what was saved last, by this leader or one before; "" if nothing was. Brokers forget it once the group has been
// empty for a week, if they are not told otherwise.
func (l *Lead) State() string {
	at, _ := l.session.Position(l.topic, 0)
	return at.Metadata
}

// Save keeps a text of at most 4 KiB for whoever leads next. The brokers take it from the leader alone: an error matches
// [ErrNotLeader], or is one of ctx or of the brokers.
func (l *Lead) Save(ctx context.Context, text string) error {
	s := save{text, make(chan error, 1)}
	select {
	case l.saves <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lead stands by until this process leads, and then calls lead, with a context that ends when it does no more; lead is then to
// return, and is called again when this process leads again. At any time at most one member of the group leads, apart from a
// process that was stopped or cut off, which does not know it yet: what it does meanwhile must be harmless. Its saves fail.
//
// Lead returns nil when ctx ends. It also returns when lead returns while it leads, with its error, and with an error that no new session mends; tell, which
// can be nil, is told of the others.
func (c *Client) Lead(ctx context.Context, lc LeaderConfig, tell func(error), lead func(context.Context, *Lead) error) error {
	if lc.SessionTimeout == 0 {
		lc.SessionTimeout = defaultLeaderTimeout
	}
	backoff := Backoff{Min: 200 * time.Millisecond, Max: 10 * time.Second}
	for try := 1; ; try++ {
		began := time.Now()
		ended, err := c.stand(ctx, &lc, lead)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // that is how it ends
		case ended || Recover(err) == Fatal:
			return err
		}
		if tell != nil {
			tell(err)
		}
		if time.Since(began) > time.Minute {
			try = 1
		}
		select {
		case <-time.After(backoff.Pause(try)):
		case <-ctx.Done():
			return nil
		}
	}
}

// standing is a member of a group that leads or stands by.
type standing struct {
	*Session

	config *LeaderConfig
	went   atomic.Uint64 // how often the partition went
	lead   func(context.Context, *Lead) error
	saves  chan save
}

// stand takes part in the group with one session. It returns whether lead has ended by itself, and its error.
func (c *Client) stand(ctx context.Context, lc *LeaderConfig, lead func(context.Context, *Lead) error) (ended bool, err error) {
	s := &standing{config: lc, lead: lead, saves: make(chan save)}
	s.Session, err = c.Join(ctx, SessionConfig{
		Group: lc.Group, Topics: []SourceTopic{{Name: lc.Topic}}, Paused: true, SessionTimeout: lc.SessionTimeout, Changed: func(ch Change) {
			if len(ch.Revoked[lc.Topic])+len(ch.Lost[lc.Topic]) > 0 {
				s.went.Add(1)
			}
		},
	})
	if err != nil {
		return false, err
	}
	defer s.Close(ctx)
	for ctx.Err() == nil {
		before := s.went.Load()
		if err := s.keep(ctx, nil); err != nil {
			return false, err
		}
		if s.leads(before) {
			if ended, err := s.rule(ctx, before); ended || err != nil {
				return ended, err
			}
		}
	}
	return true, nil
}

// leads tells whether the partition is here, and has been since it went for the given time.
func (s *standing) leads(went uint64) bool {
	_, known := s.Position(s.config.Topic, 0)
	silence, _ := s.Silence()
	return known && s.went.Load() == went && silence < s.config.SessionTimeout
}

// pulse is how often a member looks whether it leads.
const pulse = 500 * time.Millisecond

// keep stays in the group for a while, or until done is closed or there is something to save.
func (s *standing) keep(ctx context.Context, done <-chan struct{}) error {
	pctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waiting := make(chan save, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case x := <-s.saves:
			waiting <- x
			cancel()
		case <-done:
			cancel()
		case <-pctx.Done():
		}
	}()
	_, err := s.Poll(pctx, pulse, 1)
	cancel()
	<-stopped
	select {
	case x := <-waiting:
		x.done <- s.commit(ctx, x.text)
	default:
	}
	if err != nil && Recover(err) == Retry {
		return nil
	}
	return err
}

// commit saves a state with the offset that the group had, which nobody reads from.
func (s *standing) commit(ctx context.Context, text string) error {
	at, ok := s.Position(s.config.Topic, 0)
	if !ok {
		return ErrNotLeader
	}
	if err := s.Begin(); err != nil {
		return err
	}
	want := Position{Offset: at.Offset, Metadata: text}
	if _, err := s.Commit(ctx, Positions{s.config.Topic: {0: want}}); err != nil {
		return err
	}
	if is, _ := s.Position(s.config.Topic, 0); is != want { // the group has gone on without this member
		return ErrNotLeader
	}
	return nil
}

// rule calls lead for as long as this member leads.
func (s *standing) rule(ctx context.Context, went uint64) (ended bool, err error) {
	lctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	var result error
	go func() {
		defer close(done)
		result = s.lead(lctx, &Lead{session: s.Session, topic: s.config.Topic, saves: s.saves})
	}()
	var fault error
	leads := true
	for {
		if leads && fault == nil {
			fault = s.keep(ctx, done)
			leads = fault == nil && s.leads(went)
		}
		if !leads || ctx.Err() != nil {
			cancel()
			s.drain(done)
		}
		select {
		case <-done:
			if !leads && ctx.Err() == nil {
				return false, fault
			}
			return true, result
		default:
		}
	}
}

// drain waits for the end of lead, and refuses what it wants to save.
func (s *standing) drain(done <-chan struct{}) {
	for {
		select {
		case x := <-s.saves:
			x.done <- ErrNotLeader
		case <-done:
			return
		}
	}
}
