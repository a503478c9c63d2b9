package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) driftCommand() *cobra.Command {
	var o app.DriftOptions
	cmd := &cobra.Command{
		Use:   "drift [PIPELINE] [--data DATA]",
		Short: "Say what has moved since training, what it does, and what to do",
		Long: `Drift says which columns have moved away from the training data, since when and how far, what that does to the
predictions, whether labels confirm that the model has become worse, and whether to retrain it, with the reason.

Without --data it reads the results of checks.window that millrace run has written to its topic. With --data it runs
records through the model, counts them in windows and judges these as run does; where they have labels, or --labels
has them by key, it compares the errors with those of the test part of the training data.

It recommends one of: retrain, watch, fix the data, nothing; docs/drift.md has the rules. The exit code is 0 whatever it
recommends; with --fail it is 3 where that is to retrain. It is 99 where no window could be judged.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(notNegative(cmd, "last", o.Last), notNegative(cmd, "min-records", o.MinRecords)); err != nil {
				return err
			}
			if o.Data == "" {
				for _, name := range []string{"every", "min-records", "labels", "labels-key", "columns"} {
					if cmd.Flags().Changed(name) {
						return usage(cmd, errors.New("--"+name+" is for --data: the results of windows are as run has counted and judged them"))
					}
				}
			} else if cmd.Flags().Changed("topic") {
				return usage(cmd, errors.New("give one of --data and --topic"))
			}
			c.pipelineArg(args)
			o.File, o.Set, o.Stdout = c.file, c.set, c.out
			if c.json && o.HTML == "-" {
				return usage(cmd, errors.New("--json needs standard output for itself: name a file with --html"))
			}
			r, err := c.app().Drift(cmd.Context(), o)
			if r == nil {
				return err
			}
			switch o.HTML {
			case "":
			case "-":
				return err
			default:
				c.note("wrote %s\n", o.HTML)
			}
			if c.json {
				return errors.Join(c.printJSON(r), err)
			}
			return errors.Join(r.Text(c.out), err)
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "all figures")
	cmd.Flags().StringVarP(&o.Data, "data", "d", "", "`records` to compare: a file, a pattern of files, or topic://NAME (default: the results that run has written)")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the `model`: NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle (default: that of the last window; with --data @champion)")
	cmd.Flags().StringVar(&o.Topic, "topic", "", "the `topic` of the results (default: checks.window.topic of the pipeline file)")
	cmd.Flags().StringVar(&o.Every, "every", "", "with --data, the `size` of a window: 1d, or 1000 records (default: checks.window.every, else all is one window)")
	cmd.Flags().IntVar(&o.MinRecords, "min-records", 0, "with --data, the `number` of records below which a window is not judged (default: checks.window.min_records, else 200)")
	cmd.Flags().StringVar(&o.Since, "since", "", "only windows that end after this `time`: 2014-05-31, or 7d for the last week of the windows (default: all)")
	cmd.Flags().IntVar(&o.Last, "last", 0, "only the last `number` of windows (default 1000)")
	cmd.Flags().StringSliceVar(&o.Columns, "columns", nil, "with --data, compare only these `columns` (default: checks.window.columns, else all)")
	cmd.Flags().StringVar(&o.Labels, "labels", "", "the `data` that has the labels by key (default: train.labels, else --data itself)")
	cmd.Flags().StringVar(&o.LabelsKey, "labels-key", "", "the `field` with the key of the labels (default: train.labels.key)")
	cmd.Flags().StringVar(&o.HTML, "html", "", "also write a page with the distributions of the last window beside those of training, to a `file`; - is standard output, and then there is no text")
	cmd.Flags().BoolVar(&o.Fail, "fail", false, "exit with 3 where a training is recommended")
	return cmd
}
