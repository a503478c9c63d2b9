package app

import (
	"context"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// TapOptions say what to show of a topic.
type TapOptions struct {
	Topic    string
	Pipeline string   // the pipeline file, for the brokers; "" is pipeline.yaml if that exists
	Brokers  []string // default: those of the pipeline file, else of $KAFKA_BROKERS, else localhost:9092
	FromEnd  bool     // only what is written from now on
	UntilEnd bool     // stop at what is there now, and do not follow
	Limit    int64    // at most so many records; 0 is all
	// Flush, if not nil, is called when all records that came together were shown, before Tap waits for more.
	Flush func() error
}

// Tap calls show with the committed records of a topic, in order within a partition, until ctx ends.
func (a *App) Tap(ctx context.Context, o TapOptions, show func(*record.Raw) error) error {
	config, _, err := a.connection(o.Pipeline, o.Brokers)
	if err != nil {
		return err
	}
	client, err := kafka.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	from := kafka.FromStart
	if o.FromEnd {
		from = kafka.FromEnd
	}
	var n int64
	return client.Tap(ctx, kafka.TapConfig{Topic: o.Topic, From: from, Follow: !o.UntilEnd}, func(records []record.Raw) error {
		for i := range records {
			if err := show(&records[i]); err != nil {
				return err
			}
			if n++; n == o.Limit {
				return kafka.StopTap()
			}
		}
		if o.Flush != nil {
			return o.Flush()
		}
		return nil
	})
}
