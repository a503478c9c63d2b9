package kafka

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions are partitions by topic.
type Partitions map[string][]int32

// Len returns the number of partitions.
func (p Partitions) Len() int {
	n := 0
	for _, ps := range p {
		n += len(ps)
	}
	return n
}

// Position is how far a group is in a partition.
type Position struct {
	Offset   int64  // of the next record to be processed
	Metadata string // whatever the group wants to know about it again; brokers take 4096 bytes by default
}

// Positions are positions by topic and partition.
type Positions map[string]map[int32]Position

// Set sets the position of a partition.
func (p Positions) Set(topic string, partition int32, at Position) {
	m, ok := p[topic]
	if !ok {
		m = map[int32]Position{}
		p[topic] = m
	}
	m[partition] = at
}

// Offsets returns the offsets of a topic.
func (p Positions) Offsets(topic string) Offsets {
	o := make(Offsets, len(p[topic]))
	for partition, at := range p[topic] {
		o[partition] = at.Offset
	}
	return o
}

// PositionsOf returns the positions of offsets of a topic, without metadata.
func PositionsOf(topic string, at Offsets) Positions {
	p := Positions{topic: make(map[int32]Position, len(at))}
	for partition, offset := range at {
		p[topic][partition] = Position{Offset: offset}
	}
	return p
}

// ledger is what a session knows about its partitions. The client library keeps such a book too, but in its own
// what was read counts as committed after every commit. It is for one goroutine at a time.
type ledger map[string]map[int32]*entry

// entry is the state of one partition.
type entry struct {
	committed Position
	epoch     int32   // leader epoch of the record before committed, or -1
	read      int64   // the offset after the last record that was polled
	end       int64   // where the partition ended when it was last asked
	chosen    bool    // committed is where it ended when it was begun: the group has committed nothing
	epochs    []epoch // of the records from committed to read, ascending
}

// epoch says that records from an offset on have a leader epoch. It is committed with an offset, so that the next
// owner notices if the brokers lost records before it.
type epoch struct {
	from   int64
	number int32
}

func (l ledger) get(topic string, partition int32) *entry { return l[topic][partition] }

// begin notes that a partition, which ends at end, is read from an offset on.
func (l ledger) begin(topic string, partition int32, at Position, epoch int32, end int64) {
	m, ok := l[topic]
	if !ok {
		m = map[int32]*entry{}
		l[topic] = m
	}
	m[partition] = &entry{committed: at, epoch: epoch, read: at.Offset, end: end}
}

// forget removes partitions.
func (l ledger) forget(ps Partitions) {
	for topic, list := range ps {
		for _, p := range list {
			delete(l[topic], p)
		}
	}
}

// polled notes that records were read of a partition that can be read up to end.
func (l ledger) polled(topic string, partition int32, rs []*kgo.Record, end int64) {
	e := l.get(topic, partition)
	if e == nil {
		return
	}
	first, last := rs[0], rs[len(rs)-1]
	e.read, e.end = last.Offset+1, end
	if first.LeaderEpoch == last.LeaderEpoch { // epochs never go back
		e.note(first)
		return
	}
	for _, r := range rs {
		e.note(r)
	}
}

func (e *entry) note(r *kgo.Record) {
	if n := len(e.epochs); n == 0 || e.epochs[n-1].number != r.LeaderEpoch {
		e.epochs = append(e.epochs, epoch{from: r.Offset, number: r.LeaderEpoch})
	}
}

// epochBefore returns the leader epoch of the record before an offset, or -1.
func (e *entry) epochBefore(offset int64) int32 {
	number := e.epoch
	for _, x := range e.epochs {
		if x.from >= offset {
			break
		}
		number = x.number
	}
	return number
}

// progress returns the positions of partitions that this session has. One that is committed already is committed
// again: the group then refuses a round of a member that it does not count on any more.
func (l ledger) progress(at Positions) (Positions, error) {
	fresh := Positions{}
	for topic, m := range at {
		for p, to := range m {
			e := l.get(topic, p)
			if e == nil {
				continue
			}
			if to.Offset < e.committed.Offset || to.Offset > e.read {
				return nil, fmt.Errorf("kafka: commit offset %d of %s/%d: %d is committed and %d was read", to.Offset, topic, p, e.committed.Offset, e.read)
			}
			fresh.Set(topic, p, to)
		}
	}
	return fresh, nil
}

// anchor returns the position of some partition as it is committed, or nothing if there is no partition.
func (l ledger) anchor() Positions {
	for _, topic := range sorted(l) {
		for _, p := range sorted(l[topic]) {
			return Positions{topic: {p: l[topic][p].committed}}
		}
	}
	return nil
}

// commit notes that positions are committed.
func (l ledger) commit(at Positions) {
	for topic, m := range at {
		for p, to := range m {
			e := l.get(topic, p)
			if e == nil || to.Offset < e.committed.Offset { // it went, and maybe came again, meanwhile
				continue
			}
			e.epoch = e.epochBefore(to.Offset)
			e.committed, e.chosen = to, false
			e.read = max(e.read, to.Offset)
			keep := 0
			for keep+1 < len(e.epochs) && e.epochs[keep+1].from < to.Offset {
				keep++
			}
			e.epochs = slices.Delete(e.epochs, 0, keep)
		}
	}
}

// rewind notes that partitions are read again from where they are committed, and returns those offsets. Of partitions
// that the session does not have it returns none.
func (l ledger) rewind(ps Partitions) map[string]map[int32]kgo.EpochOffset {
	offsets := make(map[string]map[int32]kgo.EpochOffset, len(ps))
	for topic, list := range ps {
		offsets[topic] = make(map[int32]kgo.EpochOffset, len(list))
		for _, p := range list {
			e := l.get(topic, p)
			if e == nil {
				continue
			}
			e.read, e.epochs = e.committed.Offset, nil
			offsets[topic][p] = kgo.EpochOffset{Epoch: e.epoch, Offset: e.committed.Offset}
		}
	}
	return offsets
}

// all returns the partitions of the ledger.
func (l ledger) all() Partitions {
	ps := make(Partitions, len(l))
	for topic, m := range l {
		ps[topic] = sorted(m)
	}
	return ps
}

// offsets returns positions as the library wants them.
func (l ledger) offsets(at Positions) map[string]map[int32]kgo.EpochOffset {
	offsets := make(map[string]map[int32]kgo.EpochOffset, len(at))
	for topic, m := range at {
		offsets[topic] = make(map[int32]kgo.EpochOffset, len(m))
		for p, to := range m {
			number := int32(-1)
			if e := l.get(topic, p); e != nil {
				number = e.epochBefore(to.Offset)
			}
			offsets[topic][p] = kgo.EpochOffset{Epoch: number, Offset: to.Offset}
		}
	}
	return offsets
}

// sorted returns the keys of a map in order, so that requests do not depend on chance.
func sorted[K int32 | string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
