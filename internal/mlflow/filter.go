package mlflow

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A filter is what MLflow calls a filter string: conditions with AND between them, such as
//
//	name LIKE 'house%' AND tags.team = 'pricing'
//	name = 'house-prices' AND version_number > 3
//
// A value is in quotes, two quotes within stand for one; a key that is not one word is in backticks or double quotes.
type filter []clause

// clause is one condition.
type clause struct {
	tag    bool   // key is that of a tag, else of an attribute
	key    string // of an attribute as MLflow calls it
	op     string // = != < <= > >= LIKE ILIKE IN, and "NOT IN"
	texts  []string
	number int64 // of an attribute that is one
}

// The bounds of a filter.
const (
	maxFilter  = 8 << 10 // bytes
	maxClauses = 50
	maxIn      = 1000 // values of a list
)

// attributes tells which attributes a search knows, and whether they are numbers.
type attributes map[string]bool

func modelAttributes() attributes {
	return attributes{"name": false, "creation_timestamp": true, "last_updated_timestamp": true}
}

func versionAttributes() attributes {
	return attributes{
		"name": false, "run_id": false, "source_path": false, "user_id": false, "version_number": true, "creation_timestamp": true,
		"last_updated_timestamp": true,
	}
}

// parseFilter reads a filter string; an empty one lets all through.
func parseFilter(s string, known attributes) (filter, error) {
	if len(s) > maxFilter {
		return nil, failed(InvalidParameter, "the filter has %d bytes, at most %d are read", len(s), maxFilter)
	}
	p := &filterParser{rest: s, known: known}
	if p.space(); p.rest == "" {
		return nil, nil
	}
	var f filter
	for {
		c, err := p.clause()
		if err != nil {
			return nil, err
		}
		if f = append(f, c); len(f) > maxClauses {
			return nil, failed(InvalidParameter, "the filter has more than %d conditions", maxClauses)
		}
		if p.space(); p.rest == "" {
			return f, nil
		}
		if !p.word("AND") {
			return nil, p.wrong("AND between two conditions")
		}
	}
}

// filterParser reads a filter from left to right.
type filterParser struct {
	rest  string
	known attributes
}

func (p *filterParser) wrong(want string) error {
	return failed(InvalidParameter, "invalid filter: want %s, at %.60q", want, p.rest)
}

func (p *filterParser) space() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

// take returns the bytes at the beginning that fit, which are taken.
func (p *filterParser) take(fits func(c rune) bool) string {
	n := strings.IndexFunc(p.rest, func(c rune) bool { return !fits(c) })
	if n < 0 {
		n = len(p.rest)
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func wordRune(c rune) bool { return c == '_' || c == '-' || unicode.IsLetter(c) || unicode.IsDigit(c) }

// word takes a word if it comes next, in either case.
func (p *filterParser) word(w string) bool {
	p.space()
	if len(p.rest) < len(w) || !strings.EqualFold(p.rest[:len(w)], w) {
		return false
	}
	if c, _ := utf8.DecodeRuneInString(p.rest[len(w):]); len(p.rest) > len(w) && wordRune(c) {
		return false
	}
	p.rest = p.rest[len(w):]
	return true
}

// quoted takes text between two quotes, in which two of them stand for one.
func (p *filterParser) quoted(quotes string) (string, bool) {
	if p.rest == "" || !strings.ContainsRune(quotes, rune(p.rest[0])) {
		return "", false
	}
	q, s := p.rest[:1], strings.Builder{}
	for rest := p.rest[1:]; ; {
		part, after, ok := strings.Cut(rest, q)
		if !ok {
			return "", false
		}
		s.WriteString(part)
		if !strings.HasPrefix(after, q) {
			p.rest = after
			return s.String(), true
		}
		s.WriteString(q)
		rest = after[1:]
	}
}

// name takes what a condition is about.
func (p *filterParser) name(c *clause) error {
	p.space()
	at := *p
	what := p.take(wordRune)
	if strings.HasPrefix(p.rest, ".") {
		kind := strings.ToLower(what)
		p.rest = p.rest[1:]
		if c.tag = kind == "tag" || kind == "tags"; !c.tag && kind != "attribute" && kind != "attributes" {
			return at.wrong("an attribute, or tags.KEY")
		}
		var ok bool
		if what, ok = p.quoted("`\""); !ok {
			what = p.take(func(r rune) bool { return wordRune(r) || r == '.' || r == '/' })
		}
	}
	if c.key = what; what == "" {
		return at.wrong("an attribute, or tags.KEY")
	}
	if _, ok := p.known[c.key]; !ok && !c.tag {
		return failed(InvalidParameter, "invalid filter: there is no attribute %.60q; there are %s, and tags.KEY", c.key, p.known.names())
	}
	return nil
}

// operator takes what a condition compares with.
func (p *filterParser) operator(number bool) (string, bool) {
	p.space()
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if rest, ok := strings.CutPrefix(p.rest, op); ok && (number || op == "=" || op == "!=") {
			p.rest = rest
			return op, true
		}
	}
	for _, op := range []string{"LIKE", "ILIKE", "IN"} {
		if !number && p.word(op) {
			return op, true
		}
	}
	if at := p.rest; !number && p.word("NOT") {
		if p.word("IN") {
			return "NOT IN", true
		}
		p.rest = at
	}
	return "", false
}

// clause takes one condition.
func (p *filterParser) clause() (c clause, err error) {
	if err := p.name(&c); err != nil {
		return c, err
	}
	number := !c.tag && p.known[c.key]
	var ok bool
	if c.op, ok = p.operator(number); !ok {
		if number {
			return c, p.wrong("one of = != < <= > >=")
		}
		return c, p.wrong("one of = != LIKE ILIKE IN, NOT IN")
	}
	p.space()
	switch {
	case number:
		digits := p.take(func(r rune) bool { return r >= '0' && r <= '9' })
		if c.number, err = strconv.ParseInt(digits, 10, 64); err != nil {
			return c, p.wrong("a whole number")
		}
	case strings.HasSuffix(c.op, "IN"):
		c.texts, err = p.list()
	default:
		value, ok := p.quoted("'\"")
		if !ok {
			return c, p.wrong("a value in quotes")
		}
		c.texts = []string{value}
	}
	return c, err
}

// list takes values in brackets.
func (p *filterParser) list() (values []string, err error) {
	open := "("
	for {
		p.space()
		if !strings.HasPrefix(p.rest, open) {
			return nil, p.wrong(open)
		}
		p.rest, open = p.rest[1:], ","
		p.space()
		value, ok := p.quoted("'\"")
		if !ok {
			return nil, p.wrong("a value in quotes")
		}
		if values = append(values, value); len(values) > maxIn {
			return nil, failed(InvalidParameter, "invalid filter: a list has more than %d values", maxIn)
		}
		if p.space(); strings.HasPrefix(p.rest, ")") {
			p.rest = p.rest[1:]
			return values, nil
		}
	}
}

// like tells whether s fits a pattern of SQL: % is any text, and _ one character.
func like(s, pattern string) bool {
	text, p := []rune(s), []rune(pattern)
	i, j, star, from := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case j < len(p) && p[j] == '%':
			star, from = j, i
			j++
		case j < len(p) && (p[j] == '_' || p[j] == text[i]):
			i, j = i+1, j+1
		case star >= 0: // the last % takes one character more
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == '%' {
		j++
	}
	return j == len(p)
}
