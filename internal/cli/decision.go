package cli

import (
	"os"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
)

// registryFlags adds the flags that say which registry a group of commands works on.
func (c *cli) registryFlags(cmd *cobra.Command, o *app.ModelsOptions) {
	cmd.PersistentFlags().StringVarP(&c.file, "file", "f", defaultFile, "the pipeline `file` that names the registry")
	cmd.PersistentFlags().StringVar(&o.Dir, "registry", "", "the registry: a `folder`, or s3://BUCKET/PREFIX (default: that of the pipeline file)")
	cmd.PersistentFlags().StringVar(&o.Root, "root", "", "the `file` of the root document that is trusted (default: that of the pipeline file)")
}

// keyFlag adds the flag that names the key of who is at work.
func (c *cli) keyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.key, "key", "", "the `file` of your private key, for a registry with a root document (default: $MILLRACE_KEY)")
}

// decisionFlags adds the flags of a command that decides something about a version.
func (c *cli) decisionFlags(cmd *cobra.Command, d *registry.Decision) {
	cmd.Flags().StringVar(&d.By, "by", "", "the `name` of who decides (required without a key, whose owner it is)")
	cmd.Flags().StringVar(&d.Reason, "reason", "", "a `text` that says why (required)")
	c.keyFlag(cmd)
}

// decisionArgs wants the model, the reason, and a name or a key.
func (c *cli) decisionArgs(cmd *cobra.Command, args []string) error {
	return oneArg("MODEL", append(c.needsName(), "reason")...)(cmd, args)
}

// needsName returns the flag that names who decides, where no key says it.
func (c *cli) needsName() []string {
	if _, set := os.LookupEnv("MILLRACE_KEY"); set || c.key != "" {
		return nil
	}
	return []string{"by"}
}

// as returns a person and the role that the person acted in, if any.
func as(name, role string) string {
	if role == "" {
		return name
	}
	return name + " (" + role + ")"
}

// who returns the flags that a decision needs, to be shown.
func who(signed bool) string {
	if signed {
		return "--reason TEXT --key FILE"
	}
	return "--by NAME --reason TEXT"
}
