package source

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The encodings of Parquet, https://parquet.apache.org/docs/file-format/data-pages/encodings. Each function takes the
// bytes of a page and the number of values that there must be, and makes room for that many and no more; a page says
// itself how many that is, and its reader has bounded it. Bytes behind the last value are none: some writers pad pages.

var (
	errShort = errors.New("a page has fewer values than it says")
	errLong  = errors.New("a page has more values than it can have")
)

// hybrid decodes n values of runs and bit-packed groups, of width bits each, into dst, which it returns.
func hybrid(dst []uint32, b []byte, width, n int) ([]uint32, error) {
	if width > 32 {
		return dst, fmt.Errorf("a page has numbers of %d bits where 32 are possible", width)
	}
	if width == 0 { // all are 0, and not every writer says how many
		return append(dst, make([]uint32, n)...), nil
	}
	bytes := (width + 7) / 8
	for n > 0 {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return dst, errShort
		}
		b = b[k:]
		if head&1 == 0 { // a run
			run := min(head>>1, uint64(n))
			if len(b) < bytes || run == 0 {
				return dst, errShort
			}
			var value uint32
			for i := range bytes {
				value |= uint32(b[i]) << (8 * i)
			}
			b = b[bytes:]
			for range run {
				dst = append(dst, value)
			}
			n -= int(run)
			continue
		}
		groups := head >> 1 // of eight values, that is of width bytes
		if groups == 0 || groups > 1<<28 {
			return dst, errShort
		}
		count := int(min(groups*8, uint64(n)))
		size := (count*width + 7) / 8
		if size > len(b) {
			return dst, errShort
		}
		dst = unpack(dst, b, width, count)
		b = b[min(groups*uint64(width), uint64(len(b))):] // the last group may be cut short
		n -= count
	}
	return dst, nil
}

// unpack appends n values of width bits, 32 at most, the lowest bits first.
func unpack(dst []uint32, b []byte, width, n int) []uint32 {
	mask := uint64(1)<<width - 1
	var window uint64
	bits := 0
	for range n {
		for bits < width {
			window |= uint64(b[0]) << bits
			b = b[1:]
			bits += 8
		}
		dst = append(dst, uint32(window&mask))
		window >>= width
		bits -= width
	}
	return dst
}

// deltas decodes n integers of DELTA_BINARY_PACKED, and returns what follows them.
func deltas(b []byte, n int) (values []int64, rest []byte, err error) {
	var head [3]uint64 // the values of a block, its miniblocks, and the number of values
	for i := range head {
		u, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, nil, errShort
		}
		head[i], b = u, b[k:]
	}
	last, k := binary.Varint(b)
	if k <= 0 {
		return nil, nil, errShort
	}
	b = b[k:]
	block, minis, total := head[0], head[1], head[2]
	if total != uint64(n) {
		return nil, nil, fmt.Errorf("a page of deltas has %d values, where there should be %d", total, n)
	}
	const largest = 1 << 20
	if block == 0 || block > largest || minis == 0 || minis > block || block%minis != 0 || block/minis%8 != 0 {
		return nil, nil, fmt.Errorf("a page of deltas has blocks of %d values in %d parts", block, minis)
	}
	if total == 0 {
		return nil, b, nil
	}
	values = append(make([]int64, 0, total), last)
	for left := int(total) - 1; left > 0; {
		least, k := binary.Varint(b)
		if k <= 0 || uint64(len(b)-k) < minis {
			return nil, nil, errShort
		}
		widths := b[k : k+int(minis)]
		b = b[k+int(minis):]
		for _, width := range widths {
			if left == 0 {
				break // the rest of the last block is not there
			}
			each := int(block / minis)
			count, size := min(each, left), each/8*int(width)
			if width > 64 || (count*int(width)+7)/8 > len(b) {
				return nil, nil, errShort
			}
			values = addDeltas(values, b, int(width), count, least)
			b = b[min(size, len(b)):]
			left -= count
		}
	}
	return values, b, nil
}

// addDeltas appends n values, each the one before it plus least plus a number of width bits.
func addDeltas(values []int64, b []byte, width, n int, least int64) []int64 {
	last := values[len(values)-1]
	at := 0 // the bit at which the next number begins
	for range n {
		var delta uint64
		for have := 0; have < width; {
			free := 8 - at%8
			take := min(free, width-have)
			delta |= uint64(b[at/8]>>(at%8)&(1<<take-1)) << have
			have += take
			at += take
		}
		last += least + int64(delta) // wraps around, as the format wants it
		values = append(values, last)
	}
	return values
}

// values are the values of a page that are there, as bytes.
type values struct {
	data  []byte
	width int      // of each value; 0 where ends says where they are
	spans []uint32 // begin and end of each value
	count int
}

// at returns value i.
func (v *values) at(i int) []byte {
	if v.width > 0 {
		return v.data[i*v.width : (i+1)*v.width]
	}
	return v.data[v.spans[2*i]:v.spans[2*i+1]]
}

// plainValues reads the PLAIN encoding of n values of a width, or, where that is 0, of texts with their lengths.
func plainValues(b []byte, width, n int) (*values, error) {
	if width > 0 {
		if len(b) < n*width {
			return nil, errShort
		}
		return &values{data: b[:n*width], width: width, count: n}, nil
	}
	if n > len(b)/4 {
		return nil, errShort
	}
	v := &values{data: b, spans: make([]uint32, 0, 2*n), count: n}
	at := uint64(0)
	for range n {
		if at+4 > uint64(len(b)) {
			return nil, errShort
		}
		end := at + 4 + uint64(binary.LittleEndian.Uint32(b[at:]))
		if end > uint64(len(b)) {
			return nil, errShort
		}
		v.spans = append(v.spans, uint32(at)+4, uint32(end))
		at = end
	}
	return v, nil
}

// booleans makes n values of a byte of as many bits.
func booleans(b []byte, n int) (*values, error) {
	if len(b) < (n+7)/8 {
		return nil, errShort
	}
	v := &values{data: make([]byte, n), width: 1, count: n}
	for i := range n {
		v.data[i] = b[i/8] >> (i % 8) & 1
	}
	return v, nil
}

// booleanRuns makes n values of a byte of runs with their length in bytes before them.
func booleanRuns(b []byte, n int) (*values, error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, errShort
	}
	bits, err := hybrid(make([]uint32, 0, n), b[4:4+binary.LittleEndian.Uint32(b)], 1, n)
	if err != nil {
		return nil, err
	}
	v := &values{data: make([]byte, n), width: 1, count: n}
	for i, bit := range bits {
		v.data[i] = byte(bit)
	}
	return v, nil
}

// deltaIntegers makes n values of a width, 4 or 8, of deltas.
func deltaIntegers(b []byte, width, n int) (*values, error) {
	numbers, _, err := deltas(b, n)
	if err != nil {
		return nil, err
	}
	v := &values{data: make([]byte, 0, n*width), width: width, count: n}
	for _, x := range numbers {
		if width == 4 {
			v.data = binary.LittleEndian.AppendUint32(v.data, uint32(x))
		} else {
			v.data = binary.LittleEndian.AppendUint64(v.data, uint64(x))
		}
	}
	return v, nil
}

// deltaLengths reads n texts that follow their lengths.
func deltaLengths(b []byte, n int) (*values, error) {
	lengths, rest, err := deltas(b, n)
	if err != nil {
		return nil, err
	}
	v := &values{data: rest, spans: make([]uint32, 0, 2*n), count: n}
	at := uint64(0)
	for _, x := range lengths {
		length := int32(x) // the format reckons with 32 bits
		if length < 0 || uint64(length) > uint64(len(rest))-at {
			return nil, errShort
		}
		v.spans = append(v.spans, uint32(at), uint32(at+uint64(length)))
		at += uint64(length)
	}
	return v, nil
}

// deltaTexts reads n texts of which each begins like the one before it. They may take most bytes. width is that of
// each where all have the same, else 0.
func deltaTexts(b []byte, width, n, most int) (*values, error) {
	prefixes, rest, err := deltas(b, n)
	if err != nil {
		return nil, err
	}
	suffixes, err := deltaLengths(rest, n)
	if err != nil {
		return nil, err
	}
	size := 0
	for i, p := range prefixes {
		before := 0
		if i > 0 {
			before = int(prefixes[i-1]) + len(suffixes.at(i-1))
		}
		prefixes[i] = int64(int32(p))
		if p = prefixes[i]; p < 0 || p > int64(before) {
			return nil, errors.New("a text begins like more than the text before it")
		}
		if size += int(p) + len(suffixes.at(i)); size > most {
			return nil, fmt.Errorf("the texts of a page take more than %d MiB", most>>20)
		}
		if width > 0 && int(p)+len(suffixes.at(i)) != width {
			return nil, errShort
		}
	}
	v := &values{data: make([]byte, 0, size), spans: make([]uint32, 0, 2*n), count: n}
	before := 0
	for i, p := range prefixes {
		at := len(v.data)
		v.data = append(append(v.data, v.data[before:before+int(p)]...), suffixes.at(i)...)
		v.spans = append(v.spans, uint32(at), uint32(len(v.data)))
		before = at
	}
	return v, nil
}

// streams makes n values of a width of streams that hold the first, second ... byte of each.
func streams(b []byte, width, n int) (*values, error) {
	if len(b) != n*width { // where one stream ends and the next begins depends on the length
		return nil, fmt.Errorf("a page has %d bytes for %d values of %d", len(b), n, width)
	}
	v := &values{data: make([]byte, len(b)), width: width, count: n}
	for k := range width {
		for i, x := range b[k*n : (k+1)*n] {
			v.data[i*width+k] = x
		}
	}
	return v, nil
}
