package cli

import (
	"encoding/json"
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
	cmd := &cobra.Command{
		Use:   "train [PIPELINE]",
		Short: "Train a model on labelled history and register it as a candidate",
		Long: `Train reads the labelled data that the pipeline file names, splits it at random by seed, grows the trees on the
train part with the validation part to say when to stop, measures the model on the test part, and registers it.
The same data and the same pipeline file give the same model, bit for bit, on any machine.

With --json the last line of standard output is
  {"model":"NAME@N","digest":"sha256:...","rows":{...},"metrics":{"train":{...},"validation":{...},"test":{...}}}`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "threads", o.Threads); err != nil {
				return err
			}
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
				return c.printJSON(trainedJSON(t))
			}
			return nil
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the result")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of threads; the model is the same for any (default: one for each processor)")
	cmd.Flags().StringVar(&o.By, "by", "", "the `name` of who trains, for the audit log (default: the owner of the key, else $MILLRACE_USER, else the user's name)")
	c.keyFlag(cmd)
	cmd.Flags().StringVar(&o.RunID, "run-id", "", "the scheduler's `name` of this run, for the model's lineage")
	return cmd
}

// trained is what train --json prints. A measure that is not defined is null.
type trained struct {
	Model   string        `json:"model"`
	Digest  string        `json:"digest"`
	Rows    trainedRows   `json:"rows"`
	Metrics trainedScores `json:"metrics"`
}

type trainedRows struct {
	Read       int `json:"read"`
	Excluded   int `json:"excluded"`
	Train      int `json:"train"`
	Validation int `json:"validation"`
	Test       int `json:"test"`
}

type trainedScores struct {
	Train      scores `json:"train"`
	Validation scores `json:"validation"`
	Test       scores `json:"test"`
}

type scores struct {
	RMSE *float64 `json:"rmse"`
	MAE  *float64 `json:"mae"`
	R2   *float64 `json:"r2"`
}

func trainedJSON(t *app.Trained) trained {
	value := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	of := func(s model.Scores) scores { return scores{RMSE: value(s.RMSE), MAE: value(s.MAE), R2: value(s.R2)} }
	r, m := t.Rows, t.Metrics
	return trained{
		Model: t.Model, Digest: t.Digest,
		Rows:    trainedRows{Read: r.Read, Excluded: r.Excluded, Train: r.Train, Validation: r.Validation, Test: r.Test},
		Metrics: trainedScores{Train: of(m.Train), Validation: of(m.Validation), Test: of(m.Test)},
	}
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
	c.note("trained %s on %s\n\n%s", count(t.Trees, "tree"), count(r.Train, "row"), scoreTable(&t.Metrics))
	c.note("\n  inputs by importance: %s\n\n", oneLine(strings.Join(t.TopInputs(6), ", ")))
	if t.Existed {
		c.note("%s was registered before: the same data and parameters give the same model\n", t.Model)
	} else {
		c.note("%s is registered as a %s\n", t.Model, t.State)
	}
	c.note("  %s\n", t.Digest)
	c.printNext(t)
}

// printNext says what to do with a model that was trained.
func (c *cli) printNext(t *app.Trained) {
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

// printJSON prints v on one line of standard output. Characters that mean something in HTML stay as they are.
func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
