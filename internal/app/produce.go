package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/source"
	"millrace.dev/record"
)

// ProduceOptions say what to write to a topic.
type ProduceOptions struct {
	Topic    string
	File     string   // of the records: .jsonl, or .csv whose rows become JSON objects
	Pipeline string   // the pipeline file, for the brokers and the types of CSV columns; "" is pipeline.yaml if that exists
	Brokers  []string // default: those of the pipeline file, else of $KAFKA_BROKERS, else localhost:9092
	Key      string   // the field whose value becomes the record's key; "" is no key
	Drop     []string // CSV columns to leave out, such as the label
	Rate     float64  // records a second; 0 is as fast as the brokers take them
	Limit    int64    // at most so many records; 0 is all
	Create   bool     // make the topic if it is not there
	Progress func(sent int64)
}

// Where a command looks that is not told: the file that a pipeline is usually in, and the brokers.
const (
	defaultPipeline = "pipeline.yaml"
	brokersVariable = "KAFKA_BROKERS"
	defaultBrokers  = "localhost:9092"
)

// connection is what produce and tap need of a pipeline file. Where none is named, and none is in the working
// directory, they do without: then the environment names the brokers, as it does in the pipeline files that init
// writes. The schema is nil then.
func (a *App) connection(file string, brokers []string) (kafka.Config, *record.Schema, error) {
	if file == "" {
		file = defaultPipeline
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			if len(brokers) == 0 {
				named, _ := a.Env(brokersVariable)
				brokers = splitList(cmp.Or(named, defaultBrokers))
			}
			return kafka.Config{Brokers: brokers, Log: a.Log}, nil, nil
		}
	}
	p, err := a.Load(file, nil)
	if err != nil {
		return kafka.Config{}, nil, err
	}
	c, err := a.cluster(p)
	if len(brokers) > 0 {
		c.Brokers = brokers
	}
	return c, p.Schema, err
}

// splitList returns the parts of a list with commas.
func splitList(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// Produced is what Produce wrote.
type Produced struct {
	Records int64 // that were acknowledged
	Keyless int64 // records sent without the field that was to become their key
}

// Produce writes the records of a file to a topic. What it returns counts when it fails, too.
func (a *App) Produce(ctx context.Context, o ProduceOptions) (Produced, error) {
	config, schema, err := a.connection(o.Pipeline, o.Brokers)
	if err != nil {
		return Produced{}, err
	}
	f, err := os.Open(o.File)
	if err != nil {
		return Produced{}, &Error{Code: Usage, Op: "produce", Err: err}
	}
	defer f.Close() //nolint:errcheck // it was only read
	rows, err := newRows(f, o, schema)
	if err != nil {
		return Produced{}, err
	}
	client, err := kafka.New(config)
	if err != nil {
		return Produced{}, err
	}
	defer client.Close()
	if err := needTopics(ctx, client, o.Create, kafka.NewTopic{Name: o.Topic, Partitions: newTopicPartitions}); err != nil {
		return Produced{}, err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{Topic: o.Topic})
	if err != nil {
		return Produced{}, err
	}
	defer producer.Close()
	keyless, err := send(ctx, producer, rows, o)
	return Produced{Records: producer.Acked(), Keyless: keyless}, err
}

// flushTimeout bounds how long the last records may take to be acknowledged.
const flushTimeout = 30 * time.Second

// send sends what rows gives, and waits until it is acknowledged, also where it ends early.
func send(ctx context.Context, producer *kafka.Producer, rows *rows, o ProduceOptions) (keyless int64, err error) {
	pace := newPace(o.Rate)
	for sent := int64(0); o.Limit == 0 || sent < o.Limit; sent++ {
		key, value, rerr := rows.next()
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			err = &source.DataError{Path: o.File, Err: rerr}
			break
		}
		if err = pace.wait(ctx); err != nil {
			break
		}
		if err = producer.Send(ctx, &record.Raw{Key: key, Value: value, Timestamp: -1}); err != nil {
			break
		}
		if key == nil && o.Key != "" {
			keyless++
		}
		if o.Progress != nil {
			o.Progress(sent + 1)
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	return keyless, cmp.Or(err, producer.Flush(flush))
}

// pace spreads events evenly over time, from the first on.
type pace struct {
	every time.Duration
	next  time.Time
}

func newPace(rate float64) *pace {
	p := &pace{}
	if rate > 0 {
		p.every = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// wait returns when it is time for the next event. One that comes late does not delay those after it.
func (p *pace) wait(ctx context.Context) error {
	if p.every == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.IsZero() {
		p.next = now
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	if d < time.Millisecond {
		return ctx.Err()
	}
	return pause(ctx, d)
}
