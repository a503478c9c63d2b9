package streamtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// told is a topology of which a vector has only words, made after the test of Kafka Streams that they name.
type told struct {
	top     *stream.Topology
	outputs map[string]bool
	fails   bool         // the application is to end with an error, at the last input or before
	check   func() error // what the results do not show
}

// wordsOf returns the topology of a case of words, nil if there is none.
func wordsOf(c *testCase) *told {
	name := c.Name[strings.LastIndex(c.Name, ".")+1:]
	name, _, _ = strings.Cut(name, "~")
	switch {
	case strings.Contains(c.Name, "ProcessingExceptionHandlerIntegrationTest"):
		return failing(c)
	case name == "shouldEnqueueLaterOutputsAfterEarlierOnes":
		return recursive(false)
	case name == "shouldApplyGlobalUpdatesCorrectlyInRecursiveTopologies":
		return recursive(true)
	case name == "shouldPunctuateOnStreamsTime":
		return punctuated(c, false)
	case name == "shouldPunctuateOnWallClockTime":
		return punctuated(c, true)
	case name == "shouldFlushStoreForFirstInput", name == "shouldNotUpdateStoreForSmallerValue",
		name == "shouldNotUpdateStoreForLargerValue", name == "shouldUpdateStoreForNewKey",
		name == "shouldPunctuateIfEvenTimeAdvances", name == "shouldPunctuateIfWallClockTimeAdvances":
		return highest()
	case name == "shouldProcessRecordForTopic":
		return copies("source-topic-1", "sink-topic-1")
	case name == "shouldForwardRecordsFromSubtopologyToSubtopology":
		return copies("source-topic-1", "sink-topic-1", "sink-topic-2")
	case name == "shouldRespectTaskIdling":
		return idling()
	}
	return nil
}

func (w *told) run(t *testing.T, c *testCase) error {
	t.Helper()
	d := streamtest.New(t, w.top, streamtest.KeepErrors())
	got, err := feed(d, w.outputs, c.Inputs)
	switch {
	case err != nil && !w.fails:
		return err
	case err == nil && w.fails:
		return errors.New("the application should have failed")
	}
	if err := compare(c, got, 1); err != nil || w.check == nil {
		return err
	}
	return w.check()
}

func outputs(topics ...string) map[string]bool {
	m := map[string]bool{}
	for _, t := range topics {
		m[t] = false
	}
	return m
}

// failing has a function that fails for keys with ERR. The handler skips the record, or fails itself for keys that say
// so; a handler that fails fails the application.
func failing(c *testCase) *told {
	w := &told{top: stream.New("vectors"), outputs: outputs("out")}
	handler, _ := c.Config["processing.exception.handler"].(string)
	policy := stream.OnError(stream.Fail)
	if strings.Contains(handler, "Continue") {
		policy = stream.OnError(stream.Skip)
	}
	isBad := func(k value) bool { return strings.Contains(k.String(), "ERR") }
	isFatal := func(k value) bool {
		return strings.Contains(k.String(), "FATAL") || strings.Contains(k.String(), "NULL")
	}
	for _, in := range c.Inputs {
		w.fails = w.fails || isBad(in.Key) && (policy.Then == stream.Fail || isFatal(in.Key))
	}
	in := stream.From(w.top, "TOPIC_NAME", values(), values())
	withKey := stream.Map(in, func(k, v value) (value, [2]value) { return k, [2]value{k, v} })
	done := stream.TryMapValues(withKey, func(_ context.Context, kv [2]value) (value, error) {
		switch {
		case isBad(kv[0]) && isFatal(kv[0]):
			panic("the handler fails")
		case isBad(kv[0]):
			return value{}, errors.New("exception in processing")
		}
		return kv[1], nil
	}, policy)
	done.Keys(values()).Values(values()).To("out")
	return w
}

// recursive writes what it has not written yet to its own input, and to a global table if asked.
func recursive(global bool) *told {
	w := &told{top: stream.New("vectors"), outputs: outputs("input", "output")}
	in := stream.From(w.top, "input", values(), values())
	fresh := in.FilterNot(func(_, v value) bool { return strings.HasPrefix(v.String(), "recurse-") })
	again := stream.MapValues(fresh, func(v value) value { return textOf("recurse-" + v.String()) })
	again.Values(values()).To("input")
	in.To("output")
	if global {
		in.To("global-topic")
		stream.GlobalTableFrom(w.top, "global", "global-topic", values(), values())
		w.outputs["global-topic"] = false
	}
	return w
}

// punctuated notes when a punctuation is called.
func punctuated(c *testCase, wall bool) *told {
	const interval = 10
	w := &told{top: stream.New("vectors"), outputs: outputs()}
	var got, want []int64
	in := stream.From(w.top, "source-topic-1", stream.Bytes(), stream.Bytes())
	stream.Process(in, "noted", func() stream.Processor[[]byte, []byte, string, string] {
		return &punctual{interval: interval * time.Millisecond, wall: wall, at: &got}
	})
	var due, now int64
	if wall {
		due = interval
	}
	for _, x := range c.Inputs {
		switch {
		case !wall && x.AdvanceWall == nil:
			now = max(now, x.Timestamp)
		case wall && x.AdvanceWall != nil:
			now += *x.AdvanceWall
		default:
			continue
		}
		if now >= due {
			want = append(want, now)
			due = (now/interval + 1) * interval
		}
	}
	w.check = func() error {
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("punctuated at (-Kafka Streams +here):\n%s", diff)
		}
		return nil
	}
	return w
}

type punctual struct {
	interval time.Duration
	wall     bool
	at       *[]int64
}

func (p *punctual) Init(c *stream.ProcessorContext[string, string]) error {
	if !p.wall {
		c.OnStreamTime(p.interval, func(at int64) error {
			*p.at = append(*p.at, at)
			return nil
		})
		return nil
	}
	start := c.Now().UnixMilli()
	c.OnWallClock(p.interval, func(at int64) error {
		*p.at = append(*p.at, at-start)
		return nil
	})
	return nil
}

func (p *punctual) Process(*stream.Record[[]byte, []byte]) error { return nil }

// highest keeps the highest value of each key, and writes them all now and then. It knows one from before.
func highest() *told {
	w := &told{top: stream.New("vectors"), outputs: outputs("result-topic")}
	rows := stream.NewStore("aggStore", values(), values())
	in := stream.From(w.top, "input-topic", values(), values())
	out := stream.Process(in, "aggregator", func() stream.Processor[value, value, value, value] { return &maximum{store: rows} }, rows)
	out.Keys(values()).Values(values()).To("result-topic")
	return w
}

type maximum struct {
	store *stream.Store[value, value]
	rows  *stream.State[value, value]
	next  *stream.ProcessorContext[value, value]
}

func (m *maximum) Init(c *stream.ProcessorContext[value, value]) error {
	m.next, m.rows = c, stream.Open(c, m.store)
	c.OnWallClock(time.Minute, m.flush)
	c.OnStreamTime(10*time.Second, m.flush)
	_, ok, err := m.rows.Get(textOf("a"))
	if err != nil || ok {
		return err
	}
	return m.rows.Put(textOf("a"), wholeOf(21))
}

func (m *maximum) Process(r *stream.Record[value, value]) error {
	old, ok, err := m.rows.Get(r.Key)
	if err != nil || ok && r.Value.whole <= old.whole {
		return err
	}
	return m.rows.Put(r.Key, r.Value)
}

func (m *maximum) flush(at int64) error {
	return m.rows.All(func(k, v value) (bool, error) {
		return true, m.next.Forward(&stream.Record[value, value]{Key: k, Value: v, Timestamp: at})
	})
}

// copies copies a topic to the next, and that to the next.
func copies(topics ...string) *told {
	w := &told{top: stream.New("vectors"), outputs: outputs(topics[1:]...)}
	for i, to := range topics[1:] {
		stream.From(w.top, topics[i], values(), values()).To(to)
	}
	return w
}

// idling waits a second for the topic that has no records.
func idling() *told {
	w := &told{top: stream.New("vectors", stream.MaxIdle(time.Second)), outputs: outputs("output")}
	in := stream.From(w.top, "input1", values(), values())
	in.Merge(stream.From(w.top, "input2", values(), values())).To("output")
	return w
}
