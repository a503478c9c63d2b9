package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

func (c *cli) modelCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "model",
		Short: "List, show, approve and reject models",
		Long: `A model is named NAME@VERSION (house-prices@3), or by an alias: NAME@candidate is the newest version that waits for
review, NAME@champion the one that was approved last. With a pipeline file at hand NAME can be left out: @champion.`,
		Args: args(cobra.NoArgs),
	}
	cmd.PersistentFlags().StringVarP(&c.file, "file", "f", "pipeline.yaml", "the pipeline file that names the registry")
	cmd.PersistentFlags().StringVar(&dir, "registry", "", "the registry's folder (default: that of the pipeline file)")
	models := func() (*app.Models, error) { return c.app().Models(dir, c.file) }
	cmd.AddCommand(c.modelList(models), c.modelShow(models),
		c.modelDecide(models, "approve", "Approve a model, which makes it the champion", (*registry.Registry).Approve),
		c.modelDecide(models, "reject", "Reject a model for good", (*registry.Registry).Reject))
	return cmd
}

type opener func() (*app.Models, error)

// listedVersion is a version as model list --json prints it.
type listedVersion struct {
	Model        string     `json:"model"`
	State        string     `json:"state"`
	Aliases      []string   `json:"aliases"`
	Digest       string     `json:"digest"`
	Bytes        int64      `json:"bytes"`
	RegisteredBy string     `json:"registered_by"`
	RegisteredAt time.Time  `json:"registered_at"`
	DecidedBy    string     `json:"decided_by,omitempty"`
	DecidedAt    *time.Time `json:"decided_at,omitempty"`
	Reason       string     `json:"reason,omitempty"`
}

func listed(v registry.Version) listedVersion {
	l := listedVersion{
		Model: v.Ref(), State: string(v.State), Aliases: append([]string{}, v.Aliases...), Digest: v.Digest, Bytes: v.Bytes,
		RegisteredBy: v.RegisteredBy, RegisteredAt: v.RegisteredAt, DecidedBy: v.DecidedBy, Reason: v.Reason,
	}
	if !v.DecidedAt.IsZero() {
		l.DecidedAt = &v.DecidedAt
	}
	return l
}

func (c *cli) modelList(models opener) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the versions of every model", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			versions, err := m.Registry.List(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				list := make([]listedVersion, 0, len(versions))
				for _, v := range versions {
					list = append(list, listed(v))
				}
				return c.printJSON(list)
			}
			if len(versions) == 0 {
				c.note("no model is registered: millrace train registers one\n")
				return nil
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "MODEL\tSTATE\tALIAS\tREGISTERED\tBY\tDECIDED BY\tREASON") //nolint:errcheck // Flush reports it
			for _, v := range versions {
				alias := ""
				var aliasSb90 strings.Builder
				for _, a := range v.Aliases {
					aliasSb90.WriteString("@" + a + " ")
				}
				alias += aliasSb90.String()
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Ref(), v.State, strings.TrimSpace(alias), //nolint:errcheck // Flush reports it
					v.RegisteredAt.Format(time.DateTime), v.RegisteredBy, v.DecidedBy, v.Reason)
			}
			return w.Flush()
		},
	}
	c.jsonFlag(cmd, "the list")
	return cmd
}

// shownModel is a model as model show --json prints it.
type shownModel struct {
	listedVersion

	Manifest model.Manifest   `json:"manifest"`
	Metrics  model.Metrics    `json:"metrics"`
	Inputs   []model.Input    `json:"inputs"`
	Lineage  model.Lineage    `json:"lineage"`
	Plan     json.RawMessage  `json:"plan"`
	Trees    int              `json:"trees"`
	Golden   int              `json:"golden_rows"`
	Log      []registry.Event `json:"log"`
}

func (c *cli) modelShow(models opener) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show MODEL", Short: "Show what a model was made of, what it is worth, and who decided what", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			s, err := m.Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !c.json {
				return c.printShown(s)
			}
			plan, err := s.Bundle.Plan.MarshalBinary()
			if err != nil {
				return err
			}
			return c.printJSON(shownModel{
				listedVersion: listed(s.Version), Manifest: s.Bundle.Manifest, Metrics: s.Bundle.Metrics, Inputs: s.Bundle.Inputs,
				Lineage: s.Bundle.Lineage, Plan: plan, Trees: s.Bundle.Forest.Trees(), Golden: len(s.Bundle.Golden), Log: s.Events,
			})
		},
	}
	c.jsonFlag(cmd, "all of it")
	return cmd
}

func (c *cli) printShown(s *app.Shown) error {
	v, b := s.Version, s.Bundle
	var w strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	line("%s  %s  %s", v.Ref(), v.State, strings.Join(v.Aliases, " "))
	line("  digest      %s, %s bytes", v.Digest, grouped(v.Bytes))
	line("  predicts    %s, into the field %s", b.Manifest.Label, b.Manifest.SinkField)
	r := b.Lineage.Rows
	line("  data        %s, %s", b.Lineage.DataName, b.Lineage.DataDigest)
	line("  rows        %d read, %d excluded, %d train, %d validation, %d test", r.Read, r.Excluded, r.Train, r.Validation, r.Test)
	for _, x := range r.Reasons {
		line("              %6d excluded: %s", x.Rows, x.Reason)
	}
	line("  parameters  %s", b.Lineage.Params)
	line("  trees       %d", b.Forest.Trees())
	line("  golden rows %d", len(b.Golden))
	line("\n  %-11s %8s %14s %14s %8s", "part", "rows", "rmse", "mae", "r2")
	for _, p := range parts(&b.Metrics) {
		line("  %-11s %8d %14s %14s %8.4f", p.name, p.scores.Rows, number(p.scores.RMSE), number(p.scores.MAE), p.scores.R2)
	}
	line("\n  %-24s %-8s %7s %11s", "input", "type", "levels", "importance")
	for _, in := range b.Inputs {
		levels := "-"
		if in.Levels > 0 {
			levels = strconv.Itoa(in.Levels)
		}
		line("  %-24s %-8s %7s %10.1f%%", in.Name, in.Type, levels, 100*in.Importance)
	}
	if len(b.Lineage.Features) > 0 {
		line("\n  features")
		for _, f := range b.Lineage.Features {
			line("    %s: %s", f.Name, f.Expr)
		}
	}
	line("\n  log")
	for _, e := range s.Events {
		line("    %s  %s by %s  %s", e.Time.Format(time.DateTime), e.Action, e.Actor, e.Reason)
	}
	_, err := fmt.Fprint(c.out, w.String())
	return err
}

type part struct {
	name   string
	scores model.Scores
}

func parts(m *model.Metrics) []part {
	return []part{{"train", m.Train}, {"validation", m.Validation}, {"test", m.Test}}
}

type decision func(r *registry.Registry, ctx context.Context, ref, defaultModel, by, reason string) (registry.Version, error)

func (c *cli) modelDecide(models opener, verb, short string, decide decision) *cobra.Command {
	var by, reason string
	cmd := &cobra.Command{
		Use: verb + " MODEL --by NAME --reason TEXT", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			v, err := decide(m.Registry, cmd.Context(), args[0], m.Name, by, reason)
			if err != nil {
				return err
			}
			c.note("%s is %s, by %s: %s\n", v.Ref(), v.State, v.DecidedBy, v.Reason)
			if v.State == registry.StateApproved {
				c.note("next: millrace run -f %s\n", c.file)
			}
			if c.json {
				return c.printJSON(listed(v))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "who decides (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	c.jsonFlag(cmd, "the version")
	for _, f := range []string{"by", "reason"} {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err)
		}
	}
	return cmd
}
