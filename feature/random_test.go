package feature

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

// randomSchema has columns of every type.
func randomSchema() *record.Schema {
	s, err := record.NewSchema(
		record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "y", Type: record.Numeric},
		record.Field{Name: "e", Type: record.Enum}, record.Field{Name: "odd name", Type: record.Enum},
		record.Field{Name: "s", Type: record.String}, record.Field{Name: "u", Type: record.String},
		record.Field{Name: "d", Type: record.Time}, record.Field{Name: "g", Type: record.Time},
	)
	if err != nil {
		panic(err)
	}
	return s
}

func someNumbers() []float64 {
	return []float64{
		0, math.Copysign(0, -1), 1, -1, 2, 3, -2, 0.5, -1.5, 2.5, 10, 100, 1e-7, 1e21, 1e308, -1e308, 5e-324, 0.1, 1 << 53, 98155, 2014, 7.25,
	}
}

func someTexts() []string {
	return []string{
		"", "a", "A", "WA 98155", "WA 98004", "98155", " 12.5 ", "-3e2", "1e999", "0x10", "Zürich", "ÉCOLE école", "日本語 text", "aaa", "abcabc", "ⱯȺ", "İstanbul", "true", "\u00a0x\t", "a\nb",
	}
}

func someTimes() []time.Time {
	var out []time.Time
	for _, s := range []string{
		"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2014-05-02T00:00:00Z", "2014-03-09T09:59:59Z", "2014-03-09T10:00:00Z",
		"2000-02-29T12:34:56Z", "1900-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "2014-11-02T08:59:59Z", "2014-11-02T09:00:00Z", "2024-12-31T23:00:00Z",
	} {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		out = append(out, t, t.Add(123456*time.Microsecond))
	}
	return out
}

// grower draws random expressions.
type grower struct {
	t     *rapid.T
	specs []Spec // features made of parts of the expressions
	whole bool   // makes no such features
	more  bool   // uses a table, a window and buckets
}

func (g *grower) pick(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "pick") }

func pickOf[T any](g *grower, list ...T) T { return list[g.pick(len(list))] }

func (g *grower) grow(k kind, depth int) *tree {
	if depth <= 0 || g.pick(8) == 0 {
		return g.leaf(k)
	}
	if g.more && k != kindBool && g.pick(8) == 0 {
		return g.growEnriched(k, depth-1)
	}
	switch k {
	case kindNumber:
		return g.growNumber(depth - 1)
	case kindBool:
		return g.growBool(depth - 1)
	case kindText:
		return g.growText(depth - 1)
	default:
		return g.growTime(depth - 1)
	}
}

func (g *grower) leaf(k kind) *tree {
	column := g.pick(3) > 0
	t := &tree{op: "literal", kind: k}
	switch {
	case k == kindNumber && column:
		return &tree{op: "column", kind: k, name: pickOf(g, "x", "y")}
	case k == kindText && column:
		return &tree{op: "column", kind: k, name: pickOf(g, "e", "e", "odd name", "s", "u")}
	case k == kindTime && column:
		return &tree{op: "column", kind: k, name: pickOf(g, "d", "g")}
	case k == kindNumber:
		t.lit = pickOf(g, someNumbers()...)
	case k == kindText:
		t.lit = pickOf(g, someTexts()...)
	case k == kindTime:
		t.lit = pickOf(g, someTimes()...)
	default:
		t.lit = g.pick(2) == 0
	}
	return t
}

func (g *grower) op(op string, k kind, depth int, kids ...kind) *tree {
	t := &tree{op: op, kind: k}
	for _, kid := range kids {
		t.kids = append(t.kids, g.grow(kid, depth))
	}
	return t
}

// common grows the operations that every type has.
func (g *grower) common(k kind, depth int) *tree {
	switch g.pick(4) {
	case 0:
		return g.op("?:", k, depth, kindBool, k, k)
	case 1:
		return g.op("if", k, depth, kindBool, k, k)
	case 2:
		return g.op("??", k, depth, k, k)
	default:
		return g.op("coalesce", k, depth, k, k, k)
	}
}

func (g *grower) growNumber(depth int) *tree {
	const n, b, t, d = kindNumber, kindBool, kindText, kindTime
	switch g.pick(9) {
	case 0, 1, 2:
		return g.op(pickOf(g, "+", "-", "*", "/", "%", "**"), n, depth, n, n)
	case 3:
		return g.op(pickOf(g, "-x", "+x", "abs", "floor", "ceil", "round", "sqrt", "log", "log1p", "exp"), n, depth, n)
	case 4:
		return g.op(pickOf(g, "min", "max", "clip"), n, depth, n, n, n)
	case 5:
		if g.pick(3) == 0 {
			return g.op("number", n, depth, b)
		}
		return g.op(pickOf(g, "number", "len"), n, depth, t)
	case 6:
		switch g.pick(4) {
		case 0:
			return g.op("days_since", n, depth, d, d)
		case 1:
			return g.op("unix", n, depth, d)
		}
		part := g.op(pickOf(g, "year", "month", "day", "hour", "minute", "second", "weekday", "day_of_year"), n, depth, d)
		if g.pick(2) == 0 {
			part.extra = []string{pickOf(g, "America/Los_Angeles", "Asia/Kathmandu", "UTC", "Etc/GMT+12")}
		}
		return part
	case 7:
		return g.growLibrary(n, depth)
	default:
		return g.common(n, depth)
	}
}

func (g *grower) growBool(depth int) *tree {
	const n, b, t, d = kindNumber, kindBool, kindText, kindTime
	k := pickOf(g, n, t, d)
	switch g.pick(9) {
	case 0, 1:
		return g.op(pickOf(g, "<", "<=", ">", ">=", "==", "!="), b, depth, k, k)
	case 2:
		return g.op(pickOf(g, "and", "or", "==", "!="), b, depth, b, b)
	case 3:
		return g.op("not", b, depth, b)
	case 4:
		return g.op("is_missing", b, depth, pickOf(g, n, b, t, d))
	case 5:
		if g.pick(2) == 0 {
			return g.op("between", b, depth, k, k, k)
		}
		in := g.op("in", b, depth, k)
		for range 1 + g.pick(4) {
			in.extra = append(in.extra, g.element(k))
		}
		return in
	case 6:
		if g.pick(2) == 0 {
			m := g.op(pickOf(g, "matches", "matches()"), b, depth, t)
			m.extra = []string{pickOf(g, somePatterns()...)}
			return m
		}
		return g.op(pickOf(g, "contains", "contains()", "startsWith", "starts_with", "endsWith", "ends_with"), b, depth, t, t)
	case 7:
		return g.growLibrary(b, depth)
	default:
		return g.common(b, depth)
	}
}

func (g *grower) element(k kind) string {
	switch k {
	case kindNumber:
		return strconv.FormatFloat(pickOf(g, someNumbers()...), 'g', -1, 64)
	case kindText:
		return pickOf(g, someTexts()...)
	default:
		return pickOf(g, someTimes()...).Truncate(time.Second).Format(time.RFC3339)
	}
}

func somePatterns() []string {
	return []string{`^WA (\d+)$`, `[a-z]+`, `(a)|(b)`, ``, `(?i)école`, `(\d)(\d*)`, `x*$`, `\s`}
}

func (g *grower) growText(depth int) *tree {
	const n, b, t = kindNumber, kindBool, kindText
	switch g.pick(9) {
	case 0:
		return g.op("+", t, depth, t, t)
	case 1:
		return g.op(pickOf(g, "lower", "upper", "trim"), t, depth, t)
	case 2:
		return g.op("replace", t, depth, t, t, t)
	case 3:
		slice := g.op(pickOf(g, "[a:]", "[:b]"), t, depth, t, n)
		if g.pick(2) == 0 { // ends that hit
			slice.kids[1] = &tree{op: "literal", kind: n, lit: float64(g.pick(12) - 5)}
		}
		return slice
	case 4:
		slice := g.op("[a:b]", t, depth, t, n, n)
		if g.pick(3) > 0 {
			slice.kids[1] = &tree{op: "literal", kind: n, lit: float64(g.pick(12) - 5)}
			slice.kids[2] = &tree{op: "literal", kind: n, lit: float64(g.pick(12) - 5)}
		}
		return slice
	case 5:
		pattern := pickOf(g, somePatterns()...)
		x := g.op("extract", t, depth, t)
		x.extra = []string{pattern, strconv.Itoa(g.pick(1 + strings.Count(pattern, "(") - strings.Count(pattern, "(?")))}
		return x
	case 6:
		return g.op("text", t, depth, pickOf(g, n, b))
	case 7:
		return g.growLibrary(t, depth)
	default:
		return g.common(t, depth)
	}
}

func (g *grower) growTime(depth int) *tree { return g.common(kindTime, depth) }

// write returns t as a person would write it, if fond of brackets; now and then a part becomes a feature of its own.
func (g *grower) write(t *tree) string {
	src := g.writePlain(t)
	if !g.whole && t.op != "literal" && g.pick(10) == 0 {
		name := fmt.Sprintf("part_%d", len(g.specs))
		g.specs = append(g.specs, Spec{name, src})
		return name
	}
	return src
}

func (g *grower) writePlain(t *tree) string {
	var k []string
	for _, kid := range t.kids {
		k = append(k, g.write(kid))
	}
	space := pickOf(g, "", " ", "\n", " /* c */ ")
	switch t.op {
	case "literal":
		return writeLiteral(t.lit)
	case "column":
		if t.name == "odd name" {
			return `column("odd name")`
		}
		return t.name
	case "?:":
		return fmt.Sprintf("(%s ? %s : %s)", k[0], k[1], k[2])
	case "if":
		return fmt.Sprintf("(if %s {%s} else {%s})", k[0], k[1], k[2])
	case "-x", "+x":
		return fmt.Sprintf("(%s(%s))", t.op[:1], k[0])
	case "not":
		return fmt.Sprintf("(%s(%s))", pickOf(g, "!", "not "), k[0])
	case "[a:b]":
		return fmt.Sprintf("(%s)[%s:%s]", k[0], k[1], k[2])
	case "[a:]":
		return fmt.Sprintf("(%s)[%s:]", k[0], k[1])
	case "[:b]":
		return fmt.Sprintf("(%s)[:%s]", k[0], k[1])
	case "cell":
		return fmt.Sprintf("tab[%s].%s", k[0], t.name)
	case "bucketize":
		return fmt.Sprintf(`bucketize(%s, splits: [%s], output: "index")`, k[0], strings.Join(t.extra, ", "))
	case "matches", "in", "extract", "matches()":
		return writeLiterals(t, k[0])
	case "and", "or", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "%", "**", "??", "contains", "startsWith", "endsWith":
		return fmt.Sprintf("(%s%s %s %s)", k[0], space, t.op, k[1])
	case "contains()":
		return fmt.Sprintf("contains(%s, %s)", k[0], k[1])
	default:
		for _, e := range t.extra {
			k = append(k, strconv.Quote(e))
		}
		return t.op + "(" + strings.Join(k, ","+space) + ")"
	}
}

func writeLiterals(t *tree, x string) string {
	switch t.op {
	case "matches":
		return fmt.Sprintf("(%s matches %q)", x, t.extra[0])
	case "matches()":
		return fmt.Sprintf("matches(%s, `%s`)", x, t.extra[0])
	case "extract":
		return fmt.Sprintf("extract(%s, %q, %s)", x, t.extra[0], t.extra[1])
	}
	var list []string
	for _, e := range t.extra {
		switch t.kids[0].kind {
		case kindText:
			e = strconv.Quote(e)
		case kindTime:
			e = fmt.Sprintf("time(%q)", e)
		default:
		}
		list = append(list, e)
	}
	return fmt.Sprintf("(%s in [%s])", x, strings.Join(list, ", "))
}

func writeLiteral(c cell) string {
	switch v := c.(type) {
	case float64:
		return "(" + strconv.FormatFloat(v, 'g', -1, 64) + ")"
	case string:
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return fmt.Sprintf("time(%q)", v.Format(time.RFC3339Nano))
	default:
		panic("no such literal")
	}
}
