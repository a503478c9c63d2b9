package task

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Partitions returns the number of partitions of each topic that tasks read. of returns that of a topic which is not
// the application's own, or 0 if there is no such topic. A repartition topic has as many as the program says, else as
// many as the topics it is joined with, else as many as the largest topic that flows into it.
//
// It fails for a topic that is not there, and for topics that are joined and differ.
func (p *Program) Partitions(of func(topic string) int) (map[string]int, error) {
	n := map[string]int{}
	var errs []error
	for _, src := range p.sources() {
		switch {
		case !src.Internal:
			if n[src.Topic] = of(src.Topic); n[src.Topic] <= 0 {
				errs = append(errs, fmt.Errorf("there is no topic %s, which is read at %s", src.Topic, p.Nodes[src.Node].At))
			}
		case src.Partitions > 0:
			n[src.Topic] = src.Partitions
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	joined := p.joined()
	// Where topics wait for one another, since one flows into another that it is joined with, what is known decides.
	for more := true; more; {
		more = p.derive(n, joined, false) || p.derive(n, joined, true)
	}
	for _, src := range p.sources() {
		if n[src.Topic] == 0 {
			n[src.Topic] = 1
		}
	}
	for _, j := range joined {
		if err := p.check(j, n); err != nil {
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// sources returns the topics that tasks read.
func (p *Program) sources() []Source {
	var list []Source
	for _, s := range p.Subs {
		list = append(list, s.Sources...)
	}
	return list
}

// joined is a node for which topics have to have equally many partitions, since it brings the records of one key
// together.
type joined struct {
	node    int
	sources []Source
}

// parents returns the nodes that send to each node.
func (p *Program) parents() [][]int {
	parents := make([][]int, len(p.Nodes))
	for _, n := range p.Nodes {
		for _, to := range n.To {
			parents[to] = append(parents[to], n.ID)
		}
	}
	return parents
}

// joined returns the nodes that join topics.
func (p *Program) joined() []joined {
	parents := p.parents()
	var list []joined
	for _, n := range p.Nodes {
		if n.Sub < 0 || n.Kind == KindMerge {
			continue
		}
		sides := slices.Clone(parents[n.ID])
		for _, r := range n.Reads {
			if p.Nodes[r].Sub >= 0 {
				sides = append(sides, r)
			}
		}
		if len(sides) < 2 {
			continue
		}
		list = append(list, joined{node: n.ID, sources: p.above(parents, n.Sub, sides)})
	}
	return list
}

// above returns the topics from which the records of some nodes come.
func (p *Program) above(parents [][]int, sub int, nodes []int) (list []Source) {
	above := map[int]bool{}
	for _, n := range nodes {
		upstream(parents, n, above)
	}
	for _, src := range p.Subs[sub].Sources {
		if above[src.Node] {
			list = append(list, src)
		}
	}
	return list
}

// Spread returns over how many partitions the keys of a node are spread: as many as its topics have, of which counts has the
// numbers.
func (p *Program) Spread(node int, counts map[string]int) int {
	most := 0
	for _, src := range p.above(p.parents(), p.Nodes[node].Sub, []int{node}) {
		most = max(most, counts[src.Topic])
	}
	return most
}

// upstream adds a node and all above it.
func upstream(parents [][]int, id int, to map[int]bool) {
	if to[id] {
		return
	}
	to[id] = true
	for _, up := range parents[id] {
		upstream(parents, up, to)
	}
}

// derive adds the numbers of repartition topics that follow from those known so far, and tells whether there were any.
// With guess what is not known yet is left out where topics are joined.
func (p *Program) derive(n map[string]int, groups []joined, guess bool) (found bool) {
	flows := p.flows(n)
	set := func(topic string, number int) {
		if n[topic] == 0 && number > 0 {
			n[topic], found = number, true
		}
	}
	grouped := map[string]bool{}
	for _, j := range groups {
		number, open := j.number(n, flows)
		for _, src := range j.sources {
			grouped[src.Topic] = true
			if !open || guess {
				set(src.Topic, number)
			}
		}
	}
	for topic, number := range flows {
		if !grouped[topic] {
			set(topic, number)
		}
	}
	return found
}

// number returns how many partitions the repartition topics among those that are joined need, as far as it is known. It
// is open if that may change when more is known.
func (j *joined) number(n, flows map[string]int) (number int, open bool) {
	for _, src := range j.sources {
		switch {
		case n[src.Topic] > 0:
			return n[src.Topic], false
		case src.Follows:
			continue
		}
		number = max(number, flows[src.Topic])
		open = open || flows[src.Topic] == 0
	}
	return number, open
}

// flows returns for each repartition topic the partitions of the largest topic that flows into it; 0 is not known yet.
func (p *Program) flows(n map[string]int) map[string]int {
	parents, flows := p.parents(), map[string]int{}
	for _, sub := range p.Subs {
		for _, k := range sub.Sinks {
			if !k.Internal {
				continue
			}
			most := 0
			for _, src := range p.above(parents, sub.ID, []int{k.Node}) {
				if n[src.Topic] == 0 {
					most = 0
					break
				}
				most = max(most, n[src.Topic])
			}
			flows[k.Topic] = max(flows[k.Topic], most)
		}
	}
	return flows
}

// check tells of topics that are joined and differ.
func (p *Program) check(j joined, n map[string]int) error {
	var list []string
	same := true
	for _, src := range j.sources {
		list = append(list, fmt.Sprintf("%s has %d", src.Topic, n[src.Topic]))
		same = same && n[src.Topic] == n[j.sources[0].Topic]
	}
	if same {
		return nil
	}
	node := p.Nodes[j.node]
	return fmt.Errorf("%s %s at %s needs topics with equally many partitions, but %s: repartition one side",
		node.Kind, node.Name, node.At, strings.Join(list, ", "))
}
