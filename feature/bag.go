package feature

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// bag is what a text was taken apart into: labels by their codes, sorted, each once, with the sum of its weights.
type bag struct {
	parts []weighed
	ok    bool // false: the text is missing
}

type weighed struct {
	code   int32 // notSeen for all labels that have none, together
	weight float64
}

// takeApart makes the bags of a tile, and counts those that are missing or have labels that were not seen.
func (m *machine) takeApart(op opcode, r *registers, dst []bag, texts []text, l *list) {
	for i, t := range texts[:len(dst)] {
		if dst[i] = (bag{ok: t.ok}); !t.ok {
			m.count(l.owner, i, false)
			continue
		}
		begin := len(r.parts)
		r.parts = l.apart(op, r.parts, t.s)
		dst[i].parts = r.parts[begin:len(r.parts):len(r.parts)]
		dst[i].sum()
		r.parts = r.parts[:begin+len(dst[i].parts)]
		if b := dst[i].parts; len(b) > 0 && b[0].code == notSeen {
			m.count(l.owner, i, true)
		}
	}
}

// apart adds the parts of a text. All that have no code become one.
func (l *list) apart(op opcode, parts []weighed, s string) []weighed {
	tokens := tokenizer{tokens: &l.tokens, s: s, grams: op == opGrams, most: l.longest}
	none, some := 0.0, false
	for {
		label, weight, ok := tokens.next()
		if !ok {
			break
		}
		if c := l.code(op, label); c != notSeen {
			parts = append(parts, weighed{c, weight})
			continue
		}
		if none += weight; !some {
			none, some = weight, true // also -0
		}
	}
	if !some && tokens.cut {
		none, some = 1, true
	}
	if some {
		parts = append(parts, weighed{notSeen, none})
	}
	return parts
}

// longestGram returns the parts of the label that has most.
func (t *tokens) longestGram(labels []string) int {
	longest := 1
	for _, label := range labels {
		parts, tokens := 0, tokenizer{tokens: t, s: label}
		for from, to := tokens.part(0); from < to; from, to = tokens.part(to) {
			parts++
		}
		longest = max(longest, parts)
	}
	return longest
}

func (l *list) code(op opcode, label string) int32 {
	if op == opHashTokens {
		return int32(hashBucket(label, l.tokens.Size))
	}
	if c, ok := l.codes[label]; ok {
		return c
	}
	return notSeen
}

// sum joins the parts of each code, in the order in which they came.
func (b *bag) sum() {
	slices.SortStableFunc(b.parts, func(a, b weighed) int { return cmp.Compare(a.code, b.code) })
	out := b.parts[:0]
	for _, p := range b.parts {
		if n := len(out); n > 0 && out[n-1].code == p.code {
			out[n-1].weight += p.weight
		} else {
			out = append(out, p)
		}
	}
	b.parts = out
}

// tokenizer takes a text apart. Parts that are empty do not count.
type tokenizer struct {
	*tokens
	grams bool
	s     string
	at    int  // where the next token, or the n-grams of the next first part, begin
	size  int  // of the last n-gram from there, in parts
	end   int  // of that n-gram
	most  int  // parts of an n-gram, beyond which there is no label; 0: as many as there are
	cut   bool // there are n-grams of more parts
}

// next returns the next label and its weight, and false when there is none. A weight that is no number is missing, and
// so is the sum that it is part of; without a weight a label has 1.
func (t *tokenizer) next() (label string, weight float64, ok bool) {
	if t.grams {
		label, ok = t.gram()
		return label, 1, ok
	}
	from, to := t.part(t.at)
	if from == to {
		return "", 0, false
	}
	t.at = to
	label, weight = t.s[from:to], 1
	if t.Weight != "" {
		if i := strings.LastIndex(label, t.Weight); i >= 0 {
			label, weight = label[:i], parseNumber(label[i+len(t.Weight):])
		}
	}
	return label, weight, true
}

// part returns where the first part from at on lies: nowhere if from is to.
func (t *tokenizer) part(at int) (from, to int) {
	for strings.HasPrefix(t.s[at:], t.Sep) {
		at += len(t.Sep)
	}
	if n := strings.Index(t.s[at:], t.Sep); n >= 0 {
		return at, at + n
	}
	return at, len(t.s)
}

// gram returns the next run of Low to High parts: all that begin with the first part, the shortest first, then those
// that begin with the second.
func (t *tokenizer) gram() (string, bool) {
	for {
		from, to := t.part(t.at)
		if from == to {
			return "", false
		}
		if t.size == 0 {
			t.end = to
		} else {
			next, end := t.part(t.end)
			if next == end {
				t.at, t.size = to, 0
				continue
			}
			t.end = end
		}
		if t.size++; t.High >= 0 && t.size > t.High || t.size > maxGram {
			t.at, t.size = to, 0
			continue
		}
		if t.most > 0 && t.size > t.most && t.size >= t.Low {
			t.at, t.size, t.cut = to, 0, true
			continue
		}
		if t.size >= t.Low {
			return t.s[from:t.end], true
		}
	}
}

// fewParts are so many that to look at each is faster than to search.
const fewParts = 16

// weight is the weight of a code in a bag: 0 where the bag does not have it, or the text was missing. The code is a literal,
// the same for all.
func weight(dst []float64, bags []bag, code []float64) {
	if len(dst) == 0 {
		return
	}
	c := int32(code[0])
	for i := range bags[:len(dst)] {
		parts, w := bags[i].parts, 0.0
		if len(parts) > fewParts {
			parts = parts[sort.Search(len(parts), func(k int) bool { return parts[k].code >= c }):]
		}
		for k := range parts {
			if parts[k].code >= c {
				if parts[k].code == c {
					w = finite(parts[k].weight)
				}
				break
			}
		}
		dst[i] = w
	}
}
