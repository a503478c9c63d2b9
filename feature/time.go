package feature

import (
	"time"

	"millrace.dev/record"
)

const missingTime = record.MissingTime

func coalesceTime(dst, a, b []int64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		if dst[i] = a[i]; a[i] == missingTime {
			dst[i] = b[i]
		}
	}
}

// unix is the number of seconds since 1970-01-01 00:00:00 UTC, with their fraction.
func unix(dst []float64, a []int64) {
	for i, t := range a[:len(dst)] {
		dst[i] = nan()
		if t != missingTime {
			dst[i] = float64(t) / 1e6
		}
	}
}

// daysSince is the number of days of 24 hours from b to a, with their fraction. It is missing where the
// microseconds between the two do not fit 64 bits.
func daysSince(dst []float64, a, b []int64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		x, y := a[i], b[i]
		d := x - y
		overflow := (x < 0) != (y < 0) && (d < 0) != (x < 0)
		dst[i] = nan()
		if x != missingTime && y != missingTime && !overflow {
			dst[i] = float64(d) / (24 * 3600 * 1e6)
		}
	}
}

// datePart fills dst with one part of each time, in zone z, or in UTC where z is nil.
func datePart(op opcode, dst []float64, a []int64, z *zone) {
	for i, us := range a[:len(dst)] {
		if us == missingTime {
			dst[i] = nan()
			continue
		}
		dst[i] = float64(partOf(op, local(us, z)))
	}
}

// local returns the time that clocks show in zone z, or in UTC where z is nil, as if it were UTC.
func local(us int64, z *zone) time.Time {
	t := time.UnixMicro(us).UTC()
	if z != nil {
		t = time.Unix(t.Unix()+z.at(t.Unix()), 0).UTC()
	}
	return t
}

func partOf(op opcode, t time.Time) int {
	switch op {
	case opYear:
		return t.Year()
	case opMonth:
		return int(t.Month())
	case opDay:
		return t.Day()
	case opHour:
		return t.Hour()
	case opMinute:
		return t.Minute()
	case opSecond:
		return t.Second()
	case opWeekday: // ISO 8601: Monday is 1, Sunday 7
		return (int(t.Weekday())+6)%7 + 1
	case opDayOfYear:
		return t.YearDay()
	default:
		return calendarPart(op, t)
	}
}
