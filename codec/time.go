package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace.dev/record"
)

// The instants that a count may give, in microseconds: the years 0 to 9999, as the other layouts can write them.
const (
	microsPerSecond = 1_000_000
	minMicros       = -62_167_219_200 * microsPerSecond
	maxMicros       = 253_402_300_800*microsPerSecond - 1
)

// layout is one declared form of a time.
type layout struct {
	kind  layoutKind
	text  string // in the notation of package time
	zoned bool   // the text carries its zone
	shift int    // of a count: decimal places from its unit to microseconds
}

type layoutKind uint8

const (
	layoutISO   layoutKind = iota + 1 // date, and perhaps time and zone, read by our own parser
	layoutOther                       // read by package time
	layoutCount                       // a number of seconds, or of smaller units
	layoutDays                        // a number of days
)

// layouts are the forms of one time field.
type layouts struct {
	forms []layout
	zone  *time.Location
	texts bool // there is a form other than a count
	count bool // there is a count
}

func newLayouts(f record.Field) (layouts, error) {
	l := layouts{zone: time.UTC}
	if f.Zone != "" {
		zone, err := time.LoadLocation(f.Zone)
		if err != nil {
			return l, fmt.Errorf("codec: field %q: %w", f.Name, err)
		}
		l.zone = zone
	}
	for _, text := range f.Layouts {
		form, err := newLayout(text)
		if err != nil {
			return l, fmt.Errorf("codec: field %q: layout %q: %w", f.Name, text, err)
		}
		l.forms = append(l.forms, form)
		l.count = l.count || form.counts()
		l.texts = l.texts || !form.counts()
	}
	return l, nil
}

func newLayout(text string) (layout, error) {
	switch text {
	case record.LayoutUnix:
		return layout{kind: layoutCount, shift: 6}, nil
	case record.LayoutUnixMilli:
		return layout{kind: layoutCount, shift: 3}, nil
	case record.LayoutUnixMicro:
		return layout{kind: layoutCount}, nil
	case record.LayoutUnixDay:
		return layout{kind: layoutDays}, nil
	case time.RFC3339, time.RFC3339Nano:
		return layout{kind: layoutISO, text: time.RFC3339, zoned: true}, nil
	case time.DateTime, "2006-01-02T15:04:05", time.DateOnly:
		return layout{kind: layoutISO, text: text}, nil
	}
	if strings.Contains(text, "MST") {
		return layout{}, errors.New("abbreviations of zones are ambiguous: use an offset such as -0700, or the letters GMT as they are")
	}
	// A layout that loses the date would give a wrong time without a word.
	probe := time.Date(2001, time.November, 28, 22, 33, 44, 0, time.UTC)
	back, err := time.Parse(text, probe.Format(text))
	if err != nil || back.Format(time.DateOnly) != probe.Format(time.DateOnly) {
		return layout{}, fmt.Errorf("does not hold a year, a month and a day: want the notation of Go's package time, or %s, %s, %s or %s",
			record.LayoutUnix, record.LayoutUnixMilli, record.LayoutUnixMicro, record.LayoutUnixDay)
	}
	if h := back.Hour(); h != 0 && h != probe.Hour() {
		return layout{}, errors.New("holds an hour of twelve without PM")
	}
	zoned := false
	for _, offset := range []string{"-07", "Z07"} {
		zoned = zoned || strings.Contains(text, offset)
	}
	return layout{kind: layoutOther, text: text, zoned: zoned}, nil
}

// parse reads text in the first layout that it fits.
func (l *layouts) parse(text []byte) (micros int64, ok bool) {
	for i := range l.forms {
		switch f := &l.forms[i]; f.kind {
		case layoutISO:
			micros, ok = l.iso(f, text)
		case layoutOther:
			micros, ok = l.other(f, text)
		case layoutCount, layoutDays:
			n, end, isNumber := scanDecimal(text, 0)
			if ok = isNumber && end == len(text); ok {
				micros, ok = l.counted(f, n)
			}
		}
		if ok {
			return micros, true
		}
	}
	return 0, false
}

// number reads a count in the first layout that it fits.
func (l *layouts) number(n decimal) (micros int64, ok bool) {
	for i := range l.forms {
		if f := &l.forms[i]; f.counts() {
			if micros, ok = l.counted(f, n); ok {
				return micros, true
			}
		}
	}
	return 0, false
}

// counts tells whether a value of the layout is a number.
func (f *layout) counts() bool { return f.kind == layoutCount || f.kind == layoutDays }

// counted returns the instant that a number stands for. Days are those of a calendar, without a place: as a date that is
// written out, one begins when it does in the field's zone.
func (l *layouts) counted(f *layout, n decimal) (int64, bool) {
	if f.kind == layoutCount {
		v, ok := n.scaled(f.shift)
		return v, ok && v >= minMicros && v <= maxMicros
	}
	const secondsPerDay = 24 * 3600
	days, ok := n.scaled(0)
	if !ok || !n.whole() || days < minMicros/(secondsPerDay*microsPerSecond) || days > maxMicros/(secondsPerDay*microsPerSecond) {
		return 0, false
	}
	return l.instant(days*secondsPerDay) * microsPerSecond, true
}

// other reads text as package time does.
func (l *layouts) other(f *layout, text []byte) (int64, bool) {
	t, err := time.Parse(f.text, string(text))
	if err != nil {
		return 0, false
	}
	seconds := t.Unix()
	if !f.zoned {
		seconds = l.instant(seconds)
	}
	return seconds*microsPerSecond + int64(t.Nanosecond()/1000), true
}

// iso reads a date, or a date and a time with an optional fraction, or these with a zone, as the layout says.
func (l *layouts) iso(f *layout, s []byte) (int64, bool) {
	const date, dateTime = len(time.DateOnly), len(time.DateTime)
	withTime := len(f.text) > date
	if len(s) < date || withTime != (len(s) > date) || withTime && len(s) < dateTime {
		return 0, false
	}
	ym, ok := form{0x2D30302D30303030, 0x7F76767F76767676}.pairs(s) // 0000-00-
	day, dayOK := twoDigits(s, 8)
	year, month := 100*pair(ym, 0)+pair(ym, 2), pair(ym, 5)
	if !ok || !dayOK || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	seconds := int64(daysSinceEpoch(year, month, day)) * 24 * 3600
	if !withTime {
		return l.instant(seconds) * microsPerSecond, true
	}
	hms, ok := form{0x30303A30303A3030, 0x76767F76767F7676}.pairs(s[11:]) // 00:00:00
	hour, minute, second := pair(hms, 0), pair(hms, 3), pair(hms, 6)
	if !ok || s[10] != f.text[10] || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	seconds += int64(hour*3600 + minute*60 + second)
	micros, s, ok := fraction(s[dateTime:])
	if !ok {
		return 0, false
	}
	if f.zoned {
		offset, ok := zoneOffset(s)
		return (seconds-offset)*microsPerSecond + micros, ok
	}
	return l.instant(seconds)*microsPerSecond + micros, len(s) == 0
}

// form is how eight bytes of a time's text must look, in the order of the text from the lowest byte.
type form struct {
	text  uint64 // a 0 for each digit
	limit uint64 // what lifts a byte that is too large, after text is taken from it, above 0x7F
}

// pairs reads eight bytes. Each byte of the answer that is the first of two digits holds their value.
func (f form) pairs(s []byte) (uint64, bool) {
	x := binary.LittleEndian.Uint64(s) ^ f.text // a digit becomes its value, and a separator 0
	return x*10 + x>>8, (x+f.limit|x)&highBits == 0
}

// pair returns one of the values that pairs has read.
func pair(pairs uint64, at int) int { return int(pairs >> (8 * at) & 0xFF) }

func twoDigits(s []byte, i int) (int, bool) {
	a, b := s[i]-'0', s[i+1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

// daysSinceEpoch counts the days from 1970-01-01 to a date of the Gregorian calendar: years that start in
// March, so that the leap day is their last.
func daysSinceEpoch(year, month, day int) int {
	const epoch = 719_468 // from 0000-03-01 to 1970-01-01
	if month < 3 {
		year--
		month += 12
	}
	year += 400 // no division of a negative number
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 146_097 - epoch
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// fraction reads a point and digits, if s starts with a point: whole microseconds and what follows.
func fraction(s []byte) (micros int64, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '.' {
		return 0, s, true
	}
	i, scale := 1, int64(microsPerSecond/10)
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		micros += int64(s[i]-'0') * scale
		scale /= 10
	}
	return micros, s[i:], i > 1
}

// zoneOffset reads Z, or a sign with hours and minutes, as seconds east of UTC.
func zoneOffset(s []byte) (int64, bool) {
	if len(s) == 1 {
		return 0, s[0] == 'Z'
	}
	if len(s) != len("+00:00") || s[3] != ':' || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hour, a := twoDigits(s, 1)
	minute, b := twoDigits(s, 4)
	offset := int64(hour*3600 + minute*60)
	if s[0] == '-' {
		offset = -offset
	}
	return offset, a && b && hour <= 23 && minute <= 59
}

// instant returns the Unix seconds of a local time, which is given as if it were UTC. A local time that the
// zone skips, or has twice, is read with the offset in force before the change; package time leaves the
// choice open.
func (l *layouts) instant(local int64) int64 {
	if l.zone == time.UTC {
		return local
	}
	const day = 24 * 3600
	before, after := l.offset(local-day), l.offset(local+day)
	if before == after || l.offset(local-before) == before {
		return local - before
	}
	if l.offset(local-after) == after {
		return local - after
	}
	return local - before
}

// offset returns the zone's seconds east of UTC at an instant.
func (l *layouts) offset(unix int64) int64 {
	_, seconds := time.Unix(unix, 0).In(l.zone).Zone()
	return int64(seconds)
}
