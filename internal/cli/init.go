package cli

import (
	"errors"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
)

func (c *cli) initCommand() *cobra.Command {
	var o app.InitOptions
	cmd := &cobra.Command{
		Use:   "init DIR --from FILE --label COLUMN",
		Short: "Write a pipeline file for labelled data",
		Long: `Init looks at a CSV file of labelled history, decides what each column is, and writes DIR/pipeline.yaml with comments
that say what it saw. Read the file: what init cannot know is yours to say.`,
		Args: oneArg("DIR", "from", "label"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Dir = args[0]
			r, err := c.app().Init(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.printInferred(r.Inferred, o.From)
			c.note("wrote %s\nnext: read it, then\n  millrace train%s\n", r.File, fileFlag(r.File))
			return nil
		},
	}
	cmd.Flags().StringVar(&o.From, "from", "", "the labelled history, a CSV `file` with a header (required)")
	cmd.Flags().StringVar(&o.Label, "label", "", "the `column` to predict (required)")
	cmd.Flags().StringVar(&o.Name, "name", "", "the pipeline's `name` (default: the folder's)")
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace a pipeline file that is there")
	return cmd
}

// printInferred tells what init saw of each column.
func (c *cli) printInferred(in *config.Inferred, from string) {
	c.note("looked at %s of %s", count(in.Rows, "row"), from)
	if in.Skipped > 0 {
		c.note("; %s could not be read", count(in.Skipped, "more row"))
	}
	c.note("\n")
	width := 0
	for _, col := range in.Columns {
		width = max(width, utf8.RuneCountInString(col.Name))
	}
	for _, col := range in.Columns {
		what := col.Seen
		if col.Missing > 0 {
			what += "; missing in " + count(col.Missing, "row")
		}
		if col.Ignored != "" {
			what += "; ignored: " + col.Ignored
		}
		c.note("  %-*s  %-7s  %s\n", width, col.Name, col.Type, what)
	}
}

// linted is what lint --json prints.
type linted struct {
	File     string           `json:"file"`
	Problems []config.Problem `json:"problems"`
}

func (c *cli) lintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lint [PIPELINE]",
		Short: "Check a pipeline file and report every error at once",
		Args:  optionalArg,
		RunE: func(_ *cobra.Command, args []string) error {
			c.pipelineArg(args)
			_, err := c.app().Load(c.file, c.set)
			problems, wrong := errors.AsType[config.Problems](err)
			if c.json && (wrong || err == nil) {
				return errors.Join(c.printJSON(linted{File: c.file, Problems: append([]config.Problem{}, problems...)}), err)
			}
			if err != nil {
				return err
			}
			c.note("%s is right\n", c.file)
			return nil
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the problems")
	return cmd
}
