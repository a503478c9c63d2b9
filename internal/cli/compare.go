package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/report"
	"millrace.dev/internal/shadow"
)

// shownTop is how many of the largest differences are explained.
const shownTop = 5

func (c *cli) compareCommand() *cobra.Command {
	var o app.CompareOptions
	cmd := &cobra.Command{
		Use:   "compare [PIPELINE]",
		Short: "Say how a shadow's predictions differ from production's",
		Long: `Compare pairs the predictions of two topics, production's and a candidate's, by the records that led to them, and says how
they differ: by how much, how often, where, for which records most and which inputs make the difference; and by the labels of
millrace outcomes which of the two is nearer to the truth, with a verdict that holds however often one looks.

It reads what is there and ends. With --follow it goes on with what is predicted later, says every --every how it stands, and
reports when it is told to end.

The exit code is 3 where the differences are beyond shadow.tolerance of the pipeline file, and 99 where no record was predicted
by both. docs/shadow.md says more.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(notNegative(cmd, "limit", o.Limit), notNegative(cmd, "explain", o.Top)); err != nil {
				return err
			}
			if o.Margin < 0 || o.Margin > 10 {
				return usage(cmd, fmt.Errorf("--margin %v: want a share from 0 to 10", o.Margin))
			}
			if o.Metric != "" && o.Metric != shadow.Squared && o.Metric != shadow.Absolute {
				return usage(cmd, fmt.Errorf("--metric %s: want %s or %s", o.Metric, shadow.Squared, shadow.Absolute))
			}
			if cmd.Flags().Changed("every") && !o.Follow {
				return usage(cmd, errors.New("--every is for --follow"))
			}
			if c.json && o.HTML == "-" {
				return usage(cmd, errors.New("--json needs standard output for itself: name a file with --html"))
			}
			c.pipelineArg(args)
			o.File, o.Set, o.Stdout = c.file, c.set, c.out
			o.Live = func(r *shadow.Report) { c.note("%s\n", report.ShadowLine(r)) }
			r, err := c.app().CompareShadow(cmd.Context(), o)
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
			return errors.Join(report.ShadowText(c.out, r), err)
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "all figures")
	cmd.Flags().StringVar(&o.Production, "topic", "", "the `topic` of production's predictions (default: sink.topic of the pipeline file)")
	cmd.Flags().StringVar(&o.Topic, "shadow-topic", "", "the `topic` of the candidate's predictions (default: shadow.topic of the pipeline file)")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the candidate, as the predictions name it, where the topic has several: `NAME@VERSION` (default: the one of the last predictions)")
	cmd.Flags().StringVar(&o.From, "from", "", "compare records of the source from this `place` on: a date, a time, offset:N, or offset:0=N,1=M (default: all that both have predicted)")
	cmd.Flags().StringVar(&o.To, "to", "", "compare records before this `place`")
	cmd.Flags().Int64Var(&o.Limit, "limit", 0, "stop after so many `pairs` (default: none)")
	cmd.Flags().StringVar(&o.Outcomes, "outcomes", "", "the `topic` of the outcomes, for labels (default: outcomes.sink of the pipeline file)")
	cmd.Flags().StringVar(&o.Metric, "metric", "", "the `loss` by which labels judge: squared_error or absolute_error (default: shadow.tolerance.loss.metric, else squared_error)")
	cmd.Flags().Float64Var(&o.Margin, "margin", 0, "the `share` of production's mean loss below which a difference does not matter (default: shadow.tolerance.loss.worse_by, else 0.01)")
	cmd.Flags().IntVar(&o.Top, "explain", shownTop, "explain so many of the largest `differences`; 0 is none")
	cmd.Flags().BoolVar(&o.Follow, "follow", false, "go on with what is predicted later, until told to end")
	cmd.Flags().DurationVar(&o.Every, "every", 0, "with --follow, the `time` between two lines about how it stands (default 10s)")
	cmd.Flags().StringVar(&o.HTML, "html", "", "also write a page with charts to a `file`; - is standard output, and then there is no text")
	return cmd
}
