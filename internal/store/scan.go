package store

import "bytes"

// scanner merges what the two generations and the base of a store say, key by key. A later generation hides what
// an earlier one, or the base, says of the same key.
type scanner struct {
	open, sealed overlayCursor
	base         cursor
	onBase       bool // base stands on a key that is still to come
	given        bool // base stands on the key that was given last
	reverse      bool

	key, value []byte // what next has found; base's memory, or a generation's
	err        error
}

// begin opens the scanner over [from, to), which is not empty.
func (sc *scanner) begin(s *Store, from, to []byte, reverse bool) error {
	sealed := s.sealed.Load() // before the base: when it is gone, its writes are in the base
	base, err := s.base.cursor(from, to, reverse)
	if err != nil {
		return err
	}
	sc.base, sc.reverse, sc.given, sc.err = base, reverse, false, nil
	sc.open.begin(s.open, true, from, to, reverse)
	sc.sealed.begin(sealed, false, from, to, reverse)
	sc.onBase = sc.base.next()
	return nil
}

// end closes the scanner, and returns the first error of the scan.
func (sc *scanner) end() error {
	sc.open.end()
	sc.sealed.end()
	err := sc.base.close()
	sc.base, sc.key, sc.value = nil, nil, nil
	if sc.err != nil {
		return sc.err
	}
	return err
}

// next moves to the next key that has a value.
func (sc *scanner) next() bool {
	for sc.step() {
		if sc.value != nil {
			return true
		}
	}
	return false
}

// step moves to the next key of which anything is said; a value of nil is that it is deleted.
func (sc *scanner) step() bool {
	if sc.given {
		sc.onBase, sc.given = sc.base.next(), false
	}
	for sc.onBase {
		s := sc.covering(sc.base.key())
		if s == nil {
			break
		}
		sc.onBase = sc.base.skip(s)
	}
	overlay := sc.first()
	switch {
	case overlay == nil && !sc.onBase:
		return false
	case overlay == nil || sc.onBase && sc.before(sc.base.key(), overlay.key()):
		sc.key, sc.given = sc.base.key(), true
		sc.value, sc.err = sc.base.value()
		return sc.err == nil
	}
	sc.key, sc.value = overlay.key(), overlay.value
	if overlay == &sc.open {
		if sc.sealed.ok && bytes.Equal(sc.sealed.key(), sc.key) {
			sc.sealed.next()
		}
	} else if len(sc.open.spans) > 0 && sc.open.spans.find(sc.key) != nil {
		sc.value = nil
	}
	if sc.onBase && bytes.Equal(sc.base.key(), sc.key) {
		sc.onBase = sc.base.next()
	}
	overlay.next()
	return true
}

// covering returns a range that a generation has deleted and that has the key of the base.
func (sc *scanner) covering(key []byte) *span {
	if len(sc.open.spans) > 0 {
		if s := sc.open.spans.find(key); s != nil {
			return s
		}
	}
	if len(sc.sealed.spans) > 0 {
		return sc.sealed.spans.find(key)
	}
	return nil
}

// first returns the generation whose key comes first, the open one where both have the same, or nil.
func (sc *scanner) first() *overlayCursor {
	switch {
	case !sc.sealed.ok && !sc.open.ok:
		return nil
	case !sc.open.ok || sc.sealed.ok && sc.before(sc.sealed.key(), sc.open.key()):
		return &sc.sealed
	default:
		return &sc.open
	}
}

// before tells whether a comes before b in the direction of the scan.
func (sc *scanner) before(a, b []byte) bool {
	if sc.reverse {
		a, b = b, a
	}
	return bytes.Compare(a, b) < 0
}

// overlayCursor walks over the writes of a generation as they were when it began.
type overlayCursor struct {
	o        *overlay // nil: there are none
	live     bool     // whether the generation may be written meanwhile
	from, to []byte
	reverse  bool
	seq      uint64 // the last write that it sees
	spans    spans
	fed      int    // of o when place was found
	place    place  // of the next entry; in descending order the one after it
	stable   []byte // the key of the last entry

	ok    bool   // whether it stands on an entry
	value []byte // of the entry; nil: deleted
}

func (c *overlayCursor) begin(o *overlay, live bool, from, to []byte, reverse bool) {
	*c = overlayCursor{}
	if o == nil || o.empty() {
		return
	}
	c.o, c.live, c.from, c.to, c.reverse = o, live, from, to, reverse
	if live {
		o.arrange()
		o.pin()
		o.scans++
	}
	c.seq, c.spans, c.fed = o.seq, o.spans, o.fed
	if reverse {
		c.place = o.order.end()
		if to != nil {
			c.place = o.order.seek(o.entries, to)
		}
	} else {
		c.place = o.order.seek(o.entries, from)
	}
	c.next()
}

func (c *overlayCursor) end() {
	if c.o != nil && c.live {
		c.o.scans--
	}
	*c = overlayCursor{}
}

func (c *overlayCursor) key() []byte { return c.stable }

// next moves to the next entry of which the generation, as it was, says anything.
func (c *overlayCursor) next() {
	for {
		e := c.advance()
		if e == nil {
			c.ok, c.value = false, nil
			return
		}
		if v, known := c.o.at(e, c.seq, c.spans); known {
			c.ok, c.value = true, v
			return
		}
	}
}

// advance moves to the next entry and returns it, or nil at the end.
func (c *overlayCursor) advance() *entry {
	o := c.o
	if c.fed != o.fed { // the order has changed: find the place again
		c.fed = o.fed
		c.place = o.order.seek(o.entries, c.stable)
		if !c.reverse {
			c.place = o.order.next(c.place)
		}
	}
	var p place
	if c.reverse {
		var ok bool
		if p, ok = o.order.prev(c.place); !ok {
			return nil
		}
		c.place = p
	} else {
		if p = c.place; p.block == len(o.order.blocks) {
			return nil
		}
		c.place = o.order.next(p)
	}
	e := &o.entries[o.order.blocks[p.block][p.at]]
	if c.reverse && bytes.Compare(e.key, c.from) < 0 || !c.reverse && c.to != nil && bytes.Compare(e.key, c.to) >= 0 {
		return nil
	}
	c.stable = e.key
	return e
}
