package kafka

import "slices"

// class is a number of tasks of one set that are all the same to the members, but for who owns them.
type class struct {
	set    int
	tasks  int
	owned  []int // by member, how many it owns
	unread []int // by member, how many topics of a task would not be read if it had it; never if it must not have it
}

// never stands for a member that cannot have a task of a class.
const never = -1

// cost is what a change of the quotas costs. The components are in the order of the wishes: a lower one earlier beats
// any later one.
type cost [4]int

// The components of a cost.
const (
	byMember = iota // the sum over the members of the square of their number of tasks
	bySet           // the sum over members and sets of the square of the number of tasks
	byTopic         // the number of topics of tasks that are not read
	byMove          // the number of tasks that move
)

func (c cost) plus(d cost) cost {
	for i := range c {
		c[i] += d[i]
	}
	return c
}

func (c cost) less(d cost) bool { return slices.Compare(c[:], d[:]) < 0 }

// share returns how many tasks of each class each member gets, at the lowest cost, and the same for the same input.
// Every class must have a member that can have its tasks.
//
// It is a flow of least cost: from the classes over a node for each set and member, whose load costs its square, and a
// node for each member, whose load does too. It begins with what the members own, adds what nobody owns where that is
// cheapest, and then goes around cycles of negative cost, one task at a time, until there is none: the cost is then the
// lowest. As many cycles are needed as tasks have to move.
func share(classes []class, sets, members int) [][]int {
	s := newShares(classes, sets, members)
	for k, c := range classes {
		rest := c.tasks
		for m, n := range c.owned {
			s.add(k, m, n)
			rest -= n
		}
		for range rest {
			best, least := -1, cost{}
			for m := range members {
				if c.unread[m] == never {
					continue
				}
				if price := s.give(k, m).plus(s.fill(c.set, m)).plus(s.load(m)); best < 0 || price.less(least) {
					best, least = m, price
				}
			}
			s.add(k, best, 1)
		}
	}
	for s.improve() {
	}
	return s.quota
}

// shares are quotas while they are improved, as a flow.
type shares struct {
	classes []class
	sets    int
	members int
	quota   [][]int // by class and member
	ofSet   [][]int // by set and member
	of      []int   // by member

	distance []cost // by node: see node
	from     []int  // by node, the one before it on the cheapest way, or -1
	seen     []int  // by node, scratch of cycle
}

func newShares(classes []class, sets, members int) *shares {
	table := func(n int) [][]int {
		t := make([][]int, n)
		for i := range t {
			t[i] = make([]int, members)
		}
		return t
	}
	nodes := len(classes) + (sets+1)*members + 1
	return &shares{
		classes: classes, sets: sets, members: members, quota: table(len(classes)), ofSet: table(sets), of: make([]int, members),
		distance: make([]cost, nodes), from: make([]int, nodes), seen: make([]int, nodes),
	}
}

func (s *shares) add(k, m, n int) {
	s.quota[k][m] += n
	s.ofSet[s.classes[k].set][m] += n
	s.of[m] += n
}

// The nodes: class k, the tasks of a set that a member has, a member, and all members.
func (s *shares) setNode(set, m int) int { return len(s.classes) + set*s.members + m }
func (s *shares) memberNode(m int) int   { return len(s.classes) + s.sets*s.members + m }
func (s *shares) sink() int              { return len(s.from) - 1 }

// give is the cost of one more task of class k for member m, without what evenness says to it, and take the cost of
// one less.
func (s *shares) give(k, m int) (c cost) {
	c[byTopic] = s.classes[k].unread[m]
	if s.quota[k][m] >= s.classes[k].owned[m] {
		c[byMove] = 1
	}
	return c
}

func (s *shares) take(k, m int) (c cost) {
	c[byTopic] = -s.classes[k].unread[m]
	if s.quota[k][m] > s.classes[k].owned[m] {
		c[byMove] = -1
	}
	return c
}

// fill is what evenness within a set says to one more task, and drain to one less; load and unload are the same for
// all tasks of a member.
func (s *shares) fill(set, m int) (c cost) {
	c[bySet] = 2*s.ofSet[set][m] + 1
	return c
}

func (s *shares) drain(set, m int) (c cost) {
	c[bySet] = 1 - 2*s.ofSet[set][m]
	return c
}

func (s *shares) load(m int) (c cost) {
	c[byMember] = 2*s.of[m] + 1
	return c
}

func (s *shares) unload(m int) (c cost) {
	c[byMember] = 1 - 2*s.of[m]
	return c
}

// improve goes around one cycle of negative cost, and returns false if there is none.
func (s *shares) improve() bool {
	clear(s.distance)
	for i := range s.from {
		s.from[i] = -1
	}
	for s.relax() {
		if node := s.cycle(); node >= 0 {
			s.turn(node)
			return true
		}
	}
	return false
}

// relax finds cheaper ways to the nodes, each longer by one step, and tells whether there was any.
func (s *shares) relax() bool {
	found := false
	step := func(a, b int, c cost) {
		if d := s.distance[a].plus(c); d.less(s.distance[b]) {
			s.distance[b], s.from[b] = d, a
			found = true
		}
	}
	for k, c := range s.classes {
		for m, unread := range c.unread {
			if unread == never {
				continue
			}
			step(k, s.setNode(c.set, m), s.give(k, m))
			if s.quota[k][m] > 0 {
				step(s.setNode(c.set, m), k, s.take(k, m))
			}
		}
	}
	for set := range s.sets {
		for m := range s.members {
			step(s.setNode(set, m), s.memberNode(m), s.fill(set, m))
			if s.ofSet[set][m] > 0 {
				step(s.memberNode(m), s.setNode(set, m), s.drain(set, m))
			}
		}
	}
	for m := range s.members {
		step(s.memberNode(m), s.sink(), s.load(m))
		if s.of[m] > 0 {
			step(s.sink(), s.memberNode(m), s.unload(m))
		}
	}
	return found
}

// cycle returns a node on a cycle of the cheapest ways, or -1. Such a cycle has a negative cost.
func (s *shares) cycle() int {
	seen := s.seen // by which walk a node was seen, counted from 1
	clear(seen)
	for i := range s.from {
		for n := i; n >= 0 && (seen[n] == 0 || seen[n] == i+1); n = s.from[n] {
			if seen[n] == i+1 {
				return n
			}
			seen[n] = i + 1
		}
	}
	return -1
}

// turn moves a task along each step of the cycle that node is on.
func (s *shares) turn(node int) {
	n := node
	for {
		before := s.from[n]
		s.move(before, n)
		if n = before; n == node {
			return
		}
	}
}

// move changes the quotas for a step from node a to node b. Only steps from or to a class change them: the loads of
// sets and members follow.
func (s *shares) move(a, b int) {
	k, at, n := a, b, 1
	if b < len(s.classes) {
		k, at, n = b, a, -1
	} else if a >= len(s.classes) {
		return
	}
	s.add(k, (at-len(s.classes))%s.members, n)
}
