package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// benchRecords is how many records of benchBytes each a benchmark copies; an iteration is the whole copy.
const benchRecords, benchBytes, benchPartitions = 300_000, 400, 6

func benchCluster(b *testing.B) []string {
	b.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(b.TempDir()), kfake.SeedTopics(benchPartitions, source, sink, letters))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	cl, err := kafka.New(kafka.Config{Brokers: c.ListenAddrs()})
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	p, err := cl.NewProducer(kafka.ProducerConfig{Topic: source})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	value := make([]byte, benchBytes)
	for i := range value {
		value[i] = byte('a' + i*i%23)
	}
	r := record.Raw{Value: value}
	for i := range benchRecords {
		r.Key = fmt.Appendf(nil, "key-%d", i%5000)
		copy(value, fmt.Sprintf("%09d", i))
		if err := p.Send(b.Context(), &r); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	return c.ListenAddrs()
}

func report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(benchRecords*b.N)/b.Elapsed().Seconds(), "rec/s")
}

// BenchmarkBareCopy is the peer of BenchmarkEngine: a consume-produce loop with the same client library, settings
// and guarantee that gives every record a value a few bytes longer.
func BenchmarkBareCopy(b *testing.B) {
	addrs := benchCluster(b)
	for i := 0; b.Loop(); i++ {
		bareCopy(b, addrs, fmt.Sprintf("bare-%d", i))
	}
	report(b)
}

func bareCopy(b *testing.B, addrs []string, id string) {
	b.Helper()
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(addrs...), kgo.ConsumeTopics(source), kgo.ConsumerGroup(id), kgo.TransactionalID(id),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	open, began := false, time.Time{}
	for n := 0; n < benchRecords; {
		fs := s.PollRecords(b.Context(), 10000)
		if err := fs.Err(); err != nil {
			b.Fatal(err)
		}
		if !open {
			if err := s.Begin(); err != nil {
				b.Fatal(err)
			}
			open, began = true, time.Now()
		}
		fs.EachRecord(func(r *kgo.Record) {
			v := append(make([]byte, 0, len(r.Value)+20), r.Value...)
			s.Produce(b.Context(), &kgo.Record{Topic: sink, Key: r.Key, Value: append(v, `,"price":781898.42}`...)}, nil)
			n++
		})
		if time.Since(began) >= 100*time.Millisecond || n >= benchRecords {
			if ok, err := s.End(b.Context(), kgo.TryCommit); !ok || err != nil {
				b.Fatalf("%t, %v", ok, err)
			}
			open = false
		}
	}
}

// BenchmarkEngine copies with the engine and a function over batches that does next to nothing.
func BenchmarkEngine(b *testing.B) {
	addrs := benchCluster(b)
	cl, err := kafka.New(kafka.Config{Brokers: addrs})
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for i := 0; b.Loop(); i++ {
		e, err := New(options(b, cl, func(s *setup) {
			s.Options = Options{Client: cl, Group: fmt.Sprintf("engine-%d", i)}
		}))
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		for tick := time.Tick(time.Millisecond); e.stats.last.Load().Records < benchRecords; {
			<-tick
		}
		b.StopTimer()
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	report(b)
}
