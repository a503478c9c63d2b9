package cli

import (
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
		Use:   "predict [PIPELINE] --data FILE --out FILE",
		Short: "Predict the records of a file",
		Long: `Predict runs the records of a .csv or .jsonl file through a model, the same path that a stream runs through, and
writes them with their predictions, in order. A record that cannot be predicted is left out of the output, counted,
and listed in the file that --rejects names.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.pipelineArg(args)
			o.File, o.Set, o.Stdout = c.file, c.set, c.out
			p, err := c.app().Predict(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.note("%s: %s, %s, %s without a prediction%s\n", p.Model, count(p.Records, "record"), count(p.Predictions, "prediction"), grouped(int64(p.Rejected)), tally(p.Classes))
			for _, w := range []struct {
				what string
				by   map[string]int
			}{{"missing values", p.Missing}, {"levels that training has not seen", p.Unseen}} {
				if len(w.by) > 0 {
					c.note("  %s%s\n", w.what, tally(w.by))
				}
			}
			if c.json {
				return c.printJSON(p)
			}
			return nil
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the counts")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "@champion", "NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle")
	cmd.Flags().StringVarP(&o.Data, "data", "d", "", "the records, .csv or .jsonl (required)")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "-", "the file for the predictions; - is standard output")
	cmd.Flags().StringVar(&o.Rejects, "rejects", "", "the file for the records that cannot be predicted, with the reason of each")
	cmd.Flags().StringVar(&o.Field, "field", "", "the field that takes the prediction (default: sink.field of the pipeline file)")
	if err := cmd.MarkFlagRequired("data"); err != nil {
		panic(err)
	}
	return cmd
}

// tally writes counts by name, as " (a 3, b 1)", or "" where there are none.
func tally(by map[string]int) string {
	if len(by) == 0 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %s", name, grouped(int64(by[name]))))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
