package streamtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// probe is a test that notes how it ends.
type probe struct {
	testing.TB
	failed string
}

// ended is what a probe panics with, to end what calls Fatalf.
type ended struct{}

func (p *probe) Helper() {}

func (p *probe) Fatalf(format string, args ...any) {
	p.failed = fmt.Sprintf(format, args...)
	panic(ended{})
}

func (p *probe) Errorf(format string, args ...any) { p.failed = fmt.Sprintf(format, args...) }

// failure returns what a probe notes while f runs.
func failure(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	p := &probe{TB: t}
	func() {
		defer func() {
			if x := recover(); x != nil && x != (ended{}) {
				panic(x)
			}
		}()
		f(p)
	}()
	return p.failed
}

func TestFailures(t *testing.T) {
	t.Parallel()
	text := stream.String()
	counts := func() *stream.Topology {
		top := stream.New("app")
		stream.Count(stream.GroupByKey(stream.From(top, "in", text, text)), "counts").ToStream().To("out")
		stream.GlobalTableFrom(top, "rows", "rows", text, text)
		stream.From(top, "left", text, text)
		return top
	}
	for _, c := range []struct {
		name string
		f    func(t testing.TB)
		want string
	}{
		{"a fault of the topology", func(t testing.TB) {
			top := stream.New("app")
			stream.From(top, "", text, text)
			streamtest.New(t, top)
		}, "no topic"},
		{"no partitions", func(t testing.TB) { streamtest.New(t, copied(), streamtest.Partitions(0)) }, "topics have 0 partitions"},
		{"no partitions of a topic", func(t testing.TB) { streamtest.New(t, copied(), streamtest.Partitions(-1, "in")) }, "topic in has -1 partitions"},
		{"no such partition", func(t testing.TB) {
			streamtest.NewInput(streamtest.New(t, copied()), "in", text, text).PipeTo(4, stream.Record[string, string]{})
		}, "topic in has no partition 4, but 1 partitions"},
		{"no such topic", func(t testing.TB) { streamtest.NewInput(streamtest.New(t, copied()), "inn", text, text) }, "neither reads nor writes a topic inn; there are [in out]"},
		{"no such topic for bytes", func(t testing.TB) { streamtest.New(t, copied()).PipeRaw("inn", record.Raw{}) }, "topic inn"},
		{"no such topic to read", func(t testing.TB) { streamtest.NewOutput(streamtest.New(t, copied()), "ouut", text, text) }, "topic ouut"},
		{"no such topic to read as bytes", func(t testing.TB) { streamtest.New(t, copied()).Raw("ouut", 0) }, "topic ouut"},
		{"partitions of no topic", func(t testing.TB) { streamtest.New(t, copied(), streamtest.Partitions(2, "inn")) }, "partitions of topic inn"},
		{"no such partition to read", func(t testing.TB) { streamtest.New(t, copied()).Raw("out", 1) }, "topic out has no partition 1"},
		{"no such task", func(t testing.TB) { streamtest.New(t, copied()).Rebalance(0, 3) }, "there is no task 0_3"},
		{"no such store", func(t testing.TB) { streamtest.StateOf(streamtest.New(t, counts()), "nix", text, text) }, "there is no store nix; there are [counts]"},
		{"no such global table", func(t testing.TB) { streamtest.GlobalOf[string, string](streamtest.New(t, counts()), "nix") }, "there is no global table nix; there are [rows]"},
		{"a global table of other types", func(t testing.TB) {
			d := streamtest.New(t, counts())
			streamtest.NewInput(d, "rows", text, text).Pipe("a", "b", 1)
			streamtest.GlobalOf[string, int64](d, "rows")
		}, "global table rows has string and string"},
		{"a store of other types", func(t testing.TB) {
			d := streamtest.New(t, counts())
			streamtest.NewInput(d, "in", text, text).Pipe("a", "b", 1)
			streamtest.StateOf(d, "counts", stream.Int64(), stream.Int64())
		}, "store counts of task 0_0: decode a key"},
		{"a store that is for its operator alone", func(t testing.TB) {
			top := stream.New("app")
			a, b := stream.From(top, "a", text, text), stream.From(top, "b", text, text)
			stream.JoinStream(a, b, "both", stream.Symmetric(time.Second), func(x, y string) string { return x + y }).To("out")
			streamtest.StateOf(streamtest.New(t, top), "both-left", text, text)
		}, "store both-left has no rows by key"},
		{"what cannot be decoded", func(t testing.TB) {
			d := streamtest.New(t, copied())
			streamtest.NewInput(d, "in", text, text).Pipe("a", "b", 1)
			streamtest.NewOutput(d, "out", text, stream.Decimal()).Read()
		}, "decode the value of out/0/0"},
		{"what cannot be encoded", func(t testing.TB) {
			streamtest.NewInput(streamtest.New(t, copied()), "in", text, stream.JSON[chan int]()).Pipe("a", nil, 1)
		}, "encode a value for in"},
		{"no golden file", func(t testing.TB) { streamtest.Golden(t, copied(), "testdata/none.golden") }, "there is no file testdata/none.golden"},
		{"a golden file of something else", func(t testing.TB) { streamtest.Golden(t, copied(), "testdata/shop.golden") }, "-Application shop"},
		{"no topology for a golden file", func(t testing.TB) { streamtest.Golden(t, stream.New("app"), "testdata/shop.golden") }, "reads no topic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := failure(t, c.f); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestKeepErrors(t *testing.T) {
	t.Parallel()
	wrong := errors.New("the service is down")
	top := stream.New("app")
	in := stream.From(top, "in", stream.String(), stream.String())
	down, panics := true, false
	stream.TryMapValues(in, func(_ context.Context, v string) (string, error) {
		switch {
		case panics:
			panic("oops")
		case down && v == "bad":
			return "", wrong
		}
		return v, nil
	}, stream.Named("call")).To("out")
	d := streamtest.New(t, top, streamtest.KeepErrors())
	src := streamtest.NewInput(d, "in", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	src.Pipe("a", "good", 1)
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	src.Pipe("a", "bad", 2)
	if err := d.Err(); !errors.Is(err, wrong) || !strings.Contains(err.Error(), "task 0_0, record in/0/1: call:") {
		t.Errorf("got %v", err)
	}
	d.Crash() // and again
	if !errors.Is(d.Err(), wrong) {
		t.Errorf("after a restart: %v", d.Err())
	}
	down = false
	d.Crash()
	if diff := cmp.Diff([]string{"good", "bad"}, out.ReadValues()); diff != "" || d.Err() != nil {
		t.Error(diff, d.Err())
	}
	panics = true
	src.Pipe("a", "x", 3)
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "panic: oops") {
		t.Errorf("got %v", err)
	}
}

// TestFailureInLog has a function fail where that drops the record: only the log says at debug why.
func TestFailureInLog(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dlq"))
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.TryMapValues(in, func(context.Context, string) (string, error) { return "", errors.New("no such user: ada") },
		stream.Named("call"), stream.OnError(stream.DeadLetter)).To("out")
	var log strings.Builder
	d := streamtest.New(t, top, streamtest.LogTo(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("a", "b", 1)
	letters := streamtest.NewOutput(d, "dlq", stream.String(), stream.String()).ReadAll()
	if len(letters) != 1 || strings.Contains(fmt.Sprint(letters), "ada") {
		t.Errorf("letters: %v", letters)
	}
	if got := log.String(); !strings.Contains(got, `node=call error="no such user: ada"`) {
		t.Errorf("log: %s", got)
	}
}

// own is a processor made of functions.
type own struct {
	init    func(*stream.ProcessorContext[string, string]) error
	process func(*stream.Record[string, string]) error
}

func (o own) Init(c *stream.ProcessorContext[string, string]) error {
	if o.init == nil {
		return nil
	}
	return o.init(c)
}

func (o own) Process(r *stream.Record[string, string]) error {
	if o.process == nil {
		return nil
	}
	return o.process(r)
}

// unencodable is a codec that cannot encode.
type unencodable struct{}

func (unencodable) Append([]byte, string) ([]byte, error) { return nil, errors.New("never") }
func (unencodable) Decode(b []byte) (string, error)       { return string(b), nil }

type ctx = context.Context

// TestErrorsTellWhere: an error that ends the application names the operator or the store, and none ends the test.
func TestErrorsTellWhere(t *testing.T) {
	t.Parallel()
	text := stream.String()
	type (
		texts   = stream.Stream[string, string]
		context = stream.ProcessorContext[string, string]
		batch   = stream.Batch[string, string, string]
	)
	process := func(s texts, o own, stores ...stream.StoreRef) {
		stream.Process(s, "own", func() stream.Processor[string, string, string, string] { return o }, stores...)
	}
	for _, c := range []struct {
		name    string
		declare func(s texts)
		want    string
	}{
		{"init", func(s texts) {
			process(s, own{init: func(*context) error { return errors.New("no") }})
		}, "task 0_0: own: no"},
		{"init that panics", func(s texts) { process(s, own{init: func(*context) error { panic("no") }}) }, "task 0_0: panic: no"},
		{"no processor", func(s texts) {
			stream.Process(s, "own", func() stream.Processor[string, string, string, string] { return nil })
		}, "task 0_0: own: the supplier has returned nil"},
		{"process", func(s texts) {
			process(s, own{process: func(*stream.Record[string, string]) error { return errors.New("no") }})
		}, "task 0_0, record in/0/0: own: no"},
		{"punctuation", func(s texts) {
			process(s, own{init: func(c *context) error {
				c.OnStreamTime(time.Second, func(int64) error { return errors.New("no") })
				return nil
			}})
		}, "task 0_0, record in/0/0: own: no"},
		{"store of nobody", func(s texts) {
			rows := stream.NewStore("rows", text, text)
			process(s, own{init: func(c *context) error { return stream.Open(c, rows).Put("a", "b") }})
		}, `own: the store "rows" was not given to the operator own at errors_test.go:`},
		{"store of another operator", func(s texts) {
			rows := stream.NewStore("rows", text, text)
			stream.Process(s, "other", func() stream.Processor[string, string, string, string] { return own{} }, rows)
			process(s, own{init: func(c *context) error { return stream.Open(c, rows).Delete("a") }})
		}, `the store "rows" was not given to the operator own`},
		{"row", func(s texts) {
			stream.Reduce(stream.GroupByKey(s.Values(unencodable{})), "rows", func(_, v string) string { return v })
		}, "task 0_0: store rows: encode the value of a row: never"},
		{"key", func(s texts) { stream.ToTable(s.Keys(unencodable{}), "rows") }, "task 0_0, record in/0/0: store rows: encode the key of a row: never"},
		{"too few results", func(s texts) {
			stream.MapBatch(s, "batch", func(_ ctx, b *batch) error { b.Out = nil; return nil }, stream.BatchOptions{})
		}, "batch: the function has left 0 results for 1 records"},
		{"no records", func(s texts) {
			stream.MapBatch(s, "batch", func(_ ctx, b *batch) error { b.In, b.Out = nil, nil; return errors.New("no") }, stream.BatchOptions{OnError: stream.ErrorPolicy{Retries: 1}})
		}, "task 0_0: batch: no"},
		{"batch that panics", func(s texts) {
			stream.MapBatch(s, "batch", func(ctx, *batch) error { panic("no") }, stream.BatchOptions{})
		}, "streamtest_test.TestErrorsTellWhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("app")
			c.declare(stream.From(top, "in", text, text))
			d := streamtest.New(t, top, streamtest.KeepErrors())
			streamtest.NewInput(d, "in", text, text).Pipe("a", "b", 1)
			if err := fmt.Sprint(d.Err()); !strings.Contains(err, c.want) {
				t.Errorf("got %s, want %s", err, c.want)
			}
		})
	}
}

// TestNoLetterWithoutRecord: a record that a punctuation has made has no source to be a dead letter of.
func TestNoLetterWithoutRecord(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dead"))
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.Process(in, "own", func() stream.Processor[string, string, string, string] {
		return own{init: func(c *stream.ProcessorContext[string, string]) error {
			c.OnWallClock(time.Second, func(now int64) error {
				return c.Forward(&stream.Record[string, string]{Key: "a", Value: "b", Timestamp: now})
			})
			return nil
		}}
	}).Values(unencodable{}).To("out")
	d := streamtest.New(t, top)
	d.Advance(time.Second)
	if drops := d.Drops(); len(drops) != 1 || drops[0].Problem.Class != "unencodable" || drops[0].Record.Topic != "" {
		t.Errorf("drops: %v", drops)
	}
	if letters := d.Raw("dead", 0); len(letters) != 0 {
		t.Errorf("dead letters: %v", letters)
	}
}
