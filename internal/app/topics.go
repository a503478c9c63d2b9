package app

import (
	"context"
	"errors"

	"millrace.dev/internal/kafka"
)

// newTopicPartitions is the number of partitions of a topic that is made because a person asked for it and nothing
// says how many it should have.
const newTopicPartitions = 6

// needTopics checks that topics exist, or makes those that do not where create is set.
func needTopics(ctx context.Context, c *kafka.Client, create bool, partitions int, names ...string) error {
	for _, name := range names {
		_, err := c.Topics(ctx, name)
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
		err = c.CreateTopics(ctx, kafka.NewTopic{Name: name, Partitions: partitions})
		if e, ok := errors.AsType[*kafka.Error](err); ok && e.Code == kafka.CodeTopicExists {
			err = nil // somebody else was faster
		}
		if err != nil {
			return err
		}
	}
	return nil
}
