package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) predictCommand() *cobra.Command {
	var o app.PredictOptions
	cmd := &cobra.Command{
		Use:   "predict [PIPELINE] --data DATA",
		Short: "Predict the records of files or of a topic",
		Long: `Predict runs records through a model, the same path that a stream runs through, and writes them with their
predictions, in order: rows of CSV for CSV, else JSON objects, one a line. The data is a file (.csv, .jsonl or
.parquet, the first two also with .gz or .zst behind), a pattern of files ('2014-*.csv.gz'), or the range of a topic
(topic://NAME?from=2014-05-01&to=2014-06-01). A record that cannot be predicted is left out of the output, counted, and
listed in the file that --rejects names.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required(cmd, "data"); err != nil {
				return err
			}
			if c.json && (o.Out == "-" || o.Rejects == "-") {
				return usage(cmd, errors.New("--json needs standard output for itself: name files with --out and --rejects"))
			}
			c.pipelineArg(args)
			o.File, o.Set, o.Stdout = c.file, c.set, c.out
			p, err := c.app().Predict(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.printPredicted(p, o.Rejects)
			if c.json {
				return c.printJSON(p)
			}
			return nil
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the counts")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "@champion", "the `model`: NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle, .millrace")
	cmd.Flags().StringVarP(&o.Data, "data", "d", "", "the records: a `file`, a pattern of files, or topic://NAME (required)")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "-", "the `file` for the predictions; - is standard output")
	cmd.Flags().StringVar(&o.Rejects, "rejects", "", "the `file` for the records that cannot be predicted, with the reason of each")
	cmd.Flags().StringVar(&o.Field, "field", "", "the `field` that takes the prediction (default: sink.field of the pipeline file)")
	return cmd
}

func (c *cli) printPredicted(p *app.Predicted, rejects string) {
	c.note("%s: %s, %s", p.Model, count(p.Records, "record"), count(p.Predictions, "prediction"))
	if p.Rejected > 0 {
		c.note(", %s without one (%s)", grouped(int64(p.Rejected)), tally(p.Classes))
	}
	c.note("\n")
	for _, w := range []struct {
		what string
		by   map[string]int
	}{{"missing values", p.Missing}, {"levels that training has not seen", p.Unseen}} {
		if len(w.by) > 0 {
			c.note("  %s: %s\n", w.what, tally(w.by))
		}
	}
	if p.Server != "" {
		c.note("  these are the predictions of the model in the bundle: %s, which predicts in the stream, was not asked\n", oneLine(p.Server))
	}
	c.notePredicted(p)
	if p.Rejected > 0 && rejects == "" {
		c.note("next: --rejects FILE lists the records without a prediction, with the reason of each\n")
	}
}

// tally writes counts by name, as "a 3, b 1".
func tally(by map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %s", oneLine(name), grouped(int64(by[name]))))
	}
	return strings.Join(parts, ", ")
}
