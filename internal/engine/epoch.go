package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An application may change what its tasks compute with while it runs, a model say. Each such thing has an epoch, a number
// that the application chooses and that never decreases. A task goes from one epoch to a later one between two rounds, when
// none of its batches is out and nothing that it has begun is left: no record is processed with both, and nobody waits.
//
// The position of each partition is committed with a mark: with which epoch records from this position on are processed, and
// since which offset. A round that ends a task's time with an epoch already commits the next one, so that the mark is there
// before any output is that was made with it, or becomes visible with the first such output. Whoever gets a partition goes by
// its mark: an instance that does not have that epoch yet does not process it. So the output of a partition never goes back.
//
// Under exactly-once a task uses the new epoch while the round that commits its mark is on its way, since what it writes can
// be read only after that round; when the round is undone, so is what came after. Without transactions the task waits for
// the commit, also when it begins.

// Mark says with which epoch the records of a partition are processed, and since which offset. The zero value says that none
// was ever used.
type Mark struct {
	Epoch int64
	From  int64 // the offset of the first record that is processed with it, once there is one
}

// markPrefix begins a mark in the metadata of a position.
const markPrefix = "e1:"

// String returns the mark as it stands in the metadata of a position, "e1:EPOCH:FROM" in decimal; that of epoch 0 is "".
func (m Mark) String() string {
	if m.Epoch <= 0 {
		return ""
	}
	b := make([]byte, 0, 48)
	b = strconv.AppendInt(append(b, markPrefix...), m.Epoch, 10)
	return string(strconv.AppendInt(append(b, ':'), m.From, 10))
}

// ParseMark finds the mark in the metadata of a group's position. Metadata is a list of words, of which one is a mark; words
// that are none, of whatever else commits positions, are passed over. Without a mark it returns the zero value.
func ParseMark(metadata string) Mark {
	for word := range strings.FieldsSeq(metadata) {
		text, ok := strings.CutPrefix(word, markPrefix)
		if !ok {
			continue
		}
		epoch, from, _ := strings.Cut(text, ":")
		e, err1 := strconv.ParseInt(epoch, 10, 64)
		f, err2 := strconv.ParseInt(from, 10, 64)
		if err1 == nil && err2 == nil && e > 0 && f >= 0 {
			return Mark{e, f}
		}
	}
	return Mark{}
}

// PartitionEpoch is with which epoch a partition is processed.
type PartitionEpoch struct {
	Partition

	Epoch int64     // as it is committed; 0 is none
	From  int64     // the offset of the first record that is processed with it, once there is one
	Since time.Time // this instance has committed that, or has got the partition so
	// Waits says that no record of the partition is processed here until the engine has its epoch.
	Waits bool
}

// SetEpoch has tasks use an epoch, which the application can compute with from now on. Each does so from the next commit
// on, or later, and may pass over an epoch when there is a higher one by then; until then, and for records that it has in
// hand, it uses the one before. Tasks see no other epochs than the ones given here and in [Options]. A lower epoch than the
// one that the engine has is ignored, and so is any without [Options.Behind].
//
// An epoch that is not used anywhere any more can be forgotten when no partition in [Stats.Epochs] has a lower one than the
// engine. SetEpoch is also the answer where a partition waits for an epoch that there will never be, since what the epochs
// were taken from is lost: with that epoch, or a higher one.
//
// It is safe for concurrent use, before [Engine.Run] too.
func (e *Engine) SetEpoch(n int64) {
	if e.options.Behind == nil {
		return
	}
	for was := e.epoch.Load(); n > was; was = e.epoch.Load() {
		if e.epoch.CompareAndSwap(was, n) {
			e.waker.poke()
			return
		}
	}
}

// Epoch returns the highest epoch that was set. It is safe for concurrent use.
func (e *Engine) Epoch() int64 { return e.epoch.Load() }

// recall reads the marks of a task that begins at what is committed, and gives it its epoch.
func (r *running) recall() {
	r.turning, r.committed = false, 0
	if r.loop.engine.options.Behind == nil {
		return
	}
	now := r.loop.engine.options.Now()
	for _, in := range r.intakes {
		if at, ok := r.loop.session.Position(in.topic, r.id.Partition); ok && in.exists {
			in.save(ParseMark(at.Metadata), now)
			in.mark, in.coming = in.saved, Mark{}
			r.committed = max(r.committed, in.saved.Epoch)
		}
	}
	r.admit()
}

// admit gives the engine's epoch to a task that processes nothing, or has it wait: for the engine, if the partition is ahead
// of that; without transactions, for a commit of what it is going to use. Workers that run the task turn back while it waits.
func (r *running) admit() {
	e := r.loop.engine
	r.loop.news = true
	epoch := e.epoch.Load()
	switch {
	case r.committed > epoch:
		r.waits.Store(true)
		if r.behind == r.committed {
			return
		}
		r.behind = r.committed
		e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "partitions wait: they were processed with an epoch that this instance does not have yet",
			slog.String("group", e.options.Group), slog.String("task", r.id.String()), slog.Any("partitions", r.partitions()),
			slog.Int64("epoch", r.behind), slog.Int64("has", epoch))
		e.options.Behind(r.behind)
	case !r.loop.session.ExactlyOnce() && r.unsaved(epoch):
		r.behind = 0
		r.waits.Store(true)
	default:
		r.behind = 0
		for _, in := range r.intakes {
			if at, ok := r.loop.session.Position(in.topic, r.id.Partition); ok && in.mark.Epoch < epoch {
				in.mark = Mark{epoch, at.Offset}
			}
		}
		r.use(epoch)
	}
	if r.behind == 0 && r.unsaved(epoch) { // that needs a round
		e.waker.poke()
	}
}

// use has the task compute with an epoch. It must not run, or wait.
func (r *running) use(epoch int64) {
	r.task.SetEpoch(epoch)
	r.epoch = epoch
	if r.waits.Swap(false) {
		r.loop.pool.schedule(r)
	}
}

// unsaved tells whether an epoch is not committed for all partitions that the task reads.
func (r *running) unsaved(epoch int64) bool {
	return slices.ContainsFunc(r.intakes, func(in *intake) bool { return in.exists && in.saved.Epoch < epoch })
}

// save notes the mark that is committed for a partition, and tells whether it is another.
func (in *intake) save(m Mark, now time.Time) bool {
	changed := m != in.saved || in.since.IsZero()
	if changed {
		in.saved, in.since = m, now
	}
	return changed
}

// note returns the mark to be committed with an offset, where epoch is used from there on.
func (in *intake) note(offset, epoch int64) string {
	if in.coming = in.mark; epoch > in.mark.Epoch {
		in.coming = Mark{epoch, offset}
	}
	return in.coming.String()
}

// turn chooses the epoch that the round in hand commits for what comes after it.
func (l *loop) turn() {
	if l.engine.options.Behind != nil {
		l.epoch = l.engine.epoch.Load()
	}
}

// turns tells whether the task has to commit an epoch, whether it has done anything or not.
func (l *loop) turns(r *running, epoch int64) bool {
	return l.engine.options.Behind != nil && r.started && r.behind == 0 && r.unsaved(epoch) && l.positioned(r)
}

// drain has the task process nothing new until what it has under way is done, or lets it go on.
func (r *running) drain(yes bool) {
	if r.draining.Swap(yes) && !yes {
		r.loop.pool.schedule(r)
	}
}

// turnsAny tells whether a round is needed for the sake of epochs.
func (l *loop) turnsAny() bool {
	epoch := l.engine.epoch.Load()
	return slices.ContainsFunc(l.order, func(r *running) bool { return l.turns(r, epoch) })
}

// takeUp has tasks use the epoch that is about to be committed for them. The pool must be stopped, and the tasks flushed.
func (l *loop) takeUp() {
	for _, r := range l.order {
		if r.turning && r.epoch < l.epoch && l.session.ExactlyOnce() {
			r.takeUp(l.epoch)
		}
	}
}

func (r *running) takeUp(epoch int64) {
	for _, in := range r.intakes {
		if in.exists {
			in.mark = in.coming
		}
	}
	r.use(epoch)
}

// turned notes which epochs a round has committed; without transactions they are used from then on.
func (l *loop) turned() {
	changed := 0
	now := l.engine.options.Now()
	for _, r := range l.order {
		if !r.turning {
			continue
		}
		r.turning = false
		for _, in := range r.intakes {
			if at, ok := l.session.Position(in.topic, r.id.Partition); ok && in.exists && in.save(ParseMark(at.Metadata), now) {
				changed++
			}
		}
		// Where the commit was refused, since the partition went, nothing of this is there.
		if !l.session.ExactlyOnce() && !r.unsaved(l.epoch) {
			r.takeUp(l.epoch)
		}
	}
	if changed > 0 {
		l.engine.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "partitions are processed with another epoch", slog.String("group", l.engine.options.Group),
			slog.Int64("epoch", l.epoch), slog.Int("partitions", changed))
		l.news = true
	}
}

// admitWaiting lets tasks go on whose epoch the engine has by now.
func (l *loop) admitWaiting() {
	for _, r := range l.order {
		if r.started && r.behind > 0 && l.engine.epoch.Load() >= r.behind {
			r.admit()
		}
	}
}

// publishEpochs shows in the statistics with which epochs partitions are processed, if that has changed.
func (l *loop) publishEpochs() {
	if l.engine.options.Behind == nil || !l.news {
		return
	}
	l.news = false
	var list []PartitionEpoch
	for _, r := range l.order {
		for _, in := range r.intakes {
			if r.started && in.exists {
				list = append(list, PartitionEpoch{Partition{in.topic, r.id.Partition}, in.saved.Epoch, in.saved.From, in.since, r.behind > 0})
			}
		}
	}
	slices.SortFunc(list, func(a, b PartitionEpoch) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition.Partition, b.Partition.Partition))
	})
	l.engine.publishEpochs(list)
}

func (e *Engine) publishEpochs(list []PartitionEpoch) {
	if slices.Equal(list, e.stats.last.Load().Epochs) {
		return
	}
	e.stats.change(func() { e.stats.stats.Epochs = list })
	if e.options.Switched != nil {
		e.options.Switched()
	}
}
