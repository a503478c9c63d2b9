package codec

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// splitter finds the cells of a CSV row.
type splitter struct {
	comma   byte
	cells   []cell
	scratch []byte // the texts of cells with doubled quotes
	fault   fault
}

type cell struct {
	text []byte
	at   int // offset in the row
}

// split finds the cells of a row without its line ens. On a fault it returns false, and the cells before it.
func (s *splitter) split(row []byte) bool {
	s.cells, s.scratch, s.fault = s.cells[:0], s.scratch[:0], fault{}
	for i := 0; ; i++ {
		text, end := s.cell(row, i)
		if end < 0 {
			return false
		}
		s.cells = append(s.cells, cell{text, i})
		if i = end; i == len(row) {
			return true
		}
	}
}

// cell reads the cell at data[i] and returns its text and the offset after it, where there is a separator or
// the end; -1 on a fault.
func (s *splitter) cell(data []byte, i int) (text []byte, end int) {
	if i < len(data) && data[i] == '"' {
		return s.quotedCell(data, i)
	}
	end = s.plainCell(data, i)
	if end == len(data) || data[end] == s.comma {
		return data[i:end], end
	}
	what := "a line end outside quotes: the record is more than one row"
	if data[end] == '"' {
		what = "a quote inside a cell that is not quoted"
	}
	s.fault.set(ClassInvalidCSV, "", end, what)
	return nil, -1
}

// plainCell returns the offset of the first separator, quote or line end at or after i; len(data) if there is
// none.
func (s *splitter) plainCell(data []byte, i int) int {
	comma := uint64(s.comma) * eachByte
	for len(data)-i >= 8 {
		// As in plainText: what may be one of the four, and surely is not anything else below the lowest set
		// bit.
		w := binary.LittleEndian.Uint64(data[i:])
		candidates := (((w ^ 0x02*eachByte) - 0x21*eachByte) | ((w ^ comma) - eachByte)) & highBits
		if candidates == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(candidates) >> 3
		if s.ends(data[i]) {
			return i
		}
		i++
	}
	for i < len(data) && !s.ends(data[i]) {
		i++
	}
	return i
}

// ends tells whether a byte ends a cell that is not quoted.
func (s *splitter) ends(c byte) bool { return c == s.comma || c == '"' || c == '\n' || c == '\r' }

// quotedCell reads the quoted cell that starts at data[i].
func (s *splitter) quotedCell(data []byte, i int) (text []byte, end int) {
	at := i
	i++
	start, copied, kept := i, false, len(s.scratch)
	for {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			s.fault.set(ClassInvalidCSV, "", at, "the quote that opens the cell is never closed")
			return nil, -1
		}
		n += i
		i = n + 1
		if i < len(data) && data[i] == '"' { // a doubled quote stands for one
			s.scratch = append(s.scratch, data[start:i]...)
			copied = true
			i++
			start = i
			continue
		}
		if i < len(data) && data[i] != s.comma {
			s.fault.set(ClassInvalidCSV, "", i, "something follows the quote that closes the cell")
			return nil, -1
		}
		if copied {
			s.scratch = append(s.scratch, data[start:n]...)
			return s.scratch[kept:len(s.scratch):len(s.scratch)], i
		}
		return data[start:n], i
	}
}

// firstInvalid returns the offset of the first byte of data that is not UTF-8.
func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}
