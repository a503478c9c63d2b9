package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// UnderWay is a partition of which an asynchronous function has had records for a while: see stream.BatchOptions.
type UnderWay struct {
	Partition

	Records int
	Since   time.Time // the first of them is under way
}

// noteUnderWay counts records that are under way as processed when they are done.
func (r *running) noteUnderWay() {
	late, first := r.task.UnderWay()
	r.waiting = late - r.late
	r.tally.rows -= r.waiting
	r.tally.outcomes[0].rows -= r.waiting
	if late == 0 || r.late == 0 || first != r.first {
		r.first, r.since = first, r.loop.engine.options.Now()
	}
	r.late = late
}

// waitsLong tells whether something is under way for so long that it is told.
func (r *running) waitsLong(now time.Time) bool {
	return r.started && r.late > 0 && now.Sub(r.since) >= r.loop.engine.options.LackPatience
}

// tellUnderWay shows in the statistics of which partitions records are under way for long.
func (l *loop) tellUnderWay() {
	now := l.engine.options.Now()
	var list []UnderWay
	for _, r := range l.order {
		if r.waitsLong(now) {
			list = append(list, UnderWay{Partition{r.intakes[0].topic, r.id.Partition}, r.late, r.since})
		}
	}
	slices.SortFunc(list, func(a, b UnderWay) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition.Partition, b.Partition.Partition))
	})
	if slices.Equal(list, l.slow) {
		return
	}
	log, ctx := l.engine.options.Log, context.Background()
	switch {
	case len(l.slow) == 0:
		log.LogAttrs(ctx, slog.LevelWarn, "records wait for an answer from outside", slog.String("group", l.engine.options.Group), slog.Int("partitions", len(list)),
			slog.String("hint", "nothing is lost: they go on when it comes. Other partitions go on meanwhile"))
	case len(list) == 0:
		log.LogAttrs(ctx, slog.LevelInfo, "no records wait for long any more", slog.String("group", l.engine.options.Group))
	}
	l.slow = list
	l.engine.stats.change(func() { l.engine.stats.stats.UnderWay = list })
}
