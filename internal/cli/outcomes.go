package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) outcomesCommand() *cobra.Command {
	var o app.OutcomesOptions
	var until timeFlag
	cmd := &cobra.Command{
		Use:   "outcomes [PIPELINE]",
		Short: "Join predictions with their labels when these come",
		Long: `Outcomes reads the predictions of a pipeline and the topic of its labels, and joins them by key: a label within the
horizon after a prediction is its label, however late either comes. For each prediction it writes one record to the topic of the
outcomes, when its label came or when its time is over, and keeps sums by experiment, arm, model and day in the topic of the
cohorts. The section outcomes of the pipeline file says where labels are, and how long they take at most.

It is an application of its own: start it beside millrace run, and more instances to share the partitions. With --once it
processes what is in the topics, lets expire what has had its time, and ends: for schedulers, back-fills and tests. It exits with
99 then if there was nothing to do.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if until.set && !o.Once {
				return usage(cmd, errors.New("--until is for --once: an application that goes on tells the time by the records"))
			}
			if until.set {
				o.Until = until.Time
			}
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			o.Started = func(r *app.OutcomesRunning) {
				if !o.Once {
					c.note("joining predictions with labels, as %s\n", r.Stats().Group)
				}
			}
			s, err := c.app().Outcomes(cmd.Context(), o)
			if s != nil && (err == nil || s.Records > 0) {
				err = errors.Join(err, c.printOutcomes(s))
			}
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "what was done")
	cmd.Flags().StringVar(&o.InstanceID, "instance-id", "", "the `name` of this instance, which stays the same over restarts (default: a random one)")
	cmd.Flags().BoolVar(&o.CreateTopics, "create-topics", false, "make the topics that do not exist, as many partitions for the outputs as the predictions have")
	cmd.Flags().StringVar(&o.StateDir, "state-dir", "", "the `folder` of the state (default: state.dir of the pipeline file, with -outcomes behind)")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "the `address` for /metrics, /livez and /readyz, such as :9091 (default: none)")
	cmd.Flags().BoolVar(&o.Once, "once", false, "process what is in the topics, and end")
	cmd.Flags().Var(&until, "until", "with --once, the `time` as of which predictions expire (default: now)")
	return cmd
}

// ranOutcomes is what outcomes --json prints.
type ranOutcomes struct {
	Group       string            `json:"group"`
	Predictions uint64            `json:"predictions"` // records that were read
	Labels      uint64            `json:"labels"`
	Outcomes    uint64            `json:"outcomes"`     // that were written
	DeadLetters map[string]uint64 `json:"dead_letters"` // by stage and class
	Commits     uint64            `json:"commits"`
	Aborts      uint64            `json:"aborts"`
	Rebalances  uint64            `json:"rebalances"`
	Lag         int64             `json:"lag"`
	// Cohorts are the predictions of the partitions that this instance had, since the first one.
	Cohorts []ranCohort `json:"cohorts"`
}

type ranCohort struct {
	Topic      string `json:"topic"`
	Experiment string `json:"experiment"`
	Arm        string `json:"arm"`
	Model      string `json:"model"`
	Records    int64  `json:"records"`
	Resolved   int64  `json:"resolved"`
	Expired    int64  `json:"expired"`
	Pending    int64  `json:"pending"`
	Forced     int64  `json:"forced"`
	Units      int64  `json:"units"`
}

// printOutcomes prints what outcomes has done.
func (c *cli) printOutcomes(s *app.OutcomesRan) error {
	out := ranOutcomes{
		Group: s.Group, Predictions: s.Predictions, Labels: s.Labels, Outcomes: s.Outcomes, DeadLetters: map[string]uint64{}, Commits: s.Commits,
		Aborts: s.Aborts, Rebalances: s.Rebalances, Lag: s.TotalLag(), Cohorts: []ranCohort{},
	}
	by := map[string]int{}
	for k, n := range s.DeadLetters {
		name := k.Stage + "/" + k.Class
		out.DeadLetters[name], by[name] = n, int(n)
	}
	letters := count(int(s.TotalDeadLetters()), "dead letter")
	if len(by) > 0 {
		letters += " (" + tally(by) + ")"
	}
	c.note("%s: %s, %s, %s, %s\n", oneLine(s.Group), count(int(s.Predictions), "prediction"), count(int(s.Labels), "label"), count(int(s.Outcomes), "outcome"), letters)
	for i := range s.Cohorts {
		k := &s.Cohorts[i]
		out.Cohorts = append(out.Cohorts, ranCohort{
			Topic: k.Topic, Experiment: k.Experiment, Arm: k.Arm, Model: k.Model, Records: k.Records, Resolved: k.Resolved, Expired: k.Expired,
			Pending: k.Pending(), Forced: k.Forced, Units: k.Units,
		})
		name := k.Model
		if k.Experiment != "" {
			name = k.Experiment + " " + k.Arm + ", " + name
		}
		c.note("  %s: %s, %s resolved, %s expired, %s waiting\n", oneLine(name), count(int(k.Records), "prediction"), grouped(k.Resolved), grouped(k.Expired), grouped(k.Pending()))
	}
	if c.json {
		return c.printJSON(out)
	}
	return nil
}
