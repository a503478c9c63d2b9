package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
)

func (c *cli) testCommand() *cobra.Command {
	var o app.TestOptions
	var live app.RecordOptions
	cmd := &cobra.Command{
		Use:   "test [PIPELINE]",
		Short: "Run the tests of a pipeline file",
		Long: `Test runs the records under tests: of the pipeline file through the same path that a stream runs through, and
compares features, predictions and dead letters with what the tests expect. Features can be tested without a model,
unless they are fitted in training. It exits with 3 if a test fails.

With --record it prints tests instead, made of the records of a topic: each with the rows and aggregates that it
found and with what came out. They pass when they are pasted into the file.`,
		Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.pipelineArg(args)
			if cmd.Flags().Changed("record") {
				live.File, live.Set, live.Model = c.file, c.set, o.Model
				return c.recordTests(cmd, o, live)
			}
			for _, name := range []string{"from", "limit"} {
				if cmd.Flags().Changed(name) {
					return usage(cmd, errors.New("--"+name+" is for --record"))
				}
			}
			o.File, o.Set = c.file, c.set
			t, err := c.app().Test(cmd.Context(), o)
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(t)
			} else {
				_, err = io.WriteString(c.out, testedText(t, c.file))
			}
			if err == nil && t.Failed > 0 {
				err = &app.Error{Code: app.Refused, Op: "test", Err: fmt.Errorf("%d of %s failed", t.Failed, count(len(t.Tests), "test"))}
			}
			return err
		},
	}
	c.pipelineFlags(cmd)
	c.jsonFlag(cmd, "the results")
	cmd.Flags().StringVarP(&o.Model, "model", "m", "", "the `model` for predictions and fitted features: NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle (default: none)")
	cmd.Flags().StringVar(&o.Run, "run", "", "run the tests whose names match this regular `expression` (default: all)")
	cmd.Flags().StringVar(&live.Topic, "record", "", "print tests made of the records of this `topic`; "+app.SourceTopic+" is that of the pipeline file")
	cmd.Flags().StringVar(&live.From, "from", "earliest", "with --record: where to begin, a `place`: earliest, a date or time, or offset:N")
	cmd.Flags().IntVar(&live.Limit, "limit", 10, "with --record: stop after this `number` of records")
	return cmd
}

// testedText returns the outcome of tests, a line for each, and for what failed the values under it.
func testedText(t *app.Tested, file string) string {
	var b strings.Builder
	for _, r := range t.Tests {
		if r.OK {
			fmt.Fprintf(&b, "ok    %s\n", r.Name)
			continue
		}
		fmt.Fprintf(&b, "FAIL  %s (%s:%d)\n", r.Name, file, r.Line)
		what, want := 0, 0
		for _, f := range r.Failures {
			what, want = max(what, columns(oneLine(f.What))), max(want, min(columns(f.Want), 40))
		}
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "        %s  want %s  got %s\n", padded(oneLine(f.What), what), padded(f.Want, want), f.Got)
		}
	}
	switch {
	case len(t.Tests) == 0:
		b.WriteString("the pipeline file has no tests\n")
	case t.Failed == 0:
		fmt.Fprintf(&b, "%s passed\n", count(len(t.Tests), "test"))
	default:
		fmt.Fprintf(&b, "%s, %d failed\n", count(len(t.Tests), "test"), t.Failed)
	}
	return b.String()
}

// columns returns how wide a text is, about, and padded fills it up with blanks.
func columns(s string) int { return len([]rune(s)) }

func padded(s string, width int) string { return s + strings.Repeat(" ", max(0, width-columns(s))) }

func (c *cli) recordTests(cmd *cobra.Command, o app.TestOptions, live app.RecordOptions) error {
	switch {
	case c.json || o.Run != "":
		return usage(cmd, errors.New("--record prints YAML: --json and --run are for running tests"))
	case live.Limit < 1:
		return usage(cmd, fmt.Errorf("--limit %d: want 1 or more", live.Limit))
	}
	n, err := c.app().RecordTests(cmd.Context(), live, c.out)
	if err != nil {
		return err
	}
	c.note("%s\n", count(n, "test"))
	return nil
}
