package stream

import (
	"encoding/binary"
	"errors"
)

// changeCodec is the codec of updates of tables, for the topics that carry them. The first byte says what follows: the
// old value, the new one, or the length of the old one as a uvarint, it and the new one. Kafka Streams writes other
// bytes.
type changeCodec[V any] struct{ of Codec[V] }

const (
	changeOld byte = 1 << iota
	changeNew
)

var (
	errChange     = errors.New("not the update of a row")
	errNullChange = errors.New("a value of an update is null")
)

// Append appends an update, which has an old or a new value.
func (c changeCodec[V]) Append(dst []byte, v Change[V]) (_ []byte, err error) {
	switch {
	case v.HasOld && v.HasNew:
		return c.appendBoth(append(dst, changeOld|changeNew), v)
	case v.HasOld:
		dst, err = c.of.Append(append(dst, changeOld), v.Old)
	case v.HasNew:
		dst, err = c.of.Append(append(dst, changeNew), v.New)
	default:
		return nil, errChange
	}
	if dst == nil && err == nil {
		err = errNullChange
	}
	return dst, err
}

// appendBoth appends the values of an update that has both. How long the old one is is known only once it is there: it
// moves up then, to make room for its length.
func (c changeCodec[V]) appendBoth(dst []byte, v Change[V]) (_ []byte, err error) {
	start := len(dst)
	if dst, err = c.of.Append(dst, v.Old); err != nil || dst == nil {
		return nil, errors.Join(errNullChange, err)
	}
	var size [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(size[:], uint64(len(dst)-start))
	dst = append(dst, size[:n]...)
	copy(dst[start+n:], dst[start:])
	copy(dst[start:], size[:n])
	if dst, err = c.of.Append(dst, v.New); err != nil || dst == nil {
		return nil, errors.Join(errNullChange, err)
	}
	return dst, nil
}

// Decode returns an update. Its values may refer to b.
func (c changeCodec[V]) Decode(b []byte) (v Change[V], err error) {
	if len(b) == 0 || b[0] == 0 || b[0] > changeOld|changeNew {
		return v, errChange
	}
	v.HasOld, v.HasNew = b[0]&changeOld != 0, b[0]&changeNew != 0
	b = b[1:]
	if v.HasOld && v.HasNew {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return v, errChange
		}
		end := size + int(n)
		if v.Old, err = c.of.Decode(b[size:end:end]); err != nil {
			return v, err
		}
		b = b[end:]
	} else if v.HasOld {
		v.Old, err = c.of.Decode(b)
		return v, err
	}
	v.New, err = c.of.Decode(b)
	return v, err
}
