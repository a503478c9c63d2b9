package stream

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Codec turns values of a type into bytes and back. It is used by several goroutines at a time.
//
// One that also has the method JSON(v T) ([]byte, error) says with it how queries show values in a store. Default: as encoding/json has
// them; strings that are not UTF-8 in base64, and numbers that JSON does not have as texts.
type Codec[T any] interface {
	// Append appends the bytes of v to dst.
	Append(dst []byte, v T) ([]byte, error)
	// Decode returns the value of b, which is never nil. The value may refer to b, which does not change.
	Decode(b []byte) (T, error)
}

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringCodec) Decode(b []byte) (string, error)             { return string(b), nil }

// String is the codec of text: its bytes, as Kafka's StringSerializer has them.
func String() Codec[string] { return stringCodec{} }

type bytesCodec struct{}

func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesCodec) Decode(b []byte) ([]byte, error)      { return b, nil }

// Bytes is the codec of bytes as they are.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type int64Codec struct{}

func (int64Codec) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Codec) Decode(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%d bytes: want 8", len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// Int64 is the codec of eight bytes, big-endian, as Kafka's LongSerializer has them.
func Int64() Codec[int64] { return int64Codec{} }

type float64Codec struct{}

func (float64Codec) Append(dst []byte, v float64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
}

func (float64Codec) Decode(b []byte) (float64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%d bytes: want 8", len(b))
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// Float64 is the codec of eight bytes, big-endian, as Kafka's DoubleSerializer has them.
func Float64() Codec[float64] { return float64Codec{} }

type decimalCodec struct{}

func (decimalCodec) Append(dst []byte, v int64) ([]byte, error) {
	return strconv.AppendInt(dst, v, 10), nil
}
func (decimalCodec) Decode(b []byte) (int64, error) { return strconv.ParseInt(string(b), 10, 64) }

// Decimal is the codec of integers as decimal text.
func Decimal() Codec[int64] { return decimalCodec{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

func (jsonCodec[T]) Decode(b []byte) (v T, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

// JSON is the codec of encoding/json: fields that T does not have are passed over, and the text null is a value, the zero T
// of most types.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

// nullable marks codecs that decode null.
type nullable interface{ decodesNull() }

type nullableCodec[T any] struct{ of Codec[T] }

func (c nullableCodec[T]) decodesNull()     {}
func (c nullableCodec[T]) isNull(v *T) bool { return v == nil }

func (c nullableCodec[T]) Append(dst []byte, v *T) ([]byte, error) {
	if v == nil {
		return nil, nil // the only codec whose result may be nil: null
	}
	return c.of.Append(dst, *v)
}

func (c nullableCodec[T]) Decode(b []byte) (*T, error) {
	if b == nil {
		return nil, nil
	}
	v, err := c.of.Decode(b)
	return &v, err
}

// PlacedBy returns what the partition of a key goes by.
func (c nullableCodec[T]) PlacedBy(b []byte) []byte { return placedBy(c.of, b) }

// Nullable is the codec of values that may be null, which is the nil pointer. With it functions see nulls: a record
// is never without its value.
func Nullable[T any](of Codec[T]) Codec[*T] {
	if of == nil {
		return nil // which whoever is given it tells
	}
	return nullableCodec[T]{of}
}

type windowedCodec[K any] struct{ of Codec[K] }

const windowBytes = 16

func (c windowedCodec[K]) Append(dst []byte, v Windowed[K]) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.Start))
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.End))
	return c.of.Append(dst, v.Key)
}

func (c windowedCodec[K]) Decode(b []byte) (w Windowed[K], err error) {
	if len(b) < windowBytes {
		return w, errors.New("too short for the key of a window")
	}
	w.Start, w.End = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
	w.Key, err = c.of.Decode(b[windowBytes:])
	return w, err
}

// PlacedBy returns what the partition of a window's key goes by: the bytes of the key without start and end.
func (c windowedCodec[K]) PlacedBy(b []byte) []byte {
	return placedBy(c.of, b[min(windowBytes, len(b)):])
}

// WindowedKey is the codec of the keys of windows: start and end in eight bytes each, big-endian, and the key. All windows
// of a key go to the partition of the key itself, so that their updates keep their order, and windows lie with what is
// joined with them.
func WindowedKey[K any](of Codec[K]) Codec[Windowed[K]] {
	if of == nil {
		return nil // which whoever is given it tells
	}
	return windowedCodec[K]{of}
}

// within returns the codec of what a codec wraps.
func (c nullableCodec[T]) within() any { return c.of }
func (c windowedCodec[K]) within() any { return c.of }

// codecName names the type of a codec, and of one that wraps another that one.
func codecName(c any) string {
	if w, ok := c.(interface{ within() any }); ok {
		return fmt.Sprintf("%T of %s", c, codecName(w.within()))
	}
	return fmt.Sprintf("%T", c)
}

// alike tells whether keys of two codecs go to the same partitions, as far as that can be told: if they are of one type. Nothing is known of
// one that is nil, nor of one from outside that says itself what its partition goes by.
func alike[T any](a, b Codec[T]) bool {
	if a == nil || b == nil || codecName(a) == codecName(b) {
		return true
	}
	says := func(c any) bool {
		_, wraps := c.(interface{ within() any })
		_, places := c.(placer)
		return places && !wraps
	}
	return says(a) || says(b)
}

// sameKeys notes a fault if keys of two sides that are to meet are encoded differently: the same key may be in different partitions then.
func sameKeys[K any](t *Topology, op, one string, a Codec[K], other string, b Codec[K]) {
	if !alike(a, b) {
		t.fail(op, "the keys of the %s are encoded by %s, those of the %s by %s: the same key may be in different partitions. Give both one codec: where the topics are read, or with Keys before keys that have changed are repartitioned", one, codecName(a), other, codecName(b))
	}
}

// placer is a codec of keys whose partition goes by a part of their bytes.
type placer interface {
	PlacedBy(key []byte) []byte
}

// placedBy returns which of the bytes of a key its partition goes by.
func placedBy[K any](c Codec[K], key []byte) []byte {
	if p, ok := c.(placer); ok {
		return p.PlacedBy(key)
	}
	return key
}

// kept returns the codec that there is, if it is one of T2 too, else the standard one.
func kept[T2, T any](c Codec[T]) Codec[T2] {
	if c, ok := c.(Codec[T2]); ok {
		return c
	}
	return standard[T2]()
}

// standard returns the codec that a type has by itself, or nil.
func standard[T any]() Codec[T] {
	var c any
	switch any(*new(T)).(type) {
	case string:
		c = String()
	case []byte:
		c = Bytes()
	case int64:
		c = Int64()
	case float64:
		c = Float64()
	default:
		return nil
	}
	of, ok := c.(Codec[T])
	if !ok {
		panic(fmt.Sprintf("stream: %T is not a codec of %T", c, *new(T)))
	}
	return of
}
