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

// smallSketch has few cells, so that texts share them: the cell of a text is its hash, and only some are in use.
func smallSketch(list []string) *Sketch {
	s := NewSketch()
	for _, text := range list {
		s.Add(text)
	}
	return s
}

func TestCandidatesMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, bound := texts(t, 40, 120), rapid.IntRange(1, 20).Draw(t, "bound")
		bytes := int64(rapid.IntRange(1, 60).Draw(t, "bytes"))
		s := smallSketch(list)
		// Texts that share a cell are rare among so few: make the cells larger than their texts at random.
		for _, text := range list {
			if rapid.IntRange(0, 4).Draw(t, "shared") == 0 {
				s.cells[cellOf(text)] += uint64(rapid.IntRange(0, 3).Draw(t, "more"))
			}
		}
		base := newCandidates(s, bound, bytes)
		one := base.Fork()
		for _, text := range list {
			one.Add(text)
		}
		merged := parts(t, list, base.Fork, (*Candidates).Add, (*Candidates).Merge)
		n := rapid.IntRange(1, 10).Draw(t, "n")
		top, proven, err := one.Top(n)
		top2, proven2, err2 := merged.Top(n)
		if diff := cmp.Diff(top, top2); diff != "" || proven != proven2 || err != nil || err2 != nil || one.threshold != merged.threshold {
			t.Fatalf("%v %v %v %v %d %d\n%s", proven, proven2, err, err2, one.threshold, merged.threshold, diff)
		}
		if merged.counts.Len() > bound || merged.counts.held > bytes {
			t.Fatal("out of bounds")
		}
		all := NewCounts(1000, 1000)
		for _, text := range list {
			all.Add(text)
		}
		for _, e := range top {
			if all.Count(e.Text) != e.N {
				t.Fatalf("%q is counted %d times", e.Text, e.N)
			}
		}
		if diff := cmp.Diff(all.Top(n), top); proven && diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestTopOfMany finds the largest among more texts than are counted.
func TestTopOfMany(t *testing.T) {
	t.Parallel()
	const different = 300_000
	var list []string
	for i := range different {
		list = append(list, fmt.Sprint("id-", i))
		for k := range 2000 / (i + 1) {
			list = append(list, fmt.Sprint("id-", i), fmt.Sprint("id-", (i*k)%50))
		}
	}
	one, half := NewSketch(), NewSketch()
	want := NewCounts(1<<20, 1<<30)
	for i, text := range list {
		[]*Sketch{one, half}[i%2].Add(text)
		want.Add(text)
	}
	one.Merge(half)
	first := one.Candidates()
	second := first.Fork()
	for i, text := range list {
		[]*Candidates{first, second}[i/7%2].Add(text)
	}
	first.Merge(second)
	for _, n := range []int{1, 10, 100, 500} {
		top, proven, err := first.Top(n)
		if diff := cmp.Diff(want.Top(n), top); diff != "" || !proven || err != nil {
			t.Errorf("top %d, proven %v, %v:\n%s", n, proven, err, diff)
		}
	}
	if _, proven, err := first.Top(maxTop); proven || err != nil {
		t.Errorf("the order of texts that came once is proven; %v", err)
	}
	if first.counts.Len() > maxCandidates {
		t.Errorf("%d candidates", first.counts.Len())
	}
	for _, n := range []int{0, maxTop + 1} {
		if _, _, err := first.Top(n); err == nil {
			t.Errorf("the top %d are fine", n)
		}
	}
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
	b.Run("sketch", func(b *testing.B) {
		s := NewSketch()
		for b.Loop() {
			for _, text := range list {
				s.Add(text)
			}
		}
		perValue(b, len(list))
	})
	b.Run("candidates", func(b *testing.B) {
		c := smallSketch(list).Candidates()
		for b.Loop() {
			for _, s := range list {
				c.Add(s)
			}
		}
		perValue(b, len(list))
	})
	b.Run("begin candidates", func(b *testing.B) {
		s := smallSketch(list)
		for b.Loop() {
			s.Candidates()
		}
	})
}
