package stream

import (
	"bytes"
	"errors"
	"testing"
)

// TestChangeBytes pins down the bytes of updates: they lie in topics.
func TestChangeBytes(t *testing.T) {
	t.Parallel()
	c := changeCodec[string]{String()}
	long := string(bytes.Repeat([]byte("x"), 300))
	for _, test := range []struct {
		v    Change[string]
		want string
	}{
		{Change[string]{Old: "a", HasOld: true}, "\x01a"},
		{Change[string]{New: "b", HasNew: true}, "\x02b"},
		{Change[string]{HasNew: true}, "\x02"},
		{Change[string]{Old: "a", New: "b", HasOld: true, HasNew: true}, "\x03\x01ab"},
		{Change[string]{HasOld: true, HasNew: true}, "\x03\x00"},
		{Change[string]{Old: long, New: "b", HasOld: true, HasNew: true}, "\x03\xac\x02" + long + "b"},
	} {
		b, err := c.Append([]byte("before"), test.v)
		if err != nil || string(b) != "before"+test.want {
			t.Errorf("%+v: %q, %v, want %q", test.v, b, err, test.want)
		}
		if v, err := c.Decode([]byte(test.want)); err != nil || v != test.v {
			t.Errorf("%q: %+v, %v, want %+v", test.want, v, err, test.v)
		}
	}
	for _, bad := range []string{"", "\x00", "\x04", "\xff", "\x03", "\x03\x05ab", "\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01ab", "\x03\xff"} {
		if v, err := c.Decode([]byte(bad)); !errors.Is(err, errChange) {
			t.Errorf("%q: %+v, %v", bad, v, err)
		}
	}
	if b, err := c.Append(nil, Change[string]{}); err == nil {
		t.Errorf("an update without values: %q", b)
	}
	nulls, one := changeCodec[*string]{Nullable(String())}, "a"
	for _, v := range []Change[*string]{{HasOld: true}, {HasNew: true}, {Old: &one, HasOld: true, HasNew: true}, {New: &one, HasOld: true, HasNew: true}} {
		if b, err := nulls.Append(nil, v); !errors.Is(err, errNullChange) {
			t.Errorf("%+v: %q, %v", v, b, err)
		}
	}
}

// FuzzChange reads updates from any bytes, which must not panic, and reads what it writes of them.
func FuzzChange(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x01old", "\x02new", "\x03\x03oldnew", "\x03\x00", "\x03\x83\x00old", "\x03\x09old", "\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x04"} {
		f.Add([]byte(seed))
	}
	c := changeCodec[[]byte]{Bytes()}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := c.Decode(b)
		if err != nil {
			return
		}
		again, err := c.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		w, err := c.Decode(again)
		if err != nil || v.HasOld != w.HasOld || v.HasNew != w.HasNew || !bytes.Equal(v.Old, w.Old) || !bytes.Equal(v.New, w.New) {
			t.Fatalf("%q is %+v, and written %q, which is %+v, %v", b, v, again, w, err)
		}
	})
}
