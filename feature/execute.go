package feature

import (
	"math"

	"millrace.dev/internal/detmath"
)

// execute runs one instruction that computes n values from registers alone.
func (m *machine) execute(r *registers, c *code, n int) {
	switch {
	case c.op.inLibrary():
		m.executeLibrary(r, c, n)
	case c.op < opLessNumber:
		m.executeNumber(r, c, n)
	case c.op < opConcat:
		m.executeBool(r, c, n)
	case c.op < opSelectTime:
		m.executeText(r, c, n)
	case c.op < opRow:
		m.executeTime(r, c, n)
	case c.op == opRow:
		m.findRows(r.row[c.dst][:n], r.text[c.a], m.lists[c.aux].table)
	case c.op == opUser:
		m.callUser(r, c, n)
	default:
		m.takeApart(c.op, r, r.bag[c.dst][:n], r.text[c.a], &m.lists[c.aux])
	}
}

// executeFitted runs the instructions that carry what was fitted, or what does not come from the record.
func (m *machine) executeFitted(r *registers, c *code, dst []float64) {
	switch c.op {
	case opIndex:
		index(dst, r.text[c.a], &m.lists[c.aux])
	case opSeen:
		m.seen(dst, r.number[c.a], m.lists[c.aux].owner)
	case opHot:
		hot(dst, r.number[c.a], r.number[c.b])
	case opBucket:
		bucket(dst, r.number[c.a], m.lists[c.aux].numbers)
	case opWithin:
		m.within(dst, r.number[c.a], &m.lists[c.aux])
	case opPick:
		m.pick(dst, r.number[c.a], &m.lists[c.aux])
	case opWeight:
		weight(dst, r.bag[c.a], r.number[c.b])
	case opCellNumber:
		cellNumber(dst, r.row[c.a], m.lists[c.aux].column)
	default:
		m.window(dst, m.lists[c.aux].column)
	}
}

func (m *machine) executeNumber(r *registers, c *code, n int) {
	dst := r.number[c.dst][:n]
	switch c.op {
	case opNumberBool:
		numberBool(dst, r.flag[c.a])
	case opNumberText:
		numberText(dst, r.text[c.a])
	case opLen:
		length(dst, r.text[c.a])
	case opSelectNumber:
		selectNumber(dst, r.flag[c.a], r.number[c.b], r.number[c.c])
	case opIndex, opSeen, opHot, opBucket, opWithin, opPick, opWeight, opCellNumber, opWindow:
		m.executeFitted(r, c, dst)
	case opNeg, opAbs, opFloor, opCeil, opRound, opSqrt, opLog, opLog1p, opExp:
		unaryNumber(c.op, dst, r.number[c.a])
	default:
		binaryNumber(c.op, dst, r.number[c.a], r.number[c.b])
	}
}

func unaryNumber(op opcode, dst, a []float64) {
	switch op {
	case opNeg:
		neg(dst, a)
	case opAbs:
		abs(dst, a)
	case opFloor:
		floor(dst, a)
	case opCeil:
		ceil(dst, a)
	case opRound:
		round(dst, a)
	case opSqrt:
		sqrt(dst, a)
	case opLog:
		apply(dst, a, detmath.Log)
	case opLog1p:
		apply(dst, a, log1p)
	case opExp:
		apply(dst, a, detmath.Exp)
	default:
		panic("feature: no such instruction of one number")
	}
}

func binaryNumber(op opcode, dst, a, b []float64) {
	switch op {
	case opAdd:
		add(dst, a, b)
	case opSub:
		sub(dst, a, b)
	case opMul:
		mul(dst, a, b)
	case opDiv:
		div(dst, a, b)
	case opMod:
		apply2(dst, a, b, math.Mod)
	case opPow:
		apply2(dst, a, b, power)
	case opMin:
		least(dst, a, b)
	case opMax:
		greatest(dst, a, b)
	case opCoalesceNumber:
		coalesceNumber(dst, a, b)
	default:
		panic("feature: no such instruction of two numbers")
	}
}

func (m *machine) executeBool(r *registers, c *code, n int) {
	dst := r.flag[c.dst][:n]
	switch c.op {
	case opAnd:
		and(dst, r.flag[c.a], r.flag[c.b])
	case opOr:
		or(dst, r.flag[c.a], r.flag[c.b])
	case opNot:
		not(dst, r.flag[c.a])
	case opSelectBool:
		selectValue(dst, r.flag[c.a], r.flag[c.b], r.flag[c.c], unknown)
	case opCoalesceBool:
		coalesceBool(dst, r.flag[c.a], r.flag[c.b])
	case opMissingBool:
		missingBool(dst, r.flag[c.a])
	case opEqualBool:
		equalBool(dst, r.flag[c.a], r.flag[c.b])
	case opLessNumber, opAtMostNumber, opEqualNumber, opInNumber, opMissingNumber:
		m.testNumber(r, c, dst)
	case opLessTime, opAtMostTime, opEqualTime, opInTime, opMissingTime:
		m.testTime(r, c, dst)
	default:
		m.testText(r, c, dst)
	}
}

func (m *machine) testNumber(r *registers, c *code, dst []uint8) {
	a := r.number[c.a]
	switch c.op {
	case opLessNumber:
		lessNumber(dst, a, r.number[c.b])
	case opAtMostNumber:
		atMostNumber(dst, a, r.number[c.b])
	case opEqualNumber:
		equalNumber(dst, a, r.number[c.b])
	case opInNumber:
		inNumber(dst, a, m.lists[c.aux].numbers)
	default:
		missingNumber(dst, a)
	}
}

func (m *machine) testTime(r *registers, c *code, dst []uint8) {
	a := r.time[c.a]
	switch c.op {
	case opLessTime:
		lessTime(dst, a, r.time[c.b])
	case opAtMostTime:
		atMostTime(dst, a, r.time[c.b])
	case opEqualTime:
		equalTime(dst, a, r.time[c.b])
	case opInTime:
		inTime(dst, a, m.lists[c.aux].times)
	default:
		isMissingTime(dst, a)
	}
}

func (m *machine) testText(r *registers, c *code, dst []uint8) {
	a := r.text[c.a]
	switch c.op {
	case opLessText:
		lessText(dst, a, r.text[c.b])
	case opAtMostText:
		atMostText(dst, a, r.text[c.b])
	case opEqualText:
		equalText(dst, a, r.text[c.b])
	case opStartsWith:
		startsWith(dst, a, r.text[c.b])
	case opEndsWith:
		endsWith(dst, a, r.text[c.b])
	case opContains:
		contains(dst, a, r.text[c.b])
	case opInText:
		inText(dst, a, m.lists[c.aux].texts)
	case opMatches:
		matches(dst, a, m.patterns[c.aux].re)
	case opMissingText:
		missingText(dst, a)
	default:
		panic("feature: no such test of a text")
	}
}

func (m *machine) executeText(r *registers, c *code, n int) {
	dst := r.text[c.dst][:n]
	switch c.op {
	case opConcat:
		concat(dst, r.text[c.a], r.text[c.b], r.arena)
	case opLower:
		lower(dst, r.text[c.a], r.arena)
	case opUpper:
		upper(dst, r.text[c.a], r.arena)
	case opTrim:
		trim(dst, r.text[c.a])
	case opReplace:
		replace(dst, r.text[c.a], r.text[c.b], r.text[c.c], r.arena)
	case opSlice:
		slice(dst, r.text[c.a], r.number[c.b], r.number[c.c])
	case opSliceFrom:
		sliceFrom(dst, r.text[c.a], r.number[c.b])
	case opExtract:
		extract(dst, r.text[c.a], m.patterns[c.aux])
	case opTextNumber:
		textNumber(dst, r.number[c.a], r.arena)
	case opTextBool:
		textBool(dst, r.flag[c.a])
	case opSelectText:
		selectValue(dst, r.flag[c.a], r.text[c.b], r.text[c.c], text{})
	case opCoalesceText:
		coalesceText(dst, r.text[c.a], r.text[c.b])
	case opCellText:
		cellText(dst, r.row[c.a], m.lists[c.aux].column)
	default:
		panic("feature: no such instruction of texts")
	}
}

func (m *machine) executeTime(r *registers, c *code, n int) {
	switch c.op {
	case opSelectTime:
		selectValue(r.time[c.dst][:n], r.flag[c.a], r.time[c.b], r.time[c.c], missingTime)
	case opCoalesceTime:
		coalesceTime(r.time[c.dst][:n], r.time[c.a], r.time[c.b])
	case opCellTime:
		cellTime(r.time[c.dst][:n], r.row[c.a], m.lists[c.aux].column)
	case opUnix:
		unix(r.number[c.dst][:n], r.time[c.a])
	case opDaysSince:
		daysSince(r.number[c.dst][:n], r.time[c.a], r.time[c.b])
	default:
		datePart(c.op, r.number[c.dst][:n], r.time[c.a], m.zones[c.aux])
	}
}
