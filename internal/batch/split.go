package batch

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/stat"
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
	u := float64(stat.Mix(uint64(s.Seed)^stat.Mix(uint64(row)))>>11) / (1 << 53)
	switch {
	case u < s.Train:
		return Train
	case u < s.Train+s.Validation:
		return Validation
	default:
		return Test
	}
}
