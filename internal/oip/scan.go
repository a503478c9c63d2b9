package oip

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep values may be nested in one another.
const maxDepth = 32

// scanner reads JSON, strictly: no comments, no NaN, no commas at the end, no numbers that begin with zeros, no halves of
// surrogates. The text is valid UTF-8. Strings without escapes that it returns are parts of the text.
type scanner struct {
	text string
	i    int
}

func (s *scanner) fault(format string, args ...any) *Error {
	return invalid("the JSON is wrong at byte "+strconv.Itoa(s.i)+": "+format, args...)
}

// unexpected is the fault of a byte where something else has to stand.
func (s *scanner) unexpected(want string) *Error {
	if s.i >= len(s.text) {
		return s.fault("it ends, and %s is expected", want)
	}
	if rest := s.text[s.i:]; len(rest) >= 3 && (rest[:3] == "NaN" || rest[:3] == "Inf") || len(rest) >= 4 && rest[:4] == "-Inf" {
		return s.fault("NaN and the infinities are not JSON: write null for a missing number, or send the tensor in binary form")
	}
	return s.fault("%s is expected", want)
}

// peek skips white space and returns the next byte, and 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.text) {
		switch c := s.text[s.i]; c {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// take skips white space and the byte c, and tells whether it was there.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// word skips a word that is JSON: true, false, null.
func (s *scanner) word(w string) error {
	if len(s.text)-s.i < len(w) || s.text[s.i:s.i+len(w)] != w {
		return s.unexpected("a value")
	}
	s.i += len(w)
	return nil
}

// null skips null, and tells whether it was there.
func (s *scanner) null() (bool, error) {
	if s.peek() != 'n' {
		return false, nil
	}
	return true, s.word("null")
}

// end is for after the last value.
func (s *scanner) end() error {
	if s.peek() != 0 || s.i < len(s.text) {
		return s.fault("something stands behind its end")
	}
	return nil
}

// members reads an object, and calls member with each name, to read the value.
func (s *scanner) members(member func(name string) error) error {
	if !s.take('{') {
		return s.unexpected("an object")
	}
	if s.take('}') {
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.unexpected("the name of a member")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.unexpected("a colon")
		}
		if err := member(name); err != nil {
			return err
		}
		if s.take(',') {
			continue
		}
		if s.take('}') {
			return nil
		}
		return s.unexpected("a comma or the end of the object")
	}
}

// elements reads an array, and calls element for each, to read it. It is for short arrays.
func (s *scanner) elements(element func() error) error {
	if !s.take('[') {
		return s.unexpected("an array")
	}
	if s.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		more, err := s.more()
		if err != nil || !more {
			return err
		}
	}
}

// more reads what stands behind an element of an array, and tells whether another one follows.
func (s *scanner) more() (bool, error) {
	if s.take(',') {
		return true, nil
	}
	if s.take(']') {
		return false, nil
	}
	return false, s.unexpected("a comma or the end of the array")
}

// str reads a string.
func (s *scanner) str() (string, error) {
	from, escaped, err := s.skipString()
	if err != nil {
		return "", err
	}
	raw := s.text[from : s.i-1]
	if !escaped {
		return raw, nil
	}
	return string(unescape(raw)), nil
}

// skipString skips a string, whose form it checks. The inside of it is text[from:i-1].
func (s *scanner) skipString() (from int, escaped bool, err error) {
	if s.peek() != '"' {
		return 0, false, s.unexpected("a string")
	}
	s.i++
	from = s.i
	for s.i < len(s.text) {
		switch c := s.text[s.i]; {
		case c == '"':
			s.i++
			return from, escaped, nil
		case c == '\\':
			escaped = true
			if err := s.skipEscape(); err != nil {
				return 0, false, err
			}
		case c < ' ':
			return 0, false, s.fault("a control character inside a string")
		default:
			s.i++
		}
	}
	return 0, false, s.fault("it ends inside a string")
}

// skipEscape skips an escape, and both halves of a surrogate pair.
func (s *scanner) skipEscape() error {
	if s.i+1 >= len(s.text) {
		return s.fault("it ends inside a string")
	}
	switch s.text[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return nil
	case 'u':
	default:
		return s.fault("an escape that JSON does not have")
	}
	r, ok := fourHex(s.text[s.i:])
	if !ok {
		return s.fault("an escape without four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		s.i += 6
		return nil
	}
	second, ok := fourHex(s.text[s.i+6:])
	if !ok || utf16.DecodeRune(r, second) == utf8.RuneError {
		return s.fault("half of a surrogate pair")
	}
	s.i += 12
	return nil
}

// fourHex returns the number of an escape \uXXXX that text begins with.
func fourHex(text string) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range []byte(text[2:6]) {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape returns the text of the inside of a string that skipString has checked.
func unescape(raw string) []byte {
	text := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			text = append(text, c)
			i++
			continue
		}
		c = raw[i+1]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := fourHex(raw[i:])
			i += 6
			if utf16.IsSurrogate(r) {
				second, _ := fourHex(raw[i:])
				r = utf16.DecodeRune(r, second)
				i += 6
			}
			text = utf8.AppendRune(text, r)
			continue
		}
		text = append(text, c)
		i += 2
	}
	return text
}

// number reads a number, and tells whether it has neither fraction nor exponent.
func (s *scanner) number() (token string, integer bool, err error) {
	from, integer := s.i, true
	if s.i < len(s.text) && s.text[s.i] == '-' {
		s.i++
	}
	first := s.i
	if !s.digits() {
		s.i = from
		return "", false, s.unexpected("a number")
	}
	if s.text[first] == '0' && s.i > first+1 {
		return "", false, s.fault("a number that begins with a zero")
	}
	if s.i < len(s.text) && s.text[s.i] == '.' {
		integer = false
		s.i++
		if !s.digits() {
			return "", false, s.unexpected("a digit")
		}
	}
	if s.i < len(s.text) && s.text[s.i]|0x20 == 'e' {
		integer = false
		s.i++
		if s.i < len(s.text) && (s.text[s.i] == '+' || s.text[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return "", false, s.unexpected("a digit")
		}
	}
	return s.text[from:s.i], integer, nil
}

// digits skips digits, and tells whether there were any.
func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.text) && s.text[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > from
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, error) {
	switch s.peek() {
	case 't':
		return true, s.word("true")
	case 'f':
		return false, s.word("false")
	default:
		return false, s.unexpected("true or false")
	}
}

// skip skips a value, whose form it checks.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.fault("values are nested deeper than %d levels", maxDepth)
	}
	switch c := s.peek(); c {
	case '{':
		return s.members(func(string) error { return s.skip(depth + 1) })
	case '[':
		return s.skipArray(depth)
	case '"':
		_, _, err := s.skipString()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		_, _, err := s.number()
		return err
	}
}

func (s *scanner) skipArray(depth int) error {
	s.i++
	if s.take(']') {
		return nil
	}
	for {
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		if more, err := s.more(); err != nil || !more {
			return err
		}
	}
}
