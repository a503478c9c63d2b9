package assign

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Slots is how many slots there are: the least share of an arm is 0.01 %.
const Slots = 10_000

// MaxArms is how many arms an experiment can have.
const MaxArms = 16

// ErrInvalid means that weights or an allocation cannot be.
var ErrInvalid = errors.New("invalid allocation")

// Hasher finds the slots of keys. It is for one goroutine at a time.
type Hasher struct {
	text []byte // the salt, a zero byte, and room for a key
	salt int
}

// NewHasher returns the hasher of a salt.
func NewHasher(salt string) *Hasher {
	text := append([]byte(salt), 0)
	return &Hasher{text: text, salt: len(text)}
}

// Slot returns the slot of a key, from 0 to Slots-1.
func (h *Hasher) Slot(key []byte) int {
	h.text = append(h.text[:h.salt], key...)
	sum := sha256.Sum256(h.text)
	return int(binary.BigEndian.Uint64(sum[:8]) % Slots) //nolint:gosec // below Slots
}

// Range is the slots from From to To, which is not part of it.
type Range struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Allocation is which slots each arm has, by arm: ranges that rise and do not touch. Every slot has one arm.
type Allocation [][]Range

// New returns the allocation of weights, by arm: of numbers of any scale that are above 0, or 0 for an arm that gets nothing. An error
// matches [ErrInvalid].
func New(weights []float64) (Allocation, error) {
	sizes, err := apportion(weights)
	if err != nil {
		return nil, err
	}
	a, from := make(Allocation, len(sizes)), 0
	for i, n := range sizes {
		if n > 0 {
			a[i] = []Range{{from, from + n}}
		}
		from += n
	}
	return a, nil
}

// Resize returns the allocation of other weights in which as few slots as possible have another arm than in a. from is, by new arm, which
// arm of a it was, -1 being none. An arm that shrinks gives its highest slots. An error matches [ErrInvalid].
func (a Allocation) Resize(weights []float64, from []int) (Allocation, error) {
	sizes, err := apportion(weights)
	if err != nil {
		return nil, err
	}
	if len(from) != len(weights) {
		return nil, fmt.Errorf("%w: %d arms, and where %d came from", ErrInvalid, len(weights), len(from))
	}
	old, err := a.Table()
	if err != nil {
		return nil, err
	}
	was := make([]int, len(a)) // the new arm of each old one, plus 1
	for i, f := range from {
		if f >= len(a) || f >= 0 && was[f] != 0 {
			return nil, fmt.Errorf("%w: two arms come from one, or one from none", ErrInvalid)
		}
		if f >= 0 {
			was[f] = i + 1
		}
	}
	var table [Slots]uint8 // the new arm of each slot, plus 1; 0 is free
	left := slices.Clone(sizes)
	for slot, arm := range old { // the lowest slots stay
		if i := was[arm] - 1; i >= 0 && left[i] > 0 {
			table[slot] = uint8(i + 1) //nolint:gosec // at most MaxArms
			left[i]--
		}
	}
	grows := 0
	for slot := range table {
		if table[slot] != 0 {
			continue
		}
		for left[grows] == 0 {
			grows++
		}
		table[slot] = uint8(grows + 1) //nolint:gosec // at most MaxArms
		left[grows]--
	}
	return fromTable(&table, len(weights)), nil
}

// Table returns the arm of each slot. An error matches [ErrInvalid].
func (a Allocation) Table() (*[Slots]uint8, error) {
	if len(a) == 0 || len(a) > MaxArms {
		return nil, fmt.Errorf("%w: %d arms, from 1 to %d can be", ErrInvalid, len(a), MaxArms)
	}
	t := new([Slots]uint8)
	var known [Slots]bool
	n := 0
	for arm, ranges := range a {
		for _, r := range ranges {
			if r.From < 0 || r.To > Slots || r.From >= r.To {
				return nil, fmt.Errorf("%w: slots from %d to %d", ErrInvalid, r.From, r.To)
			}
			for slot := r.From; slot < r.To; slot++ {
				if known[slot] {
					return nil, fmt.Errorf("%w: slot %d has two arms", ErrInvalid, slot)
				}
				known[slot] = true
				t[slot] = uint8(arm) //nolint:gosec // at most MaxArms
				n++
			}
		}
	}
	if n != Slots {
		return nil, fmt.Errorf("%w: %d of %d slots have an arm", ErrInvalid, n, Slots)
	}
	return t, nil
}

// Sizes returns how many slots each arm has.
func (a Allocation) Sizes() []int {
	sizes := make([]int, len(a))
	for i, ranges := range a {
		for _, r := range ranges {
			sizes[i] += r.To - r.From
		}
	}
	return sizes
}

// Moved returns how many slots have another arm in b, arms having the same numbers in both. An error matches [ErrInvalid].
func (a Allocation) Moved(b Allocation) (int, error) {
	x, err := a.Table()
	if err != nil {
		return 0, err
	}
	y, err := b.Table()
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range x {
		if x[i] != y[i] {
			n++
		}
	}
	return n, nil
}

func fromTable(t *[Slots]uint8, arms int) Allocation {
	a := make(Allocation, arms)
	for from := 0; from < Slots; {
		to := from + 1
		for to < Slots && t[to] == t[from] {
			to++
		}
		arm := t[from] - 1
		a[arm] = append(a[arm], Range{from, to})
		from = to
	}
	return a
}

// apportion returns how many slots each weight gets, by the largest remainder. No weight above 0 gets none.
func apportion(weights []float64) ([]int, error) {
	if len(weights) == 0 || len(weights) > MaxArms {
		return nil, fmt.Errorf("%w: %d arms, from 1 to %d can be", ErrInvalid, len(weights), MaxArms)
	}
	total := 0.0
	for _, w := range weights {
		if math.IsNaN(w) || w < 0 || w > math.MaxFloat64/MaxArms {
			return nil, fmt.Errorf("%w: a weight of %v", ErrInvalid, w)
		}
		total += w
	}
	if total == 0 {
		return nil, fmt.Errorf("%w: no arm has a weight", ErrInvalid)
	}
	sizes, rest, left := make([]int, len(weights)), make([]float64, len(weights)), Slots
	for i, w := range weights {
		exact := float64(w / total * Slots)
		sizes[i] = int(exact)
		rest[i] = exact - float64(sizes[i])
		if w > 0 && sizes[i] == 0 {
			sizes[i], rest[i] = 1, 0
		}
		left -= sizes[i]
	}
	for ; left > 0; left-- {
		i := largest(rest)
		sizes[i]++
		rest[i] = 0
	}
	for ; left < 0; left++ { // tiny weights got more than their share
		most := 0
		for i := range sizes {
			if sizes[i] > sizes[most] {
				most = i
			}
		}
		sizes[most]--
	}
	return sizes, nil
}

func largest(xs []float64) int {
	at := 0
	for i, x := range xs {
		if x > xs[at] {
			at = i
		}
	}
	return at
}
