//go:build linux

// Streams holds a stream application on millrace's library against the same application on Kafka Streams: in one run,
// on one broker of Apache Kafka, on one data set, in turns. What is measured stands in bench/README.md. The tables go to
// standard output, progress to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
	"millrace.dev/e2e/kafkatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := benchMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

// options say what is measured.
type options struct {
	ours        string   // the program on millrace; "" measures Kafka Streams alone
	peer        string   // the folder of the program on Kafka Streams
	topologies  []string // some of allTopologies
	guarantees  []string
	caches      []string        // on, off
	commits     []time.Duration // 0 is that of each contestant
	records     int
	counts      int
	threads     int
	compression string
	java        []string // flags of the virtual machine; nil is those that are tuned
	settings    []string // of Kafka Streams, name=value
}

// bench carries one run of everything.
type bench struct {
	options

	dir      string
	topics   topics
	out      io.Writer
	messages io.Writer
}

// topics are those that contestants read.
type topics struct{ stream, table, rows, orders, customers string }

// shortCommit is the time between two commits of both contestants under exactly-once.
const shortCommit = 100 * time.Millisecond

const (
	exactlyOnce = "exactly_once"
	atLeastOnce = "at_least_once"
)

func allTopologies() []string {
	return []string{"map", "join", "count", "tumbling", "sessions", "tables", "foreign-key"}
}

func (b *bench) parse(args []string) error {
	f := flag.NewFlagSet("streams", flag.ContinueOnError)
	f.SetOutput(b.messages)
	list := func(into *[]string, name, value, usage string) {
		*into = strings.Split(value, ",")
		f.Func(name, usage+" (default "+value+")", func(s string) error {
			*into = strings.Split(s, ",")
			return nil
		})
	}
	f.StringVar(&b.ours, "ours", "", "the `program` of bench/streams/ours (default: Kafka Streams is measured alone)")
	f.StringVar(&b.peer, "peer", "bench/streams/peer", "the `folder` of the program on Kafka Streams")
	list(&b.topologies, "topologies", strings.Join(allTopologies(), ","), "some of all")
	list(&b.guarantees, "guarantees", atLeastOnce+","+exactlyOnce, "some of at_least_once, exactly_once")
	list(&b.caches, "caches", "on", "of counts and tables: on, off, or both; on writes a key once a commit, off each update")
	b.commits = []time.Duration{0, shortCommit}
	f.Func("commits", "the time between two commits of counts and tables under at_least_once, where contestants differ: a `list` of default and durations (default default,100ms)", func(s string) error {
		var err error
		b.commits, err = parseCommits(s)
		return err
	})
	f.IntVar(&b.records, "records", 1_000_000, "records of the stream")
	f.IntVar(&b.counts, "counts", 3, "measurements of each kind")
	f.IntVar(&b.threads, "threads", 2, "of Kafka Streams, and processors that Go uses")
	f.StringVar(&b.compression, "compression", "none", "of all topics: none, snappy, lz4, zstd")
	f.Func("java", "flags of the virtual machine, in place of those that are tuned", func(s string) error {
		b.java = strings.Fields(s)
		return nil
	})
	f.Func("set", "a `name=value` of Kafka Streams, over those that are tuned; may come again", func(s string) error {
		b.settings = append(b.settings, s)
		return nil
	})
	smoke := f.Bool("smoke", false, "one short measurement of each kind, to see that everything works")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *smoke {
		b.records, b.counts = 50_000, 1
	}
	if f.NArg() > 0 || b.records < 1000 || b.counts < 1 || b.threads < 1 {
		return errors.New("want flags with positive numbers, at least 1000 records, and nothing else")
	}
	for _, c := range []struct {
		have []string
		want []string
	}{
		{b.topologies, allTopologies()},
		{b.guarantees, []string{atLeastOnce, exactlyOnce}},
		{b.caches, []string{"on", "off"}},
	} {
		for _, s := range c.have {
			if !slices.Contains(c.want, s) {
				return fmt.Errorf("%q is none of %s", s, strings.Join(c.want, ", "))
			}
		}
	}
	return nil
}

// parseCommits reads a list of times between two commits.
func parseCommits(s string) ([]time.Duration, error) {
	var commits []time.Duration
	for word := range strings.SplitSeq(s, ",") {
		if word == "default" {
			commits = append(commits, 0)
			continue
		}
		d, err := time.ParseDuration(word)
		if err != nil || d < time.Millisecond {
			return nil, fmt.Errorf("%q is neither default nor a duration of 1ms or more", word)
		}
		commits = append(commits, d)
	}
	return commits, nil
}

func benchMain(ctx context.Context, args []string, out, messages io.Writer) error {
	b := &bench{out: out, messages: messages}
	if err := b.parse(args); err != nil {
		return err
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // what is left over lies in the folder for such things
	if b.ours != "" {
		if b.ours, err = filepath.Abs(b.ours); err != nil {
			return err
		}
	}
	err = b.build(ctx)
	if err == nil {
		err = rig.OnKafka(kafkatest.Options{HeapMB: 512}, func(address string) error { return b.measure(ctx, address) })
	}
	if errors.Is(err, rig.ErrMissing) {
		b.say("%v", err)
		return nil
	}
	return err
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.messages, format+"\n", args...) //nolint:errcheck // progress alone
}

// row is one table: what the contestants do in it.
type row struct {
	topology, guarantee string
	cached              bool          // each key is written once a commit; otherwise each update is. Always set where nothing is counted
	commit              time.Duration // between two commits; 0 is that of each contestant
}

func (r row) String() string {
	s := r.topology + ", " + r.guarantee
	if !r.cached {
		s += ", each update"
	}
	if r.commit > 0 {
		s += ", commits every " + r.commit.String()
	}
	return s
}

// rows returns the rows to measure. Caches make a difference to counts and tables alone, and so does the time between commits
// under at-least-once: under exactly-once contestants commit equally often by default. The join by a foreign key is always
// measured with commits that are as frequent for both, since it is over only when the last result was written.
func (b *bench) rows() []row {
	var rows []row
	for _, topology := range b.topologies {
		stateful := topology != "map" && topology != "join"
		for _, guarantee := range b.guarantees {
			caches, commits := []string{"on"}, []time.Duration{0}
			if stateful {
				caches = b.caches
			}
			if stateful && guarantee == atLeastOnce {
				commits = b.commits
				if topology == "foreign-key" {
					commits = []time.Duration{shortCommit}
				}
			}
			for _, cache := range caches {
				for _, commit := range commits {
					rows = append(rows, row{topology: topology, guarantee: guarantee, cached: cache == "on", commit: commit})
				}
			}
		}
	}
	return rows
}

// measure runs every measurement on a broker.
func (b *bench) measure(ctx context.Context, address string) error {
	c, err := rig.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := b.fill(ctx, c); err != nil {
		return err
	}
	for _, r := range b.rows() {
		if err := b.hold(ctx, c, r); err != nil {
			return err
		}
	}
	return nil
}

// load is what a topology reads.
type load struct {
	source, table string
	counted       []string // of them those whose records count
	records       int      // in these
}

func (b *bench) load(topology string) load {
	switch topology {
	case "tables":
		return load{b.topics.stream, b.topics.rows, []string{b.topics.stream, b.topics.rows}, b.records + rows{recordsPerRow}.count(b.records)}
	case "foreign-key":
		return load{b.topics.orders, b.topics.customers, []string{b.topics.orders, b.topics.customers}, b.records + rows{recordsPerCustomer}.count(b.records)}
	default:
		return load{b.topics.stream, b.topics.table, []string{b.topics.stream}, b.records}
	}
}

// fill creates the topics that contestants read, and writes what is in them.
func (b *bench) fill(ctx context.Context, c *rig.Cluster) error {
	t := topics{stream: c.Name("stream"), table: c.Name("table"), rows: c.Name("rows"), orders: c.Name("orders"), customers: c.Name("customers")}
	b.topics = t
	if err := c.Create(ctx, t.stream, t.table, t.rows, t.orders, t.customers); err != nil {
		return err
	}
	b.say("writing %d records", b.records)
	perRow, perCustomer := rows{recordsPerRow}, rows{recordsPerCustomer}
	for _, set := range []struct {
		topic  string
		n      int
		record func(i int, r *kgo.Record)
	}{
		{t.stream, b.records, fillStream},
		{t.table, keys, fillTable},
		{t.rows, perRow.count(b.records), perRow.fill},
		{t.orders, b.records, orders{b.records}.fill},
		{t.customers, perCustomer.count(b.records), perCustomer.fill},
	} {
		if err := c.Fill(ctx, set.topic, set.n, b.compression, set.record); err != nil {
			return err
		}
	}
	return nil
}

// hold holds the contestants against one another, in turns, and prints what came out.
func (b *bench) hold(ctx context.Context, c *rig.Cluster, r row) error {
	all := b.contestants()
	for round := range b.counts {
		order := slices.Clone(all)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, who := range order {
			s, err := b.one(ctx, c, who, r)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", r, who.name, err)
			}
			b.say("%s, %s: %v", r, who.name, s)
			who.samples = append(who.samples, s)
		}
	}
	return b.print(r, all)
}
