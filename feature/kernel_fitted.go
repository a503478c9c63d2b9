package feature

import (
	"sort"

	"millrace.dev/internal/stat"
)

// notSeen is the code of a text or a number that has none, though it is there.
const notSeen = -1

// index is the code of a text: its position among the labels, a bucket behind them, or notSeen.
func index(dst []float64, a []text, l *list) {
	for i, t := range a[:len(dst)] {
		if !t.ok {
			dst[i] = nan()
			continue
		}
		switch c, ok := l.codes[t.s]; {
		case ok:
			dst[i] = float64(c)
		case l.buckets > 0:
			dst[i] = float64(len(l.codes) + hashBucket(t.s, l.buckets))
		default:
			dst[i] = notSeen
		}
	}
}

// seen counts codes that are missing and that are notSeen, and makes both missing.
func (m *machine) seen(dst, a []float64, owner int) {
	for i, c := range a[:len(dst)] {
		if !(c >= 0) {
			m.count(owner, i, c == c)
			c = nan()
		}
		dst[i] = c
	}
}

// count counts row i of the tile for an owner: as one without a value, or with one that was not seen in training. A row
// counts once, however many calls of the owner it goes through.
func (m *machine) count(owner, i int, there bool) {
	as, n := uint8(countedMissing), &m.fitted[owner].Missing
	if there {
		as, n = countedUnseen, &m.fitted[owner].Unseen
	}
	if m.counted[owner][i]&as != 0 || m.batch == nil || m.batch.Problem(m.offset+i) != nil {
		return
	}
	m.counted[owner][i] |= as
	m.dirty[owner] = true
	*n++
}

// hot is 1 where the code is the given one, and 0 elsewhere, also where there is none.
func hot(dst, a, code []float64) {
	a, code = a[:len(dst)], code[:len(dst)]
	for i := range dst {
		v := 0.0
		if a[i] == code[i] {
			v = 1
		}
		dst[i] = v
	}
}

// bucket is k where splits[k] <= x < splits[k+1]; the last bucket has its upper end, too.
func bucket(dst, a, splits []float64) {
	last := len(splits) - 1
	for i, x := range a[:len(dst)] {
		switch {
		case x != x:
			dst[i] = nan()
		case x < splits[0] || x > splits[last]:
			dst[i] = notSeen
		default:
			// The number of splits, but the first, that are at most x.
			k := sort.Search(last, func(k int) bool { return splits[k+1] > x })
			dst[i] = float64(min(k, last-1))
		}
	}
}

// within brings x into the range of two numbers, and counts what was outside.
func (m *machine) within(dst, a []float64, l *list) {
	low, high := l.numbers[0], l.numbers[1]
	for i, x := range a[:len(dst)] {
		if !(x >= low && x <= high) {
			m.count(l.owner, i, x == x)
			if x == x {
				x = min(max(x, low), high)
			}
		}
		dst[i] = x
	}
}

// pick is the number of a code.
func (m *machine) pick(dst, a []float64, l *list) {
	for i, c := range a[:len(dst)] {
		dst[i] = nan()
		if c >= 0 && c < float64(len(l.numbers)) {
			numbers := l.numbers
			if m.training && len(l.folds) > 0 {
				numbers = l.folds[foldOf(m.batch.Raw(m.offset+i).Offset, len(l.folds))]
			}
			dst[i] = numbers[int(c)]
		}
	}
}

// foldOf returns the fold of a row of the training data, by its number.
func foldOf(row int64, folds int) int {
	return int(stat.Mix(uint64(row)^0x6f6f665f666f6c64) % uint64(folds))
}
