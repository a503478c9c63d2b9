package stream_test

import (
	"testing"

	"millrace.dev/stream"
)

// TestNodesHaveNamesOfTheirOwn: a table may be named after its topic, and metrics tell nodes apart by name.
func TestNodesHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	top := stream.New("names")
	text := stream.String()
	stream.TableFrom(top, "accounts", "accounts", text, text).ToStream(stream.Named("payments-source")).To("out")
	stream.From(top, "payments", text, text).Filter(func(_, _ string) bool { return true }, stream.Named("payments")).To("out")
	d, err := top.Description()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range d.Nodes {
		if seen[n.Name] {
			t.Errorf("two nodes are named %s", n.Name)
		}
		seen[n.Name] = true
	}
	for _, name := range []string{"accounts", "accounts-source", "payments", "payments-source-source"} {
		if !seen[name] {
			t.Errorf("no node is named %s", name)
		}
	}
}
