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
	kindRow    // a row of a table, or none
	kindBag    // labels with weights
	kindNil    // of the literal nil, until its surroundings give it a type
	kindVector // a list of values, which is taken apart when a program is made
)

// kinds is the number of kinds that values of a program can have, plus one.
const kinds = int(kindBag) + 1

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
	case kindRow:
		return "row of a table"
	case kindBag:
		return "bag"
	case kindNil:
		return "nil"
	case kindVector:
		return "vector"
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
	opIndex
	opSeen
	opHot
	opBucket
	opWithin
	opPick
	opWeight
	opCellNumber
	opWindow

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
	opCellText

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
	opCellTime

	// Rows and bags.
	opRow
	opTokens
	opHashTokens
	opGrams
	opUser // a function of the program

	opCall // a call that is not fitted yet: it can be told from others, and not run

	// The library, see inLibrary: numbers of numbers.
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
	// Numbers and truths of texts and times.
	opWordCount
	opHashBucket
	opCountMatches
	opWeek
	opQuarter
	opDaysInMonth
	opMinuteOfDay
	opSecondOfDay
	opIsWeekend
	// Texts.
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
	litLevels // texts in their order, and a number of buckets for others
	litNumbers
	litOwner // the feature that rows are counted for
	litRange // an owner, and numbers
	litTable
	litCell // a field of the rows of the table that the argument is of
	litWindow
	litTokens
	litFunction
	litCall
)

// opInfo describes an instruction: its name, the types of its arguments (one letter each: n, b, t, d, r, g for
// number, bool, text, time, row and bag), the type of its result, and its literal.
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
		opIndex:          {"index", "t", kindNumber, litLevels},
		opSeen:           {"seen", "n", kindNumber, litOwner},
		opHot:            {"hot", "nn", kindNumber, litNone},
		opBucket:         {"bucket", "n", kindNumber, litNumbers},
		opWithin:         {"within", "n", kindNumber, litRange},
		opPick:           {"pick", "n", kindNumber, litNumbers},
		opWeight:         {"weight", "gn", kindNumber, litNone},
		opCellNumber:     {"cell_number", "r", kindNumber, litCell},
		opWindow:         {"window", "", kindNumber, litWindow},

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
		opCellText:     {"cell_text", "r", kindText, litCell},

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
		opCellTime:     {"cell_time", "r", kindTime, litCell},

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

		opRow:        {"row", "t", kindRow, litTable},
		opTokens:     {"tokens", "t", kindBag, litTokens},
		opHashTokens: {"hash_tokens", "t", kindBag, litTokens},
		opGrams:      {"grams", "t", kindBag, litTokens},

		opUser: {opUserName, "*", kindInvalid, litFunction}, // its types are the function's
		opCall: {"call", "?", kindInvalid, litCall},         // no value has arguments of this type: a call is never read
	}
}

// opUserName is the name of opUser, which is not found by the types of its arguments.
const opUserName = "function"

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
func (k kind) letter() byte { return "?nbtdrg?v"[k] }

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
	args []int32

	field   int // opColumn: of the schema; opCellNumber and its like: of the table's schema
	lit     literal
	pattern string
	group   int    // of a pattern; opIndex: the buckets for other texts
	zone    string // "" is UTC
	numbers []float64
	texts   []string
	times   []int64
	owner   string // the feature that counts
	table   int    // opRow
	window  int    // opWindow, with
	value   int    // one of its aggregates
	tokens  tokens
	call    *pending // opCall

	function *Function // opUser

	// folds, of opPick, are the numbers of training rows, one list a fold. They are not stored.
	folds [][]float64
}

// tokens says how a text is taken apart: into parts between separators, each of which is a label, or a label and a
// weight. For n-grams, low and high are the lengths in parts; for hashed ones, size is the number of buckets.
type tokens struct {
	Sep    string `json:"sep"`
	Weight string `json:"weight,omitempty"`
	Low    int    `json:"low,omitempty"`
	High   int    `json:"high,omitempty"` // below 0: up to all parts
	Size   int    `json:"size,omitempty"`
}

// rowOnly tells whether an instruction depends on the row that it is run for beside its arguments, or gives what a
// level's table cannot hold: it runs once a row, also where all rows have the same level.
func (op opcode) rowOnly() bool {
	switch op {
	case opSeen, opWithin, opRow, opWindow, opTokens, opHashTokens, opGrams:
		return true
	default:
		return false
	}
}

// arguments returns the values that v needs.
func (v *value) arguments() []int32 { return v.args }

func (v *value) isConst() bool {
	return v.op == opNumber || v.op == opBool || v.op == opText || v.op == opTime
}

// program is a list of values, and the positions of those that are its results.
type program struct {
	values  []value
	results []int32
	zones   map[string]*zone // by name, for every zone that a value uses
	tables  []Table
	windows []window
}

// live returns which values the given ones need, by value.
func (p *program) live(results []int32) []bool {
	live := make([]bool, len(p.values))
	for _, r := range results {
		live[r] = true
	}
	for i := len(live) - 1; i >= 0; i-- {
		if live[i] {
			for _, a := range p.values[i].arguments() {
				live[a] = true
			}
		}
	}
	return live
}

// roots returns the results of p, and what its windows are made of.
func (p *program) roots() []int32 {
	roots := slices.Clone(p.results)
	for i := range p.windows {
		w := &p.windows[i]
		roots = append(append(roots, w.key), w.args...)
		if w.where >= 0 {
			roots = append(roots, w.where)
		}
	}
	return roots
}

// fields returns the fields that the live values of p read, as sorted positions in the schema.
func (p *program) fields(live []bool) []int {
	var out []int
	for i := range p.values {
		if live[i] && p.values[i].op == opColumn {
			out = append(out, p.values[i].field)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// column returns the position of a window's aggregate among all aggregates.
func (p *program) column(v *value) int {
	n := v.value
	for i := range v.window {
		n += len(p.windows[i].aggregates)
	}
	return n
}
