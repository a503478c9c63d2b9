package task

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rekeyed is a topology that joins a with b, after b went through a repartition topic, and merges c with a.
func rekeyed(partitions int) *Program {
	return &Program{
		Name: "p",
		Nodes: []Node{
			{ID: 0, Name: "a", Kind: "source", Sub: 0, To: []int{4, 5}},
			{ID: 1, Name: "b", Kind: "source", Sub: 1, To: []int{2}},
			{ID: 2, Name: "r-sink", Kind: "repartition", Sub: 1},
			{ID: 3, Name: "r-source", Kind: "source", Sub: 0, To: []int{4}},
			{ID: 4, Name: "join", Kind: "join-stream", Sub: 0, At: "main.go:7"},
			{ID: 5, Name: "merge", Kind: KindMerge, Sub: 0},
			{ID: 6, Name: "c", Kind: "source", Sub: 0, To: []int{5}},
		},
		Subs: []*Subtopology{
			{ID: 0, Sources: []Source{{Node: 0, Topic: "a"}, {Node: 3, Topic: "r", Internal: true, Partitions: partitions}, {Node: 6, Topic: "c"}}},
			{ID: 1, Sources: []Source{{Node: 1, Topic: "b"}}, Sinks: []Sink{{Node: 2, Topic: "r", Internal: true}}},
		},
	}
}

// chain repartitions a topic twice, and joins both results.
func chain() *Program {
	return &Program{
		Name: "p",
		Nodes: []Node{
			{ID: 0, Name: "a", Kind: "source", Sub: 0, To: []int{1}},
			{ID: 1, Name: "r1-sink", Kind: "repartition", Sub: 0},
			{ID: 2, Name: "r1", Kind: "source", Sub: 1, To: []int{3, 5}},
			{ID: 3, Name: "r2-sink", Kind: "repartition", Sub: 1},
			{ID: 4, Name: "r2", Kind: "source", Sub: 1, To: []int{5}},
			{ID: 5, Name: "join", Kind: "join-stream", Sub: 1},
			{ID: 6, Name: "table", Kind: "source", Sub: 1, To: []int{7}},
			{ID: 7, Name: "rows", Kind: "table", Sub: 1},
			{ID: 8, Name: "look", Kind: "join-table", Sub: 1, Reads: []int{7, 9}},
			{ID: 9, Name: "global", Kind: "global-table", Sub: -1},
		},
		Subs: []*Subtopology{
			{ID: 0, Sources: []Source{{Node: 0, Topic: "a"}}, Sinks: []Sink{{Node: 1, Topic: "r1", Internal: true}}},
			{ID: 1, Sources: []Source{
				{Node: 2, Topic: "r1", Internal: true}, {Node: 4, Topic: "r2", Internal: true}, {Node: 6, Topic: "table"},
			}, Sinks: []Sink{{Node: 3, Topic: "r2", Internal: true}}},
		},
	}
}

// followed joins a repartition topic with one that follows, into which a larger topic flows.
func followed() *Program {
	return &Program{
		Name: "p",
		Nodes: []Node{
			{ID: 0, Name: "a", Kind: "source", Sub: 0, To: []int{1}},
			{ID: 1, Name: "r-sink", Kind: "repartition", Sub: 0},
			{ID: 2, Name: "r", Kind: "source", Sub: 1, To: []int{4}},
			{ID: 3, Name: "f", Kind: "source", Sub: 1, To: []int{4}},
			{ID: 4, Name: "join", Kind: "join-foreign-key", Sub: 1},
			{ID: 5, Name: "b", Kind: "source", Sub: 2, To: []int{6}},
			{ID: 6, Name: "f-sink", Kind: "repartition", Sub: 2},
		},
		Subs: []*Subtopology{
			{ID: 0, Sources: []Source{{Node: 0, Topic: "a"}}, Sinks: []Sink{{Node: 1, Topic: "r", Internal: true}}},
			{ID: 1, Sources: []Source{{Node: 2, Topic: "r", Internal: true}, {Node: 3, Topic: "f", Internal: true, Follows: true}}},
			{ID: 2, Sources: []Source{{Node: 5, Topic: "b"}}, Sinks: []Sink{{Node: 6, Topic: "f", Internal: true}}},
		},
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	joined := chain()
	joined.Nodes[5].To = []int{8} // the result of the join is joined with the table
	for _, c := range []struct {
		name  string
		p     *Program
		of    map[string]int
		want  map[string]int
		wrong string
	}{
		{"as what it is joined with", rekeyed(0), map[string]int{"a": 3, "b": 5, "c": 2}, map[string]int{"a": 3, "b": 5, "c": 2, "r": 3}, ""},
		{"as declared", rekeyed(3), map[string]int{"a": 3, "b": 5, "c": 2}, map[string]int{"a": 3, "b": 5, "c": 2, "r": 3}, ""},
		{"declared otherwise", rekeyed(4), map[string]int{"a": 3, "b": 5, "c": 2}, nil, "join-stream join at main.go:7 needs topics with equally many partitions, but a has 3, r has 4"},
		{"no such topic", rekeyed(0), map[string]int{"b": 5, "c": 1}, nil, "there is no topic a"},
		{"as what flows into them", chain(), map[string]int{"a": 4, "table": 2}, map[string]int{"a": 4, "r1": 4, "r2": 4, "table": 2}, ""},
		{"as what it follows", followed(), map[string]int{"a": 2, "b": 5}, map[string]int{"a": 2, "b": 5, "r": 2, "f": 2}, ""},
		{"as a table further down", joined, map[string]int{"a": 4, "table": 2}, map[string]int{"a": 4, "r1": 2, "r2": 2, "table": 2}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.p.Partitions(func(topic string) int { return c.of[topic] })
			switch {
			case c.wrong != "":
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("got %v, want %s", err, c.wrong)
				}
			case err != nil:
				t.Error(err)
			default:
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}
