package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/record"
)

func (c *cli) dlqShow() *cobra.Command {
	var o app.DeadLetterOf
	cmd := &cobra.Command{
		Use:   "show ID|PARTITION/OFFSET",
		Short: "Show a dead letter",
		Long: `Show prints why a record became a dead letter, and the record: text as text, with escapes for what a terminal would
obey, and bytes that are no UTF-8 as a hex dump. The letter is named by its id or by its place in the topic of dead
letters. With --explain its record runs through the pipeline as it is now, as with millrace explain.`,
		Args: oneArg("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Model != "" && !o.Explain {
				return usage(cmd, fmt.Errorf("--model %q: it is for --explain", o.Model))
			}
			if o.Explain && o.Outcomes {
				return usage(cmd, errors.New("--explain is for the records of the pipeline, and goes without --outcomes"))
			}
			o.File, o.Set, o.Which = c.file, c.set, args[0]
			d, err := c.app().DeadLetter(cmd.Context(), o)
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(shownLetterOf(d))
			}
			_, err = io.WriteString(c.out, letterText(d, o.Explain))
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the letter")
	cmd.Flags().BoolVar(&o.Outcomes, "outcomes", false, outcomesLetters)
	cmd.Flags().BoolVar(&o.Explain, "explain", false, "also show what becomes of the record now")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the `model` for --explain: NAME@VERSION, NAME@ALIAS, @ALIAS, the file of a bundle, or none (default: @champion, else @candidate, else none)")
	return cmd
}

// shownLetter is a dead letter as dlq show --json prints it.
type shownLetter struct {
	Letter    shownRecord    `json:"letter"`
	ID        string         `json:"id,omitempty"`
	Source    string         `json:"source,omitempty"` // TOPIC/PARTITION/OFFSET of the record
	Group     string         `json:"group"`
	Node      string         `json:"node"`
	Stage     string         `json:"stage"`
	Class     string         `json:"class"`
	Field     string         `json:"field,omitempty"`
	Reason    string         `json:"reason"`
	Attempt   int            `json:"attempt"`
	Model     string         `json:"model,omitempty"`
	Record    *shownRecord   `json:"record"` // null where it is not there any more
	Explained *app.Explained `json:"explained,omitempty"`
}

func shownLetterOf(d *app.DeadLetter) shownLetter {
	s := shownLetter{
		Letter: shownOf(&d.Raw), ID: d.ID, Group: d.Group, Node: d.Node, Stage: d.Stage, Class: d.Class, Field: d.Field, Reason: d.Reason,
		Attempt: d.Attempt, Model: d.Model, Explained: d.Explained,
	}
	if d.Source.Topic != "" {
		s.Source = d.Source.String()
	}
	if d.Record != nil {
		r := shownOf(d.Record)
		s.Record = &r
	}
	return s
}

// How much of a letter is shown to a person.
const (
	maxShownHeader = 200
	maxShownBytes  = 64 << 10
)

// letterText shows a letter to a person.
func letterText(d *app.DeadLetter, explain bool) string {
	s := &steps{}
	source := "unknown"
	if d.Source.Topic != "" {
		source = d.Source.String()
	}
	failed := d.Stage + " " + d.Class
	if d.Field != "" {
		failed += ", field " + d.Field
	}
	for _, row := range [][2]string{
		{"letter", fmt.Sprintf("%s/%s", d.Raw.Topic, d.At())},
		{"id", d.ID},
		{"record", source},
		{"timestamp", shownTime(d.Timestamp)},
		{"first seen", shownTime(d.FirstSeen)},
		{"attempt", strconv.Itoa(d.Attempt)},
		{"group", d.Group},
		{"operator", d.Node},
		{"model", d.Model},
		{"schema", d.Schema},
		{"version", d.Version},
		{"failed", failed},
		{"reason", d.Reason},
	} {
		if row[1] != "" {
			s.WriteString("  " + padded(row[0], len("first seen")) + "  " + oneLine(row[1]) + "\n")
		}
	}
	if d.Record == nil {
		s.title("Record")
		s.WriteString("  the topic of dead letters was too small for it, and it is not in its own topic any more\n")
		return s.String()
	}
	if hs := d.Record.Headers; len(hs) > 0 {
		s.title("Headers")
		for _, h := range hs {
			s.WriteString("  " + oneLine(strings.ToValidUTF8(h.Key, "\ufffd")) + ": " + headerText(h) + "\n")
		}
	}
	s.bytes("Key", d.Record.Key)
	s.bytes("Value", d.Record.Value)
	if explain && d.Explained != nil {
		s.title("Now")
		s.WriteString(explainedText(d.Explained))
	}
	return s.String()
}

// headerText shows the value of a header on one line.
func headerText(h record.Header) string {
	b, more := h.Value, ""
	switch {
	case b == nil:
		return "null"
	case len(b) > maxShownHeader:
		b, more = b[:maxShownHeader], fmt.Sprintf("… (%s)", count(len(h.Value), "byte"))
	}
	if text := strings.TrimRight(string(b), "\ufffd"); utf8.ValidString(text) {
		return oneLine(text) + more
	}
	return "0x" + hex.EncodeToString(b) + more
}

// bytes shows a key or a value: text as it is, with escapes for what a terminal would obey, and else a dump.
func (s *steps) bytes(title string, b []byte) {
	if b == nil {
		s.title(title + ": null")
		return
	}
	s.title(fmt.Sprintf("%s: %s", title, count(len(b), "byte")))
	shown := b[:min(len(b), maxShownBytes)]
	if utf8.Valid(b) {
		text := strings.ToValidUTF8(string(shown), "") // a cut may be within a character
		for line := range strings.SplitSeq(text, "\n") {
			s.WriteString("  " + oneLine(line) + "\n")
		}
	} else {
		for line := range strings.Lines(hex.Dump(shown)) {
			s.WriteString("  " + line)
		}
	}
	if more := len(b) - len(shown); more > 0 {
		s.WriteString("  … and " + count(more, "byte") + " more: --json has all\n")
	}
}
