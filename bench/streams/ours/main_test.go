package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

func drive(t *testing.T, args string) (d *streamtest.Driver, out *bytes.Buffer) {
	t.Helper()
	var messages bytes.Buffer
	out = &bytes.Buffer{}
	j, err := parse(append(strings.Fields(args), "-application", "a", "-source", "in", "-table", "rows", "-sink", "out", "-marks", "2,4"), &messages)
	if err != nil {
		t.Fatalf("%v\n%s", err, &messages)
	}
	topology, err := j.define(out)
	if err != nil {
		t.Fatal(err)
	}
	return streamtest.New(t, topology, streamtest.CommitByHand()), out
}

// pipe gives a topology four records, the last of them in the second minute, and a row.
func pipe(d *streamtest.Driver, topology string) {
	if topology == "join" {
		streamtest.NewInput(d, "rows", stream.String(), stream.String()).Pipe("a", "row", 1)
	}
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for i, at := range []int64{10, 20, 30, time.Minute.Milliseconds()} {
		in.Pipe([]string{"a", "b"}[i%3%2], "v", at)
	}
	d.Commit()
}

func TestValues(t *testing.T) {
	t.Parallel()
	for topology, want := range map[string][]string{
		"map":  {"v;mapped", "v;mapped", "v;mapped", "v;mapped"},
		"join": {"v;row", "v;row", "v;row"},
	} {
		t.Run(topology, func(t *testing.T) {
			t.Parallel()
			d, out := drive(t, "-topology "+topology)
			pipe(d, topology)
			got := streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadValues()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if out.String() != "mark 2\nmark 4\n" {
				t.Errorf("marks %q", out)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		want map[string]int64
		n    int // outputs
	}{
		{"-topology count", map[string]int64{"a": 3, "b": 1}, 2},
		{"-topology count -each", map[string]int64{"a": 3, "b": 1}, 4},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			d, _ := drive(t, c.args)
			pipe(d, "count")
			out := streamtest.NewOutput(d, "out", stream.String(), stream.Int64())
			n := out.Len()
			if diff := cmp.Diff(c.want, streamtest.ReadTable(out)); diff != "" || n != c.n {
				t.Errorf("%d outputs: want %d; %s", n, c.n, diff)
			}
		})
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	key := func(k string, minute int64) stream.Windowed[string] {
		size := window.Milliseconds()
		return stream.Windowed[string]{Key: k, Start: minute * size, End: (minute + 1) * size}
	}
	want := map[stream.Windowed[string]]int64{key("a", 0): 2, key("b", 0): 1, key("a", 1): 1}
	for args, n := range map[string]int{"-topology tumbling": 3, "-topology tumbling -each": 4} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			d, _ := drive(t, args)
			pipe(d, "tumbling")
			out := streamtest.NewOutput(d, "out", stream.WindowedKey(stream.String()), stream.Int64())
			got := out.Len()
			if diff := cmp.Diff(want, streamtest.ReadTable(out)); diff != "" || got != n {
				t.Errorf("%d outputs: want %d; %s", got, n, diff)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-marks x", "-topology sort -marks 1", "-no-such-flag"} {
		var messages bytes.Buffer
		j, err := parse(append(strings.Fields(args), "-application", "a"), &messages)
		if err == nil {
			_, err = j.define(&messages)
		}
		if err == nil {
			t.Errorf("%s was taken", args)
		}
	}
}
