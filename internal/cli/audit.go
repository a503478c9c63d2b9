package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
)

// logOptions are the flags of model log.
type logOptions struct {
	at, since, until timeFlag
	model            string
}

func (c *cli) modelLog(models opener) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: "log", Short: "Show the audit log: who did what to which model, when and why; or what was live at a time", Args: noArgs,
		Long: `Log prints every event of the registry, the oldest first. The events are chained: reading them checks that none was
changed or taken out.

With --at it says instead what was live at a time, and who let it: for each model the champion of then, who promoted and
who approved it and why, and who registered it. Events are in the order of their numbers, and the clocks of their writers
may differ: an event happened at the latest time that it or one before it has.

A TIME is as in 2026-01-31T12:00:00Z, 2026-01-31 12:00 or 2026-01-31, which is its beginning; without a zone it is UTC.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.at.set && (o.since.set || o.until.set) {
				return usage(cmd, errors.New("--at goes with neither --since nor --until"))
			}
			m, err := models()
			if err != nil {
				return err
			}
			if o.at.set {
				return c.modelLogAt(cmd.Context(), m, &o)
			}
			events, err := m.Registry.Log(cmd.Context())
			if err != nil {
				return err
			}
			return c.printLog(o.filter(events))
		},
	}
	cmd.Flags().Var(&o.at, "at", "show what was live at this `time`")
	cmd.Flags().Var(&o.since, "since", "only events of this `time` or later")
	cmd.Flags().Var(&o.until, "until", "only events of this `time` or earlier")
	cmd.Flags().StringVar(&o.model, "model", "", "only the model of this `name`")
	c.jsonFlag(cmd, "the events")
	return cmd
}

// timeFlag is a flag that holds a time.
type timeFlag struct {
	time.Time

	set bool
}

// Set reads a time.
func (f *timeFlag) Set(text string) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			f.Time, f.set = t.UTC(), true
			return nil
		}
	}
	return errors.New("want a time such as 2026-01-31T12:00:00Z or 2026-01-31")
}

// String returns the time.
func (f *timeFlag) String() string {
	if !f.set {
		return ""
	}
	return f.Format(time.RFC3339)
}

// Type returns what the flag wants.
func (f *timeFlag) Type() string { return "time" }

func (o *logOptions) filter(events []registry.Event) []registry.Event {
	var list []registry.Event
	for _, e := range events {
		if (o.model == "" || o.model == e.Model) && (!o.since.set || !e.Time.Before(o.since.Time)) && (!o.until.set || !e.Time.After(o.until.Time)) {
			list = append(list, e)
		}
	}
	return list
}

// loggedEvent is an event as model log --json prints it: with its sum.
type loggedEvent struct {
	registry.Event

	Sum string `json:"sum"`
}

func (c *cli) printLog(events []registry.Event) error {
	if c.json {
		list := make([]loggedEvent, 0, len(events))
		for _, e := range events {
			list = append(list, loggedEvent{e, e.Sum})
		}
		return c.printJSON(list)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEQ\tTIME\tWHO\tACTION\tMODEL\tREASON") //nolint:errcheck // Flush reports it
	for _, e := range events {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.Time.Format(time.RFC3339), as(e.Actor, e.Role), e.Action, subject(&e), cmp.Or(why(&e), "-")) //nolint:errcheck // Flush reports it
	}
	return w.Flush()
}

// subject returns what an event is about.
func subject(e *registry.Event) string {
	if e.Action == registry.RootSet {
		return fmt.Sprintf("root %d", e.Version)
	}
	return e.Ref()
}

// liveAt is what model log --at --json prints.
type liveAt struct {
	Time   time.Time   `json:"time"`
	Events int         `json:"events"`
	Head   string      `json:"head"`
	Root   int         `json:"root,omitempty"`
	Later  int         `json:"later,omitempty"`
	Models []liveModel `json:"models"`
}

type liveModel struct {
	Model      string         `json:"model"`
	Champion   *listedVersion `json:"champion"`
	Registered *loggedEvent   `json:"registered,omitempty"`
	Promoted   *loggedEvent   `json:"promoted,omitempty"`
	Ended      *loggedEvent   `json:"ended,omitempty"`
}

func (c *cli) modelLogAt(ctx context.Context, m *app.Models, o *logOptions) error {
	at, err := m.Registry.At(ctx, o.at.Time)
	if err != nil {
		return err
	}
	result := liveAt{Time: at.Time, Events: at.Events, Head: at.Sum, Root: at.Root, Later: at.Later, Models: []liveModel{}}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("at %s, after %s", at.Time.Format(time.RFC3339), count(at.Events, "event"))
	if at.Events > 0 {
		line("  head  %s", at.Sum)
	}
	if at.Root > 0 {
		line("  root  %d", at.Root)
	}
	for i := range at.Models {
		if l := &at.Models[i]; o.model == "" || l.Model == o.model {
			result.Models = append(result.Models, liveJSON(l))
			printLive(line, l)
		}
	}
	if at.Later > 0 {
		c.note("clocks differ: event %d is dated after that time, and %s behind it not: if its clock was ahead, they count too; see millrace model log\n",
			at.Events+1, count(at.Later, "event"))
	}
	if c.json {
		return c.printJSON(result)
	}
	_, err = fmt.Fprint(c.out, b.String())
	return err
}

func liveJSON(l *registry.Live) liveModel {
	m := liveModel{Model: l.Model}
	if l.Champion != nil {
		v := listed(*l.Champion)
		m.Champion = &v
		m.Registered = &loggedEvent{l.Registered, l.Registered.Sum}
		m.Promoted = &loggedEvent{l.Promoted, l.Promoted.Sum}
	}
	if l.Ended != nil {
		m.Ended = &loggedEvent{*l.Ended, l.Ended.Sum}
	}
	return m
}

func printLive(line func(string, ...any), l *registry.Live) {
	did := func(what string, at time.Time, who string, seq int, reason string) {
		line("%s", strings.TrimSuffix(fmt.Sprintf("  %-10s  %s by %s, event %d: %s", what, at.Format(time.RFC3339), who, seq, reason), ": "))
	}
	if v := l.Champion; v != nil {
		line("\n%s  %s", v.Ref(), v.Digest)
		did("promoted", l.Promoted.Time, as(l.Promoted.Actor, l.Promoted.Role), l.Promoted.Seq, l.Promoted.Reason)
		for _, a := range v.Approvals {
			did("approved", a.At, as(a.By, a.Role), a.Seq, a.Reason)
		}
		did("registered", l.Registered.Time, l.Registered.Actor, l.Registered.Seq, "")
		return
	}
	line("\n%s has no champion", l.Model)
	if e := l.Ended; e != nil {
		did(string(e.Action), e.Time, e.Actor, e.Seq, e.Reason)
	}
}

// verified is what model verify --json prints.
type verified struct {
	Events int    `json:"events"`
	Blobs  int    `json:"blobs"`
	Signed int    `json:"signed,omitempty"`
	Purged int    `json:"purged,omitempty"`
	Head   string `json:"head"`
}

func (c *cli) modelVerify(models opener) *cobra.Command {
	var head string
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every event and every model of the registry, byte for byte", Args: noArgs,
		Long: `Verify reads the whole registry and stops at the first event or model that is not what was written, or at the first
signature that is not right. Keep the head that it prints somewhere else: with --head it checks that the log still goes
through it, so that nothing before it was changed, and its end was not cut off.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("head") {
				if err := m.Registry.GoesThrough(cmd.Context(), head); err != nil {
					return err
				}
			}
			r, err := m.Registry.Verify(cmd.Context())
			if err != nil {
				return err
			}
			c.note("%s and %s are as they were written\n", count(r.Events, "event"), count(r.Blobs, "model"))
			if r.Purged > 0 {
				c.note("%s gone on purpose\n", count(r.Purged, "model"))
			}
			if m.Root != "" {
				c.note("%s, each by someone who might\n", count(r.Signed, "signature"))
			}
			c.note("head %s\n", r.Head)
			if c.json {
				return c.printJSON(verified{Events: r.Events, Blobs: r.Blobs, Signed: r.Signed, Purged: r.Purged, Head: r.Head})
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&head, "head", "", "the `sum` of an earlier head, which the log has to go through")
	c.jsonFlag(cmd, "the result")
	return cmd
}
