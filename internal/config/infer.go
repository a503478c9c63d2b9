package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/record"
)

// The rules of inference.
const (
	maxLevels       = 1000 // of an enum
	rowsPerLevel    = 10   // a text is an enum if it has at least as many rows for each level
	maxCodes        = 5    // levels of a number that is an enum
	maxCode         = 9    // its largest value
	rowsPerCode     = 20   // the rows it needs for each level
	maxLevelBytes   = 200
	maxBadLabels    = 0.05 // share of labels of 0 or below that are taken for faults
	skewedLabel     = 1.0  // the skewness from which on the logarithm is suggested
	skewedLabelRows = 20
)

// InferOptions says how a CSV file is looked at.
type InferOptions struct {
	Label   string // the column to predict
	Comma   byte   // between the cells; default: a comma
	MaxRows int    // how many rows are read; default: all
}

// Inferred is what Infer found in a CSV file.
type Inferred struct {
	Rows    int  // that were read
	Skipped int  // that were no CSV record of the header's length, or too long
	All     bool // whether the file ended there
	Columns []InferredColumn
	Label   string
	Where   string // suggested for train.where, or ""
	Bad     int    // labels of 0 or below
	Log     bool   // whether label_transform log is suggested
	Skew    float64
}

// InferredColumn is what Infer found of one column, in the order of the file.
type InferredColumn struct {
	Name    string
	Type    record.Type
	Missing int    // empty cells
	Seen    string // what its values are, for a comment
	Ignored string // why it is no input of the model, or ""
}

// ErrNoInput is the error of Infer for a file in which no column but the label says anything.
var ErrNoInput = errors.New("config: infer: the file has no column that could be an input of the model")

// Infer reads a CSV file with a header, in memory that does not grow with the file, and decides what each column is:
//
//   - A column whose every cell is a number is numeric. Cells that are empty count for nothing, here and below; in numbers and
//     times so do NA, N/A, NaN, nan, null and NULL, as in training.
//   - But whole numbers from 0 to 9, written without a decimal point, of which there are at most 5 different ones and 20 rows
//     for each, are an enum: they are codes more often than counts. So are the numbers of a column whose name ends in id, by
//     the rule for texts.
//   - A column whose every cell is a time in one of [record.DefaultLayouts] is a time.
//     In another common layout it is a text, and what is seen of it names the layouts that it may have.
//   - A text with at most 1000 different values, and 10 rows for each, is an enum; any other is a string.
//
// Strings and times are ignored as inputs, and so are columns with one value only, columns without any, and identifiers:
// whole numbers that grow by 1 from row to row, or whose column's name ends in id and that are no enum. The label is always
// numeric; where at most one row in 20 has a label of 0 or below, the rows with labels above 0 are suggested, and where these
// are skewed to the right (skewness above 1), their logarithm is.
func Infer(r io.Reader, o InferOptions) (*Inferred, error) {
	in := &Inferred{Label: o.Label}
	profiles, err := in.read(r, o)
	if err != nil {
		return nil, fmt.Errorf("config: infer: %w", err)
	}
	if err := in.readable(profiles, o); err != nil {
		return nil, fmt.Errorf("config: infer: %w", err)
	}
	var label *profile
	for _, p := range profiles {
		if p.name == o.Label {
			label = p
		}
	}
	if label == nil {
		names := make([]string, len(profiles))
		for i, p := range profiles {
			names[i] = p.name
		}
		return nil, fmt.Errorf("config: infer: the file has no column %s: %s", quote(o.Label), meant(o.Label, names, "its columns are "+strings.Join(names, ", ")))
	}
	if err := label.usable(); err != nil {
		return nil, fmt.Errorf("config: infer: the label %s %w", quote(o.Label), err)
	}
	for _, p := range profiles {
		in.Columns = append(in.Columns, p.column(p == label))
	}
	if !slices.ContainsFunc(in.Columns, func(c InferredColumn) bool { return c.Ignored == "" && c.Name != o.Label }) {
		return nil, ErrNoInput
	}
	return in, in.suggest(label)
}

// readable tells why there is nothing to infer from: no row, or cells that something else than a comma separates.
func (in *Inferred) readable(profiles []*profile, o InferOptions) error {
	if name := profiles[0].name; len(profiles) == 1 && o.Comma == 0 {
		for _, other := range []struct{ mark, name string }{{";", "semicolons"}, {"\t", "tabs"}, {"|", "bars"}} {
			if strings.Contains(name, other.mark) {
				return fmt.Errorf("the cells seem to be separated by %s: write the file with commas between them, and points in its numbers", other.name)
			}
		}
	}
	switch {
	case in.Rows > 0:
		return nil
	case in.Skipped > 0:
		return fmt.Errorf("the file has a header of %s, and no row like it", plural(len(profiles), "column"))
	default:
		return errors.New("the file has a header and no row")
	}
}

// usable tells why the column cannot be a label.
func (p *profile) usable() error {
	switch {
	case p.values() == 0:
		return errors.New("has no value")
	case !p.numbers:
		hint := ""
		if p.levels(len(p.distinct), p.values()) && len(p.distinct) == 2 {
			hint = "; write its two levels as 0 and 1, and the model predicts the share of 1"
		}
		return fmt.Errorf("is not numeric: row %d holds something else%s", p.notNumber, hint)
	case p.least == p.most:
		return errors.New("has the same value in every row")
	}
	return nil
}

// suggest fills in train.where and the transform of the label.
func (in *Inferred) suggest(label *profile) error {
	in.Bad = label.values() - label.positive.n
	if in.Bad > 0 && float64(in.Bad) <= maxBadLabels*float64(label.values()) {
		fields := make([]record.Field, len(in.Columns))
		for i, c := range in.Columns {
			fields[i] = record.Field{Name: c.Name, Type: c.Type}
		}
		schema, err := record.NewSchema(fields...)
		if err != nil {
			return fmt.Errorf("config: infer: %w", err)
		}
		where := inExpression(label.name) + " > 0"
		if _, err := feature.CompilePredicate(schema, where); err == nil { // the name may be a word of the language
			in.Where = where
		}
	}
	in.Skew = label.positive.skewness()
	in.Log = (in.Bad == 0 || in.Where != "") && label.positive.n >= skewedLabelRows && in.Skew > skewedLabel
	return nil
}

// inferBatch is how many rows are looked at at once.
const inferBatch = 256

// read makes a profile of each column. Every cell is read as text, by the reader and decoder that training uses.
func (in *Inferred) read(r io.Reader, o InferOptions) ([]*profile, error) {
	reader, err := codec.NewCSVReader(r, codec.CSVReaderOptions{Comma: o.Comma})
	if err != nil {
		return nil, err
	}
	header := reader.Header()
	fields := make([]record.Field, len(header))
	profiles := make([]*profile, len(header))
	for i, name := range header {
		fields[i] = record.Field{Name: name, Type: record.String}
		profiles[i] = newProfile(name)
	}
	schema, err := record.NewSchema(fields...)
	if err != nil {
		return nil, err
	}
	decoder, err := codec.NewCSV(schema, header, codec.CSVOptions{Comma: o.Comma})
	if err != nil {
		return nil, err
	}
	batch := record.NewBatch(schema, nil)
	for !in.All && (o.MaxRows == 0 || in.Rows+in.Skipped < o.MaxRows) {
		batch.Reset()
		if err := in.fill(batch, reader, o.MaxRows); err != nil {
			return nil, err
		}
		decoder.Decode(batch)
		for i := range batch.Len() {
			if batch.Problem(i) != nil {
				in.Skipped++
				continue
			}
			in.Rows++
			for f, p := range profiles {
				texts := batch.Texts(f)
				p.add(texts.View(i), texts.Missing(i))
			}
		}
	}
	return profiles, nil
}

// fill appends rows to the batch until it is full or the file, or maxRows, is reached.
func (in *Inferred) fill(batch *record.Batch, reader *codec.CSVReader, maxRows int) error {
	for batch.Len() < inferBatch && (maxRows == 0 || in.Rows+in.Skipped+batch.Len() < maxRows) {
		raw, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			in.All = true
			return nil
		case errors.Is(err, codec.ErrTooLarge):
			in.Skipped++
		case err != nil:
			return err
		default:
			batch.Append(record.Raw{Value: raw})
		}
	}
	return nil
}
