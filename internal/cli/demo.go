package cli

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/gbm"
	"millrace.dev/internal/app"
	"millrace.dev/internal/demo"
)

func (c *cli) demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole journey on house sales, in under a minute",
		Long: `Demo starts a development broker, makes up house sales, trains a model on them, approves it, streams unseen houses
with some broken records among them, checks every prediction against predicting the same records from a file, and
leaves a folder with the pipeline file to play on. It needs nothing but this program.

Then it streams the houses of a mock producer, as one writes it to have something on a topic: right in form, each
number drawn evenly, and all in zip code 98155. They are predicted like any other. The window checks of the pipeline,
which the houses before have passed, say what is wrong with them. The folder has them too, in mock.jsonl.

In the end it trains a better model, and lets it take over while houses go on: it predicts them in the shadow, is compared by what they
were sold for, approved and promoted, without a restart. The folder has the comparison as a page, compare.html.

With --json the last line of standard output is
  {"records":n,"predictions":n,"dead_letters":n,"mismatches":0,"records_per_second":x,
   "latency_ms":{"p50":x,"p99":x},"r2":x,"r2_ceiling":x,
   "checks":{"houses":{"windows":n,"ok":n,"warn":n,"fail":n},"mock":{...},"words":["..."]},
   "better":{"model":"...","pairs":n,"labels":n,"verdict":"better","mae":x,"mae_before":x,"live":true,"predictions":n},"dir":"..."}
where houses and mock count windows of records by their result, and words say what is wrong with the mock houses.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Rate < 1 {
				return usage(cmd, fmt.Errorf("--rate %d: want 1 or more", o.Rate))
			}
			if o.Duration <= 0 {
				return usage(cmd, fmt.Errorf("--duration %s: want more than 0", o.Duration))
			}
			if o.Mock < 1 {
				return usage(cmd, fmt.Errorf("--mock %d: want 1 or more", o.Mock))
			}
			o.App, o.Show = c.app(), c.show()
			r, err := demo.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.printDemo(r)
			if c.json {
				if err := c.printJSON(r); err != nil {
					return err
				}
			}
			if r.Mismatches > 0 {
				return &app.Error{Code: app.Failed, Op: "demo", Err: fmt.Errorf("%d results are not what is due: %s", r.Mismatches, r.First), Hint: "this should never happen: please report it"}
			}
			return nil
		},
	}
	c.jsonFlag(cmd, "the summary")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "the `folder` to leave (default: millrace-demo, with a number if it exists)")
	cmd.Flags().DurationVar(&o.Duration, "duration", 10*time.Second, "how `long` to stream at the given rate")
	cmd.Flags().IntVar(&o.Rate, "rate", 2000, "`number` of houses a second")
	cmd.Flags().StringVar(&o.Data, "data", "", "a CSV `file` of real house sales instead of made-up ones, with their columns")
	cmd.Flags().IntVar(&o.Mock, "mock", 30_000, "`number` of houses of the mock producer")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "`number` that the made-up houses and the damage follow from")
	return cmd
}

// liveRow is a row of the table of what streams, which fits in 80 columns.
const liveRow = "   %5s%8s%12s%14s%12s%11s%7s%7s\n"

// show prints the demo's steps.
func (c *cli) show() demo.Show {
	step, rows := 0, 0
	var progress func(string)
	done := func() {}
	return demo.Show{
		Step: func(title string) {
			step++
			c.note("%s\n", c.bold(fmt.Sprintf("%d. %s", step, title)))
		},
		Say: func(format string, args ...any) {
			for i, a := range args {
				if n, ok := a.(int); ok {
					args[i] = grouped(int64(n))
				}
			}
			c.note("   "+format+"\n", args...)
		},
		Round: func(r gbm.Round) {
			if progress == nil {
				progress, done = c.progress("   training")
			}
			progress(fmt.Sprintf("tree %d, validation rmse %s", r.Trees, number(r.RMSE)))
		},
		Trained: func(t *app.Trained) {
			done()
			c.note("   %s: %d trees on %s rows\n   on rows that it has not seen: rmse %s, mae %s, R2 %.3f\n", t.Model, t.Trees,
				grouped(int64(t.Rows.Train)), number(t.Metrics.Test.RMSE), number(t.Metrics.Test.MAE), t.Metrics.Test.R2)
		},
		Live: func(l demo.Live) {
			if rows%20 == 0 {
				c.note(liveRow, "time", "sent", "predictions", "dead letters", "mismatches", "results/s", "p50", "p99")
			}
			rows++
			c.note(liveRow, l.Elapsed.Round(time.Second), grouped(l.Sent), grouped(l.Predictions),
				grouped(l.Letters), grouped(l.Mismatches), grouped(int64(l.PerSecond)), l.P50.Round(time.Millisecond), l.P99.Round(time.Millisecond))
		},
	}
}

// bold sets text in bold on a terminal.
func (c *cli) bold(s string) string {
	if !c.color {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

func (c *cli) printDemo(r *demo.Result) {
	c.note("%s\n", c.bold("summary"))
	c.note("   %s records: %s predictions and %s dead letters,\n   each record exactly one of the two\n", grouped(r.Records), grouped(r.Predictions), grouped(r.DeadLetters))
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		c.note("      %8s  %s\n", grouped(r.Classes[class]), class)
	}
	c.note("   %s of them differ from predicting the same records from a file, byte by byte\n", grouped(r.Mismatches))
	c.note("   %s records a second at full speed,\n   with broker, producer and checks in this one process\n", grouped(int64(r.RecordsPerSecond)))
	c.note("   from sent to readable at the chosen rate: p50 %.0f ms, p99 %.0f ms\n   (a transaction is committed each 100 ms)\n", r.Latency.P50, r.Latency.P99)
	c.note("   windows like the training data: %d of %d of houses for sale,\n   %d of %d of mock ones\n",
		r.Checks.Houses.OK, r.Checks.Houses.Windows, r.Checks.Mock.OK, r.Checks.Mock.Windows)
	if b := &r.Better; b.Live {
		c.note("   %s took over without a restart: mean absolute error %s, before %s\n", b.Model, number(b.MAE), number(b.Before))
	}
	if r.R2 != nil {
		c.note("   R2 %.3f of the first model on houses that it has not seen", *r.R2)
		if r.Ceiling != nil {
			c.note(",\n   where the best that any model can reach is %.3f", *r.Ceiling)
		}
		c.note("\n")
	}
	c.note("\nthe folder is yours to play with; its pipeline.yaml says what to try:\n")
	if _, err := exec.LookPath("millrace"); err != nil {
		c.note("   go install ./cmd/millrace        (millrace is not in your PATH yet)\n")
	}
	c.note("   cd %s\n   less pipeline.yaml\n   millrace model show @champion\n", quoted(r.Dir))
}
