package profile

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// SampleRows is how many rows a [Sample] is to keep at most: 8 KiB for each column.
const SampleRows = 4096

// NoBin stands in a [Sample] for a value that is missing, or of a column without bins.
const NoBin = math.MaxUint16

// Sample has rows of the data that a profile was made of, drawn at random without regard to what is in them. Of a row it
// has the bin of each value and nothing else. A [Checker] draws windows without drift from it: that is how it knows how
// often columns which depend on one another alarm together. Without a sample it takes columns as independent, and may
// then alarm more seldom than declared.
type Sample struct {
	Rows int `json:"rows"`
	// Bins has for each row the bins of all columns, in the profile's order: indices of the column's Counts, or [NoBin].
	Bins []uint16 `json:"bins"`
}

// validate checks a sample against the columns whose rows it has.
func (s *Sample) validate(columns []Column) error {
	if s.Rows <= 0 || s.Rows > SampleRows || s.Rows*len(columns) != len(s.Bins) {
		return fmt.Errorf("the sample has %d bins for %d rows of %d columns; it can have %d rows", len(s.Bins), s.Rows, len(columns), SampleRows)
	}
	for i, b := range s.Bins {
		c := &columns[i%len(columns)]
		if b != NoBin && int(b) >= len(c.Counts) {
			return fmt.Errorf("the sample has bin %d of %s, which has %d", b, c.Name, len(c.Counts))
		}
	}
	return nil
}

// independent returns a sample in which each column is as in the reference, and independent of all others.
func independent(columns []Column) *Sample {
	s := &Sample{Rows: SampleRows, Bins: make([]uint16, SampleRows*len(columns))}
	draw := rand.New(rand.NewPCG(seed, uint64(len(columns)))) //nolint:gosec // not a secret
	for k := range columns {
		for row, i := range draw.Perm(s.Rows) {
			s.Bins[row*len(columns)+k] = columns[k].binAt((float64(i) + 0.5) / float64(s.Rows))
		}
	}
	return s
}

// binAt returns the bin at a place, from 0 to 1, among all rows, the missing ones last.
func (c *Column) binAt(place float64) uint16 {
	rest := place * (sum(c.Counts) + float64(c.Missing))
	for i, n := range c.Counts {
		if rest -= float64(n); rest < 0 {
			return uint16(i) //nolint:gosec // fewer bins than that
		}
	}
	return NoBin
}
