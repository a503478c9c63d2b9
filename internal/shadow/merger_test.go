package shadow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// event is what a merger says.
type event struct {
	kind   string
	stream Stream
	offset int64
}

func watched(m *Merger) *[]event {
	var got []event
	m.Pair = func(s Stream, a, b *Prediction) {
		if a.Offset != b.Offset || a.Value != 1 || b.Value != 2 {
			panic(fmt.Sprintf("%+v was paired with %+v", a, b))
		}
		got = append(got, event{"pair", s, a.Offset})
	}
	m.Single = func(s Stream, w Which, p *Prediction, why Absence) {
		got = append(got, event{fmt.Sprintf("%d alone %d", w, why), s, p.Offset})
	}
	return &got
}

func (m *Merger) put(s Stream, w Which, offsets ...int64) {
	for _, o := range offsets {
		m.Add(s, w, Prediction{Offset: o, Value: float64(w) + 1})
	}
}

func TestMerger(t *testing.T) {
	t.Parallel()
	s := Stream{Source: 3}
	for name, c := range map[string]struct {
		put  func(m *Merger)
		want string
	}{
		"in step":            {func(m *Merger) { m.put(s, Production, 1); m.put(s, Candidate, 1) }, "pair 1"},
		"the other first":    {func(m *Merger) { m.put(s, Candidate, 1, 2); m.put(s, Production, 1, 2) }, "pair 1, pair 2"},
		"lacking":            {func(m *Merger) { m.put(s, Production, 1, 2, 3); m.put(s, Candidate, 1, 3) }, "pair 1, 0 alone 0 2, pair 3"},
		"lacking, behind":    {func(m *Merger) { m.put(s, Production, 1, 3); m.put(s, Candidate, 1, 2, 3) }, "pair 1, 1 alone 0 2, pair 3"},
		"before":             {func(m *Merger) { m.put(s, Production, 1, 2, 3); m.put(s, Candidate, 3) }, "0 alone 1 1, 0 alone 1 2, pair 3"},
		"before, the latter": {func(m *Merger) { m.put(s, Candidate, 3); m.put(s, Production, 1, 2, 3) }, "0 alone 1 1, 0 alone 1 2, pair 3"},
		"behind":             {func(m *Merger) { m.put(s, Production, 1, 2); m.put(s, Candidate, 1) }, "pair 1, 0 alone 2 2"},
		"nothing":            {func(m *Merger) { m.put(s, Production, 1) }, "0 alone 2 1"},
		"again":              {func(m *Merger) { m.put(s, Production, 1, 2, 1, 2, 3); m.put(s, Candidate, 1, 2, 2, 3) }, "pair 1, pair 2, pair 3"},
		"out of order":       {func(m *Merger) { m.put(s, Production, 5, 4); m.put(s, Candidate, 4, 5) }, "1 alone 1 4, pair 5"},
		"given up":           {func(m *Merger) { m.Limit = 2; m.put(s, Production, 1, 2, 3); m.put(s, Candidate, 1, 2, 3) }, "0 alone 3 1, 1 alone 0 1, pair 2, pair 3"},
	} {
		var m Merger
		got := watched(&m)
		c.put(&m)
		m.Finish()
		var parts []string
		for _, e := range *got {
			parts = append(parts, fmt.Sprintf("%s %d", e.kind, e.offset))
		}
		text := strings.Join(parts, ", ")
		if text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
		if m.Waiting() != 0 {
			t.Errorf("%s: %d wait in the end", name, m.Waiting())
		}
	}
}

// TestMergerRandom reads two topics in any order, by partition: what both have is paired, and nothing else.
func TestMergerRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 300 {
		var m Merger
		got := watched(&m)
		lists := map[Stream]*[2][]int64{}
		both, only := 0, [2]int{}
		for i := range 1 + rng.IntN(4) {
			s := Stream{Source: int32(i % 2), Production: int32(rng.IntN(3)), Candidate: int32(rng.IntN(3))}
			if lists[s] != nil {
				continue
			}
			l := &[2][]int64{}
			lists[s] = l
			for o := range int64(rng.IntN(60)) {
				switch rng.IntN(4) {
				case 0:
					l[0] = append(l[0], o)
					only[0]++
				case 1:
					l[1] = append(l[1], o)
					only[1]++
				case 2:
					l[0], l[1] = append(l[0], o), append(l[1], o)
					both++
				default:
				}
			}
		}
		for len(lists) > 0 {
			for s, l := range lists {
				w := Which(rng.IntN(2))
				if n := min(rng.IntN(5), len(l[w])); n > 0 {
					m.put(s, w, l[w][:n]...)
					l[w] = l[w][n:]
				}
				if len(l[0])+len(l[1]) == 0 {
					delete(lists, s)
				}
			}
		}
		m.Finish()
		pairs := len(slices.DeleteFunc(slices.Clone(*got), func(e event) bool { return e.kind != "pair" }))
		alone := [2]int64{}
		for w := range alone {
			for why := range Absence(absences) {
				alone[w] += m.Alone(Which(w), why)
			}
		}
		if pairs != both || alone[0] != int64(only[0]) || alone[1] != int64(only[1]) || m.Again(0)+m.Again(1) != 0 || m.Waiting() != 0 {
			t.Fatalf("seed %d: %d pairs of %d, alone %v of %v", seed, pairs, both, alone, only)
		}
	}
}
