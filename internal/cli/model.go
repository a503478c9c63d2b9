package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

func (c *cli) modelCommand() *cobra.Command {
	var o app.ModelsOptions
	cmd := group(&cobra.Command{
		Use:   "model COMMAND",
		Short: "List, show, approve, reject and promote models",
		Long: `A model is named NAME@VERSION (house-prices@3), or by an alias: NAME@candidate is the newest version that waits for
review, NAME@champion the one that was promoted last. With a pipeline file at hand NAME can be left out: @champion.`,
	})
	c.registryFlags(cmd, &o)
	models := func() (*app.Models, error) {
		o.File = c.file
		return c.app().Models(o)
	}
	cmd.AddCommand(c.modelList(models), c.modelShow(models), c.modelDiff(&o), c.modelLog(models), c.modelVerify(models),
		c.modelDecide(models, "approve", "Approve a model; it becomes the champion if there is none", (*registry.Registry).Approve),
		c.modelDecide(models, "reject", "Reject a model for good", (*registry.Registry).Reject),
		c.modelDecide(models, "retire", "Retire a model that is not to run any more; approving it brings it back", (*registry.Registry).Retire),
		c.modelPromote(&o), c.modelRollback(&o),
		c.modelGC(models), c.modelExport(models), c.modelImport(models, &o))
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
	// Gates are the outcomes of the gates that it met in training.
	Gates  []registry.Gate `json:"gates,omitempty"`
	Purged bool            `json:"purged,omitempty"`
	Trials []listedTrial   `json:"trials,omitempty"`
	// Tags and Description are what people and programs have noted of it.
	Tags        map[string]string `json:"tags,omitempty"`
	Description string            `json:"description,omitempty"`

	Approvals []listedApproval `json:"approvals,omitempty"`
	Wants     string           `json:"wants,omitempty"`
	Ignored   []listedIgnored  `json:"ignored,omitempty"`
}

// listedApproval is an approval that counts.
type listedApproval struct {
	Seq    int       `json:"seq"`
	By     string    `json:"by"`
	Role   string    `json:"role,omitempty"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Key    string    `json:"key,omitempty"`
}

// listedIgnored is an event that does not count.
type listedIgnored struct {
	Seq int    `json:"seq"`
	Why string `json:"why"`
}

func listed(v registry.Version) listedVersion {
	l := listedVersion{
		Model: v.Ref(), State: string(v.State), Aliases: append([]string{}, v.Aliases...), Digest: v.Digest, Bytes: v.Bytes,
		RegisteredBy: v.RegisteredBy, RegisteredAt: v.RegisteredAt, DecidedBy: v.DecidedBy, Reason: v.Reason, Purged: v.Purged, Gates: v.Gates,
	}
	if !v.DecidedAt.IsZero() {
		l.DecidedAt = &v.DecidedAt
	}
	l.Wants, l.Trials = v.Wants, listedTrials(v)
	l.Tags, l.Description = v.Notes.Tags, v.Notes.Description
	for _, a := range v.Approvals {
		l.Approvals = append(l.Approvals, listedApproval(a))
	}
	for _, i := range v.Ignored {
		l.Ignored = append(l.Ignored, listedIgnored{i.Seq, app.Message(i.Err)})
	}
	return l
}

func (c *cli) modelList(models opener) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the versions of every model", Args: noArgs,
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
				c.note("no model is registered in %s: millrace train registers one\n", m.Dir)
				return nil
			}
			return c.printVersions(versions)
		},
	}
	c.jsonFlag(cmd, "the list")
	return cmd
}

// printVersions prints a table. A cell without content is a hyphen, so that programs can count the columns.
func (c *cli) printVersions(versions []registry.Version) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODEL\tSTATE\tALIAS\tREGISTERED\tBY\tDECIDED BY\tREASON") //nolint:errcheck // Flush reports it
	for _, v := range versions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Ref(), v.State, cmp.Or(aliases(v), "-"), v.RegisteredAt.Format(time.RFC3339), //nolint:errcheck // Flush reports it
			v.RegisteredBy, cmp.Or(v.DecidedBy, "-"), cmp.Or(v.Reason, v.Wants, "-"))
	}
	return w.Flush()
}

// aliases returns the aliases of v, and its share in trials, as they are written, with a comma between them.
func aliases(v registry.Version) string {
	var list []string
	for _, a := range v.Aliases {
		list = append(list, "@"+a)
	}
	return strings.Join(append(list, onTrial(v)...), ",")
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
		Use: "show MODEL", Short: "Show what a model was made of, what it is worth, and who decided what", Args: oneArg("MODEL"),
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
	line := func(format string, args ...any) {
		for i := range args { // what a bundle says must not look like what millrace says of it
			if s, ok := args[i].(string); ok {
				args[i] = oneLine(s)
			}
		}
		fmt.Fprintf(&w, format+"\n", args...)
	}
	line("%s", strings.TrimSpace(fmt.Sprintf("%s  %s  %s", v.Ref(), v.State, aliases(v))))
	if v.Wants != "" {
		line("  approval    %s", v.Wants)
	}
	line("  digest      %s, %s bytes", v.Digest, grouped(v.Bytes))
	line("  predicts    %s, into the field %s", b.Manifest.Label, b.Manifest.SinkField)
	r := b.Lineage.Rows
	line("  data        %s, %s", b.Lineage.DataName, b.Lineage.DataDigest)
	if l := b.Lineage.Labels; l != nil {
		line("  labels      %s of %s, %s", l.Field, l.DataName, l.DataDigest)
	}
	for _, t := range b.Lineage.Tables {
		line("  table       %s, of %s, %s", t.Name, t.DataName, t.DataDigest)
	}
	if m := b.Lineage.Imported; m != nil {
		line("  imported    %s, of %s, %s", m.Name, strings.TrimSpace(m.Format+" "+m.Version), m.Digest)
	}
	line("  rows        %s read, %s excluded, %s train, %s validation, %s test", grouped(int64(r.Read)), grouped(int64(r.Excluded)),
		grouped(int64(r.Train)), grouped(int64(r.Validation)), grouped(int64(r.Test)))
	for _, x := range r.Reasons {
		line("              %8s excluded: %s", grouped(int64(x.Rows)), x.Reason)
	}
	if run := runOf(&b.Lineage); run != "" {
		line("  run         %s", run)
	}
	line("  parameters  %s", string(b.Lineage.Params))
	line("  trees       %d", b.Forest.Trees())
	line("  golden rows %d", len(b.Golden))
	w.WriteString("\n" + scoreTable(&b.Metrics) + "\n")
	width := len("input")
	for _, in := range b.Inputs {
		width = max(width, utf8.RuneCountInString(oneLine(in.Name)))
	}
	line("  %-*s  %-7s %7s %11s", width, "input", "type", "levels", "importance")
	for _, in := range b.Inputs {
		levels := "-"
		if in.Levels > 0 {
			levels = strconv.Itoa(in.Levels)
		}
		line("  %-*s  %-7s %7s %10.1f%%", width, oneLine(in.Name), in.Type, levels, 100*in.Importance)
	}
	if len(b.Lineage.Features) > 0 {
		line("\n  features")
		for _, f := range b.Lineage.Features {
			line("    %s: %s", f.Name, f.Expr)
		}
	}
	if v.Notes.Description != "" {
		line("\n  description")
		for text := range strings.Lines(v.Notes.Description) {
			line("    %s", strings.TrimRight(text, "\r\n"))
		}
	}
	if len(v.Notes.Tags) > 0 {
		line("\n  tags")
		for _, key := range slices.Sorted(maps.Keys(v.Notes.Tags)) {
			line("    %s: %s", key, v.Notes.Tags[key])
		}
	}
	if len(v.Gates) > 0 {
		line("\n  gates")
		for _, g := range v.Gates {
			verdict := "passed "
			if !g.Passed {
				verdict = "REFUSED"
			}
			line("    %s  %s: %s", verdict, g.Name, g.Words)
		}
	}
	line("\n  log")
	for _, e := range s.Events {
		line("    %s", strings.TrimSuffix(fmt.Sprintf("%s  %s by %s: %s", e.Time.Format(time.RFC3339), e.Action, as(e.Actor, e.Role), why(&e)), ": "))
		for _, said := range trialLines(e.Trial) {
			line("      %s", said)
		}
	}
	for _, i := range v.Ignored {
		line("    %s", app.Message(i.Err))
	}
	_, err := fmt.Fprint(c.out, w.String())
	return err
}

// runOf says which run of a scheduler a model is of; "" if of none.
func runOf(l *model.Lineage) string {
	var parts []string
	if l.RunID != "" {
		parts = append(parts, oneLine(l.RunID))
	}
	if !l.DataTo.IsZero() {
		parts = append(parts, "of "+app.Interval{From: l.DataFrom, To: l.DataTo}.String())
	}
	return strings.Join(parts, ", ")
}

type decision func(r *registry.Registry, ctx context.Context, ref, defaultModel string, d registry.Decision) (registry.Version, error)

func (c *cli) modelDecide(models opener, verb, short string, decide decision) *cobra.Command {
	var d registry.Decision
	cmd := &cobra.Command{
		Use: verb + " MODEL --by NAME --reason TEXT", Short: short, Args: c.decisionArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			v, err := decide(m.Registry, cmd.Context(), args[0], m.Name, d)
			if err != nil {
				return err
			}
			c.printDecided(cmd.Context(), m, v)
			if c.json {
				return c.printJSON(listed(v))
			}
			return nil
		},
	}
	c.decisionFlags(cmd, &d)
	if verb == "approve" {
		cmd.Flags().StringVar(&d.Role, "role", "", "the `role` that you approve in (default: the first of yours that is still missing)")
	}
	c.jsonFlag(cmd, "the version")
	return cmd
}

// printDecided tells what a decision has changed, and what comes next.
func (c *cli) printDecided(ctx context.Context, m *app.Models, v registry.Version) {
	if n := len(v.Approvals); v.Wants != "" && n > 0 {
		a := v.Approvals[n-1]
		c.note("%s is approved by %s: %s\nit is still a %s: %s\n", v.Ref(), as(a.By, a.Role), a.Reason, v.State, v.Wants)
		return
	}
	c.note("%s is %s, by %s: %s\n", v.Ref(), v.State, v.DecidedBy, v.Reason)
	champion, err := m.Registry.Resolve(ctx, v.Model+"@"+registry.AliasChampion, "")
	switch {
	case errors.Is(err, registry.ErrNotApproved) && v.State == registry.StateApproved: // who approves may not promote
		c.note("%s has no champion; next:\n  millrace model promote %s%s %s\n", v.Model, v.Ref(), c.pipelineOf(m, v), who(m.Root != ""))
	case errors.Is(err, registry.ErrNotApproved):
		c.note("%s has no champion: run does not start until a version is approved; what runs already goes on\n", v.Model)
	case err != nil || v.State != registry.StateApproved: // nothing comes next
	case champion.Number != v.Number:
		c.note("%s stays the champion; next:\n  millrace model promote %s%s %s\n", champion.Ref(), v.Ref(), c.pipelineOf(m, v), who(m.Root != ""))
	default:
		c.note("it is %s@%s now: a run that is up keeps its model until another is promoted; next:\n  millrace run%s\n", v.Model, registry.AliasChampion, c.pipelineOf(m, v))
	}
}

// pipelineOf returns the flag that names the pipeline file of a version, "" where it need not be named.
func (c *cli) pipelineOf(m *app.Models, v registry.Version) string {
	if m.Name != v.Model {
		return " -f PIPELINE"
	}
	return fileFlag(c.file)
}
