package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/letter"
)

func (c *cli) dlqCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "dlq COMMAND",
		Short: "List, show and replay dead letters",
		Long: `A dead letter is a record that got no prediction: as it came, with headers that say why. When what was wrong is
mended, replay writes the records back to where they came from, each exactly once.`,
	})
	cmd.AddCommand(c.dlqList(), c.dlqShow(), c.dlqReplay())
	return cmd
}

const outcomesLetters = "those of millrace outcomes: labels and predictions that could not be read"

// letterFlags adds the flags that select dead letters.
func letterFlags(cmd *cobra.Command, o *app.DeadLetterOptions) {
	cmd.Flags().StringVar(&o.Stage, "stage", "", "only letters of this `stage`: decode, enrich, table, check, score or produce")
	cmd.Flags().StringVar(&o.Class, "class", "", "only letters of this `class`, such as wrong_type")
	cmd.Flags().StringVar(&o.Field, "field", "", "only letters for which this `field` was at fault")
	cmd.Flags().BoolVar(&o.Outcomes, "outcomes", false, outcomesLetters)
	cmd.Flags().StringVar(&o.Since, "since", "", "only records with a timestamp from a `time` on: 24h or 7d before now, or 2014-05-02T10:00:00Z")
}

// listedKind is a kind of dead letters as dlq list --json prints it.
type listedKind struct {
	Stage    string     `json:"stage"`
	Class    string     `json:"class"`
	Field    string     `json:"field,omitempty"`
	Letters  int        `json:"letters"`
	Replayed int        `json:"replayed"`
	First    *time.Time `json:"first,omitempty"`
	Last     *time.Time `json:"last,omitempty"`
	Attempts int        `json:"attempts"`
	Example  string     `json:"example"`
	Reason   string     `json:"reason"`
}

// listedLetters is what dlq list --json prints.
type listedLetters struct {
	Topic   string       `json:"topic"`
	Letters int          `json:"letters"`
	Kinds   []listedKind `json:"kinds"`
	Beyond  int          `json:"letters_of_other_kinds,omitempty"`
	Others  int          `json:"other_records"`
}

// timeOf returns a time in milliseconds, nil for -1.
func timeOf(millis int64) *time.Time {
	if millis < 0 {
		return nil
	}
	at := time.UnixMilli(millis).UTC()
	return &at
}

func shownTime(millis int64) string {
	if at := timeOf(millis); at != nil {
		return at.Format(time.RFC3339)
	}
	return "-"
}

func (c *cli) dlqList() *cobra.Command {
	var o app.DeadLetterOptions
	var limit int
	cmd := &cobra.Command{
		Use:   "list [PIPELINE]",
		Short: "Count the dead letters by kind",
		Long: `List reads the topic of dead letters to its end and counts the letters of the pipeline by stage, class and field, the
most frequent first, with the first and the last timestamp of their records, and an example for millrace dlq show.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "limit", limit); err != nil {
				return err
			}
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			d, err := c.app().DeadLetters(cmd.Context(), o)
			if err != nil {
				return err
			}
			kinds := d.Kinds
			if limit > 0 && limit < len(kinds) {
				for _, k := range kinds[limit:] {
					d.Beyond += k.Letters
				}
				kinds = kinds[:limit]
			}
			if c.json {
				return c.printJSON(listedOf(d, kinds))
			}
			return c.printKinds(d, kinds, o.Outcomes)
		},
	}
	c.pipelineFlags(cmd)
	letterFlags(cmd, &o)
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this `number` of kinds (default: all)")
	c.jsonFlag(cmd, "the counts")
	return cmd
}

func listedOf(d *app.DeadLetters, kinds []letter.Count) listedLetters {
	out := listedLetters{Topic: d.Topic, Letters: d.Letters, Kinds: []listedKind{}, Beyond: d.Beyond, Others: d.Others}
	for _, k := range kinds {
		out.Kinds = append(out.Kinds, listedKind{
			k.Stage, k.Class, k.Field, k.Letters, k.Replayed, timeOf(k.First), timeOf(k.Last), k.Attempts, k.Example, k.Reason,
		})
	}
	return out
}

// printKinds prints a table, and below it how many letters there are.
func (c *cli) printKinds(d *app.DeadLetters, kinds []letter.Count, outcomes bool) error {
	if len(kinds) > 0 {
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "STAGE\tCLASS\tFIELD\tLETTERS\tREPLAYED\tFIRST\tLAST\tEXAMPLE") //nolint:errcheck // Flush reports it
		for _, k := range kinds {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(k.Stage), oneLine(k.Class), cmp.Or(oneLine(k.Field), "-"), //nolint:errcheck // Flush reports it
				grouped(int64(k.Letters)), grouped(int64(k.Replayed)), shownTime(k.First), shownTime(k.Last), k.Example)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	rest := ""
	if d.Beyond > 0 {
		rest = fmt.Sprintf(", %s of other kinds", grouped(int64(d.Beyond)))
	}
	c.note("%s in %s%s\n", count(d.Letters, "dead letter"), d.Topic, rest)
	if d.Others > 0 {
		c.note("  beside them: %s of other groups, or of other programs\n", count(d.Others, "record"))
	}
	if len(kinds) > 0 {
		more := fileFlag(c.file)
		if outcomes {
			more += " --outcomes"
		}
		c.note("  to look at one: millrace dlq show %s%s\n", kinds[0].Example, more)
	}
	return nil
}

// replayedLetters is what dlq replay --json prints.
type replayedLetters struct {
	Topic    string         `json:"topic"`
	To       string         `json:"to,omitempty"`
	DryRun   bool           `json:"dry_run"`
	Selected int            `json:"selected"`
	Replayed int            `json:"replayed"`
	Before   int            `json:"replayed_before"`
	LeftFor  map[string]int `json:"left"`
	Left     []leftLetter   `json:"left_letters,omitempty"` // some of them
	Limited  bool           `json:"limited,omitempty"`
}

type leftLetter struct {
	Letter string `json:"letter"`
	ID     string `json:"id,omitempty"`
	Why    string `json:"why"`
	Detail string `json:"detail"`
}

func (c *cli) dlqReplay() *cobra.Command {
	var o app.ReplayOptions
	cmd := &cobra.Command{
		Use:   "replay [PIPELINE]",
		Short: "Write the records of dead letters back to where they came from",
		Long: `Replay writes the records of dead letters, as they came, back to the partition that they came from, where the pipeline
reads them again. Each letter is replayed exactly once, whatever is selected when, and also if a replay is interrupted:
run it again. A record that fails again becomes a new letter that counts on, and is left from --attempts on.

Replayed records come behind those that were written meanwhile: the order of a key is not the one that it was.

It exits with 0 where something was replayed, and with 99 where there was nothing to replay.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "limit", o.Limit); err != nil {
				return err
			}
			if o.Attempts < 1 {
				return usage(cmd, fmt.Errorf("--attempts %d: want 1 or more", o.Attempts))
			}
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			progress, done := c.progress("replaying")
			o.Progress = func(n int) { progress(count(n, "record")) }
			r, err := c.app().Replay(cmd.Context(), o)
			done()
			if r == nil {
				return err
			}
			if c.json {
				return errors.Join(err, c.printJSON(replayedOf(r)))
			}
			c.noteReplayed(r)
			return err
		},
	}
	c.pipelineFlags(cmd)
	letterFlags(cmd, &o.DeadLetterOptions)
	cmd.Flags().StringVar(&o.Which, "id", "", "only the letter of this `id`, or at PARTITION/OFFSET of the topic of dead letters")
	cmd.Flags().StringVar(&o.To, "to", "", "the `topic` to write to (default: the one that each record came from)")
	cmd.Flags().IntVar(&o.Limit, "limit", 0, "at most this `number` of letters (default: all)")
	cmd.Flags().IntVar(&o.Attempts, "attempts", 3, "leave letters whose records were tried this `number` of times")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be replayed, and write nothing")
	c.jsonFlag(cmd, "what was done")
	return cmd
}

func replayedOf(r *app.Replayed) replayedLetters {
	out := replayedLetters{
		Topic: r.Topic, To: r.To, DryRun: r.DryRun, Selected: r.Selected, Replayed: r.Replayed, Before: r.Before, LeftFor: r.LeftFor, Limited: r.Limited,
	}
	for _, l := range r.Left {
		out.Left = append(out.Left, leftLetter{l.At, l.ID, l.Why, l.Detail})
	}
	return out
}

// maxLeftShown is how many of the letters that were left are named.
const maxLeftShown = 10

// noteReplayed says what a replay has done.
func (c *cli) noteReplayed(r *app.Replayed) {
	verb, to := "replayed", ""
	if r.DryRun {
		verb = "would replay"
	}
	if r.To != "" {
		to = " to " + r.To
	}
	c.note("%s %s of %s%s\n", verb, count(r.Replayed, "dead letter"), r.Topic, to)
	if r.Before > 0 {
		c.note("  replayed before: %s\n", grouped(int64(r.Before)))
	}
	left := 0
	for _, n := range r.LeftFor {
		left += n
	}
	if left == 0 {
		return
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(r.LeftFor)) {
		parts = append(parts, fmt.Sprintf("%s %s", why, grouped(int64(r.LeftFor[why]))))
	}
	c.note("  left: %s\n", strings.Join(parts, ", "))
	for _, l := range r.Left[:min(len(r.Left), maxLeftShown)] {
		c.note("    %s %s: %s\n", l.At, l.Why, oneLine(l.Detail))
	}
	if more := left - min(len(r.Left), maxLeftShown); more > 0 {
		c.note("    and %s more\n", grouped(int64(more)))
	}
}
