package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/anomaly"
	"millrace.dev/internal/app"
	"millrace.dev/internal/chart"
	"millrace.dev/internal/report"
	"millrace.dev/profile"
)

// profiling is what the command line of profile says.
type profiling struct {
	app.DiffOptions

	diff, html, fail bool
	out              string // of --html
}

func (c *cli) profileCommand() *cobra.Command {
	var o profiling
	cmd := &cobra.Command{
		Use:   "profile DATA [--html [FILE]] | profile --diff A B [--fail] [--html [FILE]]",
		Short: "Show what data looks like, what is odd about it, and how it differs from other data",
		Long: `Profile reads data once and says for each column how many values are missing, their range and mean, how many differ and
how they are distributed, and what is odd. DATA is a file (.csv, .jsonl or .parquet, the first two also with .gz or .zst
behind), a pattern of files ('2014-*.csv.gz'), the range of a topic (topic://NAME?from=2014-05-01&to=2014-06-01), a model
(NAME@VERSION, @ALIAS, or a .millrace file), whose training data is shown, or a profile that --json has written. Types are
those of the pipeline file that -f names; without one they are inferred, and it says why.

With --diff the records of B are counted into the bins of A, and the columns are listed by how far they moved. A column
failed if so large a difference comes by chance in one of a hundred comparisons, over all columns together. The exit code
is 0 all the same; with --fail it is 3 if a column failed, is missing, or has values of another kind.

With --html it is a page with charts, in one file that needs no other: --html FILE writes it to a file, --html alone to
standard output.`,
		Args: o.take,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notNegative(cmd, "threads", o.Threads); err != nil {
				return err
			}
			if o.diff {
				return c.diffProfiles(cmd, &o)
			}
			d, err := c.app().Describe(cmd.Context(), o.ProfileOptions)
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(d)
			case o.html:
				return c.page(o.out, func(w io.Writer) error { return report.Profile(w, d.Profile, d.Of, oddities(d.Anomalies)) })
			}
			return c.printProfile(d)
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&o.File, "file", "f", "", "the pipeline `file` that declares the fields (default: none, types are inferred)")
	cmd.Flags().StringArrayVar(&o.Set, "set", nil, "override a `key=value` of the pipeline file; can be repeated")
	cmd.Flags().StringVar(&o.Registry, "registry", "", "the registry: a `folder`, or s3://BUCKET/PREFIX (default: that of the pipeline file)")
	cmd.Flags().StringVar(&o.Key, "key", "", "the `field` whose values should all differ (default: source.key of the pipeline file)")
	cmd.Flags().BoolVar(&o.Exact, "exact", false, "count all rows into bins, and read data of more than 16,384 rows twice for that")
	cmd.Flags().BoolVar(&o.diff, "diff", false, "compare the second data with the first")
	cmd.Flags().BoolVar(&o.fail, "fail", false, "with --diff: exit with 3 if a column moved")
	cmd.Flags().BoolVar(&o.html, "html", false, "write a page with charts: to the file that follows, else to standard output")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of threads; the profile is the same for any (default: one for each processor)")
	c.jsonFlag(cmd, "all of it")
	return cmd
}

// take takes the arguments: what to show, and where to.
func (o *profiling) take(cmd *cobra.Command, args []string) error {
	want := []string{"DATA"}
	if o.diff {
		want = []string{"A", "B"}
	}
	if len(args) < len(want) {
		return usage(cmd, fmt.Errorf("the argument %s is missing", want[len(args)]))
	}
	most := len(want)
	if o.html {
		most++
	}
	if err := atMost(cmd, args, most); err != nil {
		return err
	}
	if o.html && cmd.Flags().Changed("json") {
		return usage(cmd, errors.New("give one of --json and --html"))
	}
	if o.fail && !o.diff {
		return usage(cmd, errors.New("--fail is for --diff"))
	}
	o.Of, o.out = args[0], "-"
	if o.diff {
		o.With = args[1]
	}
	if len(args) > len(want) {
		o.out = args[len(want)]
	}
	return nil
}

// page writes a page to a file, or to standard output.
func (c *cli) page(path string, write func(io.Writer) error) error {
	if err := app.WriteFile(path, c.out, write); err != nil {
		return err
	}
	if path != "-" {
		c.note("wrote %s\n", path)
	}
	return nil
}

// oddities lists the words of anomalies by column; those of the data as a whole are under "".
func oddities(list []anomaly.Anomaly) map[string][]string {
	out := map[string][]string{}
	for _, a := range list {
		out[a.Column] = append(out[a.Column], a.Words)
	}
	return out
}

func (c *cli) printProfile(d *app.Described) error {
	var w bytes.Buffer
	head(&w, d)
	w.WriteString("\n")
	if err := report.ProfileText(&w, d.Profile); err != nil {
		return err
	}
	if d.Sampled {
		w.WriteString("\ndistributions are those of 16,384 rows drawn at random; --exact counts all\n")
	}
	schemaText(&w, d.Schema)
	keysText(&w, d.Keys)
	anomaliesText(&w, d.Anomalies)
	_, err := w.WriteTo(c.out)
	return err
}

// head says what data is shown.
func head(w *bytes.Buffer, d *app.Described) {
	switch d.Kind {
	case "model":
		fmt.Fprintf(w, "%s: the training data, %s\n", oneLine(d.Of), count(int(d.Records), "row"))
	case "profile":
		fmt.Fprintf(w, "%s: a profile of %s\n", oneLine(d.Of), count(int(d.Profile.Rows), "row"))
	default:
		fmt.Fprintf(w, "%s: %s, %s\n", oneLine(d.Of), count(int(d.Records), "record"), d.Format)
	}
	if bad := d.Records - d.Profile.Rows; bad > 0 && d.Kind == "data" {
		fmt.Fprintf(w, "%s cannot be decoded:\n", count(int(bad), "record"))
		for _, r := range d.Rejected {
			reason := r.Class
			if r.Field != "" {
				reason += " in " + oneLine(r.Field)
			}
			fmt.Fprintf(w, "  %8s  %s\n", grouped(int64(r.Rows)), reason)
		}
	}
}

func schemaText(w *bytes.Buffer, s *app.DescribedSchema) {
	if s == nil {
		return
	}
	if s.Declared != "" {
		fmt.Fprintf(w, "\nTypes: those of %s\n", oneLine(s.Declared))
		return
	}
	fmt.Fprintf(w, "\nTypes, inferred from %s\n", count(s.Looked, "record"))
	rows := &steps{}
	var lines [][]string
	for _, c := range s.Columns {
		lines = append(lines, []string{oneLine(c.Name), c.Kind, oneLine(c.Why)})
	}
	rows.table(lines)
	w.WriteString(rows.String())
}

func keysText(w *bytes.Buffer, k *app.DescribedKeys) {
	if k == nil {
		return
	}
	about := ""
	if !k.Exact {
		about = "about "
	}
	fmt.Fprintf(w, "\nKeys in %s: %s, %s%s\n", oneLine(k.Field), count(int(k.Rows), "row"), about, count(int(k.Distinct), "different key"))
}

func anomaliesText(w *bytes.Buffer, list []anomaly.Anomaly) {
	if len(list) == 0 {
		w.WriteString("\nNothing is odd\n")
		return
	}
	fmt.Fprintf(w, "\nOdd\n")
	name, class := 0, 0
	for _, a := range list {
		name, class = max(name, columns(shownColumn(a.Column))), max(class, columns(a.Class))
	}
	for _, a := range list {
		fmt.Fprintf(w, "  %s  %s  %s\n", padded(shownColumn(a.Column), name), padded(a.Class, class), oneLine(a.Words))
	}
}

// shownColumn is the name of a column as a list has it.
func shownColumn(name string) string {
	const most = 24
	if name == "" {
		return "(all)"
	}
	if r := []rune(oneLine(name)); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return oneLine(name)
}

func (c *cli) diffProfiles(cmd *cobra.Command, o *profiling) error {
	d, err := c.app().Compare(cmd.Context(), o.DiffOptions)
	switch {
	case err != nil:
		return err
	case c.json:
		err = c.printJSON(d)
	case o.html:
		err = c.page(o.out, func(w io.Writer) error {
			return report.Diff(w, report.Side{Name: d.Reference.Of, Profile: d.Reference.Profile}, report.Side{Name: d.Data.Of, Profile: d.Data.Profile}, movements(d), marks(d))
		})
	default:
		err = c.printDiff(d)
	}
	if err != nil || !o.fail {
		return err
	}
	return d.Refuse()
}

// movements lists what is to be said of each column.
func movements(d *app.Compared) map[string][]string {
	out := oddities(d.Odd)
	for _, m := range d.Moved {
		out[m.Column] = append(m.Words, out[m.Column]...)
	}
	return out
}

// marks names the columns that moved further than chance explains; nil where nothing was judged.
func marks(d *app.Compared) map[string]bool {
	if d.Verdict.Skipped != "" {
		return nil
	}
	marked := map[string]bool{}
	for _, m := range d.Moved {
		marked[m.Column] = m.Severity != profile.OK
	}
	return marked
}

func (c *cli) printDiff(d *app.Compared) error {
	var w bytes.Buffer
	head(&w, d.Reference)
	head(&w, d.Data)
	for _, n := range d.Notes {
		fmt.Fprintf(&w, "note: %s\n", oneLine(n))
	}
	failed := 0
	rows := &steps{}
	lines := [][]string{{"column", "moved", "", "missing", "mean"}}
	for _, m := range d.Moved {
		mark := ""
		if m.Severity == profile.Fail {
			mark, failed = "✗", failed+1
		}
		a, _ := d.Reference.Profile.Column(m.Column)
		b := d.Column(m.Column)
		lines = append(lines, []string{shownColumn(m.Column), distanceText(m.Distance), mark, arrow(missingText(a), missingText(b)), arrow(meanText(a), meanText(b))})
	}
	rows.table(lines)
	fmt.Fprintf(&w, "\n%s", rows.String())
	switch {
	case d.Verdict.Skipped != "":
		fmt.Fprintf(&w, "\nno column was judged: %s\n", d.Verdict.Skipped)
	case failed == 0:
		fmt.Fprintf(&w, "\nno column moved further than chance explains\n")
	default:
		fmt.Fprintf(&w, "\n%s moved further than chance explains (✗)\n", count(failed, "column"))
	}
	for _, m := range d.Moved {
		for _, words := range m.Words {
			fmt.Fprintf(&w, "  %s\n", oneLine(words))
		}
	}
	anomaliesText(&w, d.Odd)
	_, err := w.WriteTo(c.out)
	return err
}

func distanceText(x *float64) string {
	if x == nil {
		return "-"
	}
	return strconv.FormatFloat(*x, 'f', 3, 64)
}

func missingText(c *profile.Column) string { return chart.Percent(c.MissingShare()) }

func arrow(a, b string) string {
	if a == b {
		return a
	}
	return strings.Join([]string{a, b}, " → ")
}

// meanText writes the mean of a column of numbers.
func meanText(c *profile.Column) string {
	if c.Kind != profile.Number {
		return "-"
	}
	return chart.Short(c.Mean)
}
