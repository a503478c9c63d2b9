package stat

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	c := NewCounts(3, 10)
	for _, s := range []string{"b", "a", "b", "", "a"} {
		c.Add(s)
	}
	c.AddN("nothing", 0)
	if diff := cmp.Diff([]Count{{"", 1}, {"a", 2}, {"b", 2}}, c.Sorted()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Count{{"a", 2}, {"b", 2}}, c.Top(2)); diff != "" {
		t.Error(diff)
	}
	if c.TooMany() || c.N() != 5 || c.Len() != 3 || c.Count("a") != 2 || c.Count("x") != 0 || len(c.Top(9)) != 3 || len(c.Top(-1)) != 0 {
		t.Error("the counts are off")
	}
	c.Add("d")
	if !c.TooMany() || c.N() != 6 || c.Sorted() != nil || c.Top(1) != nil || c.Len() != 0 || c.Count("a") != 0 {
		t.Error("four texts are not too many")
	}
	c.Add("a")
	if !c.TooMany() || c.N() != 7 {
		t.Error("too many is forgotten")
	}
	long := NewCounts(3, 10)
	long.Add("12345")
	long.Add("54321")
	if long.TooMany() {
		t.Error("ten bytes are too many")
	}
	if long.Add("1"); !long.TooMany() {
		t.Error("eleven bytes are not too many")
	}
}

// TestCountsKeepNoMemory changes a text after it was added.
func TestCountsKeepNoMemory(t *testing.T) {
	t.Parallel()
	c := NewCounts(10, 100)
	c.Add(string(append([]byte("te"), "xt"...)))
	if diff := cmp.Diff([]Count{{"text", 1}}, c.Sorted()); diff != "" {
		t.Error(diff)
	}
}

func texts(t *rapid.T, different, most int) []string {
	return rapid.SliceOfN(rapid.Map(rapid.IntRange(0, different), func(i int) string { return fmt.Sprintf("%0*d", i%5, i) }), 0, most).Draw(t, "texts")
}

func TestCountsMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, bound := texts(t, 15, 50), rapid.IntRange(0, 15).Draw(t, "bound")
		bytes := int64(rapid.IntRange(0, 60).Draw(t, "bytes"))
		empty := func() *Counts { return NewCounts(bound, bytes) }
		one := empty()
		want, held := map[string]uint64{}, int64(0)
		for _, s := range list {
			one.Add(s)
			if want[s]++; want[s] == 1 {
				held += int64(len(s))
			}
		}
		merged := parts(t, list, empty, (*Counts).Add, (*Counts).Merge)
		for _, c := range []*Counts{one, merged} {
			if many := len(want) > bound || held > bytes; c.TooMany() != many || c.N() != uint64(len(list)) {
				t.Fatalf("too many is %v, n is %d", c.TooMany(), c.N())
			}
			for _, e := range c.Sorted() {
				if e.N != want[e.Text] {
					t.Fatalf("%q: %d, want %d", e.Text, e.N, want[e.Text])
				}
			}
		}
		if diff := cmp.Diff(one.Sorted(), merged.Sorted()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(one.Top(5), merged.Top(5)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkTexts(b *testing.B) {
	list := make([]string, 1<<14)
	for i := range list {
		list[i] = fmt.Sprintf("WA %d", 98000+i%500)
	}
	b.Run("counts", func(b *testing.B) {
		c := NewCounts(1000, 1<<20)
		for b.Loop() {
			for _, s := range list {
				c.Add(s)
			}
		}
		perValue(b, len(list))
	})
}
