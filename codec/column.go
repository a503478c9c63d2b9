package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"unicode"
	"unicode/utf8"

	"millrace.dev/record"
)

// column is a declared field and, during a Decode, its column in the batch.
type column struct {
	name     string
	kind     record.Type
	quoted   bool
	required bool
	layouts  layouts

	numbers []float64
	codes   []int32
	levels  *levelCache
	times   []int64
	texts   *record.Texts
}

func newColumns(s *record.Schema) ([]column, error) {
	columns := make([]column, s.Len())
	var errs []error
	for i := range columns {
		f := s.Field(i)
		c := &columns[i]
		c.name, c.kind, c.quoted, c.required = f.Name, f.Type, f.Quoted, f.Required
		if f.Type == record.Enum {
			c.levels = new(levelCache)
		}
		if f.Type == record.Time {
			var err error
			c.layouts, err = newLayouts(f)
			errs = append(errs, err)
		}
	}
	return columns, errors.Join(errs...)
}

// bind points the columns at those of b. They move when rows are appended, so this is done at each Decode.
func bind(columns []column, s *record.Schema, b *record.Batch) {
	if b.Schema() != s {
		panic("codec: the batch has another schema than the decoder")
	}
	for i := range columns {
		c := &columns[i]
		switch c.kind {
		case record.Numeric:
			c.numbers = b.Numbers(i)
		case record.Enum:
			c.codes = b.Codes(i)
			c.levels.bind(b.Dict(i))
		case record.Time:
			c.times = b.Times(i)
		case record.String:
			c.texts = b.Texts(i)
		}
	}
}

// setLevel sets an enum to the level that text stands for.
func (c *column) setLevel(row int, text []byte) {
	if n := len(text); n > 1 && text[n-1] == '0' { // nothing else can be changed
		text = canonicalLevel(text)
	}
	c.codes[row] = c.levels.code(text)
}

// setNumber sets a numeric field to the number that text is.
func (c *column) setNumber(row int, text []byte, at int, f *fault) bool {
	if v, end := fastNumber(text, 0); end > 0 && end == len(text) {
		c.numbers[row] = v
		return true
	}
	n, end, ok := scanDecimal(text, 0)
	if !ok || end != len(text) {
		f.set(ClassInvalidNumber, c.name, at, "the text is not a number as JSON spells it")
		return false
	}
	v, ok := n.float(text)
	if !ok {
		f.set(ClassOutOfRange, c.name, at, outOfRange(n))
		return false
	}
	c.numbers[row] = v
	return true
}

// setTime sets a time field to the instant that text is in one of the layouts.
func (c *column) setTime(row int, text []byte, at int, f *fault) bool {
	micros, ok := c.layouts.parse(text)
	if !ok {
		f.set(ClassInvalidTime, c.name, at, "the text fits none of the field's layouts, or there is no such day or time")
		return false
	}
	c.times[row] = micros
	return true
}

func outOfRange(n decimal) string {
	if n.integer {
		return "no float64 equals this integer, and it is not rounded: declare the field as an enum or a string if it is an identifier"
	}
	return "the number is too large for a float64"
}

// levelCache remembers where the levels of an enum are in a dictionary.
type levelCache struct {
	dict  *record.Dict
	slots [512]levelSlot
}

// levelSlot is a level that has been seen. Its code is only a guess, which the dictionary confirms, unless it is a known
// level, which stays for good, and so short that head, tail and size are all of it.
type levelSlot struct {
	head, tail uint64
	size       uint32 // one more than the level has bytes; 0 for a slot without a level
	code       int32
}

// wholeLevel is the length up to which a level is told by head, tail and size.
const wholeLevel = 16

// bind makes c the cache of a dictionary.
func (c *levelCache) bind(d *record.Dict) {
	if c.dict != d {
		*c = levelCache{dict: d}
	}
}

// code returns the code of a level in the dictionary.
func (c *levelCache) code(text []byte) int32 {
	head, tail := ends(text)
	size := uint32(len(text)) + 1
	const golden = 0x9E3779B97F4A7C15
	slot := &c.slots[(head^bits.RotateLeft64(tail, 23)+uint64(size))*golden>>55]
	d := c.dict
	if code := slot.code; slot.size == size && slot.head == head && slot.tail == tail {
		if int(code) < d.Known() && len(text) <= wholeLevel || int(code) < d.Len() && d.Level(code) == string(text) {
			return code
		}
	}
	*slot = levelSlot{head, tail, size, d.Code(text)}
	return slot.code
}

// ends returns the first and the last eight bytes of a level, which overlap if it has fewer than 16. If it has fewer than
// eight, both together are all of it.
func ends(text []byte) (head, tail uint64) {
	switch n := len(text); {
	case n >= 8:
		return binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[n-8:])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(text)), uint64(binary.LittleEndian.Uint32(text[n-4:]))
	case n > 0:
		return uint64(text[0]) | uint64(text[n/2])<<8 | uint64(text[n-1])<<16, 0
	}
	return 0, 0
}

// names finds the declared field of a name that is spelled in another case.
type names struct {
	folded map[string]string
	buf    []byte
}

func newNames(s *record.Schema, undeclared []string) names {
	n := names{folded: make(map[string]string, s.Len())}
	for i := range s.Len() {
		name := s.Field(i).Name
		if slices.Contains(undeclared, name) {
			continue
		}
		n.buf = foldCase(n.buf[:0], []byte(name))
		if _, taken := n.folded[string(n.buf)]; !taken {
			n.folded[string(n.buf)] = name
		}
	}
	return n
}

// otherCase returns the declared field whose name differs from that of an undeclared field in case only, or "".
func (n *names) otherCase(undeclared []byte) string {
	n.buf = foldCase(n.buf[:0], undeclared)
	return n.folded[string(n.buf)]
}

// foldCase appends name with every letter replaced by the first of those that Unicode's simple folding calls
// equal.
func foldCase(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		if c := name[i]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(name[i:])
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		dst = utf8.AppendRune(dst, least)
		i += size
	}
	return dst
}

// checkReserved refuses a name that no field can have.
func checkReserved(name string) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("codec: the prediction's field %q is not UTF-8", name)
	}
	return nil
}

func wrongCase(declared string) string {
	return fmt.Sprintf("the key differs in case from the declared field %q: send it as declared, or declare it as it is sent", declared)
}
