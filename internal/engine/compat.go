package engine

import (
	"encoding/binary"
	"strconv"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Compat is a system whose headers a dead letter has beside its own, for the tools that know these. No header holds a
// value of the record. What is an exception there is "millrace.STAGE.CLASS" here; its message is the reason. There is no
// stack: where the system always writes one, its only line is the exception with its message, as in a trace of Java.
type Compat string

// The systems. The header names are those of their sources.
const (
	CompatNone Compat = "none" // also ""
	// CompatConnect is Kafka Connect's, of org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter. Numbers are
	// decimal text. The connector is the group, the task the number of the task's partition, the class the operator.
	CompatConnect Compat = "connect"
	// CompatStreams is Kafka Streams' since 4.2 (KIP-1034), of org.apache.kafka.streams.errors.internals.
	// ExceptionHandlerUtils. Numbers are decimal text.
	CompatStreams Compat = "streams"
	// CompatSpring is Spring for Apache Kafka's, of org.springframework.kafka.listener.DeadLetterPublishingRecoverer.
	// Numbers are big-endian: the partition in 4 bytes, the offset and the timestamp in 8. The type of the timestamp is
	// left out, since it is not known, save for a record without a timestamp.
	CompatSpring Compat = "spring"
)

func (c Compat) valid() bool {
	switch c {
	case "", CompatNone, CompatConnect, CompatStreams, CompatSpring:
		return true
	default:
		return false
	}
}

const (
	connectPrefix = "__connect.errors."
	streamsPrefix = "__streams.errors."
	springPrefix  = "kafka_dlt-"
)

// connectStage is the stage of Kafka Connect that is closest to ours: one of its enum Stage.
func connectStage(stage string) string {
	switch stage {
	case record.StageDecode:
		return "VALUE_CONVERTER"
	case record.StageProduce:
		return "KAFKA_PRODUCE"
	default:
		return "TRANSFORMATION"
	}
}

// lettered is what compat headers are made of.
type lettered struct {
	raw   *record.Raw
	drop  *task.Drop
	node  string
	group string
	task  int32
}

// headers returns the headers of a system.
func (c Compat) headers(l lettered) []record.Header {
	p := &l.drop.Problem
	exception, reason := "millrace."+p.Stage+"."+p.Class, task.BoundedText(p.Reason)
	trace := task.BoundedText(exception + ": " + p.Reason)
	var hs []record.Header
	bytes := func(key string, value []byte) { hs = append(hs, record.Header{Key: key, Value: value}) }
	text := func(key, value string) { bytes(key, []byte(value)) }
	switch c {
	case CompatConnect:
		text(connectPrefix+"topic", l.raw.Topic)
		text(connectPrefix+"partition", strconv.Itoa(int(l.raw.Partition)))
		text(connectPrefix+"offset", strconv.FormatInt(l.raw.Offset, 10))
		text(connectPrefix+"connector.name", l.group)
		text(connectPrefix+"task.id", strconv.Itoa(int(l.task)))
		text(connectPrefix+"stage", connectStage(p.Stage))
		text(connectPrefix+"class.name", task.BoundedText(l.node))
		text(connectPrefix+"exception.class.name", exception)
		text(connectPrefix+"exception.message", reason)
		text(connectPrefix+"exception.stacktrace", trace)
	case CompatStreams:
		text(streamsPrefix+"exception", exception)
		text(streamsPrefix+"message", reason)
		text(streamsPrefix+"stacktrace", trace)
		text(streamsPrefix+"topic", l.raw.Topic)
		text(streamsPrefix+"partition", strconv.Itoa(int(l.raw.Partition)))
		text(streamsPrefix+"offset", strconv.FormatInt(l.raw.Offset, 10))
	case CompatSpring:
		text(springPrefix+"exception-fqcn", exception)
		text(springPrefix+"exception-cause-fqcn", exception)
		text(springPrefix+"exception-message", reason)
		text(springPrefix+"exception-stacktrace", trace)
		text(springPrefix+"original-topic", l.raw.Topic)
		bytes(springPrefix+"original-partition", binary.BigEndian.AppendUint32(nil, uint32(l.raw.Partition)))
		bytes(springPrefix+"original-offset", binary.BigEndian.AppendUint64(nil, uint64(l.raw.Offset)))
		bytes(springPrefix+"original-timestamp", binary.BigEndian.AppendUint64(nil, uint64(l.raw.Timestamp)))
		if l.raw.Timestamp < 0 {
			text(springPrefix+"original-timestamp-type", "NoTimestampType")
		}
		text(springPrefix+"original-consumer-group", l.group)
	default:
	}
	return hs
}
