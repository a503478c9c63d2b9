package batch

import (
	"errors"
	"fmt"
	"math"
)

// Part is one of the three parts of the labelled data.
type Part uint8

// The parts: the trees are grown on the first, their number is chosen on the second, and the third says what the
// model is worth.
const (
	Train Part = iota
	Validation
	Test
	parts
)

// String returns the name of p as a pipeline file spells it.
func (p Part) String() string { return [...]string{"train", "validation", "test"}[p] }

// Split assigns rows to parts at random. Whether a row is in a part depends on the seed and the row's number in the
// file alone, so leaving rows out does not move the others.
type Split struct {
	Train      float64 `json:"train"` // fractions, each above 0, that sum to 1
	Validation float64 `json:"validation"`
	Test       float64 `json:"test"`
	Seed       int64   `json:"seed"`
}

// Validate returns what is wrong with the fractions.
func (s Split) Validate() error {
	if !(s.Train > 0 && s.Validation > 0 && s.Test > 0) {
		return errors.New("every part of the split must be above 0")
	}
	if sum := s.Train + s.Validation + s.Test; math.Abs(sum-1) > 1e-9 {
		return fmt.Errorf("the parts of the split sum to %g: want 1", sum)
	}
	return nil
}

// Part returns the part of row number row, counted from 0.
func (s Split) Part(row int64) Part {
	u := float64(mix(uint64(s.Seed)^mix(uint64(row)))>>11) / (1 << 53)
	switch {
	case u < s.Train:
		return Train
	case u < s.Train+s.Validation:
		return Validation
	default:
		return Test
	}
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014):
// a bijection whose output bits each depend on all input bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
