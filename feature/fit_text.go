package feature

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"millrace.dev/internal/stat"
)

const clearlyTooMany = "use hash_one_hot or hash_n_hot, which need no labels"

func addTextFits(m map[string]function) {
	missing := flagOption("missing", false, "whether there is an element, "+missingName+", for texts that are missing or were not seen")
	least := wholeOption("min_count", 1, 1, 1e9, "the training rows that a label needs")
	top := wholeOption("top", 0, 0, maxLevels, "how many labels at most, the most frequent ones; 0 is all")
	oov := wholeOption("oov", 0, 0, 4096, "buckets for labels out of the vocabulary, by their hash; 0 makes them missing, and counts them")
	text := func(usage, doc string, f *fitting, o ...option) {
		f.args = "t"
		addFit(m, usage, doc, f, o...)
	}
	text("one_hot(text)", "an element for each label of the training rows, in the order of their bytes: 1 for the text's own, 0 for the others",
		&fitting{result: resultKind(kindVector), learn: newLabelFit, lower: lowerOneHot}, top, least, oov, missing)
	text("position(text)", "the position of the text among the labels of the training rows, from 0 in the order of their bytes",
		&fitting{result: resultKind(kindNumber), learn: newLabelFit, lower: lowerVocabulary})
	text("vocabulary(text)", "the position of the text in the vocabulary of the training rows, from 0 in the order of their bytes; buckets for others come behind",
		&fitting{result: resultKind(kindNumber), learn: newLabelFit, lower: lowerVocabulary}, top, least, oov)
	text("heavy_hitters(text)", "two elements, rank and freq: the rank of the text among the most frequent labels, from 1, and its number of training rows; 0 and 0 for others",
		&fitting{result: resultKind(kindVector), learn: newLabelFit, lower: lowerHeavyHitters}, wholeOption("top", 10, 1, maxLevels, "how many labels"))
	sep := markOption("sep", ",", "what stands between the parts")
	weight := markOption("weight", ":", "what stands between a label and its weight; without one it is 1")
	text("n_hot(text)", "as one_hot, of each part of a text: n_hot(tags, sep: \",\")",
		&fitting{result: resultKind(kindVector), learn: newTokenFit, lower: lowerNHot}, sep, top, least, missing)
	text("n_hot_weighted(text)", "as n_hot, with the sum of the weights of the parts, as in \"garden:0.5,garage:1\"",
		&fitting{result: resultKind(kindVector), learn: newTokenFit, lower: lowerNHot}, sep, weight, top, least, missing)
	text("ngrams(text)", "as n_hot, of each run of low to high parts",
		&fitting{result: resultKind(kindVector), check: checkGrams, learn: newTokenFit, lower: lowerNHot},
		wholeOption("low", 1, 1, maxGram, "the least number of parts"), wholeOption("high", -1, -1, maxGram, "the largest; -1 is all of the text, up to 100"),
		markOption("sep", " ", "what stands between the parts"), top, least, missing)
	size := wholeOption("size", 0, 0, maxInputs, "the number of buckets; 0 is 8 times the number of different labels in the training rows")
	text("hash_one_hot(text)", "an element for each bucket: 1 for that of the text's hash (MurmurHash3 as Scala's stringHash has it, modulo size)",
		&fitting{result: resultKind(kindVector), learn: newDistinctFit, lower: lowerHashOneHot}, size)
	text("hash_n_hot(text)", "as hash_one_hot, of each part of a text",
		&fitting{result: resultKind(kindVector), learn: newDistinctFit, lower: lowerHashNHot}, sep, size)
	text("hash_n_hot_weighted(text)", "as hash_n_hot, with the sum of the weights of the parts",
		&fitting{result: resultKind(kindVector), learn: newDistinctFit, lower: lowerHashNHot}, sep, weight, size)
}

// nameOf returns the name of a function by its usage.
func nameOf(usage string) string {
	name, _, _ := strings.Cut(usage, "(")
	return name
}

func clone(s string) string { return strings.Clone(s) }

// The bounds on what is counted: labels of the training rows, and their bytes.
const (
	maxLabels     = 1 << 20
	maxLabelBytes = 64 << 20
)

// labelFit counts the labels of a text. What it holds is the labels in order, and the training rows of each.
type labelFit struct {
	counts *stat.Counts
	o      options
	tokens *tokens // how texts are taken apart; nil: they are not
	grams  bool
}

func newLabelFit(o options) learner {
	return &labelFit{counts: stat.NewCounts(maxLabels, maxLabelBytes), o: o}
}

func newTokenFit(o options) learner {
	t, grams := o.tokens()
	return &labelFit{counts: stat.NewCounts(maxLabels, maxLabelBytes), o: o, tokens: &t, grams: grams}
}

// tokens returns how a text is taken apart, and whether into n-grams.
func (o options) tokens() (t tokens, grams bool) {
	t.Sep = o.text("sep")
	if w, ok := o["weight"]; ok {
		t.Weight = *w.Text
	}
	if _, grams = o["low"]; grams {
		t.Low, t.High = o.whole("low"), o.whole("high")
	}
	return t, grams
}

func (f *labelFit) add(r *fitRows) {
	for i, t := range r.args[0].text {
		switch {
		case !r.keep[i] || !t.ok:
		case f.tokens == nil:
			f.counts.Add(t.s)
		default:
			tokens := tokenizer{tokens: f.tokens, s: t.s, grams: f.grams}
			for label, _, ok := tokens.next(); ok && !f.counts.TooMany(); label, _, ok = tokens.next() {
				f.counts.Add(label)
			}
		}
	}
}

func (f *labelFit) merge(o learner) { f.counts.Merge(o.(*labelFit).counts) } //nolint:errcheck,forcetypeassert // learners of one call

func (f *labelFit) learn() (fitted, error) {
	if f.counts.TooMany() {
		return fitted{}, errors.New("it has too many labels in the training rows: " + clearlyTooMany)
	}
	top, least := f.counts.Len(), 1
	if v, ok := f.o["top"]; ok && *v.Number > 0 {
		top = int(*v.Number)
	}
	if v, ok := f.o["min_count"]; ok {
		least = int(*v.Number)
	}
	var out fitted
	count := map[string]float64{}
	for _, c := range f.counts.Top(top) {
		if !utf8.ValidString(c.Text) {
			return fitted{}, errors.New("it has a label that is not UTF-8: mend the encoding of the data")
		}
		if c.N >= uint64(least) {
			out.texts = append(out.texts, c.Text)
			count[c.Text] = float64(c.N)
		}
	}
	if len(out.texts) > maxLevels {
		return fitted{}, fmt.Errorf("it has %d labels in the training rows, and can have %d: give top or min_count, or %s", len(out.texts), maxLevels, clearlyTooMany)
	}
	slices.Sort(out.texts)
	for _, t := range out.texts {
		out.numbers = append(out.numbers, count[t])
	}
	return out, nil
}

func lowerOneHot(s *scope, c *call, args []ref, o options, f fitted) ref {
	names, oov := slices.Clone(f.texts), o.whole("oov")
	for i := range oov {
		names = append(names, "__oov_"+strconv.Itoa(i)+"__")
	}
	if !s.canHave(c, len(names)) {
		return ref{}
	}
	code := s.add(c.node, value{op: opIndex, args: []int32{args[0].id}, texts: f.texts, group: oov})
	return s.coded(c, code, names, outputOneHot, o.flag("missing"))
}

// canHave tells whether a vector can have n elements.
func (s *scope) canHave(c *call, n int) bool {
	if n > maxInputs {
		s.fail(c.node, fmt.Sprintf("it has %d elements in the training rows: at most %d", n, maxInputs), "give top or min_count, or "+clearlyTooMany)
		return false
	}
	return true
}

func lowerVocabulary(s *scope, c *call, args []ref, o options, f fitted) ref {
	buckets := 0
	if _, ok := o["oov"]; ok {
		buckets = o.whole("oov")
	}
	return s.index(c, args[0], f.texts, buckets)
}

// lowerHeavyHitters ranks labels by their counts, equal ones by their bytes.
func lowerHeavyHitters(s *scope, c *call, args []ref, _ options, f fitted) ref {
	order := make([]int, len(f.texts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.numbers[b], f.numbers[a]) })
	ranks := make([]float64, len(order))
	for rank, i := range order {
		ranks[i] = float64(rank + 1)
	}
	code := s.index(c, args[0], f.texts, 0)
	v := vector{id: -1, names: []string{"rank", "freq"}}
	for _, numbers := range [][]float64{ranks, f.numbers} {
		x := s.number(c, 0)
		if len(numbers) > 0 {
			x = s.apply(c.node, "coalesce", nil, s.add(c.node, value{op: opPick, args: []int32{code.id}, numbers: numbers}), x)
		}
		v.values = append(v.values, x)
	}
	return s.newVector(v)
}

func checkGrams(o options) string {
	if high := o.whole("high"); high >= 0 && high < o.whole("low") {
		return "low must not be above high"
	}
	return ""
}

func lowerNHot(s *scope, c *call, args []ref, o options, f fitted) ref {
	if !s.canHave(c, len(f.texts)) {
		return ref{}
	}
	t, grams := o.tokens()
	op := opTokens
	if grams {
		op = opGrams
	}
	b := s.add(c.node, value{op: op, args: []int32{args[0].id}, texts: f.texts, tokens: t, owner: s.name})
	v := vector{id: -1, sparse: true, names: slices.Clone(f.texts)}
	for i := range f.texts {
		v.values = append(v.values, s.weightOf(c, b, i, t.Weight != ""))
	}
	if o.flag("missing") {
		x := s.weightOf(c, b, notSeen, t.Weight != "")
		missing := s.apply(c.node, "is_missing", nil, args[0])
		v.names, v.values = append(v.names, missingName), append(v.values, s.apply(c.node, "select", nil, missing, s.number(c, 1), x))
	}
	if len(v.values) == 0 {
		v.names, v.values = []string{""}, []ref{s.number(c, 0)}
	}
	return s.newVector(v)
}

// weightOf returns the weight of a code in a bag, which is at most 1 where parts have no weights.
func (s *scope) weightOf(c *call, b ref, code int, weighted bool) ref {
	x := s.apply(c.node, "weight", nil, b, s.number(c, float64(code)))
	if !weighted {
		x = s.apply(c.node, "min", nil, x, s.number(c, 1))
	}
	return x
}

// distinctFit estimates the number of labels of a text, or of its parts.
type distinctFit struct {
	distinct stat.Distinct
	fixed    int
	tokens   *tokens
}

func newDistinctFit(o options) learner {
	f := &distinctFit{fixed: o.whole("size")}
	if _, ok := o["sep"]; ok {
		t, _ := o.tokens()
		f.tokens = &t
	}
	return f
}

func (f *distinctFit) add(r *fitRows) {
	for i, t := range r.args[0].text {
		switch {
		case !r.keep[i] || !t.ok || f.fixed > 0:
		case f.tokens == nil:
			f.distinct.Add(t.s)
		default:
			tokens := tokenizer{tokens: f.tokens, s: t.s}
			for label, _, ok := tokens.next(); ok; label, _, ok = tokens.next() {
				f.distinct.Add(label)
			}
		}
	}
}

func (f *distinctFit) merge(o learner) { f.distinct.Merge(&o.(*distinctFit).distinct) } //nolint:errcheck,forcetypeassert // learners of one call

// bucketsPerLabel is Featran's sizeScalingFactor.
const bucketsPerLabel = 8

func (f *distinctFit) learn() (fitted, error) {
	size := f.fixed
	if size == 0 {
		size = max(1, int(min(f.distinct.Estimate(), maxInputs)*bucketsPerLabel))
	}
	if size > maxInputs {
		return fitted{}, fmt.Errorf("8 buckets for each label of the training rows are %d: at most %d: give size", size, maxInputs)
	}
	return fitted{numbers: []float64{float64(size)}}, nil
}

func lowerHashOneHot(s *scope, c *call, args []ref, _ options, f fitted) ref {
	n := int(f.numbers[0])
	code := s.add(c.node, value{op: opIndex, args: []int32{args[0].id}, group: n})
	return s.coded(c, code, indexNames(n), outputOneHot, false)
}

func lowerHashNHot(s *scope, c *call, args []ref, o options, f fitted) ref {
	t, _ := o.tokens()
	t.Size = int(f.numbers[0])
	b := s.add(c.node, value{op: opHashTokens, args: []int32{args[0].id}, tokens: t, owner: s.name})
	v := vector{id: -1, sparse: true, names: indexNames(t.Size)}
	for i := range t.Size {
		v.values = append(v.values, s.weightOf(c, b, i, t.Weight != ""))
	}
	return s.newVector(v)
}

// hashBucket is the bucket of a text: its hash modulo the number of buckets, never below 0.
func hashBucket(s string, buckets int) int {
	h := int(stat.MurmurString(s, stat.MurmurSeed)) % buckets
	if h < 0 {
		h += buckets
	}
	return h
}
