package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) featuresCommand() *cobra.Command {
	var o app.FeaturesOptions
	cmd := &cobra.Command{
		Use:   "features [PIPELINE] --out FILE",
		Short: "Write what a model is given of each record, to train a model of another kind on it",
		Long: `Features runs records through the path of a model up to its inputs, and writes these as rows of CSV: a column for
each input, in the order of the model, then the label where the data has it, then millrace.part (train, validation or
test: where the training had the record) and millrace.row, its number. So a model of scikit-learn, Keras or Spark is
trained on exactly what a stream sends it later, by model.serve of the pipeline file. A missing value is an empty cell,
and so is the label of a record that training would leave out. Records that a stream would reject are left out.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.json && o.Out == "-" {
				return usage(cmd, errors.New("--json needs standard output for itself: name a file with --out"))
			}
			c.pipelineArg(args)
			o.File, o.Set, o.Stdout = c.file, c.set, c.out
			f, err := c.app().Features(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.noteFeatures(f)
			if c.json {
				return c.printJSON(f)
			}
			return nil
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the counts")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "@candidate", "the `model` whose plan computes the inputs: NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle, .millrace")
	cmd.Flags().StringVarP(&o.Data, "data", "d", "", "the records: a `file`, a pattern of files, or topic://NAME (default: train.data of the pipeline file)")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "-", "the `file` for the rows; - is standard output")
	return cmd
}

func (c *cli) noteFeatures(f *app.Features) {
	c.note("%s: %s, %s of %s", f.Model, count(f.Records, "record"), count(f.Rows, "row"), count(len(f.Inputs), "input"))
	if f.Label != "" {
		c.note(" and the label %s", oneLine(f.Label))
	}
	if f.Rejected > 0 {
		c.note(", %s that a stream rejects (%s)", grouped(int64(f.Rejected)), tally(f.Classes))
	}
	if f.Unlabeled > 0 {
		c.note(", %s without a label", grouped(int64(f.Unlabeled)))
	}
	c.note("\n")
	if f.NoLabel != "" {
		c.note("  no label: %s\n", oneLine(f.NoLabel))
	}
}
