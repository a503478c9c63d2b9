package feature

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"millrace.dev/internal/detmath"
)

// This file is a second implementation of expressions, to hold the first against: it walks a tree once a row,
// over values that know whether they are there.

// cell is a value: nil is missing; else a float64, bool, string or time.Time.
type cell any

// as returns c, which is a T.
func as[T any](c cell) T {
	v, ok := c.(T)
	if !ok {
		panic(fmt.Sprintf("%v is a %T", c, c))
	}
	return v
}

// tree is an expression: a literal, a column, or an operation.
type tree struct {
	op    string // "literal", "column", or what ops has
	kind  kind
	lit   cell
	name  string // of a column
	kids  []*tree
	extra []string // literal arguments: a regular expression, a group, a zone, a list
}

// row is one record: the value of each column.
type row map[string]cell

func (t *tree) eval(r row) cell {
	switch t.op {
	case "literal":
		return t.lit
	case "column":
		return r[t.name]
	}
	args := make([]cell, len(t.kids))
	missing := false
	for i, k := range t.kids {
		args[i] = k.eval(r)
		missing = missing || args[i] == nil
	}
	if v, special := evalSpecial(t.op, args); special {
		return v
	}
	if missing {
		return nil
	}
	if v, enriched := evalEnriched(t, args[0]); enriched {
		return v
	}
	v, library := evalLibrary(t, args)
	if !library {
		v = evalPlain(t, args)
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil
	}
	return v
}

func evalPlain(t *tree, args []cell) cell {
	switch args[0].(type) {
	case float64:
		return evalNumbers(t, args)
	case string:
		return evalTexts(t, args)
	case time.Time:
		return evalTimes(t, args)
	default:
		return evalBools(t, args)
	}
}

// evalSpecial has the operations that take missing values.
func evalSpecial(op string, args []cell) (cell, bool) {
	switch op {
	case "is_missing":
		return args[0] == nil, true
	case "coalesce", "??":
		for _, a := range args {
			if a != nil {
				return a, true
			}
		}
		return nil, true
	case "?:", "if":
		switch args[0] {
		case true:
			return args[1], true
		case false:
			return args[2], true
		default:
			return nil, true
		}
	case "and":
		return kleene(args[0], args[1], false), true
	case "or":
		return kleene(args[0], args[1], true), true
	case "between":
		low, high := cell(nil), cell(nil)
		if args[0] != nil && args[1] != nil {
			low = order(args[1], args[0]) <= 0
		}
		if args[0] != nil && args[2] != nil {
			high = order(args[0], args[2]) <= 0
		}
		return kleene(low, high, false), true
	}
	return nil, false
}

// kleene is or where decisive is true, and where it is false.
func kleene(a, b cell, decisive bool) cell {
	switch {
	case a == decisive || b == decisive:
		return decisive
	case a == nil || b == nil:
		return nil
	default:
		return !decisive
	}
}

func order(a, b cell) int {
	switch x := a.(type) {
	case float64:
		return cmp.Compare(x, as[float64](b))
	case string:
		return strings.Compare(x, as[string](b))
	case time.Time:
		return x.Compare(as[time.Time](b))
	default:
		panic("no order")
	}
}

func compareCells(op string, a, b cell) (cell, bool) {
	switch op {
	case "<":
		return order(a, b) < 0, true
	case "<=":
		return order(a, b) <= 0, true
	case ">":
		return order(a, b) > 0, true
	case ">=":
		return order(a, b) >= 0, true
	case "==":
		return order(a, b) == 0, true
	case "!=":
		return order(a, b) != 0, true
	}
	return nil, false
}

func evalNumbers(t *tree, args []cell) cell {
	x := as[float64](args[0])
	if len(args) == 2 {
		if v, ok := compareCells(t.op, args[0], args[1]); ok {
			return v
		}
		return evalTwoNumbers(t.op, x, as[float64](args[1]))
	}
	switch t.op {
	case "-x":
		return -x
	case "+x":
		return x
	case "abs":
		return math.Abs(x)
	case "floor":
		return math.Floor(x)
	case "ceil":
		return math.Ceil(x)
	case "round":
		r := math.Trunc(x)
		if math.Abs(x-r) >= 0.5 {
			r += math.Copysign(1, x)
		}
		return math.Copysign(r, x)
	case "sqrt":
		return math.Sqrt(x)
	case "log":
		return detmath.Log(x)
	case "log1p":
		return log1p(x)
	case "exp":
		return detmath.Exp(x)
	case "clip":
		return math.Min(math.Max(x, as[float64](args[1])), as[float64](args[2]))
	case "min":
		return math.Min(math.Min(x, as[float64](args[1])), as[float64](args[2]))
	case "max":
		return math.Max(math.Max(x, as[float64](args[1])), as[float64](args[2]))
	case "text":
		return formatNumber(x)
	case "in":
		return slices.ContainsFunc(t.extra, func(e string) bool { f, _ := strconv.ParseFloat(e, 64); return f == x })
	}
	panic(t.op)
}

func formatNumber(x float64) string {
	if x == 0 {
		return "0"
	}
	if m := math.Abs(x); m < 1e-6 || m >= 1e21 {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

func evalTwoNumbers(op string, x, y float64) cell {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return float64(x * y)
	case "/":
		return x / y
	case "%":
		return math.Mod(x, y)
	case "**":
		return power(x, y)
	}
	panic(op)
}

func evalBools(t *tree, args []cell) cell {
	b := as[bool](args[0])
	switch t.op {
	case "not":
		return !b
	case "==":
		return b == as[bool](args[1])
	case "!=":
		return b != as[bool](args[1])
	case "number":
		if b {
			return 1.0
		}
		return 0.0
	case "text":
		return strconv.FormatBool(b)
	}
	panic(t.op)
}

func evalTexts(t *tree, args []cell) cell {
	s := as[string](args[0])
	if len(args) == 2 && args[1] != nil {
		if _, ok := args[1].(string); ok {
			if v, ok := compareCells(t.op, args[0], args[1]); ok {
				return v
			}
		}
	}
	switch t.op {
	case "+":
		return bounded(s + as[string](args[1]))
	case "lower":
		return bounded(strings.Map(unicode.ToLower, s))
	case "upper":
		return bounded(strings.Map(unicode.ToUpper, s))
	case "trim":
		return strings.TrimFunc(s, unicode.IsSpace)
	case "len":
		return float64(len([]rune(s)))
	case "starts_with", "startsWith":
		return strings.HasPrefix(s, as[string](args[1]))
	case "ends_with", "endsWith":
		return strings.HasSuffix(s, as[string](args[1]))
	case "contains", "contains()":
		return strings.Contains(s, as[string](args[1]))
	case "replace":
		if as[string](args[1]) == "" {
			return bounded(s)
		}
		return bounded(strings.ReplaceAll(s, as[string](args[1]), as[string](args[2])))
	case "[a:b]":
		return runePart(s, as[float64](args[1]), as[float64](args[2]))
	case "[a:]":
		return runePart(s, as[float64](args[1]), math.Inf(1))
	case "[:b]":
		return runePart(s, 0, as[float64](args[1]))
	case "matches", "matches()":
		return regexp.MustCompile(t.extra[0]).MatchString(s)
	case "extract":
		group, _ := strconv.Atoi(t.extra[1])
		m := regexp.MustCompile(t.extra[0]).FindStringSubmatchIndex(s)
		if m == nil || m[2*group] < 0 {
			return nil
		}
		return s[m[2*group]:m[2*group+1]]
	case "in":
		return slices.Contains(t.extra, s)
	case "number":
		return readNumber(s)
	}
	panic(t.op)
}

func bounded(s string) cell {
	if len(s) > maxText {
		return nil
	}
	return s
}

func runePart(s string, a, b float64) cell {
	runes := []rune(s)
	n := float64(len(runes))
	end := func(x float64) float64 {
		if x < 0 {
			x = math.Max(x+n, 0)
		}
		return math.Min(x, n)
	}
	if a != math.Trunc(a) || b != math.Trunc(b) {
		return nil
	}
	if a, b = end(a), end(b); a >= b {
		return ""
	}
	return string(runes[int(a):int(b)])
}

func readNumber(s string) cell {
	s = strings.TrimSpace(s)
	if !regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`).MatchString(s) {
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil
	}
	return f
}

func evalTimes(t *tree, args []cell) cell {
	d := as[time.Time](args[0])
	if len(args) == 2 {
		if v, ok := compareCells(t.op, args[0], args[1]); ok {
			return v
		}
		return float64(d.Sub(as[time.Time](args[1])).Microseconds()) / 86400e6
	}
	if len(t.extra) == 1 && t.op != "in" {
		loc, err := time.LoadLocation(t.extra[0])
		if err != nil {
			panic(err)
		}
		d = d.In(loc)
	}
	switch t.op {
	case "year":
		return float64(d.Year())
	case "month":
		return float64(d.Month())
	case "day":
		return float64(d.Day())
	case "hour":
		return float64(d.Hour())
	case "minute":
		return float64(d.Minute())
	case "second":
		return float64(d.Second())
	case "day_of_year":
		return float64(d.YearDay())
	case "weekday":
		if d.Weekday() == time.Sunday {
			return 7.0
		}
		return float64(d.Weekday())
	case "unix":
		return float64(d.UnixMicro()) / 1e6
	case "in":
		return slices.ContainsFunc(t.extra, func(e string) bool { x, _ := time.Parse(time.RFC3339, e); return x.Equal(d) })
	}
	panic(t.op)
}
