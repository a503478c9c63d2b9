package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/record"
)

// profile collects what is needed to decide what a column is.
type profile struct {
	name          string
	rows, missing int            // missing: empty cells
	absent        map[string]int // the other texts that are missing values of numbers and times, and how often each came
	absences      int

	numbers     bool // every value is a number
	notNumber   int  // the first row with another value, from 1
	whole       bool // every value is a whole number
	digits      bool // and is written as one
	ascending   bool // each is the one before plus 1
	last        float64
	least, most float64
	positive    moments

	times           bool
	layout          string // of the last time
	earliest, until time.Time
	others          []string // the layouts that are no default and that every value has had so far

	distinct map[string]struct{}
	many     bool // there are more values than distinct may hold
}

func newProfile(name string) *profile {
	return &profile{name: name, numbers: true, whole: true, digits: true, ascending: true, times: true, others: otherLayouts(), distinct: map[string]struct{}{}}
}

// values returns how many cells hold a value, if the column is of numbers or times.
func (p *profile) values() int { return p.rows - p.missing - p.absences }

// add takes the next cell; missing tells that it is empty.
func (p *profile) add(cell string, missing bool) {
	p.rows++
	if missing {
		p.missing++
		p.ascending = false
		return
	}
	if absentText(cell) {
		if p.absent == nil {
			p.absent = map[string]int{}
		}
		p.absent[strings.Clone(cell)]++
		p.absences++
		p.ascending = false
		return
	}
	key := cell
	if p.numbers {
		if x, ok := number(cell); ok {
			p.addNumber(x, cell)
			if key = plainNumber(x); len(key) > maxLevelBytes { // digits that say no more than the exponent does
				key = strconv.FormatFloat(x, 'g', -1, 64)
			}
		} else {
			p.numbers, p.whole, p.digits, p.ascending, p.notNumber = false, false, false, false, p.rows
		}
	}
	if p.times {
		p.addTime(cell)
	}
	p.others = slices.DeleteFunc(p.others, func(layout string) bool { return !hasLayout(cell, layout) })
	if !p.many {
		if len(key) > maxLevelBytes || len(p.distinct) > maxLevels {
			p.many, p.distinct = true, nil
		} else {
			p.distinct[strings.Clone(key)] = struct{}{}
		}
	}
}

// absentText tells whether a cell of a numeric or time column means a missing value, by the default of codec.CSVOptions.
func absentText(cell string) bool {
	switch cell {
	case "NA", "N/A", "NaN", "nan", "null", "NULL":
		return true
	}
	return false
}

func (p *profile) addNumber(x float64, cell string) {
	first := p.values() == 1
	if first || x < p.least {
		p.least = x
	}
	if first || x > p.most {
		p.most = x
	}
	if x != math.Trunc(x) || math.Abs(x) >= 1<<53 {
		p.whole, p.ascending = false, false
	}
	if strings.ContainsAny(cell, ".eE") {
		p.digits = false
	}
	if !first && x != p.last+1 {
		p.ascending = false
	}
	p.last = x
	if x > 0 {
		p.positive.add(x)
	}
}

func (p *profile) addTime(cell string) {
	for _, layout := range record.DefaultLayouts() {
		t, err := time.Parse(layout, cell)
		if err != nil || !strictTime(cell) {
			continue
		}
		if p.values() == 1 || t.Before(p.earliest) {
			p.earliest = t
		}
		if p.values() == 1 || t.After(p.until) {
			p.until = t
		}
		p.layout = layout
		return
	}
	p.times = false
}

// otherLayouts returns layouts that are common and no default. A file can have several: no day of it may be above 12.
func otherLayouts() []string {
	var list []string
	for _, date := range []string{"02/01/2006", "01/02/2006", "02.01.2006", "2006/01/02", "02-01-2006", "01-02-2006"} {
		list = append(list, date, date+" 15:04", date+" 15:04:05")
	}
	return append(list, "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02T15:04:05")
}

// hasLayout tells whether a cell is a time in a layout, also as codec takes it: with two digits where the layout has two.
func hasLayout(cell, layout string) bool {
	_, err := time.Parse(layout, cell)
	return err == nil && len(cell) == len(layout)
}

// strictTime refuses what package time reads and codec does not: an hour of one digit, and a comma before a fraction.
func strictTime(cell string) bool {
	const hour = len("2006-01-02 15")
	return len(cell) == len(time.DateOnly) || len(cell) > hour && cell[hour] == ':' && !strings.Contains(cell, ",")
}

// number reads a cell as codec does: a JSON number that is finite, and, where it is an integer, exact in a float64.
func number(cell string) (float64, bool) {
	if !jsonNumber(cell) {
		return 0, false
	}
	x, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return 0, false
	}
	if !strings.ContainsAny(cell, ".eE") && math.Abs(x) >= 1<<53 && strconv.FormatFloat(x, 'f', 0, 64) != cell {
		return 0, false
	}
	return x, true
}

func jsonNumber(s string) bool {
	digits := func() bool {
		n := len(s)
		s = strings.TrimLeft(s, "0123456789")
		return len(s) < n
	}
	s = strings.TrimPrefix(s, "-")
	if strings.HasPrefix(s, "0") {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		if !digits() {
			return false
		}
	}
	if strings.HasPrefix(s, "e") || strings.HasPrefix(s, "E") {
		s = s[1:]
		if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// column decides what the column is.
func (p *profile) column(label bool) InferredColumn {
	c := InferredColumn{Name: p.name, Missing: p.missing + p.absences}
	n := len(p.distinct)
	named := identifierName(p.name)
	switch {
	case p.values() == 0:
		c.Type, c.Seen, c.Ignored = record.String, "no cell has a value", "it has no value"
		return c
	case label:
		c.Type, c.Seen = record.Numeric, "the label: "+p.interval()
		return c
	case p.numbers && (p.codes() || named && p.whole && p.levels(n, p.values())):
		c.Type, c.Seen = record.Enum, plural(n, "level")+", "+p.interval()
	case p.numbers:
		c.Type, c.Seen = record.Numeric, p.interval()
		if p.whole && p.values() > 2 && (named || p.ascending) {
			c.Ignored = "it looks like an identifier"
		}
	case p.times:
		c.Type, c.Seen, c.Ignored = record.Time, p.period(), "a time is no input as it is"
	default:
		n += len(p.absent) // as texts they are values
		c.Missing = p.missing
		c.Type, c.Seen = record.Enum, plural(n, "level")
		if !p.levels(n, p.rows-p.missing) {
			c.Type, c.Seen, c.Ignored = record.String, p.texts(n), "a text is no input as it is"
		}
		if len(p.others) > 0 {
			c.Seen += "; if it is a time, say so under time: {name: " + scalar(p.name) + ", layouts: [" + strconv.Quote(p.others[0]) + "]}"
			if len(p.others) > 1 {
				c.Seen += ", or " + strings.Join(quotedAll(p.others[1:]), ", ")
			}
		}
	}
	if n == 1 && c.Missing == 0 && !p.many {
		c.Seen, c.Ignored = "the same value in every row", "it has the same value in every row"
	}
	return c
}

// levels tells whether n different values among so many are few enough for an enum.
func (p *profile) levels(n, values int) bool {
	return !p.many && n <= maxLevels && n*rowsPerLevel <= values
}

func quotedAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return out
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// codes tells whether the numbers look like codes of a few levels.
func (p *profile) codes() bool {
	n := len(p.distinct)
	return p.whole && p.digits && p.least >= 0 && p.most <= maxCode && n <= maxCodes && n > 0 && p.values() >= n*rowsPerCode
}

func identifierName(name string) bool {
	return regexp.MustCompile(`^(?i:id|uuid|key)$|[_ .-](?i:id)$|[a-z]I[dD]$`).MatchString(name)
}

func (p *profile) interval() string {
	return shortNumber(p.least) + " to " + shortNumber(p.most)
}

func shortNumber(x float64) string {
	if a := math.Abs(x); x == 0 || a >= 1e-4 && a < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

func (p *profile) period() string {
	layout := time.DateOnly
	if p.earliest.Format(layout) == p.until.Format(layout) {
		layout = time.DateTime
	}
	return p.earliest.UTC().Format(layout) + " to " + p.until.UTC().Format(layout)
}

func (p *profile) texts(n int) string {
	if p.many {
		return fmt.Sprintf("more than %d different texts, or long ones", maxLevels)
	}
	return plural(n, "different text") + " in " + plural(p.rows-p.missing, "row")
}

// moments are the first three central moments of a stream of numbers, updated one at a time (Pébay, "Formulas for
// robust, one-pass parallel computation of covariances and arbitrary-order statistical moments", 2008).
type moments struct {
	n            int
	mean, m2, m3 float64
}

func (m *moments) add(x float64) {
	m.n++
	n := float64(m.n)
	d := x - m.mean
	dn := d / n
	term := float64(float64(d*dn) * (n - 1))
	m.mean += dn
	m.m3 += float64(float64(term*dn)*(n-2)) - float64(float64(3*dn)*m.m2)
	m.m2 += term
}

// skewness returns the standardised third moment; 0 where all numbers are equal.
func (m *moments) skewness() float64 {
	if m.m2 <= 0 {
		return 0
	}
	n := float64(m.n)
	return math.Sqrt(n) * m.m3 / math.Pow(m.m2, 1.5)
}
