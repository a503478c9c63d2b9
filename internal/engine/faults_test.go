package engine

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mendable are faults that brokers answer with at times, and after which the engine has to go on by itself.
func mendable() map[string]kfake.Fault {
	fault := func(key kmsg.Key, err *kerr.Error, count int, top bool) kfake.Fault {
		f := kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: count, TopLevel: top}
		if key == kmsg.Produce {
			f.Topic = sink // not what the test itself writes
		}
		return f
	}
	return map[string]kfake.Fault{
		"produce: leader moved":           fault(kmsg.Produce, kerr.NotLeaderForPartition, 5, false),
		"produce: timed out, yet written": fault(kmsg.Produce, kerr.RequestTimedOut, 3, false),
		"produce: too few replicas":       fault(kmsg.Produce, kerr.NotEnoughReplicas, 5, false),
		"produce: replicas after append":  fault(kmsg.Produce, kerr.NotEnoughReplicasAfterAppend, 3, false),
		"produce: epoch":                  fault(kmsg.Produce, kerr.InvalidProducerEpoch, 1, false),
		"produce: id mapping":             fault(kmsg.Produce, kerr.InvalidProducerIDMapping, 1, false),
		"produce: sequence":               fault(kmsg.Produce, kerr.OutOfOrderSequenceNumber, 1, false),
		"produce: abortable":              fault(kmsg.Produce, kerr.TransactionAbortable, 2, false),
		"produce: storage":                fault(kmsg.Produce, kerr.KafkaStorageError, 3, false),
		"produce: unknown":                fault(kmsg.Produce, kerr.UnknownServerError, 3, false),
		"end: coordinator away":           fault(kmsg.EndTxn, kerr.CoordinatorNotAvailable, 3, true),
		"end: coordinator moved":          fault(kmsg.EndTxn, kerr.NotCoordinator, 3, true),
		"end: coordinator loads":          fault(kmsg.EndTxn, kerr.CoordinatorLoadInProgress, 3, true),
		"end: concurrent":                 fault(kmsg.EndTxn, kerr.ConcurrentTransactions, 5, true),
		"end: unknown":                    fault(kmsg.EndTxn, kerr.UnknownServerError, 2, true),
		"end: timed out":                  fault(kmsg.EndTxn, kerr.RequestTimedOut, 2, true),
		"end: fenced":                     fault(kmsg.EndTxn, kerr.ProducerFenced, 1, true),
		"end: epoch":                      fault(kmsg.EndTxn, kerr.InvalidProducerEpoch, 1, true),
		"end: state":                      fault(kmsg.EndTxn, kerr.InvalidTxnState, 1, true),
		"end: abortable":                  fault(kmsg.EndTxn, kerr.TransactionAbortable, 1, true),
		"offsets: generation":             fault(kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 2, false),
		"offsets: member":                 fault(kmsg.TxnOffsetCommit, kerr.UnknownMemberID, 2, false),
		"offsets: coordinator loads":      fault(kmsg.TxnOffsetCommit, kerr.CoordinatorLoadInProgress, 2, false),
		"offsets: coordinator moved":      fault(kmsg.TxnOffsetCommit, kerr.NotCoordinator, 2, false),
		"offsets: rebalance":              fault(kmsg.TxnOffsetCommit, kerr.RebalanceInProgress, 2, false),
		"offsets: fenced":                 fault(kmsg.TxnOffsetCommit, kerr.ProducerFenced, 1, false),
		"offsets: unknown":                fault(kmsg.TxnOffsetCommit, kerr.UnknownServerError, 2, false),
		"init: concurrent":                fault(kmsg.InitProducerID, kerr.ConcurrentTransactions, 5, true),
		"init: coordinator away":          fault(kmsg.InitProducerID, kerr.CoordinatorNotAvailable, 3, true),
		"heartbeat: rebalance":            fault(kmsg.Heartbeat, kerr.RebalanceInProgress, 2, true),
		"heartbeat: member":               fault(kmsg.Heartbeat, kerr.UnknownMemberID, 1, true),
		"heartbeat: generation":           fault(kmsg.Heartbeat, kerr.IllegalGeneration, 1, true),
		"heartbeat: coordinator moved":    fault(kmsg.Heartbeat, kerr.NotCoordinator, 3, true),
		"join: coordinator loads":         fault(kmsg.JoinGroup, kerr.CoordinatorLoadInProgress, 3, true),
		"sync: rebalance":                 fault(kmsg.SyncGroup, kerr.RebalanceInProgress, 1, true),
		"fetch offsets: unstable":         fault(kmsg.OffsetFetch, kerr.UnstableOffsetCommit, 3, false),
		"fetch: leader moved":             fault(kmsg.Fetch, kerr.NotLeaderForPartition, 10, false),
		"fetch: epoch":                    fault(kmsg.Fetch, kerr.FencedLeaderEpoch, 3, false),
		"fetch: storage":                  fault(kmsg.Fetch, kerr.KafkaStorageError, 3, false),
		"fetch: unknown":                  fault(kmsg.Fetch, kerr.UnknownServerError, 2, false),
		"fetch: out of range":             fault(kmsg.Fetch, kerr.OffsetOutOfRange, 1, false),
		"metadata: leader away":           fault(kmsg.Metadata, kerr.LeaderNotAvailable, 3, false),
		"find coordinator: not available": fault(kmsg.FindCoordinator, kerr.CoordinatorNotAvailable, 3, false),
		"list offsets: leader moved":      fault(kmsg.ListOffsets, kerr.NotLeaderForPartition, 3, false),
		"add offsets: coordinator loads":  fault(kmsg.AddOffsetsToTxn, kerr.CoordinatorLoadInProgress, 3, true),
		"add partitions: concurrent":      fault(kmsg.AddPartitionsToTxn, kerr.ConcurrentTransactions, 3, false),
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	faults := mendable()
	for names := range slices.Chunk(slices.Sorted(maps.Keys(faults)), faultsPerWorld) {
		t.Run(names[0], func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) {
				rng := seeded(t, 1)
				w.cluster.Fault(faults[names[0]]) // also while the engine starts
				in := w.run()
				w.write(300, rng)
				w.drained()
				for _, name := range names {
					w.cluster.Fault(faults[name])
					for range 4 {
						w.write(100, rng)
						time.Sleep(60 * time.Millisecond)
					}
				}
				w.drained()
				in.stop(t)
				w.verify()
			})
		})
	}
}

// TestChaos lets everything happen at once: faults, moves of leaders and coordinators, instances that come, leave,
// die and are held, broken connections.
func TestChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(short(3, 1)) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			bubble(t, 6, func(t *testing.T, w *world) { w.chaos(seeded(t, 100+seed), short(chaosSteps, chaosSteps/2)) })
		})
	}
}

func (w *world) chaos(rng *rand.Rand, steps int) {
	faults := mendable()
	names := slices.Sorted(maps.Keys(faults))
	stop := w.feed(rng.Uint64())
	running := []*instance{w.run(touchy), w.run(touchy)}
	var dead []*instance
	for range steps {
		i := rng.IntN(len(running))
		switch in := running[i]; rng.IntN(10) {
		case 0:
			in.kill()
			dead = append(dead, in)
			running[i] = w.run(touchy)
		case 1:
			in.stop(w.t)
			running[i] = w.run(touchy)
		case 2:
			in.wire.hold()
			time.Sleep(upTo(rng, 2*sessionTimeout))
			in.wire.release()
		case 3:
			in.wire.cut()
			time.Sleep(upTo(rng, sessionTimeout))
			in.wire.mend()
		case 4:
			w.cluster.ShufflePartitionLeaders()
		case 5:
			w.cluster.RehashCoordinators()
		default:
			w.cluster.Fault(faults[names[rng.IntN(len(names))]])
		}
		time.Sleep(upTo(rng, sessionTimeout/6))
	}
	stop()
	start := time.Now()
	w.drained()
	w.t.Logf("draining took %s", time.Since(start))
	for _, in := range running {
		in.stop(w.t)
	}
	for _, in := range dead {
		<-in.done
	}
	opened := uint64(0)
	for _, in := range append(running, dead...) {
		opened += in.Stats().BreakerOpened
	}
	w.t.Logf("the breaker has opened %d times", opened)
	w.verify()
}

// touchy has a breaker that opens now and then for a moment.
func touchy(s *setup) {
	s.Breaker = Breaker{Rate: 0.2, Records: 10, Over: 100 * time.Millisecond, Consecutive: 4, Retry: 200 * time.Millisecond}
}

func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
