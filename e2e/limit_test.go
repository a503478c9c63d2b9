//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// limited runs an engine on topics whose limits change.
type limited struct {
	t      *testing.T
	client *kafka.Client
	admin  *kadm.Client
	input  *kafka.Producer
	engine *engine.Engine
	ended  chan error
	n      int
	want   map[string]string // by key: "prediction" or the class of the dead letter
}

// put writes count records of a size, with a timestamp, that should all end in the same way.
func (l *limited) put(want string, count, size int, timestamp time.Time) {
	l.t.Helper()
	for range count {
		l.n++
		key := fmt.Sprintf("%s-%d", want, l.n)
		l.want[key] = want
		r := record.Raw{Key: []byte(key), Value: bytes.Repeat([]byte("v"), size), Timestamp: timestamp.UnixMilli()}
		if err := l.input.Send(l.t.Context(), &r); err != nil {
			l.t.Fatal(err)
		}
	}
}

// done waits until the engine has committed every record.
func (l *limited) done() {
	l.t.Helper()
	if err := l.input.Flush(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	for tick, end := time.Tick(20*time.Millisecond), time.After(2*time.Minute); l.engine.Stats().Records < uint64(l.n); {
		select {
		case <-tick:
		case err := <-l.ended:
			l.t.Fatalf("the engine has ended: %v", err)
		case <-end:
			l.t.Fatalf("%d of %d records: %+v", l.engine.Stats().Records, l.n, l.engine.Stats().DeadLetters)
		}
	}
}

// set changes a setting of the sink topic and waits until the broker goes by it.
func (l *limited) set(key, value string) {
	l.t.Helper()
	if _, err := l.admin.AlterTopicConfigs(l.t.Context(), []kadm.AlterConfig{{Name: key, Value: &value}}, "sink"); err != nil {
		l.t.Fatal(err)
	}
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		rs, err := l.admin.DescribeTopicConfigs(l.t.Context(), "sink")
		if err != nil {
			l.t.Fatal(err)
		}
		for _, c := range rs[0].Configs {
			if c.Key == key && c.Value != nil && *c.Value == value {
				return
			}
		}
	}
}

// TestSinkLimits changes what the sink topic takes while the engine runs: every record still ends as a prediction or as
// a dead letter, once.
func TestSinkLimits(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	for topic, settings := range map[string]map[string]string{
		"source": {"message.timestamp.after.max.ms": "9223372036854775807", "max.message.bytes": "4000000"}, "sink": nil, "letters": nil,
	} {
		if err := c.CreateTopic(t.Context(), topic, 3, settings); err != nil {
			t.Fatal(err)
		}
	}
	k, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	client, err := kafka.New(kafka.Config{Brokers: c.Bootstrap()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	input, err := client.NewProducer(kafka.ProducerConfig{Topic: "source"})
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	echo := stream.New("limits", stream.DeadLetters("letters"))
	stream.From(echo, "source", stream.Bytes(), stream.Bytes(), stream.UseClock()).To("sink", stream.Provenance())
	program, err := echo.Program()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{
		Client: client, Program: program,
		Compression: kafka.CompressionNone, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	l := &limited{t: t, client: client, admin: kadm.NewClient(k), input: input, engine: e, ended: ended, want: map[string]string{}}
	now := time.Now()

	l.put("prediction", 1000, 100, now)
	l.put("prediction", 3, 100, now.AddDate(0, 0, 100)) // beyond what the sink takes: they get the time of now
	l.put("prediction", 3, 100, now.AddDate(-20, 0, 0))
	l.put("too_large", 3, 2_000_000, now)
	l.done()
	l.set("max.message.bytes", "20000")
	l.put("prediction", 3000, 100, now) // in batches that are too large now
	l.put("too_large", 3, 30_000, now)
	l.put("prediction", 1000, 100, now)
	l.done()
	l.set("message.timestamp.before.max.ms", "3600000")
	l.put("prediction", 500, 100, now)
	l.put("refused", 2, 100, now.Add(-2*time.Hour)) // the engine learns of the new limit with its next session only
	l.put("prediction", 500, 100, now)
	l.done()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for topic, header := range map[string]string{"sink": "", "letters": task.LetterClass} {
		err := client.Tap(t.Context(), kafka.TapConfig{Topic: topic}, func(rs []record.Raw) error {
			for _, r := range rs {
				end := "prediction"
				for _, h := range r.Headers {
					if header != "" && h.Key == header {
						end = string(h.Value)
					}
				}
				if before, twice := got[string(r.Key)]; twice {
					end += " after " + before
				}
				got[string(r.Key)] = end
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(l.want, got); diff != "" {
		t.Error(diff)
	}
	s := e.Stats()
	t.Logf("%d records in %d transactions, %d undone", s.Records, s.Commits, s.Aborts)
}
