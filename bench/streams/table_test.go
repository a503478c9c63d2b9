//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrint(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := &bench{out: &out}
	b.counts = 3
	peer, ours := &contestant{name: "Kafka Streams"}, &contestant{name: "millrace"}
	for i := range b.counts {
		f := float64(i + 1)
		peer.samples = append(peer.samples, sample{
			warm: figures{100 * f, 8}, whole: figures{50, 16}, resident: 300, first: 2 * time.Second, outputs: 7,
		})
		ours.samples = append(ours.samples, sample{
			warm: figures{400 * f, 2}, whole: figures{200, 2}, resident: 60, first: 100 * time.Millisecond, outputs: 7,
		})
	}
	if err := b.print(row{topology: "count", guarantee: exactlyOnce}, []*contestant{peer, ours}); err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(out.String()) {
		if f := strings.Fields(line); len(f) > 0 {
			rows = append(rows, f[max(0, len(f)-7):])
		}
	}
	want := [][]string{
		{"200", "8.00", "50", "16.00", "300", "2000", "7"},
		{"800", "2.00", "200", "2.00", "60", "100", "7"},
		{"4.00", "0.25", "4.00", "0.12", "0.20", "0.05", "1.00"},
	}
	if diff := cmp.Diff(want, rows[1:]); diff != "" {
		t.Errorf("%s\n%s", diff, out.String())
	}
	if !strings.Contains(out.String(), "count, exactly_once, each update") {
		t.Errorf("no title:\n%s", out.String())
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	b := &bench{}
	if err := b.parse([]string{"-topologies", "map,count", "-caches", "on,off"}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range b.rows() {
		names = append(names, r.String())
	}
	want := []string{
		"map, at_least_once", "map, exactly_once",
		"count, at_least_once", "count, at_least_once, commits every 100ms",
		"count, at_least_once, each update", "count, at_least_once, each update, commits every 100ms",
		"count, exactly_once", "count, exactly_once, each update",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-records 10", "-counts 0", "-topologies sort", "-guarantees none", "-caches maybe", "-commits 0s", "-commits soon", "more"} {
		var messages bytes.Buffer
		if err := (&bench{messages: &messages}).parse(strings.Fields(args)); err == nil {
			t.Errorf("%s was taken", args)
		}
	}
}
