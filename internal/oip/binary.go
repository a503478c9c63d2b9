package oip

import (
	"encoding/binary"
	"math"
	"strconv"
)

// binarySize returns the bytes of the tensor's elements in binary form.
func (t *Tensor) binarySize() int {
	if t.Datatype != Bytes {
		return t.Len() * t.Datatype.Size()
	}
	size := 0
	for _, text := range t.Texts {
		size += 4 + len(text)
	}
	return size
}

// appendBinary appends the tensor's elements in binary form: little-endian, row by row; before each element of BYTES
// its length in four bytes.
func (t *Tensor) appendBinary(dst []byte) ([]byte, error) {
	switch t.Datatype.kind() {
	case bools:
		for _, v := range t.Bools {
			if v {
				dst = append(dst, 1)
			} else {
				dst = append(dst, 0)
			}
		}
	case uints:
		for i, v := range t.Uints {
			if !fitsUint(v, t.Datatype.Size()) {
				return nil, t.elementFault(i, "does not fit in "+string(t.Datatype))
			}
			dst = appendWord(dst, v, t.Datatype.Size())
		}
	case ints:
		for i, v := range t.Ints {
			if !fitsInt(v, t.Datatype.Size()) {
				return nil, t.elementFault(i, "does not fit in "+string(t.Datatype))
			}
			dst = appendWord(dst, uint64(v), t.Datatype.Size())
		}
	case floats:
		dst = appendFloats(dst, t.Floats, t.Datatype)
	case texts:
		for i, text := range t.Texts {
			if len(text) > math.MaxUint32 {
				return nil, t.elementFault(i, "is too long")
			}
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
			dst = append(dst, text...)
		}
	default:
		return nil, t.fault("the datatype is not known")
	}
	return dst, nil
}

func appendFloats(dst []byte, values []float64, d Datatype) []byte {
	switch d {
	case FP64:
		for _, v := range values {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	case FP32:
		for _, v := range values {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v)))
		}
	default:
		for _, v := range values {
			dst = binary.LittleEndian.AppendUint16(dst, toHalf(v))
		}
	}
	return dst
}

func appendWord(dst []byte, v uint64, size int) []byte {
	switch size {
	case 1:
		return append(dst, byte(v))
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(v))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	default:
		return binary.LittleEndian.AppendUint64(dst, v)
	}
}

func word(raw []byte, size int) uint64 {
	switch size {
	case 1:
		return uint64(raw[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(raw))
	case 4:
		return uint64(binary.LittleEndian.Uint32(raw))
	default:
		return binary.LittleEndian.Uint64(raw)
	}
}

func fitsUint(v uint64, size int) bool { return size == 8 || v>>(8*size) == 0 }

func fitsInt(v int64, size int) bool { return v<<(64-8*size)>>(64-8*size) == v }

// SetBinary sets the elements of a tensor, whose datatype and shape are set, from their binary form. Texts are parts
// of raw.
func (t *Tensor) SetBinary(raw []byte) error {
	n, err := Elements(t.Shape)
	if err != nil {
		return t.fault("%s", err.Error())
	}
	return t.setBinary(raw, n, &slabs{})
}

// setBinary is SetBinary for a shape that was counted.
func (t *Tensor) setBinary(raw []byte, n int, memory *slabs) error {
	t.Binary = true
	if t.Datatype == Bytes {
		return t.setTexts(raw, n, memory)
	}
	size := t.Datatype.Size()
	if size == 0 {
		return t.fault("the datatype is not known")
	}
	if len(raw)%size != 0 || len(raw)/size != n {
		return t.fault("the shape has %d elements of %d bytes, and the binary data %d bytes", n, size, len(raw))
	}
	switch t.Datatype.kind() {
	case bools:
		t.Bools = memory.bools.take(n)
		for i, v := range raw {
			if v > 1 {
				return t.elementFault(i, "is neither 0 nor 1")
			}
			t.Bools[i] = v == 1
		}
	case uints:
		t.Uints = memory.uints.take(n)
		for i := range t.Uints {
			t.Uints[i] = word(raw[i*size:], size)
		}
	case ints:
		t.Ints = memory.ints.take(n)
		shift := 64 - 8*size
		for i := range t.Ints {
			t.Ints[i] = int64(word(raw[i*size:], size)<<shift) >> shift
		}
	default:
		t.Floats = memory.floats.take(n)
		for i := range t.Floats {
			t.Floats[i] = readFloat(raw[i*size:], size)
		}
	}
	return nil
}

func readFloat(raw []byte, size int) float64 {
	w := word(raw, size)
	switch size {
	case 2:
		return fromHalf(uint16(w))
	case 4:
		return float64(math.Float32frombits(uint32(w)))
	default:
		return math.Float64frombits(w)
	}
}

func (t *Tensor) setTexts(raw []byte, n int, memory *slabs) error {
	if n > len(raw)/4 {
		return t.fault("the shape has %d elements of at least 4 bytes, and the binary data %d bytes", n, len(raw))
	}
	t.Texts = memory.texts.take(n)
	for i := range t.Texts {
		if len(raw) < 4 {
			return t.elementFault(i, "is missing in the binary data")
		}
		size := binary.LittleEndian.Uint32(raw)
		if raw = raw[4:]; uint64(size) > uint64(len(raw)) {
			return t.elementFault(i, "is longer than what is left of the binary data")
		}
		t.Texts[i], raw = raw[:size:size], raw[size:]
	}
	if len(raw) > 0 {
		return t.fault("the binary data has %d bytes more than the %d elements of the shape", len(raw), n)
	}
	return nil
}

// fault returns the error of something that is wrong with the tensor.
func (t *Tensor) fault(format string, args ...any) *Error {
	return invalid("tensor %s: "+format, append([]any{quoted(t.Name)}, args...)...)
}

func (t *Tensor) elementFault(i int, what string) *Error {
	return t.fault("element %d %s", i, what)
}

// quoted returns the name of a tensor as errors show it: names come from outside, and may be long.
func quoted(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "..."
	}
	return strconv.Quote(name)
}

// fromHalf returns the number of a float of 16 bits (IEEE 754 binary16).
func fromHalf(h uint16) float64 {
	sign, exponent, fraction := uint64(h>>15)<<63, int(h>>10&0x1F), uint64(h&0x3FF)
	switch exponent {
	case 0: // 0, or subnormal: fraction/2^24
		return math.Copysign(float64(fraction)/(1<<24), float64(1-2*int(h>>15)))
	case 0x1F:
		return math.Float64frombits(sign | 0x7FF<<52 | fraction<<42)
	default:
		return math.Float64frombits(sign | uint64(exponent-15+1023)<<52 | fraction<<42)
	}
}

// toHalf returns the nearest float of 16 bits, of two the even one; what is too large becomes an infinity.
func toHalf(v float64) uint16 {
	sign := uint16(math.Float64bits(v) >> 48 & 0x8000)
	a := math.Abs(v)
	switch {
	case math.IsNaN(v):
		return sign | 0x7E00
	case a >= 65520: // half-way between the largest and the next one, which is none
		return sign | 0x7C00
	case a < 1.0/(1<<14): // subnormal: in units of 2^-24
		return sign | uint16(math.RoundToEven(a*(1<<24)))
	}
	fraction, exponent := math.Frexp(a)                     // fraction in [0.5, 1)
	units := uint16(math.RoundToEven(fraction * (1 << 11))) // 1024 to 2048: the carry goes into the exponent
	return sign | uint16((exponent+13)<<10) + units
}
