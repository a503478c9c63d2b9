package feature

import "time"

// calendarPart has the parts of a date that count or number something.
func calendarPart(op opcode, t time.Time) int {
	switch op {
	case opWeek: // ISO 8601: week 1 is the one with the first Thursday of the year
		_, week := t.ISOWeek()
		return week
	case opQuarter:
		return (int(t.Month()) + 2) / 3
	case opDaysInMonth:
		return time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	case opMinuteOfDay:
		return t.Hour()*60 + t.Minute()
	case opSecondOfDay:
		return t.Hour()*3600 + t.Minute()*60 + t.Second()
	default:
		panic("feature: no such part of a date")
	}
}

// isWeekend tells whether each time falls on a Saturday or a Sunday, in zone z, or in UTC where z is nil.
func isWeekend(dst []uint8, a []int64, z *zone) {
	for i, us := range a[:len(dst)] {
		dst[i] = unknown
		if us != missingTime {
			day := local(us, z).Weekday()
			dst[i] = truth(day == time.Saturday || day == time.Sunday, true)
		}
	}
}
