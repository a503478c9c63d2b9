package millrace_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"testing"

	"millrace.dev"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// words counts the words of lines.
func words() *stream.Topology {
	t := stream.New("words")
	lines := stream.From(t, "lines", stream.String(), stream.String())
	words := stream.FlatMapValues(lines, strings.Fields)
	byWord := stream.GroupBy(words, stream.String(), func(_, word string) string { return word })
	stream.Count(byWord, "counts").ToStream().Values(stream.Decimal()).To("counts")
	return t
}

// An application that runs until it is interrupted. Any number of instances share the work.
func ExampleNewApp() {
	app, err := millrace.NewApp(words(), millrace.Config{Brokers: []string{"localhost:9092"}, StateDir: "state"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := app.Run(ctx); err != nil {
		fmt.Println(err)
	}
}

// example stands in for the *testing.T that a test has and an example has not.
type example struct{ testing.TB }

func (example) Helper()                           {}
func (example) Cleanup(func())                    {}
func (example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// The same application in a test, without a broker.
func Example() {
	d := streamtest.New(example{}, words(), streamtest.Partitions(3))
	streamtest.NewInput(d, "lines", stream.String(), stream.String()).Pipe("", "to be or not to be", 1000)
	for _, r := range streamtest.NewOutput(d, "counts", stream.String(), stream.Decimal()).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Unordered output:
	// to 1
	// be 1
	// or 1
	// not 1
	// to 2
	// be 2
}
