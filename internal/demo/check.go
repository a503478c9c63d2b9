package demo

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/house"
	"millrace.dev/record"
)

// checker takes the predictions and the dead letters as any other program would read them, only what is committed, and
// holds each against what is due for its house.
type checker struct {
	list  []listing
	index map[string]int // by key
	sent  atomic.Int64

	mu          sync.Mutex
	passes      []int // results by house
	predictions int64
	letters     int64
	mismatches  int64
	first       string
	classes     map[string]int64
	latencies   []time.Duration
	measuring   bool
	last        time.Time
	nextModel   string   // a model that may take over; "" is none
	next        [][]byte // what is due with it, by house
	nexts       int64    // predictions of it
}

func newChecker(list []listing) *checker {
	c := &checker{list: list, index: make(map[string]int, len(list)), passes: make([]int, len(list)), classes: map[string]int64{}, measuring: true}
	for i := range list {
		c.index[string(list[i].key)] = i
	}
	return c
}

// takes returns what is to be done with the records of each topic.
func (c *checker) takes() map[string]func([]record.Raw) error {
	return map[string]func([]record.Raw) error{
		predictions: func(records []record.Raw) error { c.results(records, c.prediction); return nil },
		letters:     func(records []record.Raw) error { c.results(records, c.letter); return nil },
	}
}

// results takes records that have just come. take says what is wrong with one, or "".
func (c *checker) results(records []record.Raw, take func(i int, r *record.Raw) string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = now
	for n := range records {
		r := &records[n]
		i, ok := c.index[string(r.Key)]
		wrong := "it has a key that was never sent"
		if ok {
			c.passes[i]++
			wrong = take(i, r)
		}
		if wrong != "" {
			c.mismatch(fmt.Sprintf("%s/%d/%d: %s", r.Topic, r.Partition, r.Offset, wrong))
		}
		if c.measuring {
			c.latencies = append(c.latencies, now.Sub(time.UnixMilli(r.Timestamp)))
		}
	}
}

func (c *checker) prediction(i int, r *record.Raw) string {
	c.predictions++
	switch due := c.due(i, r); {
	case due == nil:
		return "a prediction, where a dead letter is due"
	case !bytes.Equal(due, r.Value):
		return "not what predicting the file gave"
	}
	return ""
}

func (c *checker) letter(i int, r *record.Raw) string {
	c.letters++
	class := ""
	for _, h := range r.Headers {
		if h.Key == "millrace.dlq.class" {
			class = string(h.Value)
		}
	}
	c.classes[class]++
	switch l := &c.list[i]; {
	case class != l.fault.Class():
		return fmt.Sprintf("a dead letter of class %q, where %q is due", class, l.fault.Class())
	case !bytes.Equal(l.value, r.Value):
		return "a dead letter with other bytes than were sent"
	}
	return ""
}

func (c *checker) mismatch(what string) {
	c.mismatches++
	if c.first == "" {
		c.first = what
	}
}

func (c *checker) answered() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.predictions + c.letters
}

func (c *checker) predicted() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.predictions
}

func (c *checker) lastResult() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *checker) pauseLatency() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.measuring = false
}

func (c *checker) live() Live {
	c.mu.Lock()
	defer c.mu.Unlock()
	recent := slices.Clone(c.latencies[max(0, len(c.latencies)-5000):])
	slices.Sort(recent)
	return Live{
		Sent: c.sent.Load(), Predictions: c.predictions, Letters: c.letters, Mismatches: c.mismatches,
		P50: quantile(recent, 0.5), P99: quantile(recent, 0.99),
	}
}

// quantile returns the nearest-rank quantile of sorted durations, 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// result sums up. A house that has not as many results as it was sent is a mismatch. list are the houses by which the
// model is measured.
func (c *checker) result(list []listing) *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range c.passes {
		if l := &c.list[i]; n != l.times {
			c.mismatch(fmt.Sprintf("%s was sent %d times and has %d results", l.key, l.times, n))
		}
	}
	slices.Sort(c.latencies)
	return &Result{
		Records: c.sent.Load(), Predictions: c.predictions, DeadLetters: c.letters, Mismatches: c.mismatches,
		Latency: Latency{P50: milliseconds(quantile(c.latencies, 0.5)), P99: milliseconds(quantile(c.latencies, 0.99))},
		R2:      r2(list), Classes: c.classes, First: c.first,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// r2 returns the share of the variance of the prices of the intact houses that their predictions explain, or nil where
// the prices do not vary.
func r2(list []listing) *float64 {
	var n, mean, sst, sse float64
	for i := range list {
		l := &list[i]
		if l.fault != house.Intact {
			continue
		}
		p, err := priceOf(l.want)
		if err != nil {
			continue // it was compared with the stream byte by byte; it is counted there if it is wrong
		}
		n++
		before := l.price - mean
		mean += before / n
		sst += float64(before * (l.price - mean))
		e := l.price - p
		sse += float64(e * e)
	}
	if sst == 0 {
		return nil
	}
	r := 1 - sse/sst
	return &r
}
