package stream

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/store"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func TestKeyFilter(t *testing.T) {
	t.Parallel()
	var f keyFilter
	const n = 50_000
	key := func(i int) uint64 { return hashKey(fmt.Appendf(nil, "customer-%d", i)) }
	for i := range n {
		if !f.add(key(i)) {
			t.Fatalf("full after %d", i)
		}
	}
	wrong := 0
	for i := range n {
		if !f.has(key(i)) {
			t.Fatalf("key %d was added, and is not there", i)
		}
		if f.has(key(n + i)) {
			wrong++
		}
	}
	if wrong > n/25 {
		t.Errorf("%d of %d keys that were not added seem to be there", wrong, n)
	}
}

func TestKeyFilterGivesUp(t *testing.T) {
	t.Parallel()
	var f keyFilter
	n, words := uint64(0), 0
	for f.add(n * 0x9e3779b97f4a7c15) {
		n++
	}
	for _, l := range f.layers {
		words += len(l)
	}
	if n < 600_000 || words > 200_000 {
		t.Errorf("gives up at %d keys, with %d words", n, words)
	}
}

// segmentRows returns the rows of a segmented store, with what belongs to their segments.
func segmentRows(t testing.TB, s *store.Store, prefix byte) (list []string) {
	t.Helper()
	noError(t, s.Scan([]byte{prefix}, []byte{prefix + 1}, func(key, _ []byte) (bool, error) {
		k, rest, err := cutKeyRef(key[1+timeBytes:])
		if err != nil {
			return false, err
		}
		list = append(list, fmt.Sprintf("%d:%s@%d#%d", timeOf(key[1:]), k, timeOf(rest), timeOf(rest[timeBytes:])))
		return true, nil
	}))
	return list
}

func ownTime(key, _ []byte) (int64, error) {
	t, _, err := rowTimes(key)
	return t, err
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} {
		t.Run(fmt.Sprintf("told %v", told), func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			g := segments{store: s, prefix: prefixPast, told: told}
			noError(t, g.open(1000, ownTime))
			var k segmentKey
			add := func(key string, at, seq int64) {
				k.set([]byte(key))
				noError(t, g.put(at, &k, at, seq, []byte("v")))
			}
			add("a", -1, 0)
			add("a", 0, 1)
			add("a", 0, 2)
			add("ab", 59_999, 3)
			add("a", 60_000, 4)
			add("a", 120_000, 5)
			want := []string{"-1:a@-1#0", "0:a@0#1", "0:a@0#2", "0:ab@59999#3", "1:a@60000#4", "2:a@120000#5"}
			if diff := cmp.Diff(want, segmentRows(t, s, prefixPast)); diff != "" {
				t.Error(diff)
			}
			k.set([]byte("a"))
			var seqs []int64
			visit := func(key, _ []byte) (bool, error) {
				_, seq, err := rowTimes(key)
				seqs = append(seqs, seq)
				return true, err
			}
			noError(t, g.scan(0, &k, 0, 59_999, visit))
			noError(t, g.scanReverse(0, &k, math.MinInt64, math.MaxInt64, visit))
			if diff := cmp.Diff([]int64{1, 2, 2, 1}, seqs); diff != "" {
				t.Error(diff)
			}
			noError(t, g.expire(60_001))
			if diff := cmp.Diff(want[4:], segmentRows(t, s, prefixPast)); diff != "" {
				t.Error(diff)
			}
			add("a", 59_000, 6) // has expired
			if diff := cmp.Diff(want[4:], segmentRows(t, s, prefixPast)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSegmentsForgetSlowly expires more rows than are deleted at a time.
func TestSegmentsForgetSlowly(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	g := segments{store: s, prefix: prefixRow, told: true}
	noError(t, g.open(1000, ownTime))
	var k segmentKey
	const n = expireAtOnce*2 + 10
	for i := range int64(n) {
		k.set(binary.BigEndian.AppendUint64(nil, uint64(i)))
		noError(t, g.put(i, &k, i, 0, []byte("v")))
	}
	for _, want := range []int{n - expireAtOnce, n - 2*expireAtOnce, 0, 0} {
		noError(t, g.expire(120_000))
		if got := len(segmentRows(t, s, prefixRow)); got != want {
			t.Errorf("%d rows are left, want %d", got, want)
		}
	}
	if g.cursor != nil {
		t.Error("it goes on")
	}
}

// TestSegmentsOfAnotherLength opens rows that lie by another length of segment.
func TestSegmentsOfAnotherLength(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	g := segments{store: s, prefix: prefixRow}
	noError(t, g.open(1000, ownTime))
	var k segmentKey
	k.set([]byte("k"))
	for _, at := range []int64{10, 70_000, 130_000, 310_000} {
		noError(t, g.put(at, &k, at, 0, []byte("v")))
	}
	wider := segments{store: s, prefix: prefixRow}
	noError(t, wider.open(600_000, ownTime))
	if diff := cmp.Diff([]string{"0:k@10#0", "0:k@70000#0", "0:k@130000#0", "1:k@310000#0"}, segmentRows(t, s, prefixRow)); diff != "" {
		t.Error(diff)
	}
	if !wider.mayHave(0, &k, 0, 1) || !wider.mayHave(1, &k, 0, 1) || wider.mayHave(5, &k, 0, 1) {
		t.Errorf("segments: %v", wider.live)
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	l, err := openTimeline(s)
	noError(t, err)
	put := func(at int64, tag byte, key string, seq int64) {
		noError(t, l.put(at, tag, []byte(key), seq, []byte("v")))
	}
	put(5, 1, "a", 1)
	put(5, 0, "b", 2)
	put(5, 0, "a", 4)
	put(5, 0, "a", 3)
	put(-2, 1, "z", 5)
	put(9, 0, "a", 6)
	noError(t, l.put(9, 0, nil, 7, []byte("v")))
	noError(t, l.remove(5, 0, []byte("a"), 4))
	noError(t, l.remove(5, 0, []byte("a"), 44))
	l, err = openTimeline(s)
	noError(t, err)
	if l.low != -2 {
		t.Errorf("the lowest time is %d", l.low)
	}
	var got []string
	visit := func(e *timelineRow) error {
		got = append(got, fmt.Sprintf("%d/%d/%s/%d", e.time, e.tag, e.key, e.seq))
		return nil
	}
	noError(t, l.take(-3, visit))
	noError(t, l.take(5, visit))
	if diff := cmp.Diff([]string{"-2/1/z/5", "5/0/a/3", "5/0/b/2", "5/1/a/1"}, got); diff != "" || l.low != 9 {
		t.Errorf("low %d: %s", l.low, diff)
	}
	got = nil
	noError(t, l.take(math.MaxInt64-1, visit))
	if diff := cmp.Diff([]string{"9/0//7", "9/0/a/6"}, got); diff != "" || l.low != math.MaxInt64 {
		t.Errorf("low %d: %s", l.low, diff)
	}
}

func drawBytes(t *rapid.T, name string) []byte {
	if rapid.IntRange(0, 3).Draw(t, name+" is null") == 0 {
		return nil
	}
	return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, name)...)
}

func drawHeaders(t *rapid.T) (hs []record.Header) {
	for range rapid.IntRange(0, 2).Draw(t, "headers") {
		hs = append(hs, record.Header{Key: rapid.String().Draw(t, "name"), Value: drawBytes(t, "header")})
	}
	return hs
}

func TestHeldRecordsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key, value, headers := drawBytes(t, "key"), drawBytes(t, "value"), drawHeaders(t)
		want := held{value: value, headers: headers}
		var source *record.Raw
		if rapid.Bool().Draw(t, "source") {
			source = &record.Raw{
				Topic: "in", Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"),
				Timestamp: rapid.Int64().Draw(t, "timestamp"), Key: key, Value: value, Headers: headers,
			}
			if rapid.Bool().Draw(t, "another") {
				source.Key, source.Value, source.Headers = drawBytes(t, "source key"), drawBytes(t, "source value"), drawHeaders(t)
			}
			want.source, want.hasSource = *source, true
		}
		b := appendHeld([]byte("before"), key, value, headers, source)[len("before"):]
		got, err := heldOf(key, b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(held{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzHeld reads what may have been damaged.
func FuzzHeld(f *testing.F) {
	f.Add([]byte("k"), appendHeld(nil, []byte("k"), []byte("v"), []record.Header{{Key: "h"}}, &record.Raw{Topic: "t"}))
	f.Add([]byte(nil), appendHeld(nil, nil, nil, nil, nil))
	f.Fuzz(func(t *testing.T, key, b []byte) {
		h, err := heldOf(key, b)
		if err != nil {
			return
		}
		var source *record.Raw
		if h.hasSource {
			source = &h.source
		}
		again, err := heldOf(key, appendHeld(nil, key, h.value, h.headers, source))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, again, cmp.AllowUnexported(held{})); diff != "" {
			t.Error(diff)
		}
	})
}
