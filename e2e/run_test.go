//go:build unix

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
)

// TestThreeInstances runs three instances on three brokers, kills one of them in the middle and starts it again, and
// stops another one. Whatever happens, each record has exactly one committed result, which is that of `millrace
// predict`, and the order of each key is kept; a consumer that reads along sees nothing else at any time.
func TestThreeInstances(t *testing.T) {
	seed := newSeed(t)
	runs, err := strconv.Atoi(os.Getenv(tortureEnv))
	if err != nil || runs <= 0 {
		killInstances(t, seed, scale{records: 100_000, perSecond: 4000, faults: (*crew).shortFaults})
		return
	}
	for i := range uint64(runs) {
		t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) {
			killInstances(t, seed+i, scale{records: 360_000, perSecond: 4000, faults: (*crew).longFaults})
		})
	}
}

// scale is the size of a run.
type scale struct {
	records, perSecond int
	faults             func(*crew, *rand.Rand, time.Duration) []fault
}

func killInstances(t *testing.T, seed uint64, s scale) {
	const partitions, keys = 12, 2000
	ctx := deadline(t, 10*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 3})
	p := newProject(t, cluster, seed)
	p.createTopics(ctx, t, partitions, nil)
	tr := p.newTraffic(t, seed, s.records, keys, partitions)
	crew := p.muster(ctx, t, 3, partitions)
	oracle, observer := p.watch(t, tr)

	d := p.deliver(ctx, t, tr, s.perSecond)
	length := time.Duration(s.records/s.perSecond) * time.Second
	faults := s.faults(crew, newRand(seed), length)
	inflict(ctx, t, d.began, faults)
	must(t, d.wait(ctx))
	sent := time.Now()
	if err := observer.Wait(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("the last result could be read %s after the last record was sent", time.Since(sent).Round(time.Millisecond))
	crew.stop(ctx)
	must(t, observer.Drain(ctx))

	r := oracle.Report()
	report(t, seed, r, d.began, faults)
	t.Logf("instances ended after SIGTERM within %v", crew.ended)
	if err := r.Err(); err != nil {
		t.Errorf("as a consumer saw it: %v", err)
	}
	p.judge(ctx, t, tr)
}

func report(t *testing.T, seed uint64, r *torture.Report, began time.Time, faults []fault) {
	t.Helper()
	t.Logf("%s=%d: %s; the longest gap began %.1fs after the first record\n%s", seedEnv, seed, r, r.GapAt.Sub(began).Seconds(), chronicle(began, faults, r))
}

// TestAtLeastOnce kills an instance that runs without transactions: nothing is lost, and what comes twice is counted.
func TestAtLeastOnce(t *testing.T) {
	const partitions, keys, records, perSecond = 6, 500, 30_000, 3000
	seed := newSeed(t)
	ctx := deadline(t, 5*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	p := newProject(t, cluster, seed)
	p.createTopics(ctx, t, partitions, nil)
	tr := p.newTraffic(t, seed, records, keys, partitions)
	mode := []string{"--set", "guarantee=at_least_once"}
	crew := p.muster(ctx, t, 2, partitions, mode...)
	oracle, observer := p.watch(t, tr)

	d := p.deliver(ctx, t, tr, perSecond)
	faults := []fault{crew.kill(3*time.Second, 0), crew.restart(4*time.Second, 0, mode...)}
	inflict(ctx, t, d.began, faults)
	must(t, d.wait(ctx))
	if err := observer.Wait(ctx); err != nil {
		t.Error(err)
	}
	crew.stop(ctx)
	must(t, observer.Drain(ctx))

	r := oracle.Report()
	report(t, seed, r, d.began, faults)
	t.Logf("%d results came twice, %d out of order", r.Duplicated, r.Reordered)
	repeats := *r
	repeats.Duplicated, repeats.Reordered = 0, 0
	if err := repeats.Err(); err != nil {
		t.Error(err)
	}
	p.checkSource(ctx, t, tr)
	p.checkLetters(ctx, t, tr)
}
