package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/trust"
)

func (c *cli) rootCommand() *cobra.Command {
	var o app.ModelsOptions
	cmd := group(&cobra.Command{
		Use:   "root COMMAND",
		Short: "Say who may approve models: the root document",
		Long: `The root document lists people, their public keys and roles, and how many approvals of which roles a model needs. It is
signed with root keys. A pipeline file that names it (model.root: root.json) runs only models that were signed as it
demands. It changes by a next version, which the keys of both versions sign and root publish writes into the
registry's log. docs/approval.md shows it step by step.`,
	})
	c.registryFlags(cmd, &o)
	cmd.AddCommand(c.rootNew(), c.rootSign(), c.rootShow(&o), c.rootPublish(&o))
	return cmd
}

func (c *cli) rootNew() *cobra.Command {
	var o app.RootOptions
	var author, unsigned bool
	cmd := &cobra.Command{
		Use: "new --out FILE", Short: "Write a root document, or the next version of one, to be signed",
		Long: `New writes a root document that nobody has signed yet; it can be edited until someone does. With --from it is the next
version of another: what no flag names stays as it was.

  millrace root new --out root.json --root-key admin.pub --person 'Anna=anna.pub:data-scientist' \
    --person 'Bob=bob.pub:author' --approvals data-scientist=1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			return required(cmd, "out")
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("author-may-approve") {
				o.AuthorMayApprove = &author
			}
			if cmd.Flags().Changed("unsigned-bundles") {
				o.UnsignedBundles = &unsigned
			}
			r, err := app.NewRoot(o)
			if err != nil {
				return err
			}
			c.note("wrote root %d, which needs %s; next:\n  millrace root sign %s --key FILE\n", r.Version, count(r.Threshold, "signature"), quoted(o.Out))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Out, "out", "", "the `file` to write (required)")
	f.StringVar(&o.From, "from", "", "the `file` of the version before it")
	f.StringArrayVar(&o.RootKeys, "root-key", nil, "the `file` of the public key of who signs root documents; can be repeated, and replaces those of --from")
	f.IntVar(&o.Threshold, "threshold", 0, "the `number` of root keys that have to sign (default 1)")
	f.StringArrayVar(&o.People, "person", nil, "someone with a key: `NAME=FILE.pub:ROLE,ROLE`; can be repeated")
	f.StringArrayVar(&o.Remove, "remove", nil, "take out the person of this `name`, before others are added; can be repeated")
	f.StringArrayVar(&o.Approvals, "approvals", nil, "how many people of a role have to approve: `ROLE=COUNT`; can be repeated, and replaces those of --from")
	f.StringArrayVar(&o.Promote, "promotions", nil, "a `role` that may promote; can be repeated (default: deployer and those that approve)")
	f.BoolVar(&author, "author-may-approve", false, "let who trained a model be one of those who approve it")
	f.BoolVar(&unsigned, "unsigned-bundles", false, "let people without a key register models")
	return cmd
}

func (c *cli) rootSign() *cobra.Command {
	var before string
	cmd := &cobra.Command{
		Use: "sign FILE --key FILE", Short: "Sign a root document", Args: oneArg("FILE"),
		Long: `Sign adds the signature of a root key to the file. A document that was signed cannot be edited any more: millrace root
show FILE --json prints its text. The next version of a document needs signatures by the root keys of both versions; a key
of the earlier one alone signs with --before.`,
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := c.app().SignRoot(args[0], before)
			if err != nil {
				return err
			}
			c.note("root %d has %d of %s\n", r.Version, r.Signed(), count(r.Threshold, "signature"))
			return nil
		},
	}
	c.keyFlag(cmd)
	cmd.Flags().StringVar(&before, "before", "", "the `file` of the version before it, for a key that is a root key of that alone")
	return cmd
}

func (c *cli) rootShow(o *app.ModelsOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [FILE]", Short: "Show a root document: that of a file, or the one in force", Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.shownRoot(cmd, args, *o)
			if err != nil {
				return err
			}
			if c.json {
				text, err := r.Encode()
				if err != nil {
					return err
				}
				_, err = c.out.Write(text)
				return err
			}
			return c.printRoot(r)
		},
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "print the document as it is signed, to be edited for the next version")
	return cmd
}

func (c *cli) shownRoot(cmd *cobra.Command, args []string, o app.ModelsOptions) (*trust.SignedRoot, error) {
	if len(args) > 0 {
		return app.ReadRoot(args[0])
	}
	o.File = c.file
	m, err := c.app().Models(o)
	if err != nil {
		return nil, err
	}
	root, _, err := m.Registry.Root(cmd.Context())
	if err == nil && root == nil {
		err = &app.Error{Code: app.Usage, Op: "root show", Err: errors.New("there is no root document"), Hint: "name the file, or set model.root in the pipeline file"}
	}
	return root, err
}

func (c *cli) printRoot(r *trust.SignedRoot) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("root %d  %s", r.Version, r.Digest())
	line("  signed      by %d of %s, %d needed", r.Signed(), count(len(r.RootKeys), "root key"), r.Threshold)
	for _, k := range r.RootKeys {
		line("  root key    %s", k.ID())
	}
	for _, a := range r.Policy.Approvals {
		line("  approvals   %d by the role %s", a.Count, a.Role)
	}
	line("  promotion   by the roles %s", strings.Join(r.Promoters(), ", "))
	may := map[bool]string{true: "may approve", false: "may not approve"}[r.Policy.AuthorMayApprove]
	signs := map[bool]string{true: "has to sign", false: "need not sign"}[r.Policy.SignedBundles]
	line("  author      %s the model, and %s\n", signs, may)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLES\tKEY") //nolint:errcheck // it is in memory
	for _, p := range r.People {
		roles := strings.Join(p.Roles, ",")
		if p.Until != nil {
			roles += fmt.Sprintf(" (until event %d)", p.Until.Seq)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, roles, p.Key.ID()) //nolint:errcheck // it is in memory
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(c.out, b.String())
	return err
}

func (c *cli) rootPublish(o *app.ModelsOptions) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use: "publish FILE", Short: "Write a signed root document into the registry's log, from which on it decides", Args: oneArg("FILE"),
		Long: `Publish writes a root document into the log of the registry. It decides from then on, also about what was signed before:
an approval by someone who is not in it any more does not count, and a model that lacks one by its policy is a candidate
again. Publish says which those are; what runs goes on until it is started again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.File = c.file
			p, err := c.app().PublishRoot(cmd.Context(), args[0], by, *o)
			if err != nil {
				return err
			}
			c.note("root %d is in the log of %s\n", p.Root.Version, p.Dir)
			for _, v := range p.Lost {
				c.note("%s is not approved any more: %s\n", v.Ref(), v.Wants)
			}
			if !p.Trusted {
				c.note("next: name it in the pipeline file, so that signatures are demanded:\n  model: {root: %s}\n", args[0])
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "the `name` of who publishes, for the audit log (default: $MILLRACE_USER, else the user's name)")
	return cmd
}
