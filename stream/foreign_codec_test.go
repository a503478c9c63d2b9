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
	fuzzCodec(f, Codec[subscription](subscriptionCodec{}), subscription{number: 300}, subscription{ends: true, partition: math.MaxInt32, number: 7})
}

func FuzzResponse(f *testing.F) {
	fuzzCodec(f, Codec[response](responseCodec{}), response{}, response{update: true},
		response{number: 300, exists: true, at: 7, value: []byte("value")}, response{exists: true, update: true, value: []byte("value")})
}

func FuzzForeignRow(f *testing.F) {
	type row = foreignRow[int64]
	fuzzCodec(f, Codec[row](foreignRowCodec[int64]{Int64()}), row{}, row{answered: true}, row{answered: true, exists: true, right: 7, number: 300})
}

func FuzzAwaiting(f *testing.F) {
	type rows = awaiting[string, int64]
	old := match[string, int64]{known: true, kept: true, left: "was", timestamp: 7}
	with := old
	with.exists, with.right = true, 8
	fuzzCodec(f, Codec[rows](awaitingCodec[string, int64]{String(), Int64()}), rows{}, rows{told: true}, rows{told: true, match: old}, rows{match: with})
}

// TestForeignCodecs decodes what was encoded, and refuses what is damaged.
func TestForeignCodecs(t *testing.T) {
	t.Parallel()
	sub := subscription{partition: 300, number: math.MaxUint64}
	got, err := subscriptionCodec{}.Decode(encoded(t, Codec[subscription](subscriptionCodec{}), sub))
	noError(t, err)
	if got != sub {
		t.Errorf("got %v, want %v", got, sub)
	}
	waits := awaiting[string, int64]{told: true, match: match[string, int64]{known: true, kept: true, left: "was", timestamp: 7, exists: true, right: 8}}
	rows := awaitingCodec[string, int64]{String(), Int64()}
	again, err := rows.Decode(encoded(t, Codec[awaiting[string, int64]](rows), waits))
	noError(t, err)
	if again != waits {
		t.Errorf("got %v, want %v", again, waits)
	}
	for _, b := range [][]byte{{}, {2, 0}, {1}, {1, 0x80}, {0, 1}, {0, 1, 0x80}, {0, 1, 1, 'k'}, {1, 1}, binary.AppendUvarint([]byte{0}, math.MaxInt32+1)} {
		if _, err := (subscriptionCodec{}).Decode(b); err == nil {
			t.Errorf("%x is a subscription", b)
		}
	}
	for _, b := range [][]byte{{}, {4}, {0}, {0, 0x80}, {2, 1}, {0, 1, 'v'}, {2, 1, 1, 2, 3, 4, 5, 6, 7}} {
		if _, err := (responseCodec{}).Decode(b); err == nil {
			t.Errorf("%x is a response", b)
		}
	}
	for _, b := range [][]byte{{}, {4}, {2, 1}, {0}, {0, 1, 1}, {1, 1, 1}, {3, 1, 7}, {3, 0x80}} {
		if _, err := (foreignRowCodec[int64]{Int64()}).Decode(b); err == nil {
			t.Errorf("%x is what is known of a right row", b)
		}
	}
	time := string(appendTime(nil, 7))
	for _, b := range []string{"", "\x08", "\x04", "\x00x", "\x02", "\x02" + time, "\x02" + time + "\x09was", "\x02" + time + "\x00x", "\x06" + time + "\x00x"} {
		if _, err := rows.Decode([]byte(b)); err == nil {
			t.Errorf("%x is a row that waits", b)
		}
	}
}
