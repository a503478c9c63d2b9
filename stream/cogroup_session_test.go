package stream_test

import (
	"testing"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestCogroupInSessions: a record of one group joins a session that one of another has begun, also after a crash.
func TestCogroupInSessions(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	merge := func(_, a, b string) string { return a + b }
	all := stream.AggregateCogroupSessions(cogrouped(top), stream.Sessions(ms(10)), "all", stream.String(), start, merge)
	stream.SuppressUntilWindowCloses(all, "final", stream.Unbounded()).ToStream().To("out")
	d := drive(t, top)
	numbers := streamtest.NewInput(d.Driver, "numbers", stream.String(), stream.Int64())
	d.in.Pipe("a", "b", 5)
	numbers.Pipe("a", 7, 14)
	d.LoseState()
	numbers.Pipe("a", 8, 9)
	d.in.Pipe("c", "d", 23) // closes what ends up to 13
	want(t, "the session of b", "b[5,5)=*@5", d.read())
	d.Rebalance(0, 0)
	numbers.Pipe("e", 1, 24)
	want(t, "the session of a", "a[5,14)=+b#7#8@14", d.read())
}
