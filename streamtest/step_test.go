package streamtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// steps is a topology that writes down what three topics have at each time. The value "bad" is refused, and "stop" ends it.
func steps(options ...stream.SourceOption) *stream.Topology {
	top := stream.New("app", stream.DeadLetters("dlq"))
	var streams []stream.Stream[string, string]
	for _, topic := range []string{"a", "b", "c"} {
		streams = append(streams, stream.From(top, topic, stream.String(), stream.String(), options...))
	}
	stream.InStep(streams, "step", func(s *stream.Step[string, string, string]) error {
		var text []string
		for i, r := range s.In {
			if r == nil {
				text = append(text, "-")
				continue
			}
			s.Of, s.Out.Timestamp = i, r.Timestamp
			text = append(text, r.Value)
			if r.Value == "bad" {
				return &stream.Rejection{Stage: "process", Class: "bad", Reason: "it is bad"}
			}
			if r.Value == "stop" {
				return &stream.Stop{Err: errors.New("no further")}
			}
		}
		s.Out.Key, s.Out.Value = "k", strings.Join(text, " ")
		return nil
	}, stream.OnError(stream.DeadLetter)).To("out", stream.Provenance())
	return top
}

// stepInput writes records with a time for value.
func stepInput(d *streamtest.Driver, topic string) func(times ...int64) {
	in := streamtest.NewInput(d, topic, stream.String(), stream.String())
	return func(times ...int64) {
		var rs []stream.Record[string, string]
		for _, at := range times {
			rs = append(rs, stream.Record[string, string]{Key: "k", Value: strconv.FormatInt(at, 10), Timestamp: at})
		}
		in.PipeAll(rs...)
	}
}

// TestInStep holds that records wait for as long as it takes, and only for what can still come before them or with them.
func TestInStep(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, steps())
	a, b, c := stepInput(d, "a"), stepInput(d, "b"), stepInput(d, "c")
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	want := func(lines ...string) {
		t.Helper()
		if diff := cmp.Diff(lines, out.ReadValues(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	a(1, 2)
	b(1)
	d.Advance(100 * time.Hour)
	want()
	c(1) // nothing is to follow for it to go on
	want("1 1 1")
	c(2)
	d.Crash()
	want()
	b(4)
	want("2 - 2")
	a(4)
	c(4)
	want("4 4 4")
	a(5)
	c(3) // it does not rise
	b(7)
	want("- - 3")
	c(6)
	want("5 - -")
}

// TestInStepAtRandom compares random topics, and crashes at any point, with the times that they have.
func TestInStepAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 60 {
		d := streamtest.New(t, steps(), streamtest.CommitByHand())
		inputs := []func(...int64){stepInput(d, "a"), stepInput(d, "b"), stepInput(d, "c")}
		out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
		has, last := make([][]int64, 3), [3]int64{}
		for range 30 {
			i := r.IntN(3)
			var times []int64
			for range r.IntN(5) {
				last[i] += 1 + int64(r.IntN(3)/2)
				times = append(times, last[i])
			}
			has[i] = append(has[i], times...)
			if r.IntN(4) == 0 {
				d.CrashAt(streamtest.CrashPoint(r.IntN(4)), r.IntN(3))
			}
			inputs[i](times...)
			switch r.IntN(6) {
			case 0:
				d.Crash()
			case 1:
				d.Abort()
			case 2:
				d.Rebalance(0, 0)
			default:
				d.Commit()
			}
		}
		d.Commit()
		var want []string
		for at := int64(1); at <= min(last[0], last[1], last[2]); at++ {
			line, some := make([]string, 3), false
			for i := range has {
				if line[i] = "-"; slices.Contains(has[i], at) {
					line[i], some = strconv.FormatInt(at, 10), true
				}
			}
			if some {
				want = append(want, strings.Join(line, " "))
			}
		}
		if diff := cmp.Diff(want, out.ReadValues(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	}
}

// TestInStepRefuses holds that a refused step is one dead letter, of the record that the function has named, and that a stop commits what
// came before.
func TestInStepRefuses(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, steps(), streamtest.KeepErrors())
	for _, value := range []string{"fine", "bad", "fine", "stop"} {
		for i, topic := range []string{"a", "b", "c"} {
			v := "fine"
			if i == 1 {
				v = value
			}
			in := streamtest.NewInput(d, topic, stream.String(), stream.String())
			in.Pipe("k", v, int64(len(d.Raw(topic, 0))+1))
		}
	}
	if n := len(d.Raw("out", 0)); n != 2 {
		t.Errorf("%d results, want 2", n)
	}
	letters := d.Raw("dlq", 0)
	if len(letters) != 1 || string(letters[0].Value) != "bad" || header(letters[0].Headers, "millrace.dlq.topic") != "b" || header(letters[0].Headers, "millrace.dlq.class") != "bad" {
		t.Errorf("dead letters: %v", letters)
	}
	if d.Err() == nil || !strings.Contains(d.Err().Error(), "b/0/3") {
		t.Errorf("the application has ended with %v, want the record b/0/3", d.Err())
	}
}

func header(hs []record.Header, key string) string {
	for _, h := range hs {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// TestInStepFaults holds what cannot be declared.
func TestInStepFaults(t *testing.T) {
	t.Parallel()
	f := func(*stream.Step[string, string, string]) error { return nil }
	for name, declare := range map[string]func(*stream.Topology){
		"is not a topic as it is read": func(top *stream.Topology) {
			a := stream.From(top, "a", stream.String(), stream.String())
			b := stream.From(top, "b", stream.String(), stream.String()).Filter(func(_, v string) bool { return v != "" })
			stream.InStep([]stream.Stream[string, string]{a, b}, "step", f, stream.OnError(stream.Fail)).To("out")
		},
		"is read for something else": func(top *stream.Topology) {
			a, b := stream.From(top, "a", stream.String(), stream.String()), stream.From(top, "b", stream.String(), stream.String())
			stream.InStep([]stream.Stream[string, string]{a, b}, "step", f, stream.OnError(stream.Fail)).To("out")
			b.To("copy")
		},
		"dead letters need a topic": func(top *stream.Topology) {
			a := stream.From(top, "a", stream.String(), stream.String())
			stream.InStep([]stream.Stream[string, string]{a}, "step", f, stream.OnError(stream.DeadLetter)).To("out")
		},
	} {
		top := stream.New("app")
		declare(top)
		if _, err := top.Program(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want: %s", err, name)
		}
	}
}

// TestKeepOrigin takes records through topics of other applications: their results name the records that led to them.
func TestKeepOrigin(t *testing.T) {
	t.Parallel()
	top := stream.New("app", stream.DeadLetters("dlq"))
	in := stream.From(top, "in", stream.Bytes(), stream.Bytes(), stream.KeepUnreadable())
	in.To("mid", stream.KeepOrigin(), stream.OrStop(), stream.PartitionBy(func(r *stream.Record[[]byte, []byte], _ int) int {
		if string(r.Value) == "lost" {
			return 7
		}
		return 1
	}))
	mid := stream.From(top, "mid", stream.Bytes(), stream.Bytes(), stream.WithOrigin())
	stream.Process(mid, "end", func() stream.Processor[[]byte, []byte, string, string] { return &originTold{} }).Keys(stream.String()).Values(stream.String()).To("out", stream.Provenance())
	d := streamtest.New(t, top, streamtest.Partitions(2), streamtest.KeepErrors())
	d.PipeRaw("in", record.Raw{Key: []byte("k"), Value: []byte("v"), Timestamp: 5})
	d.PipeRaw("in", record.Raw{Key: []byte("k"), Unreadable: true, Timestamp: 6})
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	want := []string{"v false 5", " true 6"}
	if diff := cmp.Diff(want, streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadValues()); diff != "" {
		t.Error(diff)
	}
	for p := range int32(2) {
		for i, r := range d.Raw("out", p) {
			if got, want := header(r.Headers, "millrace.source"), fmt.Sprintf("in/%d/%d", p, i); got != want || len(r.Headers) != 1 {
				t.Errorf("source %q, want %q, of %v", got, want, r.Headers)
			}
		}
	}
	d.PipeRaw("in", record.Raw{Key: []byte("k"), Value: []byte("lost"), Timestamp: 5})
	if d.Err() == nil || !strings.Contains(d.Err().Error(), "cannot take its result") {
		t.Errorf("the application has ended with %v, want that the topic cannot take a result", d.Err())
	}
}

// originTold sends on what the origin of a record says.
type originTold struct {
	ctx *stream.ProcessorContext[string, string]
}

func (o *originTold) Init(c *stream.ProcessorContext[string, string]) error {
	o.ctx = c
	return nil
}

func (o *originTold) Process(r *stream.Record[[]byte, []byte]) error {
	origin, _ := o.ctx.Origin()
	return o.ctx.Forward(&stream.Record[string, string]{Key: string(origin.Key), Value: fmt.Sprintf("%s %t %d", origin.Value, origin.Unreadable, origin.Timestamp), Timestamp: r.Timestamp})
}
