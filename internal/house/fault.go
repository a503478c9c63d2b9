package house

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// Fault is one way in which a record of a stream can be broken.
type Fault uint8

// The faults. A comment says what becomes of a record by the policies of the data path, if [RequiredField] is
// declared required, and the other fields are declared and not required.
const (
	Intact          Fault = iota // predicted
	InvalidJSON                  // dead letter: a colon is missing
	Truncated                    // dead letter: the end is missing
	WrongType                    // dead letter: an object in place of a number
	MissingRequired              // dead letter: no RequiredField
	MissingOptional              // predicted: no OptionalField
	UnknownLevel                 // predicted: a city that no training data has
	NullValue                    // dead letter: the value of the record is null, a tombstone
	InvalidUTF8                  // dead letter: a letter in Latin-1
	HugeNumber                   // dead letter: a number that is beyond a float64
	WrongCaseKey                 // dead letter: a field whose name has other capitals
	DuplicateKey                 // dead letter: a field that is there twice
	faultEnd
)

// The fields of which [MissingRequired] and [MissingOptional] rob a record.
const (
	RequiredField = "sqft_living"
	OptionalField = "sqft_lot"
)

// Faults returns every fault but [Intact].
func Faults() []Fault {
	f := make([]Fault, 0, faultEnd-1)
	for k := Intact + 1; k < faultEnd; k++ {
		f = append(f, k)
	}
	return f
}

// String returns the name of f in snake case.
func (f Fault) String() string {
	switch f {
	case Intact:
		return "intact"
	case InvalidJSON:
		return "invalid_json"
	case Truncated:
		return "truncated"
	case WrongType:
		return "wrong_type"
	case MissingRequired:
		return "missing_required"
	case MissingOptional:
		return "missing_optional"
	case UnknownLevel:
		return "unknown_level"
	case NullValue:
		return "null_value"
	case InvalidUTF8:
		return "invalid_utf8"
	case HugeNumber:
		return "huge_number"
	case WrongCaseKey:
		return "wrong_case_key"
	case DuplicateKey:
		return "duplicate_key"
	default:
		return fmt.Sprintf("Fault(%d)", uint8(f))
	}
}

// Class returns the class of the dead letter that a record with fault f becomes, or "" if it is predicted
// all the same. The stage of each such dead letter is decode.
func (f Fault) Class() string {
	switch f {
	case InvalidJSON, Truncated:
		return "invalid_json"
	case WrongType:
		return "wrong_type"
	case MissingRequired:
		return "missing_field"
	case NullValue:
		return "null_value"
	case InvalidUTF8:
		return "invalid_utf8"
	case HugeNumber:
		return "out_of_range"
	case WrongCaseKey:
		return "wrong_case"
	case DuplicateKey:
		return "duplicate_key"
	case Intact, MissingOptional, UnknownLevel:
		return ""
	default:
		return ""
	}
}

// Break returns a copy of listing, which [Sale.AppendListing] or [Sale.AppendJSON] wrote, with fault f in it;
// nil for [NullValue].
func (f Fault) Break(listing []byte) []byte {
	b := slices.Clone(listing)
	switch f {
	case InvalidJSON:
		return bytes.Replace(b, []byte(`"floors":`), []byte(`"floors"`), 1)
	case Truncated:
		return b[:len(b)*2/3]
	case WrongType:
		return setField(b, RequiredField, `{"value": 1340}`)
	case MissingRequired:
		return dropField(b, RequiredField)
	case MissingOptional:
		return dropField(b, OptionalField)
	case UnknownLevel:
		return setField(b, "city", `"Atlantis"`)
	case NullValue:
		return nil
	case InvalidUTF8:
		return setField(b, "street", "\"12 Ch\xe2teau Way N\"")
	case HugeNumber:
		return setField(b, OptionalField, "1e400")
	case WrongCaseKey:
		return bytes.Replace(b, []byte(`"sqft_living"`), []byte(`"Sqft_Living"`), 1)
	case DuplicateKey:
		return append(b[:len(b)-1], `, "sqft_living": 1}`...)
	case Intact:
		return b
	default:
		return b
	}
}

// field returns where in listing the name and the value of a field stand. No text of a listing has a comma.
func field(listing []byte, name string) (start, value, end int) {
	start = bytes.Index(listing, []byte(`"`+name+`": `))
	value = start + len(name) + len(`"": `)
	return start, value, value + bytes.IndexAny(listing[value:], ",}")
}

func setField(listing []byte, name, text string) []byte {
	_, value, end := field(listing, name)
	return slices.Replace(listing, value, end, []byte(text)...)
}

// dropField removes a field that is not the last one.
func dropField(listing []byte, name string) []byte {
	start, _, end := field(listing, name)
	return slices.Delete(listing, start, end+len(", "))
}

// Breaker chooses the records of a stream that are to be broken. It does not change and is safe for concurrent
// use.
type Breaker struct {
	seed  uint64
	every int64 // 0: none
}

// NewBreaker returns a breaker of a share of a stream, from 0, which breaks nothing, to 0.5.
func NewBreaker(seed uint64, share float64) (*Breaker, error) {
	if !(share >= 0 && share <= 0.5) {
		return nil, fmt.Errorf("house: a share of %v to break: want 0 to 0.5", share)
	}
	b := &Breaker{seed: seed}
	if share > 0 {
		b.every = int64(math.Round(min(1/share, 1e15)))
	}
	return b, nil
}

// Fault returns the fault of record i of the stream. One of each 1/share records in a row has a fault, at a
// place that the seed chooses, and the faults take turns: a stream of 11/share records shows each of them.
func (b *Breaker) Fault(i int64) Fault {
	if b.every == 0 {
		return Intact
	}
	run := i / b.every
	if uint64(i%b.every) != mix(b.seed+golden*uint64(run+1))%uint64(b.every) {
		return Intact
	}
	return Intact + 1 + Fault(run%int64(faultEnd-1))
}
