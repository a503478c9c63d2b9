package cdc

import (
	"math"
	"slices"
	"strconv"

	"millrace.dev/record"
)

// The units in which a time is given, in the order of how well they fit microseconds.
const (
	unitMicro = iota
	unitNano
	unitMilli
	timeCount
	unitSecond
)

// timeNames returns the names of the members that hold a time, by unit.
func timeNames(prefix string) []string {
	return []string{unitMicro: prefix + "ts_us", unitNano: prefix + "ts_ns", unitMilli: prefix + "ts_ms"}
}

// maxMicros is the end of the year 9999.
const maxMicros = 253_402_300_800*1_000_000 - 1

// micros returns the microseconds that a number in a unit stands for: 0 if it is absent, null or not after 1970, which
// connectors write for a time that they do not know, and false if it is no integer or too large.
func micros(value []byte, unit int) (int64, bool) {
	if isNull(value) {
		return 0, true
	}
	v, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, false
	}
	if v <= 0 {
		return 0, true
	}
	factor := int64(1)
	switch unit {
	case unitNano:
		v /= 1000
	case unitMilli:
		factor = 1000
	case unitSecond:
		factor = 1_000_000
	}
	if v > math.MaxInt64/factor || v*factor > maxMicros {
		return 0, false
	}
	return v * factor, true
}

func badTime(name string) *record.Problem {
	return problem(ClassBadEnvelope, name, "the time of the change is no integer, or beyond the year 9999")
}

// times returns the first time among three members of a section; 0 if there is none.
func (s *section) times(first int) (int64, *record.Problem) {
	for unit := range timeCount {
		v, ok := micros(s.value(first+unit), unit)
		if !ok {
			return 0, badTime(timeNames("")[unit])
		}
		if v > 0 {
			return v, nil
		}
	}
	return 0, nil
}

// envelopeTime returns the time of the change in d.outer.
func (d *Decoder) envelopeTime(r *record.Raw) (int64, *record.Problem) {
	if source := d.outer.value(outerSource); isObject(source) {
		if p := d.source.read(source, "source"); p != nil {
			return 0, p
		}
		if at, p := d.source.times(0); at > 0 || p != nil {
			return at, p
		}
	}
	if at, p := d.outer.times(outerTimes); at > 0 || p != nil {
		return at, p
	}
	return recordTime(r)
}

// flattenedTime returns the time of the row that d.rows has read, or of a null value, and whether it is not just that of
// the record.
func (d *Decoder) flattenedTime(r *record.Raw) (at int64, exact bool, p *record.Problem) {
	names := d.rows.metaNames
	for _, first := range [...]int{metaSourceTimes, metaTimes} {
		for unit := range timeCount {
			i := first + unit
			value := d.rows.value(d.rows.meta[i])
			if isNull(value) {
				value = header(r, names[i])
			}
			at, ok := micros(value, unit)
			if !ok {
				return 0, false, badTime(names[i])
			}
			if at > 0 {
				return at, true, nil
			}
		}
	}
	at, p = recordTime(r)
	return at, false, p
}

// header returns the value of the last header of a name, or nil.
func header(r *record.Raw, name string) []byte {
	for i := range slices.Backward(r.Headers) {
		if h := &r.Headers[i]; h.Key == name {
			return h.Value
		}
	}
	return nil
}

// recordTime returns the timestamp of a record.
func recordTime(r *record.Raw) (int64, *record.Problem) {
	if r.Timestamp < 0 || r.Timestamp > maxMicros/1000 {
		return 0, problem(ClassNoTime, "", "neither the change nor the record has a time")
	}
	return r.Timestamp * 1000, nil
}
