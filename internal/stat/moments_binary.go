package stat

import (
	"encoding/binary"
	"errors"
	"math"
)

// AppendBinary appends what m holds to b: a few dozen bytes for numbers of one magnitude. The bytes depend on the numbers
// alone, not on the order or the parts in which they came.
//
// They are: the count, as a uvarint, and for any numbers the smallest and the largest, as little-endian float64, the sign of the
// sum (0 or 1), the sum's magnitude in units of 2^-1075 and the sum of the squares in units of 2^-2148. Those two are the number of limbs below the
// first one that is not 0, the number of limbs from there on, and these, as uvarints; limbs of the sum have 32 bits, of the
// squares 64.
func (m *Moments) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(m.n))
	if m.n == 0 {
		return b, nil
	}
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.min))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.max))
	sum, negative := m.sum, byte(0)
	sum.carry()
	if sum.chunks[sumChunks-1] < 0 {
		for i := range sum.chunks {
			sum.chunks[i] = -sum.chunks[i]
		}
		sum.carry()
		negative = 1
	}
	b = append(b, negative)
	var limbs [squareLimbs]uint64
	for i, c := range sum.chunks {
		limbs[i] = uint64(c)
	}
	return appendLimbs(appendLimbs(b, &limbs), &m.squares.limbs), nil
}

func appendLimbs(b []byte, limbs *[squareLimbs]uint64) []byte {
	first, end := 0, len(limbs)
	for first < end && limbs[first] == 0 {
		first++
	}
	for end > first && limbs[end-1] == 0 {
		end--
	}
	b = binary.AppendUvarint(b, uint64(first))
	b = binary.AppendUvarint(b, uint64(end-first))
	for _, l := range limbs[first:end] {
		b = binary.AppendUvarint(b, l)
	}
	return b
}

var errMoments = errors.New("stat: these bytes are no moments")

// DecodeMoments reads what [Moments.AppendBinary] wrote, and returns what follows it.
func DecodeMoments(b []byte) (m Moments, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > math.MaxInt64 {
		return m, nil, errMoments
	}
	b = b[size:]
	if n == 0 {
		return m, b, nil
	}
	if len(b) < 17 || b[16] > 1 {
		return m, nil, errMoments
	}
	m.n = int64(n)
	m.min = math.Float64frombits(binary.LittleEndian.Uint64(b))
	m.max = math.Float64frombits(binary.LittleEndian.Uint64(b[8:]))
	negative := b[16] == 1
	if !(m.min <= m.max) || math.IsInf(m.min, 0) || math.IsInf(m.max, 0) {
		return m, nil, errMoments
	}
	var limbs [squareLimbs]uint64
	if b, err = readLimbs(b[17:], &limbs); err != nil {
		return m, nil, err
	}
	for i, l := range limbs {
		if l > low32 {
			return m, nil, errMoments
		}
		m.sum.chunks[i] = int64(l)
		if negative {
			m.sum.chunks[i] = -int64(l)
		}
	}
	m.sum.carry()
	rest, err = readLimbs(b, &m.squares.limbs)
	if err == nil && m.squares.limbs[squareLimbs-1] >= 1<<62 { // more than 2^63 squares: the next ones would overflow
		err = errMoments
	}
	return m, rest, err
}

func readLimbs(b []byte, limbs *[squareLimbs]uint64) ([]byte, error) {
	first, size := binary.Uvarint(b)
	if size <= 0 || first > squareLimbs {
		return nil, errMoments
	}
	b = b[size:]
	n, size := binary.Uvarint(b)
	if size <= 0 || n > squareLimbs-first {
		return nil, errMoments
	}
	b = b[size:]
	for i := range n {
		l, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errMoments
		}
		limbs[first+i], b = l, b[size:]
	}
	return b, nil
}
