package oip

import (
	"math"
)

// Datatype is the type of a tensor's elements, as the protocol writes it.
type Datatype string

// The datatypes.
const (
	Bool   Datatype = "BOOL"
	Uint8  Datatype = "UINT8"
	Uint16 Datatype = "UINT16"
	Uint32 Datatype = "UINT32"
	Uint64 Datatype = "UINT64"
	Int8   Datatype = "INT8"
	Int16  Datatype = "INT16"
	Int32  Datatype = "INT32"
	Int64  Datatype = "INT64"
	FP16   Datatype = "FP16"
	FP32   Datatype = "FP32"
	FP64   Datatype = "FP64"
	Bytes  Datatype = "BYTES" // texts, or any bytes
)

// Datatypes returns all datatypes that tensors can have here. BF16, which some servers know, is not one of them.
func Datatypes() []Datatype {
	return []Datatype{Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, FP16, FP32, FP64, Bytes}
}

// Size returns the bytes of an element in binary form, and 0 for Bytes, whose elements have no one size, and for what
// is no datatype.
func (d Datatype) Size() int {
	switch d {
	case Bool, Uint8, Int8:
		return 1
	case Uint16, Int16, FP16:
		return 2
	case Uint32, Int32, FP32:
		return 4
	case Uint64, Int64, FP64:
		return 8
	default:
		return 0
	}
}

// kind is which of a tensor's slices holds the elements.
type kind uint8

const (
	noKind kind = iota
	bools
	uints
	ints
	floats
	texts
)

func (d Datatype) kind() kind {
	switch d {
	case Bool:
		return bools
	case Uint8, Uint16, Uint32, Uint64:
		return uints
	case Int8, Int16, Int32, Int64:
		return ints
	case FP16, FP32, FP64:
		return floats
	case Bytes:
		return texts
	default:
		return noKind
	}
}

// Parameters are named values that go with a request, a tensor or an answer. A value is a bool, an int64, a uint64, a
// float64 or a string.
type Parameters map[string]any

// Tensor is a named array. Of the slices of elements the one of its datatype is used, which has as many elements as the
// shape says, in row-major order.
type Tensor struct {
	Name       string
	Datatype   Datatype
	Shape      []int64
	Parameters Parameters // without those of the extensions, which have fields of their own

	Bools  []bool    // BOOL
	Uints  []uint64  // UINT8 to UINT64
	Ints   []int64   // INT8 to INT64
	Floats []float64 // FP16 to FP64. null in JSON is NaN, and NaN is written as null there
	Texts  [][]byte  // BYTES. null in JSON is nil, and nil is written as null there; elsewhere nil is empty

	// Binary says that the elements came, or are to be sent, as bytes behind the JSON: the binary tensor extension.
	Binary bool
}

// Len returns the number of elements that the tensor holds.
func (t *Tensor) Len() int {
	switch t.Datatype.kind() {
	case bools:
		return len(t.Bools)
	case uints:
		return len(t.Uints)
	case ints:
		return len(t.Ints)
	case floats:
		return len(t.Floats)
	case texts:
		return len(t.Texts)
	default:
		return 0
	}
}

// Elements returns the number of elements that a shape says: the product of its dimensions, and 1 for no dimensions.
// It is an error if a dimension is negative or the number does not fit in an int.
func Elements(shape []int64) (int, error) {
	n, zero := int64(1), false
	for i, d := range shape {
		if d < 0 {
			return 0, invalid("dimension %d of the shape is negative", i)
		}
		if d == 0 {
			zero = true
			continue
		}
		if n > math.MaxInt/d {
			return 0, invalid("the shape has more elements than can be counted")
		}
		n *= d
	}
	if zero { // and yet the others must not overflow: who leaves the zero out would count wrong
		return 0, nil
	}
	return int(n), nil
}

// Limits bound what is read. A field that is 0 has its default.
type Limits struct {
	Elements int // of all tensors together. Default: 1,048,576
	Tensors  int // of a request or an answer, each of inputs and outputs. Default: 8192
}

// maxRank is the largest number of dimensions.
const maxRank = 8

func (l Limits) withDefaults() Limits {
	if l.Elements <= 0 {
		l.Elements = 1 << 20
	}
	if l.Tensors <= 0 {
		l.Tensors = 8192
	}
	return l
}
