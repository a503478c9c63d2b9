package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/report"
)

func (c *cli) backtestCommand() *cobra.Command {
	var o app.BacktestOptions
	cmd := &cobra.Command{
		Use:   "backtest MODEL... [--topic TOPIC | --data DATA]",
		Short: "Replay the past through models, and say how right they would have been over time",
		Long: `Backtest reads records of the past, gives each the prediction that run would have given it, with the rows of tables and
the windows of that time, and compares it with the label: period by period of event time, and in total. It tells the
records and dead letters, the share of labels that are known, RMSE, MAE, bias (the mean of prediction minus label) and
R². A label is the record's own, or found by key: train.labels of the pipeline file, or --labels.

Up to three models are tried on the same records; each after the first is compared with the first, pair by pair, with a
95 % confidence interval. A model need not be approved. docs/backtest.md says what the figures mean.

It exits with 99 where the range has no records, and with 3 where --fail-above is exceeded.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("the argument MODEL is missing"))
			}
			return atMost(cmd, args, app.MostTried)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Data != "" && o.Topic != "" {
				return usage(cmd, errors.New("give one of --data and --topic"))
			}
			toStdout := 0
			for _, used := range []bool{c.json, o.CSV == "-", o.HTML == "-"} {
				if used {
					toStdout++
				}
			}
			if toStdout > 1 {
				return usage(cmd, errors.New("only one of --json, --csv - and --html - can have standard output: name files"))
			}
			o.File, o.Set, o.Stdout, o.Models = c.file, c.set, c.out, args
			r, err := c.app().Backtest(cmd.Context(), o)
			if r == nil {
				return err
			}
			for _, file := range []string{o.CSV, o.HTML} {
				if file != "" && file != "-" {
					c.note("wrote %s\n", file)
				}
			}
			switch {
			case c.json:
				return errors.Join(c.printJSON(r), err)
			case toStdout == 1:
				return err
			default:
				return errors.Join(report.BacktestText(c.out, r), err)
			}
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "all figures")
	cmd.Flags().StringVarP(&o.Topic, "topic", "t", "", "the `topic` of the records (default: source.topic of the pipeline file)")
	cmd.Flags().StringVarP(&o.Data, "data", "d", "", "the `records` instead: a file, a pattern of files, or topic://NAME?from=A&to=B")
	cmd.Flags().StringVar(&o.From, "from", "", "where to begin: a `place` such as 2014-05-31, 7d (before the end), or offset:N (default: earliest)")
	cmd.Flags().StringVar(&o.To, "to", "", "the `place` to end before (default: latest)")
	cmd.Flags().StringVar(&o.Every, "every", "1d", "the `size` of a period: a duration of event time, or a number of records")
	cmd.Flags().StringVar(&o.Labels, "labels", "", "the `data` that has the labels by key (default: train.labels, else the records)")
	cmd.Flags().StringVar(&o.LabelsKey, "labels-key", "", "the `field` with the key of the labels (default: train.labels.key)")
	cmd.Flags().StringVar(&o.CSV, "csv", "", "also write the periods as CSV to a `file`; - is standard output, and then there is no text")
	cmd.Flags().StringVar(&o.HTML, "html", "", "also write a page with the figures over time to a `file`; - is standard output, and then there is no text")
	cmd.Flags().StringArrayVar(&o.FailAbove, "fail-above", nil, "exit with 3 where the total of a model is above a `bound`: rmse=150000, mae=N or bias=N; can be repeated")
	return cmd
}
