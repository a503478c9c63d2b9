//go:build unix

package streams

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/streams/topology"
)

// eventsPlay is a join, a count and a window.
type eventsPlay struct {
	names  map[string]string // by user
	events []Event
}

func newEventsPlay() play { return &eventsPlay{names: map[string]string{}} }

func (*eventsPlay) about() about {
	return about{
		name: topology.Name, table: topology.Users,
		topics: []string{topology.Events, topology.Users, topology.Joined, topology.Counts, topology.Windows, topology.Letters},
		reads:  []string{topology.Events, topology.Name + "-window-repartition"},
		stores: []string{"count", "window"},
	}
}

func user(i int) string { return fmt.Sprintf("user-%03d", i) }

// before fills the table: every third user has no row. The joins do not change from then on.
func (p *eventsPlay) before(ctx context.Context, s *stage) {
	s.t.Helper()
	cl := s.client()
	for i := range users {
		if i%3 == 0 {
			continue
		}
		p.names[user(i)] = fmt.Sprintf("name of %d", i)
		r := &kgo.Record{Topic: topology.Users, Key: []byte(user(i)), Value: []byte(p.names[user(i)])}
		s.must(cl.ProduceSync(ctx, r).FirstErr())
	}
}

// send notes where the events are.
func (p *eventsPlay) send(ctx context.Context, s *stage, rng *rand.Rand, n int) error {
	p.events = make([]Event, n)
	start := longAgo().UnixMilli()
	return s.feed(ctx, n, func(i int) *kgo.Record {
		e := &p.events[i]
		*e = Event{User: user(rng.IntN(users)), Group: fmt.Sprintf("group-%02d", rng.IntN(20)), Number: i, Timestamp: start + int64(i)*5 + rng.Int64N(3000)}
		if rng.IntN(500) == 0 {
			e.Undecoded = "no event at all"
		}
		return &kgo.Record{Topic: topology.Events, Key: []byte(e.User), Value: []byte(e.Value()), Timestamp: time.UnixMilli(e.Timestamp)}
	}, func(i int, r *kgo.Record) { p.events[i].Partition, p.events[i].Offset = r.Partition, r.Offset })
}

func (p *eventsPlay) judge(ctx context.Context, t *testing.T, bootstrap []string) []string {
	t.Helper()
	return Judge(p.events, p.names, collect(ctx, t, bootstrap))
}
