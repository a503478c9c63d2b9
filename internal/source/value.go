package source

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"
	"millrace.dev/codec"
	"millrace.dev/record"
)

// append appends a value of the column as JSON; nothing where it stands for none: NaN, and bytes that are no text and
// that nobody has declared. What JSON has no number for, the infinities, becomes a text, which the decoder rejects where
// the schema wants a number.
func (l *leaf) append(dst, b []byte) []byte {
	switch l.kind {
	case kindBoolean:
		return strconv.AppendBool(dst, b[0] != 0)
	case kindInteger:
		return l.appendInteger(dst, b)
	case kindFloat:
		return appendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case kindDouble:
		return appendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case kindFloat16:
		return appendFloat(dst, float16(binary.LittleEndian.Uint16(b)))
	case kindDecimal:
		return l.appendDecimal(dst, b)
	case kindText:
		return appendText(dst, string(b))
	case kindBytes:
		if !l.declared && !utf8.Valid(b) {
			return dst
		}
		return appendText(dst, string(b))
	case kindUUID:
		return appendUUID(dst, b)
	default:
		return l.appendTime(dst, b)
	}
}

func (l *leaf) integer(b []byte) int64 {
	if l.physical == format.Int32 {
		return int64(int32(binary.LittleEndian.Uint32(b)))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

func (l *leaf) appendInteger(dst, b []byte) []byte {
	n := l.integer(b)
	if !l.unsigned {
		return strconv.AppendInt(dst, n, 10)
	}
	if l.physical == format.Int32 {
		return strconv.AppendUint(dst, uint64(uint32(n)), 10)
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}

// appendFloat appends the shortest text that reads back as x.
func appendFloat(dst []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return dst
	case math.IsInf(x, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(x, -1):
		return append(dst, `"-Infinity"`...)
	default:
		return codec.AppendFloat(dst, x)
	}
}

// float16 returns the value of an IEEE 754 binary16.
func float16(bits uint16) float64 {
	sign, exponent, fraction := 1-2*float64(bits>>15), int(bits>>10&0x1F), float64(bits&0x3FF)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 0x1F:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	default:
		return sign * math.Ldexp(fraction+0x400, exponent-25)
	}
}

// appendDecimal appends a decimal with all its digits: the number that the bytes are, the point put scale digits from
// the right.
func (l *leaf) appendDecimal(dst, b []byte) []byte {
	var digits []byte
	var room [24]byte
	switch {
	case l.physical == format.Int32 || l.physical == format.Int64:
		digits = strconv.AppendInt(room[:0], l.integer(b), 10)
	case len(b) <= 8:
		var n int64
		for i, x := range b {
			if i == 0 {
				n = int64(int8(x))
				continue
			}
			n = n<<8 | int64(x)
		}
		digits = strconv.AppendInt(room[:0], n, 10)
	default:
		const widest = 128 // nobody has decimals of 300 digits, and to write long ones takes long
		if len(b) > widest {
			return append(dst, `"a decimal that is too long"`...)
		}
		n := new(big.Int).SetBytes(b)
		if b[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		digits = n.Append(nil, 10)
	}
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	if l.scale == 0 {
		return append(dst, digits...)
	}
	whole := len(digits) - l.scale
	if whole <= 0 {
		dst = append(dst, "0."...)
		for range -whole {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(append(dst, digits[:whole]...), '.')
	return append(dst, digits[whole:]...)
}

func appendUUID(dst, b []byte) []byte {
	dst = append(dst, '"')
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return append(dst, '"')
}

// appendText appends a JSON string. Bytes that are not UTF-8 stay as they are, for the decoder to reject.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	plain := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[plain:i]...)
		plain = i + 1
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, `\u00`...)
			dst = hex.AppendEncode(dst, []byte{c})
		}
	}
	return append(append(dst, s[plain:]...), '"')
}

// timeForm is how the times of a column are written.
type timeForm struct {
	layout string         // of package time
	zone   *time.Location // of the text
	count  int64          // in place of a text, a number of which so many make a second
	zoned  bool           // the text says in which zone it is
}

// The layouts of ISO 8601 with as many digits of the second as there are.
const (
	localTime  = "2006-01-02 15:04:05.999999999"
	localTimeT = "2006-01-02T15:04:05.999999999"
)

// setTime settles how the times of the column are written: as RFC 3339, unless the field of the schema, which may be
// nil, has other layouts.
func (l *leaf) setTime(field *record.Field) error {
	if l.kind < kindDate || l.kind == kindTimeOfDay {
		return nil
	}
	l.time = timeForm{layout: time.RFC3339Nano, zone: time.UTC, zoned: true}
	switch l.kind {
	case kindDate:
		l.time = timeForm{layout: time.DateOnly, zone: time.UTC}
	case kindLocal:
		l.time = timeForm{layout: localTimeT, zone: time.UTC}
	default:
	}
	if field == nil || field.Type != record.Time {
		return nil
	}
	if field.Zone != "" {
		zone, err := time.LoadLocation(field.Zone)
		if err != nil {
			return err
		}
		l.time.zone = zone
	}
	l.time.choose(l.kind, field.Layouts)
	return nil
}

// choose takes the layout that loses the least: of an instant the zone, of a local time or a date that it has none. It
// stays with what is there if there are no layouts.
func (t *timeForm) choose(k kind, layouts []string) {
	best := -1
	for _, layout := range layouts {
		form := timeForm{layout: layout, zone: t.zone}
		instant, local, date := 1, 1, 1 // how well the layout suits; any will do
		switch layout {
		case time.RFC3339, time.RFC3339Nano:
			form.layout, form.zoned, form.zone = time.RFC3339Nano, true, t.zone
			instant, local, date = 5, 3, 3
		case time.DateTime, "2006-01-02T15:04:05":
			form.layout = localTime
			if layout != time.DateTime {
				form.layout = localTimeT
			}
			instant, local, date = 3, 5, 4
		case record.LayoutUnix:
			form.count = 1
			instant, local, date = 4, 2, 2
		case record.LayoutUnixMilli:
			form.count = 1000
			instant, local, date = 4, 2, 2
		case time.DateOnly:
			instant, local, date = 0, 0, 5
		default:
			form.zoned = hasOffset(layout)
		}
		fit := instant
		switch k {
		case kindLocal:
			fit = local
		case kindDate:
			fit = date
		default:
		}
		if fit > best {
			best, *t = fit, form
		}
	}
}
