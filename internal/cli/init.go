package cli

import (
	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) initCommand() *cobra.Command {
	var o app.InitOptions
	cmd := &cobra.Command{
		Use:   "init DIR --from FILE --label COLUMN",
		Short: "Write a pipeline file for labelled data",
		Long: `Init looks at a CSV file of labelled history, decides what each column is, and writes DIR/pipeline.yaml with comments
that say what it saw. Read the file: what init cannot know is yours to say.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir = args[0]
			r, err := c.app().Init(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.note("looked at %s of %s\n", count(r.Inferred.Rows, "row"), o.From)
			for _, col := range r.Inferred.Columns {
				what := col.Seen
				if col.Ignored != "" {
					what += "; ignored: " + col.Ignored
				}
				c.note("  %-24s %-8s %s\n", col.Name, col.Type, what)
			}
			c.note("wrote %s\nnext: read it, then\n  millrace train %s\n", r.File, r.File)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.From, "from", "", "the labelled history, a CSV file with a header (required)")
	cmd.Flags().StringVar(&o.Label, "label", "", "the column to predict (required)")
	cmd.Flags().StringVar(&o.Name, "name", "", "the pipeline's name (default: the folder's)")
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace a pipeline file that is there")
	for _, f := range []string{"from", "label"} {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err)
		}
	}
	return cmd
}

func (c *cli) lintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lint [PIPELINE]",
		Short: "Check a pipeline file and report every error at once",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			c.pipelineArg(args)
			if _, err := c.app().Load(c.file, c.set); err != nil {
				return err
			}
			c.note("%s is right\n", c.file)
			return nil
		},
	}
	c.pipelineFlags(cmd)
	return cmd
}
