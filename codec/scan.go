package codec

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// plainText returns the offset of the first byte at or after i that is a quote, a backslash, a control
// character or not ASCII; len(data) if there is none. It looks at eight bytes at a time: subtracting sets the
// high bit of the lowest byte that is in question, and what carries set above it does not matter.
func plainText(data []byte, i int) int {
	for len(data)-i >= 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		quoteOrControl := (w ^ 0x02*eachByte) - 0x21*eachByte // x^2 is below 0x21 for 0..0x1F and 0x22
		backslash := (w ^ '\\'*eachByte) - eachByte
		if found := (quoteOrControl | backslash | w) & highBits; found != 0 {
			return i + bits.TrailingZeros64(found)>>3
		}
		i += 8
	}
	for i < len(data) {
		if c := data[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
		i++
	}
	return i
}

// skipSpace returns the offset of the first byte at or after i that is not white space.
func skipSpace(data []byte, i int) int {
	const space = 1<<' ' | 1<<'\n' | 1<<'\t' | 1<<'\r'
	for i < len(data) && data[i] <= ' ' && space>>data[i]&1 != 0 {
		i++
	}
	return i
}

// skipBlank is skipSpace for places that mostly have nothing to skip, or one blank.
func skipBlank(data []byte, i int) int {
	if i < len(data) && data[i] == ' ' {
		i++
	}
	if i < len(data) && data[i] <= ' ' {
		return skipSpace(data, i)
	}
	return i
}

// scanText reads the text of a JSON string from data[i], the byte after its opening quote, and returns the
// offset of its closing quote and whether there are escapes in it. On a fault it returns -1.
func scanText(data []byte, i int, f *fault) (end int, escaped bool) {
	for {
		i = plainText(data, i)
		if i >= len(data) {
			f.set(ClassInvalidJSON, "", i, "the record ends inside a string")
			return -1, false
		}
		switch c := data[i]; {
		case c == '"':
			return i, escaped
		case c == '\\':
			escaped = true
			if i = scanEscape(data, i, f); i < 0 {
				return -1, false
			}
		case c < ' ':
			f.set(ClassInvalidJSON, "", i, "a control character inside a string")
			return -1, false
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				f.set(ClassInvalidUTF8, "", i, "the bytes of the string are not UTF-8")
				return -1, false
			}
			i += size
		}
	}
}

// scanEscape returns the offset after the escape that starts at data[i], or -1.
func scanEscape(data []byte, i int, f *fault) int {
	if i+1 >= len(data) {
		f.set(ClassInvalidJSON, "", i, "the record ends inside a string")
		return -1
	}
	switch data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		f.set(ClassInvalidJSON, "", i, "no such escape")
		return -1
	}
	r, ok := hex4(data, i+2)
	if !ok {
		f.set(ClassInvalidJSON, "", i, `\u without four hexadecimal digits`)
		return -1
	}
	if r < 0xD800 || r > 0xDFFF {
		return i + 6
	}
	if r < 0xDC00 && i+7 < len(data) && data[i+6] == '\\' && data[i+7] == 'u' {
		if low, ok := hex4(data, i+8); ok && low >= 0xDC00 && low <= 0xDFFF {
			return i + 12
		}
	}
	f.set(ClassInvalidUTF8, "", i, "half of a surrogate pair")
	return -1
}

func hex4(data []byte, i int) (rune, bool) {
	if len(data)-i < 4 {
		return 0, false
	}
	var r rune
	for _, c := range data[i : i+4] {
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

// unescape appends the text of a JSON string that scanText has accepted.
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = text[i]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(text, i+1)
			i += 4
			if r >= 0xD800 && r <= 0xDFFF {
				low, _ := hex4(text, i+3)
				i += 6
				r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendQuoted appends text, which is UTF-8, as a JSON string with the fewest escapes.
func appendQuoted(dst []byte, text string) []byte {
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
