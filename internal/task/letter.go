package task

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"millrace.dev/record"
)

// Headers of a dead letter, after those of the record itself. Values are UTF-8 text; numbers are decimal.
const (
	LetterPrefix    = "millrace.dlq."
	LetterID        = LetterPrefix + "id"         // 32 hex digits, of topic, partition and offset: the same for the same record
	LetterTopic     = LetterPrefix + "topic"      // where the record stands; absent, with partition and offset, if nowhere
	LetterPartition = LetterPrefix + "partition"  //
	LetterOffset    = LetterPrefix + "offset"     //
	LetterTimestamp = LetterPrefix + "timestamp"  // the record's, in milliseconds; -1 is none
	LetterGroup     = LetterPrefix + "group"      // the application
	LetterNode      = LetterPrefix + "node"       // the operator that dropped the record
	LetterStage     = LetterPrefix + "stage"      // where the record failed
	LetterClass     = LetterPrefix + "class"      // what kind of failure
	LetterField     = LetterPrefix + "field"      // at which field; absent if none
	LetterReason    = LetterPrefix + "reason"     // a sentence, without any value of the record
	LetterAttempt   = LetterPrefix + "attempt"    // 1; one more than the record's own header of this name
	LetterFirstSeen = LetterPrefix + "first-seen" // the record's own header of this name, else its timestamp
)

// maxLetterText bounds each text of a dead letter that is not of fixed length.
const maxLetterText = 500

// Letter returns the dead letter of a dropped record: the record as it came, with headers that say what happened. It is
// to be written to [Program.DeadLetters], with the partition of the source if it has no key. source is nil where no
// record led to the drop.
func (p *Program) Letter(source *record.Raw, d Drop) record.Raw {
	l := record.Raw{Topic: p.DeadLetters, Timestamp: -1}
	if source != nil {
		l.Key, l.Value, l.Timestamp, l.Partition = source.Key, source.Value, source.Timestamp, source.Partition
		for _, h := range source.Headers {
			if !strings.HasPrefix(h.Key, LetterPrefix) {
				l.Headers = append(l.Headers, h)
			}
		}
	}
	l.Headers = append(l.Headers, p.LetterHeaders(p.Name, source, d)...)
	return l
}

// LetterHeaders returns the headers that say what happened to a dropped record; group is the consumer group.
func (p *Program) LetterHeaders(group string, source *record.Raw, d Drop) []record.Header {
	var hs []record.Header
	add := func(key, value string) {
		if value == "" {
			return
		}
		hs = append(hs, record.Header{Key: key, Value: []byte(BoundedText(value))})
	}
	number := func(key string, n int64) { add(key, strconv.FormatInt(n, 10)) }
	attempt, firstSeen, timestamp := int64(1), int64(-1), int64(-1)
	if source != nil {
		timestamp, firstSeen = source.Timestamp, source.Timestamp
		for _, h := range source.Headers {
			n, err := strconv.ParseInt(string(h.Value), 10, 64) // the record may have been a dead letter before
			switch {
			case err != nil:
			case h.Key == LetterAttempt:
				attempt = min(max(n, 0), 1<<30) + 1
			case h.Key == LetterFirstSeen:
				firstSeen = n
			}
		}
		add(LetterID, letterID(source))
		add(LetterTopic, source.Topic)
		number(LetterPartition, int64(source.Partition))
		number(LetterOffset, source.Offset)
	}
	number(LetterTimestamp, timestamp)
	add(LetterGroup, group)
	add(LetterNode, p.Nodes[d.Node].Name)
	add(LetterStage, d.Problem.Stage)
	add(LetterClass, d.Problem.Class)
	add(LetterField, d.Problem.Field)
	add(LetterReason, d.Problem.Reason)
	number(LetterAttempt, attempt)
	number(LetterFirstSeen, firstSeen)
	return hs
}

// BoundedText cuts a text off where it is longer than a header of a dead letter is to be.
func BoundedText(s string) string {
	if len(s) > maxLetterText {
		s = strings.ToValidUTF8(s[:maxLetterText], "")
	}
	return s
}

// letterID returns the first 16 bytes of the SHA-256 of topic, partition and offset with null bytes between them, in
// hex.
func letterID(r *record.Raw) string {
	b := append([]byte(r.Topic), 0)
	b = append(strconv.AppendInt(b, int64(r.Partition), 10), 0)
	sum := sha256.Sum256(strconv.AppendInt(b, r.Offset, 10))
	return hex.EncodeToString(sum[:16])
}
