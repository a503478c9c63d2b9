package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/query"
)

func (c *cli) queryCommand() *cobra.Command {
	var o app.QueryOptions
	var from, to, at, between string
	cmd := &cobra.Command{
		Use:   "query [STORE [KEY]]",
		Short: "Read the rows of a store of a pipeline that runs",
		Long: `Query asks an instance of a pipeline, or of an application of the stream library, for rows of a store: the row of KEY, or rows of
all keys in the order of their bytes. Without STORE it lists the stores. Any instance can be asked: it asks the others for what they
have. What is shown is committed, of each partition as of one commit, which is told below the rows.

The instance is that of --server, else that of query.http of the pipeline file. Times are milliseconds since 1970, or as in
2026-01-31T12:00:00Z. If there is no row of KEY the exit code is 99.`,
		Example: `  millrace query --server http://127.0.0.1:8090
  millrace query counts anna
  millrace query counts --from a --to b --limit 20
  millrace query per-hour anna --between 2026-01-31T00:00:00Z,2026-01-31T23:59:59Z`,
		Args: func(cmd *cobra.Command, args []string) error { return atMost(cmd, args, 2) },
		RunE: func(cmd *cobra.Command, args []string) error {
			o.File, o.Set = c.file, c.set
			if len(args) == 0 {
				return c.queryStores(cmd, o)
			}
			o.Store = args[0]
			if len(args) > 1 {
				o.Key = &args[1]
			}
			given := func(name string, value *string) *string {
				if cmd.Flags().Changed(name) {
					return value
				}
				return nil
			}
			o.From, o.To, o.At = given("from", &from), given("to", &to), given("at", &at)
			if cmd.Flags().Changed("between") {
				first, last, ok := strings.Cut(between, ",")
				if !ok {
					return usage(cmd, errors.New("--between: want two times with a comma between"))
				}
				o.Start, o.End = &first, &last
			}
			if o.Limit < 1 {
				return usage(cmd, errors.New("--limit: want a number of at least 1"))
			}
			if o.Bytes && o.Key == nil {
				return usage(cmd, errors.New("--bytes: want a KEY"))
			}
			return c.queryRows(cmd, o)
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the answer")
	f := cmd.Flags()
	f.StringVar(&o.Server, "server", "", "the `URL` of an instance (default: that of query.http of the pipeline file)")
	f.StringVar(&o.TokenFile, "token-file", "", "the `file` of the bearer token (default: $MILLRACE_TOKEN)")
	f.StringVar(&o.CAFile, "ca-file", "", "the `file` of the authorities of the instance's certificate (default: query.ca_file where the instance is that of the pipeline file, else those of the system)")
	f.StringVar(&o.CertFile, "cert-file", "", "the `file` of the certificate to show to the instance (default: none)")
	f.StringVar(&o.KeyFile, "key-file", "", "the `file` of its key")
	f.BoolVar(&o.Bytes, "bytes", false, "KEY is the bytes of a key, in base64")
	f.StringVar(&from, "from", "", "the first `key` (default: the first that there is)")
	f.StringVar(&to, "to", "", "the `key` before which to stop (default: after the last)")
	f.StringVar(&at, "at", "", "show the windows that hold a `time`")
	f.StringVar(&between, "between", "", "show the windows that start from a `time,time` up to the other, both included")
	f.StringVar(&o.Partition, "partition", "", "look at these `partitions`, with commas between (default: that of KEY, or all)")
	f.IntVar(&o.Limit, "limit", query.DefaultLimit, "the `number` of rows")
	f.StringVar(&o.After, "after", "", "go on from a `place`, which an answer before has told")
	f.BoolVar(&o.Partial, "partial", false, "show what can be read now, and say which partitions are missing")
	return cmd
}

func (c *cli) queryStores(cmd *cobra.Command, o app.QueryOptions) error {
	s, err := c.app().QueryStores(cmd.Context(), o)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(s)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STORE\tKIND\tOPERATOR\tPARTITIONS") //nolint:errcheck // Flush reports it
	for _, st := range s.Stores {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", oneLine(st.Name), st.Kind, oneLine(st.Operator), st.Partitions) //nolint:errcheck // Flush reports it
	}
	if err := w.Flush(); err != nil {
		return err
	}
	c.note("%s of %s, as %s says\n", count(len(s.Stores), "store"), oneLine(s.Application), oneLine(s.Instance))
	return nil
}

func (c *cli) queryRows(cmd *cobra.Command, o app.QueryOptions) error {
	a, err := c.app().QueryRows(cmd.Context(), o)
	if err != nil {
		return err
	}
	if c.json {
		err = c.printJSON(a)
	} else {
		err = c.printRows(a)
	}
	if err == nil && o.Key != nil && len(a.Rows) == 0 && a.Next == "" && len(a.Missing) == 0 {
		return &app.Error{Code: app.Nothing, Op: "query", Where: o.Store, Err: errors.New("there is no such row")}
	}
	return err
}

// printRows prints a table, and below it as of which commits it is.
func (c *cli) printRows(a *query.Answer) error {
	millis := func(t int64) string { return time.UnixMilli(t).UTC().Format("2006-01-02T15:04:05.999Z") }
	if len(a.Rows) > 0 {
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		head := "KEY\t"
		if a.Rows[0].Window != nil {
			head += "START\tEND\t"
		}
		damaged := 0
		fmt.Fprintln(w, head+"VALUE\tTIMESTAMP\tPARTITION") //nolint:errcheck // Flush reports it
		for _, r := range a.Rows {
			window := ""
			if r.Window != nil {
				window = millis(r.Window.Start) + "\t" + millis(r.Window.End) + "\t"
			}
			at := "-" // the rows of some stores have none
			if r.Timestamp != 0 {
				at = millis(r.Timestamp)
			}
			fmt.Fprintf(w, "%s\t%s%s\t%s\t%d\n", oneLine(string(r.Key)), window, oneLine(string(r.Value)), at, r.Partition) //nolint:errcheck // Flush reports it
			if r.Error != "" {
				damaged++
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if damaged > 0 {
			c.note("%s in base64, which the codecs cannot show: --json has the reasons\n", count(damaged, "row"))
		}
	}
	c.note("%s\n", count(len(a.Rows), "row"))
	for _, p := range a.Partitions {
		commit, behind := "the commit before it came to "+oneLine(p.Instance), ""
		if p.Committed != nil {
			commit = fmt.Sprintf("a commit of %s at %s", oneLine(p.Instance), p.Committed.Format(time.RFC3339Nano))
		}
		if p.Behind != nil {
			behind = ", " + grouped(*p.Behind) + " offsets behind"
		}
		c.note("  partition %d as of %s%s\n", p.Partition, commit, behind)
	}
	for _, m := range a.Missing {
		c.note("  partition %d is missing: %s\n", m.Partition, oneLine(m.Reason))
	}
	if a.Next != "" {
		c.note("  there may be more: --after %s\n", a.Next)
	}
	return nil
}
