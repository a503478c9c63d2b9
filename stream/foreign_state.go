package stream

import (
	"bytes"
	"fmt"

	"millrace.dev/internal/store"
	"millrace.dev/record"
)

// match is what a left row is joined with.
type match[L, R any] struct {
	known     bool  // else the row has no result, but for one without a foreign key
	exists    bool  // there is a right row
	timestamp int64 // of the right row; of a result that is kept that one's
	right     R
	kept      bool // until there is another the result is that of before
	left      L    // what the left row was then
}

// foreignState is what a task of the left side of a join by foreign key keeps, in one store: of each foreign key that its left rows have,
// what the right side has told of the right row; and by foreign key which left rows have it, so that those are one scan. A left row
// whose foreign key was not told of yet has beside it what it was joined with before, and what its update came with.
//
// Foreign keys are told apart by their bytes: so they are on the right side.
type foreignState[K comparable, L, R, V any] struct {
	showing[K, V]

	name    string // for errors
	store   *store.Store
	rows    *kvStore[string, foreignRow[R]] // by the bytes of the foreign key
	left    *watch[K]                       // the stores of the left rows, and what has come of them
	keys    Codec[K]
	waits   awaitingCodec[L, R]
	outer   bool
	asks    int64  // the number of the last subscription
	meta    *meta  // that in the store
	key     []byte // memory, as all that follows
	leftKey []byte
	value   []byte
	held    []byte
}

// foreignStateOf returns the state of a join in a task. The stores of the left rows are there already.
func foreignStateOf[K comparable, L, R, V any](b *builder, n *node, left Table[K, L], values Codec[R], o storeOptions, outer bool) *foreignState[K, L, R, V] {
	name := n.stores[0].Name
	key := storeKey{n, name}
	if s, ok := b.stores[key].(*foreignState[K, L, R, V]); ok {
		return s
	}
	in := b.ctx.Store(name)
	s := &foreignState[K, L, R, V]{
		name: name, store: in, left: watchOf[K](b, left.from), keys: left.keys, waits: awaitingCodec[L, R]{left.values, values}, outer: outer,
		rows: newKVStore(name, in, String(), Codec[foreignRow[R]](foreignRowCodec[R]{values}), o.cached),
	}
	s.left.note()
	b.stores[key] = s
	return s
}

// open reads how many subscriptions there were.
func (s *foreignState[K, L, R, V]) open() (err error) {
	if s.meta, err = newMeta(s.store, metaOperator, &s.asks); err != nil {
		err = fmt.Errorf("store %s: %w", s.name, err)
	}
	return err
}

// emitsLate tells that a row is always found as it was sent on.
func (s *foreignState[K, L, R, V]) emitsLate() bool { return false }

// foreignKey is the foreign key of a left row.
type foreignKey struct {
	ok    bool   // it has one
	bytes []byte // the key encoded
}

// is tells whether two rows have the same foreign key.
func (k *foreignKey) is(other *foreignKey) bool {
	return k.ok && other.ok && bytes.Equal(k.bytes, other.bytes)
}

// asked returns what is known of a foreign key's right row, nil if nobody asks for it.
func (s *foreignState[K, L, R, V]) asked(f *foreignKey) (*cached[string, foreignRow[R]], error) {
	c, err := s.rows.at(string(f.bytes))
	if err != nil || !c.row.exists {
		return nil, err
	}
	return c, nil
}

// find returns what a left row with a foreign key is joined with, and what is known of the right row, nil if nobody asks for it.
func (s *foreignState[K, L, R, V]) find(k K, f *foreignKey) (a awaiting[L, R], c *cached[string, foreignRow[R]], err error) {
	if !f.ok {
		return a, nil, nil
	}
	c, err = s.asked(f)
	switch {
	case err != nil || c == nil:
	case c.row.value.answered:
		a.match = s.toldOf(&c.row)
	default:
		a, err = s.awaiting(k, f)
	}
	return a, c, err
}

// toldOf returns what left rows are joined with once the right side has told of their foreign key.
func (s *foreignState[K, L, R, V]) toldOf(r *row[foreignRow[R]]) match[L, R] {
	v := &r.value
	if !v.answered || !v.exists && !s.outer {
		return match[L, R]{}
	}
	return match[L, R]{known: true, exists: v.exists, timestamp: r.timestamp, right: v.right}
}

// awaiting reads what is kept of a left row that waits.
func (s *foreignState[K, L, R, V]) awaiting(k K, f *foreignKey) (a awaiting[L, R], err error) {
	if err := s.member(k, f); err != nil {
		return a, err
	}
	b, err := s.store.Get(s.key)
	if err != nil || len(b) == 0 {
		return a, err
	}
	a, _, err = s.decode(s.leftKey, b)
	return a, err
}

// decode decodes what is kept of a left row that waits, with what its update came with.
func (s *foreignState[K, L, R, V]) decode(key, b []byte) (a awaiting[L, R], h held, err error) {
	if h, err = heldOf(key, b); err == nil {
		a, err = s.waits.Decode(h.value)
	}
	if err != nil {
		err = fmt.Errorf("store %s: what is kept of a left row cannot be decoded: has a codec changed? Then give the join another name. %w", s.name, err)
	}
	return a, h, err
}

// members makes the beginning of the keys of the left rows with a foreign key.
func (s *foreignState[K, L, R, V]) members(foreign []byte) []byte {
	s.key = appendKeyRef(append(s.key[:0], prefixMember), foreign)
	return s.key
}

// member makes the key of a left row with a foreign key.
func (s *foreignState[K, L, R, V]) member(k K, f *foreignKey) (err error) {
	if s.leftKey, err = s.keys.Append(s.leftKey[:0], k); err != nil {
		return fmt.Errorf("store %s: encode the key of a left row: %w", s.name, err)
	}
	s.key = append(s.members(f.bytes), s.leftKey...)
	return nil
}

// join notes a left row that has a foreign key. c is what is known of the right row.
func (s *foreignState[K, L, R, V]) join(k K, f *foreignKey, c *cached[string, foreignRow[R]]) error {
	if err := s.member(k, f); err != nil {
		return err
	}
	s.noteMember(c)
	return s.store.Put(s.key, []byte{})
}

// noteMember remembers the left row whose key was made last, if no other is.
func (s *foreignState[K, L, R, V]) noteMember(c *cached[string, foreignRow[R]]) {
	if v := &c.row.value; v.left == "" {
		v.left = string(s.leftKey)
	}
}

// await notes a left row that waits, and what its update came with. c is what is known of the right row.
func (s *foreignState[K, L, R, V]) await(k K, f *foreignKey, c *cached[string, foreignRow[R]], a awaiting[L, R], headers []Header, source *record.Raw) (err error) {
	if err := s.member(k, f); err != nil {
		return err
	}
	if s.value, err = s.waits.Append(s.value[:0], a); err != nil {
		return fmt.Errorf("store %s: encode what is kept of a left row: %w", s.name, err)
	}
	s.noteMember(c)
	s.held = appendHeld(s.held[:0], s.leftKey, s.value, headers, source)
	return s.store.Put(s.key, s.held)
}

// leave forgets that a left row has a foreign key. It returns true if it was the last. c is what is known of the right row, nil if nothing is.
func (s *foreignState[K, L, R, V]) leave(k K, f *foreignKey, c *cached[string, foreignRow[R]]) (last bool, err error) {
	if err := s.member(k, f); err != nil {
		return false, err
	}
	if err := s.store.Delete(s.key); err != nil || c == nil {
		return false, err
	}
	if other := c.row.value.left; other != "" && other != string(s.leftKey) {
		return false, nil
	}
	// Those after it first: rows that go in the order of their keys leave nothing before it but what was deleted.
	head := len(s.key) - len(s.leftKey)
	s.held = successor(s.held, s.key[:head])
	c.row.value.left, last = "", true
	find := func(key, _ []byte) (bool, error) {
		c.row.value.left, last = string(key[head:]), false
		return false, nil
	}
	if err := s.store.Scan(s.key, s.held, find); err != nil || !last {
		return false, err
	}
	err = s.store.Scan(s.key[:head], s.key, find)
	return last, err
}
