package outcome

import (
	"encoding/binary"
	"math"
	"time"
)

// Options are the times of a join.
type Options struct {
	Horizon time.Duration // how long after a prediction its label counts
	Early   time.Duration // by how much a label may be older than its prediction
	// Grace is how long after the horizon a prediction waits for a label that comes late, and how long a label waits for a prediction.
	Grace time.Duration
}

// Joiner brings predictions and labels of one partition of keys together. It is for one goroutine at a time.
//
// Its rows, by their first byte; a key is preceded by its length, and an id is that of a prediction:
//
//	p key time id   a prediction that waits
//	e time id       every prediction until it can be forgotten: its key while it waits, else nothing
//	l key time      a label
//	f key           the time up to which labels of the key were taken back
//	x time kind key the same two by time, to be forgotten
//	w key           predictions of the key that have a label and were too many to be resolved at once
//
// So no row grows with the predictions of a key, and none is read that has nothing to do with what came.
type Joiner struct {
	rows                  Rows
	horizon, early, grace int64
	emit                  func(*Event) error
	known                 bool // that there is no work, unless busy
	busy                  bool
	predictions, labels   int64 // nothing before these times is left to be forgotten
	key                   []byte
}

// NewJoiner returns a joiner that tells emit what happens.
func NewJoiner(rows Rows, o Options, emit func(*Event) error) *Joiner {
	return &Joiner{
		rows: rows, horizon: o.Horizon.Milliseconds(), early: o.Early.Milliseconds(), grace: o.Grace.Milliseconds(), emit: emit,
		predictions: math.MinInt64, labels: math.MinInt64,
	}
}

// The first bytes of rows.
const (
	rowWaiting   = 'p'
	rowByTime    = 'e'
	rowLabel     = 'l'
	rowFloor     = 'f'
	rowLabelTime = 'x'
	rowWork      = 'w'
)

// rowKey returns a key of kind, key, time and id, each as far as it is given.
func (j *Joiner) rowKey(kind byte, key string, at int64, id []byte) string {
	j.key = append(appendTime(appendRef(append(j.key[:0], kind), key), at), id...)
	return string(j.key)
}

func byTime(kind byte, at int64, more ...byte) string {
	return string(append(appendTime([]byte{kind}, at), more...))
}

func keyed(kind byte, key string) string { return string(appendRef([]byte{kind}, key)) }

// atOnce is how many predictions a label resolves at once. More are resolved by [Joiner.Work].
const atOnce = 1000

// Take takes an input of a key.
func (j *Joiner) Take(key string, in *Input) error {
	switch {
	case in.Prediction != nil:
		return j.predict(key, in.Prediction)
	case in.Withdrawn:
		return j.withdraw(key, in.At)
	default:
		return j.label(key, in.At, in.Label)
	}
}

// predict takes a prediction, unless it was there already.
func (j *Joiner) predict(key string, p *Prediction) error {
	id := p.id()
	all := byTime(rowByTime, p.At, id...)
	if _, known, err := j.rows.Get(all); err != nil || known {
		return err
	}
	j.predictions = min(j.predictions, p.At)
	e := Event{Kind: Seen, Key: key, Prediction: *p}
	if err := j.emit(&e); err != nil {
		return err
	}
	at, label, ok, err := j.first(key, p.At)
	if err != nil {
		return err
	}
	if ok {
		if err := j.rows.Put(all, []byte{}); err != nil {
			return err
		}
		e.Kind, e.Label, e.LabelledAt = Labelled, label, at
		return j.emit(&e)
	}
	if err := j.rows.Put(all, appendRef(nil, key)); err != nil {
		return err
	}
	return j.rows.Put(j.rowKey(rowWaiting, key, p.At, id), p.Append(nil))
}

// first returns the first label, in event time, of a prediction of a key.
func (j *Joiner) first(key string, predicted int64) (at int64, label float64, ok bool, err error) {
	from := predicted - j.early
	floor, has, err := j.floor(key)
	if err != nil {
		return 0, 0, false, err
	}
	if has {
		from = max(from, after(floor))
	}
	err = j.rows.Range(j.rowKey(rowLabel, key, from, nil), j.rowKey(rowLabel, key, after(predicted+j.horizon), nil), func(row string, value []byte) (bool, error) {
		r := reader{b: value}
		at, label, ok = timeOf(row[len(row)-timeBytes:]), r.number(), true
		return false, r.end()
	})
	return at, label, ok, err
}

// floor returns the time up to which labels of a key were taken back, and whether any were.
func (j *Joiner) floor(key string) (at int64, ok bool, err error) {
	b, ok, err := j.rows.Get(keyed(rowFloor, key))
	if err != nil || !ok {
		return 0, false, err
	}
	r := reader{b: b}
	return r.int(), true, r.end()
}

// label takes a label. Of two of the same time the one that comes last counts, for predictions that it still finds.
func (j *Joiner) label(key string, at int64, label float64) error {
	if floor, has, err := j.floor(key); err != nil || has && at <= floor {
		return err
	}
	j.labels = min(j.labels, at)
	if err := j.rows.Put(j.rowKey(rowLabel, key, at, nil), appendNumber(nil, label)); err != nil {
		return err
	}
	if err := j.rows.Put(byTime(rowLabelTime, at, append([]byte{rowLabel}, key...)...), []byte{}); err != nil {
		return err
	}
	next, err := j.resolve(key, j.rowKey(rowWaiting, key, at-j.horizon, nil), j.rowKey(rowWaiting, key, after(at+j.early), nil), atOnce)
	if err != nil || next == "" {
		return err
	}
	return j.postpone(key, next, j.rowKey(rowWaiting, key, after(at+j.early), nil))
}

// withdraw takes back the labels of a key up to a time. What they have resolved stays.
func (j *Joiner) withdraw(key string, at int64) error {
	floor, has, err := j.floor(key)
	if err != nil || has && at <= floor {
		return err
	}
	if has {
		if err := j.rows.Delete(byTime(rowLabelTime, floor, append([]byte{rowFloor}, key...)...)); err != nil {
			return err
		}
	}
	j.labels = min(j.labels, at)
	if err := j.rows.Put(keyed(rowFloor, key), binary.AppendVarint(nil, at)); err != nil {
		return err
	}
	return j.rows.Put(byTime(rowLabelTime, at, append([]byte{rowFloor}, key...)...), []byte{})
}

// resolve resolves the predictions of a key whose rows lie from from to before to, as far as they have a label: limit rows at most. next is where
// to go on, "" if there is nothing left.
func (j *Joiner) resolve(key, from, to string, limit int) (next string, err error) {
	n := 0
	err = j.rows.Range(from, to, func(row string, value []byte) (bool, error) {
		if n == limit {
			next = row
			return false, nil
		}
		n++
		e := Event{Kind: Labelled, Key: key}
		if err := readPrediction(value, &e.Prediction); err != nil {
			return false, err
		}
		at, label, ok, err := j.first(key, e.Prediction.At)
		if err != nil || !ok {
			return true, err
		}
		e.Label, e.LabelledAt = label, at
		return true, j.end(row, &e)
	})
	return next, err
}

func readPrediction(b []byte, p *Prediction) error {
	r := reader{b: b}
	p.read(&r)
	return r.end()
}

// end ends the waiting of a prediction whose row is named.
func (j *Joiner) end(row string, e *Event) error {
	if err := j.rows.Delete(row); err != nil {
		return err
	}
	if err := j.rows.Put(byTime(rowByTime, e.Prediction.At, e.Prediction.id()...), []byte{}); err != nil {
		return err
	}
	return j.emit(e)
}

// postpone notes predictions to be resolved later, beside those that are noted already.
func (j *Joiner) postpone(key, from, to string) error {
	row := keyed(rowWork, key)
	b, ok, err := j.rows.Get(row)
	if err != nil {
		return err
	}
	if ok {
		f, t, err := readWork(b)
		if err != nil {
			return err
		}
		from, to = min(from, f), max(to, t)
	}
	j.busy = true
	return j.rows.Put(row, appendRef(appendRef(nil, from), to))
}

func readWork(b []byte) (from, to string, err error) {
	r := reader{b: b}
	from, to = r.text(), r.text()
	return from, to, r.end()
}

// Work resolves predictions that were too many before: limit at most. It tells whether there are more.
func (j *Joiner) Work(limit int) (more bool, err error) {
	if j.known && !j.busy {
		return false, nil
	}
	left := limit
	err = j.rows.Range(string([]byte{rowWork}), string([]byte{rowWork + 1}), func(row string, value []byte) (bool, error) {
		if left <= 0 {
			more = true
			return false, nil
		}
		from, to, err := readWork(value)
		if err != nil {
			return false, err
		}
		key, err := keyOf(row[1:])
		if err != nil {
			return false, err
		}
		next, err := j.resolve(key, from, to, left)
		if err != nil {
			return false, err
		}
		if next == "" {
			left -= atOnce // about what the key had: it was not counted
			return true, j.rows.Delete(row)
		}
		left, more = 0, true
		return true, j.rows.Put(row, appendRef(appendRef(nil, next), to))
	})
	if err != nil {
		return false, err
	}
	j.known, j.busy = true, more
	return more, nil
}

// keyOf returns the key that a row's key has.
func keyOf(b string) (string, error) {
	r := reader{b: []byte(b)}
	key := r.text()
	return key, r.end()
}

// Reached says up to which event times, in milliseconds, everything was taken that has come; math.MinInt64 is not known. Predictions expire by
// the time of the labels, and labels are forgotten by that of the predictions: either may be far behind the other, as where history is read.
type Reached struct{ Labels, Predictions int64 }

// Unknown is a [Reached] that is not known.
const Unknown = math.MinInt64

// Sweep lets predictions expire, and forgets predictions and labels: limit rows at most. It tells whether there are more.
func (j *Joiner) Sweep(r Reached, limit int) (more bool, err error) {
	n := 0
	if r.Labels != Unknown {
		if n, err = j.expire(r.Labels-j.horizon-j.grace, limit); err != nil || n >= limit {
			return true, err
		}
	}
	if r.Predictions == Unknown {
		return false, nil
	}
	m, err := j.forget(r.Predictions-j.early-j.grace, limit-n)
	return n+m >= limit, err
}

// expire ends the predictions up to a time.
func (j *Joiner) expire(until int64, limit int) (n int, err error) {
	if until < j.predictions {
		return 0, nil
	}
	from, last := byTime(rowByTime, j.predictions), until
	err = j.rows.Range(from, byTime(rowByTime, after(until)), func(row string, value []byte) (bool, error) {
		if n == limit {
			last = timeOf(row[1:])
			return false, nil
		}
		n++
		if len(value) > 0 {
			if err := j.overdue(row, value); err != nil {
				return false, err
			}
		}
		return true, j.rows.Delete(row)
	})
	j.predictions = last
	return n, err
}

// overdue ends a prediction that has no label yet, unless one is about to be given to it.
func (j *Joiner) overdue(row string, value []byte) error {
	key, err := keyOf(string(value))
	if err != nil {
		return err
	}
	at, id := timeOf(row[1:]), []byte(row[1+timeBytes:])
	waiting := j.rowKey(rowWaiting, key, at, id)
	b, ok, err := j.rows.Get(waiting)
	if err != nil || !ok {
		return err
	}
	e := Event{Kind: Overdue, Key: key}
	if err := readPrediction(b, &e.Prediction); err != nil {
		return err
	}
	if j.busy || !j.known {
		labelled, label, ok, err := j.first(key, at)
		if err != nil {
			return err
		}
		if ok {
			e.Kind, e.Label, e.LabelledAt = Labelled, label, labelled
		}
	}
	if err := j.rows.Delete(waiting); err != nil {
		return err
	}
	return j.emit(&e)
}

// forget drops labels up to a time.
func (j *Joiner) forget(until int64, limit int) (n int, err error) {
	if until < j.labels {
		return 0, nil
	}
	last := until
	err = j.rows.Range(byTime(rowLabelTime, j.labels), byTime(rowLabelTime, after(until)), func(row string, _ []byte) (bool, error) {
		if n == limit {
			last = timeOf(row[1:])
			return false, nil
		}
		n++
		at, kind, key := timeOf(row[1:]), row[1+timeBytes], row[2+timeBytes:]
		of := keyed(rowFloor, key)
		if kind == rowLabel {
			of = j.rowKey(rowLabel, key, at, nil)
		}
		if err := j.rows.Delete(of); err != nil {
			return false, err
		}
		return true, j.rows.Delete(row)
	})
	j.labels = last
	return n, err
}
