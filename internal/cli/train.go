package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/gbm"
	"millrace.dev/internal/app"
)

func (c *cli) trainCommand() *cobra.Command {
	var o app.TrainOptions
	cmd := &cobra.Command{
		Use:   "train [PIPELINE]",
		Short: "Train a model on labelled history and register it as a candidate",
		Long: `Train reads the labelled data that the pipeline file names, splits it at random by seed, grows the trees on the
train part with the validation part to say when to stop, measures the model on the test part, and registers it.
The same data and the same pipeline file give the same model, bit for bit, on any machine.

With --json the last line of standard output is
  {"model":"NAME@N","digest":"sha256:...","rows":{...},"metrics":{"train":{...},"validation":{...},"test":{...}}}`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			progress, done := c.progress("training")
			o.Progress = func(r gbm.Round) {
				progress(fmt.Sprintf("tree %d, validation rmse %s", r.Trees, number(r.RMSE)))
			}
			t, err := c.app().Train(cmd.Context(), o)
			done()
			if err != nil {
				return err
			}
			c.printTrained(t)
			if c.json {
				return c.printJSON(t)
			}
			return nil
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the result")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "threads; the model is the same for any number (default: one for each processor)")
	cmd.Flags().StringVar(&o.By, "by", "", "who trains, for the audit log (default: the user's name)")
	cmd.Flags().StringVar(&o.RunID, "run-id", "", "the scheduler's name of this run, for the model's lineage")
	return cmd
}

func (c *cli) printTrained(t *app.Trained) {
	r := t.Rows
	c.note("read %d rows of %s", r.Read, t.Data)
	if r.Excluded > 0 {
		c.note("; excluded %d:", r.Excluded)
	}
	c.note("\n")
	for _, x := range r.Reasons {
		c.note("  %6d  %s\n", x.Rows, x.Reason)
	}
	c.note("trained %d trees on %d rows\n\n", t.Trees, r.Train)
	c.note("  %-11s %8s %14s %14s %8s\n", "part", "rows", "rmse", "mae", "r2")
	for _, p := range parts(&t.Metrics) {
		c.note("  %-11s %8d %14s %14s %8.4f\n", p.name, p.scores.Rows, number(p.scores.RMSE), number(p.scores.MAE), p.scores.R2)
	}
	c.note("\n  inputs by importance: %s\n\n", strings.Join(t.TopInputs(6), ", "))
	state := "registered as a candidate"
	if t.Existed {
		state = "was registered before: the same data and parameters give the same model"
	}
	c.note("%s %s\n  %s\nnext: look at it, then decide:\n  millrace model show %s -f %s\n  millrace model approve %s -f %s --by NAME --reason TEXT\n",
		t.Model, state, t.Digest, t.Model, t.File, t.Model, t.File)
}

func (c *cli) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", b)
	return err
}
