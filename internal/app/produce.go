package app

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"millrace.dev/codec"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// ProduceOptions say what to write to a topic.
type ProduceOptions struct {
	Topic    string
	File     string   // of the records: .jsonl, or .csv whose rows become JSON objects
	Pipeline string   // the pipeline file, for the brokers and the types of CSV columns; need not exist
	Brokers  []string // default: those of the pipeline file, else localhost:9092
	Key      string   // the field whose value becomes the record's key; "" is no key
	Drop     []string // CSV columns to leave out, such as the label
	Rate     float64  // records a second; 0 is as fast as the brokers take them
	Limit    int64    // at most so many records; 0 is all
	Create   bool     // make the topic if it is not there
	Progress func(sent int64)
}

// connection is what produce and tap need of a pipeline file, which they can do without.
func (a *App) connection(file string, brokers []string) (kafka.Config, *record.Schema, error) {
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		if len(brokers) == 0 {
			brokers = []string{"localhost:9092"}
		}
		return kafka.Config{Brokers: brokers, Log: a.Log}, nil, nil
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

// Produce writes the records of a file to a topic and returns how many were acknowledged.
func (a *App) Produce(ctx context.Context, o ProduceOptions) (int64, error) {
	config, schema, err := a.connection(o.Pipeline, o.Brokers)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(o.File)
	if err != nil {
		return 0, &Error{Code: Usage, Op: "produce", Err: err}
	}
	defer f.Close() //nolint:errcheck // it was only read
	next, err := values(f, o, schema)
	if err != nil {
		return 0, &Error{Code: Usage, Op: "produce", Err: err}
	}
	client, err := kafka.New(config)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := needTopics(ctx, client, o.Create, newTopicPartitions, o.Topic); err != nil {
		return 0, err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{Topic: o.Topic})
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	return send(ctx, producer, next, o)
}

func send(ctx context.Context, producer *kafka.Producer, next func() ([]byte, error), o ProduceOptions) (int64, error) {
	pace := newPace(o.Rate)
	var sent int64
	for o.Limit == 0 || sent < o.Limit {
		value, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return producer.Acked(), fmt.Errorf("produce: %s: record %d: %w", o.File, sent, err)
		}
		if err := pace.wait(ctx); err != nil {
			break // what was sent is still flushed
		}
		if err := producer.Send(ctx, &record.Raw{Key: keyOf(value, o.Key), Value: value, Timestamp: -1}); err != nil {
			return producer.Acked(), err
		}
		if sent++; o.Progress != nil {
			o.Progress(sent)
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := producer.Flush(flush); err != nil {
		return producer.Acked(), err
	}
	return producer.Acked(), ctx.Err()
}

// keyOf returns the text of a field of a JSON object, or nil where there is none.
func keyOf(value []byte, field string) []byte {
	if field == "" {
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil || object[field] == nil {
		return nil
	}
	var text string
	if json.Unmarshal(object[field], &text) == nil {
		return []byte(text)
	}
	return object[field]
}

// values returns a function that gives one record's value after the other, and then io.EOF.
func values(f *os.File, o ProduceOptions, schema *record.Schema) (func() ([]byte, error), error) {
	format, err := batch.FormatOf(f.Name())
	if err != nil {
		return nil, err
	}
	if format == pipeline.JSON {
		l, err := codec.NewLineReader(f, 0)
		if err != nil {
			return nil, err
		}
		return l.Next, nil
	}
	r := csv.NewReader(f)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: header: %w", filepath.Base(f.Name()), err)
	}
	header = slices.Clone(header)
	for _, d := range o.Drop {
		if !slices.Contains(header, d) {
			return nil, fmt.Errorf("%s has no column %q: its columns are %s", filepath.Base(f.Name()), d, strings.Join(header, ", "))
		}
	}
	row := objects{header: header, drop: o.Drop, schema: schema}
	return func() ([]byte, error) {
		cells, err := r.Read()
		if err != nil {
			return nil, err
		}
		return row.object(cells)
	}, nil
}

// objects makes JSON objects of CSV rows.
type objects struct {
	header, drop []string
	schema       *record.Schema // nil where there is none
}

// object returns a row as a JSON object: an empty cell is left out, a cell that is a JSON number is a number, unless
// the schema says that the column is text or a time.
func (c *objects) object(cells []string) ([]byte, error) {
	out := []byte{'{'}
	for i, cell := range cells {
		if cell == "" || slices.Contains(c.drop, c.header[i]) {
			continue
		}
		name, err := json.Marshal(c.header[i])
		if err != nil {
			return nil, err
		}
		text := []byte(cell)
		if c.text(c.header[i]) || !isNumber(text) {
			if text, err = json.Marshal(cell); err != nil {
				return nil, err
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), text...)
	}
	return append(out, '}'), nil
}

func (c *objects) text(column string) bool {
	if c.schema == nil {
		return false
	}
	i, ok := c.schema.Index(column)
	return ok && (c.schema.Field(i).Type == record.String || c.schema.Field(i).Type == record.Time)
}

func isNumber(text []byte) bool {
	return (text[0] == '-' || '0' <= text[0] && text[0] <= '9') && json.Valid(text) && !bytes.ContainsAny(text, " \t\r\n")
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
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
