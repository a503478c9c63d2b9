package profile

import "math"

// Role is what a column is to the model.
type Role string

// The roles.
const (
	Field      Role = "field"      // of the records, an input of the model or not
	Feature    Role = "feature"    // computed of the record, an input of the model
	Label      Role = "label"      // what the model predicts
	Prediction Role = "prediction" // of the model
)

// Kind is what the values of a column are.
type Kind string

// The kinds.
const (
	Number Kind = "number"
	Time   Kind = "time"  // in seconds since 1970-01-01 00:00:00 UTC
	Level  Kind = "level" // one of a list of texts
	Text   Kind = "text"  // any text: not binned
)

// Profile describes data column by column.
type Profile struct {
	Rows    uint64   `json:"rows"`
	Columns []Column `json:"columns"`
	Sample  *Sample  `json:"sample,omitempty"` // rows, to know how columns depend on one another; nil: unknown
}

// Column returns the column of a name; false if there is none.
func (p *Profile) Column(name string) (*Column, bool) {
	for i := range p.Columns {
		if p.Columns[i].Name == name {
			return &p.Columns[i], true
		}
	}
	return nil, false
}

// Column describes the values of one column. What is not defined, such as the mean of no number, is NaN.
type Column struct {
	Name    string
	Role    Role
	Kind    Kind
	Rows    uint64 // present or missing
	Missing uint64

	// Of numbers and times. Infinities count in bins, and nowhere else.
	Min, Max, Mean float64
	Deviation      float64 // the population's standard deviation

	// Edges are the upper ends of the bins, ascending: bin i holds the values above Edges[i-1] and up to Edges[i]. The first
	// edge is the smallest value of the training data, the last one the largest; bin len(Edges) holds what is above.
	// Default: none, of levels and texts.
	Edges []float64
	// Levels are the known texts of a column of levels, in the order of the model's codes.
	Levels []string
	// Counts has the number of values in each bin, len(Edges)+1, or of each level, len(Levels)+1: the last is of all
	// other texts. Nil of texts.
	Counts []uint64

	// Distinct estimates how many different values there are, with a standard error of 0.8 %; 0 if it is not known.
	Distinct uint64
	// Top are the texts of a column of texts that came most often, with their counts; nil if too many differ.
	Top []Frequent
}

// Frequent is a text and how often it came.
type Frequent struct {
	Text string `json:"text"`
	N    uint64 `json:"n"`
}

// Present returns how many values there are.
func (c *Column) Present() uint64 { return c.Rows - c.Missing }

// MissingShare returns the share of the rows that have no value; NaN for no rows.
func (c *Column) MissingShare() float64 {
	if c.Rows == 0 {
		return math.NaN()
	}
	return float64(c.Missing) / float64(c.Rows)
}
