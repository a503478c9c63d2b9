package demo

import (
	"context"
	"time"

	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/house"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// revised is how many zip codes get another median income while houses are sold.
const revised = 20

// reference fills the topic with what Debezium would write about a table of zip codes, with made-up figures: a snapshot from
// before the first sale, and later changes, which only the houses that come after them are to see.
func (d *demo) reference(ctx context.Context, broker *devbroker.Broker) error {
	g, err := house.New(house.Options{Seed: d.Seed})
	if err != nil {
		return err
	}
	if err := broker.CreateTopic(zipcodes, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		return err
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{broker.Addr()}})
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := client.NewProducer(kafka.ProducerConfig{Topic: zipcodes})
	if err != nil {
		return err
	}
	defer p.Close()
	send := func(z *house.Zip, op string, at time.Time) error {
		return p.Send(ctx, &record.Raw{Key: z.AppendKey(nil), Value: z.AppendChange(nil, op, at), Timestamp: -1})
	}
	zips := g.Zips()
	for i := range zips {
		if err := send(&zips[i], house.ZipRead, time.Date(2014, time.May, 1, 0, 0, 0, 0, time.UTC)); err != nil {
			return err
		}
	}
	for i := range min(revised, len(zips)) {
		zips[i].MedianIncome += zips[i].MedianIncome / 10
		if err := send(&zips[i], house.ZipUpdate, time.Date(2014, time.May, 20+4*i, 12, 0, 0, 0, time.UTC)); err != nil {
			return err
		}
	}
	d.Show.Say("%v zip codes with made-up figures, and %v changes of them,\n   in the topic %s", len(zips), revised, zipcodes)
	return p.Flush(ctx)
}
