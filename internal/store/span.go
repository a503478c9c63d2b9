package store

import (
	"bytes"
	"slices"
)

// span is a deleted range of keys, [from, to). The writes to it with a number up to seq are deleted.
type span struct {
	from, to []byte // to nil: an open end
	seq      uint64
}

func (s *span) covers(key []byte) bool {
	return bytes.Compare(s.from, key) <= 0 && (s.to == nil || bytes.Compare(key, s.to) < 0)
}

// spans are deleted ranges in ascending order, none of which overlaps another.
type spans []span

// find returns the span that covers key, or nil.
func (ss spans) find(key []byte) *span {
	if len(ss) == 0 {
		return nil
	}
	i := ss.after(key)
	if i > 0 && ss[i-1].covers(key) {
		return &ss[i-1]
	}
	return nil
}

// after returns the index of the first span that begins after key.
func (ss spans) after(key []byte) int {
	lo, hi := 0, len(ss)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(ss[mid].from, key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// add deletes the range n, which is later than all others and not empty. Of older spans only what lies outside it is
// left. Copy: the old slice is left as it was, for the scans that look at it.
func (ss spans) add(n span, copied bool) spans {
	i := ss.after(n.from)
	var rest [2]span // what is left of older spans before and after n
	parts := make([]span, 0, 3)
	if i > 0 && ss[i-1].covers(n.from) {
		i--
		if rest[0] = ss[i]; !bytes.Equal(rest[0].from, n.from) {
			rest[0].to = n.from
			parts = append(parts, rest[0])
		}
	}
	parts = append(parts, n)
	j := i
	for j < len(ss) && (n.to == nil || bytes.Compare(ss[j].from, n.to) < 0) {
		j++
	}
	if last := j - 1; n.to != nil && last >= i && (ss[last].to == nil || bytes.Compare(ss[last].to, n.to) > 0) {
		rest[1] = ss[last]
		rest[1].from = n.to
		parts = append(parts, rest[1])
	}
	if copied {
		ss = slices.Clone(ss)
	}
	return slices.Replace(ss, i, j, parts...)
}

// emptyRange tells whether there can be no key in [from, to); nil is an open end.
func emptyRange(from, to []byte) bool { return to != nil && bytes.Compare(from, to) >= 0 }
