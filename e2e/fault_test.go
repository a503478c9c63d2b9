//go:build unix

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace.dev/e2e/torture"
)

// fault is something that is done to a pipeline at work, or the end of it.
type fault struct {
	at   time.Duration // since the first message was due
	what string
	do   func(context.Context) error
	done time.Time // when it was done
}

// crew is the instances of a project, some of them down.
type crew struct {
	p       *project
	t       *testing.T
	members []*instance // the last one of each name
	down    []bool
	ended   []time.Duration // how long the ends after SIGTERM took
}

// recruit starts n instances.
func (p *project) recruit(t *testing.T, n int, more ...string) *crew {
	t.Helper()
	c := &crew{p: p, t: t, members: make([]*instance, n), down: make([]bool, n)}
	for i := range n {
		c.members[i] = p.start(t, fmt.Sprintf("instance-%d", i), more...)
	}
	return c
}

// muster starts n instances and waits until they share the partitions.
func (p *project) muster(ctx context.Context, t *testing.T, n, partitions int, more ...string) *crew {
	t.Helper()
	c := p.recruit(t, n, more...)
	c.settled(ctx, partitions)
	return c
}

// settled waits until the instances share the partitions.
func (c *crew) settled(ctx context.Context, partitions int) {
	c.t.Helper()
	admin := c.p.admin(c.t)
	must(c.t, settled(ctx, admin, c.p.topics.Source, partitions, len(c.members)))
}

// kill returns the fault of a SIGKILL.
func (c *crew) kill(at time.Duration, i int) fault {
	return fault{at: at, what: "SIGKILL " + c.members[i].id, do: func(ctx context.Context) error {
		c.down[i] = true
		return c.members[i].kill(ctx)
	}}
}

// terminate returns the fault of a SIGTERM.
func (c *crew) terminate(at time.Duration, i int) fault {
	return fault{at: at, what: "SIGTERM " + c.members[i].id, do: func(ctx context.Context) error {
		c.down[i] = true
		d, err := c.members[i].terminate(ctx)
		c.ended = append(c.ended, d)
		return err
	}}
}

// restart returns the start of an instance that is down, under its old name.
func (c *crew) restart(at time.Duration, i int, more ...string) fault {
	return fault{at: at, what: "start " + c.members[i].id, do: func(context.Context) error {
		c.members[i], c.down[i] = c.p.start(c.t, c.members[i].id, more...), false
		return nil
	}}
}

// freeze returns a SIGSTOP and the SIGCONT after it: a process that is away without being dead.
func (c *crew) freeze(at, thaw time.Duration, i int) []fault {
	signal := func(s syscall.Signal) func(context.Context) error {
		return func(context.Context) error { return c.members[i].proc.Signal(s) }
	}
	return []fault{
		{at: at, what: "SIGSTOP " + c.members[i].id, do: signal(syscall.SIGSTOP)},
		{at: thaw, what: "SIGCONT " + c.members[i].id, do: signal(syscall.SIGCONT)},
	}
}

// breakBroker returns the SIGKILL of a broker and its start.
func (c *crew) breakBroker(at, back time.Duration, i int) []fault {
	return []fault{
		{at: at, what: fmt.Sprintf("SIGKILL broker %d", i), do: func(ctx context.Context) error { return c.p.cluster.Kill(ctx, i) }},
		{at: back, what: fmt.Sprintf("start broker %d", i), do: func(ctx context.Context) error { return c.p.cluster.Restart(ctx, i) }},
	}
}

// stop ends the instances that are up, each of which has to end in good order.
func (c *crew) stop(ctx context.Context) {
	c.t.Helper()
	for i, m := range c.members {
		if c.down[i] {
			continue
		}
		d, err := m.terminate(ctx)
		if err != nil {
			c.t.Error(err)
		}
		c.ended = append(c.ended, d)
	}
}

// inflict does the faults, each at its time after began, or as soon as the one before it is done.
func inflict(ctx context.Context, t *testing.T, began time.Time, faults []fault) {
	t.Helper()
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	for i := range faults {
		f := &faults[i]
		must(t, pause(ctx, time.Until(began.Add(f.at))))
		f.done = time.Now()
		if err := f.do(ctx); err != nil {
			t.Errorf("%s: %v", f.what, err)
		}
	}
}

// shortFaults kills an instance in the middle of the traffic and starts it again later, sooner or later than the
// group notices; and ends another one in good order, which comes back or not.
func (c *crew) shortFaults(rng *rand.Rand, length time.Duration) []fault {
	part := func(share float64) time.Duration { return time.Duration(share * float64(length)) }
	order := rng.Perm(len(c.members))
	killed := part(0.25 + 0.1*rng.Float64())
	back := killed + 300*time.Millisecond + time.Duration(rng.Int64N(int64(10*time.Second)))
	stopped := part(0.6 + 0.1*rng.Float64())
	faults := []fault{c.kill(killed, order[0]), c.restart(back, order[0]), c.terminate(stopped, order[1])}
	if rng.IntN(2) == 0 {
		faults = append(faults, c.restart(stopped+time.Second+time.Duration(rng.Int64N(int64(3*time.Second))), order[1]))
	}
	return faults
}

// longFaults draws faults of every kind, with quiet times between them. One instance at least is up at any time, one
// broker at most is down, and in the end all are there.
func (c *crew) longFaults(rng *rand.Rand, length time.Duration) []fault {
	draw := func(low, high time.Duration) time.Duration { return low + time.Duration(rng.Int64N(int64(high-low))) }
	var faults []fault
	free := make([]time.Duration, len(c.members)) // from when on an instance is up
	var brokers time.Duration                     // from when on all brokers are up
	for at := 3 * time.Second; at < length-15*time.Second; at += draw(time.Second, 8*time.Second) {
		if rng.IntN(4) == 0 {
			at += 5 * time.Second
			continue
		}
		up := slices.DeleteFunc(rng.Perm(len(c.members)), func(i int) bool { return free[i] > at })
		kind := rng.IntN(8)
		switch {
		case kind == 7 && brokers <= at:
			back := at + draw(time.Second, 8*time.Second)
			brokers = back + 15*time.Second // until its replicas have caught up
			faults = append(faults, c.breakBroker(at, back, rng.IntN(3))...)
		case len(up) < 2:
		case kind < 4:
			free[up[0]] = at + draw(200*time.Millisecond, 12*time.Second)
			faults = append(faults, c.kill(at, up[0]), c.restart(free[up[0]], up[0]))
			free[up[0]] += 2 * time.Second
		case kind < 6:
			free[up[0]] = at + draw(time.Second, 8*time.Second)
			faults = append(faults, c.terminate(at, up[0]), c.restart(free[up[0]], up[0]))
			free[up[0]] += 2 * time.Second
		default:
			free[up[0]] = at + draw(time.Second, 14*time.Second)
			faults = append(faults, c.freeze(at, free[up[0]], up[0])...)
			free[up[0]] += 2 * time.Second
		}
	}
	return faults
}

// cause returns the fault that a pause came of: the first one in it, or else the last one shortly before it;
// len(faults) if there is none.
func cause(faults []fault, p torture.Pause) int {
	before := len(faults)
	for i, f := range faults {
		switch {
		case f.done.IsZero() || f.done.After(p.To) || p.From.Sub(f.done) > time.Second:
		case f.done.After(p.From):
			return i
		default:
			before = i
		}
	}
	return before
}

// chronicle tells which pauses of the partitions came of which fault.
func chronicle(began time.Time, faults []fault, r *torture.Report) string {
	type effect struct {
		partitions map[int32]bool
		longest    torture.Pause
	}
	effects := make([]effect, len(faults)+1) // the last one is of no fault
	for _, pause := range r.Pauses {
		i := cause(faults, pause)
		e := &effects[i]
		if e.partitions == nil {
			e.partitions = map[int32]bool{}
		}
		e.partitions[pause.Partition] = true
		if pause.Length() > e.longest.Length() {
			e.longest = pause
		}
	}
	var b strings.Builder
	for i, e := range effects {
		var name string
		var at time.Time
		switch {
		case i < len(faults):
			name, at = faults[i].what, faults[i].done
			fmt.Fprintf(&b, "  %6.1fs  %-24s", at.Sub(began).Seconds(), name)
		case e.partitions == nil:
			continue
		default:
			at = began
			fmt.Fprintf(&b, "  %7s  %-24s", "", "without a fault")
		}
		if e.partitions == nil {
			fmt.Fprintf(&b, "no pause of %s or more\n", torture.MinPause)
			continue
		}
		fmt.Fprintf(&b, "partitions paused: %d; longest %.2fs (partition %d, from %+.2fs to %+.2fs)\n", len(e.partitions),
			e.longest.Length().Seconds(), e.longest.Partition, e.longest.From.Sub(at).Seconds(), e.longest.To.Sub(at).Seconds())
	}
	return b.String()
}
