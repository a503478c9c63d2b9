package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/record"
)

// joinRun is a broker with the topics of predictions and labels, and the application beside it.
type joinRun struct {
	t      *testing.T
	app    *App
	file   string
	client *kafka.Client
	ahead  atomic.Int64 // of the application's clock, in nanoseconds
}

func newJoinRun(t *testing.T) *joinRun {
	t.Helper()
	dir := t.TempDir()
	broker, err := devbroker.Start(t.Context(), devbroker.Options{Dir: filepath.Join(dir, "broker"), Addr: "127.0.0.1:0", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	j := &joinRun{t: t, file: filepath.Join(dir, "pipeline.yaml")}
	text := fmt.Sprintf(outcomesFile, "") + "kafka: {brokers: \"" + broker.Addr() + "\"}\n"
	if err := os.WriteFile(j.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Now().Add(time.Duration(j.ahead.Load())) }
	j.app = &App{Log: slog.New(slog.DiscardHandler), Now: now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	if j.client, err = kafka.New(kafka.Config{Brokers: []string{broker.Addr()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		j.client.Close()
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	for topic, n := range map[string]int{"housing": 1, "predictions": 2, "sold": 1} {
		if err := broker.CreateTopic(topic, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// send writes a record to a topic.
func (j *joinRun) send(topic string, r record.Raw) {
	j.t.Helper()
	p, err := j.client.NewProducer(kafka.ProducerConfig{Topic: topic})
	if err != nil {
		j.t.Fatal(err)
	}
	defer p.Close()
	if err := p.Send(j.t.Context(), &r); err != nil {
		j.t.Fatal(err)
	}
	if err := p.Flush(j.t.Context()); err != nil {
		j.t.Fatal(err)
	}
}

func (j *joinRun) predicted(key string, at time.Time) {
	headers := []record.Header{{Key: "millrace.model", Value: []byte("houses@1")}, {Key: "millrace.source", Value: []byte("housing/0/" + key)}}
	j.send("predictions", record.Raw{Key: []byte(key), Value: []byte(`{"prediction":1}`), Headers: headers, Timestamp: at.UnixMilli()})
}

func (j *joinRun) labelled(key string, at time.Time) {
	j.send("sold", record.Raw{Key: []byte(key), Value: []byte(`{"price":2}`), Timestamp: at.UnixMilli()})
}

// outcomes returns the keys and statuses of the outcomes that are committed.
func (j *joinRun) outcomes() (list []string) {
	j.t.Helper()
	err := j.client.Tap(j.t.Context(), kafka.TapConfig{Topic: "houses.outcomes", From: kafka.FromStart}, func(rs []record.Raw) error {
		for i := range rs {
			o, err := outcome.DecodeOutcome(rs[i].Value)
			if err != nil {
				return err
			}
			list = append(list, string(rs[i].Key)+" "+string(o.Status))
		}
		return nil
	})
	if e, ok := errors.AsType[*kafka.Error](err); err != nil && (!ok || e.Code != kafka.CodeUnknownTopic) {
		j.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestOutcomesByTheClock has predictions expire although nothing comes any more, and not before.
func TestOutcomesByTheClock(t *testing.T) {
	t.Parallel()
	j := newJoinRun(t)
	now := time.Now()
	j.predicted("a", now.Add(-90*time.Minute))
	j.predicted("b", now.Add(-90*time.Minute))
	j.predicted("c", now)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	var running atomic.Pointer[OutcomesRunning]
	go func() {
		_, err := j.app.Outcomes(ctx, OutcomesOptions{File: j.file, CreateTopics: true, Started: func(r *OutcomesRunning) { running.Store(r) }})
		ended <- err
	}()
	j.labelled("a", now.Add(-80*time.Minute))
	until(t, "the label is joined", func() bool { return slices.Equal(j.outcomes(), []string{"a resolved"}) })
	// The clock goes on: the predictions of 90 minutes ago have had their two hours, the last one has not.
	j.ahead.Store(int64(2 * time.Hour))
	until(t, "a prediction expires", func() bool { return slices.Equal(j.outcomes(), []string{"a resolved", "b expired"}) })
	until(t, "the counts are told", func() bool {
		s := running.Load().Stats()
		return len(s.Cohorts) == 1 && s.Cohorts[0].Records == 3 && s.Cohorts[0].Resolved == 1 && s.Cohorts[0].Expired == 1 && s.Cohorts[0].Pending() == 1
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// What is once done stays so, and the rest is done when it is its time.
	ran, err := j.app.Outcomes(t.Context(), OutcomesOptions{File: j.file, Once: true, Until: now.Add(3 * time.Hour)})
	if err != nil || ran.Outcomes != 1 {
		t.Errorf("%+v, %v: want one outcome", ran, err)
	}
	if got, want := j.outcomes(), []string{"a resolved", "b expired", "c expired"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

// TestOutcomesOnceIsAlone leaves a group alone that has other instances.
func TestOutcomesOnceIsAlone(t *testing.T) {
	t.Parallel()
	j := newJoinRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := j.app.Outcomes(ctx, OutcomesOptions{File: j.file, CreateTopics: true})
		ended <- err
	}()
	until(t, "an instance runs", func() bool {
		members, _, err := j.client.Members(t.Context(), "houses-outcomes")
		return err == nil && len(members) == 1
	})
	soon, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if _, err := j.app.Outcomes(soon, OutcomesOptions{File: j.file, Once: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another instance: %v: want it to wait for its end", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
