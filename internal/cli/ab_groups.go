package cli

import (
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) abArm() *cobra.Command {
	var o app.GroupOptions
	cmd := &cobra.Command{
		Use: "arm NAME [PIPELINE]", Short: "Run an arm of an experiment whose arms have groups of their own",
		Long: `Arm predicts all records of the source topic with the model of an arm, in a consumer group of the arm, and writes what comes of
each, in the order of the source, to a topic of the arm: a prediction, or why there is none. Millrace ab merge makes of these topics
what millrace run would have written. Start more instances to share the partitions.

It is for pipeline files with ab.split: groups, once millrace ab start has set where the arms begin.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("the argument NAME is missing"))
			}
			return atMost(cmd, args, 2)
		},
	}
	return c.groupCommand(cmd, &o, func(cmd *cobra.Command, args []string) (*app.GroupRan, error) {
		o.Arm = args[0]
		c.pipelineArg(args[1:])
		o.File, o.Set = c.file, c.set
		o.Started = func(r *app.GroupRunning) { c.note("arm %s: loaded %s, %s\n", r.Arm, r.Model, r.Digest) }
		return c.app().RunArm(cmd.Context(), o)
	})
}

func (c *cli) abMerge() *cobra.Command {
	var o app.GroupOptions
	cmd := &cobra.Command{
		Use: "merge [PIPELINE]", Short: "Merge what the arms of an experiment have predicted, in the order of the source",
		Long: `Merge takes, for each record of the source topic, the result of the arm that its key goes to, and writes it to the sink or to the
dead letters of the pipeline, in the order of the source and in one transaction with its offsets. It waits for the arm that is behind
the others, and says for which: what waits, waits in the arms' topics. Start more instances to share the partitions.

It is for pipeline files with ab.split: groups, once millrace ab start has set where the arms begin.`,
		Args: optionalArg,
	}
	return c.groupCommand(cmd, &o, func(cmd *cobra.Command, args []string) (*app.GroupRan, error) {
		c.pipelineArg(args)
		o.File, o.Set = c.file, c.set
		o.Started = func(r *app.GroupRunning) { c.note("merging into %s\n", r.Topic) }
		return c.app().RunMerge(cmd.Context(), o)
	})
}

// groupCommand makes a command of one that runs until it is stopped.
func (c *cli) groupCommand(cmd *cobra.Command, o *app.GroupOptions, run func(*cobra.Command, []string) (*app.GroupRan, error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := notNegative(cmd, "threads", o.Threads); err != nil {
			return err
		}
		s, err := run(cmd, args)
		if s != nil && (err == nil || s.Records > 0) {
			err = errors.Join(err, c.printGroupRan(s))
		}
		return err
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "what was done")
	cmd.Flags().StringVar(&o.InstanceID, "instance-id", "", "the `name` of this instance (default: a random one)")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of threads (default: one for each processor)")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "the `address` for /metrics, /livez and /readyz, such as :9090 (default: none)")
	return cmd
}

// groupRan is what ab arm and ab merge print with --json.
type groupRan struct {
	Records     uint64            `json:"records"`
	Written     uint64            `json:"written"`
	DeadLetters map[string]uint64 `json:"dead_letters"`         // by stage and class
	Incomplete  uint64            `json:"incomplete,omitempty"` // records that lack the result of an arm
	Commits     uint64            `json:"commits"`
	Aborts      uint64            `json:"aborts"`
	Rebalances  uint64            `json:"rebalances"`
}

func (c *cli) printGroupRan(s *app.GroupRan) error {
	out := groupRan{
		Records: s.Records, Written: s.WrittenTo[s.Topic], DeadLetters: map[string]uint64{}, Incomplete: s.Incomplete,
		Commits: s.Commits, Aborts: s.Aborts, Rebalances: s.Rebalances,
	}
	for k, n := range s.DeadLetters {
		out.DeadLetters[k.Stage+"/"+k.Class] = n
	}
	c.note("%s: %s written to %s, %s in %s\n", count(int(s.Records), "record"), grouped(int64(out.Written)), s.Topic,
		count(int(s.TotalDeadLetters()), "dead letter"), count(int(s.Commits), "commit"))
	if s.Incomplete > 0 {
		c.note("  %s lacked the result of an arm\n", count(int(s.Incomplete), "record"))
	}
	if c.json {
		return c.printJSON(out)
	}
	return nil
}

// printFrom tells at which offsets of a topic something begins.
func (c *cli) printFrom(what string, from map[int32]int64) {
	for _, p := range slices.Sorted(maps.Keys(from)) {
		c.note("  %s partition %d from offset %s on\n", what, p, grouped(from[p]))
	}
}
