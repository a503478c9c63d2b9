package feature

import (
	"math"
	"math/big"
	"slices"
	"sort"
	"strings"

	"millrace.dev/internal/stat"
)

// This file is a second implementation of the fitted functions, written from their documentation: it holds all training
// rows, and computes one row at a time.

func fitReferences() map[string]func(c *fitCall, train []fitRow) *fitReference {
	return map[string]func(c *fitCall, train []fitRow) *fitReference{
		"standard": standardReference, "min_max": minMaxReference, "max_abs": maxAbsReference, "impute": imputeReference,
		"quantile_bucket": quantileReference, "iqr_outlier": outlierReference, "quantile_outlier": outlierReference, "z_score": zScoreReference,
		"one_hot": oneHotReference, "position": vocabularyReference, "vocabulary": vocabularyReference, "heavy_hitters": heavyReference,
		"n_hot": nHotReference, "n_hot_weighted": nHotReference, "ngrams": nHotReference,
		"hash_one_hot": hashReference, "hash_n_hot": hashReference, "hash_n_hot_weighted": hashReference,
		"mdl_bucket": mdlReference, "target_mean": targetReference,
	}
}

func (c *fitCall) text(r *fitRow) text {
	if c.of == "e" {
		return r.e
	}
	return r.s
}

func single(eval func(r *fitRow) (v float64, missing, unseen bool)) *fitReference {
	return &fitReference{eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		v, missing, unseen := eval(r)
		return []float64{v}, missing, unseen
	}}
}

// noTraining is the reference of a function that had no training value.
func noTraining(names []string) *fitReference {
	return &fitReference{names: names, eval: func(*fitRow, bool) ([]float64, bool, bool) {
		if names == nil {
			return []float64{nan()}, false, false
		}
		return make([]float64, len(names)), true, false
	}}
}

// numbersOf returns the numbers of x that there are, sorted.
func numbersOf(train []fitRow) []float64 {
	var out []float64
	for i := range train {
		if x := train[i].x; x == x {
			out = append(out, x)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i] < out[j] || out[i] == out[j] && math.Signbit(out[i]) && !math.Signbit(out[j])
	})
	return out
}

func exactSum(x []float64) *big.Rat {
	sum := new(big.Rat)
	for _, v := range x {
		sum.Add(sum, new(big.Rat).SetFloat64(v))
	}
	return sum
}

func exactMean(x []float64) *big.Rat {
	return new(big.Rat).Quo(exactSum(x), new(big.Rat).SetInt64(int64(len(x))))
}

func rounded(x *big.Rat) float64 {
	f, _ := x.Float64()
	return f
}

// deviationOf is the standard deviation of the population.
func deviationOf(x []float64) float64 {
	mean, sum := exactMean(x), new(big.Rat)
	for _, v := range x {
		d := new(big.Rat).Sub(new(big.Rat).SetFloat64(v), mean)
		sum.Add(sum, d.Mul(d, d))
	}
	sum.Quo(sum, new(big.Rat).SetInt64(int64(len(x))))
	f := new(big.Float).SetPrec(300).SetRat(sum)
	out, _ := f.Sqrt(f).Float64()
	return out
}

// known is x, or missing if it is not finite.
func known(x float64) float64 {
	if x-x != 0 {
		return nan()
	}
	return x
}

func standardReference(c *fitCall, train []fitRow) *fitReference {
	all := numbersOf(train)
	if len(all) == 0 {
		return noTraining(nil)
	}
	mean, deviation := rounded(exactMean(all)), deviationOf(all)
	return single(func(r *fitRow) (float64, bool, bool) {
		x := known(r.x - mean)
		if c.o.flag("scale") && deviation > 0 {
			x = known(x / deviation)
		}
		if !c.o.flag("center") {
			x = known(x + mean)
		}
		return x, false, false
	})
}

func minMaxReference(c *fitCall, train []fitRow) *fitReference {
	all := numbersOf(train)
	if len(all) == 0 {
		return noTraining(nil)
	}
	least, most := all[0], all[len(all)-1]
	low, high := c.o.number("low"), c.o.number("high")
	return single(func(r *fitRow) (float64, bool, bool) {
		x := min(max(r.x, least), most)
		half := 1.0
		if math.IsInf(most-least, 0) {
			half = 2
		}
		share := x/half - least/half
		if most > least {
			share /= most/half - least/half
		}
		return float64(share*(high-low)) + low, r.x != r.x, r.x < least || r.x > most
	})
}

func maxAbsReference(_ *fitCall, train []fitRow) *fitReference {
	all := numbersOf(train)
	if len(all) == 0 {
		return noTraining(nil)
	}
	most := max(math.Abs(all[0]), math.Abs(all[len(all)-1]))
	return single(func(r *fitRow) (float64, bool, bool) {
		x := min(max(r.x, -most), most)
		if most > 0 {
			x /= most
		}
		return x, r.x != r.x, math.Abs(r.x) > most
	})
}

func imputeReference(c *fitCall, train []fitRow) *fitReference {
	all := numbersOf(train)
	var stand float64
	switch n := len(all); {
	case n == 0:
		stand = nan()
	case c.o.text("by") == "mean":
		stand = rounded(exactMean(all))
	default:
		stand = stat.Interpolate(all, 0.5)
	}
	return single(func(r *fitRow) (float64, bool, bool) {
		if r.x != r.x {
			return stand, false, false
		}
		return r.x, false, false
	})
}

// hotAt is a vector with 1 at a place, or none.
func hotAt(n, at int) []float64 {
	v := make([]float64, n)
	if at >= 0 {
		v[at] = 1
	}
	return v
}

func quantileReference(c *fitCall, train []fitRow) *fitReference {
	n, all := c.o.whole("buckets"), numbersOf(train)
	names := elementNames(n)
	if c.o.text("output") == outputIndex {
		names = nil
	}
	if len(all) == 0 {
		if names == nil {
			return single(func(*fitRow) (float64, bool, bool) { return nan(), true, false })
		}
		return noTraining(names)
	}
	return &fitReference{names: names, eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		if r.x != r.x {
			if names == nil {
				return []float64{nan()}, true, false
			}
			return make([]float64, n), true, false
		}
		at := 0
		for k := 1; k < n; k++ {
			if min(r.x, all[len(all)-1]) > stat.Rank(all, float64(k)/float64(n)) {
				at = k
			}
		}
		out := r.x < all[0] || r.x > all[len(all)-1]
		if names == nil {
			return []float64{float64(at)}, false, out
		}
		return hotAt(n, at), false, out
	}}
}

func outlierReference(c *fitCall, train []fitRow) *fitReference {
	all := numbersOf(train)
	if len(all) == 0 {
		return noTraining(nil)
	}
	return single(func(r *fitRow) (float64, bool, bool) {
		if r.x != r.x && (c.o.flag("lower") || c.o.flag("upper")) {
			return nan(), false, false
		}
		var low, high bool
		if _, ok := c.o["factor"]; ok {
			first, third := stat.Rank(all, 0.25), stat.Rank(all, 0.75)
			reach := math.Min(third-first, math.MaxFloat64) * c.o.number("factor")
			low, high = r.x < first-reach, r.x > third+reach
		} else {
			n := c.o.number("buckets")
			low, high = r.x <= stat.Rank(all, 1/n), r.x > stat.Rank(all, (n-1)/n)
		}
		return float64(b2i(low && c.o.flag("lower") || high && c.o.flag("upper"))), false, false
	})
}

func zScoreReference(c *fitCall, train []fitRow) *fitReference {
	byKey, some := map[string][]float64{}, false
	for i := range train {
		if k := c.text(&train[i]); k.ok && train[i].x == train[i].x {
			byKey[k.s] = append(byKey[k.s], train[i].x)
		}
	}
	for k, list := range byKey {
		if len(list) < c.o.whole("min_count") {
			delete(byKey, k)
		} else {
			some = true
		}
	}
	if !some {
		return noTraining(nil)
	}
	return single(func(r *fitRow) (float64, bool, bool) {
		k := c.text(r)
		list := byKey[k.s]
		if !k.ok || list == nil {
			return nan(), !k.ok, k.ok
		}
		deviation := deviationOf(list)
		if deviation == 0 {
			deviation = 1
		}
		return known(known(r.x-rounded(exactMean(list))) / deviation), false, false
	})
}

// labelCount is a label and its training rows.
type labelCount struct {
	label string
	n     int
}

// labelsOf returns the labels that are kept, sorted.
func labelsOf(c *fitCall, train []fitRow, parts func(string) []labelWeight) []labelCount {
	count := map[string]int{}
	for i := range train {
		if t := c.text(&train[i]); t.ok {
			for _, p := range parts(t.s) {
				count[p.label]++
			}
		}
	}
	var all []labelCount
	for l, n := range count {
		all = append(all, labelCount{l, n})
	}
	slices.SortFunc(all, func(a, b labelCount) int {
		if a.n != b.n {
			return b.n - a.n
		}
		return strings.Compare(a.label, b.label)
	})
	if top, ok := c.o["top"]; ok && *top.Number > 0 {
		all = all[:min(len(all), int(*top.Number))]
	}
	if least, ok := c.o["min_count"]; ok {
		all = slices.DeleteFunc(all, func(l labelCount) bool { return float64(l.n) < *least.Number })
	}
	slices.SortFunc(all, func(a, b labelCount) int { return strings.Compare(a.label, b.label) })
	return all
}

func itself(s string) []labelWeight { return []labelWeight{{s, 1}} }

func bucketOf(s string, n int) int {
	return ((int(stat.MurmurString(s, stat.MurmurSeed)) % n) + n) % n
}

// code is the position of a text among labels, a bucket behind them, or -1.
func codeIn(labels []labelCount, t text, oov int) int {
	if !t.ok {
		return -1
	}
	for i, l := range labels {
		if l.label == t.s {
			return i
		}
	}
	if oov > 0 {
		return len(labels) + bucketOf(t.s, oov)
	}
	return -1
}

func oneHotReference(c *fitCall, train []fitRow) *fitReference {
	labels, oov := labelsOf(c, train, itself), c.o.whole("oov")
	var names []string
	for _, l := range labels {
		names = append(names, l.label)
	}
	for i := range oov {
		names = append(names, "__oov_"+elementNames(oov)[i]+"__")
	}
	n := len(names)
	if c.o.flag("missing") {
		names = append(names, missingName)
	}
	if len(names) == 0 {
		names = []string{""}
		n = 1
	}
	return &fitReference{names: names, eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		t := c.text(r)
		at := codeIn(labels, t, oov)
		v := hotAt(n, at)
		if c.o.flag("missing") {
			v = append(v, float64(b2i(at < 0)))
		}
		return v, !t.ok, t.ok && at < 0
	}}
}

func vocabularyReference(c *fitCall, train []fitRow) *fitReference {
	labels, oov := labelsOf(c, train, itself), 0
	if v, ok := c.o["oov"]; ok {
		oov = int(*v.Number)
	}
	return single(func(r *fitRow) (float64, bool, bool) {
		t := c.text(r)
		at := codeIn(labels, t, oov)
		if at < 0 {
			return nan(), !t.ok, t.ok
		}
		return float64(at), false, false
	})
}

func heavyReference(c *fitCall, train []fitRow) *fitReference {
	labels := labelsOf(c, train, itself)
	return &fitReference{names: []string{"rank", "freq"}, eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		t := c.text(r)
		at := codeIn(labels, t, 0)
		if at < 0 {
			return []float64{0, 0}, !t.ok, t.ok
		}
		rank := 1
		for i, l := range labels {
			if l.n > labels[at].n || l.n == labels[at].n && i < at {
				rank++
			}
		}
		return []float64{float64(rank), float64(labels[at].n)}, false, false
	}}
}

// labelWeight is a part of a text.
type labelWeight struct {
	label  string
	weight float64
}

// partsOf takes texts apart as the options of a call say.
func partsOf(c *fitCall) func(string) []labelWeight {
	return func(s string) []labelWeight {
		var parts []labelWeight
		for p := range strings.SplitSeq(s, c.o.text("sep")) {
			if p == "" {
				continue
			}
			part := labelWeight{p, 1}
			if w, ok := c.o["weight"]; ok {
				if i := strings.LastIndex(p, *w.Text); i >= 0 {
					part = labelWeight{p[:i], parseNumber(p[i+len(*w.Text):])}
				}
			}
			parts = append(parts, part)
		}
		low, ok := c.o["low"]
		if !ok {
			return parts
		}
		// The runs of parts, as they stand in the text.
		var grams []labelWeight
		high := c.o.whole("high")
		for i := range parts {
			for n := int(*low.Number); i+n <= len(parts) && (high < 0 || n <= high); n++ {
				grams = append(grams, labelWeight{run(s, c.o.text("sep"), i, n), 1})
			}
		}
		return grams
	}
}

// run returns n parts of s from part i on, with what stands between them.
func run(s, sep string, i, n int) string {
	var begin []int
	for at := 0; at < len(s); {
		switch {
		case strings.HasPrefix(s[at:], sep):
			at += len(sep)
		default:
			end := len(s)
			if k := strings.Index(s[at:], sep); k >= 0 {
				end = at + k
			}
			begin = append(begin, at, end)
			at = end
		}
	}
	return s[begin[2*i]:begin[2*(i+n-1)+1]]
}

func nHotReference(c *fitCall, train []fitRow) *fitReference {
	parts := partsOf(c)
	labels := labelsOf(c, train, parts)
	_, weighted := c.o["weight"]
	names := []string{}
	for _, l := range labels {
		names = append(names, l.label)
	}
	if c.o.flag("missing") {
		names = append(names, missingName)
	}
	empty := len(names) == 0
	if empty {
		names = []string{""}
	}
	return &fitReference{names: names, eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		t := c.text(r)
		v := make([]float64, len(labels)+1)
		have := make([]bool, len(labels)+1)
		for _, p := range parts(t.s) {
			at := codeIn(labels, text{p.label, true}, 0)
			if at < 0 {
				at = len(labels)
			}
			if v[at] += p.weight; !have[at] {
				v[at], have[at] = p.weight, true
			}
		}
		unseen := t.ok && have[len(labels)]
		for i := range v {
			if v[i] = known(v[i]); !t.ok {
				v[i] = 0
			}
			if !weighted {
				v[i] = min(v[i], 1)
			}
		}
		if !t.ok {
			v[len(labels)] = 1
		}
		if !c.o.flag("missing") {
			v = v[:len(labels)]
		}
		if empty {
			v = []float64{0}
		}
		return v, !t.ok, unseen
	}}
}

func hashReference(c *fitCall, train []fitRow) *fitReference {
	parts := itself
	if _, ok := c.o["sep"]; ok {
		parts = partsOf(c)
	}
	size := c.o.whole("size")
	if size == 0 {
		size = max(1, 8*len(labelsOf(c, train, parts)))
	}
	_, several := c.o["sep"]
	_, weighted := c.o["weight"]
	return &fitReference{names: elementNames(size), eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		t := c.text(r)
		v, have := make([]float64, size), make([]bool, size)
		if t.ok {
			for _, p := range parts(t.s) {
				at := bucketOf(p.label, size)
				if v[at] += p.weight; !have[at] {
					v[at], have[at] = p.weight, true
				}
			}
		}
		for i := range v {
			if v[i] = known(v[i]); several && !weighted {
				v[i] = min(v[i], 1)
			}
		}
		return v, !t.ok, false
	}}
}

func mdlReference(c *fitCall, train []fitRow) *fitReference {
	type pair struct {
		x     float64
		class int32
	}
	var pairs []pair
	for i := range train {
		if r := &train[i]; r.x == r.x && r.label == r.label {
			pairs = append(pairs, pair{r.x, stat.MurmurString(formatNumber(r.label+0), stat.MurmurSeed) & math.MaxInt32})
		}
	}
	sort.Slice(pairs, func(i, j int) bool { // -0 before 0, and then by class
		a, b := pairs[i], pairs[j]
		if a.x != b.x {
			return a.x < b.x
		}
		if math.Signbit(a.x) != math.Signbit(b.x) {
			return math.Signbit(a.x)
		}
		return a.class < b.class
	})
	if len(pairs) == 0 {
		if c.o.text("output") == outputIndex {
			return single(func(*fitRow) (float64, bool, bool) { return nan(), true, false })
		}
		return noTraining([]string{""})
	}
	var values []float64
	var classes []int32
	for _, p := range pairs {
		values, classes = append(values, p.x), append(classes, p.class)
	}
	cuts, err := stat.MDL{MaxBins: c.o.whole("bins"), Stop: c.o.number("stop"), MinBinPercentage: 100 * c.o.number("min_share")}.Cuts(values, classes)
	if err != nil {
		panic(err)
	}
	n := len(cuts) + 1
	names := elementNames(n)
	if c.o.text("output") == outputIndex {
		names = nil
	}
	return &fitReference{names: names, eval: func(r *fitRow, _ bool) ([]float64, bool, bool) {
		at := 0
		for _, cut := range cuts {
			at += b2i(cut <= r.x)
		}
		if r.x != r.x {
			at = -1
		}
		if names == nil {
			if at < 0 {
				return []float64{nan()}, true, false
			}
			return []float64{float64(at)}, false, false
		}
		return hotAt(n, at), at < 0, false
	}}
}

func targetReference(c *fitCall, train []fitRow) *fitReference {
	folds, smoothing := c.o.whole("folds"), c.o.number("smoothing")
	seen := map[string]bool{}
	for i := range train {
		if t := c.text(&train[i]); t.ok && train[i].label == train[i].label {
			seen[t.s] = true
		}
	}
	if len(seen) == 0 {
		return noTraining(nil)
	}
	return &fitReference{eval: func(r *fitRow, training bool) ([]float64, bool, bool) {
		t := c.text(r)
		if !t.ok || !seen[t.s] {
			return []float64{nan()}, !t.ok, t.ok
		}
		var all, own []float64
		for i := range train {
			o := &train[i]
			of := c.text(o)
			if !of.ok || o.label != o.label || training && foldOf(o.id, folds) == foldOf(r.id, folds) {
				continue
			}
			all = append(all, o.label)
			if of.s == t.s {
				own = append(own, o.label)
			}
		}
		prior := 0.0
		if len(all) > 0 {
			prior = rounded(exactMean(all))
		}
		if len(own) == 0 {
			return []float64{prior}, false, false
		}
		sum, _ := exactSum(own).Float64()
		mean := (sum + float64(smoothing*prior)) / (float64(len(own)) + smoothing)
		if mean-mean != 0 {
			share := float64(len(own)) / (float64(len(own)) + smoothing)
			mean = float64(rounded(exactMean(own))*share) + float64(prior*(1-share))
		}
		return []float64{mean}, false, false
	}}
}
