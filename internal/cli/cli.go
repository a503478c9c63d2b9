// Package cli is the command line of millrace: it parses arguments, calls package app, and prints. Data goes to
// standard output, messages to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
)

// Main runs the command that args name and returns the exit code of the process. SIGINT and SIGTERM end the command
// in good order: what is in hand is finished first.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{in: stdin, out: stdout, err: newScreen(stderr), color: colored(stderr), xcom: xcomFolder}
	ctx, stop := signals()
	defer stop()
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if _, told := errors.AsType[*app.Error](err); err != nil && !c.started && !told {
		err = usage(cmd, err) // of the parser of the command line
	}
	if code := signalCode(ctx, err); code != 0 {
		return code
	}
	if errors.Is(err, errUnread) {
		return unreadCode
	}
	return int(c.report(err))
}

// stopped is the cause of a context that a signal has ended. It is context.Canceled, so that a command may return it.
type stopped struct{ signal os.Signal }

func (s *stopped) Error() string { return "got the signal " + s.signal.String() }
func (s *stopped) Unwrap() error { return context.Canceled }

// signalGrace is how long after the first signal a second one changes nothing: timeout(1) and some supervisors send each
// signal twice, to the process and to its group.
const signalGrace = time.Second

// signals returns a context that ends at the first SIGINT or SIGTERM; one that comes later than signalGrace after it
// kills the process, as if nobody listened.
func signals() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-ch:
			cancel(&stopped{s})
			time.AfterFunc(signalGrace, func() { signal.Stop(ch) })
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		cancel(nil)
	}
}

// signalCode returns the exit code of a command that a signal has ended, 128 and the number of the signal; 0 if none has.
func signalCode(ctx context.Context, err error) int {
	s, ok := errors.AsType[*stopped](context.Cause(ctx))
	if !ok || err != nil && !errors.Is(err, context.Canceled) {
		return 0
	}
	return 128 + int(s.signal.(syscall.Signal)) //nolint:errcheck,forcetypeassert // the two signals asked for are of this type
}

// cli holds the streams of the process and the flags that all commands share.
type cli struct {
	in      io.Reader
	out     io.Writer
	err     *screen
	color   bool
	started bool // the command line is right, and the command runs
	verbose bool
	file    string
	set     []string
	json    bool
	xcom    string // the folder in which Airflow looks for a result, where it is there
	key     string // the file of a private key
}

// colored tells whether w is a terminal of someone who has not asked for plain text (see no-color.org).
func colored(w io.Writer) bool {
	_, plain := os.LookupEnv("NO_COLOR")
	return isTerminal(w) && !plain
}

func (c *cli) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "millrace COMMAND",
		Short: "Run machine-learning models on Kafka streams",
		Long: `millrace trains a model in batch on labelled history, has a person approve it, and applies it to a Kafka
topic with exactly-once. Begin with

  millrace demo                                    the whole journey, on made-up houses
  millrace init DIR --from data.csv --label price  a pipeline file for your own data`,
		Version: version(), SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(*cobra.Command, []string) { c.started = true },
	})
	root.SetUsageFunc(printUsage)
	root.SetHelpCommand(helpCommand())
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(usage)
	root.PersistentFlags().BoolVarP(&c.verbose, "verbose", "v", false, "also log what is of interest for finding faults")
	root.AddCommand(c.versionCommand())
	root.AddCommand(
		c.initCommand(), c.lintCommand(), c.testCommand(), c.trainCommand(), c.scheduleCommand(), c.modelCommand(), c.keyCommand(), c.rootCommand(), c.reportCommand(), c.predictCommand(), c.featuresCommand(), c.explainCommand(),
		c.planCommand(), c.runCommand(), c.queryCommand(), c.serveCommand(), c.tokenCommand(), c.pauseCommand(), c.resumeCommand(), c.outcomesCommand(), c.abCommand(),
		c.verifyCommand(), c.backtestCommand(), c.profileCommand(), c.driftCommand(), c.shadowCommand(), c.compareCommand(), c.dlqCommand(),
		c.brokerCommand(), c.produceCommand(), c.tapCommand(), c.demoCommand(),
	)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Short = "Write the completion script of a shell"
			group(cmd).Use = "completion SHELL"
		}
	}
	return root
}

// defaultFile is the pipeline file of a command that is told none.
const defaultFile = "pipeline.yaml"

// fileFlag returns the flag that names the pipeline file to another command, to be put behind it.
func fileFlag(file string) string {
	if file == defaultFile {
		return ""
	}
	return " -f " + quoted(file)
}

// quoted returns an argument as a person types it in a shell.
func quoted(arg string) string {
	plain := func(r rune) bool {
		return r > 127 || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./=:@%+,", r)
	}
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool { return !plain(r) }) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: noArgs, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "millrace %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// pipelineFlags adds the flags of a command that works on a pipeline file.
func (c *cli) pipelineFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "file", "f", defaultFile, "the pipeline `file`")
	cmd.Flags().StringArrayVar(&c.set, "set", nil, "override a `key=value` of the pipeline file; can be repeated")
}

// pipelineArg takes the pipeline file from the command's argument, where it has one.
func (c *cli) pipelineArg(args []string) {
	if len(args) > 0 {
		c.file = args[0]
	}
}

func (c *cli) jsonFlag(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&c.json, "json", false, "print "+what+" as JSON, on the last line of standard output")
}

func (c *cli) app() *app.App {
	level := slog.LevelInfo
	if c.verbose {
		level = slog.LevelDebug
	}
	return &app.App{
		Log: slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level})),
		Now: time.Now, Env: os.LookupEnv, Version: version(), Key: c.key,
	}
}

// release is the version of a binary whose build sets it: go build -ldflags "-X millrace.dev/internal/cli.release=v1.2.3". Default:
// that of the module.
var release string //nolint:gochecknoglobals // only the linker can set it

// version returns the version of this binary.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// report prints an error with what to do about it, and returns the exit code.
func (c *cli) report(err error) app.Code {
	if err == nil {
		return app.OK
	}
	if r, ok := errors.AsType[*reported](err); ok {
		code, _ := app.Explain(r.error)
		return code
	}
	if ps, ok := errors.AsType[config.Problems](err); ok {
		if err := ps.WriteText(c.err, c.color); err != nil {
			return app.Failed
		}
		return app.Usage
	}
	code, hint := app.Explain(err)
	c.note("millrace: %s\n", app.Message(err))
	if hint != "" {
		mark := "hint:"
		if c.color {
			mark = "\x1b[36mhint:\x1b[0m" // as the problems of a pipeline file have it
		}
		c.note("  %s %s\n", mark, hint)
	}
	return code
}

// note writes a message for a person to standard error; where that fails there is nobody to tell.
func (c *cli) note(format string, args ...any) {
	fmt.Fprintf(c.err, format, args...) //nolint:errcheck // see above
}
