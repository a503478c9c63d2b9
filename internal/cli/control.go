package cli

import (
	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) pauseCommand() *cobra.Command {
	return c.controlCommand(app.Paused, &cobra.Command{
		Use:   "pause [PIPELINE]",
		Short: "Have all instances of a pipeline stop processing",
		Long: `Pause has the running instances of a pipeline, and those that start later, process no more records until millrace
resume. They stay in their group, and nothing is lost: records wait in the source topic. It is for pipelines with
checks.window.on_fail: pause, which pause by themselves where a window differs from the training data.`,
	})
}

func (c *cli) resumeCommand() *cobra.Command {
	return c.controlCommand(app.Resumed, &cobra.Command{
		Use:   "resume [PIPELINE]",
		Short: "Let a paused pipeline go on",
		Long: `Resume lets the instances of a pipeline go on that was paused, by a failed window or by millrace pause, with the
record after the last one that they have committed.`,
	})
}

func (c *cli) controlCommand(state string, cmd *cobra.Command) *cobra.Command {
	o := app.ControlOptions{State: state}
	cmd.Args = optionalArg
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.pipelineArg(args)
		o.File, o.Set = c.file, c.set
		control, err := c.app().SetControl(cmd.Context(), o)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(control)
		}
		c.note("%s: told all instances\n", control.State)
		return nil
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "what was told")
	cmd.Flags().StringVar(&o.By, "by", "", "the `name` of who does this (default: $MILLRACE_USER, else the user's name)")
	cmd.Flags().StringVar(&o.Reason, "reason", "", "why, for others to read")
	return cmd
}
