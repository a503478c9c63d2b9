package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Breaker says when a partition of which too many records become dead letters is paused: then something is wrong with the
// feed or with the program, and going on would only move the topic into the dead letters. The zero value is never.
//
// Records count when their round is committed. Of a task with several partitions each is counted apart, and all of them
// are paused, since one goes by the others' time. A record that carries its origin counts where it was read, that is in
// the repartition topic.
//
// After Retry the partition is read again on trial: a few records in a round, never more than could be dead letters
// before the verdict. The trial is passed when Records have come of which less than Rate are dead letters, or, without a
// Rate, Consecutive that are not all dead letters. Else the partition is paused again, for twice as long, up to 10 min.
// A partition that goes to another instance is not paused there, nor is it after a restart or a lost session.
type Breaker struct {
	// Rate is the share of dead letters, above 0 to 1, that opens the breaker when there were at least Records within
	// Over. Default: 0, it is not looked at
	Rate    float64
	Records int           // Default: 200
	Over    time.Duration // Default: 60 s
	// Consecutive is how many dead letters in a row open it, whenever they come. Default: 0, it is not looked at
	Consecutive int
	Retry       time.Duration // Default: 60 s
}

// The defaults of a [Breaker], and bounds on it.
const (
	defaultBreakerRecords = 200
	defaultBreakerOver    = time.Minute
	defaultBreakerRetry   = time.Minute
	maxBreakerRetry       = 10 * time.Minute
	breakerBuckets        = 20 // that Over is divided into
)

func (b *Breaker) setDefaults() {
	if b.Records == 0 {
		b.Records = defaultBreakerRecords
	}
	if b.Over == 0 {
		b.Over = defaultBreakerOver
	}
	if b.Retry == 0 {
		b.Retry = defaultBreakerRetry
	}
}

func (b *Breaker) validate() error {
	if !(b.Rate >= 0 && b.Rate <= 1) || b.Records < 0 || b.Over < 0 || b.Consecutive < 0 || b.Retry < 0 {
		return errors.New("the breaker has a rate that is not from 0 to 1, or something negative")
	}
	return nil
}

func (b *Breaker) off() bool { return b.Rate == 0 && b.Consecutive == 0 }

// fatal returns how many dead letters end a trial.
func (b *Breaker) fatal() int {
	n := math.MaxInt32
	if b.Rate > 0 {
		n = max(1, int(math.Ceil(b.Rate*float64(b.Records))))
	}
	if b.Consecutive > 0 {
		n = min(n, b.Consecutive)
	}
	return n
}

// trial returns how many records are tried.
func (b *Breaker) trial() int {
	if b.Rate == 0 {
		return b.Consecutive
	}
	return b.Records
}

// Hold is a partition that the breaker has paused.
type Hold struct {
	Partition

	Reason string    // how many dead letters there were, and of which kinds
	Since  time.Time // the breaker has opened
	Until  time.Time // the next trial
	Trial  bool      // it is on trial
}

// outcome is what became of the records of an intake. One belongs to a tally.
type outcome struct {
	rows    int
	letters int // records with a dead letter
	longest int // dead letters in a row
	kinds   map[Kind]int

	// What follows outlives the tally.
	row  int   // dead letters in a row, so far
	last int64 // the offset of the last record with a dead letter
}

// letter notes a dead letter; a record may have several.
func (o *outcome) letter(offset int64, k Kind) {
	if o.row > 0 && offset == o.last {
		return
	}
	if o.kinds == nil {
		o.kinds = map[Kind]int{}
	}
	o.kinds[k]++
	o.letters++
	o.row++
	o.last, o.longest = offset, max(o.longest, o.row)
}

// result notes that a record led to something else.
func (o *outcome) result() { o.row = 0 }

// next is for the tally that follows.
func (o *outcome) next() { *o = outcome{row: o.row, last: o.last} }

type breakerState uint8

const (
	closed breakerState = iota // records are processed
	open                       // none are
	trial                      // a few are
)

// breaker is that of a task. It belongs to the loop.
type breaker struct {
	config  *Breaker
	state   breakerState
	intakes []history
	held    *intakeFault  // why it is not closed
	since   time.Time     // it is not closed
	until   time.Time     // the next trial
	retry   time.Duration // the last pause
	mended  time.Time     // when it was last closed by a trial

	tried, failed int // records of the trial
}

// history is what became of the records of an intake in the last Over.
type history struct{ buckets []bucketOf }

type bucketOf struct {
	start         time.Time
	rows, letters int
	kinds         map[Kind]int
}

type intakeFault struct {
	intake int
	reason string
	kinds  map[Kind]int
}

func newBreaker(config *Breaker, intakes int) *breaker {
	return &breaker{config: config, intakes: make([]history, intakes)}
}

// add adds what a round has come to, and forgets what is too old.
func (h *history) add(o *outcome, over time.Duration, now time.Time) (rows, letters int) {
	if n := len(h.buckets); n == 0 || now.Sub(h.buckets[n-1].start) >= over/breakerBuckets {
		h.buckets = append(h.buckets, bucketOf{start: now, kinds: map[Kind]int{}})
	}
	b := &h.buckets[len(h.buckets)-1]
	b.rows += o.rows
	b.letters += o.letters
	for k, n := range o.kinds {
		b.kinds[k] += n
	}
	h.buckets = slices.DeleteFunc(h.buckets, func(b bucketOf) bool { return now.Sub(b.start) > over })
	for _, b := range h.buckets {
		rows += b.rows
		letters += b.letters
	}
	return rows, letters
}

// kinds returns the dead letters by kind.
func (h *history) kinds() map[Kind]int {
	all := map[Kind]int{}
	for _, b := range h.buckets {
		for k, n := range b.kinds {
			all[k] += n
		}
	}
	return all
}

// committed takes what a committed round has come to, and tells whether the state has changed.
func (b *breaker) committed(round []outcome, now time.Time) bool {
	if b.config.off() {
		return false
	}
	switch b.state {
	case closed:
		if b.held = b.fault(round, now); b.held == nil {
			return false
		}
		b.since = now
		if b.mended.IsZero() || now.Sub(b.mended) > b.config.Over {
			b.retry = 0
		}
		b.open(now)
		return true
	case trial:
		return b.judge(round, now)
	default: // what was in flight when it opened
		return false
	}
}

// fault returns which intake has too many dead letters, nil if none has.
func (b *breaker) fault(round []outcome, now time.Time) *intakeFault {
	c := b.config
	for i := range round {
		o := &round[i]
		rows, letters := b.intakes[i].add(o, c.Over, now)
		var reason string
		switch {
		case c.Consecutive > 0 && o.longest >= c.Consecutive:
			reason = fmt.Sprintf("%d records in a row became dead letters", o.longest)
		case c.Rate > 0 && rows >= c.Records && float64(letters) >= c.Rate*float64(rows):
			reason = fmt.Sprintf("%d of %d records of the last %s became dead letters", letters, rows, c.Over)
		default:
			continue
		}
		kinds := b.intakes[i].kinds()
		return &intakeFault{i, reason + ": " + kindsText(kinds), kinds}
	}
	return nil
}

// open pauses the task.
func (b *breaker) open(now time.Time) {
	b.state = open
	b.retry = min(max(2*b.retry, b.config.Retry), max(maxBreakerRetry, b.config.Retry))
	b.until = now.Add(b.retry)
	for i := range b.intakes {
		b.intakes[i] = history{}
	}
}

// due begins a trial if it is time, and tells whether it has.
func (b *breaker) due(now time.Time) bool {
	if b.state != open || now.Before(b.until) {
		return false
	}
	b.state, b.tried, b.failed = trial, 0, 0
	return true
}

// judge ends a trial if it is decided, and tells whether it has.
func (b *breaker) judge(round []outcome, now time.Time) bool {
	for i := range round {
		b.tried += round[i].rows
		b.failed += round[i].letters
	}
	switch {
	case b.failed >= b.config.fatal():
		b.open(now)
	case b.tried >= b.config.trial():
		b.state, b.held, b.mended = closed, nil, now
	default:
		return false
	}
	return true
}

// allowance returns how many records may be processed when none are in flight.
func (b *breaker) allowance() int64 {
	switch b.state {
	case open:
		return 0
	case trial:
		return int64(b.config.fatal() - b.failed)
	default:
		return unlimited
	}
}

// kindsText lists kinds, the most frequent first.
func kindsText(kinds map[Kind]int) string {
	const most = 5
	list := slices.SortedFunc(maps.Keys(kinds), func(a, b Kind) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), strings.Compare(a.Stage, b.Stage), strings.Compare(a.Class, b.Class))
	})
	var parts []string
	for i, k := range list {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d kinds more", len(list)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %s %d", k.Stage, k.Class, kinds[k]))
	}
	return strings.Join(parts, ", ")
}
