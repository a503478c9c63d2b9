package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/codec"
	"millrace.dev/internal/app"
)

func (c *cli) explainCommand() *cobra.Command {
	var o app.ExplainOptions
	var timestamp string
	cmd := &cobra.Command{
		Use:   "explain [PIPELINE] (--record RECORD | --offset N)",
		Short: "Show how one record becomes a prediction",
		Long: `Explain runs one record through the same path that a stream runs through, and shows what each step makes of it: the
fields, the rows of tables, the aggregates of windows, every feature, the inputs that the model lacks, and the
prediction, or at which step the record was rejected and why. The record is given, or one of a topic.

Aggregates of windows depend on the records before. --before names these: a file, or the range of a topic, such as
'topic://NAME?to=offset:1000'; without it aggregates are missing. Tables are read as they are now, with their history.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			given, offset := cmd.Flags().Changed("record"), cmd.Flags().Changed("offset")
			switch {
			case given == offset:
				return usage(cmd, errors.New("give --record, or --offset with --topic and --partition"))
			case given && o.Record == "":
				return usage(cmd, errors.New("--record is empty"))
			case given && (cmd.Flags().Changed("topic") || cmd.Flags().Changed("partition")):
				return usage(cmd, errors.New("--topic and --partition are for a record of a topic: give --offset"))
			case offset && timestamp != "":
				return usage(cmd, errors.New("--timestamp is for --record: one of a topic has its own"))
			}
			if err := notNegative(cmd, "offset", o.Offset); err != nil {
				return err
			}
			if o.Timestamp = -1; timestamp != "" {
				at, err := time.Parse(time.RFC3339, timestamp)
				if err != nil || at.UnixMilli() < 0 {
					return usage(cmd, fmt.Errorf("--timestamp %q: want a time in RFC 3339, such as 2014-05-02T10:00:00Z", timestamp))
				}
				o.Timestamp = at.UnixMilli()
			}
			c.pipelineArg(args)
			o.File, o.Set, o.Stdin = c.file, c.set, c.in
			e, err := c.app().ExplainRecord(cmd.Context(), o)
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(e)
			}
			_, err = io.WriteString(c.out, explainedText(e))
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the steps")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the `model`: NAME@VERSION, NAME@ALIAS, @ALIAS, the file of a bundle, or none (default: @champion, else @candidate, else none)")
	cmd.Flags().StringVar(&o.Record, "record", "", "the `record`: its JSON, the file that has it, or - for standard input")
	cmd.Flags().StringVar(&timestamp, "timestamp", "", "the timestamp of --record, a `time` in RFC 3339 (default: none)")
	cmd.Flags().StringVar(&o.Topic, "topic", "", "the `topic` of the record (default: the source)")
	cmd.Flags().Int32Var(&o.Partition, "partition", 0, "the `partition` of the record")
	cmd.Flags().Int64Var(&o.Offset, "offset", 0, "the `offset` of the record")
	cmd.Flags().StringVar(&o.Before, "before", "", "the `data` that windows have seen before: a file, a pattern of files, or topic://NAME")
	return cmd
}

// explainWidth is how wide the lines about a record are, in columns.
const explainWidth = 100

// steps writes what the steps made of a record.
type steps struct{ strings.Builder }

// title begins a step.
func (s *steps) title(text string) { s.WriteString("\n" + text + "\n") }

// row writes cells, each but the last as wide as its column says.
func (s *steps) row(widths []int, cells ...string) {
	var line strings.Builder
	line.WriteString("  ")
	for i, cell := range cells {
		if i < len(cells)-1 {
			cell = padded(cell, widths[i]) + "  "
		}
		line.WriteString(cell)
	}
	text := strings.TrimRight(line.String(), " ")
	if r := []rune(text); len(r) > explainWidth {
		text = string(r[:explainWidth-1]) + "…"
	}
	s.WriteString(text + "\n")
}

// list writes items with commas between, on lines that begin below each other after a label of some width.
func (s *steps) list(label string, width int, items []string) {
	line := "  " + padded(label, width) + "  "
	start := columns(line)
	for i, item := range items {
		if i < len(items)-1 {
			item += ","
		}
		if columns(line) > start && columns(line)+columns(item) > explainWidth {
			s.WriteString(strings.TrimRight(line, " ") + "\n")
			line = strings.Repeat(" ", start)
		}
		line += item + " "
	}
	s.WriteString(strings.TrimRight(line, " ") + "\n")
}

// table writes rows whose cells stand below each other.
func (s *steps) table(rows [][]string) {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			for len(widths) <= i {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(cell))
		}
	}
	for _, r := range rows {
		s.row(widths, r...)
	}
}

func explainedText(e *app.Explained) string {
	s := &steps{}
	s.head(e)
	if e.Fields != nil {
		s.title("Fields")
		var rows [][]string
		for _, f := range e.Fields {
			rows = append(rows, []string{f.Name, f.Type, f.Shown})
		}
		s.table(rows)
		s.title("Event time")
		if e.EventTime != nil {
			s.row(nil, *e.EventTime)
		} else {
			s.row(nil, "missing")
		}
	}
	s.windows(e)
	s.lookups(e)
	s.features(e)
	s.inputs(e)
	s.checks(e)
	s.outcome(e)
	return s.String()
}

func (s *steps) head(e *app.Explained) {
	r := &e.Record
	source := "given"
	if r.Topic != "" {
		source = fmt.Sprintf("%s/%d/%d", r.Topic, *r.Partition, *r.Offset)
	}
	rows := [][]string{{"record", source}}
	if r.Key != nil {
		rows = append(rows, []string{"key", fmt.Sprintf("%q", *r.Key)})
	}
	if r.Timestamp != nil {
		rows = append(rows, []string{"timestamp", *r.Timestamp})
	}
	model := e.Model
	if model == "" {
		model = "none"
	}
	for _, row := range append(rows, []string{"model", model}) {
		s.row([]int{len("timestamp")}, row...)
	}
}

func (s *steps) windows(e *app.Explained) {
	if len(e.Windows) == 0 {
		return
	}
	title := "Windows, without --before: what they know is missing"
	if e.Before {
		title = "Windows, of the records of --before"
	}
	s.title(title)
	width := 0
	label := func(w *app.ExplainedWindow) string { return w.Name + " of " + keyText(w.Key) }
	for i := range e.Windows {
		width = max(width, columns(label(&e.Windows[i])))
	}
	for i := range e.Windows {
		s.list(label(&e.Windows[i]), width, pairs(e.Windows[i].Aggregates))
	}
}

func keyText(key *string) string {
	if key == nil {
		return "a missing key"
	}
	return fmt.Sprintf("%q", *key)
}

func pairs(values []app.ExplainedValue) []string {
	var items []string
	for _, v := range values {
		items = append(items, v.Name+" "+v.Shown)
	}
	return items
}

func (s *steps) lookups(e *app.Explained) {
	if len(e.Lookups) == 0 {
		return
	}
	s.title("Look-ups")
	width := 0
	label := func(l *app.ExplainedLookup) string { return l.Table + "[" + keyText(l.Key) + "]" }
	for i := range e.Lookups {
		width = max(width, columns(label(&e.Lookups[i])))
	}
	for i := range e.Lookups {
		l := &e.Lookups[i]
		items := []string{"no row"}
		switch {
		case l.Found:
			if items = pairs(l.Row); l.ValidFrom != nil {
				items = append([]string{"valid from " + *l.ValidFrom}, slices.DeleteFunc(items, func(s string) bool { return strings.HasSuffix(s, " "+*l.ValidFrom) })...)
			}
		case l.Key == nil:
			items = []string{"not looked up"}
		}
		s.list(label(l), width, items)
	}
}

func (s *steps) features(e *app.Explained) {
	if len(e.Features) == 0 {
		return
	}
	s.title("Features")
	var rows [][]string
	for i := range e.Features {
		f := &e.Features[i]
		shown, note := f.Shown, ""
		if !f.Input {
			note = "no input of the model"
		}
		switch {
		case f.Elements != nil:
			shown = count(len(f.Elements), "element")
		case !f.Known && f.Type != "row":
			shown = "not known"
			if note != "" {
				note = "fitted in training, and " + note
			} else {
				note = "fitted in training: name a model"
			}
		case f.Type == "row":
			shown, note = "-", "for other features"
		}
		rows = append(rows, []string{f.Name, shown, note})
		for _, x := range f.Elements {
			rows = append(rows, []string{"  " + oneLine(x.Name), x.Shown, ""})
		}
	}
	s.table(rows)
}

func (s *steps) inputs(e *app.Explained) {
	if len(e.Inputs) == 0 {
		return
	}
	var missing, unseen []string
	for i := range e.Inputs {
		switch in := &e.Inputs[i]; {
		case in.Unseen:
			unseen = append(unseen, oneLine(in.Name))
		case in.Value == nil:
			missing = append(missing, oneLine(in.Name))
		}
	}
	s.title("Inputs of the model")
	s.row([]int{7}, "present", fmt.Sprintf("%d of %d", len(e.Inputs)-len(missing)-len(unseen), len(e.Inputs)))
	if len(missing) > 0 {
		s.list("missing", 7, missing)
	}
	if len(unseen) > 0 {
		s.list("unseen", 7, append(unseen[:len(unseen)-1:len(unseen)-1], unseen[len(unseen)-1]+" (not a level of the training data)"))
	}
}

func (s *steps) checks(e *app.Explained) {
	if len(e.Checks) == 0 {
		return
	}
	s.title("Checks")
	var rows [][]string
	for i := range e.Checks {
		c := &e.Checks[i]
		shown := c.Verdict
		switch shown {
		case app.VerdictBroken:
			shown += ": " + c.Otherwise
		case app.VerdictMissing:
			shown = "missing, so kept"
		case app.VerdictUnknown:
			shown = "not known: name a model"
		}
		rows = append(rows, []string{c.Name, shown, oneLine(c.Rule)})
	}
	s.table(rows)
}

// stops tells whether a rule of the name ends the run.
func stops(e *app.Explained, rule string) bool {
	return slices.ContainsFunc(e.Checks, func(c app.ExplainedCheck) bool { return c.Name == rule && c.Otherwise == "fail" })
}

func (s *steps) outcome(e *app.Explained) {
	switch p := e.Rejected; {
	case p != nil && p.Stage == "check" && stops(e, p.Class):
		s.title("Rejected at check: the pipeline stops before it")
		s.table([][]string{{"rule", p.Class}, {"reason", p.Reason}})
	case p != nil:
		s.title("Rejected at " + p.Stage + ": a dead letter")
		rows := [][]string{{"class", p.Class}}
		if p.Field != "" {
			rows = append(rows, []string{"field", p.Field})
		}
		s.table(append(rows, []string{"reason", p.Reason}))
	case e.Prediction != nil:
		s.title("Prediction")
		s.table([][]string{
			{e.Field, string(codec.AppendFloat(nil, *e.Prediction)), fmt.Sprintf("from the baseline %s by %s", number(*e.Baseline), count(e.Trees, "tree"))},
		})
	default:
		s.title("No prediction without a model")
	}
}
