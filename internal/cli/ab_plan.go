package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/report"
)

func (c *cli) abPlan() *cobra.Command {
	o := app.ABPlanOptions{}
	effect, power := shareFlag(0.02), shareFlag(0.8)
	var rate, mean, deviation, correlation float64
	labels := shareFlag(0)
	cmd := &cobra.Command{
		Use: "plan [PIPELINE] [--effect 2%] [--power 80%]", Short: "Say beforehand how many keys and days an experiment needs",
		Long: `Plan says how many keys with an outcome it takes until a difference between the arms is found with some probability, and after how
many days they are there, with the weights, the error rate, the test and the metrics of the pipeline file. A table says which
difference is found after how long.

How losses vary, how much of that the control's model explains, how many new keys a day has and when labels come it takes from the
topic of the cohorts, which millrace outcomes writes: from the experiment if it has run, else from the predictions outside of one.
What is not known there, or is to be otherwise, is said by flags. No experiment need be running.

With the metric squared_error the difference is one of the RMSE; --mean and --sd are of the squared error.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.pipelineArg(args)
			o.File, o.Set, o.Effect, o.Power = c.file, c.set, float64(effect), float64(power)
			if !(o.Power < 1) {
				return usage(cmd, fmt.Errorf("--power %g: want less than 100%%", o.Power))
			}
			share := float64(labels)
			for name, x := range map[string]struct {
				from *float64
				to   **float64
			}{
				"rate": {&rate, &o.Rate}, "mean": {&mean, &o.Mean}, "sd": {&deviation, &o.Deviation}, "correlation": {&correlation, &o.Correlation}, "labels": {&share, &o.Labels},
			} {
				if cmd.Flags().Changed(name) {
					*x.to = x.from
				}
			}
			p, err := c.app().ABPlan(cmd.Context(), o)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(p)
			}
			return report.PlanText(c.out, p)
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the plan")
	cmd.Flags().Var(&effect, "effect", "the relative `difference` that must be found")
	cmd.Flags().Var(&power, "power", "the `probability` with which it is found")
	cmd.Flags().StringVar(&o.Metric, "metric", "", "the `metric` (default: the first of outcomes.metrics)")
	cmd.Flags().Float64Var(&rate, "rate", 0, "the `number` of new keys a day, in all arms (default: as the cohorts say)")
	cmd.Flags().Float64Var(&mean, "mean", 0, "the mean `loss` (default: as the cohorts say)")
	cmd.Flags().Float64Var(&deviation, "sd", 0, "the standard `deviation` of the loss from key to key (default: as the cohorts say)")
	cmd.Flags().Float64Var(&correlation, "correlation", 0, "the `correlation` of the loss with that of the control's model on the same records, from a shadow say (default: as the cohorts say, else 0)")
	cmd.Flags().Var(&labels, "labels", "the `share` of predictions that get a label (default: as the cohorts say, else all)")
	return cmd
}

// shareFlag is a flag with a share of 1, which may be a percentage: 2% or 0.02.
type shareFlag float64

// Set reads a share above 0 and up to 1.
func (f *shareFlag) Set(text string) error {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if isPercent {
		x /= 100
	}
	if err != nil || !(x > 0 && x <= 1) {
		return errors.New("want a share above 0 and up to 100%, such as 2% or 0.02")
	}
	*f = shareFlag(x)
	return nil
}

// String returns the share.
func (f *shareFlag) String() string {
	if *f == 0 {
		return ""
	}
	return percent(float64(*f))
}

// Type returns what the flag wants.
func (f *shareFlag) Type() string { return "share" }
