package store

import "sync/atomic"

// base is what a store holds of commits. It is read by the task's goroutine while another one commits: a read
// sees the base as before or as after the commit.
type base interface {
	// cursor returns a cursor over [from, to), which stands before the first key, in ascending order or in descending
	// order; nil is an open end.
	cursor(from, to []byte, reverse bool) (cursor, error)
	close() error
}

// cursor walks over a snapshot of a base.
type cursor interface {
	// next moves to the next key and tells whether there is one.
	next() bool
	// skip is next, past the rest of a deleted range.
	skip(s *span) bool
	// key and value return what the cursor stands on; valid until it moves.
	key() []byte
	value() ([]byte, error)
	// close ends the walk, and returns the error that ended it before its end.
	close() error
}

// memory is a base in memory.
type memory struct {
	table atomic.Pointer[table]
	idle  *tableCursor // for the next scan
	// budget is told what the table takes.
	budget *Budget
}

func newMemory(b *Budget) *memory {
	m := &memory{budget: b}
	m.table.Store(&table{})
	return m
}

func (m *memory) close() error {
	m.budget.move(&m.budget.memory, -m.table.Load().bytes)
	return nil
}

// set replaces the table.
func (m *memory) set(t *table) {
	was := m.table.Swap(t)
	m.budget.move(&m.budget.memory, t.bytes-was.bytes)
}

func (m *memory) cursor(from, to []byte, reverse bool) (cursor, error) {
	c := m.idle
	if c == nil {
		c = &tableCursor{memory: m}
	}
	m.idle = nil
	*c = tableCursor{memory: m, table: m.table.Load(), reverse: reverse}
	c.last = c.table.end()
	if to != nil {
		c.last = c.table.seek(to)
	}
	if len(from) > 0 {
		c.at = c.table.seek(from)
	}
	return c, nil
}

// tableCursor walks over the items from at to before last.
type tableCursor struct {
	memory   *memory
	table    *table
	at, last spot
	item     *item
	reverse  bool
}

func (c *tableCursor) next() bool {
	if c.at.block > c.last.block || c.at.block == c.last.block && c.at.at >= c.last.at {
		return false
	}
	if c.reverse {
		if c.last.at == 0 {
			c.last.block--
			c.last.at = len(c.table.blocks[c.last.block].items)
		}
		c.last.at--
		c.item = &c.table.blocks[c.last.block].items[c.last.at]
		return true
	}
	b := c.table.blocks[c.at.block]
	c.item = &b.items[c.at.at]
	if c.at.at++; c.at.at == len(b.items) {
		c.at = spot{c.at.block + 1, 0}
	}
	return true
}

func (c *tableCursor) skip(s *span) bool {
	switch {
	case c.reverse:
		c.last = c.table.seek(s.from)
	case s.to == nil:
		c.at = c.last
	default:
		c.at = c.table.seek(s.to)
	}
	return c.next()
}

func (c *tableCursor) key() []byte            { return c.item.key() }
func (c *tableCursor) value() ([]byte, error) { return c.item.value(), nil }

func (c *tableCursor) close() error {
	c.table, c.item = nil, nil // an old table is garbage
	c.memory.idle = c
	return nil
}

// with returns the base with a sealed generation in it.
func (m *memory) with(o *overlay) *table {
	t := m.table.Load()
	for i := range o.spans {
		t = t.without(o.spans[i].from, o.spans[i].to)
	}
	writes := make([]write, 0, len(o.entries))
	o.each(func(e *entry) { writes = append(writes, write{e.key, o.current(e)}) })
	return t.with(writes)
}

// restore writes entries to the base, the last of a key wins.
func (m *memory) restore(entries []Entry) {
	writes := make([]write, 0, len(entries))
	for _, e := range entries {
		writes = append(writes, write{e.Key, e.Value})
	}
	m.set(m.table.Load().with(lastOfEach(writes)))
}
