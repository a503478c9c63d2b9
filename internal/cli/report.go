package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/model"
)

func (c *cli) reportCommand() *cobra.Command {
	var o app.ReportOptions
	cmd := &cobra.Command{
		Use:   "report MODEL [--html [FILE]]",
		Short: "Report what a model is worth, where it errs, and what it was made of",
		Long: `Report shows all that a decision about a model rests on: its scores beside those of predicting the mean, its errors by
size of the prediction, what is worth a look, the data and the rows that were left out, the inputs by importance,
the profile of the training data, and checks that follow from it.

With --html it is a page with charts, in one file that needs no other: --html FILE writes it to a file, --html alone to
standard output. The same model gives the same page. MODEL is NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle,
.millrace.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("the argument MODEL is missing"))
			}
			if o.HTML {
				return atMost(cmd, args, 2)
			}
			return atMost(cmd, args, 1)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model, o.Out = args[0], "-"
			if len(args) > 1 {
				o.Out = args[1]
			}
			if len(args) > 1 && !isModel(o.Model) && isModel(o.Out) { // report --html FILE MODEL
				o.Model, o.Out = o.Out, o.Model
			}
			o.File, o.Stdout = c.file, c.out
			if err := c.app().Report(cmd.Context(), o); err != nil {
				return err
			}
			if o.Out != "-" {
				c.note("wrote %s\n", o.Out)
			}
			return nil
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&c.file, "file", "f", defaultFile, "the pipeline `file` that names the registry")
	cmd.Flags().StringVar(&o.Registry, "registry", "", "the registry: a `folder`, or s3://BUCKET/PREFIX (default: that of the pipeline file)")
	cmd.Flags().BoolVar(&o.HTML, "html", false, "write a page with charts: to the file that follows, else to standard output")
	return cmd
}

// isModel tells whether an argument looks like what names a model.
func isModel(arg string) bool {
	return strings.Contains(arg, "@") || strings.HasSuffix(arg, model.Extension)
}
