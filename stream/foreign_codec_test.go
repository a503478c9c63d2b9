package stream

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// encoded returns the bytes of a value.
func encoded[T any](tb testing.TB, c Codec[T], v T) []byte {
	tb.Helper()
	b, err := c.Append(nil, v)
	noError(tb, err)
	return b
}

// fuzzCodec checks that what can be decoded at all is encoded as what is decoded to the same again.
func fuzzCodec[T any](f *testing.F, c Codec[T], seeds ...T) {
	f.Helper()
	f.Add([]byte{})
	f.Add([]byte{255})
	f.Add(append([]byte{1}, binary.AppendUvarint(nil, math.MaxUint64)...))
	for _, v := range seeds {
		b := encoded(f, c, v)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(bytes.Clone(b), 'x'))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		was := bytes.Clone(b)
		v, err := c.Decode(b)
		if !bytes.Equal(b, was) {
			t.Fatalf("%x was changed to %x", was, b)
		}
		if err != nil {
			return
		}
		again, err := c.Decode(encoded(t, c, v))
		noError(t, err)
		if diff := cmp.Diff(encoded(t, c, v), encoded(t, c, again)); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzSubscription(f *testing.F) {
	fuzzCodec(f, Codec[subscription](subscriptionCodec{}), subscription{key: []byte("k")},
		subscription{ends: true, partition: math.MaxInt32}, subscription{always: true, partition: 7, key: []byte{0, 1}})
}

func FuzzResponse(f *testing.F) {
	fuzzCodec(f, Codec[response](responseCodec{}), response{foreign: []byte("f")}, response{update: true},
		response{exists: true, at: 7, foreign: []byte("f"), value: []byte("value")}, response{exists: true, update: true, value: []byte("value")})
}

func FuzzKnown(f *testing.F) {
	fuzzCodec(f, Codec[known[string, int64]](knownCodec[string, int64]{String(), Int64()}), known[string, int64]{},
		known[string, int64]{exists: true, right: 7}, known[string, int64]{exists: true, waits: true, left: "was", right: 7}, known[string, int64]{waits: true})
}

// TestForeignCodecs decodes what was encoded, and refuses what is damaged.
func TestForeignCodecs(t *testing.T) {
	t.Parallel()
	sub := subscription{always: true, partition: 300, key: []byte("k")}
	got, err := subscriptionCodec{}.Decode(encoded(t, Codec[subscription](subscriptionCodec{}), sub))
	noError(t, err)
	if !got.always || got.ends || got.partition != 300 || string(got.key) != "k" {
		t.Errorf("got %v, want %v", got, sub)
	}
	for _, b := range [][]byte{{}, {4}, {1}, {1, 0x80}, binary.AppendUvarint([]byte{0}, math.MaxInt32+1)} {
		if _, err := (subscriptionCodec{}).Decode(b); err == nil {
			t.Errorf("%x is a subscription", b)
		}
	}
	for _, b := range [][]byte{{}, {4}, {2}, {2, 9, 'f'}, {0, 1, 'f', 'v'}, {2, 1, 'f', 1, 2, 3, 4, 5, 6, 7}} {
		if _, err := (responseCodec{}).Decode(b); err == nil {
			t.Errorf("%x is a response", b)
		}
	}
	for _, b := range [][]byte{{}, {4}, {2}, {2, 9, 'l'}, {0, 1}, {1, 7}} {
		if _, err := (knownCodec[string, int64]{String(), Int64()}).Decode(b); err == nil {
			t.Errorf("%x is a known row", b)
		}
	}
}
