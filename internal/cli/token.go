package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) tokenCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "token COMMAND",
		Short: "Make tokens for those who send requests to millrace serve, or queries",
		Long: `A bearer token tells millrace serve, or a millrace run that answers queries, who sends a request. The server does not know tokens:
the file that serve.auth.tokens_file or query.auth.tokens_file names has a line for each, with its SHA-256.`,
	})
	cmd.AddCommand(c.tokenNew())
	return cmd
}

func (c *cli) tokenNew() *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use: "new NAME --roles ROLE,...", Short: "Make a token, and its line for the tokens file", Args: oneArg("NAME", "roles"),
		Long: `New prints a token, which is for whoever sends requests and is kept nowhere else, and its line for the tokens file, which is no
secret. NAME is in the access log, and is what the rate is counted by. The roles are viewer, scorer, operator, author and reader.`,
		Example: `  millrace token new stream --roles scorer,viewer`,
		RunE: func(_ *cobra.Command, args []string) error {
			token, line, err := app.NewToken(args[0], roles)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(struct {
					Token string `json:"token"`
					Line  string `json:"line"`
				}{token.Reveal(), line})
			}
			if _, err := fmt.Fprintf(c.out, "token  %s\nline   %s\n", token.Reveal(), line); err != nil {
				return err
			}
			c.note("the token is shown this once: give it to %s; add the line to the file that serve.auth.tokens_file or query.auth.tokens_file names\n", oneLine(args[0]))
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "the `roles` of who has the token (required)")
	c.jsonFlag(cmd, "them")
	return cmd
}
