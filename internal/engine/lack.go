package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Lack is a partition for whose records those of other topics wait: see stream.InStep.
type Lack struct {
	Partition

	Since time.Time // when the last record was processed with it
}

// noteLacks notes which sources the task waits for, and when it last went on.
func (r *running) noteLacks(worked bool) {
	if !r.loop.engine.program.Subs[r.id.Sub].InStep {
		return
	}
	var lacks uint32
	for i := range r.intakes {
		if r.task.Lacks(i) {
			lacks |= 1 << min(i, 31)
		}
	}
	if now := r.loop.engine.options.Now().UnixNano(); worked || r.lacks.Load() == 0 && lacks != 0 {
		r.moved.Store(now)
	}
	if r.lacks.Swap(lacks) == 0 && lacks != 0 { // the loop has to look at the clock
		r.loop.engine.waker.poke()
	}
}

// lacking tells for which sources the task has waited for too long to say nothing, and when it is to be asked again; less than 0 is not by
// itself.
func (r *running) lacking(now time.Time) (lacks uint32, wait time.Duration) {
	lacks = r.lacks.Load()
	if !r.started || lacks == 0 || r.halted() {
		return 0, -1
	}
	patience := r.loop.engine.options.LackPatience
	if d := now.Sub(time.Unix(0, r.moved.Load())); d < patience {
		return 0, patience - d
	}
	return lacks, -1
}

// tellLacks says which topics are waited for, and which are not any more.
func (l *loop) tellLacks() {
	now, changed := l.engine.options.Now(), false
	was := l.lacked()
	for _, r := range l.order {
		lacks, _ := r.lacking(now)
		changed = changed || lacks != r.short
		r.short = lacks
	}
	if !changed {
		return
	}
	is := l.lacked()
	log, ctx := l.engine.options.Log, context.Background()
	for topic, n := range is {
		if was[topic] == 0 {
			log.LogAttrs(ctx, slog.LevelWarn, "records wait for those of another topic, which has none", slog.String("group", l.engine.options.Group), slog.String("topic", topic),
				slog.Int("partitions", n), slog.String("hint", "nothing is lost: the records wait in their topics. Start what writes this topic, or look why it does not go on"))
		}
	}
	for topic := range was {
		if is[topic] == 0 {
			log.LogAttrs(ctx, slog.LevelInfo, "the topic that records waited for has some again", slog.String("group", l.engine.options.Group), slog.String("topic", topic))
		}
	}
	l.publishLacks()
}

// lacked returns for how many partitions of each topic records wait, as far as that is told.
func (l *loop) lacked() map[string]int {
	n := map[string]int{}
	for _, r := range l.order {
		for i, in := range r.intakes {
			if r.short&(1<<min(i, 31)) != 0 {
				n[in.topic]++
			}
		}
	}
	return n
}

// publishLacks shows in the statistics what is waited for.
func (l *loop) publishLacks() {
	var list []Lack
	for _, r := range l.order {
		for i, in := range r.intakes {
			if r.short&(1<<min(i, 31)) != 0 {
				list = append(list, Lack{Partition{in.topic, r.id.Partition}, time.Unix(0, r.moved.Load())})
			}
		}
	}
	slices.SortFunc(list, func(a, b Lack) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition.Partition, b.Partition.Partition))
	})
	l.engine.stats.change(func() { l.engine.stats.stats.Lacks = list })
}
