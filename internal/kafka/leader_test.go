package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// candidate is a member of a group of which one leads.
type candidate struct {
	leads chan *Lead // each time that it leads
	ended chan struct{}
	err   error
	stop  context.CancelFunc
}

func stand(t *testing.T, c *Client, lead func(ctx context.Context, l *Lead) error) *candidate {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &candidate{leads: make(chan *Lead, 10), ended: make(chan struct{}), stop: cancel}
	if lead == nil {
		lead = func(ctx context.Context, l *Lead) error {
			m.leads <- l
			<-ctx.Done()
			return ctx.Err()
		}
	}
	go func() {
		defer close(m.ended)
		m.err = c.Lead(ctx, LeaderConfig{Group: "g", Topic: "t", SessionTimeout: 1200 * time.Millisecond}, nil, lead)
	}()
	t.Cleanup(func() {
		cancel()
		<-m.ended
	})
	return m
}

func (m *candidate) end(t *testing.T) {
	t.Helper()
	m.stop()
	<-m.ended
	if m.err != nil {
		t.Error(m.err)
	}
}

// TestLead has one of two members lead, and the other one take over with what was saved.
func TestLead(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	a := stand(t, c, nil)
	first := <-a.leads
	if s := first.State(); s != "" {
		t.Errorf("there is a state: %q", s)
	}
	b := stand(t, c, nil)
	for _, text := range []string{"one", "two"} {
		if err := first.Save(t.Context(), text); err != nil || first.State() != text {
			t.Fatalf("%v, %q", err, first.State())
		}
	}
	select {
	case <-b.leads:
		t.Fatal("two lead")
	default:
	}
	a.end(t)
	second := <-b.leads
	if s := second.State(); s != "two" {
		t.Errorf("the state is %q", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := first.Save(ctx, "three"); err == nil || second.State() != "two" {
		t.Errorf("who leads no more has saved: %v", err)
	}
	b.end(t)
}

// TestLeadLost takes the partition from a leader without a word: its context ends, what it saves then is refused, and it may lead again.
func TestLeadLost(t *testing.T) {
	t.Parallel()
	cluster, c := open(t)
	saved := make(chan error, 1)
	times := make(chan int, 10)
	n := 0
	m := stand(t, c, func(ctx context.Context, l *Lead) error {
		n++
		times <- n
		<-ctx.Done()
		if n == 1 {
			saved <- l.Save(context.WithoutCancel(ctx), "late")
		}
		return nil
	})
	<-times
	expelled := false
	cluster.ControlKey(12, func(req kmsg.Request) (kmsg.Response, error, bool) { // heartbeats
		cluster.KeepControl()
		if expelled {
			return nil, nil, false
		}
		expelled = true
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse) //nolint:errcheck,forcetypeassert // the key says so
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	if err := <-saved; !errors.Is(err, ErrNotLeader) {
		t.Errorf("saved: %v", err)
	}
	if n := <-times; n != 2 {
		t.Errorf("it led %d times", n)
	}
	m.end(t)
}

// TestLeadEnds returns what lead returns by itself, and what no new session mends.
func TestLeadEnds(t *testing.T) {
	t.Parallel()
	_, c := open(t, kfake.SeedTopics(1, "u"))
	boom := errors.New("boom")
	m := stand(t, c, func(context.Context, *Lead) error { return boom })
	<-m.ended
	if !errors.Is(m.err, boom) {
		t.Error(m.err)
	}
	err := c.Lead(t.Context(), LeaderConfig{}, nil, func(context.Context, *Lead) error { return nil })
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeConfig {
		t.Error(err)
	}
}
