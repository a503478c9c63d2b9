package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
)

func (c *cli) abCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use: "ab COMMAND", Short: "Have several models predict a stream, each a part of the records, and compare them",
		Long: `The pipeline file says under ab which models are compared, by which key records are divided, and how much of them
each model gets. All instances go over to that between two commits, as in a promotion, and a key stays with its model. What
becomes of the predictions is told by millrace outcomes. docs/ab.md has the whole way.`,
	})
	cmd.AddCommand(c.abPlan(), c.abStart(), c.abStatus(), c.abReport(), c.abStop(), c.abArm(), c.abMerge())
	return cmd
}

func (c *cli) abStart() *cobra.Command {
	cmd := &cobra.Command{
		Use: "start [PIPELINE] --by NAME --reason TEXT", Short: "Begin the experiment of a pipeline file, or go over to its other weights or arms",
		Long: `Start has all running instances of the pipeline load the models of all arms, which have to be approved. Once all are
ready, they predict the records of each arm with its model. If the experiment runs already, start goes over to the weights and arms
that the file has now: as few keys as possible get another arm.`,
	}
	return c.abRun(cmd, func(cmd *cobra.Command, o app.ABOptions) error {
		s, err := c.app().StartAB(cmd.Context(), o)
		if err != nil {
			return err
		}
		c.printStarted(s)
		if c.json {
			return c.printJSON(startedJSON(s))
		}
		return nil
	})
}

func (c *cli) abStop() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stop [PIPELINE] --by NAME --reason TEXT", Short: "End the experiment: the control's model predicts all records",
		Long: `Stop has all running instances of the pipeline predict all records with the control's model. To go on with another arm,
promote its model: that ends the experiment too.`,
	}
	return c.abRun(cmd, func(cmd *cobra.Command, o app.ABOptions) error {
		s, err := c.app().StopAB(cmd.Context(), o)
		if err != nil {
			return err
		}
		if s.From != nil {
			c.note("%s is over: the next instance of %s goes on behind what was merged\n", s.Experiment, s.Group)
			c.printFrom("the group reads", s.From)
		} else {
			c.note("%s is over: %s predicts all records of %s, in %s\n", s.Experiment, s.Model, s.Group, count(s.Instances, "instance"))
		}
		if c.json {
			return c.printJSON(abStopped{s.Experiment, s.Model, s.Group, s.Epoch, s.Instances, partitionList(s.Partitions), s.From})
		}
		return nil
	})
}

// abRun makes a command of one that changes what instances run.
func (c *cli) abRun(cmd *cobra.Command, run func(*cobra.Command, app.ABOptions) error) *cobra.Command {
	o, d := app.ABOptions{}, &registry.Decision{}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := optionalArg(cmd, args); err != nil {
			return err
		}
		return required(cmd, append(c.needsName(), "reason")...)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Timeout <= 0 {
			return usage(cmd, fmt.Errorf("--timeout %v: want more than 0", o.Timeout))
		}
		c.pipelineArg(args)
		o.File, o.Set, o.By, o.Reason, o.Progress = c.file, c.set, d.By, d.Reason, c.showStep
		return run(cmd, o)
	}
	c.pipelineFlags(cmd)
	c.decisionFlags(cmd, d)
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait for instances to be ready, and then to go over")
	c.jsonFlag(cmd, "what was done")
	return cmd
}

func (c *cli) printStarted(s *app.ABStarted) {
	switch {
	case !s.Changed:
		c.note("%s runs like this already\n", s.Split.Experiment)
	case s.From != nil:
		c.note("%s has begun: start its arms, and the merge\n", s.Split.Experiment)
		c.printFrom("the arms read", s.From)
	case s.Groups:
		c.note("%s has other weights: instances of the merge go over to them when they are started again\n", s.Split.Experiment)
	case s.Instances == 0:
		c.note("%s begins with the next instance of %s: none is running\n", s.Split.Experiment, s.Group)
	default:
		c.note("%s is live in %s: ready after %s, gone over after another %s\n", s.Split.Experiment, count(s.Instances, "instance"),
			s.Ready.Round(time.Millisecond), s.Switched.Round(time.Millisecond))
	}
	for i := range s.Split.Arms {
		a := &s.Split.Arms[i]
		c.note("  %s: %s, %s\n", a.Name, a.Model, s.Share(i))
	}
	if s.Moved > 0 {
		of := "keys"
		if s.Split.By == rollout.ByPartition {
			of = "partitions"
		}
		c.note("%s of the %s have another arm than before\n", percent(s.Moved), of)
	}
}

type abStarted struct {
	Experiment string              `json:"experiment"`
	Group      string              `json:"group"`
	Epoch      int64               `json:"epoch"`
	Changed    bool                `json:"changed"`
	Moved      float64             `json:"moved"`
	Split      *rollout.Split      `json:"split"`
	Instances  int                 `json:"instances"`
	Partitions []rollout.Partition `json:"partitions"`
	From       map[int32]int64     `json:"from,omitempty"` // of arms with groups, by partition of the source
}

func startedJSON(s *app.ABStarted) abStarted {
	return abStarted{s.Split.Experiment, s.Group, s.Epoch, s.Changed, s.Moved, s.Split, s.Instances, partitionList(s.Partitions), s.From}
}

type abStopped struct {
	Experiment string              `json:"experiment"`
	Model      string              `json:"model"`
	Group      string              `json:"group"`
	Epoch      int64               `json:"epoch"`
	Instances  int                 `json:"instances"`
	Partitions []rollout.Partition `json:"partitions"`
	From       map[int32]int64     `json:"from,omitempty"` // of arms that had groups, by partition of the source
}

// partitionList is never null in JSON.
func partitionList(ps []rollout.Partition) []rollout.Partition {
	return append([]rollout.Partition{}, ps...)
}
