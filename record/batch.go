package record

import "math"

// Header is a header of a Kafka record.
type Header struct {
	Key   string
	Value []byte
}

// Raw is a record as it came: from a topic, or from a file, where Topic is the file's name, Partition is 0,
// Offset is the record's number from 0, and Key and Headers are nil.
type Raw struct {
	Key, Value []byte // nil is Kafka's null
	Headers    []Header
	Topic      string
	Partition  int32
	Offset     int64
	Timestamp  int64 // milliseconds since 1970-01-01 00:00:00 UTC; -1 where there is none
	// Unreadable says that a record stands there which is not read, since the batch that it is in would become too large.
	// Nothing else is known of it.
	Unreadable bool
}

// The stages of the data path at which a record can fail.
const (
	StageDecode  = "decode"
	StageEnrich  = "enrich"
	StageFeature = "feature"
	StageCheck   = "check"
	StageScore   = "score"
	StageEncode  = "encode"
	StageProcess = "process" // an operator of a stream application
	StageProduce = "produce"
	StageTable   = "table" // a change of a table, which is no record of a stream
)

// Problem says why a record cannot be predicted. Reason never holds a value of the record.
type Problem struct {
	Stage  string // one of the Stage constants
	Class  string // a short snake_case kind, for counting: invalid_json, wrong_type, ...
	Field  string // the field at fault, or ""
	Reason string // one sentence for a person
}

// Batch is a run of records, by column, in the order of their source. A column has the type of its field and
// one value a row. A Batch is for one goroutine at a time; its columns are valid until Reset.
type Batch struct {
	schema   *Schema
	rows     []Raw
	numbers  [][]float64
	codes    [][]int32
	dicts    []*Dict
	times    [][]int64
	texts    []*Texts
	problems []Problem // Stage "" is none
	rejected int
}

// NewBatch returns an empty batch. levels gives the known levels of enum fields by name; a field without
// an entry knows none.
func NewBatch(s *Schema, levels map[string][]string) *Batch {
	n := s.Len()
	b := &Batch{
		schema: s, numbers: make([][]float64, n), codes: make([][]int32, n), dicts: make([]*Dict, n),
		times: make([][]int64, n), texts: make([]*Texts, n),
	}
	for i := range n {
		switch f := s.Field(i); f.Type {
		case Enum:
			b.dicts[i] = NewDict(levels[f.Name])
		case String:
			b.texts[i] = &Texts{}
		default:
		}
	}
	return b
}

// Schema returns the schema of the batch.
func (b *Batch) Schema() *Schema { return b.schema }

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.rows) }

// Reset removes every row, and the enum levels that are not known ones, and keeps the memory.
func (b *Batch) Reset() {
	clear(b.rows) // let go of the values' memory
	b.rows, b.problems, b.rejected = b.rows[:0], b.problems[:0], 0
	for i := range b.schema.Len() {
		b.numbers[i], b.codes[i], b.times[i] = b.numbers[i][:0], b.codes[i][:0], b.times[i][:0]
		if d := b.dicts[i]; d != nil {
			d.Reset()
		}
		if t := b.texts[i]; t != nil {
			t.Reset()
		}
	}
}

// Append adds a row in which every field is missing, and returns its number. The batch keeps r's slices.
func (b *Batch) Append(r Raw) int {
	b.rows = append(b.rows, r)
	b.problems = append(b.problems, Problem{})
	for i := range b.schema.Len() {
		switch b.schema.fields[i].Type {
		case Numeric:
			b.numbers[i] = append(b.numbers[i], math.NaN())
		case Enum:
			b.codes[i] = append(b.codes[i], MissingCode)
		case Time:
			b.times[i] = append(b.times[i], MissingTime)
		case String:
			b.texts[i].Append()
		}
	}
	return len(b.rows) - 1
}

// Raw returns row i as it came.
func (b *Batch) Raw(i int) *Raw { return &b.rows[i] }

// Numbers returns the column of numeric field f: one float64 a row.
func (b *Batch) Numbers(f int) []float64 { return b.numbers[f] }

// Codes returns the column of enum field f: one code of [Batch.Dict] a row.
func (b *Batch) Codes(f int) []int32 { return b.codes[f] }

// Dict returns the dictionary of enum field f.
func (b *Batch) Dict(f int) *Dict { return b.dicts[f] }

// Times returns the column of time field f: microseconds since 1970-01-01 00:00:00 UTC, one a row.
func (b *Batch) Times(f int) []int64 { return b.times[f] }

// Texts returns the column of string field f.
func (b *Batch) Texts(f int) *Texts { return b.texts[f] }

// ClearRow sets every field of row i to missing.
func (b *Batch) ClearRow(i int) {
	for f := range b.schema.Len() {
		switch b.schema.fields[f].Type {
		case Numeric:
			b.numbers[f][i] = math.NaN()
		case Enum:
			b.codes[f][i] = MissingCode
		case Time:
			b.times[f][i] = MissingTime
		case String:
			b.texts[f].size[i] = -1
		}
	}
}

// Reject marks row i as one that gets no prediction. The first problem of a row stays.
func (b *Batch) Reject(i int, p Problem) {
	if b.problems[i].Stage == "" {
		b.problems[i] = p
		b.rejected++
	}
}

// Problem returns why row i was rejected, or nil if it was not.
func (b *Batch) Problem(i int) *Problem {
	if b.problems[i].Stage == "" {
		return nil
	}
	return &b.problems[i]
}

// Rejected returns the number of rejected rows.
func (b *Batch) Rejected() int { return b.rejected }
