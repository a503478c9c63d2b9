package engine

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// TestCompat checks the headers of other systems byte for byte: names, order and form are those of their sources.
func TestCompat(t *testing.T) {
	t.Parallel()
	for compat, want := range map[Compat][]string{
		CompatNone: nil,
		CompatConnect: {
			"__connect.errors.topic: houses", "__connect.errors.partition: 0", "__connect.errors.offset: 1",
			"__connect.errors.connector.name: house-prices", "__connect.errors.task.id: 0", "__connect.errors.stage: VALUE_CONVERTER",
			"__connect.errors.class.name: predict", "__connect.errors.exception.class.name: millrace.decode.invalid_json",
			"__connect.errors.exception.message: not a JSON object",
			"__connect.errors.exception.stacktrace: millrace.decode.invalid_json: not a JSON object",
		},
		CompatStreams: {
			"__streams.errors.exception: millrace.decode.invalid_json", "__streams.errors.message: not a JSON object",
			"__streams.errors.stacktrace: millrace.decode.invalid_json: not a JSON object",
			"__streams.errors.topic: houses", "__streams.errors.partition: 0", "__streams.errors.offset: 1",
		},
		CompatSpring: {
			"kafka_dlt-exception-fqcn: millrace.decode.invalid_json", "kafka_dlt-exception-cause-fqcn: millrace.decode.invalid_json",
			"kafka_dlt-exception-message: not a JSON object", "kafka_dlt-exception-stacktrace: millrace.decode.invalid_json: not a JSON object",
			"kafka_dlt-original-topic: houses", "kafka_dlt-original-partition: \x00\x00\x00\x00",
			"kafka_dlt-original-offset: \x00\x00\x00\x00\x00\x00\x00\x01", "kafka_dlt-original-timestamp: \x00\x00\x01\x23\x45\x67\x89\xab",
			"kafka_dlt-original-consumer-group: house-prices",
		},
	} {
		t.Run(string(compat), func(t *testing.T) {
			t.Parallel()
			bubble(t, 1, func(t *testing.T, w *world) {
				w.put(
					record.Raw{Key: []byte("a"), Value: []byte("good")},
					record.Raw{Key: []byte("b"), Value: []byte("bad SECRET"), Timestamp: 0x0123456789ab, Headers: []record.Header{{Key: "trace", Value: []byte("1")}}},
				)
				in := w.run(func(s *setup) { s.LetterCompat = compat })
				w.drained()
				in.stop(t)
				dead := w.read(letters)
				if len(dead) != 1 {
					t.Fatalf("%d dead letters", len(dead))
				}
				lines := headers(&dead[0])
				if string(dead[0].Value) != "bad SECRET" || lines[0] != "trace: 1" || !strings.HasPrefix(lines[1], task.LetterPrefix) {
					t.Errorf("%q: %q", dead[0].Value, lines)
				}
				last := slices.Index(lines, "millrace.dlq.version: v1")
				if diff := cmp.Diff(want, lines[last+1:], cmp.Transformer("empty", func(s []string) []string { return append([]string{""}, s...) })); diff != "" {
					t.Error(diff)
				}
				if strings.Contains(strings.Join(lines, "\n"), "SECRET") {
					t.Error("a header holds the record's value")
				}
			})
		})
	}
}

// TestCompatIsLeftOut has a topic that takes the record or the headers of another system, but not both.
func TestCompatIsLeftOut(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.topic("small.dlq", map[string]string{"max.message.bytes": "20000"})
		fits, large := bytes.Repeat([]byte("a"), 19_100), bytes.Repeat([]byte("b"), 30_000)
		w.put(
			record.Raw{Key: []byte("1"), Value: append([]byte("bad"), fits...)},
			record.Raw{Key: []byte("2"), Value: append([]byte("bad"), large...)},
			record.Raw{Key: []byte("3"), Value: []byte("bad")},
		)
		in := w.run(func(s *setup) { s.letters, s.LetterCompat = "small.dlq", CompatConnect })
		w.until("the dead letters", func() bool { return in.Stats().Records == 3 })
		in.stop(t)
		for _, r := range w.read("small.dlq") {
			value, compat := len(r.Value) > 0, header(&r, "__connect.errors.topic") != ""
			switch key := string(r.Key); {
			case key == "1" && (!value || compat), key == "2" && (value || !compat || header(&r, LetterValueBytes) != "30003"), key == "3" && (!value || !compat):
				t.Errorf("%s: with its value %t, with the headers %t", key, value, compat)
			}
		}
	})
}
