package cli

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/gbm"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

func (c *cli) trainCommand() *cobra.Command {
	var o app.TrainOptions
	var start, end, file string
	cmd := &cobra.Command{
		Use:   "train [PIPELINE]",
		Short: "Train a model on labelled history and register it as a candidate",
		Long: `Train reads the labelled data that the pipeline file names, splits it at random by seed, grows the trees on the
train part with the validation part to say when to stop, measures the model on the test part, and registers it.
The same data and the same pipeline file give the same model, bit for bit, on any machine.

A model that a gate of model.accept refuses is rejected, and the exit code is 3.

A scheduler names the run by --run-id and the data by --data-interval-start and --data-interval-end, for which
${DATA_INTERVAL_START} and ${DATA_INTERVAL_END} stand in the pipeline file. The same run again gives the same version.
The exit code is 99 if the interval has no rows, and 143 after SIGTERM; then nothing is registered.

With --json the last line of standard output is, whatever comes of it, an object such as
  {"model":"NAME@N","digest":"sha256:...","rows":{...},"metrics":{"train":{...},"validation":{...},"test":{...}},
   "status":"ok","exit_code":0,"state":"candidate","existed":false,"gates":[...]}
or {"status":"failed","exit_code":1,"error":{"code":"failed","message":"...",...}}. --result-file has the same.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			file = cmp.Or(file, c.defaultResultFile())
			t, err := (*app.Trained)(nil), app.CheckOutput(file, c.out) // before what takes long
			if err == nil {
				t, err = c.train(cmd, o, start, end)
			}
			return c.tellResult(cmd.Context(), file, t, err)
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the result")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of threads; the model is the same for any (default: one for each processor)")
	cmd.Flags().StringVar(&o.By, "by", "", "the `name` of who trains, for the audit log (default: the owner of the key, else $MILLRACE_USER, else the user's name)")
	c.keyFlag(cmd)
	cmd.Flags().StringVar(&o.RunID, "run-id", "", "the scheduler's `name` of this run, for the model's lineage")
	cmd.Flags().StringVar(&start, "data-interval-start", "", "the `time`, as of RFC 3339, at which the data of this run begins")
	cmd.Flags().StringVar(&end, "data-interval-end", "", "the `time` before which it ends")
	cmd.Flags().StringVar(&file, "result-file", "", "write the result to a `file`, as JSON (default: "+xcomFolder+"/"+xcomFile+", where that folder is)")
	return cmd
}

// train trains a model and tells a person of it.
func (c *cli) train(cmd *cobra.Command, o app.TrainOptions, start, end string) (*app.Trained, error) {
	if err := notNegative(cmd, "threads", o.Threads); err != nil {
		return nil, err
	}
	var err error
	if o.Interval, err = app.ParseInterval(start, end); err != nil {
		return nil, err
	}
	progress, done := c.progress("training")
	o.Progress = func(r gbm.Round) {
		progress(fmt.Sprintf("tree %d, validation rmse %s", r.Trees, number(r.RMSE)))
	}
	t, err := c.app().Train(cmd.Context(), o)
	done()
	if t != nil {
		c.printTrained(t)
	}
	return t, err
}

func (c *cli) printTrained(t *app.Trained) {
	r := t.Rows
	c.note("read %s of %s", count(r.Read, "row"), t.Data)
	if r.Excluded > 0 {
		c.note("; excluded %s:", grouped(int64(r.Excluded)))
	}
	c.note("\n")
	for _, x := range r.Reasons {
		c.note("  %8s  %s\n", grouped(int64(x.Rows)), x.Reason)
	}
	c.noteFound(t.Found.Tables, t.Found.Windows)
	if m := t.Imported; m != nil {
		c.note("%s of %s, from %s; which of these rows they were trained on is not known, so that the errors may be too small\n\n%s",
			count(t.Trees, "tree"), m.Format, oneLine(m.Name), scoreTable(&t.Metrics))
	} else {
		c.note("trained %s on %s\n\n%s", count(t.Trees, "tree"), count(r.Train, "row"), scoreTable(&t.Metrics))
	}
	c.note("\n  inputs by importance: %s\n\n", oneLine(strings.Join(t.TopInputs(6), ", ")))
	c.printGates(t.Gates)
	if t.Unused {
		c.note("the pipeline file does not use ${DATA_INTERVAL_START}: all of its data was read\n")
	}
	switch {
	case t.Model == "":
		return // it could not be registered
	case t.Existed && t.State == registry.StateRejected:
		c.note("%s was registered and rejected before: the same data and parameters give the same model\n", t.Model)
	case t.Existed:
		c.note("%s was registered before: the same data and parameters give the same model\n", t.Model)
	case t.State == registry.StateRejected:
		c.note("%s is registered, and rejected\n", t.Model)
	default:
		c.note("%s is registered as a %s\n", t.Model, t.State)
	}
	c.note("  %s\n", t.Digest)
	c.printNext(t)
}

// printGates tells what the gates say.
func (c *cli) printGates(gates []app.GateResult) {
	if len(gates) == 0 {
		return
	}
	for i := range gates {
		g := &gates[i]
		verdict := "passed "
		if !g.Passed {
			verdict = "REFUSED"
		}
		c.note("  gate %s  %s: %s\n", verdict, g.Name, oneLine(g.Words))
	}
	c.note("\n")
}

// printNext says what to do with a model that was trained.
func (c *cli) printNext(t *app.Trained) {
	if t.State == registry.StateRejected {
		return
	}
	file := fileFlag(t.File)
	at := file
	var sets strings.Builder
	for _, s := range c.set {
		sets.WriteString(" --set " + quoted(s))
		if strings.HasPrefix(s, "model.registry=") {
			at = " --registry " + quoted(t.Registry)
		}
	}
	if t.State == registry.StateApproved {
		c.note("it is approved; next:\n  millrace run%s%s\n", file, sets.String())
		return
	}
	c.note("next: look at it, then decide:\n  millrace report %s%s --html report.html\n  millrace model approve %s%s %s\n", t.Model, at, t.Model, at, who(t.Signed))
}

// scoreTable returns how good a model is on each part of the data, as a table.
func scoreTable(m *model.Metrics) string {
	var w strings.Builder
	fmt.Fprintf(&w, "  %-11s %9s %14s %14s %8s\n", "part", "rows", "rmse", "mae", "r2")
	for _, p := range []struct {
		name   string
		scores model.Scores
	}{{"train", m.Train}, {"validation", m.Validation}, {"test", m.Test}} {
		r2 := "-"
		if !math.IsNaN(p.scores.R2) {
			r2 = fmt.Sprintf("%.4f", p.scores.R2)
		}
		fmt.Fprintf(&w, "  %-11s %9s %14s %14s %8s\n", p.name, grouped(int64(p.scores.Rows)), number(p.scores.RMSE), number(p.scores.MAE), r2)
	}
	return w.String()
}

// printJSON prints v on one line of standard output.
func (c *cli) printJSON(v any) error { return writeJSON(c.out, v) }
