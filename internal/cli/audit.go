package cli

import (
	"cmp"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) modelLog(models opener) *cobra.Command {
	cmd := &cobra.Command{
		Use: "log", Short: "Show the audit log: who did what to which model, when and why", Args: noArgs,
		Long: `Log prints every event of the registry, the oldest first. The events are chained: reading them checks that none was
changed or taken out.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			events, err := m.Registry.Log(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(events)
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SEQ\tTIME\tWHO\tACTION\tMODEL\tREASON") //nolint:errcheck // Flush reports it
			for _, e := range events {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s@%d\t%s\n", e.Seq, e.Time.Format(time.RFC3339), e.Actor, e.Action, e.Model, e.Version, cmp.Or(e.Reason, "-")) //nolint:errcheck // Flush reports it
			}
			return w.Flush()
		},
	}
	c.jsonFlag(cmd, "the events")
	return cmd
}

// verified is what model verify --json prints.
type verified struct {
	Events int    `json:"events"`
	Blobs  int    `json:"blobs"`
	Head   string `json:"head"`
}

func (c *cli) modelVerify(models opener) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every event and every model of the registry, byte for byte", Args: noArgs,
		Long: `Verify reads the whole registry and stops at the first event or model that is not what was written. Keep the head that
it prints somewhere else: as long as a later log goes through it, nothing before it was changed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			r, err := m.Registry.Verify(cmd.Context())
			if err != nil {
				return err
			}
			c.note("%s and %s are as they were written\nhead %s\n", count(r.Events, "event"), count(r.Blobs, "model"), r.Head)
			if c.json {
				return c.printJSON(verified{Events: r.Events, Blobs: r.Blobs, Head: r.Head})
			}
			return nil
		},
	}
	c.jsonFlag(cmd, "the result")
	return cmd
}
