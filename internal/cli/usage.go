package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"millrace.dev/internal/app"
)

// usage makes an error of a wrong command line.
func usage(cmd *cobra.Command, err error) error {
	_, op, _ := strings.Cut(cmd.CommandPath(), " ")
	return &app.Error{Code: app.Usage, Op: op, Err: plain(err), Hint: "see " + cmd.CommandPath() + " --help"}
}

// plain says in words for people what is wrong with a flag.
func plain(err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		want := map[string]string{"int": "a whole number", "int64": "a whole number", "float64": "a number", "bool": "true or false", "time": "a time such as 2026-01-31T12:00:00Z or 2026-01-31"}[e.GetFlag().Value.Type()]
		if want != "" {
			return fmt.Errorf("--%s %q: want %s", e.GetFlag().Name, e.GetValue(), want)
		}
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("unknown flag: -%s", e.GetSpecifiedName())
	}
	return err
}

// noArgs wants a command line without arguments.
func noArgs(cmd *cobra.Command, args []string) error { return atMost(cmd, args, 0) }

// optionalArg wants at most one argument.
func optionalArg(cmd *cobra.Command, args []string) error { return atMost(cmd, args, 1) }

// oneArg wants one argument, and the flags that are named.
func oneArg(name string, flags ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(cmd, errors.New("the argument "+name+" is missing"))
		}
		if err := atMost(cmd, args, 1); err != nil {
			return err
		}
		return required(cmd, flags...)
	}
}

func atMost(cmd *cobra.Command, args []string, n int) error {
	if len(args) > n {
		return usage(cmd, fmt.Errorf("unexpected argument %q", args[n]))
	}
	return nil
}

// required wants flags to be given.
func required(cmd *cobra.Command, flags ...string) error {
	var missing []string
	for _, name := range flags {
		if !cmd.Flags().Changed(name) {
			missing = append(missing, "--"+name)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return usage(cmd, errors.New(missing[0]+" is required"))
	default:
		return usage(cmd, errors.New(strings.Join(missing, " and ")+" are required"))
	}
}

// notNegative wants the value of a flag to be 0 or more.
func notNegative[T int | int64 | float64](cmd *cobra.Command, flag string, value T) error {
	if value < 0 || math.IsNaN(float64(value)) {
		return usage(cmd, fmt.Errorf("--%s %v: want 0 or more", flag, value))
	}
	return nil
}

// group makes cmd a command that only has subcommands: alone it prints its help, and a word that is none of them is
// an error.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := &app.Error{Code: app.Usage, Err: fmt.Errorf("unknown command %q", strings.Join(append(strings.Fields(cmd.CommandPath())[1:], args[0]), " "))}
		err.Hint = "see " + cmd.CommandPath() + " --help"
		if s := suggestions(cmd, args[0]); len(s) > 0 {
			err.Hint = "did you mean " + strings.Join(s, " or ") + "?"
		}
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.DisableFlagsInUseLine = true
	return cmd
}

// suggestions returns the subcommands whose names are like name.
func suggestions(cmd *cobra.Command, name string) []string {
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	var list []string
	for _, s := range cmd.SuggestionsFor(name) {
		list = append(list, cmd.CommandPath()+" "+s)
	}
	return list
}

// helpCommand is the command help.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command", DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = of.ValidateArgs(rest)
				if !of.HasSubCommands() {
					err = usage(cmd, fmt.Errorf("unknown command %q", strings.Join(args, " ")))
				}
			}
			if err != nil {
				return err
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// helpWidth is how wide the lines about flags are, in columns.
const helpWidth = 110

// printUsage prints how a command is called. It is what follows a command's description in its help.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	if subs := slices.DeleteFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Hidden }); len(subs) > 0 {
		b.WriteString("\nCommands:\n")
		for _, sub := range subs {
			fmt.Fprintf(&b, "  %-*s  %s\n", cmd.Commands()[0].NamePadding(), sub.Name(), sub.Short)
		}
	}
	for _, flags := range []struct {
		title string
		set   *pflag.FlagSet
	}{{"Flags", cmd.LocalFlags()}, {"Global flags", cmd.InheritedFlags()}} {
		if text := flags.set.FlagUsagesWrapped(helpWidth); text != "" {
			fmt.Fprintf(&b, "\n%s:\n%s", flags.title, text)
		}
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}
