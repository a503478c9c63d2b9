package feature

import "slices"

// kind is the type of a value of an expression.
type kind uint8

const (
	kindInvalid kind = iota // of an expression at fault: already reported
	kindNumber
	kindBool
	kindText
	kindTime
	kindNil // of the literal nil, until its surroundings give it a type
)

// kinds is the number of kinds that values of a program can have, plus one.
const kinds = int(kindTime) + 1

func (k kind) String() string {
	switch k {
	case kindNumber:
		return "number"
	case kindBool:
		return "bool"
	case kindText:
		return "text"
	case kindTime:
		return "time"
	case kindNil:
		return "nil"
	default:
		return "invalid"
	}
}

// opcode is an instruction of a program. Those up to opLast are encoded, by name; the others are made when a
// program is laid out.
type opcode uint8

const (
	opNone opcode = iota
	opColumn

	// Literals.
	opNumber
	opBool
	opText
	opTime

	// Numbers.
	opAdd
	opSub
	opMul
	opDiv
	opMod
	opPow
	opNeg
	opAbs
	opFloor
	opCeil
	opRound
	opSqrt
	opLog
	opLog1p
	opExp
	opMin
	opMax
	opNumberBool
	opNumberText
	opLen
	opSelectNumber
	opCoalesceNumber

	// Truth.
	opLessNumber
	opLessText
	opLessTime
	opAtMostNumber
	opAtMostText
	opAtMostTime
	opEqualNumber
	opEqualText
	opEqualTime
	opEqualBool
	opInNumber
	opInText
	opInTime
	opMissingNumber
	opMissingText
	opMissingTime
	opMissingBool
	opAnd
	opOr
	opNot
	opSelectBool
	opCoalesceBool
	opStartsWith
	opEndsWith
	opContains
	opMatches

	// Texts.
	opConcat
	opLower
	opUpper
	opTrim
	opReplace
	opSlice
	opSliceFrom
	opExtract
	opTextNumber
	opTextBool
	opSelectText
	opCoalesceText

	// Times.
	opSelectTime
	opCoalesceTime
	opYear
	opMonth
	opDay
	opHour
	opMinute
	opSecond
	opWeekday
	opDayOfYear
	opUnix
	opDaysSince

	// The library, see inLibrary: numbers of numbers,
	opSin
	opCos
	opSign
	opTrunc
	opCycleSin
	opCycleCos
	opLongitude
	opHaversine
	opCircleAngle
	opI0Scaled
	opVonMises
	// numbers and truths of texts and times,
	opWordCount
	opHashBucket
	opCountMatches
	opWeek
	opQuarter
	opDaysInMonth
	opMinuteOfDay
	opSecondOfDay
	opIsWeekend
	// and texts.
	opGeohash
	opTitle
	opDigits
	opSplitPart
	opPadLeft
	opReplaceRegex

	opLast // the number of encoded instructions

	opGather // the value of a level, by row
	opOutput // hands a value to the sink
)

// The literals that an instruction carries beside its arguments.
const (
	litNone = iota
	litField
	litConst
	litPattern
	litGroup // a pattern and a group of it
	litZone
	litList
)

// opInfo describes an instruction: its name, the types of its arguments (one letter each: n, b, t, d for
// number, bool, text and time), the type of its result, and its literal.
type opInfo struct {
	name   string
	args   string
	result kind
	lit    int
}

// opTable describes every encoded instruction. Instructions that share a name differ in their arguments.
type opTable [opLast]opInfo

func newOpTable() *opTable {
	return &opTable{
		opColumn: {"column", "", kindInvalid, litField}, // the field gives the type

		opNumber: {"number", "", kindNumber, litConst},
		opBool:   {"bool", "", kindBool, litConst},
		opText:   {"text", "", kindText, litConst},
		opTime:   {"time", "", kindTime, litConst},

		opAdd:            {"add", "nn", kindNumber, litNone},
		opSub:            {"sub", "nn", kindNumber, litNone},
		opMul:            {"mul", "nn", kindNumber, litNone},
		opDiv:            {"div", "nn", kindNumber, litNone},
		opMod:            {"mod", "nn", kindNumber, litNone},
		opPow:            {"pow", "nn", kindNumber, litNone},
		opNeg:            {"neg", "n", kindNumber, litNone},
		opAbs:            {"abs", "n", kindNumber, litNone},
		opFloor:          {"floor", "n", kindNumber, litNone},
		opCeil:           {"ceil", "n", kindNumber, litNone},
		opRound:          {"round", "n", kindNumber, litNone},
		opSqrt:           {"sqrt", "n", kindNumber, litNone},
		opLog:            {"log", "n", kindNumber, litNone},
		opLog1p:          {"log1p", "n", kindNumber, litNone},
		opExp:            {"exp", "n", kindNumber, litNone},
		opMin:            {"min", "nn", kindNumber, litNone},
		opMax:            {"max", "nn", kindNumber, litNone},
		opNumberBool:     {"number", "b", kindNumber, litNone},
		opNumberText:     {"number", "t", kindNumber, litNone},
		opLen:            {"len", "t", kindNumber, litNone},
		opSelectNumber:   {"select", "bnn", kindNumber, litNone},
		opCoalesceNumber: {"coalesce", "nn", kindNumber, litNone},

		opLessNumber:    {"less", "nn", kindBool, litNone},
		opLessText:      {"less", "tt", kindBool, litNone},
		opLessTime:      {"less", "dd", kindBool, litNone},
		opAtMostNumber:  {"at_most", "nn", kindBool, litNone},
		opAtMostText:    {"at_most", "tt", kindBool, litNone},
		opAtMostTime:    {"at_most", "dd", kindBool, litNone},
		opEqualNumber:   {"equal", "nn", kindBool, litNone},
		opEqualText:     {"equal", "tt", kindBool, litNone},
		opEqualTime:     {"equal", "dd", kindBool, litNone},
		opEqualBool:     {"equal", "bb", kindBool, litNone},
		opInNumber:      {"in", "n", kindBool, litList},
		opInText:        {"in", "t", kindBool, litList},
		opInTime:        {"in", "d", kindBool, litList},
		opMissingNumber: {"is_missing", "n", kindBool, litNone},
		opMissingText:   {"is_missing", "t", kindBool, litNone},
		opMissingTime:   {"is_missing", "d", kindBool, litNone},
		opMissingBool:   {"is_missing", "b", kindBool, litNone},
		opAnd:           {"and", "bb", kindBool, litNone},
		opOr:            {"or", "bb", kindBool, litNone},
		opNot:           {"not", "b", kindBool, litNone},
		opSelectBool:    {"select", "bbb", kindBool, litNone},
		opCoalesceBool:  {"coalesce", "bb", kindBool, litNone},
		opStartsWith:    {"starts_with", "tt", kindBool, litNone},
		opEndsWith:      {"ends_with", "tt", kindBool, litNone},
		opContains:      {"contains", "tt", kindBool, litNone},
		opMatches:       {"matches", "t", kindBool, litPattern},

		opConcat:       {"concat", "tt", kindText, litNone},
		opLower:        {"lower", "t", kindText, litNone},
		opUpper:        {"upper", "t", kindText, litNone},
		opTrim:         {"trim", "t", kindText, litNone},
		opReplace:      {"replace", "ttt", kindText, litNone},
		opSlice:        {"slice", "tnn", kindText, litNone},
		opSliceFrom:    {"slice", "tn", kindText, litNone},
		opExtract:      {"extract", "t", kindText, litGroup},
		opTextNumber:   {"text", "n", kindText, litNone},
		opTextBool:     {"text", "b", kindText, litNone},
		opSelectText:   {"select", "btt", kindText, litNone},
		opCoalesceText: {"coalesce", "tt", kindText, litNone},

		opSelectTime:   {"select", "bdd", kindTime, litNone},
		opCoalesceTime: {"coalesce", "dd", kindTime, litNone},
		opYear:         {"year", "d", kindNumber, litZone},
		opMonth:        {"month", "d", kindNumber, litZone},
		opDay:          {"day", "d", kindNumber, litZone},
		opHour:         {"hour", "d", kindNumber, litZone},
		opMinute:       {"minute", "d", kindNumber, litZone},
		opSecond:       {"second", "d", kindNumber, litZone},
		opWeekday:      {"weekday", "d", kindNumber, litZone},
		opDayOfYear:    {"day_of_year", "d", kindNumber, litZone},
		opUnix:         {"unix", "d", kindNumber, litNone},
		opDaysSince:    {"days_since", "dd", kindNumber, litNone},

		opSin:          {"sin", "n", kindNumber, litNone},
		opCos:          {"cos", "n", kindNumber, litNone},
		opSign:         {"sign", "n", kindNumber, litNone},
		opTrunc:        {"trunc", "n", kindNumber, litNone},
		opCycleSin:     {"cycle_sin", "nn", kindNumber, litNone},
		opCycleCos:     {"cycle_cos", "nn", kindNumber, litNone},
		opLongitude:    {"longitude", "n", kindNumber, litNone},
		opHaversine:    {"haversine", "nnn", kindNumber, litNone},
		opCircleAngle:  {"circle_angle", "nnn", kindNumber, litNone},
		opI0Scaled:     {"i0_scaled", "n", kindNumber, litNone},
		opVonMises:     {"von_mises", "nnn", kindNumber, litNone},
		opWordCount:    {"word_count", "t", kindNumber, litNone},
		opHashBucket:   {"hash_bucket", "tn", kindNumber, litNone},
		opCountMatches: {"count_matches", "t", kindNumber, litPattern},
		opWeek:         {"week", "d", kindNumber, litZone},
		opQuarter:      {"quarter", "d", kindNumber, litZone},
		opDaysInMonth:  {"days_in_month", "d", kindNumber, litZone},
		opMinuteOfDay:  {"minute_of_day", "d", kindNumber, litZone},
		opSecondOfDay:  {"second_of_day", "d", kindNumber, litZone},
		opIsWeekend:    {"is_weekend", "d", kindBool, litZone},
		opGeohash:      {"geohash", "nnn", kindText, litNone},
		opTitle:        {"title", "t", kindText, litNone},
		opDigits:       {"digits", "t", kindText, litNone},
		opSplitPart:    {"split_part", "ttn", kindText, litNone},
		opPadLeft:      {"pad_left", "tnt", kindText, litNone},
		opReplaceRegex: {"replace_regex", "tt", kindText, litPattern},
	}
}

// find returns the instruction called name that takes arguments of the given types, or opNone.
func (t *opTable) find(name, args string) opcode {
	for op := range t {
		if t[op].name == name && t[op].args == args {
			return opcode(op)
		}
	}
	return opNone
}

// letter returns how an [opInfo] writes k.
func (k kind) letter() byte { return "?nbtd?"[k] }

// literal is what a constant holds. Missing is set for the missing value of each type.
type literal struct {
	missing bool
	number  float64
	flag    bool
	text    string
	time    int64
}

// value is one instruction of a program and its result: every value is assigned once, and its arguments are
// values before it.
type value struct {
	op   opcode
	kind kind
	args [3]int32
	n    int // arguments in use

	field   int // opColumn: of the schema
	lit     literal
	pattern string
	group   int
	zone    string // "" is UTC
	numbers []float64
	texts   []string
	times   []int64
}

// arguments returns the values that v needs.
func (v *value) arguments() []int32 { return v.args[:v.n] }

func (v *value) isConst() bool {
	return v.op == opNumber || v.op == opBool || v.op == opText || v.op == opTime
}

// program is a list of values, and the positions of those that are its results.
type program struct {
	values  []value
	results []int32
	zones   map[string]*zone // by name, for every zone that a value uses
}

// fields returns the fields that p reads, as sorted positions in the schema.
func (p *program) fields() []int {
	var out []int
	for i := range p.values {
		if p.values[i].op == opColumn {
			out = append(out, p.values[i].field)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
