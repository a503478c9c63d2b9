package kafka

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/record"
)

// TransactionConfig says how to write in transactions without reading.
type TransactionConfig struct {
	ID string // the transactional id: at any time one process holds it
	// Timeout is how long a transaction may be open. Default: 30 s
	Timeout time.Duration
	// Compression of what is written. Default: snappy
	Compression string
	// MaxBytes are the largest batches that the topics take. Default: 1000012 for each
	MaxBytes map[string]int
}

const defaultWriterTimeout = 30 * time.Second

// Transactions writes records to any topics, in transactions. It is for one goroutine at a time.
type Transactions struct {
	client  *Client
	config  TransactionConfig
	kgo     *kgo.Client
	reach   *reach
	open    bool
	failure atomic.Pointer[WriteError]
}

// Transactions opens a writer. When it returns, the id is this writer's alone: what another process has left open under
// it is undone, whether that has died or not, and one that goes on is refused. So what can be read afterwards of what
// was written under the id does not change any more but by this writer.
func (c *Client) Transactions(ctx context.Context, tc TransactionConfig) (*Transactions, error) {
	if tc.Timeout == 0 {
		tc.Timeout = defaultWriterTimeout
	}
	codec, err := codecs(tc.Compression)
	if err != nil {
		return nil, err
	}
	w := &Transactions{client: c, config: tc, reach: newReach()}
	w.kgo, err = c.open(w.reach,
		kgo.TransactionalID(tc.ID), kgo.TransactionTimeout(tc.Timeout), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerBatchMaxBytesFn(w.batchBytes), kgo.ConcurrentTransactionsBackoff(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	ictx, cancel := context.WithTimeout(ctx, 2*tc.Timeout)
	defer cancel()
	if _, _, err := w.kgo.ProducerID(ictx); err != nil {
		w.kgo.Close()
		return nil, w.fault(ctx, "open transactional id", err)
	}
	return w, nil
}

func (w *Transactions) batchBytes(topic string) int32 {
	n, ok := w.config.MaxBytes[topic]
	if !ok {
		n = defaultBatchBytes
	}
	return int32(min(max(n, minBatchBytes), maxBatchBytes))
}

// Begin opens a transaction. None must be open.
func (w *Transactions) Begin() error {
	w.failure.Store(nil)
	if err := w.kgo.BeginTransaction(); err != nil {
		return w.fault(context.Background(), "begin a transaction of", err)
	}
	w.open = true
	return nil
}

// Send writes a record into the open transaction: its key, value and headers to its topic and partition, with its
// timestamp, -1 being now. It keeps what r refers to until the transaction has ended. A failure shows in Commit.
func (w *Transactions) Send(r *record.Raw) {
	k := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	if r.Timestamp >= 0 {
		k.Timestamp = time.UnixMilli(r.Timestamp)
	}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	topic := r.Topic
	w.kgo.Produce(context.Background(), k, func(_ *kgo.Record, err error) { // Commit and Close end it
		if err != nil && !errors.Is(err, kgo.ErrAborting) {
			w.failure.CompareAndSwap(nil, &WriteError{Topic: topic, Err: err})
		}
	})
}

// Commit ends the transaction. After an error nothing of it can be read, save if it is of code [CodeUnavailable] or
// [CodeInternal], or ctx was cancelled: then the brokers may or may not have committed it, and opening the id again
// decides that. After any error the writer is to be closed.
func (w *Transactions) Commit(ctx context.Context) error {
	cctx, cancel := context.WithTimeout(ctx, 2*w.config.Timeout)
	defer cancel()
	if err := w.kgo.Flush(cctx); err != nil {
		return w.fault(ctx, "write in a transaction of", err)
	}
	if f := w.failure.Load(); f != nil {
		return w.writeFault(f)
	}
	w.open = false
	if err := w.kgo.EndTransaction(cctx, kgo.TryCommit); err != nil {
		return w.fault(ctx, "commit a transaction of", err)
	}
	return nil
}

// Close undoes the transaction that is open, and closes the connections. Where no broker answers it gives up after a
// second; the transaction is then undone when the id is used again, or its timeout is over.
func (w *Transactions) Close() {
	if w.open {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		if w.kgo.AbortBufferedRecords(ctx) == nil {
			_ = w.kgo.EndTransaction(ctx, kgo.TryAbort) // the brokers do it later
		}
		cancel()
	}
	w.kgo.Close()
}

func (w *Transactions) fault(ctx context.Context, op string, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case codeOf(err) == CodeUnavailable:
		if _, failure := w.reach.silence(); failure != nil {
			return nobodyAnswers(op+" "+w.config.ID+" on", w.client.config.Brokers, failure)
		}
	case codeOf(err) == CodeFenced || errors.Is(err, kerr.InvalidTxnState):
		return &Error{Code: CodeFenced, Op: op, Where: w.config.ID, Err: err, Hint: "another process has begun to do the same: let that one finish"}
	}
	return explain(op, w.config.ID, "operations Write and Describe, resource TransactionalId "+w.config.ID, err)
}

func (w *Transactions) writeFault(f *WriteError) error {
	if codeOf(f.Err) == CodeFenced {
		return w.fault(context.Background(), "write in a transaction of", f.Err)
	}
	return explain("write to topic", f.Topic, needTopic("Write", f.Topic), f.Err)
}
