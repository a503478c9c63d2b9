package remote

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// reader reads the JSON of answers: what is wanted of it, value by value, and the rest only so far as to find its end. It allocates for
// keys with escapes alone. Beside JSON's numbers it takes NaN, Infinity and null, which Python's servers write for predictions that are
// none: all of them are read as numbers that are not finite.
type reader struct {
	data []byte
	at   int
}

// maxNesting bounds values within values.
const maxNesting = 64

// maxNumber bounds the text of a number.
const maxNumber = 400

// fault returns an error that says where it is, and nothing of what is there.
func (r *reader) fault(what string) error {
	return fmt.Errorf("the answer is not the JSON that it should be: %s at byte %d", what, r.at)
}

// peek returns the first byte of what comes next; 0 at the end.
func (r *reader) peek() byte {
	for r.at < len(r.data) {
		switch c := r.data[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// take steps over a byte that has to come next.
func (r *reader) take(c byte) error {
	if r.peek() != c {
		return r.fault("no " + strconv.QuoteRune(rune(c)))
	}
	r.at++
	return nil
}

// end is an error if something follows.
func (r *reader) end() error {
	if r.peek() != 0 || r.at < len(r.data) {
		return r.fault("something after the end")
	}
	return nil
}

// array calls element for each element, which has to read it.
func (r *reader) array(element func() error) error {
	return r.list('[', ']', element)
}

// object calls member for each member, with its key, which is valid until the next one; it has to read the value.
func (r *reader) object(member func(key []byte) error) error {
	return r.list('{', '}', func() error {
		key, err := r.text()
		if err != nil {
			return err
		}
		if err := r.take(':'); err != nil {
			return err
		}
		return member(key)
	})
}

func (r *reader) list(open, closing byte, each func() error) error {
	if err := r.take(open); err != nil {
		return err
	}
	if r.peek() == closing {
		r.at++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.at++
		case closing:
			r.at++
			return nil
		default:
			return r.fault("no end of a list")
		}
	}
}

// text reads a string and returns what it says. It may share the memory of the answer.
func (r *reader) text() ([]byte, error) {
	if err := r.take('"'); err != nil {
		return nil, err
	}
	start := r.at
	for r.at < len(r.data) {
		switch c := r.data[r.at]; {
		case c == '"':
			text := r.data[start:r.at]
			r.at++
			if !utf8.Valid(text) {
				return nil, r.fault("text that is not UTF-8")
			}
			return text, nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return nil, r.fault("a control character")
		default:
			r.at++
		}
	}
	return nil, r.fault("no end of a text")
}

// escaped reads the rest of a string that began at start, up to its first escape.
func (r *reader) escaped(start int) ([]byte, error) {
	out := bytes.Clone(r.data[start:r.at])
	for r.at < len(r.data) {
		c := r.data[r.at]
		switch {
		case c == '"':
			r.at++
			if !utf8.Valid(out) {
				return nil, r.fault("text that is not UTF-8")
			}
			return out, nil
		case c < ' ':
			return nil, r.fault("a control character")
		case c != '\\':
			out = append(out, c)
			r.at++
			continue
		}
		var err error
		if out, err = r.escape(out); err != nil {
			return nil, err
		}
	}
	return nil, r.fault("no end of a text")
}

// escape appends what an escape stands for. Half of a surrogate pair becomes U+FFFD, as in package encoding/json.
func (r *reader) escape(out []byte) ([]byte, error) {
	const plain, means = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if r.at+1 >= len(r.data) {
		return nil, r.fault("no end of an escape")
	}
	if i := bytes.IndexByte([]byte(plain), r.data[r.at+1]); i >= 0 {
		r.at += 2
		return append(out, means[i]), nil
	}
	unit, ok := r.unit()
	if !ok {
		return nil, r.fault("no escape")
	}
	if unit >= 0xD800 && unit < 0xDC00 {
		back := r.at
		if low, ok := r.unit(); ok && low >= 0xDC00 && low < 0xE000 {
			return utf8.AppendRune(out, 0x10000+(unit-0xD800)<<10+(low-0xDC00)), nil
		}
		r.at = back
	}
	return utf8.AppendRune(out, unit), nil
}

// unit reads \uXXXX.
func (r *reader) unit() (rune, bool) {
	if len(r.data)-r.at < 6 || r.data[r.at] != '\\' || r.data[r.at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.data[r.at+2:r.at+6]), 16, 16)
	if err != nil {
		return 0, false
	}
	r.at += 6
	return rune(n), true
}

// number reads a prediction. true and false are those of a classifier: 1 and 0.
func (r *reader) number() (float64, error) {
	switch c := r.peek(); c {
	case 'n':
		return math.NaN(), r.word("null")
	case 'N':
		return math.NaN(), r.word("NaN")
	case 'I':
		return math.Inf(1), r.word("Infinity")
	case 't':
		return 1, r.word("true")
	case 'f':
		return 0, r.word("false")
	case '-':
		if r.at+1 < len(r.data) && r.data[r.at+1] == 'I' {
			return math.Inf(-1), r.word("-Infinity")
		}
	}
	start := r.at
	if !r.digits() {
		return 0, r.fault("no number")
	}
	if r.at-start > maxNumber {
		return 0, r.fault("a number that is too long")
	}
	v, err := strconv.ParseFloat(string(r.data[start:r.at]), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // what is out of range is infinite
		return 0, r.fault("no number")
	}
	return v, nil
}

// word steps over a word.
func (r *reader) word(word string) error {
	if !bytes.HasPrefix(r.data[r.at:], []byte(word)) {
		return r.fault("no value")
	}
	r.at += len(word)
	return nil
}

// digits steps over a number of JSON's grammar, and tells whether there was one.
func (r *reader) digits() bool {
	r.skipByte('-')
	switch {
	case r.skipByte('0'):
	case r.skipDigits() == 0:
		return false
	}
	if r.skipByte('.') && r.skipDigits() == 0 {
		return false
	}
	if r.skipByte('e') || r.skipByte('E') {
		if !r.skipByte('+') {
			r.skipByte('-')
		}
		return r.skipDigits() > 0
	}
	return true
}

func (r *reader) skipByte(c byte) bool {
	if r.at < len(r.data) && r.data[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *reader) skipDigits() (n int) {
	for r.at < len(r.data) && r.data[r.at]-'0' <= 9 {
		r.at++
		n++
	}
	return n
}

// skip steps over a value that lies within depth others.
func (r *reader) skip(depth int) error {
	if depth >= maxNesting {
		return r.fault("too many values within values")
	}
	switch r.peek() {
	case '{':
		return r.object(func([]byte) error { return r.skip(depth + 1) })
	case '[':
		return r.array(func() error { return r.skip(depth + 1) })
	case '"':
		_, err := r.text()
		return err
	default:
		_, err := r.number()
		return err
	}
}

// appendText appends a text as a string of JSON.
func appendText(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
