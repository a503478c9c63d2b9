// Package topology declares the application that the tests of package streams torture. What it should write can be
// computed from its input alone.
package topology

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"millrace.dev/stream"
)

// The topics.
const (
	Name    = "torture"
	Events  = "events"  // key: one of Users; value: GROUP,NUMBER; all of it in order
	Users   = "users"   // key: the user; value: the name
	Joined  = "joined"  // one for each event: NAME:GROUP,NUMBER
	Counts  = "counts"  // one for each event: how many of its key there were
	Windows = "windows" // one for each event: how many of its group and window there were
	Letters = "letters" // events that are not GROUP,NUMBER, or whose number is a multiple of Poison
)

// Window is the size of the windows.
const Window = 10 * time.Second

// Poison is of which multiples a number is refused.
const Poison = 1009

// Group returns the group of an event.
func Group(_ string, v string) string {
	g, _, _ := strings.Cut(v, ",")
	return g
}

var errPoison = &stream.Rejection{Stage: "process", Class: "poison", Reason: "the number is not wanted"}

// check refuses some events, in batches.
func check(_ context.Context, b *stream.Batch[string, string, string]) error {
	for i := range b.In {
		v := b.In[i].Value
		_, number, ok := strings.Cut(v, ",")
		n, err := strconv.Atoi(number)
		switch {
		case !ok || err != nil:
			b.Out[i].Err = errors.New("not a group and a number")
		case n%Poison == 0:
			b.Out[i].Err = errPoison
		default:
			b.Out[i].Value = v
		}
	}
	return nil
}

// New declares the application.
func New() *stream.Topology {
	t := stream.New(Name, stream.DeadLetters(Letters))
	events := stream.From(t, Events, stream.String(), stream.String())
	checked := stream.MapBatch(events, "check", check, stream.BatchOptions{MaxSize: 100, Concurrency: 4, OnError: stream.OnError(stream.DeadLetter)})
	users := stream.TableFrom(t, "users", Users, stream.String(), stream.String())
	joined := stream.LeftJoinTable(checked, users, "with-user", func(e, u string, ok bool) string {
		if !ok {
			u = "nobody"
		}
		return u + ":" + e
	})
	joined.To(Joined, stream.Provenance())
	stream.Count(stream.GroupByKey(checked), "count").ToStream().Keys(stream.String()).To(Counts, stream.Provenance())
	groups := stream.GroupBy(checked, stream.String(), Group)
	windows := stream.CountWindows(stream.WindowedBy(groups, stream.Tumbling(Window).Grace(time.Hour)), "window")
	windows.ToStream().To(Windows)
	return t
}
