package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) serveCommand() *cobra.Command {
	var o app.ServeOptions
	cmd := &cobra.Command{
		Use:   "serve [PIPELINE...]",
		Short: "Answer requests for predictions, over HTTP and gRPC",
		Long: `Serve puts the data path of a pipeline file behind an API: POST /predict takes records and gives them back with their
predictions, the bytes that run would write; the Open Inference Protocol takes records or the inputs of the model. Each file is a
model, which is called as in the registry; what is of the server is taken from the section serve of the first file.

Requests get the version that was promoted last, and another one as soon as that is promoted; an approved version can be
asked for by its number. SIGTERM ends it in good order: it says that it is not ready, takes no more connections, and answers
what is under way.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "threads", o.Threads); err != nil {
				return err
			}
			if o.Files = args; len(args) == 0 {
				o.Files = []string{defaultFile}
			}
			o.Started = func(s *app.Serving) {
				c.note("serving %s at %s\n", oneLine(strings.Join(s.Models, ", ")), s.URL)
			}
			s, err := c.app().Serve(cmd.Context(), o)
			if s == nil {
				return err
			}
			if c.json {
				return errors.Join(err, c.printJSON(s))
			}
			c.note("%s with %s\n", count(int(s.Requests), "request"), count(int(s.Rows), "record"))
			return err
		},
	}
	cmd.Flags().StringArrayVar(&o.Set, "set", nil, "override a `key=value` of the pipeline files; can be repeated")
	c.jsonFlag(cmd, "what was done")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "the `address` to listen at (default: serve.http of the first file)")
	cmd.Flags().IntVar(&o.Threads, "threads", 0, "`number` of batches that are predicted at a time (default: one for each processor)")
	cmd.Flags().BoolVar(&o.Insecure, "insecure", false, "let other machines reach it without saying who they are")
	return cmd
}
