package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) keyCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "key COMMAND",
		Short: "Make and show the keys of people who sign",
		Long: `A key is what a person signs with: an ed25519 key in two files, NAME.key, the private one, and NAME.pub, which goes
into the root document (see millrace root). Whoever has the private one signs as you: it stays with you, and its file has
to be readable by its owner alone.`,
	})
	cmd.AddCommand(c.keyNew(), c.keyShow())
	return cmd
}

// shownKey is what key new and key show print with --json.
type shownKey struct {
	ID      string `json:"id"`
	Public  string `json:"public_key"`
	KeyFile string `json:"key_file,omitempty"`
	PubFile string `json:"pub_file,omitempty"`
}

func (c *cli) keyNew() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "new --out NAME", Short: "Make a key: NAME.key and NAME.pub",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			return required(cmd, "out")
		},
		RunE: func(*cobra.Command, []string) error {
			f, err := app.NewKey(out)
			if err != nil {
				return err
			}
			c.note("wrote %s: keep it to yourself\nwrote %s: give it to whoever keeps the root document\n", f.Private, f.Public)
			text, err := f.Key.MarshalText()
			if err != nil || !c.json {
				return err
			}
			return c.printJSON(shownKey{f.Key.ID(), string(text), f.Private, f.Public})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the `name` of the files, without their ends (required)")
	c.jsonFlag(cmd, "the public key")
	return cmd
}

func (c *cli) keyShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show FILE", Short: "Show the ID and the public part of a key", Args: oneArg("FILE"),
		Long: `Show prints the ID of a key, which signatures name it by, and its public part as the root document has it. FILE is
NAME.pub or NAME.key. The ID is the SHA-256 of the public key in DER:
  openssl pkey -pubin -in NAME.pub -outform DER | sha256sum`,
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := app.ReadPublicKey(args[0])
			if err != nil {
				return err
			}
			text, err := k.MarshalText()
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(shownKey{ID: k.ID(), Public: string(text)})
			}
			_, err = fmt.Fprintf(c.out, "id          %s\npublic key  %s\n", k.ID(), text)
			return err
		},
	}
	c.jsonFlag(cmd, "it")
	return cmd
}
