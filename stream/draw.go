package stream

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns the description as text: see [Topology.Describe].
func (d *Description) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Application %s\n", d.Name)
	for _, s := range d.Subtopologies {
		fmt.Fprintf(&b, "\nSub-topology %d\n", s.ID)
		for _, id := range s.Nodes {
			d.paragraph(&b, &d.Nodes[id])
		}
	}
	for i := range d.Nodes {
		if d.Nodes[i].Subtopology < 0 {
			b.WriteByte('\n')
			d.paragraph(&b, &d.Nodes[i])
		}
	}
	if len(d.Stores) > 0 {
		b.WriteString("\nStores\n")
	}
	for i := range d.Stores {
		fmt.Fprintf(&b, "  %s: %s\n", d.Stores[i].Name, d.Stores[i].about())
	}
	for _, t := range d.Topics {
		switch {
		case t.Kind == TopicDeadLetters:
			fmt.Fprintf(&b, "\nDead letters: %s\n", t.Name)
		case t.Partitions > 0:
			fmt.Fprintf(&b, "\nTopic %s: %d partitions\n", t.Name, t.Partitions)
		}
	}
	return b.String()
}

// paragraph adds a node, and where its records come from and go to.
func (d *Description) paragraph(b *strings.Builder, n *NodeInfo) {
	b.WriteString("  " + n.title())
	var about []string
	if len(n.Topics) > 0 {
		about = append(about, plural("topic", n.Topics))
	}
	if len(n.Stores) > 0 {
		about = append(about, plural("store", n.Stores))
	}
	if len(about) > 0 {
		b.WriteString(" (" + strings.Join(about, "; ") + ")")
	}
	b.WriteByte('\n')
	d.ends(b, "    --> ", n.ID, EdgeRecords, false)
	d.ends(b, "    <-- ", n.ID, EdgeRecords, true)
	d.ends(b, "    looks up ", n.ID, EdgeRows, true)
}

// title returns kind and name: the name alone where it is made of the kind.
func (n *NodeInfo) title() string {
	if n.Name == fmt.Sprintf("%s-%d", n.Kind, n.ID) {
		return n.Name
	}
	return n.Kind + " " + n.Name
}

func plural(what string, names []string) string {
	if len(names) > 1 {
		what += "s"
	}
	return what + ": " + strings.Join(names, ", ")
}

// ends adds the names of the nodes at the other ends of edges.
func (d *Description) ends(b *strings.Builder, arrow string, id int, kind EdgeKind, in bool) {
	var names []string
	for _, e := range d.Edges {
		switch {
		case e.Kind != kind:
		case in && e.To == id:
			names = append(names, d.Nodes[e.From].Name)
		case !in && e.From == id:
			names = append(names, d.Nodes[e.To].Name)
		}
	}
	if len(names) > 0 {
		b.WriteString(arrow + strings.Join(names, ", ") + "\n")
	}
}

// about returns what there is to say of a store.
func (s *StoreInfo) about() string {
	text := "on disk"
	if s.InMemory {
		text = "in memory"
	}
	if s.Retention > 0 {
		text += ", kept for " + s.Retention.String()
	}
	if s.Changelog != "" {
		text += ", changelog " + s.Changelog
	}
	return text
}

// shape is what is drawn of something.
type shape struct {
	id    string
	label string
	sort  sort
}

type sort int

const (
	sortNode sort = iota
	sortStore
	sortTopic
)

// line leads from one shape to another. It is dashed for rows, else for records.
type line struct {
	from, to string
	dashed   bool
}

// drawing is a topology as it is drawn: sub-topologies, with topics and global tables around them.
type drawing struct {
	groups [][]shape // by sub-topology
	others []shape
	lines  []line
}

func nodeID(id int) string { return "n" + strconv.Itoa(id) }

// drawing returns what is to be drawn, which is the same each time. Changelogs are not: a store stands for its own.
func (d *Description) drawing() (g drawing) {
	g.groups = make([][]shape, len(d.Subtopologies))
	add := func(sub int, s shape) {
		if sub < 0 {
			g.others = append(g.others, s)
		} else {
			g.groups[sub] = append(g.groups[sub], s)
		}
	}
	for i := range d.Nodes {
		n := &d.Nodes[i]
		add(n.Subtopology, shape{nodeID(n.ID), n.title(), sortNode})
	}
	for i, s := range d.Stores {
		id := "s" + strconv.Itoa(i)
		add(d.Nodes[s.Node].Subtopology, shape{id, s.Name, sortStore})
		g.lines = append(g.lines, line{nodeID(s.Node), id, true})
		for _, to := range s.ReadBy {
			g.lines = append(g.lines, line{id, nodeID(to), true})
		}
	}
	for i, t := range d.Topics {
		if t.Kind == TopicChangelog {
			continue
		}
		id := "t" + strconv.Itoa(i)
		add(-1, shape{id, t.Name, sortTopic})
		for _, from := range t.WrittenBy {
			g.lines = append(g.lines, line{nodeID(from), id, false})
		}
		for _, to := range t.ReadBy {
			g.lines = append(g.lines, line{id, nodeID(to), false})
		}
	}
	for _, e := range d.Edges {
		switch {
		case e.Kind == EdgeRecords:
			g.lines = append(g.lines, line{nodeID(e.From), nodeID(e.To), false})
		case d.Nodes[e.From].Subtopology < 0: // rows of other tables come from their stores
			g.lines = append(g.lines, line{nodeID(e.From), nodeID(e.To), true})
		}
	}
	return g
}

// DOT returns the description as a graph for Graphviz: see [Topology.DOT].
func (d *Description) DOT() string {
	g := d.drawing()
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  node [shape=box, style=rounded];\n", quoteDOT(d.Name))
	draw := func(indent string, shapes []shape) {
		for _, s := range shapes {
			style := [...]string{sortNode: "", sortStore: ", shape=cylinder, style=solid", sortTopic: ", shape=cds, style=solid"}[s.sort]
			fmt.Fprintf(&b, "%s%s [label=%s%s];\n", indent, s.id, quoteDOT(s.label), style)
		}
	}
	for i, shapes := range g.groups {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=\"Sub-topology %d\";\n", i, i)
		draw("    ", shapes)
		b.WriteString("  }\n")
	}
	draw("  ", g.others)
	for _, l := range g.lines {
		style := ""
		if l.dashed {
			style = " [style=dashed]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s;\n", l.from, l.to, style)
	}
	b.WriteString("}\n")
	return b.String()
}

func quoteDOT(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// Mermaid returns the description as a flowchart for Mermaid: see [Topology.Mermaid].
func (d *Description) Mermaid() string {
	g := d.drawing()
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	draw := func(indent string, shapes []shape) {
		for _, s := range shapes {
			ends := [...][2]string{sortNode: {"(", ")"}, sortStore: {"[(", ")]"}, sortTopic: {"[[", "]]"}}[s.sort]
			fmt.Fprintf(&b, "%s%s%s%s%s\n", indent, s.id, ends[0], quoteMermaid(s.label), ends[1])
		}
	}
	for i, shapes := range g.groups {
		fmt.Fprintf(&b, "  subgraph sub%d[\"Sub-topology %d\"]\n", i, i)
		draw("    ", shapes)
		b.WriteString("  end\n")
	}
	draw("  ", g.others)
	for _, l := range g.lines {
		arrow := "-->"
		if l.dashed {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", l.from, arrow, l.to)
	}
	return b.String()
}

func quoteMermaid(s string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "#", "#35;", "\n", " ").Replace(s) + `"`
}
