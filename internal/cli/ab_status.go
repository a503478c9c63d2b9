package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/report"
)

func (c *cli) abStatus() *cobra.Command {
	var o app.ABStatusOptions
	cmd := &cobra.Command{
		Use: "status [PIPELINE]", Short: "Say how the arms of an experiment do, and what to do about it",
		Long: `Status compares the arms of the experiment that runs, or of the last one of the pipeline file: the losses of their predictions
whose labels have come, with intervals, which with test: sequential hold however often one looks. It says whether the comparison can
be trusted: whether the arms have as many keys as their shares say, whether labels arrive alike in them, and whether the control's
model finds their records alike. One line says what to do.

The figures come from the topic of the cohorts, which millrace outcomes writes; what instances refuse and how long models take, from
their statuses; and who changed what, from the audit log. Status changes nothing, and can be run anywhere. docs/ab.md explains all of it.

It exits with 0, with 99 where there is no experiment and no outcome of one, and with 3 where it is not as --require says: better
(an arm is to be promoted), not-worse (no arm is worse by any metric), decided (there is nothing to wait for), or trusted (all checks
hold). What cannot be trusted is none of these.`,
	}
	return c.abJudge(cmd, &o, nil)
}

func (c *cli) abReport() *cobra.Command {
	var o app.ABStatusOptions
	cmd := &cobra.Command{
		Use: "report [PIPELINE] --html FILE", Short: "Write a page about an experiment",
		Long: `Report writes what millrace ab status says as a page with charts, in one file that needs no other: the intervals of all arms and
metrics, how they went day by day, the checks, how mature the days are, how long labels and models take, and who decided what.
--html - is standard output. The exit codes are those of millrace ab status.`,
	}
	return c.abJudge(cmd, &o, func(cmd *cobra.Command) error { return required(cmd, "html") })
}

// abJudge makes a command of one that judges an experiment.
func (c *cli) abJudge(cmd *cobra.Command, o *app.ABStatusOptions, check func(*cobra.Command) error) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := optionalArg(cmd, args)
		if err == nil && check != nil {
			err = check(cmd)
		}
		return err
	}
	var require string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.json && o.HTML == "-" {
			return usage(cmd, errors.New("--json needs standard output for itself: name a file with --html"))
		}
		c.pipelineArg(args)
		o.File, o.Set, o.Require, o.Stdout = c.file, c.set, app.Require(require), c.out
		r, err := c.app().ABStatus(cmd.Context(), *o)
		if r == nil {
			return err
		}
		if o.HTML != "" && o.HTML != "-" {
			c.note("wrote %s\n", o.HTML)
		}
		switch {
		case c.json:
			return errors.Join(c.printJSON(r), err)
		case check != nil || o.HTML == "-":
			return err
		default:
			return errors.Join(report.TrialText(c.out, r), err)
		}
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "all figures")
	cmd.Flags().StringVar(&o.Experiment, "experiment", "", "the `name` of an experiment (default: the one that runs, else that of the pipeline file)")
	cmd.Flags().StringVar(&o.HTML, "html", "", "also write a page with charts to a `file`; - is standard output, and then there is no text")
	cmd.Flags().StringVar(&require, "require", "", "exit with 3 if the experiment is not so: the `state` is one of "+strings.Join(app.Requirements(), ", "))
	return cmd
}
