package app

import (
	"context"
	"errors"
	"strconv"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
)

// newTopicPartitions is the number of partitions of a topic that is made because a person asked for it and nothing
// says how many it should have.
const newTopicPartitions = 6

// needTopics checks that topics exist, or makes those that do not where create is set.
func needTopics(ctx context.Context, c *kafka.Client, create bool, topics ...kafka.NewTopic) error {
	for _, t := range topics {
		_, err := c.Topics(ctx, t.Name)
		e, ok := errors.AsType[*kafka.Error](err)
		if !ok || e.Code != kafka.CodeUnknownTopic {
			if err != nil {
				return err
			}
			continue
		}
		if !create {
			e.Hint = "mend the name, or let this command make the topic: add --create-topics"
			return e
		}
		err = c.CreateTopics(ctx, t)
		if e, ok := errors.AsType[*kafka.Error](err); ok && e.Code == kafka.CodeTopicExists {
			err = nil // somebody else was faster
		}
		if err != nil {
			return err
		}
		if err := awaitTopic(ctx, c, t.Name); err != nil {
			return err
		}
	}
	return nil
}

// awaitTopic waits until the brokers know a topic that was just made: they learn of it one after the other.
func awaitTopic(ctx context.Context, c *kafka.Client, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	backoff := kafka.Backoff{Min: 20 * time.Millisecond, Max: 500 * time.Millisecond}
	for try := 1; ; try++ {
		_, err := c.Topics(ctx, name)
		if e, ok := errors.AsType[*kafka.Error](err); !ok || e.Code != kafka.CodeUnknownTopic {
			return err
		}
		if pause(ctx, backoff.Pause(try)) != nil {
			return err
		}
	}
}

// pause waits, or returns the error of ctx when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// createPipelineTopics makes the topics of a pipeline that are not there, the outputs and the tables with as many
// partitions as the source has, and the tables compacted. It waits for the brokers, as the engine does, and calls waits
// when it begins to.
func (a *App) createPipelineTopics(ctx context.Context, c *kafka.Client, p *config.Pipeline, waits func()) error {
	return a.persist(ctx, waits, func() error { return createTopics(ctx, c, p) })
}

func createTopics(ctx context.Context, c *kafka.Client, p *config.Pipeline) error {
	if err := needTopics(ctx, c, true, kafka.NewTopic{Name: p.Source.Topic, Partitions: newTopicPartitions}); err != nil {
		return err
	}
	source, err := c.Topics(ctx, p.Source.Topic)
	if err != nil {
		return err
	}
	n := len(source[0].Partitions)
	topics := []kafka.NewTopic{{Name: p.Sink.Topic, Partitions: n}, {Name: p.DeadLetter.Topic, Partitions: n}}
	if p.Samples.Rate > 0 {
		topics = append(topics, kafka.NewTopic{Name: p.Samples.Topic, Partitions: n})
	}
	if p.Checks.Window != nil {
		topics = append(topics, kafka.NewTopic{Name: p.Checks.Window.Topic, Partitions: 1})
	}
	for i := range p.Tables {
		if p.Tables[i].Topic == "" {
			continue
		}
		configs := map[string]string{"cleanup.policy": "compact"}
		if h := p.Tables[i].History; h > 0 { // compaction leaves the rows that records can ask for
			configs["min.compaction.lag.ms"] = strconv.FormatInt(h.Milliseconds(), 10)
		}
		topics = append(topics, kafka.NewTopic{Name: p.Tables[i].Topic, Partitions: n, Configs: configs})
	}
	return needTopics(ctx, c, true, topics...)
}
