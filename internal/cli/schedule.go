package cli

import (
	"cmp"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

// scheduledRun is a run as schedule --next --json prints it.
type scheduledRun struct {
	Due      time.Time `json:"due"`
	RunID    string    `json:"run_id"`
	Interval interval  `json:"data_interval"`
}

// mostNext bounds the times that are shown.
const mostNext = 1000

func (c *cli) scheduleCommand() *cobra.Command {
	var o app.ScheduleOptions
	var once bool
	var next int
	var file string
	cmd := &cobra.Command{
		Use:   "schedule [PIPELINE]",
		Short: "Train at the times of the pipeline file, and when a window check asks for it",
		Long: `Schedule trains the model at the times that schedule.cron declares. Each training is about the data interval from the time
before to its own, and is called NAME-TIME. Of several times that were missed the last one is caught up. Where
checks.window.on_fail is retrain, it also trains when a window fails. What comes of it is a candidate: a person decides.

Start it on several machines: one trains and the others stand by, as a consumer group on the pipeline's control topic.
SIGTERM stops it within seconds; a training that is under way is begun again by the next one.

With --json, --next prints one object a line:
  {"due":"...","run_id":"...","data_interval":{"start":"...","end":"..."}}
and --once ends as train does, with the same result and exit codes.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "threads", o.Threads); err != nil {
				return err
			}
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			asked := cmd.Flags().Changed("next")
			switch {
			case asked && once:
				return usage(cmd, errors.New("--next and --once do not go together"))
			case asked && (next < 1 || next > mostNext):
				return usage(cmd, fmt.Errorf("--next %d: want a number from 1 to %d", next, mostNext))
			case asked:
				return c.printNextRuns(next)
			case once:
				file = cmp.Or(file, c.defaultResultFile())
				t, err := (*app.Trained)(nil), app.CheckOutput(file, c.out) // before what takes long
				if err == nil {
					t, err = c.app().TrainLast(cmd.Context(), o)
				}
				if t != nil {
					c.printTrained(t)
				}
				return c.tellResult(cmd.Context(), file, t, err)
			case c.json:
				return usage(cmd, errors.New("--json goes with --next and --once"))
			}
			return c.app().Schedule(cmd.Context(), o)
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "what --next or --once says")
	cmd.Flags().IntVar(&next, "next", 0, "print the next `number` of times, and end")
	cmd.Flags().BoolVar(&once, "once", false, "train for the last time that has come, and end")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of threads of a training (default: one for each processor)")
	cmd.Flags().StringVar(&o.By, "by", "", "the `name` of who trains, for the audit log (default: the owner of the key, else $MILLRACE_USER, else the user's name)")
	c.keyFlag(cmd)
	cmd.Flags().BoolVar(&o.CreateTopics, "create-topics", false, "make the control topic and that of window checks, if they do not exist")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "the `address` for /livez and /readyz, such as :9090 (default: none)")
	cmd.Flags().StringVar(&file, "result-file", "", "with --once, write the result to a `file`, as JSON (default: "+xcomFolder+"/"+xcomFile+", where that folder is)")
	return cmd
}

// printNextRuns prints the next times of a schedule.
func (c *cli) printNextRuns(n int) error {
	runs, err := c.app().NextRuns(c.file, c.set, n)
	if err != nil {
		return err
	}
	if c.json {
		for _, r := range runs {
			if err := c.printJSON(scheduledRun{r.Due, r.RunID, interval{r.Interval.From.UTC(), r.Interval.To.UTC()}}); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DUE\tRUN\tDATA FROM\tDATA TO") //nolint:errcheck // Flush reports it
	for _, r := range runs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Due.Format("Mon 2006-01-02 15:04 MST"), r.RunID, r.Interval.From.Format(time.RFC3339), r.Interval.To.Format(time.RFC3339)) //nolint:errcheck // Flush reports it
	}
	return w.Flush()
}
