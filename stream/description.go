package stream

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// Description is a topology as data, for consoles and tests. The same topology has the same description each time.
type Description struct {
	Name          string            `json:"name"` // of the application
	Subtopologies []SubtopologyInfo `json:"subtopologies"`
	Nodes         []NodeInfo        `json:"nodes"`  // in the order of their declaration: the index is the ID
	Edges         []EdgeInfo        `json:"edges"`  // by From and To
	Topics        []TopicInfo       `json:"topics"` // by Name
	Stores        []StoreInfo       `json:"stores"` // by Name
}

// SubtopologyInfo is a connected part of a topology, which runs as a task for each partition of the topics that it reads.
type SubtopologyInfo struct {
	ID    int   `json:"id"`
	Nodes []int `json:"nodes"`
}

// NodeInfo is an operator, a source, a sink or a global table.
type NodeInfo struct {
	ID          int      `json:"id"`
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`        // source, sink, filter, join-table, ...
	Subtopology int      `json:"subtopology"` // -1 for a global table
	Topics      []string `json:"topics,omitempty"`
	Stores      []string `json:"stores,omitempty"`
	At          string   `json:"at,omitempty"` // where it was declared, file:line
}

// EdgeInfo says that records or rows go from one node to another.
type EdgeInfo struct {
	From int      `json:"from"`
	To   int      `json:"to"`
	Kind EdgeKind `json:"kind"`
}

// EdgeKind says what an edge carries.
type EdgeKind string

// The kinds of edges.
const (
	EdgeRecords EdgeKind = "records" // To processes what From sends on
	EdgeRows    EdgeKind = "rows"    // To looks up rows in the store of From
)

// TopicInfo is a topic.
type TopicInfo struct {
	Name      string    `json:"name"`
	Kind      TopicKind `json:"kind"`
	ReadBy    []int     `json:"read_by,omitempty"`    // nodes
	WrittenBy []int     `json:"written_by,omitempty"` // nodes
	// Partitions is what a repartition topic is declared to have; 0 if that follows from other topics.
	Partitions int `json:"partitions,omitempty"`
	// Retention is how long a record of a changelog can matter, in event time; 0 is for ever.
	Retention time.Duration `json:"retention,omitempty"`
}

// TopicKind says what a topic is for.
type TopicKind string

// The kinds of topics. One that is read and written from outside is an input.
const (
	TopicInput       TopicKind = "input"
	TopicOutput      TopicKind = "output"
	TopicGlobal      TopicKind = "global"
	TopicRepartition TopicKind = "repartition"  // made by the application
	TopicChangelog   TopicKind = "changelog"    // made by the application
	TopicDeadLetters TopicKind = "dead_letters" // written by every node
)

// StoreInfo is a state store.
type StoreInfo struct {
	Name      string        `json:"name"`
	Node      int           `json:"node"` // whose it is
	InMemory  bool          `json:"in_memory,omitempty"`
	Changelog string        `json:"changelog,omitempty"` // the topic
	Retention time.Duration `json:"retention,omitempty"` // how long a row can matter, in event time; 0 is for ever
	ReadBy    []int         `json:"read_by,omitempty"`   // other nodes that look up rows in it
}

// Description returns the topology as data.
func (t *Topology) Description() (*Description, error) {
	p, err := t.Program()
	if err != nil {
		return nil, err
	}
	return describe(p), nil
}

// Describe returns the topology as text, in the manner of Kafka Streams: a paragraph for each sub-topology, in which
// each node tells where its records come from and go to.
func (t *Topology) Describe() (string, error) { return t.drawn((*Description).String) }

// DOT returns the topology as a graph for Graphviz.
func (t *Topology) DOT() (string, error) { return t.drawn((*Description).DOT) }

// Mermaid returns the topology as a flowchart for Mermaid.
func (t *Topology) Mermaid() (string, error) { return t.drawn((*Description).Mermaid) }

func (t *Topology) drawn(draw func(*Description) string) (string, error) {
	d, err := t.Description()
	if err != nil {
		return "", err
	}
	return draw(d), nil
}

// describe makes the description of a program.
func describe(p *task.Program) *Description {
	d := &Description{Name: p.Name}
	topics := topicsOf(p)
	for _, n := range p.Nodes {
		info := NodeInfo{ID: n.ID, Name: n.Name, Kind: n.Kind, Subtopology: n.Sub, Stores: slices.Sorted(slices.Values(n.Stores)), At: n.At}
		for name, topic := range topics {
			if slices.Contains(topic.ReadBy, n.ID) || slices.Contains(topic.WrittenBy, n.ID) && topic.Kind != TopicChangelog {
				info.Topics = append(info.Topics, name)
			}
		}
		slices.Sort(info.Topics)
		d.Nodes = append(d.Nodes, info)
		for _, to := range n.To {
			d.Edges = append(d.Edges, EdgeInfo{n.ID, to, EdgeRecords})
		}
		for _, from := range n.Reads {
			d.Edges = append(d.Edges, EdgeInfo{from, n.ID, EdgeRows})
		}
	}
	slices.SortStableFunc(d.Edges, func(a, b EdgeInfo) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	for _, s := range p.Subs {
		sub := SubtopologyInfo{ID: s.ID}
		for _, n := range p.Nodes {
			if n.Sub == s.ID {
				sub.Nodes = append(sub.Nodes, n.ID)
			}
		}
		d.Subtopologies = append(d.Subtopologies, sub)
	}
	d.Stores = storesOf(p)
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		d.Topics = append(d.Topics, *topics[name])
	}
	return d
}

func topicsOf(p *task.Program) map[string]*TopicInfo {
	topics := map[string]*TopicInfo{}
	topic := func(name string, kind TopicKind) *TopicInfo {
		t := topics[name]
		if t == nil {
			t = &TopicInfo{Name: name, Kind: kind}
			topics[name] = t
		}
		return t
	}
	kind := func(internal bool, outside TopicKind) TopicKind {
		if internal {
			return TopicRepartition
		}
		return outside
	}
	for _, g := range p.Globals {
		t := topic(g.Topic, TopicGlobal)
		t.ReadBy = append(t.ReadBy, g.Node)
	}
	for _, s := range p.Subs {
		for _, src := range s.Sources {
			t := topic(src.Topic, kind(src.Internal, TopicInput))
			t.ReadBy = append(t.ReadBy, src.Node)
			t.Partitions = src.Partitions
		}
	}
	for _, s := range p.Subs {
		for _, k := range s.Sinks {
			t := topic(k.Topic, kind(k.Internal, TopicOutput))
			t.WrittenBy = append(t.WrittenBy, k.Node)
		}
		for _, st := range s.Stores {
			if st.Logged {
				t := topic(p.Changelog(st.Name), TopicChangelog)
				t.WrittenBy, t.Retention = append(t.WrittenBy, st.Node), st.Retention
			}
		}
	}
	if p.DeadLetters != "" {
		topic(p.DeadLetters, TopicDeadLetters)
	}
	return topics
}

func storesOf(p *task.Program) (list []StoreInfo) {
	for _, s := range p.Subs {
		for _, st := range s.Stores {
			info := StoreInfo{Name: st.Name, Node: st.Node, InMemory: st.Backend == store.Memory, Retention: st.Retention}
			if st.Logged {
				info.Changelog = p.Changelog(st.Name)
			}
			for _, n := range p.Nodes {
				if slices.Contains(n.Reads, st.Node) {
					info.ReadBy = append(info.ReadBy, n.ID)
				}
			}
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b StoreInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
