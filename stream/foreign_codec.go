package stream

import (
	"encoding/binary"
	"errors"
	"math"
)

// What the two sides of a join by foreign key tell each other, and what the left side keeps.

var (
	errSubscription = errors.New("a subscription is damaged")
	errResponse     = errors.New("a response is damaged")
	errForeignRow   = errors.New("what is known of a right row is damaged")
	errAwaiting     = errors.New("what is kept of a left row is damaged")
)

// subscription is what a task of the left side asks for. The key of its record is the foreign key.
type subscription struct {
	ends      bool   // none of its left rows has that foreign key any more
	partition int32  // of the left rows
	number    uint64 // tells it from those of before
}

const subscriptionEnds byte = 1

// foreignKeys is the codec of foreign keys that are encoded already. They go to the partition of the right row.
type foreignKeys[F any] struct {
	Codec[[]byte]
	of Codec[F]
}

// PlacedBy returns what the partition of a foreign key goes by.
func (c foreignKeys[F]) PlacedBy(b []byte) []byte { return placedBy(c.of, b) }

type subscriptionCodec struct{}

func (subscriptionCodec) Append(dst []byte, s subscription) ([]byte, error) {
	dst = appendPartition(append(dst, flag(s.ends, subscriptionEnds)), s.partition)
	return binary.AppendUvarint(dst, s.number), nil
}

func (subscriptionCodec) Decode(b []byte) (s subscription, err error) {
	if len(b) == 0 || b[0] > subscriptionEnds {
		return s, errSubscription
	}
	s.ends = b[0] == subscriptionEnds
	p, rest, ok := cutPartition(b[1:])
	if s.partition = p; ok {
		in := heldReader{b: rest}
		s.number = in.uvarint()
		rest, ok = in.b, in.err == nil
	}
	if !ok || len(rest) > 0 {
		return subscription{}, errSubscription
	}
	return s, nil
}

// response tells a task of the left side of a right row. The key of its record is the foreign key.
type response struct {
	number uint64 // of the subscription
	update bool   // the right row has changed: nobody has asked
	exists bool   // there is a right row
	at     int64  // the time of the right row, if there is one; of an update that is the record's
	value  []byte // of the right row
	// partition is where the left rows are. It is not part of the record.
	partition int32
}

const (
	responseUpdate byte = 1 << iota
	responseExists
)

type responseCodec struct{}

func (responseCodec) Append(dst []byte, r response) ([]byte, error) {
	dst = binary.AppendUvarint(append(dst, flag(r.update, responseUpdate)|flag(r.exists, responseExists)), r.number)
	if !r.exists {
		return dst, nil
	}
	if !r.update {
		dst = appendTime(dst, r.at)
	}
	return append(dst, r.value...), nil
}

func (responseCodec) Decode(b []byte) (r response, err error) {
	if len(b) == 0 || b[0] > responseUpdate|responseExists {
		return r, errResponse
	}
	in := heldReader{b: b[1:]}
	r.update, r.exists, r.number, r.value = b[0]&responseUpdate != 0, b[0]&responseExists != 0, in.uvarint(), in.b
	switch {
	case in.err != nil, !r.exists && len(r.value) > 0, r.exists && !r.update && len(r.value) < timeBytes:
		return response{}, errResponse
	case r.exists && !r.update:
		r.at, r.value = timeOf(r.value), r.value[timeBytes:]
	}
	return r, nil
}

// foreignRow is what a task of the left side knows of the right row of a foreign key.
type foreignRow[R any] struct {
	number   uint64 // of the subscription
	answered bool   // the right side has told
	exists   bool   // that there is one
	right    R
	// left is the key of a left row, in the bytes of the store, that has the foreign key; "" is not known. It is not stored: where the
	// row that leaves is another, nothing has to be read to know that it is not the last.
	left string
}

const (
	foreignAnswered byte = 1 << iota
	foreignExists
)

type foreignRowCodec[R any] struct{ right Codec[R] }

func (c foreignRowCodec[R]) Append(dst []byte, r foreignRow[R]) ([]byte, error) {
	dst = binary.AppendUvarint(append(dst, flag(r.answered, foreignAnswered)|flag(r.exists, foreignExists)), r.number)
	if !r.exists {
		return dst, nil
	}
	return c.right.Append(dst, r.right)
}

func (c foreignRowCodec[R]) Decode(b []byte) (r foreignRow[R], err error) {
	if len(b) == 0 || b[0] > foreignAnswered|foreignExists || b[0] == foreignExists {
		return r, errForeignRow
	}
	in := heldReader{b: b[1:]}
	r.answered, r.exists, r.number = b[0]&foreignAnswered != 0, b[0]&foreignExists != 0, in.uvarint()
	switch {
	case in.err != nil, !r.exists && len(in.b) > 0:
		return foreignRow[R]{}, errForeignRow
	case r.exists:
		r.right, err = c.right.Decode(in.b)
	}
	return r, err
}

// awaiting is a left row whose foreign key the right side has not told of yet.
type awaiting[L, R any] struct {
	told  bool        // that there is no right row is a result, too: the left row had another foreign key
	match match[L, R] // what it was joined with before, if that has led to a result: it is the row's until then
}

const (
	awaitingTold byte = 1 << iota
	awaitingMatch
	awaitingExists
)

type awaitingCodec[L, R any] struct {
	left  Codec[L]
	right Codec[R]
}

func (c awaitingCodec[L, R]) Append(dst []byte, a awaiting[L, R]) ([]byte, error) {
	m := &a.match
	dst = append(dst, flag(a.told, awaitingTold)|flag(m.kept, awaitingMatch)|flag(m.kept && m.exists, awaitingExists))
	if !m.kept {
		return dst, nil
	}
	left, err := c.left.Append(nil, m.left)
	if err != nil {
		return dst, err
	}
	dst = appendBytes(appendTime(dst, m.timestamp), left)
	if !m.exists {
		return dst, nil
	}
	return c.right.Append(dst, m.right)
}

func (c awaitingCodec[L, R]) Decode(b []byte) (a awaiting[L, R], err error) {
	if len(b) == 0 || b[0] > awaitingTold|awaitingMatch|awaitingExists || b[0]&(awaitingMatch|awaitingExists) == awaitingExists {
		return a, errAwaiting
	}
	in := heldReader{b: b[1:]}
	m := match[L, R]{kept: b[0]&awaitingMatch != 0, exists: b[0]&awaitingExists != 0}
	if m.kept {
		if len(in.b) < timeBytes {
			return a, errAwaiting
		}
		m.known, m.timestamp, in.b = true, timeOf(in.b), in.b[timeBytes:]
		left := in.bytes()
		if in.err != nil {
			return a, errAwaiting
		}
		if m.left, err = c.left.Decode(left); err != nil {
			return a, err
		}
	}
	if m.exists {
		if m.right, err = c.right.Decode(in.b); err != nil {
			return a, err
		}
	} else if len(in.b) > 0 {
		return a, errAwaiting
	}
	return awaiting[L, R]{told: b[0]&awaitingTold != 0, match: m}, nil
}

// flag returns a bit if it is to be set.
func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func appendPartition(dst []byte, p int32) []byte { return binary.AppendUvarint(dst, uint64(p)) }

// cutPartition returns the number of a partition at the beginning of b, and what follows it.
func cutPartition(b []byte) (p int32, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > math.MaxInt32 {
		return 0, nil, false
	}
	return int32(n), b[size:], true
}
