//go:build linux

package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func recordOf(i int) *kgo.Record {
	r := &kgo.Record{}
	fillStream(i, r)
	return r
}

func TestDataIsAFunctionOfTheNumber(t *testing.T) {
	t.Parallel()
	for i := range 1000 {
		a, b := recordOf(i), recordOf(i)
		if !bytes.Equal(a.Key, b.Key) || !bytes.Equal(a.Value, b.Value) || !a.Timestamp.Equal(b.Timestamp) {
			t.Fatalf("record %d is two: %v and %v", i, a, b)
		}
		if got, ok := numberOf(a.Value); !ok || got != i || len(a.Value) != valueSize {
			t.Fatalf("record %d: value %q: %d, %v", i, a.Value, got, ok)
		}
		if key, _ := eventOf(i); !bytes.Equal(a.Key, keyOf(key)) {
			t.Fatalf("record %d: key %q", i, a.Key)
		}
	}
}

func TestData(t *testing.T) {
	t.Parallel()
	const n = 200_000
	perKey := make([]int, keys)
	newest, late, worst := int64(0), 0, int64(0)
	for i := range n {
		key, at := eventOf(i)
		perKey[key]++
		if at < newest {
			late++
			worst = max(worst, newest-at)
		}
		newest = max(newest, at)
		if at < epoch {
			t.Fatalf("record %d is older than the stream", i)
		}
	}
	for key, count := range perKey {
		if count == 0 || count > 60 {
			t.Errorf("key %d comes %d times: want about %d", key, count, n/keys)
		}
	}
	if late < n/2 || worst > disorder.Milliseconds() {
		t.Errorf("%d records are out of order, by %d ms at most", late, worst)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	const n = 130_000 // three windows
	for _, windows := range []bool{false, true} {
		var sum int64
		starts := map[int64]bool{}
		for of, count := range counts(n, windows) {
			sum += count
			starts[of.start] = true
		}
		want := map[int64]bool{0: true}
		if windows {
			want = map[int64]bool{epoch: true, epoch + 60_000: true, epoch + 120_000: true}
		}
		if diff := cmp.Diff(want, starts); sum != n || diff != "" {
			t.Errorf("windows %v: sum %d, starts %s", windows, sum, diff)
		}
	}
}

func TestNumberOfStrangers(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "1", string(bytes.Repeat([]byte("x"), valueSize))} {
		if i, ok := numberOf([]byte(s)); ok {
			t.Errorf("%q is record %d", s, i)
		}
	}
	for _, s := range []string{"", "user-", "user-x", "user-10000", "user--1", "12"} {
		if key, err := keyNumber([]byte(s)); err == nil {
			t.Errorf("%q is key %d", s, key)
		}
	}
}
