//go:build unix

package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"millrace.dev/e2e/kafkatest"
)

// What an instance says when no broker answers, and when one does again.
const (
	saysAway   = `msg="kafka does not answer; trying again"`
	saysAnswer = `msg="kafka answers again"`
	saysHint   = `hint="check`
)

// TestBrokerLoss starts the pipeline before any broker runs, kills one broker of three while it works, and then all
// of them for ten seconds. The instances say so, and go on by themselves.
func TestBrokerLoss(t *testing.T) {
	const partitions, keys, records, perSecond = 6, 500, 45_000, 1000
	seed := newSeed(t)
	ctx := deadline(t, 10*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 3})
	p := newProject(t, cluster, seed)
	p.createTopics(ctx, t, partitions, nil)
	tr := p.newTraffic(t, seed, records, keys, partitions)

	must(t, p.allBrokers(ctx, cluster.Kill)) // they do not run yet, as far as the pipeline knows
	crew := p.recruit(t, 2)
	for _, m := range crew.members {
		must(t, m.says(ctx, saysAway, 2)) // it has tried more than once
		must(t, m.says(ctx, saysHint, 1))
		if code, body, err := m.get(ctx, "/readyz"); err != nil || code != 503 {
			t.Errorf("without a broker %s answers /readyz with %d %q, %v", m.id, code, body, err)
		}
	}
	lone := p.start(t, "lone")
	must(t, lone.says(ctx, saysAway, 1))
	d, err := lone.terminate(ctx)
	must(t, err)
	t.Logf("without a broker an instance ended after SIGTERM within %v", d)
	must(t, p.allBrokers(ctx, cluster.Restart))
	crew.settled(ctx, partitions)

	oracle, observer := p.watch(t, tr)
	stream := p.deliver(ctx, t, tr, perSecond)
	rng := newRand(seed)
	faults := append(crew.breakBroker(3*time.Second, 7*time.Second, rng.IntN(3)),
		fault{at: 8 * time.Second, what: "(wait for replicas)", do: cluster.WaitInSync},
		fault{at: 22 * time.Second, what: "SIGKILL all brokers", do: func(ctx context.Context) error { return p.allBrokers(ctx, cluster.Kill) }},
		fault{at: 32 * time.Second, what: "start all brokers", do: func(ctx context.Context) error { return p.allBrokers(ctx, cluster.Restart) }},
	)
	away := make([]int, len(crew.members))
	for i, m := range crew.members {
		away[i] = m.count(saysAway)
	}
	inflict(ctx, t, stream.began, faults)
	must(t, stream.wait(ctx))
	if err := observer.Wait(ctx); err != nil {
		t.Error(err)
	}
	for i, m := range crew.members {
		if m.count(saysAway) == away[i] {
			t.Errorf("%s has not said that no broker answers", m.id)
		}
		if m.proc.Ended() {
			t.Errorf("%s has ended: %v", m.id, m.proc.State())
		}
		t.Logf("%s: %d lines on silence, %d of the end of it, %d sessions", m.id, m.count(saysAway), m.count(saysAnswer), m.count("msg=running "))
	}
	crew.stop(ctx)
	must(t, observer.Drain(ctx))
	r := oracle.Report()
	report(t, seed, r, stream.began, faults)
	if err := r.Err(); err != nil {
		t.Errorf("as a consumer saw it: %v", err)
	}
	p.judge(ctx, t, tr)
}

// allBrokers does something to each broker, at once.
func (p *project) allBrokers(ctx context.Context, do func(context.Context, int) error) error {
	errs := make([]error, len(p.cluster.Bootstrap()))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = do(ctx, i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
