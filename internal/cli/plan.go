package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/feature"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
	"millrace.dev/stream"
)

func (c *cli) planCommand() *cobra.Command {
	var dot, mermaid bool
	cmd := &cobra.Command{
		Use:   "plan [PIPELINE]",
		Short: "Show what run does with a pipeline file",
		Long: `Plan describes the topology that run builds of a pipeline file: what it reads and writes, the operators between, and
the stores and topics that it makes for itself. It needs neither a broker nor a model.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.json && (dot || mermaid) || dot && mermaid {
				return usage(cmd, errors.New("give one of --json, --dot and --mermaid"))
			}
			c.pipelineArg(args)
			p, err := c.app().Plan(c.file, c.set)
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(planJSON(p))
			case dot:
				_, err = io.WriteString(c.out, p.Topology.DOT())
			case mermaid:
				_, err = io.WriteString(c.out, p.Topology.Mermaid())
			default:
				_, err = io.WriteString(c.out, planText(p)+"\n"+p.Topology.String())
			}
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the plan")
	cmd.Flags().BoolVar(&dot, "dot", false, "print the topology as a graph for Graphviz")
	cmd.Flags().BoolVar(&mermaid, "mermaid", false, "print the topology as a flowchart for Mermaid")
	return cmd
}

// planText is the head of a plan: what is decided in the file, before the operators that follow from it.
func planText(p *app.Plan) string {
	f := p.Pipeline
	var stores []string
	for i := range p.Topology.Stores {
		stores = append(stores, p.Topology.Stores[i].Name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Pipeline %s\n", f.Name)
	for _, line := range [][2]string{
		{"source", fmt.Sprintf("%s, from the %s record on", f.Source.Topic, map[string]string{"latest": "next", "earliest": "oldest"}[f.Source.Start])},
		{"sink", fmt.Sprintf("%s, the prediction in the field %s", f.Sink.Topic, f.Sink.Field)},
		{"dead letters", f.DeadLetter.Topic},
		{"model", modelText(&f.Model)},
		{"tables", tablesText(f.Tables)},
		{"windows", windowsText(f.Windows)},
		{"group", f.Group},
		{"guarantee", fmt.Sprintf("%s, a commit each %s", f.Guarantee, f.CommitInterval)},
		{"stores", inWords(stores)},
		{"own topics", inWords(p.Topics(stream.TopicRepartition, stream.TopicChangelog))},
	} {
		fmt.Fprintf(&b, "  %-13s %s\n", line[0], line[1])
	}
	return b.String()
}

// modelText says what predicts.
func modelText(m *config.Model) string {
	s := m.Serve
	if s == nil {
		return "the champion of " + m.Registry
	}
	text := fmt.Sprintf("the champion of %s; the server %s (%s) predicts, and without its answer ", m.Registry, s.URL, s.Protocol)
	switch s.OnFailure {
	case config.DeadLetterOnFailure:
		return text + "records are dead letters"
	case config.FallbackOnFailure:
		return text + s.Fallback + " predicts"
	default:
		return text + "records wait"
	}
}

// tablesText describes tables, each on a line of its own.
func tablesText(tables []config.Table) string {
	var lines []string
	for i := range tables {
		t := &tables[i]
		text := t.Name + ": "
		if t.Topic != "" {
			text += fmt.Sprintf("the topic %s (%s) by %s, %s", t.Topic, t.Format, t.Key, t.Join)
		} else {
			text += t.Data + " by " + t.Key
		}
		if t.Topic != "" && t.History > 0 {
			text += fmt.Sprintf(", as of the event time within %s", t.History)
		}
		if t.Required {
			text += ", required"
		}
		lines = append(lines, text)
	}
	return onLines(lines)
}

// windowsText describes windows, each on a line of its own.
func windowsText(windows []feature.Window) string {
	var lines []string
	for i := range windows {
		w := &windows[i]
		var names []string
		for _, a := range w.Aggregates {
			names = append(names, a.Name)
		}
		lines = append(lines, fmt.Sprintf("%s: %s over %s by %s", w.Name, inWords(names), w.Size, w.Key))
	}
	return onLines(lines)
}

func onLines(lines []string) string {
	if len(lines) == 0 {
		return "none"
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", 16))
}

// inWords returns names with commas between.
func inWords(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// shownPlan is what plan --json prints.
type shownPlan struct {
	Pipeline       string              `json:"pipeline"`
	Source         shownSource         `json:"source"`
	Sink           shownSink           `json:"sink"`
	DeadLetters    string              `json:"dead_letters"` // the topic
	Model          plannedModel        `json:"model"`
	Tables         []shownTable        `json:"tables"`
	Windows        []shownWindow       `json:"windows"`
	Group          string              `json:"group"`
	Guarantee      string              `json:"guarantee"`
	CommitInterval int64               `json:"commit_interval_ms"`
	Topology       *stream.Description `json:"topology"`
}

type shownSource struct {
	Topic string `json:"topic"`
	Start string `json:"start"`
}

type shownSink struct {
	Topic string `json:"topic"`
	Field string `json:"field"`
}

type plannedModel struct {
	Registry string         `json:"registry"`
	Server   *plannedServer `json:"server,omitempty"` // that predicts in its place
}

type plannedServer struct {
	URL       string `json:"url"`
	Protocol  string `json:"protocol"`
	OnFailure string `json:"on_failure"`
	Fallback  string `json:"fallback,omitempty"`
}

type shownTable struct {
	Name     string `json:"name"`
	Topic    string `json:"topic,omitempty"`
	Format   string `json:"format,omitempty"`
	Data     string `json:"data,omitempty"`
	Key      string `json:"key"`
	Join     string `json:"join"`
	History  int64  `json:"history_ms"`
	Required bool   `json:"required"`
}

type shownWindow struct {
	Name       string   `json:"name"`
	Key        string   `json:"key"`
	Over       int64    `json:"over_ms"`
	Aggregates []string `json:"aggregates"`
}

func planJSON(p *app.Plan) shownPlan {
	f := p.Pipeline
	tables := []shownTable{}
	for i := range f.Tables {
		t := &f.Tables[i]
		shown := shownTable{Name: t.Name, Topic: t.Topic, Data: t.Data, Key: t.Key, Join: string(t.Join), History: t.History.Milliseconds(), Required: t.Required}
		if t.Topic != "" {
			shown.Format = t.Format
		}
		tables = append(tables, shown)
	}
	windows := []shownWindow{}
	for i := range f.Windows {
		w := &f.Windows[i]
		shown := shownWindow{Name: w.Name, Key: w.Key, Over: w.Size.Milliseconds(), Aggregates: []string{}}
		for _, a := range w.Aggregates {
			shown.Aggregates = append(shown.Aggregates, a.Name)
		}
		windows = append(windows, shown)
	}
	m := plannedModel{Registry: f.Model.Registry}
	if s := f.Model.Serve; s != nil {
		m.Server = &plannedServer{URL: s.URL, Protocol: string(s.Protocol), OnFailure: string(s.OnFailure), Fallback: s.Fallback}
	}
	return shownPlan{
		Model: m, Tables: tables, Windows: windows,
		Pipeline: f.Name, Source: shownSource{f.Source.Topic, f.Source.Start}, Sink: shownSink{f.Sink.Topic, f.Sink.Field},
		DeadLetters: f.DeadLetter.Topic, Group: f.Group, Guarantee: string(f.Guarantee),
		CommitInterval: int64(f.CommitInterval / time.Millisecond), Topology: p.Topology,
	}
}
