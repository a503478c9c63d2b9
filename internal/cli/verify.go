package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/batch"
)

func (c *cli) verifyCommand() *cobra.Command {
	var o app.VerifyOptions
	cmd := &cobra.Command{
		Use:   "verify [PIPELINE]",
		Short: "Prove that a stream computes what batch computes",
		Long: `Verify reads the samples that millrace run --sample-features has written, computes all of them again in batch, and
compares bits, feature by feature. Each sample has the rows and aggregates that the stream had: with these the model of
the sample has to give the same inputs and the same prediction. With --history the records are also found in the data
that they are part of, and all is computed from there: windows from the records before, rows as of the event time.

It exits with 0 where everything is the same, with 3 where anything is not, and with 99 where there are no samples.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "examples", o.Examples); err != nil {
				return err
			}
			c.pipelineArg(args)
			o.File, o.Set = c.file, c.set
			v, err := c.app().Verify(cmd.Context(), o)
			if v == nil {
				return err
			}
			if c.json {
				return errors.Join(c.printJSON(v), err)
			}
			if _, failed := fmt.Fprint(c.out, verifiedText(v)); failed != nil {
				return failed
			}
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the comparison")
	cmd.Flags().StringVar(&o.Topic, "topic", "", "the `topic` of the samples (default: sample_features.topic of the pipeline file)")
	cmd.Flags().StringVar(&o.From, "from", "", "where to begin in it: a `place` such as 2014-05-31, earliest or offset:N (default: earliest)")
	cmd.Flags().StringVar(&o.To, "to", "", "the `place` to end before (default: latest)")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "verify the samples of one `model`: NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle (default: all samples, each with its model)")
	cmd.Flags().StringVar(&o.History, "history", "", "the `data` that the sampled records are part of: topic://NAME?from=A&to=B, or a file of JSON lines (default: none)")
	cmd.Flags().IntVar(&o.Examples, "examples", 3, "the `number` of differences to show of each feature")
	return cmd
}

func verifiedText(v *app.Verified) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s", count(v.Samples, "sample"), v.Topic)
	if v.Skipped > 0 {
		fmt.Fprintf(&b, ", %s of other models left out", grouped(int64(v.Skipped)))
	}
	b.WriteByte('\n')
	for _, m := range v.Models {
		fmt.Fprintf(&b, "  %s, %s: %s\n", m.Model, m.Digest, count(m.Samples, "sample"))
	}
	writeComparison(&b, "Path: the logged records, rows and aggregates through the model", v.Path)
	if v.History != nil {
		writeComparison(&b, "History: the records, windows and tables as batch reads them", v.History)
	}
	return b.String()
}

func writeComparison(b *strings.Builder, title string, c *batch.Comparison) {
	fmt.Fprintf(b, "\n%s\n", title)
	fmt.Fprintf(b, "  %s, %s differ", count(c.Records, "sample"), grouped(int64(c.Differing)))
	if c.NotFound > 0 {
		fmt.Fprintf(b, ", %s not in the history", grouped(int64(c.NotFound)))
	}
	if c.Rejected > 0 {
		fmt.Fprintf(b, ", %s rejected", grouped(int64(c.Rejected)))
	}
	b.WriteString("\n")
	for _, e := range c.Lost {
		fmt.Fprintf(b, "    %s: stream %s, batch %s\n", e.Record, e.Stream, e.Batch)
	}
	width := len("feature")
	for _, f := range c.Features {
		width = max(width, columns(oneLine(f.Feature)))
	}
	row := fmt.Sprintf("  %%-%ds  %%-10s  %%9s  %%9s  %%9s  %%9s\n", width)
	fmt.Fprintf(b, row, "feature", "kind", "compared", "mismatch", "missing", "extra")
	for _, f := range c.Features {
		fmt.Fprintf(b, row, oneLine(f.Feature), f.Kind, grouped(int64(f.Compared)), grouped(int64(f.Mismatch)), grouped(int64(f.Missing)), grouped(int64(f.Extra)))
		for _, e := range f.Examples {
			where := e.Record
			if e.Key != "" {
				where += fmt.Sprintf(" key %q", e.Key)
			}
			fmt.Fprintf(b, "    %s: stream %s, batch %s\n", where, e.Stream, e.Batch)
		}
	}
}
