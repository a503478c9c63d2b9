package feature

import (
	"math"

	"millrace.dev/internal/detmath"
)

// addLibrary adds the functions of circles, places, words and calendars.
func addLibrary(m map[string]function) {
	add := func(usage string, least, most int, build func(*scope, *call) ref, names ...string) {
		for _, name := range names {
			m[name] = function{usage: name + usage, min: least, max: most, build: build}
		}
	}
	simple := (*scope).simple
	add("(x)", 1, 1, simple, "sin", "cos", "sign", "trunc")
	add("(x, period)", 2, 2, simple, "cycle_sin", "cycle_cos")
	add("(x, width)", 2, 2, (*scope).bin, "bin")
	add("(x, mu, kappa, scale)", 4, 4, (*scope).vonMisesAt, "von_mises")
	add("(lat1, lon1, lat2, lon2)", 4, 4, (*scope).haversine, "haversine")
	add("(lat, lon, precision)", 3, 3, simple, "geohash")
	add("(text)", 1, 1, simple, "title", "word_count", "digits")
	add("(text, n)", 2, 2, simple, "hash_bucket")
	add("(text, separator, n)", 3, 3, simple, "split_part")
	add(`(text, width, "0")`, 3, 3, simple, "pad_left")
	add(`(text, "regex")`, 2, 2, (*scope).countMatches, "count_matches")
	add(`(text, "regex", "replacement")`, 3, 3, (*scope).replaceRegex, "replace_regex")
	for _, name := range []string{"week", "quarter", "days_in_month", "minute_of_day", "second_of_day", "is_weekend"} {
		add(`(time) or `+name+`(time, "Europe/Paris")`, 1, 2, (*scope).datePart, name)
	}
}

// instruction returns the value of op on args, which lacks what op carries beside them.
func instruction(op opcode, args ...ref) value {
	v := value{op: op}
	for _, a := range args {
		v.args = append(v.args, a.id)
	}
	return v
}

// bin is floor(x/width)*width.
func (s *scope) bin(c *call) ref {
	a := s.all(c.args)
	number := s.apply(c.node, "div", c.types(s), a[0], a[1])
	return s.apply(c.node, "mul", nil, s.apply(c.node, "floor", nil, number), a[1])
}

// inLibrary tells whether [machine.executeLibrary] runs op.
func (op opcode) inLibrary() bool { return op >= opSin && op <= opReplaceRegex }

// executeLibrary runs the instructions of circles, places, words and calendars.
func (m *machine) executeLibrary(r *registers, c *code, n int) {
	switch {
	case c.op < opWordCount:
		libraryNumber(r, c, r.number[c.dst][:n])
	case c.op < opGeohash:
		m.libraryFact(r, c, n)
	default:
		m.libraryText(r, c, r.text[c.dst][:n])
	}
}

// libraryNumber runs those that make numbers of numbers.
func libraryNumber(r *registers, c *code, dst []float64) {
	a := r.number[c.a]
	switch c.op {
	case opSin:
		apply(dst, a, detmath.Sin)
	case opCos:
		apply(dst, a, detmath.Cos)
	case opSign:
		apply(dst, a, sign)
	case opTrunc:
		apply(dst, a, math.Trunc)
	case opCycleSin:
		apply2(dst, a, r.number[c.b], cycleSin)
	case opCycleCos:
		apply2(dst, a, r.number[c.b], cycleCos)
	case opLongitude:
		apply(dst, a, longitude)
	case opHaversine:
		apply3(dst, a, r.number[c.b], r.number[c.c], haversine)
	case opCircleAngle:
		apply3(dst, a, r.number[c.b], r.number[c.c], circleAngle)
	case opI0Scaled:
		apply(dst, a, detmath.I0Scaled)
	case opVonMises:
		apply3(dst, a, r.number[c.b], r.number[c.c], vonMises)
	default:
		panic("feature: no such instruction of numbers")
	}
}

// libraryFact runs those that make numbers and truths of texts and times.
func (m *machine) libraryFact(r *registers, c *code, n int) {
	switch c.op {
	case opWordCount:
		wordCount(r.number[c.dst][:n], r.text[c.a])
	case opHashBucket:
		hashBuckets(r.number[c.dst][:n], r.text[c.a], r.number[c.b])
	case opCountMatches:
		countMatches(r.number[c.dst][:n], r.text[c.a], m.patterns[c.aux].re)
	case opIsWeekend:
		isWeekend(r.flag[c.dst][:n], r.time[c.a], m.zones[c.aux])
	default:
		datePart(c.op, r.number[c.dst][:n], r.time[c.a], m.zones[c.aux])
	}
}

// libraryText runs those that make texts.
func (m *machine) libraryText(r *registers, c *code, dst []text) {
	switch c.op {
	case opGeohash:
		geohash(dst, r.number[c.a], r.number[c.b], r.number[c.c], r.arena)
	case opTitle:
		title(dst, r.text[c.a], r.arena)
	case opDigits:
		digits(dst, r.text[c.a], r.arena)
	case opSplitPart:
		splitPart(dst, r.text[c.a], r.text[c.b], r.number[c.c])
	case opPadLeft:
		padLeft(dst, r.text[c.a], r.number[c.b], r.text[c.c], r.arena)
	case opReplaceRegex:
		replaceRegex(dst, r.text[c.a], r.text[c.b], m.patterns[c.aux].re, r.arena)
	default:
		panic("feature: no such instruction of texts")
	}
}
