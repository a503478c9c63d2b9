package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/profile"
)

// Options say what a [Board] merges.
type Options struct {
	Every     Every
	Grace     time.Duration // of event time, that a window of time waits for late records
	By        string        // what the counts depend on: parts and windows that were counted by something else are left out
	Reference *profile.Profile
	Layout    profile.Layout
}

// The bounds of how long a partition that tells nothing is waited for.
const (
	leastIdle = 10 * time.Second
	mostIdle  = time.Minute
)

// Idle returns how long a partition holds up windows of time without telling anything: as long as the grace, but at
// least 10 s and at most a minute.
func (o *Options) Idle() time.Duration { return min(max(o.Grace, leastIdle), mostIdle) }

// Board merges the parts of windows. A window of time is over once every partition is beyond its end and the grace, or has been silent for
// [Options.Idle], and all of them once the clock is. A window of records is over with the part that fills it: it
// can have some more.
//
// Of windows of time there are so many open at a time as fit into 256 MiB, but at least 16 and at most 10,000. If there are more,
// the earliest are over; but what is ahead of the clock goes first, as if its event time could not be believed.
//
// What a board knows can be written down and read back: see [Board.Changes] and [Board.Restore]. It is for one goroutine
// at a time.
type Board struct {
	o       Options
	most    int // windows that are open
	began   time.Time
	windows map[int64]*profile.Counter
	marks   map[int32]mark
	done    int64 // windows before this one are over
	totals  Totals
	changed map[string]bool
}

// mark is how far a partition is.
type mark struct {
	latest int64
	seen   time.Time // when it last told
}

// Totals count what is in no window, since the board was made.
type Totals struct {
	Late    uint64 `json:"late"`    // records whose window was over
	Untimed uint64 `json:"untimed"` // records without an event time that could be believed
	Foreign uint64 `json:"foreign"` // parts that were counted by something else: another model, window or list of columns
}

// Closed is a window that is over.
type Closed struct {
	Window   int64
	From, To int64 // event times in microseconds since 1970, To exclusive; 0 for windows of records
	Profile  *profile.Profile
}

// NewBoard returns an empty board. It is an error if reference and layout do not fit.
func NewBoard(o Options, now time.Time) (*Board, error) {
	if _, err := profile.NewCounter(o.Reference, o.Layout); err != nil {
		return nil, err
	}
	return &Board{
		o: o, most: mostWindows(o.Reference, boardBytes, 16, 10_000), began: now, windows: map[int64]*profile.Counter{}, marks: map[int32]mark{}, done: Unknown, changed: map[string]bool{},
	}, nil
}

// Take merges a part. If its counts are not those of the reference the error matches [profile.ErrCounter], and nothing was
// taken.
func (b *Board) Take(p *Part, now time.Time) error {
	if p.By != b.o.By {
		b.totals.Foreign++
		return nil
	}
	if len(p.Counts) > 0 {
		if err := b.count(p, now); err != nil {
			return err
		}
	}
	b.totals.Untimed += p.Untimed
	m, ok := b.marks[p.Partition]
	if !ok {
		m.latest = Unknown
	}
	m.latest, m.seen = max(m.latest, p.Latest), now
	b.marks[p.Partition] = m
	b.changed[KeyMarks] = true
	return nil
}

func (b *Board) count(p *Part, now time.Time) error {
	c := b.windows[p.Window]
	over := b.o.Every.Time > 0 && p.Window < b.done
	if c == nil || over {
		c, _ = profile.NewCounter(b.o.Reference, b.o.Layout) // it was made once
	}
	if err := c.MergeBinary(p.Counts); err != nil {
		return err
	}
	if over {
		b.totals.Late += c.Rows()
		return nil
	}
	b.windows[p.Window] = c
	b.changed[windowKey(p.Window)] = true
	if b.Crowded() {
		b.leaveOut(now)
	}
	return nil
}

// leaveOut forgets the last window if it has not begun yet: no honest record is in it, and those that are would have the
// others closed.
func (b *Board) leaveOut(now time.Time) {
	last := Unknown
	for w := range b.windows {
		last = max(last, w)
	}
	if from, _ := b.o.Every.Bounds(last); from > now.UnixMicro() {
		b.totals.Untimed += b.windows[last].Rows()
		delete(b.windows, last)
		b.changed[windowKey(last)] = true
	}
}

// Close gives out the windows that are over, in their order, each once.
func (b *Board) Close(now time.Time) []Closed {
	if b.o.Every.Time == 0 {
		if c := b.windows[0]; c != nil && c.Rows() >= b.o.Every.Records {
			return []Closed{b.close(0)}
		}
		return nil
	}
	end, at := Unknown, b.reached(now)
	if at != Unknown {
		end = b.o.Every.Window(at - b.o.Grace.Microseconds())
	}
	excess := len(b.windows) - b.most
	over := slices.Collect(maps.Keys(b.windows))
	if excess <= 0 {
		over = slices.DeleteFunc(over, func(w int64) bool { return w >= end })
	}
	slices.Sort(over)
	var out []Closed
	for i, w := range over {
		if w < end || i < excess {
			out = append(out, b.close(w))
		}
	}
	if len(out) > 0 {
		b.done = max(b.done, out[len(out)-1].Window+1)
		b.changed[KeyMarks] = true
	}
	return out
}

// CloseAll gives out all windows, in their order: there are no more records.
func (b *Board) CloseAll() []Closed {
	var out []Closed
	for _, w := range slices.Sorted(maps.Keys(b.windows)) {
		out = append(out, b.close(w))
	}
	return out
}

func (b *Board) close(w int64) Closed {
	c := Closed{Window: w, Profile: b.windows[w].Profile()}
	if b.o.Every.Time > 0 {
		c.From, c.To = b.o.Every.Bounds(w)
	}
	delete(b.windows, w)
	b.changed[windowKey(w)] = true
	return c
}

// Awake says that nothing was taken for a while because nobody read what partitions have told: they count as if they had told
// now.
func (b *Board) Awake(now time.Time) {
	for p, m := range b.marks {
		m.seen = now
		b.marks[p] = m
	}
	b.began = now
}

// reached returns up to when, in event time, all records have come as far as can be known.
func (b *Board) reached(now time.Time) int64 {
	idle, at := b.o.Idle(), now.UnixMicro()
	if now.Sub(b.began) < idle { // there may be partitions that have not told yet
		return Unknown
	}
	for _, m := range b.marks {
		if now.Sub(m.seen) < idle {
			at = min(at, m.latest)
		}
	}
	return at
}

// Open returns how many windows are not over.
func (b *Board) Open() int { return len(b.windows) }

// Crowded tells whether more windows are open than fit: then [Board.Close] closes the earliest.
func (b *Board) Crowded() bool { return len(b.windows) > b.most }

// Totals returns what is in no window.
func (b *Board) Totals() Totals { return b.totals }

// The keys of what a board writes down: windows, with a number behind, and how far partitions are.
const (
	KeyWindow = "window/"
	KeyMarks  = "marks"
)

func windowKey(w int64) string { return KeyWindow + strconv.FormatInt(w, 10) }

// Changes calls f with what has changed since the last call: a key, and a value, or nil if there is none any more.
func (b *Board) Changes(f func(key string, value []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(b.changed)) {
		value, err := b.value(key)
		if err != nil {
			return err
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	clear(b.changed)
	return nil
}

// value returns what is to be written down for a key: the length of what it was counted by and that, and then the counts of a window, or for the
// marks the first window that is not over and pairs of a partition and how far it is.
func (b *Board) value(key string) ([]byte, error) {
	out := append(binary.AppendUvarint(nil, uint64(len(b.o.By))), b.o.By...)
	if key != KeyMarks {
		w, _ := strconv.ParseInt(strings.TrimPrefix(key, KeyWindow), 10, 64) // of windowKey
		c := b.windows[w]
		if c == nil {
			return nil, nil
		}
		return c.AppendBinary(out)
	}
	out = binary.AppendVarint(out, b.done)
	for _, p := range slices.Sorted(maps.Keys(b.marks)) {
		out = binary.AppendVarint(binary.AppendVarint(out, int64(p)), b.marks[p].latest)
	}
	return out, nil
}

// ErrForeign says that what was written down was counted by something else: it can be forgotten.
var ErrForeign = errors.New("watch: counted by another model, window or list of columns")

var errState = errors.New("watch: what was written down of a window cannot be read")

// Restore takes back what [Board.Changes] wrote down, value by value. Partitions count as if they had told now.
func (b *Board) Restore(key string, value []byte, now time.Time) error {
	n, size := binary.Uvarint(value)
	if size <= 0 || n > uint64(len(value)-size) {
		return errState
	}
	if string(value[size:size+int(n)]) != b.o.By {
		return ErrForeign
	}
	value = value[size+int(n):]
	if key == KeyMarks {
		return b.restoreMarks(value, now)
	}
	w, err := strconv.ParseInt(strings.TrimPrefix(key, KeyWindow), 10, 64)
	if err != nil {
		return errState
	}
	c, _ := profile.NewCounter(b.o.Reference, b.o.Layout) // it was made once
	if err := c.MergeBinary(value); err != nil {
		return fmt.Errorf("%w: %w", errState, err)
	}
	b.windows[w] = c
	return nil
}

func (b *Board) restoreMarks(value []byte, now time.Time) error {
	done, size := binary.Varint(value)
	if size <= 0 {
		return errState
	}
	b.done, value = done, value[size:]
	for len(value) > 0 {
		p, size := binary.Varint(value)
		if size <= 0 {
			return errState
		}
		latest, more := binary.Varint(value[size:])
		if more <= 0 || p < 0 || p > 1<<31-1 {
			return errState
		}
		b.marks[int32(p)] = mark{latest, now}
		value = value[size+more:]
	}
	return nil
}
