package kafka

import (
	"bytes"
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/record"
)

// ProducerConfig says how to write to a topic.
type ProducerConfig struct {
	Topic       string
	MaxInFlight int // records that are written and not yet acknowledged. Default: 10000
	// Compression of what is written. Default: snappy
	Compression string
}

// Producer writes records to one topic, each once and in order, and waits for all replicas in sync. It is for
// one goroutine at a time.
type Producer struct {
	client  *Client
	topic   string
	kgo     *kgo.Client
	reach   *reach
	acked   atomic.Int64
	failure atomic.Pointer[error]
	slots   chan struct{}
	since   time.Time // when the oldest of the records in flight was sent, or before
}

// NewProducer opens a producer. It opens no connection.
func (c *Client) NewProducer(pc ProducerConfig) (*Producer, error) {
	codec, err := codecs(pc.Compression)
	if err != nil {
		return nil, err
	}
	if pc.MaxInFlight <= 0 {
		pc.MaxInFlight = 10000
	}
	p := &Producer{client: c, topic: pc.Topic, reach: newReach(), slots: make(chan struct{}, pc.MaxInFlight)}
	p.kgo, err = c.open(p.reach,
		kgo.ProducerBatchCompression(codec...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(math.MaxInt32), kgo.ProducerBatchMaxBytes(maxBatchBytes))
	if err != nil {
		return nil, err
	}
	return p, nil
}

// giveUp is how long a producer waits for brokers that cannot be reached. The library would wait for ever; its own
// timeout is counted from a record's timestamp, which may be long past.
const giveUp = 10 * time.Second

// Send writes a record: its key, value, headers and timestamp, -1 or 0 being now. It copies key and value. It
// waits while too many records are in flight, and returns the first failure of any record so far, or that no broker
// has answered for 10 s.
func (p *Producer) Send(ctx context.Context, r *record.Raw) error {
	if err := p.trouble(); err != nil {
		return err
	}
	if len(p.slots) == 0 {
		p.since = time.Now()
	}
	select {
	case p.slots <- struct{}{}:
	default:
		if err := p.wait(ctx, func() bool {
			select {
			case p.slots <- struct{}{}:
				return true
			case <-time.After(time.Second):
				return false
			case <-ctx.Done():
				return false
			}
		}); err != nil {
			return err
		}
	}
	k := &kgo.Record{Topic: p.topic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
	if r.Timestamp > 0 {
		k.Timestamp = time.UnixMilli(r.Timestamp)
	}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	p.kgo.Produce(context.WithoutCancel(ctx), k, func(_ *kgo.Record, err error) {
		if err != nil {
			p.failure.CompareAndSwap(nil, &err)
		} else {
			p.acked.Add(1)
		}
		<-p.slots
	})
	return nil
}

// Flush waits until every record sent so far is acknowledged, and returns the first failure of any, or that no broker
// has answered for 10 s.
func (p *Producer) Flush(ctx context.Context) error {
	return p.wait(ctx, func() bool {
		fctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return p.kgo.Flush(fctx) == nil
	})
}

// wait calls try, which takes a second at most, until it succeeds or there is trouble.
func (p *Producer) wait(ctx context.Context, try func() bool) error {
	for {
		ok := try()
		if err := p.trouble(); err != nil {
			return err
		}
		if ok {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// trouble returns the first failure, or that no broker answers although records wait for that.
func (p *Producer) trouble() error {
	if f := p.failure.Load(); f != nil {
		return explain("write to topic", p.topic, needTopic("Write", p.topic), *f)
	}
	if len(p.slots) == 0 {
		return nil
	}
	// A producer that had nothing to send was not answered for as long as that.
	if d, failure := p.reach.silence(); failure != nil && min(d, time.Since(p.since)) > giveUp {
		return nobodyAnswers("write to topic "+p.topic+" on", p.client.config.Brokers, failure)
	}
	return nil
}

// Acked returns the number of records that were acknowledged. It is safe for concurrent use.
func (p *Producer) Acked() int64 { return p.acked.Load() }

// Close drops what is not flushed and closes the connections.
func (p *Producer) Close() { p.kgo.Close() }
