package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Headers of records that are written with their provenance. Every value is UTF-8 text; numbers are decimal.
const (
	// HeaderSource is the topic/partition/offset of the record that led to the output.
	HeaderSource = "millrace.source"
	// HeaderSourceTimestamp is the timestamp of that record in milliseconds, there only where the output could not have
	// the same one: because the record has none, or because the brokers refuse timestamps so far in the future or the
	// past. Such outputs have the time at which they were made.
	HeaderSourceTimestamp = "millrace.source.timestamp"
)

// Headers of a dead letter beside those of package task, after the record's own. A dead letter that lacks the record's
// value, key or headers points to the record, which can be read at its topic, partition and offset for as long as that
// topic keeps it.
const (
	LetterModel   = task.LetterPrefix + "model"   // the model in use; absent if there is none
	LetterSchema  = task.LetterPrefix + "schema"  // 16 hex digits of the digest of the schema; absent if unknown
	LetterVersion = task.LetterPrefix + "version" // of the program; absent if unknown

	LetterValueBytes   = task.LetterPrefix + "value-bytes"   // in place of a value that the topic does not take: its size
	LetterKeyBytes     = task.LetterPrefix + "key-bytes"     // the same for the key
	LetterHeadersBytes = task.LetterPrefix + "headers-bytes" // the same for the record's own headers
)

// UnknownBytes is the value of [LetterValueBytes] for a record whose batch could not be read.
const UnknownBytes = "unknown"

// Classes of the problems that the engine itself finds. Their stage is record.StageProduce.
const (
	classTooLarge = "too_large" // the output is larger than its topic takes
	classNullKey  = "null_key"  // the topic is compacted and takes no record without a key
	classRefused  = "refused"   // the brokers refuse the output
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// coordinates are where a record stands.
type coordinates struct {
	place

	offset int64
}

// verdict says in what form a record goes out that the brokers have refused in another.
type verdict struct {
	problem record.Problem // why it is a dead letter; Stage is "" if it is one anyway
	bare    bool           // without its own bytes
}

// writer makes the records to be written of what a task gives out. It is for whoever runs the task.
type writer struct {
	loop   *loop
	engine *Engine
	of     *running // nil is none
	to     int32    // the partition for records without a key
	last   *target  // of the record before, mostly of the next one too
	all    map[string]*target
	logs   map[string]*target // by store
	out    *kafka.Outbox
	// shipped is how many bytes were sent.
	shipped int
	tally   *tally
	now     int64 // milliseconds
	text    []byte
	origin  record.Raw // of the record at hand, if that carries it
	source  string     // topic and partition whose text is prefix
	part    int32
	prefix  []byte
}

// target is a topic that is written.
type target struct {
	topic      string
	limits     kafka.Limits
	partitions int
	internal   bool // a repartition topic
}

func newWriter(l *loop, r *running) *writer {
	x := &writer{loop: l, engine: l.engine, of: r, all: map[string]*target{}, logs: map[string]*target{}, last: &target{}}
	own := repartitionTopics(l.engine.program)
	for topic, limits := range l.plan.limits {
		x.all[topic] = &target{topic, limits, l.plan.partitions[topic], slices.Contains(own, topic)}
	}
	if r == nil {
		return x
	}
	x.to = r.id.Partition
	for _, s := range l.engine.program.Subs[r.id.Sub].Stores {
		x.logs[s.Name] = x.all[l.engine.program.Changelog(s.Name)]
	}
	return x
}

// begin makes ready for what a task gives out next, which t counts.
func (x *writer) begin(t *tally) {
	x.now, x.tally = x.engine.options.Now().UnixMilli(), t
}

// target returns what is known of a topic.
func (x *writer) target(topic string) *target {
	if x.last.topic != topic {
		x.last = x.all[topic]
	}
	return x.last
}

// maxOutbox is about how many bytes are collected before they are sent.
const maxOutbox = 256 << 10

// outbox returns what is being filled.
func (x *writer) outbox() *kafka.Outbox {
	if x.out != nil && x.out.Bytes() >= maxOutbox {
		x.ship()
	}
	if x.out == nil {
		x.out = x.loop.session.Outbox()
	}
	return x.out
}

// ship sends what was filled.
func (x *writer) ship() {
	if x.out == nil {
		return
	}
	if x.of != nil {
		x.of.wrote = x.of.wrote || x.out.Len() > 0
	}
	x.shipped += x.out.Bytes()
	x.loop.outlet.put(x.out)
	x.out = nil
}

// given returns how many bytes have been written so far.
func (x *writer) given() int {
	if x.out == nil {
		return x.shipped
	}
	return x.shipped + x.out.Bytes()
}

func (x *writer) discard() {
	if x.out != nil {
		x.out.Discard()
		x.out = nil
	}
}

// Send writes a record, or says why its topic cannot take it.
func (x *writer) Send(m *task.Message) *record.Problem {
	goal, raw := x.target(m.Topic), m.Source
	l := &goal.limits
	if raw != nil {
		if verdicts := *x.engine.verdicts.Load(); len(verdicts) > 0 {
			if v := verdicts[at(raw)]; v.problem.Stage != "" {
				return &v.problem
			}
		}
	}
	if l.Compacted && m.Key == nil {
		return &record.Problem{Stage: record.StageProduce, Class: classNullKey, Reason: "the topic is compacted and takes no record without a key"}
	}
	place, problem := m.Place(goal.partitions)
	if problem != nil {
		return problem
	}
	origin, to := raw, x.to
	if raw != nil {
		if origin = x.engine.program.Origin(raw, &x.origin); origin != raw {
			to = origin.Partition
		}
	}
	ts := x.timestamp(m.Timestamp, l)
	out := x.outbox()
	switch {
	case place >= 0:
		out.AddTo(m.Topic, place, out.Copy(m.Key), ts)
	default:
		out.Add(m.Topic, to, out.Copy(m.Key), ts)
	}
	for _, h := range m.Headers {
		out.Header(h.Key, h.Value)
	}
	if m.Provenance && raw != nil {
		out.HeaderCopy(HeaderSource, x.provenance(origin))
		if ts != origin.Timestamp || l.AppendTime { // which the brokers replace
			x.number(out, HeaderSourceTimestamp, origin.Timestamp)
		}
	}
	if m.CarryOrigin && raw != nil {
		x.text = task.AppendOrigin(x.text[:0], m, origin)
		out.HeaderCopy(task.OriginHeader, x.text)
	}
	if m.Value != nil {
		out.ValueCopy(m.Value)
	}
	if size := out.Size(); size > l.MaxBytes {
		out.Drop()
		return &record.Problem{
			Stage: record.StageProduce, Class: classTooLarge,
			Reason: "the output takes up to " + strconv.Itoa(size) + " bytes; its topic takes records of " + strconv.Itoa(l.MaxBytes),
		}
	}
	if o := x.outcome(raw); o != nil {
		o.result()
	}
	if goal.internal {
		x.tally.internal++
		return nil
	}
	x.tally.written[m.Topic]++
	if raw != nil {
		x.tally.timestamps = append(x.tally.timestamps, raw.Timestamp)
	}
	return nil
}

// provenance returns where a record stands.
func (x *writer) provenance(raw *record.Raw) []byte {
	if x.source != raw.Topic || x.part != raw.Partition || x.prefix == nil {
		x.source, x.part = raw.Topic, raw.Partition
		x.prefix = append(append(x.prefix[:0], raw.Topic...), '/')
		x.prefix = append(strconv.AppendInt(x.prefix, int64(raw.Partition), 10), '/')
	}
	x.text = strconv.AppendInt(append(x.text[:0], x.prefix...), raw.Offset, 10)
	return x.text
}

func at(raw *record.Raw) coordinates {
	return coordinates{place{raw.Topic, raw.Partition}, raw.Offset}
}

// Change writes a change of a store to its changelog.
func (x *writer) Change(store string, key, value []byte) error {
	to := x.logs[store]
	out := x.outbox()
	out.AddTo(to.topic, x.to, out.Copy(key), x.now)
	if value != nil {
		out.ValueCopy(value)
	}
	if size, most := out.Size(), to.limits.MaxBytes; size > most {
		return &kafka.Error{
			Code: kafka.CodeRejected, Op: "write to topic", Where: to.topic, Err: fmt.Errorf("a row takes up to %d bytes; the topic takes records of %d", size, most),
			Hint: "raise the topic's max.message.bytes, or keep less in a row",
		}
	}
	return nil
}

// Drop counts a record that was dropped, and writes a dead letter if it is to have one.
func (x *writer) Drop(raw *record.Raw, d task.Drop) {
	p := &d.Problem
	node := x.engine.program.Nodes[d.Node].Name
	x.tally.dropped[Drop{node, p.Stage, p.Class}] += uint64(d.Count)
	if d.NoLetter || x.engine.program.DeadLetters == "" || raw == nil || raw.Topic == "" {
		return
	}
	if o := x.outcome(raw); o != nil {
		o.letter(raw.Offset, Kind{p.Stage, p.Class})
	}
	x.letter(x.engine.program.Origin(raw, &x.origin), d, x.engine.condemned(at(raw)).bare)
	x.tally.deadLetters[Kind{p.Stage, p.Class}]++
	x.tally.timestamps = append(x.tally.timestamps, raw.Timestamp)
}

// outcome returns where it is noted what becomes of a record; nil is nowhere.
func (x *writer) outcome(raw *record.Raw) *outcome {
	if x.of == nil || raw == nil {
		return nil
	}
	for i, in := range x.of.intakes {
		if in.topic == raw.Topic && x.of.id.Partition == raw.Partition {
			return &x.tally.outcomes[i]
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
func (x *writer) letter(raw *record.Raw, d task.Drop, bare bool) {
	l, out := x.all[x.engine.program.DeadLetters].limits, x.outbox()
	why := append(x.engine.program.LetterHeaders(x.engine.options.LetterGroup, raw, d), x.headers(raw)...)
	if bare {
		x.form(raw, why, nil, &l, form{}, out)
		return
	}
	compat := x.compat(raw, &d)
	for _, f := range []form{{value: true, headers: true, key: true}, {headers: true, key: true}, {key: true}} {
		for hs := compat; ; hs = nil { // rather without these than without bytes of the record
			x.form(raw, why, hs, &l, f, out)
			if out.Size() <= l.MaxBytes {
				return
			}
			out.Drop()
			if hs == nil {
				break
			}
		}
	}
	x.form(raw, why, nil, &l, form{}, out)
}

// compat returns the headers of another system that a dead letter has.
func (x *writer) compat(raw *record.Raw, d *task.Drop) []record.Header {
	o := &x.engine.options
	l := lettered{raw: raw, drop: d, node: x.engine.program.Nodes[d.Node].Name, group: o.LetterGroup, task: raw.Partition}
	if x.of != nil {
		l.task = x.of.id.Partition
	}
	return o.LetterCompat.headers(l)
}

// form says which bytes of a record a dead letter holds.
type form struct{ value, headers, key bool }

// form adds a dead letter to out. Its own headers follow on the record's, first those of why, and last those of compat:
// what was added begins with the first of why.
func (x *writer) form(raw *record.Raw, why, compat []record.Header, l *kafka.Limits, f form, out *kafka.Outbox) {
	key := raw.Key
	if !f.key {
		key = nil
	}
	out.Add(x.engine.program.DeadLetters, raw.Partition, key, x.timestamp(raw.Timestamp, l))
	size := 0
	for _, h := range raw.Headers {
		size += len(h.Key) + len(h.Value)
		if f.headers && !strings.HasPrefix(h.Key, task.LetterPrefix) { // of when the record was a dead letter before
			out.Header(h.Key, h.Value)
		}
	}
	for _, h := range why {
		out.Header(h.Key, h.Value)
	}
	if v := x.engine.options.Version; v != "" {
		out.Header(LetterVersion, []byte(v))
	}
	switch {
	case raw.Unreadable:
		out.Header(LetterValueBytes, []byte(UnknownBytes))
	case !f.value:
		x.number(out, LetterValueBytes, int64(len(raw.Value)))
	}
	if !f.key && raw.Key != nil {
		x.number(out, LetterKeyBytes, int64(len(raw.Key)))
	}
	if !f.headers && size > 0 {
		x.number(out, LetterHeadersBytes, int64(size))
	}
	for _, h := range compat {
		out.Header(h.Key, h.Value)
	}
	if f.value {
		out.Value(raw.Value)
	}
}

// headers returns those that the options add to the dead letter of a record.
func (x *writer) headers(raw *record.Raw) []record.Header {
	if x.engine.options.LetterHeaders == nil {
		return nil
	}
	epoch := x.engine.epoch.Load()
	if x.of != nil {
		epoch = x.of.epoch
	}
	return x.engine.options.LetterHeaders(epoch, raw)
}

func (x *writer) number(out *kafka.Outbox, key string, value int64) {
	x.text = strconv.AppendInt(x.text[:0], value, 10)
	out.HeaderCopy(key, x.text)
}
