//go:build linux

package main

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pair is an update, by its number, with a row, by its version.
type pair struct{ update, version int }

// pairCheck looks at what a join of two tables writes: the newest output of each key has to be its newest update with the
// newest version of its row. Under exactly-once neither of them ever goes back. How many outputs come before the last one
// depends on which side was read first, and a contestant may write the same one again.
type pairCheck struct {
	once    bool
	late    bool // an output may have the time of its row though its update has a later one: of a row that changed, but was read late
	left    updates
	right   rows
	records int    // of the left side
	want    []pair // by key; update is -1 where there is none
	have    []pair
	waiting [][]int // by key the updates that neither have an output nor were overtaken, ascending
	through int     // updates that are not waiting
	missing int     // keys whose newest output is another one than want
}

// newPairCheck returns a check of the join of n updates with rows.
func newPairCheck(once, late bool, left updates, right rows, n int) *pairCheck {
	c := &pairCheck{once: once, late: late, left: left, right: right, records: n}
	newest := make([]int, keys) // version by row
	for i := range right.count(n) {
		key, _ := right.of(i)
		newest[key] = i
	}
	none := pair{update: -1}
	for i := range n {
		key, row, _ := left.of(i)
		for key >= len(c.want) {
			c.want, c.have, c.waiting = append(c.want, none), append(c.have, none), append(c.waiting, nil)
		}
		if c.want[key] == none {
			c.missing++
		}
		c.want[key] = pair{i, newest[row]}
		c.waiting[key] = append(c.waiting[key], i)
	}
	return c
}

// newForeignCheck returns a check of the join of n updates of orders with customers.
func newForeignCheck(once bool, n int) *pairCheck {
	return newPairCheck(once, true, orders{n}, rows{recordsPerCustomer}, n)
}

func (c *pairCheck) see(r *kgo.Record) error {
	key, err := c.left.keyNumber(r.Key)
	if err != nil {
		return err
	}
	if key >= len(c.want) {
		return fmt.Errorf("output of %q, which has no update", r.Key)
	}
	now := pair{update: -1}
	if r.Value != nil { // there may be none while an order is moved
		if now, err = c.pair(key, r); err != nil {
			return err
		}
		for w := c.waiting[key]; len(w) > 0 && w[0] <= now.update; w = c.waiting[key] {
			c.waiting[key] = w[1:]
			c.through++
		}
	}
	if before := c.have[key]; before != now {
		if c.once && now.update >= 0 && c.back(before, now) {
			return fmt.Errorf("output of %q: %v after %v", r.Key, now, before)
		}
		if before == c.want[key] {
			c.missing++
		}
		if now == c.want[key] {
			c.missing--
		}
		c.have[key] = now
	}
	return nil
}

// pair reads an output.
func (c *pairCheck) pair(key int, r *kgo.Record) (p pair, err error) {
	i, ok := numberOf(r.Value)
	version, known := c.right.version(r.Value, c.records)
	if !ok || i >= c.records || !known {
		return p, fmt.Errorf("output %q: no such pair", r.Value)
	}
	of, row, at := c.left.of(i)
	other, changed := c.right.of(version)
	at = max(at, changed)
	if c.late && r.Timestamp.UnixMilli() == changed {
		at = changed
	}
	want := append(append(c.left.appendValue(nil, i), ';'), c.right.value(version)...)
	if of != key || other != row || !bytes.Equal(r.Value, want) || r.Timestamp.UnixMilli() != at {
		return p, fmt.Errorf("output %q = %q at %d: want %q = %q at %d, with the row of %d", r.Key, r.Value, r.Timestamp.UnixMilli(), c.left.keyOf(of), want, at, row)
	}
	return pair{i, version}, nil
}

// back tells whether a pair is older than another one of its key, in either side. Versions of different rows have no order.
func (c *pairCheck) back(before, now pair) bool {
	if before.update < 0 {
		return false
	}
	_, was, _ := c.left.of(before.update)
	_, is, _ := c.left.of(now.update)
	return now.update < before.update || was == is && now.version < before.version
}

// half tells whether half of the updates have an output, or a later one of their key has.
func (c *pairCheck) half() bool { return c.through >= c.records/2 }

// all tells whether each key has its last output.
func (c *pairCheck) all() bool { return c.missing == 0 }

func (c *pairCheck) finish() error {
	for key, want := range c.want {
		if c.have[key] != want {
			return fmt.Errorf("newest output of %q: %v: want %v; %d keys are wrong", c.left.keyOf(key), c.have[key], want, c.missing)
		}
	}
	return nil
}
