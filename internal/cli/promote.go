package cli

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/registry/objects"
	"millrace.dev/internal/rollout"
)

func (c *cli) modelPromote(where *app.ModelsOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "promote MODEL --by NAME --reason TEXT", Short: "Have all instances of a pipeline go over to an approved model", Args: c.decisionArgs,
		Long: `Promote makes an approved model the champion, and has the instances of the pipeline go over to it without a restart:
each loads it, verifies it and its approval, and reproduces its golden rows, beside the model that it predicts with. Once all
are ready they go over, each partition between two commits. If one cannot load it, none goes over, and promote says why.

It waits until all have gone over, and shows how far they are. millrace model rollback goes back.

With --canary the model gets a share of the records first, which grows by steps. Guards look at what comes of them: what it refuses, how
long it takes, how far its predictions are from those of the model of before, and its error where labels come. If a guard raises its
alarm, or this command is ended, all instances go back to the model of before, and the exit code is 3, or 1. The same command goes on with
a canary that is under way. docs/canary.md says what the guards can tell.`,
	}
	return c.promoteCommand(where, cmd, false)
}

func (c *cli) modelRollback(where *app.ModelsOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback [MODEL] --by NAME --reason TEXT", Short: "Have all instances go back to the model that they had before",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := optionalArg(cmd, args); err != nil {
				return err
			}
			return required(cmd, append(c.needsName(), "reason")...)
		},
		Long: `Rollback is promote, of the champion before the present one, or of the approved model that is named.`,
	}
	return c.promoteCommand(where, cmd, true)
}

func (c *cli) promoteCommand(where *app.ModelsOptions, cmd *cobra.Command, rollback bool) *cobra.Command {
	o, d, f := app.PromoteOptions{Rollback: rollback}, &registry.Decision{}, &canaryFlags{}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Timeout <= 0 {
			return usage(cmd, fmt.Errorf("--timeout %v: want more than 0", o.Timeout))
		}
		o.File, o.Set = c.file, c.set
		set, err := overrides(where)
		if err != nil {
			return err
		}
		more := []string(nil)
		if !rollback {
			if more, err = f.check(cmd); err != nil {
				return err
			}
		}
		o.Set = append(append(set, o.Set...), more...)
		o.By, o.Reason = d.By, d.Reason
		if len(args) > 0 {
			o.Model = args[0]
		}
		o.Progress = c.showStep
		if !rollback && cmd.Flags().Changed("canary") {
			return c.runCanary(cmd, f, &o)
		}
		p, err := c.app().Promote(cmd.Context(), o)
		if err != nil {
			return err
		}
		c.printPromoted(p)
		if c.json {
			return c.printJSON(promotedJSON(p))
		}
		return nil
	}
	cmd.Flags().StringArrayVar(&c.set, "set", nil, "override a `key=value` of the pipeline file, such as kafka.brokers=localhost:9092")
	c.decisionFlags(cmd, d)
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait for instances to be ready, and then to go over")
	if !rollback {
		f.add(cmd)
	}
	c.jsonFlag(cmd, "what was done")
	return cmd
}

// overrides returns what the flags of the registry say, as overrides of the pipeline file, whose paths are relative to it.
func overrides(o *app.ModelsOptions) (set []string, err error) {
	for _, f := range []struct{ key, path string }{{"model.registry", o.Dir}, {"model.root", o.Root}} {
		if f.path == "" {
			continue
		}
		if !objects.IsAddress(f.path) {
			if f.path, err = filepath.Abs(f.path); err != nil {
				return nil, err
			}
		}
		set = append(set, f.key+"="+f.path)
	}
	return set, nil
}

// showStep tells that an instance has got further.
func (c *cli) showStep(s app.Step) {
	word := string(s.Stage)
	switch {
	case s.Phase == app.Switching && s.Here:
		word = "has gone over, with " + count(len(s.Partitions), "partition")
	case s.Stage == rollout.Failed:
		word = "cannot load it: " + oneLine(s.Error)
	case s.Phase == app.Switching:
		word = fmt.Sprintf("goes over: %d of %s have", len(s.Partitions), count(len(s.Partitions)+len(s.Others), "partition"))
	case s.Stage == "":
		word = "has not answered yet"
	}
	c.note("  %s: %s\n", oneLine(s.Instance), word)
}

func (c *cli) printPromoted(p *app.Promoted) {
	switch {
	case p.Update == config.RestartUpdate:
		c.note("%s is the champion: instances run it when they are started again\n", p.Model)
		return
	case p.Instances == 0:
		c.note("%s is promoted: no instance of %s is running, and those that start run it\n", p.Model, p.Group)
	default:
		c.note("%s is live in %s: ready after %s, gone over after another %s\n", p.Model, count(p.Instances, "instance"),
			p.Ready.Round(time.Millisecond), p.Switched.Round(time.Millisecond))
		for _, at := range p.Partitions {
			c.note("  %s/%d from offset %d on\n", at.Topic, at.Partition, at.From)
		}
	}
	if p.Ended != "" {
		c.note("%s has ended with it\n", oneLine(p.Ended))
	}
	if p.Before != "" && p.Before != p.Model {
		c.note("to go back to %s: millrace model rollback%s %s\n", p.Before, fileFlag(c.file), who(p.Signed))
	}
}

// promoted is what promote --json prints.
type promoted struct {
	Model      string              `json:"model"`
	Digest     string              `json:"digest"`
	Before     string              `json:"before,omitempty"`
	Ended      string              `json:"ended,omitempty"` // the experiment, or the canary, that it has ended
	Update     string              `json:"update"`
	Group      string              `json:"group"`
	Epoch      int64               `json:"epoch"`
	Instances  int                 `json:"instances"`
	Partitions []rollout.Partition `json:"partitions"`
	ReadyMS    int64               `json:"ready_ms"`
	SwitchedMS int64               `json:"switched_ms"`
}

func promotedJSON(p *app.Promoted) promoted {
	return promoted{
		Model: p.Model, Digest: p.Digest, Before: p.Before, Ended: p.Ended, Update: string(p.Update), Group: p.Group, Epoch: p.Epoch, Instances: p.Instances,
		Partitions: append([]rollout.Partition{}, p.Partitions...), ReadyMS: p.Ready.Milliseconds(), SwitchedMS: p.Switched.Milliseconds(),
	}
}
