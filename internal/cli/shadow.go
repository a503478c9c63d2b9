package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/kafka"
)

// shadowNice is how much a shadow lets others run first, and mostNice how much it can.
const (
	shadowNice = 10
	mostNice   = 19
)

func (c *cli) shadowCommand() *cobra.Command {
	var o app.ShadowOptions
	var nice int
	cmd := &cobra.Command{
		Use:   "shadow [PIPELINE]",
		Short: "Predict the production topic with a candidate, into a topic of its own",
		Long: `Shadow predicts the records that production predicts with another model, which need not be approved: in a consumer group of
its own, into topics of its own, with state of its own, and exactly-once where the pipeline is. Nothing that it does can be
seen by those who read production's topics. It begins where production is, and goes on from where it stopped.

With --to it replays a range, and ends. Both ends are a date, a time, offset:N, offset:0=N,1=M by partition, earliest or
latest; --from is in the range, --to is not. A range that was replayed is not replayed again with the same model.

Where the model has windows it begins to read as much earlier as these reach, and writes what it predicts once they know what
production's know.

Millrace compare says how its predictions differ from production's. docs/shadow.md says more.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "threads", o.Threads); err != nil {
				return err
			}
			if nice < 0 || nice > mostNice {
				return usage(cmd, fmt.Errorf("--nice %d: want 0 to %d", nice, mostNice))
			}
			if o.MinFree < 0 || o.MinFree >= 1 {
				return usage(cmd, fmt.Errorf("--min-free %v: want a share from 0 to below 1", o.MinFree))
			}
			if nice > 0 {
				if err := niceness(nice); err != nil {
					return &app.Error{Code: app.Failed, Op: "lower the priority", Err: err, Hint: "run it with --nice 0"}
				}
			}
			c.pipelineArg(args)
			o.File, o.Set, o.Free = c.file, c.set, freeShare
			stop := func() {}
			o.Started = func(r *app.Running) {
				c.note("loaded %s, %s\n", r.Model, r.Digest)
				stop = c.watch(cmd.Context(), r)
			}
			o.Began = func(b *app.ShadowBegin) { c.note("%s", shadowText(b)) }
			s, err := c.app().Shadow(cmd.Context(), o)
			stop()
			if s != nil && (err == nil || s.Records > 0) {
				err = errors.Join(err, c.printRan(s))
			}
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "what was done")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the `model`: NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle (default: @candidate)")
	cmd.Flags().StringVar(&o.From, "from", "", "begin at this `place` of the topic (default: where production is; with --to the earliest record)")
	cmd.Flags().StringVar(&o.To, "to", "", "end before this `place` of the topic (default: go on)")
	cmd.Flags().StringVar(&o.WarmUp, "warm-up", "", "how `far` before that windows begin to look, by the times of messages: 30d, or all (default: as far as they reach; all where they go by the time of a field)")
	cmd.Flags().StringVar(&o.InstanceID, "instance-id", "", "the `name` of this instance (default: a random one)")
	cmd.Flags().IntVar(&o.Threads, "threads", 1, "`number` of threads")
	cmd.Flags().IntVar(&nice, "nice", shadowNice, "how much this process lets others run first, a nice `level` of 0 to 19; 0 is not at all")
	cmd.Flags().Float64Var(&o.MinFree, "min-free", 0.05, "the `share` of the state folder's file system that stays free for others: the shadow ends before; 0 is not looked at")
	cmd.Flags().BoolVar(&o.CreateTopics, "create-topics", false, "make the topics of the shadow that do not exist")
	cmd.Flags().StringVar(&o.StateDir, "state-dir", "", "the `folder` of the state, where there is any (default: shadow.state_dir of the pipeline file)")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "the `address` for /metrics, /livez and /readyz, such as :9090 (default: none)")
	return cmd
}

// shadowText says where a shadow begins and ends.
func shadowText(b *app.ShadowBegin) string {
	var s strings.Builder
	fmt.Fprintf(&s, "shadow to %s, group %s\n", b.Topic, b.Group)
	switch {
	case b.Resumed:
		fmt.Fprintf(&s, "  goes on at  %s\n", offsetsText(b.Read))
	case maps.Equal(b.From, b.Read):
		fmt.Fprintf(&s, "  begins at   %s\n", offsetsText(b.Read))
	default:
		fmt.Fprintf(&s, "  begins at   %s\n  warms up    %s\n", offsetsText(b.From), offsetsText(b.Read))
	}
	if b.To != nil {
		fmt.Fprintf(&s, "  ends before %s\n", offsetsText(b.To))
	}
	return s.String()
}

// mostOffsets is how many partitions have a line room for.
const mostOffsets = 8

// offsetsText writes offsets by partition.
func offsetsText(at kafka.Offsets) string {
	var parts []string
	for _, p := range slices.Sorted(maps.Keys(at)) {
		if len(parts) == mostOffsets {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%d=%d", p, at[p]))
	}
	if len(parts) == 0 {
		return "the end of an empty topic"
	}
	return "offset:" + strings.Join(parts, ",")
}
