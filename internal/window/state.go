package window

import (
	"fmt"
	"slices"

	"millrace.dev/record"
)

// Status is what became of a record.
type Status uint8

// What became of a record: the documentation of the package has it in full.
const (
	// Added is the latest record of its key, or as late as the latest, and was added.
	Added Status = iota
	// Reordered came late, within the grace, and was added.
	Reordered
	// TooLate came later than the grace, and was not added.
	TooLate
	// Untimed has no event time, and was not added; its aggregates are missing.
	Untimed
)

// String returns the name of s, as a metric would have it.
func (s Status) String() string {
	if s > Untimed {
		return fmt.Sprintf("Status(%d)", uint8(s))
	}
	return [...]string{"added", "reordered", "too_late", "untimed"}[s]
}

// State is what a window knows of one key. It is not safe for concurrent use, not even to read.
type State struct {
	w    *Window
	time int64 // of the key; record.MissingTime if there is none

	// What is kept by tile, in ascending order of tiles, from position head on. Those with a stride have an element for
	// each argument with the need. What is before head was dropped; its memory is used again. Positions count from 0.
	head     int
	tiles    []tile
	moments  []moments // stride len(w.args)
	sets     []set     // stride w.sets
	sketches []sketch  // stride w.ranks

	latest [][]timed // by argument with the need

	closed closed    // all tiles of the last window that was read, but its last
	total  []moments // by argument, of the last window that was read
	open   []ranked  // by argument with the need, of its last tile
}

// tile is a tile with records.
type tile struct {
	number int64
	count  int64 // of records
}

// Reset has s be the state of a key without records. It keeps the memory.
func (s *State) Reset() {
	s.time = record.MissingTime
	s.drop(len(s.tiles))
	for i := range s.latest {
		s.latest[i] = s.latest[i][:0]
	}
}

// Time returns the key's time: the highest event time among its records that were added, in microseconds since 1970,
// or record.MissingTime if there is none.
func (s *State) Time() int64 { return s.time }

// Expired tells whether the state can be forgotten once the time is now, in microseconds since 1970: whether any
// record of the key with an event time from now, less the grace, reads the same from a new state. A caller that
// forgets states has to be sure that no older record is given to the key, or to forget it in training, too.
func (s *State) Expired(now int64) bool {
	if s.time == record.MissingTime {
		return true
	}
	return now > s.time && s.w.grid.place(now).before(s.w.grid.kept) > s.w.grid.tile(s.time)
}

// Observe reads the aggregates for a record with event time at, in microseconds since 1970, as [State.Read] does, and
// adds the record if it is not too late. It allocates nothing once the state has had its largest size.
func (s *State) Observe(at int64, args []Value, out []float64) Status {
	status := s.Read(at, args, out)
	if status <= Reordered {
		s.add(at, args)
	}
	return status
}

// status returns what becomes of a record.
func (s *State) status(at int64) Status {
	switch {
	case at == record.MissingTime:
		return Untimed
	case s.time == record.MissingTime || at >= s.time:
		return Added
	case uint64(s.time)-uint64(at) <= s.w.grid.grace:
		return Reordered
	default:
		return TooLate
	}
}

// add adds a record that is not too late.
func (s *State) add(at int64, args []Value) {
	p := s.w.grid.place(at)
	if s.time == record.MissingTime || at > s.time {
		s.time = at
		s.expire(p.before(s.w.grid.kept))
	}
	i := s.find(p.tile())
	s.tiles[i].count++
	if i < s.closed.to {
		s.closed.to = -1
	}
	for a := range s.w.args {
		if v := args[a]; v.present {
			s.addValue(i, a, at, v)
		}
	}
}

// addValue adds a value to argument a of tile i, and to the latest values.
func (s *State) addValue(i, a int, at int64, v Value) {
	arg := &s.w.args[a]
	v.must(a, arg.kind)
	if arg.needs&needLatest != 0 {
		s.latest[arg.latest] = keep(s.latest[arg.latest], timed{at, v.number()}, arg.depth)
	}
	s.addToTile(i, a, at, v)
}

// addToTile adds a value to argument a of tile i.
func (s *State) addToTile(i, a int, at int64, v Value) {
	arg := &s.w.args[a]
	m := &s.moments[i*len(s.w.args)+a]
	switch {
	case arg.kind == Texts:
		m.n++
	case arg.needs&needSquares != 0:
		m.addSquared(at, v.number())
	default:
		m.add(at, v.number())
	}
	if arg.needs&needSet != 0 {
		s.sets[i*s.w.sets+arg.set].add(v.hash())
	}
	if arg.needs&needRank != 0 {
		s.sketches[i*s.w.ranks+arg.rank].add(v.number())
	}
}

// find returns the position of a tile, which it makes if there is none.
func (s *State) find(number int64) int {
	i := s.upTo(number)
	if i > s.head && s.tiles[i-1].number == number {
		return i - 1
	}
	s.closed.to = -1
	s.tiles = slices.Insert(s.tiles, i, tile{number: number})
	s.moments = open(s.moments, i, len(s.w.args))
	clear(s.moments[i*len(s.w.args) : (i+1)*len(s.w.args)])
	s.sets = open(s.sets, i, s.w.sets)
	for k := range s.w.sets {
		s.sets[i*s.w.sets+k].reset()
	}
	s.sketches = open(s.sketches, i, s.w.ranks)
	for k := range s.w.ranks {
		s.sketches[i*s.w.ranks+k].reset()
	}
	return i
}

// resize has a state without tiles have n of them, without records.
func (s *State) resize(n int) {
	s.tiles = room(s.tiles, n)
	s.moments = room(s.moments, n*len(s.w.args))
	clear(s.moments)
	s.sets = room(s.sets, n*s.w.sets)
	for i := range s.sets {
		s.sets[i].reset()
	}
	s.sketches = room(s.sketches, n*s.w.ranks)
	for i := range s.sketches {
		s.sketches[i].reset()
	}
}

// upTo returns the position behind all tiles whose number is up to and including number. Mostly that is the end.
func (s *State) upTo(number int64) int {
	low, high := s.head, len(s.tiles)
	if low == high || s.tiles[high-1].number <= number {
		return high
	}
	for low < high {
		if mid := (low + high) / 2; s.tiles[mid].number <= number {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// expire drops the tiles before a first one, and their values among the latest.
func (s *State) expire(first int64) {
	i := s.head
	for i < len(s.tiles) && s.tiles[i].number < first {
		i++
	}
	if i == s.head {
		return
	}
	s.drop(i)
	for i, latest := range s.latest {
		n := 0
		for n < len(latest) && s.w.grid.tile(latest[n].at) < first {
			n++
		}
		s.latest[i] = latest[:copy(latest, latest[n:])]
	}
}

// drop drops the tiles before a position. They are moved out of the way once they are more than the others, so that
// dropping one costs no more than one was moved.
func (s *State) drop(to int) {
	s.closed.to = -1
	s.head = to
	if to <= len(s.tiles)-to {
		return
	}
	s.head = 0
	s.tiles = rotate(s.tiles, to)
	s.moments = rotate(s.moments, to*len(s.w.args))
	s.sets = rotate(s.sets, to*s.w.sets)
	s.sketches = rotate(s.sketches, to*s.w.ranks)
}

// room makes room for n elements in an empty list. They have any values, as those of open.
func room[T any](list []T, n int) []T { return slices.Grow(list, n)[:n] }

// open makes room for the n elements of position i. They have any values: for types that hold memory, those of an
// element that was dropped.
func open[T any](list []T, i, n int) []T {
	list = slices.Grow(list, n)[:len(list)+n]
	moved := list[i*n:]
	slices.Reverse(moved)
	slices.Reverse(moved[:n])
	slices.Reverse(moved[n:])
	return list
}

// rotate drops the first n elements, at least half of them. They stay behind the end of the list, to be used again.
func rotate[T any](list []T, n int) []T {
	rest := len(list) - n
	for i := range rest {
		list[i], list[n+i] = list[n+i], list[i]
	}
	return list[:rest]
}
