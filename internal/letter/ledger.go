package letter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// The ledger is a topic of one partition that holds a record for each letter that was replayed, written in the transaction
// of the replay. So it says what is replayed whatever happened in between, and whichever letters were selected before.
//
// A record of it has the letter's id as its key. Its value is the letter's topic, by its id, the letter's place there, and
// the timestamp of the letter's record: "TOPICID PARTITION/OFFSET TIMESTAMP". Records of letters that are not there any
// more are deleted from the beginning on.

// LedgerTopic returns the name of the ledger of a consumer group, and TransactionalID under which a group's letters are
// replayed, by one process at a time.
func LedgerTopic(group string) string { return group + "-dlq-replayed" }

// TransactionalID returns the transactional id under which the letters of a group are replayed.
func TransactionalID(group string) string { return group + "-dlq-replay" }

const idBytes = 16

// mark is what a letter is known by: a hash of its id and its record's timestamp. The timestamp tells records apart that
// stood in the same place of topics of the same name.
type mark [idBytes]byte

func markOf(id string, timestamp int64) mark {
	sum := sha256.Sum256([]byte(id + "@" + strconv.FormatInt(timestamp, 10)))
	return mark(sum[:idBytes])
}

// ledger is what is replayed.
type ledger struct {
	topic   string
	letters [16]byte // the id of the topic of the letters
	marks   map[mark]struct{}
	old     int64 // records before this offset are of no use
	stale   bool  // only such have been read so far
}

// entry is a record of the ledger.
type entry struct {
	topic     [16]byte
	partition int32
	offset    int64
	timestamp int64
}

var errLedger = errors.New("these are not the bytes of a record of replayed letters: was the topic written by another program?")

func parseEntry(b []byte) (e entry, err error) {
	parts := strings.Fields(string(b))
	if len(parts) != 3 {
		return e, errLedger
	}
	id, err1 := hex.DecodeString(parts[0])
	p, o, ok := strings.Cut(parts[1], "/")
	partition, err2 := strconv.ParseUint(p, 10, 31)
	offset, err3 := strconv.ParseUint(o, 10, 63)
	timestamp, err4 := strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(err1, err2, err3, err4) != nil || !ok || len(id) != len(e.topic) {
		return e, errLedger
	}
	return entry{[16]byte(id), int32(partition), int64(offset), timestamp}, nil
}

// record returns the record of the ledger for a letter.
func (g *ledger) record(l *Letter) *record.Raw {
	return &record.Raw{
		Topic: g.topic, Key: []byte(l.ID), Timestamp: -1,
		Value: fmt.Appendf(nil, "%x %s %d", g.letters, l.At(), l.Timestamp),
	}
}

// readLedger reads the ledger of a group to its end; one that is not there is empty. Letters before the offsets of start are
// not in their topic any more. With wait it waits for the end of transactions that are open, without it they count for
// nothing.
func readLedger(ctx context.Context, c *kafka.Client, topic string, letters [16]byte, start kafka.Offsets, wait bool) (*ledger, error) {
	g := &ledger{topic: topic, letters: letters, marks: map[mark]struct{}{}, stale: true}
	begin, err := c.StartOffsets(ctx, topic)
	if missing(err) {
		return g, nil
	}
	if err != nil {
		return nil, err
	}
	if !wait {
		err = c.Tap(ctx, kafka.TapConfig{Topic: topic, From: kafka.FromStart}, func(rs []record.Raw) error {
			for i := range rs {
				if err := g.add(&rs[i], start); err != nil {
					return err
				}
			}
			return nil
		})
		return g, cmp.Or(err, ctx.Err())
	}
	var raw record.Raw
	err = c.Read(ctx, kafka.ReadConfig{From: map[string]kafka.Offsets{topic: begin}}, func(s kafka.Step) error {
		for i := range s.Len() {
			s.Read(i, &raw)
			if err := g.add(&raw, start); err != nil {
				return err
			}
		}
		return nil
	})
	return g, err
}

// add takes the next record of the ledger.
func (g *ledger) add(raw *record.Raw, start kafka.Offsets) error {
	e, err := parseEntry(raw.Value)
	if err != nil {
		return &kafka.Error{
			Code: kafka.CodeConfig, Op: "read topic", Where: fmt.Sprintf("%s/%d/%d", g.topic, raw.Partition, raw.Offset), Err: err,
			Hint: "write nothing to this topic; delete it to forget which letters were replayed",
		}
	}
	if oldest, ok := start[e.partition]; e.topic == g.letters && ok && e.offset >= oldest {
		g.marks[markOf(string(raw.Key), e.timestamp)] = struct{}{}
		g.stale = false
	}
	if g.stale {
		g.old = raw.Offset + 1
	}
	return nil
}

// has tells whether a letter was replayed.
func (g *ledger) has(l *Letter) bool {
	_, ok := g.marks[markOf(l.ID, l.Timestamp)]
	return ok
}

// purge deletes what is of no use. It is a matter of space only: where it is not allowed nothing is lost.
func (g *ledger) purge(ctx context.Context, c *kafka.Client) error {
	if g.old == 0 {
		return nil
	}
	return c.DeleteRecords(ctx, g.topic, kafka.Offsets{0: g.old})
}
