package stream

import (
	"bytes"
	"math"
	"testing"

	"millrace.dev/internal/store"
	"pgregory.net/rapid"
)

func TestTimesOrderAsTheirBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		x, y := appendTime(nil, a), appendTime(nil, b)
		if timeOf(x) != a {
			t.Fatalf("%d comes back as %d", a, timeOf(x))
		}
		if (a < b) != (bytes.Compare(x, y) < 0) {
			t.Fatalf("%d and %d do not order as their bytes", a, b)
		}
	})
}

func TestKeyRefs(t *testing.T) {
	t.Parallel()
	key := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300))
	rapid.Check(t, func(t *rapid.T) {
		a, b, rest := key.Draw(t, "a"), key.Draw(t, "b"), rapid.SliceOf(rapid.Byte()).Draw(t, "rest")
		x, y := appendKeyRef(nil, a), appendKeyRef(nil, b)
		got, tail, err := cutKeyRef(append(bytes.Clone(x), rest...))
		if err != nil || !bytes.Equal(got, a) || (got == nil) != (a == nil) || !bytes.Equal(tail, rest) {
			t.Fatalf("%q, %q comes back as %q, %q, %v", a, rest, got, tail, err)
		}
		same := bytes.Equal(a, b) && (a == nil) == (b == nil)
		if !same && (bytes.HasPrefix(x, y) || bytes.HasPrefix(y, x)) {
			t.Fatalf("the references of %q and %q are not apart", a, b)
		}
	})
	for _, bad := range []string{"", "\x05abc", "\xff"} {
		if _, _, err := cutKeyRef([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestSuccessor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{{"a", "b"}, {"a\xff", "b"}, {"\x01\x00", "\x01\x01"}, {"\xff\xff", ""}, {"", ""}} {
		if got := successor(nil, []byte(c.in)); string(got) != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestMeta(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, b := int64(math.MinInt64), int64(7)
	m, err := newMeta(s, 1, &a, &b)
	if err != nil || a != math.MinInt64 || b != 7 {
		t.Fatalf("a new one: %d, %d, %v", a, b, err)
	}
	if err := m.flush(); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.Get([]byte{prefixMeta, 1}); v != nil {
		t.Errorf("written without a change: %x", v)
	}
	a = -3
	if err := m.flush(); err != nil {
		t.Fatal(err)
	}
	var c, d int64
	if _, err := newMeta(s, 1, &c, &d); err != nil || c != -3 || d != 7 {
		t.Errorf("read: %d, %d, %v", c, d, err)
	}
	if _, err := newMeta(s, 1, &c); err == nil {
		t.Error("another number of numbers is no error")
	}
}

// newStore returns an empty store in memory.
func newStore(t testing.TB) *store.Store {
	t.Helper()
	db, err := store.Open("", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	task, err := db.Task("0_0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := task.Store(store.Spec{Name: "s", Backend: store.Memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = task.Close()
		_ = db.Close()
	})
	return s
}
