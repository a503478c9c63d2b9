package codec

import (
	"fmt"

	"millrace.dev/record"
)

// Decoder decodes the raw values of a batch into its columns. A Decoder is for one goroutine at a time.
type Decoder interface {
	// Decode decodes Raw(i).Value of every row of b that is not rejected yet. Every field of these rows must
	// be missing, as [record.Batch.Append] leaves them. A row that cannot be decoded is rejected, and all
	// its fields are missing. The batch must have the schema that the decoder was made with.
	Decode(b *record.Batch)
}

// Encoder writes a record with its prediction. It is immutable and safe for concurrent use.
type Encoder interface {
	// Encode appends value with the prediction spliced in to dst and returns the extended slice. value is one
	// that the decoder of the same format has accepted, with the prediction's field reserved.
	Encode(dst, value []byte, prediction float64) []byte
}

// The classes of the problems that a decoder reports.
const (
	ClassInvalidJSON   = "invalid_json"   // not the grammar of JSON; also a byte order mark, NaN and Infinity
	ClassInvalidCSV    = "invalid_csv"    // not the grammar of CSV: stray quotes, more than one row
	ClassInvalidUTF8   = "invalid_utf8"   // bytes that are not UTF-8, or half of a surrogate pair
	ClassDuplicateKey  = "duplicate_key"  // a key that comes twice in one object
	ClassWrongCase     = "wrong_case"     // a key that differs from a declared field in the case of letters
	ClassTrailingBytes = "trailing_bytes" // something after the object
	ClassTooDeep       = "too_deep"       // more than MaxDepth nested values
	ClassTooLarge      = "too_large"      // more bytes than allowed
	ClassNotObject     = "not_object"     // JSON, but not an object
	ClassWrongColumns  = "wrong_columns"  // a row with more or fewer cells than the header
	ClassWrongType     = "wrong_type"     // a value that the type of the field does not allow
	ClassInvalidNumber = "invalid_number" // text that is not a number
	ClassInvalidTime   = "invalid_time"   // text that fits none of the layouts, or no such day or time
	ClassOutOfRange    = "out_of_range"   // a number that a float64 cannot hold, a time beyond the year 9999
	ClassMissingField  = "missing_field"  // a required field that is absent or null
	ClassNoFields      = "no_fields"      // a record without any declared field
	ClassNullValue     = "null_value"     // no value at all (a tombstone)
	ClassFieldExists   = "field_exists"   // the record already has the field that the prediction goes to
)

// Limits.
const (
	// MaxDepth is the largest depth of nested objects and arrays of a JSON record; the record itself is at
	// depth 1.
	MaxDepth = 64
	// DefaultMaxBytes is the default bound on the length of a record.
	DefaultMaxBytes = 1 << 20
	// largestMaxBytes bounds what can be asked for: offsets inside a record fit 32 bits.
	largestMaxBytes = 1 << 30
)

// checkMaxBytes returns the bound that an option asks for.
func checkMaxBytes(n int) (int, error) {
	if n == 0 {
		return DefaultMaxBytes, nil
	}
	if n < 0 || n > largestMaxBytes {
		return 0, fmt.Errorf("codec: bound on the length of a record: %d: want 1 to %d bytes", n, largestMaxBytes)
	}
	return n, nil
}

// TooLarge returns the problem of a record longer than maxBytes, for readers that cannot hold the record.
func TooLarge(maxBytes int) record.Problem {
	return record.Problem{
		Stage: record.StageDecode, Class: ClassTooLarge,
		Reason: fmt.Sprintf("the record is longer than %d bytes", maxBytes),
	}
}

// fault is why a record is rejected.
type fault struct {
	class string
	field string
	at    int // byte offset, or -1 when the fault has no place
	what  string
}

func (f *fault) problem() record.Problem {
	p := record.Problem{Stage: record.StageDecode, Class: f.class, Field: f.field, Reason: f.what}
	if f.at >= 0 {
		p.Reason = fmt.Sprintf("byte %d: %s", f.at, f.what)
	}
	return p
}

// set keeps the first fault of a record.
func (f *fault) set(class, field string, at int, what string) {
	if f.class == "" {
		*f = fault{class, field, at, what}
	}
}
