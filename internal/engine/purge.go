package engine

import (
	"context"
	"log/slog"
	"time"

	"millrace.dev/internal/kafka"
)

// purge deletes the records of repartition topics, and of others that the program says, that are committed. It belongs to the loop, save for the requests,
// which run beside that.
type purge struct {
	engine *Engine
	topics map[string]bool
	upto   map[place]int64 // committed, and not deleted yet
	last   time.Time
	cancel context.CancelFunc // of the requests under way
	done   chan struct{}
	failed map[place]int64 // once done, what they have not deleted
}

func newPurge(e *Engine) purge {
	p := purge{engine: e, topics: map[string]bool{}, upto: map[place]int64{}, last: time.Now()}
	for _, sub := range e.program.Subs {
		for _, s := range sub.Sources {
			if s.Internal || s.Purge {
				p.topics[s.Topic] = true
			}
		}
	}
	return p
}

// committed notes how far the group is with what a round has read. That may be less far than the tasks are: without
// transactions a round counts as done also where the group has refused its positions, and the next owner of the
// partitions then needs these records again.
func (p *purge) committed(s *kafka.Session, round kafka.Positions) {
	for topic, ps := range round {
		if !p.topics[topic] {
			continue
		}
		for partition := range ps {
			if at, ok := s.Position(topic, partition); ok {
				p.upto[place{topic, partition}] = at.Offset
			}
		}
	}
}

// busy tells whether requests are under way.
func (p *purge) busy() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		p.cancel()
		p.done = nil
		for at, to := range p.failed {
			p.upto[at] = max(p.upto[at], to)
		}
		p.failed = nil
		return false
	default:
		return true
	}
}

// wait returns when there is something to delete; less than 0 is not by itself.
func (p *purge) wait() time.Duration {
	if p.busy() || len(p.upto) == 0 {
		return -1
	}
	return max(0, p.engine.options.PurgeInterval-time.Since(p.last))
}

// step deletes what is to be deleted, if it is time.
func (p *purge) step(ctx context.Context) {
	if p.wait() != 0 {
		return
	}
	before := map[string]kafka.Offsets{}
	for at, to := range p.upto {
		if before[at.topic] == nil {
			before[at.topic] = kafka.Offsets{}
		}
		before[at.topic][at.partition] = to
	}
	clear(p.upto)
	p.last = time.Now()
	ctx, p.cancel = context.WithCancel(ctx)
	done, failed := make(chan struct{}), map[place]int64{}
	p.done, p.failed = done, failed
	go func() {
		defer func() {
			close(done)
			if len(failed) > 0 {
				p.engine.waker.poke()
			}
		}()
		for topic, offsets := range before {
			if err := p.engine.options.Client.DeleteRecords(ctx, topic, offsets); err != nil && ctx.Err() == nil {
				p.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "records that were processed cannot be deleted from their topic; trying again later",
					slog.String("topic", topic), slog.Any("error", err), slog.String("hint", "the principal needs the ACL: operation Delete, resource Topic "+topic))
				for partition, to := range offsets {
					failed[place{topic, partition}] = to
				}
			}
		}
	}()
}

// close ends the requests that are under way.
func (p *purge) close() {
	if p.done != nil {
		p.cancel()
		<-p.done
	}
}
