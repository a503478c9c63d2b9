package millrace_test

import (
	"errors"
	"strings"
	"testing"

	"millrace.dev"
	"millrace.dev/stream"
)

// TestNewAppFaults: the faults of topology and connection are told at once, and nothing is connected to find them.
func TestNewAppFaults(t *testing.T) {
	t.Parallel()
	_, err := millrace.NewApp(stream.New("no topics"), millrace.Config{TLS: millrace.TLS{CAFile: "ca.pem"}})
	for _, want := range []string{`millrace_test.go:15: new topology: name "no topics"`, "TLS is not enabled", "no brokers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, ok := errors.AsType[*stream.BuildError](err); !ok {
		t.Errorf("%v is no BuildError", err)
	}
	for want, q := range map[string]millrace.Query{
		"Query is not enabled, and has settings":    {Address: "http://10.1.2.3:8090"},
		`Query.Address "10.1.2.3:8090": want a URL`: {Enabled: true, Address: "10.1.2.3:8090"},
	} {
		if _, err := millrace.NewApp(words(), millrace.Config{Brokers: []string{"localhost:9092"}, Query: q}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	app, err := millrace.NewApp(words(), millrace.Config{Brokers: []string{"localhost:9092"}})
	if err != nil {
		t.Fatal(err)
	}
	if app.QueryHandler() != nil {
		t.Error("rows can be read, and nobody asked for that")
	}
	for want, c := range map[string]millrace.Config{
		"1 bytes for state":          {StateBytes: 1},
		"three quarters of the 1677": {StateBytes: 16 << 20, StateFileBytes: 16 << 20},
	} {
		c.Brokers = []string{"localhost:9092"}
		if _, err := millrace.NewApp(words(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	_, err = millrace.NewApp(words(), millrace.Config{Brokers: []string{"localhost:9092"}, Guarantee: "eos"})
	if err == nil || !strings.Contains(err.Error(), `guarantee "eos": want exactly_once or at_least_once`) {
		t.Errorf("got %v", err)
	}
}
