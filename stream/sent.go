package stream

import "slices"

// A join of tables computes what a result was before from the update that it gets and the row of the other side. That
// is wrong where the same update has changed the other side too, and the join is only going to be told; and where the
// other side has changed and tells at its next commit, or has a row that is too old and tells of that later. There it asks
// the stores of both sides what their rows were when they were sent on last.

// view is how a store shows its rows to who looks them up.
type view int8

const (
	viewLatest view = iota // as they are
	viewSent               // as they were sent on last; one that is being sent on as it is
	viewBefore             // the same, but one that is being sent on as it was before
)

// sender is a store whose rows are sent on when they have changed.
type sender[K any] interface {
	// sending returns the number of the update of a row that is being sent on, 0 if none is.
	sending(k K) uint64
	// show has rows be looked up in a view, and returns the one before.
	show(v view) view
	// emitsLate tells whether a look-up may find another row than was sent on last.
	emitsLate() bool
	// note has updates be noted for sending and viewBefore.
	note()
}

// updating is the update of a row that is being sent on.
type updating[K, V any] struct {
	number uint64
	open   bool
	key    K
	old    row[V]
}

// showing is how a store shows its rows, and which of their updates is being sent on.
type showing[K comparable, V any] struct {
	view   view
	joined bool           // a join wants to know what is being sent on
	now    updating[K, V] // the update that is being sent on, if joined
}

func (s *showing[K, V]) sending(k K) uint64 {
	if s.now.open && s.now.key == k {
		return s.now.number
	}
	return 0
}

func (s *showing[K, V]) show(v view) (was view) {
	was, s.view = s.view, v
	return was
}

func (s *showing[K, V]) note() { s.joined = true }

// begin notes, for joins, that the update of a row is being sent on.
func (s *showing[K, V]) begin(k K, old row[V]) {
	if s.joined {
		s.now = updating[K, V]{number: s.now.number + 1, open: true, key: k, old: old}
	}
}

// end notes that it was.
func (s *showing[K, V]) end() { s.now.open = false }

// watch is the stores that a join of tables is computed from, and what it knows of their updates.
type watch[K any] struct {
	of   []sender[K]
	seen []uint64 // the update of each that was in the last result
	was  []view   // of each, before asSeen
}

// watchOf returns the watch of the stores of some nodes, which are there already.
func watchOf[K comparable](b *builder, nodes []*node) *watch[K] {
	w := &watch[K]{}
	for _, n := range nodes {
		if s, ok := b.senderOf(n).(sender[K]); ok && !slices.Contains(w.of, s) {
			w.of = append(w.of, s)
		}
	}
	w.seen, w.was = make([]uint64, len(w.of)), make([]view, len(w.of))
	return w
}

// watched returns the watch of a join, nil if it needs none. The stores are there already.
func watched[K comparable](b *builder, left, right []*node) *watch[K] {
	w := watchOf[K](b, slices.Concat(left, right))
	if !reaches(left, right) && !reaches(right, left) && !slices.ContainsFunc(w.of, sender[K].emitsLate) {
		return nil
	}
	w.note()
	return w
}

// note has updates of all stores be noted.
func (w *watch[K]) note() {
	for _, s := range w.of {
		s.note()
	}
}

// see notes that the updates of a row that are being sent on have come here.
func (w *watch[K]) see(k K) {
	for i, s := range w.of {
		if n := s.sending(k); n != 0 {
			w.seen[i] = n
		}
	}
}

// asSeen has all stores show a row as it is after the updates that have come here, until unseen is called.
func (w *watch[K]) asSeen(k K) {
	for i, s := range w.of {
		v := viewSent
		if n := s.sending(k); n != 0 && n != w.seen[i] {
			v = viewBefore
		}
		w.was[i] = s.show(v)
	}
}

// unseen has all stores show rows as they did before asSeen.
func (w *watch[K]) unseen() {
	for i, s := range w.of {
		s.show(w.was[i])
	}
}

// senderOf returns the store of a node in a task.
func (b *builder) senderOf(n *node) any {
	if len(n.stores) == 0 {
		return nil
	}
	return b.stores[storeKey{n, n.stores[0].Name}]
}

// reaches tells whether what some nodes send comes to one of others, without a topic in between. A node reaches itself.
func reaches(from, to []*node) bool {
	seen := map[*node]bool{}
	var visit func(n *node) bool
	visit = func(n *node) bool {
		if slices.Contains(to, n) {
			return true
		}
		if seen[n] {
			return false
		}
		seen[n] = true
		return slices.ContainsFunc(n.children, func(c child) bool { return visit(c.n) }) || slices.ContainsFunc(n.outs, visit)
	}
	return slices.ContainsFunc(from, visit)
}

// wantsOld tells whether anybody looks at what the rows of a node were before their updates. Where nobody does the joiner need not be called
// for that; whether there was a row is always told.
func (n *node) wantsOld() bool {
	return slices.ContainsFunc(n.children, func(c child) bool { return !c.n.newOnly })
}

// show has all stores show their rows in a view.
func (w *watch[K]) show(v view) {
	if w == nil {
		return
	}
	for _, s := range w.of {
		s.show(v)
	}
}

// before has the stores show a row as it was in the last result. It returns false if that is how it is now: all of its
// updates that are being sent on were in that result.
func (w *watch[K]) before(k K) (changed bool) {
	for i, s := range w.of {
		if n := s.sending(k); n != 0 && n != w.seen[i] {
			w.seen[i], changed = n, true
			s.show(viewBefore)
		}
	}
	return changed
}
