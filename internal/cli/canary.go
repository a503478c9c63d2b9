package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/canary"
	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
)

// canaryFlags are the flags of promote --canary.
type canaryFlags struct {
	steps     string
	hold      time.Duration
	tolerance []string
	keep      bool
}

// fileSteps is the value of --canary that asks for the steps of the pipeline file.
const fileSteps = "file"

func (f *canaryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.steps, "canary", "", "let the model in by `steps`, such as 1%,10%,50%,100%, as the guards of the pipeline file decide; "+fileSteps+" is the steps of the file")
	cmd.Flags().DurationVar(&f.hold, "hold", 0, "with --canary: the least time of a step (default: canary.hold of the pipeline file)")
	cmd.Flags().StringSliceVar(&f.tolerance, "tolerance", nil, "with --canary: what a `guard` tolerates, such as errors=1%,latency=3,drift=20%,loss=5% (default: canary.guards of the pipeline file)")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "with --canary: leave the canary where it is when this command is ended, instead of taking the model back")
}

// check wants the other flags with --canary alone, and returns what they say as overrides of the pipeline file.
func (f *canaryFlags) check(cmd *cobra.Command) (set []string, err error) {
	if !cmd.Flags().Changed("canary") {
		for _, name := range []string{"hold", "tolerance", "keep"} {
			if cmd.Flags().Changed(name) {
				return nil, usage(cmd, errors.New("--"+name+" is for --canary"))
			}
		}
		return nil, nil
	}
	if cmd.Flags().Changed("hold") {
		set = append(set, "canary.hold="+f.hold.String())
	}
	for _, t := range f.tolerance {
		name, value, ok := strings.Cut(t, "=")
		if !ok || !slices.Contains(config.GuardNames(), name) {
			return nil, usage(cmd, fmt.Errorf("--tolerance %s: want one of %s, with = and what it tolerates", t, strings.Join(config.GuardNames(), ", ")))
		}
		set = append(set, "canary.guards."+name+"="+value)
	}
	return set, nil
}

// runCanary lets a model in by steps.
func (c *cli) runCanary(cmd *cobra.Command, f *canaryFlags, p *app.PromoteOptions) error {
	o := app.CanaryOptions{
		File: p.File, Set: p.Set, Model: p.Model, By: p.By, Reason: p.Reason, Keep: f.keep, Timeout: p.Timeout, Progress: p.Progress, Look: c.showLook(),
	}
	if f.steps != fileSteps {
		var err error
		if o.Steps, err = config.ParseSteps(f.steps); err != nil {
			return usage(cmd, fmt.Errorf("--canary %s: %w", f.steps, err))
		}
	}
	r, err := c.app().Canary(cmd.Context(), o)
	c.err.show("")
	if r == nil {
		return err
	}
	c.printCanaried(r)
	if c.json {
		return errors.Join(c.printJSON(canariedJSON(r)), err)
	}
	return err
}

// showLook returns a function that shows where a canary is: a line for each step, and on a terminal one that is rewritten.
func (c *cli) showLook() func(app.CanaryLook) {
	step := -1
	return func(l app.CanaryLook) {
		share := percent(l.Steps[l.Step])
		if l.Step != step {
			step = l.Step
			c.note("%s: step %d of %d, %s of the records, after %s of the model\n", l.Experiment, l.Step+1, len(l.Steps), share, count(int(l.Records), "record"))
		}
		if l.Decision.Action == canary.Wait {
			parts := []string{share + ": " + count(int(l.Records), "record") + ", waits for " + l.Decision.Why}
			for _, r := range l.Decision.Readings {
				parts = append(parts, r.Guard+" "+figure(&r))
			}
			c.err.show(strings.Join(parts, "; "))
			return
		}
		c.err.show("")
		for _, r := range l.Decision.Readings {
			c.note("  %-8s %s\n", r.Guard, r.Words)
		}
	}
}

// figure is what a guard sees, in a word.
func figure(r *canary.Reading) string {
	switch {
	case r.Seen == 0:
		return "-"
	case r.Guard == canary.Latency || r.Guard == canary.Loss:
		return fmt.Sprintf("%+.1f%%", 100*r.Value)
	default:
		return fmt.Sprintf("%.2g%%", 100*r.Value)
	}
}

func (c *cli) printCanaried(r *app.Canaried) {
	switch r.Verdict {
	case registry.VerdictPassed:
		c.note("%s predicts all records of %s now, in %s\n", r.Model, r.Group, count(r.Deployed.Instances, "instance"))
	case registry.VerdictStopped: // the error says what goes before it
	case registry.VerdictRolledBack:
		c.note("%s predicts all records of %s again\n", r.Control, r.Group)
	default:
		return
	}
	if len(r.Touched) == 0 {
		c.note("no record was predicted with %s in %s\n", r.Model, r.Experiment)
		return
	}
	c.note("records that were given to %s in %s:\n", r.Model, r.Experiment)
	for _, t := range r.Touched {
		c.note("  %s: %s\n", t.Topic, count(int(t.Records), "record"))
		for _, p := range t.Partitions {
			c.note("    partition %d: %s, from offset %d to %d\n", p.Partition, grouped(p.Records), p.From, p.To)
		}
	}
	if !r.Complete && r.Verdict != registry.VerdictPassed {
		c.note("  there may be more: not all of the topics could be read to their ends\n")
	}
}

// canaried is what promote --canary --json prints.
type canaried struct {
	Model      string             `json:"model"`
	Digest     string             `json:"digest"`
	Control    string             `json:"control"`
	Group      string             `json:"group"`
	Experiment string             `json:"experiment"`
	Resumed    bool               `json:"resumed"`
	Verdict    string             `json:"verdict"`
	Guard      string             `json:"guard,omitempty"`
	Why        string             `json:"why,omitempty"`
	Steps      []app.CanaryStep   `json:"steps"`
	Guards     []reading          `json:"guards"`
	Touched    []registry.Touched `json:"touched"`
	Complete   bool               `json:"complete"`
	Epoch      int64              `json:"epoch"`
	Instances  int                `json:"instances"`
}

// reading is what a guard has seen.
type reading struct {
	Guard string  `json:"guard"`
	Seen  int64   `json:"seen"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound"`
	Limit float64 `json:"limit"`
	Alarm bool    `json:"alarm"`
	Words string  `json:"words"`
}

func canariedJSON(r *app.Canaried) canaried {
	out := canaried{
		Model: r.Model, Digest: r.Digest, Control: r.Control, Group: r.Group, Experiment: r.Experiment, Resumed: r.Resumed, Verdict: string(r.Verdict),
		Guard: r.Guard, Why: r.Why, Steps: append([]app.CanaryStep{}, r.Steps...), Guards: []reading{}, Touched: append([]registry.Touched{}, r.Touched...),
		Complete: r.Complete, Epoch: r.Deployed.Epoch, Instances: r.Deployed.Instances,
	}
	for _, g := range r.Readings {
		out.Guards = append(out.Guards, reading(g))
	}
	return out
}
