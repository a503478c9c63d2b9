package engine

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// pairs brings two topics together whose records have numbers, and deletes what was processed.
func pairs(s *setup) {
	s.Compression, s.PurgeInterval, s.LackPatience = kafka.CompressionNone, 300*time.Millisecond, 400*time.Millisecond
	s.topology = stream.New(group, stream.DeadLetters(s.letters))
	var topics []stream.Stream[string, string]
	for _, topic := range []string{"left", "right"} {
		number := stream.EventTime(func(r *stream.Record[string, string]) time.Time {
			n, err := strconv.ParseInt(strings.TrimPrefix(r.Value, "poison "), 10, 64)
			if err != nil {
				return time.Time{}
			}
			return time.UnixMilli(n)
		})
		topics = append(topics, stream.From(s.topology, topic, stream.String(), stream.String(), number, stream.DeleteProcessed()))
	}
	stream.InStep(topics, "pair", func(p *stream.Step[string, string, string]) error {
		var text []string
		for i, r := range p.In {
			if r != nil {
				p.Of, p.Out.Key, p.Out.Timestamp = i, r.Key, time.Now().UnixMilli()
				text = append(text, r.Value)
			}
		}
		p.Out.Value = strings.Join(text, "+")
		return nil
	}, stream.OnError(stream.DeadLetter)).To(s.sink, stream.Provenance())
}

// TestInStep has one of two topics come late while instances come and go: the other one waits in the broker, and it is told for which
// topic. Of each number there is one result, in order, and one that the brokers refuse is a dead letter.
func TestInStep(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		const n, poisoned = 6000, 4321
		for _, topic := range []string{"left", "right"} {
			if err := w.cluster.CreateTopic(topic, 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Err: kerr.InvalidRecord, Count: -1,
			When: func(r kmsg.Request) bool { return contains(r, "poison") },
		})
		write := func(topic string, from, to int) {
			p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: topic})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for i := from; i < to; i++ {
				value := strconv.Itoa(i)
				if i == poisoned {
					value = "poison " + value
				}
				if err := p.Send(t.Context(), &record.Raw{Key: []byte("k"), Value: []byte(value), Timestamp: time.Now().UnixMilli()}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		write("left", 0, n)
		first := w.run(pairs)
		lacks := func(in *instance, topic string) func() bool {
			return func() bool {
				s := in.Stats()
				return topic == "" && len(s.Lacks) == 0 || len(s.Lacks) == 1 && s.Lacks[0].Topic == topic
			}
		}
		w.until("it is told that right is waited for", lacks(first, "right"))
		if s := first.Stats(); s.Records != 0 || s.activeLag() > 1 {
			t.Errorf("%d records were processed, and %d would be missed", s.Records, s.activeLag())
		}
		write("right", 0, 2000)
		w.until("what there is", func() bool { return first.Stats().Records == 2000 })
		w.until("it is told again", lacks(first, "right"))
		first.kill()
		second := w.run(pairs)
		write("right", 2000, n)
		w.until("all", func() bool { return second.Stats().Records == n-2000 })
		w.until("nothing is waited for", lacks(second, ""))
		write("right", n, n+10)
		w.until("it is told that left is waited for", lacks(second, "left"))
		write("left", n, n+10)
		w.until("the rest", func() bool { return second.Stats().Records == n+10-2000 })
		w.until("the topics to be all but empty", func() bool {
			for _, topic := range []string{"left", "right"} {
				for _, p := range w.cluster.PartitionInfos(topic) {
					if p.HighWatermark-p.LogStartOffset > 5 {
						return false
					}
				}
			}
			return true
		})
		second.stop(t)
		if d := second.Stats().DeadLetters[Kind{"produce", "refused"}]; d != 1 {
			t.Errorf("%d refused records, want one", d)
		}
		next := 0
		for _, r := range w.read(sink) {
			if next == poisoned {
				next++
			}
			if want := fmt.Sprintf("%d+%d", next, next); string(r.Value) != want {
				t.Fatalf("result %q, want %q", r.Value, want)
			}
			next++
		}
		if next != n+10 {
			t.Errorf("%d results", next)
		}
		for _, text := range []string{`"records wait for those of another topic, which has none" group=house-prices topic=right`, `"the topic that records waited for has some again" group=house-prices topic=right`} {
			if !strings.Contains(first.log.String(), text) && !strings.Contains(second.log.String(), text) {
				t.Errorf("nobody has said %s", text)
			}
		}
	})
}
