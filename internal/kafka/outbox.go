package kafka

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/record"
)

// Run is a run of records of one partition, in order.
type Run struct {
	Topic     string
	Partition int32
	End       int64 // the partition's high watermark when the records were read
	records   []*kgo.Record
	next      int64 // the offset after everything that was read
	stable    int64 // up to which the partition could be read
	bytes     int64
	// unreadable says that the records stand for those of a batch that is not read.
	unreadable bool
}

// newRun makes a run of what was fetched, without the markers of transactions.
func newRun(p *kgo.FetchTopicPartition) Run {
	r := Run{Topic: p.Topic, Partition: p.Partition, End: p.HighWatermark, stable: p.LastStableOffset, records: p.Records}
	if r.stable < 0 { // brokers without transactions
		r.stable = r.End
	}
	r.next = p.Records[len(p.Records)-1].Offset + 1
	markers := 0
	for _, k := range p.Records {
		if k.Attrs.IsControl() {
			markers++
			continue
		}
		r.bytes += int64(len(k.Key) + len(k.Value))
		for _, h := range k.Headers {
			r.bytes += int64(len(h.Key) + len(h.Value))
		}
	}
	if markers > 0 {
		r.records = make([]*kgo.Record, 0, len(p.Records)-markers)
		for _, k := range p.Records {
			if !k.Attrs.IsControl() {
				r.records = append(r.records, k)
			}
		}
	}
	return r
}

// Len returns the number of records.
func (r Run) Len() int { return len(r.records) }

// Bytes returns the bytes of keys, values and headers, before any [Run.Slice].
func (r Run) Bytes() int64 { return r.bytes }

// Slice returns records i to j, without j.
func (r Run) Slice(i, j int) Run {
	r.records = r.records[i:j]
	return r
}

// Before returns the records before an offset.
func (r Run) Before(offset int64) Run {
	n := 0
	for n < len(r.records) && r.records[n].Offset < offset {
		n++
	}
	return r.Slice(0, n)
}

// Last returns the offset of the last record.
func (r Run) Last() int64 { return r.records[len(r.records)-1].Offset }

// Append adds the records to a batch. The batch's rows share memory that is never reused.
func (r Run) Append(b *record.Batch) {
	n := 0
	for _, k := range r.records {
		n += len(k.Headers)
	}
	var headers []record.Header
	if n > 0 {
		headers = make([]record.Header, 0, n)
	}
	for _, k := range r.records {
		raw := record.Raw{Key: k.Key, Value: k.Value, Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Timestamp: timestamp(k), Unreadable: r.unreadable}
		if len(k.Headers) > 0 {
			i := len(headers)
			for _, h := range k.Headers {
				headers = append(headers, record.Header(h))
			}
			raw.Headers = headers[i:len(headers):len(headers)]
		}
		b.Append(raw)
	}
}

// Read sets r to record i. It allocates nothing but headers: the key, the value and the headers' values are those of
// the run and must not change, and r.Headers' memory is used again, so that whoever keeps the headers of a record has
// to read the next one into another Raw.
func (r Run) Read(i int, raw *record.Raw) {
	k := r.records[i]
	headers := raw.Headers[:0]
	for _, h := range k.Headers {
		headers = append(headers, record.Header(h))
	}
	*raw = record.Raw{
		Key: k.Key, Value: k.Value, Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Timestamp: timestamp(k), Headers: headers, Unreadable: r.unreadable,
	}
}

// timestamp returns a record's timestamp in milliseconds, or -1 where it has none.
func timestamp(k *kgo.Record) int64 {
	if k.Attrs.TimestampType() < 0 || k.Timestamp.IsZero() {
		return -1
	}
	return k.Timestamp.UnixMilli()
}

// CaughtUp tells whether the partition had nothing to read after these records when they were read.
func (r Run) CaughtUp() bool { return r.next >= r.stable }

// Outbox is a list of records to be written, in memory that is reused once they were. It is for one goroutine at
// a time. Get one from [Session.Outbox], and give it back by [Session.Send] or [Outbox.Discard].
type Outbox struct {
	session *Session
	records []kgo.Record
	headers []kgo.RecordHeader
	arena   []byte
	start   int // of the open record's headers
	bytes   int // upper bound of what the records take, with recordMemory
	size    int // of the open record
	left    atomic.Int64
	promise func(*kgo.Record, error)
	// promiseTo is the promise of records with a partition of their own.
	promiseTo func(*kgo.Record, error)
}

// What a record takes at most besides its key, value and headers, alone in a batch: the batch's header and the
// record's length, attributes, deltas and counts.
const (
	recordOverhead = 65 + 5 + 1 + 10 + 5 + 5 + 5 + 5
	headerOverhead = 10
)

// RecordSize returns at least the bytes that a batch of a record alone takes, uncompressed. A broker measures that against
// the topic's max.message.bytes.
func RecordSize(r *record.Raw) int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += headerOverhead + len(h.Key) + len(h.Value)
	}
	return n
}

// recordMemory is what a record takes in memory besides its key, value and headers: more than a small one takes on the wire.
const recordMemory = int(unsafe.Sizeof(kgo.Record{}))

// maxArena is the most memory that an outbox keeps for its next use.
const maxArena = 4 << 20

// Outbox returns an empty outbox.
func (s *Session) Outbox() *Outbox {
	select {
	case o := <-s.outboxes:
		return o
	default:
		o := &Outbox{session: s}
		o.promise, o.promiseTo = o.done, o.doneTo
		return o
	}
}

// Add opens a record, which is the last one until the next Add. A record with a key goes to the partition that
// the standard producers of Kafka choose, one without to partition modulo the number of the topic's partitions.
// The key is not copied and must not change. timestamp is in milliseconds.
func (o *Outbox) Add(topic string, partition int32, key []byte, timestamp int64) {
	o.add(topic, partition, key, timestamp)
}

// AddTo is Add for a record that goes to the given partition, whatever its key. Where the topic has no such partition
// the record fails, and with it the round. [Session.Written] tells where these records ended up.
func (o *Outbox) AddTo(topic string, partition int32, key []byte, timestamp int64) {
	o.add(topic, exactly(partition), key, timestamp)
}

func (o *Outbox) add(topic string, partition int32, key []byte, timestamp int64) {
	o.records = append(o.records, kgo.Record{Topic: topic, Partition: partition, Key: key, Timestamp: time.UnixMilli(timestamp)})
	o.start, o.size = len(o.headers), 0
	o.bytes += recordMemory
	o.grow(recordOverhead + len(key))
}

// grow notes that the open record takes n bytes more.
func (o *Outbox) grow(n int) { o.bytes += n; o.size += n }

// Header adds a header to the open record. The value is not copied and must not change.
func (o *Outbox) Header(key string, value []byte) {
	o.headers = append(o.headers, kgo.RecordHeader{Key: key, Value: value})
	o.records[len(o.records)-1].Headers = o.headers[o.start:len(o.headers):len(o.headers)]
	o.grow(headerOverhead + len(key) + len(value))
}

// HeaderCopy adds a header to the open record and copies the value.
func (o *Outbox) HeaderCopy(key string, value []byte) { o.Header(key, o.Copy(value)) }

// Value sets the value of the open record, once; nil is null. It is not copied and must not change.
func (o *Outbox) Value(value []byte) {
	o.records[len(o.records)-1].Value = value
	o.grow(len(value))
}

// ValueCopy sets the value of the open record, once, to a copy.
func (o *Outbox) ValueCopy(value []byte) { o.Value(o.Copy(value)) }

// Copy returns a copy of b in the outbox's memory, for keys; nil for nil.
func (o *Outbox) Copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(b) == 0 {
		return []byte{} // a slice of an arena that is nil would be nil too
	}
	i := len(o.arena)
	o.arena = append(o.arena, b...) // what grew out of the old arena keeps that alive
	return o.arena[i:len(o.arena):len(o.arena)]
}

// Size returns at least the bytes that a batch of the open record alone takes, uncompressed. A broker measures
// that against the topic's max.message.bytes.
func (o *Outbox) Size() int { return o.size }

// Drop removes the open record.
func (o *Outbox) Drop() {
	o.bytes -= o.size + recordMemory
	o.headers = o.headers[:o.start]
	o.records = o.records[:len(o.records)-1]
	o.size = 0
}

// Len returns the number of records.
func (o *Outbox) Len() int { return len(o.records) }

// Bytes returns at least the bytes that the records take in memory, and uncompressed in batches.
func (o *Outbox) Bytes() int { return o.bytes }

// Discard gives the outbox back without writing anything.
func (o *Outbox) Discard() {
	clear(o.records) // let go of keys, values and headers
	clear(o.headers)
	o.records, o.headers, o.arena = o.records[:0], o.headers[:0], o.arena[:0]
	if cap(o.arena) > maxArena {
		o.arena = nil
	}
	o.bytes, o.size, o.start = 0, 0, 0
	select {
	case o.session.outboxes <- o:
	default:
	}
}

// done is called for each record that was acknowledged or has failed; the library does not touch it afterwards.
func (o *Outbox) done(r *kgo.Record, err error) {
	if err != nil {
		o.session.fail(r.Topic, err)
	}
	if o.left.Add(-1) == 0 {
		s, n := o.session, o.bytes
		o.Discard()
		s.inFlight.leave(int64(n))
	}
}

// doneTo is done for a record with a partition of its own.
func (o *Outbox) doneTo(r *kgo.Record, err error) {
	if err == nil {
		o.session.written.set(r.Topic, r.Partition, r.Offset+1)
	}
	o.done(r, err)
}

// writes are the offsets after the last records that were written to partitions, by topic; 0 is none. They are safe
// for concurrent use.
type writes struct {
	mu   sync.Mutex
	next map[string][]int64
}

func (w *writes) set(topic string, partition int32, next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.next[topic]
	if int(partition) >= len(at) {
		if w.next == nil {
			w.next = map[string][]int64{}
		}
		at = append(at, make([]int64, int(partition)+1-len(at))...)
		w.next[topic] = at
	}
	at[partition] = next
}

func (w *writes) get(topic string, partition int32) (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.next[topic]
	if partition < 0 || int(partition) >= len(at) {
		return 0, false
	}
	return at[partition], at[partition] > 0
}

func (w *writes) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.next {
		clear(at)
	}
}
