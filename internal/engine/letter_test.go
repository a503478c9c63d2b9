package engine

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// headers returns a record's headers as lines.
func headers(r *record.Raw) []string {
	var lines []string
	for _, h := range r.Headers {
		lines = append(lines, h.Key+": "+string(h.Value))
	}
	return lines
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		ts := time.Now().UnixMilli() - 5000
		stamp := strconv.FormatInt(ts, 10)
		w.put(
			record.Raw{Key: []byte("a"), Value: []byte("good"), Timestamp: ts, Headers: []record.Header{{Key: "trace", Value: []byte("1")}}},
			record.Raw{Key: []byte("b"), Value: []byte("bad"), Timestamp: ts, Headers: []record.Header{{Key: "trace", Value: []byte("2")}}},
			record.Raw{Value: []byte("bad again"), Timestamp: ts, Headers: []record.Header{
				{Key: "trace", Value: []byte("3")},
				{Key: task.LetterAttempt, Value: []byte("2")},
				{Key: task.LetterFirstSeen, Value: []byte("17")},
				{Key: task.LetterReason, Value: []byte("an old one")},
			}},
			record.Raw{Key: []byte("c"), Timestamp: ts},
		)
		in := w.run()
		w.drained()
		in.stop(t)
		out := w.read(sink)
		if len(out) != 1 {
			t.Fatalf("%d predictions", len(out))
		}
		if diff := cmp.Diff([]string{"trace: 1", "millrace.model: m@1", "millrace.digest: sha256:0", "millrace.source: houses/0/0"}, headers(&out[0])); diff != "" {
			t.Error(diff)
		}
		want := map[int64][]string{
			1: {
				"trace: 2", "millrace.dlq.id: 1e9fa7b8a40928787f2d93deda0b0bde", "millrace.dlq.topic: houses", "millrace.dlq.partition: 0",
				"millrace.dlq.offset: 1", "millrace.dlq.timestamp: " + stamp, "millrace.dlq.group: house-prices", "millrace.dlq.node: predict",
				"millrace.dlq.stage: decode", "millrace.dlq.class: invalid_json", "millrace.dlq.field: x", "millrace.dlq.reason: not a JSON object",
				"millrace.dlq.attempt: 1", "millrace.dlq.first-seen: " + stamp, "millrace.dlq.model: m@1", "millrace.dlq.version: v1",
			},
			2: {
				"trace: 3", "millrace.dlq.id: 20e4bb3fdaa0fa9fb35d788715e5c428", "millrace.dlq.topic: houses", "millrace.dlq.partition: 0",
				"millrace.dlq.offset: 2", "millrace.dlq.timestamp: " + stamp, "millrace.dlq.group: house-prices", "millrace.dlq.node: predict",
				"millrace.dlq.stage: decode", "millrace.dlq.class: invalid_json", "millrace.dlq.field: x", "millrace.dlq.reason: not a JSON object",
				"millrace.dlq.attempt: 3", "millrace.dlq.first-seen: 17", "millrace.dlq.model: m@1", "millrace.dlq.version: v1",
			},
		}
		dead := w.read(letters)
		if len(dead) != 3 {
			t.Fatalf("%d dead letters", len(dead))
		}
		for _, r := range dead {
			if lines, ok := want[sourceOf(t, &r).offset]; ok {
				if diff := cmp.Diff(lines, headers(&r)); diff != "" {
					t.Error(diff)
				}
			} else if r.Value != nil || header(&r, task.LetterClass) != "null_value" || string(r.Key) != "c" {
				t.Errorf("tombstone: %q %q %v", r.Key, r.Value, headers(&r))
			}
			if r.Timestamp != ts {
				t.Errorf("timestamp %d, want %d", r.Timestamp, ts)
			}
		}
		s := in.Stats()
		if diff := cmp.Diff(map[Kind]uint64{{"decode", "invalid_json"}: 2, {"decode", "null_value"}: 1}, s.DeadLetters); diff != "" {
			t.Error(diff)
		}
		if q := s.Latency.Quantile(0.5); q < 5*time.Second || q > 12*time.Second {
			t.Errorf("latency %s", q)
		}
	})
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		w.topic("big", map[string]string{"max.message.bytes": "5000000"})
		w.topic("small.dlq", map[string]string{"max.message.bytes": "20000"})
		big := bytes.Repeat([]byte("v"), 2_000_000)
		p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: "big"})
		if err != nil {
			t.Fatal(err)
		}
		rs := []record.Raw{
			{Key: []byte("1"), Value: []byte("good")},
			{Key: []byte("2"), Value: []byte("huge 1048000")}, // fits
			{Key: []byte("3"), Value: []byte("huge 1048588")}, // does not
			{Key: []byte("4"), Value: []byte("huge 3000000")},
			{Key: []byte("5"), Value: big},                                                                              // neither as a prediction nor as a letter
			{Key: []byte("6"), Value: append([]byte("bad"), big...)},                                                    // not as a letter
			{Key: bytes.Repeat([]byte("k"), 30_000), Value: []byte("bad")},                                              // key too large for a letter
			{Key: []byte("8"), Value: []byte("bad"), Headers: []record.Header{{Key: "h", Value: make([]byte, 30_000)}}}, // headers
			{Key: []byte("9"), Value: []byte("bad, but small")},
			{Key: []byte("10"), Value: []byte("good")},
		}
		for i := range rs {
			if err := p.Send(t.Context(), &rs[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Close()
		in := w.run(func(o *setup) { o.source, o.letters = "big", "small.dlq" })
		w.until("all results", func() bool { return in.Stats().Records == uint64(len(rs)) })
		in.stop(t)
		got := map[string]string{}
		for _, r := range w.read(sink) {
			got[string(r.Key)] = strconv.Itoa(len(r.Value))
		}
		for _, r := range w.read("small.dlq") {
			key := string(r.Key)
			if key == "" {
				key = "none"
			}
			parts := []string{header(&r, task.LetterStage), header(&r, task.LetterClass), strconv.Itoa(len(r.Value))}
			for _, h := range []string{LetterValueBytes, LetterKeyBytes, LetterHeadersBytes} {
				parts = append(parts, header(&r, h))
			}
			got[key] = strings.Join(parts, " ")
			if r.Value == nil && header(&r, LetterValueBytes) == "" {
				t.Errorf("%q has no value and does not say so", key)
			}
		}
		want := map[string]string{
			"1": "5", "10": "5", "2": "1048000",
			"3": "produce too_large 12   ", "4": "produce too_large 12   ",
			"5": "produce too_large 0 2000000  ", "6": "decode invalid_json 0 2000003  ",
			"none": "decode invalid_json 0 3 30000 ", "8": "decode invalid_json 0 3  30001", "9": "decode invalid_json 14   ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func (w *world) topic(name string, configs map[string]string) {
	w.t.Helper()
	if err := w.client.CreateTopics(w.t.Context(), kafka.NewTopic{Name: name, Partitions: 2, Replicas: 1, Configs: configs}); err != nil {
		w.t.Fatal(err)
	}
}

// contains tells whether a produce request has records with the text.
func contains(req kmsg.Request, topicBytes string) bool {
	p, ok := req.(*kmsg.ProduceRequest)
	if !ok {
		return false
	}
	for _, t := range p.Topics {
		for _, tp := range t.Partitions {
			if bytes.Contains(tp.Records, []byte(topicBytes)) {
				return true
			}
		}
	}
	return false
}

// TestRefused has the brokers refuse certain predictions, for reasons that the engine cannot foresee.
func TestRefused(t *testing.T) {
	t.Parallel()
	plain := func(o *setup) { o.Compression = kafka.CompressionNone }
	for name, err := range map[string]*kerr.Error{"invalid": kerr.InvalidRecord, "timestamp": kerr.InvalidTimestamp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 3, func(t *testing.T, w *world) {
				w.cluster.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Err: err, Count: -1,
					When: func(r kmsg.Request) bool { return contains(r, "=poison") },
				})
				rng := seeded(t, 1)
				w.write(700, rng)
				w.put(record.Raw{Key: []byte("a"), Value: []byte("poison 1")}, record.Raw{Key: []byte("b"), Value: []byte("poison 2")})
				w.write(700, rng)
				in := w.run(plain)
				w.drained()
				in.stop(t)
				s := in.Stats()
				if n := s.DeadLetters[Kind{"produce", "refused"}]; n != 2 || s.Records != 1402 {
					t.Errorf("%d refused of %d records", n, s.Records)
				}
				t.Logf("%d aborts", s.Aborts)
				w.verify()
			})
		})
	}
}

// TestRefusedWhileWaiting has the brokers refuse one of many records that waited together for another topic: they would all
// be in one round, again and again.
func TestRefusedWhileWaiting(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []Guarantee{ExactlyOnce, AtLeastOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				if err := w.cluster.CreateTopic("other", 1, nil); err != nil {
					t.Fatal(err)
				}
				w.cluster.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Err: kerr.InvalidRecord, Count: -1,
					When: func(r kmsg.Request) bool { return contains(r, "poison") },
				})
				const n = 50
				for i := range n {
					v := strconv.Itoa(i)
					if i == 37 {
						v = "poison"
					}
					w.put(record.Raw{Key: []byte("k"), Value: []byte(v), Timestamp: time.Now().UnixMilli()})
				}
				in := w.run(func(s *setup) {
					s.Guarantee, s.Compression = guarantee, kafka.CompressionNone
					s.topology = stream.New(group, stream.MaxIdle(500*time.Millisecond), stream.DeadLetters(s.letters))
					a := stream.From(s.topology, s.source, stream.String(), stream.String())
					a.Merge(stream.From(s.topology, "other", stream.String(), stream.String())).To(s.sink)
				})
				w.drained()
				w.numbers(n, n)
				w.drained()
				in.stop(t)
				s := in.Stats()
				if d := s.DeadLetters[Kind{"produce", "refused"}]; d != 1 || s.Records != 2*n || s.Aborts > 20 {
					t.Errorf("%d refused of %d records, %d rounds undone", d, s.Records, s.Aborts)
				}
				if out := w.read(sink); len(out) != 2*n-1 && guarantee == ExactlyOnce {
					t.Errorf("%d results", len(out))
				}
			})
		})
	}
}

// TestRefusedLetter has the brokers refuse a dead letter with the record's own bytes, and then any.
func TestRefusedLetter(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		fault := func(text string) {
			w.cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: letters, Err: kerr.InvalidRecord, Count: -1,
				When: func(r kmsg.Request) bool { return contains(r, text) },
			})
		}
		fault("bad poison")
		w.put(record.Raw{Key: []byte("a"), Value: []byte("bad poison")}, record.Raw{Key: []byte("b"), Value: []byte("good")})
		in := w.run(func(o *setup) { o.Compression = kafka.CompressionNone })
		w.drained()
		dead := w.read(letters)
		if len(dead) != 1 || dead[0].Value != nil || header(&dead[0], LetterValueBytes) != "10" || header(&dead[0], task.LetterClass) != "invalid_json" {
			t.Errorf("letters: %v", dead)
		}
		fault("invalid_json")
		w.put(record.Raw{Key: []byte("c"), Value: []byte("bad")})
		<-in.done
		wantError(t, in.err, kafka.CodeRejected, letters)
	})
}

// TestBatchTooLarge has a topic that takes less than its configuration says.
func TestBatchTooLarge(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: sink, Err: kerr.MessageTooLarge, Count: -1,
			When: func(r kmsg.Request) bool {
				p, ok := r.(*kmsg.ProduceRequest)
				if !ok {
					return false
				}
				for _, t := range p.Topics {
					for _, tp := range t.Partitions {
						if len(tp.Records) > 9000 {
							return true
						}
					}
				}
				return false
			},
		})
		w.write(2000, seeded(t, 1))
		w.put(record.Raw{Key: []byte("a"), Value: []byte("huge 20000")})
		in := w.run(func(o *setup) { o.Compression = kafka.CompressionNone })
		w.drained()
		in.stop(t)
		s := in.Stats()
		if s.Records != 2001 || s.DeadLetters[Kind{"produce", "too_large"}] != 1 {
			t.Errorf("%d records, dead letters %v", s.Records, s.DeadLetters)
		}
		t.Logf("%d aborts", s.Aborts)
		w.verify()
	})
}

// TestTimestamps has records whose timestamps the sink's brokers would refuse.
func TestTimestamps(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		now := time.Now().UnixMilli()
		future := now + 100*24*3600*1000
		w.put(record.Raw{Key: []byte("a"), Value: []byte("now"), Timestamp: now}, record.Raw{Key: []byte("b"), Value: []byte("far"), Timestamp: future})
		in := w.run()
		w.drained()
		in.stop(t)
		for _, r := range w.read(sink) {
			switch string(r.Key) {
			case "a":
				if r.Timestamp != now || header(&r, HeaderSourceTimestamp) != "" {
					t.Errorf("a: %d, %v", r.Timestamp, headers(&r))
				}
			case "b":
				if d := r.Timestamp - now; d < 0 || d > 60_000 || header(&r, HeaderSourceTimestamp) != strconv.FormatInt(future, 10) {
					t.Errorf("b: %d, %v", r.Timestamp, headers(&r))
				}
			}
		}
	})
}
