package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// Control is whether a pipeline is to process records: the last record of its control topic, as JSON, holds for all instances,
// those too that start later.
type Control struct {
	State  string `json:"state"` // Paused or Resumed
	Reason string `json:"reason"`
	By     string `json:"by"` // who wanted it: checks.window, or a person
	At     int64  `json:"at"` // milliseconds since 1970
}

// The states of a pipeline.
const (
	Paused  = "paused"
	Resumed = "running"
)

// controlTopics are how the topics by which instances are told what to do, and tell how they are, are made. They have one partition,
// and are compacted.
func controlTopics(p *config.Pipeline) []kafka.NewTopic {
	compacted := map[string]string{"cleanup.policy": "compact"}
	topics := []kafka.NewTopic{{Name: p.ControlTopic(), Partitions: 1, Configs: compacted}}
	if p.Model.Update != config.RestartUpdate {
		topics = append(topics, kafka.NewTopic{Name: p.StatusTopic(), Partitions: 1, Configs: compacted})
	}
	return topics
}

// pausable is what can be paused: an engine.
type pausable interface {
	Pause(reason string)
	Resume()
}

// obey gives the records of the control topic to do, each once: it returns when it was given those that are there now, and goes on
// with what comes then until ctx ends. wait is called when the brokers do not answer, and it goes on trying. A topic that is gone it
// makes anew: what is written there later counts.
func (a *App) obey(ctx context.Context, client *kafka.Client, p *config.Pipeline, do func([]record.Raw), wait func()) (done <-chan struct{}, err error) {
	o := &obedience{client: client, topic: p.ControlTopic(), do: do}
	if err := a.persist(ctx, wait, func() error { return o.tap(ctx, false) }); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		backoff := kafka.Backoff{Min: 200 * time.Millisecond, Max: 10 * time.Second}
		for try := 1; ctx.Err() == nil; try++ {
			err := a.persist(ctx, func() {}, func() error { return o.tap(ctx, true) })
			if err == nil || ctx.Err() != nil {
				return
			}
			again := backoff.Pause(try)
			a.Log.LogAttrs(ctx, slog.LevelError, "the control topic cannot be followed: this instance sees no pause, and no other model, until it can",
				slog.String("topic", o.topic), slog.Any("error", err), slog.Duration("next_try_in", again.Round(time.Millisecond)))
			if pause(ctx, again) != nil {
				return
			}
			_ = needTopics(ctx, client, true, controlTopics(p)...) // the next try says what is wrong
		}
	}()
	return ended, nil
}

// obedience is how far an instance is with its control topic. Whoever reads that a second time begins at the start, since records
// may go, and what is old must not pass for news: it would undo what came after it for a moment.
type obedience struct {
	client *kafka.Client
	topic  string
	do     func([]record.Raw)
	id     [16]byte        // of the topic
	next   map[int32]int64 // by partition, the offset after the last record that was done
}

// tap does what is new.
func (o *obedience) tap(ctx context.Context, follow bool) error {
	of, err := o.client.Topics(ctx, o.topic)
	if err != nil {
		return err
	}
	if o.next == nil || of[0].ID != o.id {
		o.id, o.next = of[0].ID, map[int32]int64{}
	}
	return o.client.Tap(ctx, kafka.TapConfig{Topic: o.topic, From: kafka.FromStart, Follow: follow}, func(rs []record.Raw) error {
		if rs = o.news(rs); len(rs) > 0 {
			o.do(rs)
		}
		return ctx.Err()
	})
}

// news returns which of some records of a partition, in their order, were not done before.
func (o *obedience) news(rs []record.Raw) []record.Raw {
	old := 0
	for old < len(rs) && rs[old].Offset < o.next[rs[old].Partition] {
		old++
	}
	if rs = rs[old:]; len(rs) > 0 {
		last := rs[len(rs)-1]
		o.next[last.Partition] = last.Offset + 1
	}
	return rs
}

// persist does something again as long as the brokers do not answer. It calls wait each time.
func (a *App) persist(ctx context.Context, wait func(), do func() error) error {
	backoff := kafka.Backoff{Min: 200 * time.Millisecond, Max: 10 * time.Second}
	for try := 1; ; try++ {
		err := do()
		e, ok := errors.AsType[*kafka.Error](err)
		if !ok || e.Code != kafka.CodeUnavailable {
			return err
		}
		again := backoff.Pause(try)
		a.Log.LogAttrs(ctx, slog.LevelWarn, "kafka does not answer; trying again", slog.Any("error", err),
			slog.Int("try", try), slog.Duration("next_try_in", again.Round(time.Millisecond)), slog.String("hint", e.Hint))
		wait()
		if err := pause(ctx, again); err != nil {
			return err
		}
	}
}

// apply pauses or resumes as the last of some records of the control topic says that says anything about it.
func (a *App) apply(ctx context.Context, rs []record.Raw, e pausable) {
	for _, r := range slices.Backward(rs) {
		if k := string(r.Key); k == rollout.Key || k == rollout.GroupsKey {
			continue
		}
		var c Control
		err := json.Unmarshal(r.Value, &c)
		switch {
		case err == nil && c.State == Paused:
			e.Pause(c.Reason + " (" + c.By + "); millrace resume lets it go on")
			return
		case err == nil && c.State == Resumed:
			e.Resume()
			return
		}
		a.Log.LogAttrs(ctx, slog.LevelWarn, "a record of the control topic says neither paused nor running, and changes nothing",
			slog.String("topic", r.Topic), slog.Int64("offset", r.Offset))
	}
}

// ControlOptions say what a pipeline is to do.
type ControlOptions struct {
	File   string // the pipeline file
	Set    []string
	State  string // Paused or Resumed
	Reason string
	By     string // Default: the user's name
}

// SetControl tells all instances of a pipeline to pause, or to go on.
func (a *App) SetControl(ctx context.Context, o ControlOptions) (*Control, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if !p.Controlled() {
		return nil, &Error{
			Code: Usage, Op: o.State, Where: o.File, Err: errNoControl,
			Hint: "that is for pipelines with model.update: hot_swap or rolling, or checks.window.on_fail: pause; stop this one instead, nothing is lost",
		}
	}
	config, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	client, err := kafka.New(config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := needTopics(ctx, client, true, controlTopics(p)...); err != nil {
		return nil, err
	}
	c := &Control{State: o.State, Reason: o.Reason, By: a.actor(o.By), At: a.Now().UnixMilli()}
	value, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{Topic: p.ControlTopic()})
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	if err := producer.Send(ctx, &record.Raw{Key: []byte(p.Name), Value: value, Timestamp: c.At}); err != nil {
		return nil, err
	}
	return c, producer.Flush(ctx)
}
