package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) runCommand() *cobra.Command {
	var o app.RunOptions
	var rate string
	cmd := &cobra.Command{
		Use:   "run [PIPELINE]",
		Short: "Apply an approved model to a topic",
		Long: `Run reads the source topic, predicts each record and writes it with its prediction to the sink topic; a record that
cannot be predicted goes to the dead-letter topic with the reason. Under exactly_once predictions, dead letters and
offsets are committed in one transaction. Start more instances to share the partitions. SIGTERM stops an instance
after the batch in hand is committed.

Run predicts with the model that was promoted last, and goes over to another one when millrace model promote says so: by
default without a break, between two commits. With model.update: rolling it begins anew with it, and prints for each model
what was done with that.

Give each instance an --instance-id of its own that stays the same over restarts: a restarted instance then takes over
at once from its dead predecessor, instead of after the session and transaction timeouts.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "threads", o.Threads); err != nil {
				return err
			}
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			if rate != "" {
				o.Set = append(slices.Clone(o.Set), "sample_features.rate="+rate)
			}
			stop := func() {}
			o.Started = func(r *app.Running) {
				c.note("loaded %s, %s\n", r.Model, r.Digest)
				if r.Queries != "" {
					c.note("answering queries at %s\n", r.Queries)
				}
				stop = c.watch(cmd.Context(), r)
			}
			var failed error
			o.Turned = func(s *app.Ran) {
				stop()
				failed = errors.Join(failed, c.printRan(s))
			}
			s, err := c.app().Run(cmd.Context(), o)
			err = errors.Join(err, failed)
			stop()
			if s != nil && (err == nil || s.Records > 0) {
				err = errors.Join(err, c.printRan(s))
			}
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "what was done")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the `model`, for good: NAME@VERSION, NAME@ALIAS or @ALIAS (default: the one that was promoted last, and then those that are promoted)")
	cmd.Flags().StringVar(&o.InstanceID, "instance-id", "", "the `name` of this instance (default: a random one)")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of threads (default: one for each processor)")
	cmd.Flags().BoolVar(&o.CreateTopics, "create-topics", false, "make the topics that do not exist, as many partitions for the outputs and tables as the source has")
	cmd.Flags().StringVar(&rate, "sample-features", "", "the `share` of records, 0 to 1, of which to write what was known, for millrace verify: the same as --set sample_features.rate=SHARE")
	cmd.Flags().StringVar(&o.StateDir, "state-dir", "", "the `folder` of the state, where a table is partitioned (default: state.dir of the pipeline file)")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "the `address` for /metrics, /livez and /readyz, such as :9090 (default: none)")
	return cmd
}

// watch shows on a terminal, in a status line that changes each second, what a pipeline has done.
func (c *cli) watch(ctx context.Context, r *app.Running) (stop func()) {
	if !isTerminal(c.err) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var before uint64
		for {
			select {
			case <-ctx.Done():
				c.err.show("")
				return
			case <-tick.C:
			}
			s := r.Stats()
			// The predictions are the rest of the records: a line of 80 columns has no room for them.
			line := fmt.Sprintf("%s: %s, %s/s, %s, lag %s", strings.ReplaceAll(string(s.State), "_", " "),
				count(int(s.Records), "record"), grouped(int64(s.Records-before)),
				count(int(s.TotalDeadLetters()), "dead letter"), grouped(s.TotalLag()))
			if s.Latency.Count > 0 {
				line += fmt.Sprintf(", p50 %s p99 %s", s.Latency.Quantile(0.5), s.Latency.Quantile(0.99))
			}
			c.err.show(line)
			before = s.Records
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
