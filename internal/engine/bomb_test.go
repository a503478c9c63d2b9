package engine

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// TestBomb has a batch in the source that becomes far too large. Its records are dead letters without bytes, and the
// others have their results.
func TestBomb(t *testing.T) {
	t.Parallel()
	// Gzip: the decoders of zstd are closed by the garbage collector, which has no business in a bubble.
	bubble(t, 1, func(t *testing.T, w *world) {
		w.put(record.Raw{Key: []byte("a"), Value: []byte("before")})
		k, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(w.network.DialContext), kgo.DefaultProduceTopic(source),
			kgo.ProducerBatchMaxBytes(96<<20), kgo.ProducerBatchCompression(kgo.GzipCompression()))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if err := k.ProduceSync(t.Context(), &kgo.Record{Key: []byte("b"), Value: make([]byte, kafka.MaxUnpackedBytes+1)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.put(record.Raw{Key: []byte("c"), Value: []byte("behind")})
		in := w.run()
		w.drained()
		in.stop(t)
		if s := in.Stats(); s.Records != 3 || s.Written != 2 || s.Aborts > 0 {
			t.Errorf("%+v", s)
		}
		dead := w.read(letters)
		if len(dead) != 1 {
			t.Fatalf("%d dead letters", len(dead))
		}
		r := &dead[0]
		for key, want := range map[string]string{
			task.LetterOffset: "1", task.LetterStage: "decode", task.LetterClass: "batch_too_large", LetterValueBytes: UnknownBytes, task.LetterTimestamp: "-1",
		} {
			if got := header(r, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if r.Key != nil || r.Value != nil {
			t.Errorf("key %q, value %q", r.Key, r.Value)
		}
	})
}
