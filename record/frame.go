package record

// Column is one input of a model. Numeric inputs fill Numbers, with NaN for missing; enum inputs fill Codes,
// which are positions in Levels, with [MissingCode] for missing and for levels that training has not seen.
type Column struct {
	Name    string
	Type    Type // Numeric or Enum
	Numbers []float64
	Codes   []int32
	Levels  []string // sorted by bytes; nil for a numeric input
}

// Frame holds the inputs of a model by column: every column has Rows values.
type Frame struct {
	Rows    int
	Columns []Column
}
