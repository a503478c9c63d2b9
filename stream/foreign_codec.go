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
	errKnown        = errors.New("what is known of a right row is damaged")
)

// subscription is what a left row asks for. The key of its record is the foreign key.
type subscription struct {
	ends      bool   // it is not asked for any more
	always    bool   // an answer is wanted also if there is no right row
	partition int32  // of the left row
	key       []byte // of the left row
}

const (
	subscriptionEnds byte = 1 << iota
	subscriptionAlways
)

// foreignKeys is the codec of foreign keys that are encoded already. They go to the partition of the right row.
type foreignKeys[F any] struct {
	Codec[[]byte]
	of Codec[F]
}

// PlacedBy returns what the partition of a foreign key goes by.
func (c foreignKeys[F]) PlacedBy(b []byte) []byte { return placedBy(c.of, b) }

type subscriptionCodec struct{}

func (subscriptionCodec) Append(dst []byte, s subscription) ([]byte, error) {
	return append(appendPartition(append(dst, flag(s.ends, subscriptionEnds)|flag(s.always, subscriptionAlways)), s.partition), s.key...), nil
}

func (subscriptionCodec) Decode(b []byte) (s subscription, err error) {
	if len(b) == 0 || b[0] > subscriptionEnds|subscriptionAlways {
		return s, errSubscription
	}
	var ok bool
	s.ends, s.always = b[0]&subscriptionEnds != 0, b[0]&subscriptionAlways != 0
	if s.partition, s.key, ok = cutPartition(b[1:]); !ok {
		return subscription{}, errSubscription
	}
	return s, nil
}

// response tells a left row of the right row of a foreign key. The key of its record is that of the left row.
type response struct {
	update  bool   // the right row has changed: nobody has asked
	exists  bool   // there is a right row
	at      int64  // the time of the right row, if there is one; of an update that is the record's
	foreign []byte // the foreign key
	value   []byte // of the right row
	// partition is where the left row is. It is not part of the record.
	partition int32
}

const (
	responseUpdate byte = 1 << iota
	responseExists
)

type responseCodec struct{}

func (responseCodec) Append(dst []byte, r response) ([]byte, error) {
	dst = appendBytes(append(dst, flag(r.update, responseUpdate)|flag(r.exists, responseExists)), r.foreign)
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
	r.foreign, r.value = in.bytes(), in.b
	r.update, r.exists = b[0]&responseUpdate != 0, b[0]&responseExists != 0
	if in.err != nil || !r.exists && len(r.value) > 0 {
		return response{}, errResponse
	}
	if !r.exists || r.update {
		return r, nil
	}
	if len(r.value) < timeBytes {
		return response{}, errResponse
	}
	r.at, r.value = timeOf(r.value), r.value[timeBytes:]
	return r, nil
}

// known is what is known of the right row of a left row. While the answer for another foreign key is awaited it is what the left row
// was joined with before, with its value of that time.
type known[L, R any] struct {
	right  R
	exists bool // there is a right row
	waits  bool // for an answer
	left   L    // if it waits
}

const (
	knownExists byte = 1 << iota
	knownWaits
)

type knownCodec[L, R any] struct {
	left  Codec[L]
	right Codec[R]
}

func (c knownCodec[L, R]) Append(dst []byte, k known[L, R]) (_ []byte, err error) {
	dst = append(dst, flag(k.exists, knownExists)|flag(k.waits, knownWaits))
	if k.waits {
		left, err := c.left.Append(nil, k.left)
		if err != nil {
			return dst, err
		}
		dst = appendBytes(dst, left)
	}
	if !k.exists {
		return dst, nil
	}
	return c.right.Append(dst, k.right)
}

func (c knownCodec[L, R]) Decode(b []byte) (k known[L, R], err error) {
	if len(b) == 0 || b[0] > knownExists|knownWaits {
		return k, errKnown
	}
	in := heldReader{b: b[1:]}
	k.exists, k.waits = b[0]&knownExists != 0, b[0]&knownWaits != 0
	if k.waits {
		left := in.bytes()
		if in.err != nil {
			return k, errKnown
		}
		if k.left, err = c.left.Decode(left); err != nil {
			return k, err
		}
	}
	if !k.exists {
		if len(in.b) > 0 {
			return k, errKnown
		}
		return k, nil
	}
	k.right, err = c.right.Decode(in.b)
	return k, err
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
