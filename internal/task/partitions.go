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
	for range p.Subs { // each pass finds at least one more number, unless topics flow in a circle
		p.derive(n, joined)
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

// joined returns the nodes that join topics.
func (p *Program) joined() []joined {
	parents := make([][]int, len(p.Nodes))
	for _, n := range p.Nodes {
		for _, to := range n.To {
			parents[to] = append(parents[to], n.ID)
		}
	}
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
		above := map[int]bool{}
		for _, side := range sides {
			upstream(parents, side, above)
		}
		j := joined{node: n.ID}
		for _, src := range p.Subs[n.Sub].Sources {
			if above[src.Node] {
				j.sources = append(j.sources, src)
			}
		}
		list = append(list, j)
	}
	return list
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

// derive adds the numbers of repartition topics that follow from those known so far.
func (p *Program) derive(n map[string]int, groups []joined) {
	flows := p.flows(n)
	for _, j := range groups {
		most, outside, open := 0, 0, false
		for _, src := range j.sources {
			switch {
			case !src.Internal:
				outside = max(outside, n[src.Topic])
			case n[src.Topic] > 0:
				most = max(most, n[src.Topic])
			case flows[src.Topic] == 0:
				open = true
			default:
				most = max(most, flows[src.Topic])
			}
		}
		if outside > 0 {
			most, open = outside, false
		}
		for _, src := range j.sources {
			if n[src.Topic] == 0 && !open {
				n[src.Topic] = most
			}
		}
	}
	for _, src := range p.sources() {
		if n[src.Topic] == 0 && !slices.ContainsFunc(groups, func(j joined) bool {
			return slices.ContainsFunc(j.sources, func(s Source) bool { return s.Topic == src.Topic })
		}) {
			n[src.Topic] = flows[src.Topic]
		}
	}
}

// flows returns for each repartition topic the partitions of the largest topic that flows into it; 0 is not known yet.
func (p *Program) flows(n map[string]int) map[string]int {
	flows := map[string]int{}
	for _, sub := range p.Subs {
		most := 0
		for _, src := range sub.Sources {
			if n[src.Topic] == 0 {
				most = 0
				break
			}
			most = max(most, n[src.Topic])
		}
		for _, k := range sub.Sinks {
			if k.Internal && most > 0 {
				flows[k.Topic] = max(flows[k.Topic], most)
			}
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
