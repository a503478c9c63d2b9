package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// Headers of what the engine writes. Every value is UTF-8 text; numbers are decimal.
const (
	// HeaderSource of a prediction is its record's topic/partition/offset.
	HeaderSource = "millrace.source"
	// HeaderSourceTimestamp of a prediction is its record's timestamp in milliseconds, there only where the
	// prediction could not have the same one: because the record has none, or because the sink's brokers refuse
	// timestamps so far in the future or the past. Such predictions have the time at which they were made.
	HeaderSourceTimestamp = "millrace.source.timestamp"
	// HeaderModel is the header of [Worker.Headers] that names the model; dead letters repeat its value.
	HeaderModel = "millrace.model"
)

// Headers of a dead letter, after those of the record itself. A dead letter that lacks the record's value, key or
// headers points to the record, which can be read at its topic, partition and offset for as long as that topic
// keeps it.
const (
	letterPrefix    = "millrace.dlq."
	LetterID        = letterPrefix + "id"         // 32 hex digits, of topic, partition and offset: the same for the same record
	LetterTopic     = letterPrefix + "topic"      // where the record stands
	LetterPartition = letterPrefix + "partition"  //
	LetterOffset    = letterPrefix + "offset"     //
	LetterTimestamp = letterPrefix + "timestamp"  // the record's, in milliseconds; -1 is none
	LetterGroup     = letterPrefix + "group"      // the pipeline's consumer group
	LetterStage     = letterPrefix + "stage"      // where on the data path the record failed
	LetterClass     = letterPrefix + "class"      // what kind of failure
	LetterField     = letterPrefix + "field"      // at which field; absent if none
	LetterReason    = letterPrefix + "reason"     // a sentence, without any value of the record
	LetterModel     = letterPrefix + "model"      // the model in use; absent if unknown
	LetterAttempt   = letterPrefix + "attempt"    // 1; one more than the record's own header of this name
	LetterFirstSeen = letterPrefix + "first-seen" // the record's own header of this name, else its timestamp
	LetterVersion   = letterPrefix + "version"    // of the program; absent if unknown

	LetterValueBytes   = letterPrefix + "value-bytes"   // in place of a value that the topic does not take: its size
	LetterKeyBytes     = letterPrefix + "key-bytes"     // the same for the key
	LetterHeadersBytes = letterPrefix + "headers-bytes" // the same for the record's own headers
)

// Classes of the problems that the engine itself finds. Their stage is record.StageProduce.
const (
	classTooLarge = "too_large" // the prediction is larger than the sink takes
	classNullKey  = "null_key"  // the sink is compacted and takes no record without a key
	classRefused  = "refused"   // the sink's brokers refuse the prediction
	classNoOutput = "no_output" // the worker gave neither an output nor a problem
)

// coordinates are where a record stands in the source topic.
type coordinates struct {
	partition int32
	offset    int64
}

// verdict says in what form a record goes out that the brokers have refused in another.
type verdict struct {
	problem record.Problem // why it is a dead letter; Stage is "" if it is one anyway
	bare    bool           // without its own bytes
}

// writer makes the records to be written of processed batches. Each goroutine has its own.
type writer struct {
	engine *Engine
	limits map[string]kafka.Limits
	now    int64 // milliseconds
	text   []byte
}

func newWriter(e *Engine, limits map[string]kafka.Limits) *writer {
	return &writer{engine: e, limits: limits}
}

// batch adds a record to out for each row of a batch that w has processed, and counts them in t.
func (x *writer) batch(w Worker, b *record.Batch, out *kafka.Outbox, t *tally) {
	x.now = x.engine.options.Now().UnixMilli()
	headers := w.Headers()
	for i := range b.Len() {
		raw := b.Raw(i)
		t.timestamps = append(t.timestamps, raw.Timestamp)
		v := x.engine.condemned[coordinates{raw.Partition, raw.Offset}]
		p := b.Problem(i)
		if p == nil && v.problem.Stage != "" {
			p = &v.problem
		}
		if p == nil {
			p = x.prediction(raw, w.Output(i), headers, out)
		}
		if p == nil {
			t.predictions++
			continue
		}
		x.letter(raw, p, headers, v.bare, out)
		t.deadLetters[Kind{p.Stage, p.Class}]++
	}
	t.rows += b.Len()
}

// prediction adds a prediction to out, or says why it cannot be written.
func (x *writer) prediction(raw *record.Raw, value []byte, headers []record.Header, out *kafka.Outbox) *record.Problem {
	sink := x.engine.options.Sink
	l := x.limits[sink]
	if value == nil {
		return &record.Problem{Stage: record.StageProduce, Class: classNoOutput, Reason: "the data path gave no result for this record"}
	}
	if l.Compacted && raw.Key == nil {
		return &record.Problem{Stage: record.StageProduce, Class: classNullKey, Reason: "the sink topic is compacted and takes no record without a key"}
	}
	ts := x.timestamp(raw.Timestamp, &l)
	out.Add(sink, raw.Partition, raw.Key, ts)
	for _, h := range raw.Headers {
		out.Header(h.Key, h.Value)
	}
	for _, h := range headers {
		out.Header(h.Key, h.Value)
	}
	x.text = append(append(x.text[:0], raw.Topic...), '/')
	x.text = append(strconv.AppendInt(x.text, int64(raw.Partition), 10), '/')
	out.HeaderCopy(HeaderSource, strconv.AppendInt(x.text, raw.Offset, 10))
	if ts != raw.Timestamp {
		x.number(out, HeaderSourceTimestamp, raw.Timestamp)
	}
	out.ValueCopy(value)
	if size := out.Size(); size > l.MaxBytes {
		out.Drop()
		return &record.Problem{
			Stage: record.StageProduce, Class: classTooLarge,
			Reason: "the prediction takes up to " + strconv.Itoa(size) + " bytes; the sink topic takes records of " + strconv.Itoa(l.MaxBytes),
		}
	}
	return nil
}

// timestamp returns the timestamp to write for a record's own: the same, unless the brokers would refuse it.
func (x *writer) timestamp(ts int64, l *kafka.Limits) int64 {
	if ts < 0 {
		return x.now
	}
	if l.AppendTime {
		return ts
	}
	// The brokers' clocks are not this one: keep clear of the limit itself.
	if d := l.FutureLimit; ts > x.now+(d-min(d/2, time.Minute)).Milliseconds() {
		return x.now
	}
	if d := l.PastLimit; ts < x.now-(d-min(d/2, time.Minute)).Milliseconds() {
		return x.now
	}
	return ts
}

// letter adds a dead letter to out: the record as it came, or as much of it as the topic takes.
func (x *writer) letter(raw *record.Raw, p *record.Problem, headers []record.Header, bare bool, out *kafka.Outbox) {
	l := x.limits[x.engine.options.DeadLetter]
	if bare {
		x.form(raw, p, headers, &l, form{}, out)
		return
	}
	for _, f := range []form{{value: true, headers: true, key: true}, {headers: true, key: true}, {key: true}} {
		x.form(raw, p, headers, &l, f, out)
		if out.Size() <= l.MaxBytes {
			return
		}
		out.Drop()
	}
	x.form(raw, p, headers, &l, form{}, out)
}

// form says which bytes of a record a dead letter holds.
type form struct{ value, headers, key bool }

func (x *writer) form(raw *record.Raw, p *record.Problem, headers []record.Header, l *kafka.Limits, f form, out *kafka.Outbox) {
	key := raw.Key
	if !f.key {
		key = nil
	}
	out.Add(x.engine.options.DeadLetter, raw.Partition, key, x.timestamp(raw.Timestamp, l))
	attempt, firstSeen, size := 1, raw.Timestamp, 0
	for _, h := range raw.Headers {
		size += len(h.Key) + len(h.Value)
		if own, ok := strings.CutPrefix(h.Key, letterPrefix); ok { // the record was a dead letter before
			switch n, err := strconv.ParseInt(string(h.Value), 10, 64); {
			case err != nil:
			case letterPrefix+own == LetterAttempt:
				attempt = int(min(max(n, 0), 1<<30)) + 1
			case letterPrefix+own == LetterFirstSeen:
				firstSeen = n
			}
			continue
		}
		if f.headers {
			out.Header(h.Key, h.Value)
		}
	}
	x.describe(raw, p, headers, out)
	x.number(out, LetterAttempt, int64(attempt))
	x.number(out, LetterFirstSeen, firstSeen)
	if f.value {
		out.Value(raw.Value)
	} else {
		x.number(out, LetterValueBytes, int64(len(raw.Value)))
	}
	if !f.key && raw.Key != nil {
		x.number(out, LetterKeyBytes, int64(len(raw.Key)))
	}
	if !f.headers && size > 0 {
		x.number(out, LetterHeadersBytes, int64(size))
	}
}

// describe adds the headers that say what failed where.
func (x *writer) describe(raw *record.Raw, p *record.Problem, headers []record.Header, out *kafka.Outbox) {
	o := &x.engine.options
	out.HeaderCopy(LetterID, x.id(raw))
	x.string(out, LetterTopic, raw.Topic)
	x.number(out, LetterPartition, int64(raw.Partition))
	x.number(out, LetterOffset, raw.Offset)
	x.number(out, LetterTimestamp, raw.Timestamp)
	x.string(out, LetterGroup, o.Group)
	x.string(out, LetterStage, p.Stage)
	x.string(out, LetterClass, p.Class)
	x.string(out, LetterField, p.Field)
	x.string(out, LetterReason, p.Reason)
	for _, h := range headers {
		if h.Key == HeaderModel {
			out.Header(LetterModel, h.Value)
		}
	}
	x.string(out, LetterVersion, o.Version)
}

// maxHeaderText bounds each text of a dead letter that is not of fixed length.
const maxHeaderText = 500

// string adds a header; an empty value is left out.
func (x *writer) string(out *kafka.Outbox, key, value string) {
	if value == "" {
		return
	}
	if len(value) > maxHeaderText {
		value = strings.ToValidUTF8(value[:maxHeaderText], "")
	}
	x.text = append(x.text[:0], value...)
	out.HeaderCopy(key, x.text)
}

func (x *writer) number(out *kafka.Outbox, key string, value int64) {
	x.text = strconv.AppendInt(x.text[:0], value, 10)
	out.HeaderCopy(key, x.text)
}

// id returns the id of a record's dead letter: the first 16 bytes of the SHA-256 of topic, partition and offset
// with null bytes between them, in hex.
func (x *writer) id(raw *record.Raw) []byte {
	x.text = append(append(x.text[:0], raw.Topic...), 0)
	x.text = append(strconv.AppendInt(x.text, int64(raw.Partition), 10), 0)
	sum := sha256.Sum256(strconv.AppendInt(x.text, raw.Offset, 10))
	x.text = hex.AppendEncode(x.text[:0], sum[:16])
	return x.text
}
