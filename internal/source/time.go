package source

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// hasOffset tells whether a layout of package time has the offset of a zone.
func hasOffset(layout string) bool {
	return strings.Contains(layout, "-07") || strings.Contains(layout, "Z07")
}

// appendTime appends a time, a date or a time of day.
func (l *leaf) appendTime(dst, b []byte) []byte {
	var seconds, nanos int64
	switch l.kind {
	case kindDate:
		seconds = l.integer(b) * 24 * 3600
	case kindInt96:
		seconds, nanos = int96(b)
	default:
		n := l.integer(b)
		seconds = n / l.unit
		if nanos = n % l.unit; nanos < 0 {
			seconds, nanos = seconds-1, nanos+l.unit
		}
		nanos *= 1e9 / l.unit
	}
	if l.kind == kindTimeOfDay {
		dst = append(dst, '"')
		dst = time.Unix(seconds, nanos).UTC().AppendFormat(dst, "15:04:05.999999999")
		return append(dst, '"')
	}
	local := l.kind == kindDate || l.kind == kindLocal
	return l.time.append(dst, seconds, nanos, local)
}

// int96 reads the nanoseconds of a day and its Julian number.
func int96(b []byte) (seconds, nanos int64) {
	const epoch = 2_440_588 // the Julian number of 1970-01-01
	days, n := int64(int32(binary.LittleEndian.Uint32(b[8:])))-epoch, int64(binary.LittleEndian.Uint64(b))
	seconds, nanos = n/1e9, n%1e9
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+1e9
	}
	return seconds + days*24*3600, nanos
}

// append appends seconds since 1970, in UTC or, where local is set, on the clock of wherever the record is from: in the
// zone of the field, if the text has to say one.
func (t *timeForm) append(dst []byte, seconds, nanos int64, local bool) []byte {
	at := time.Unix(seconds, nanos).UTC()
	if local && (t.zoned || t.count > 0) && t.zone != time.UTC {
		at = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), t.zone)
	}
	if t.count > 0 {
		return appendCount(dst, at, t.count)
	}
	if !local || t.zoned {
		at = at.In(t.zone)
	}
	if t.layout == time.RFC3339Nano || t.layout == localTime || t.layout == localTimeT || t.layout == time.DateOnly {
		dst = append(dst, '"')
		return append(at.AppendFormat(dst, t.layout), '"')
	}
	return appendText(dst, at.Format(t.layout)) // a layout may have quotes
}

// appendCount appends a number of seconds, or of milliseconds, since 1970, with what is left to the microsecond.
func appendCount(dst []byte, at time.Time, perSecond int64) []byte {
	micros := at.UnixMicro()
	unit := 1_000_000 / perSecond
	if micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	dst = strconv.AppendInt(dst, micros/unit, 10)
	rest := strconv.FormatInt(micros%unit+unit, 10)[1:]
	if rest = strings.TrimRight(rest, "0"); rest != "" {
		dst = append(append(dst, '.'), rest...)
	}
	return dst
}
