package watch

import (
	"cmp"
	"slices"
	"time"

	"millrace.dev/profile"
	"millrace.dev/record"
)

// Every is the size of a window: of time, or of so many records. One of the two is above 0.
type Every struct {
	Time    time.Duration // of event time; windows begin at multiples of it since 1970-01-01 00:00:00 UTC
	Records uint64
}

// Window returns the window of an event time in microseconds: the number of those between 1970 and it. With windows of
// so many records there is only the one that is being filled, 0.
func (e Every) Window(at int64) int64 {
	if e.Time == 0 {
		return 0
	}
	size := e.Time.Microseconds()
	n := at / size
	if at%size < 0 {
		n--
	}
	return n
}

// Bounds returns the event times between which a window of time lies, the second exclusive, in microseconds since 1970.
func (e Every) Bounds(window int64) (from, to int64) {
	size := e.Time.Microseconds()
	return window * size, (window + 1) * size
}

// maxAhead is how far an event time may be ahead of the clock: what is further is an error of the record, and in no
// window.
const maxAhead = 24 * time.Hour

// Believed tells whether an event time is one that decides about windows, both in microseconds since 1970: it is there, and no more than a
// day ahead of now.
func Believed(at, now int64) bool {
	return at != record.MissingTime && at <= now+maxAhead.Microseconds()
}

// Tally counts records window by window. It is for one goroutine at a time.
//
// Event times are what records say: there may be as many windows as records. So only some are counted side by side; what
// comes for others is kept as bytes, of a few dozen for a column.
type Tally struct {
	every     Every
	reference *profile.Profile
	layout    profile.Layout
	most      int // windows that are counted side by side
	windows   []counted
	spilled   []spilled
	idle      []*profile.Counter // to be used again
	untimed   uint64
	keep      []bool
	of        []int64
}

type counted struct {
	window  int64
	counter *profile.Counter
}

// spilled is what came for a window for which there was no counter.
type spilled struct {
	window int64
	counts []byte
}

// How much memory the counters of windows may take together.
const (
	tallyBytes = 16 << 20
	boardBytes = 256 << 20
)

// mostWindows returns of how many windows the counters take no more than some bytes, about, but from least to most.
func mostWindows(reference *profile.Profile, bytes, least, most int) int {
	one := 0
	for i := range reference.Columns {
		c := &reference.Columns[i]
		one += 5120 + 8*len(c.Counts) + 64*len(c.Levels) // with what finds the bins
	}
	return max(least, min(bytes/max(one, 1), most))
}

// NewTally returns an empty tally of records of a layout, into the bins of a reference. It is an error if these do not
// fit.
func NewTally(every Every, reference *profile.Profile, layout profile.Layout) (*Tally, error) {
	c, err := profile.NewCounter(reference, layout)
	if err != nil {
		return nil, err
	}
	return &Tally{
		every: every, reference: reference, layout: layout, idle: []*profile.Counter{c}, most: mostWindows(reference, tallyBytes, 4, 1000),
	}, nil
}

// Add counts the rows that are not rejected, with their event times in microseconds since 1970 or [record.MissingTime]. Those of no
// known time, and those more than a day ahead of now, in microseconds too, are in no window of time, and counted as untimed.
func (t *Tally) Add(rows *profile.Rows, times []int64, now int64) {
	n := rows.Batch.Len()
	if t.every.Time == 0 {
		t.counter(0).Add(rows)
		return
	}
	t.of = slices.Grow(t.of[:0], n)[:n]
	t.keep = slices.Grow(t.keep[:0], n)[:n]
	var seen []int64
	for i := range n {
		t.keep[i] = false
		if rows.Batch.Problem(i) != nil {
			continue
		}
		if !Believed(times[i], now) {
			t.untimed++
			continue
		}
		t.keep[i] = true
		t.of[i] = t.every.Window(times[i])
		if len(seen) == 0 || t.of[i] != seen[len(seen)-1] && !slices.Contains(seen, t.of[i]) {
			seen = append(seen, t.of[i])
		}
	}
	for k, w := range seen {
		part := *rows
		part.Keep = t.keep
		if len(seen) > 1 {
			part.Keep = make([]bool, n)
			for i := range n {
				part.Keep[i] = t.keep[i] && t.of[i] == seen[k]
			}
		}
		if c := t.counter(w); c != nil {
			c.Add(&part)
			continue
		}
		c := t.spare()
		c.Add(&part)
		t.spill(w, c)
		c.Reset()
		t.idle = append(t.idle, c)
	}
}

// counter returns the counter of a window, nil if there is none and there are enough.
func (t *Tally) counter(window int64) *profile.Counter {
	for _, w := range t.windows {
		if w.window == window {
			return w.counter
		}
	}
	if len(t.windows) >= t.most {
		return nil
	}
	c := t.spare()
	t.windows = append(t.windows, counted{window, c})
	return c
}

// spare returns an empty counter.
func (t *Tally) spare() *profile.Counter {
	if n := len(t.idle); n > 0 {
		c := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return c
	}
	c, _ := profile.NewCounter(t.reference, t.layout) // it was made once
	return c
}

func (t *Tally) spill(window int64, c *profile.Counter) {
	b, _ := c.AppendBinary(nil) // it never fails
	t.spilled = append(t.spilled, spilled{window, b})
}

// Empty tells whether nothing was counted.
func (t *Tally) Empty() bool { return len(t.windows) == 0 && t.untimed == 0 }

// Full tells whether there were more windows than are counted side by side: then the parts should be told soon.
func (t *Tally) Full() bool { return len(t.spilled) > 0 }

// Merge adds what o has counted, of the same reference and layout.
func (t *Tally) Merge(o *Tally) {
	t.untimed += o.untimed
	for _, w := range o.windows {
		if c := t.counter(w.window); c != nil {
			c.Merge(w.counter)
		} else {
			t.spill(w.window, w.counter)
		}
	}
	t.spilled = append(t.spilled, o.spilled...)
}

// Reset forgets what was counted.
func (t *Tally) Reset() {
	t.untimed = 0
	for _, w := range t.windows {
		w.counter.Reset()
		t.idle = append(t.idle, w.counter)
	}
	t.windows = t.windows[:0]
	clear(t.spilled)
	t.spilled = t.spilled[:0]
}

// Parts calls f with parts of the windows that have something, as a partition of a model tells them: one for each window in their order, and
// then more if the tally is full. If only untimed records were counted, or nothing at all, there is one part without a count.
func (t *Tally) Parts(of Part, f func(*Part) error) error {
	slices.SortFunc(t.windows, func(a, b counted) int { return cmp.Compare(a.window, b.window) })
	of.Untimed = t.untimed
	if len(t.windows) == 0 {
		return f(&of)
	}
	for _, w := range t.windows {
		of.Window = w.window
		var err error
		if of.Counts, err = w.counter.AppendBinary(nil); err != nil {
			return err
		}
		if err := f(&of); err != nil {
			return err
		}
		of.Untimed = 0
	}
	for _, s := range t.spilled {
		of.Window, of.Counts = s.window, s.counts
		if err := f(&of); err != nil {
			return err
		}
	}
	return nil
}
