package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Default rules.
const (
	DefaultMinRows     = 200
	DefaultFalseAlarms = 0.01
	DefaultNumbers     = "ks" // the metric of numbers and times
	DefaultLevels      = "g"  // the metric of levels
)

// Rules say what of a window is checked against the training data. A check is fixed, with a threshold of its own, or
// calibrated: then all calibrated checks of a window share one declared rate of false alarms.
//
// Columns lists default to the rules' Columns, and these to all columns of the profile other than labels and times: the
// times of new data differ from those of the past, which says nothing. A time that is named is checked.
type Rules struct {
	MinRows     uint64  // fewer rows are not judged. Default: 200
	FalseAlarms float64 // the share of windows without drift in which a calibrated check fails. Default: 0.01
	Columns     []string
	Nulls       *NullRule // nil: calibrated
	Mean        *ChangeRule
	Median      *ChangeRule
	Range       *ChangeRule
	Drift       DriftRule
	// Known takes the reference's shares as known without error. By default the training data is a sample like any window:
	// with as many rows in both, half of a difference is the sample's. A declared rate holds for the one or the other.
	Known bool
	// Name is what the words of findings call the reference. Default: training
	Name string
}

// NullRule bounds the share of missing values.
type NullRule struct{ Max float64 }

// ChangeRule bounds by how much a value may change, in parts of that of the reference: the mean and the median in parts of
// their absolute value, of times in parts of their range; how far the smallest and largest value are outside of its range, in parts of that.
type ChangeRule struct {
	Columns []string
	Within  float64
}

// DriftRule says how distributions are compared. With thresholds it is fixed, for the columns whose kind the metric is
// defined for; other columns are compared by the default metric of their kind, calibrated.
type DriftRule struct {
	Metric     string  // default: ks of numbers, g of levels
	Warn, Fail float64 // 0: none
	Off        bool
}

// Severity says how bad an outcome is.
type Severity string

// The severities, from good to bad.
const (
	OK   Severity = "ok"
	Warn Severity = "warn"
	Fail Severity = "fail"
)

// worse returns the worse of two.
func (s Severity) worse(o Severity) Severity {
	if s == Fail || o == Fail {
		return Fail
	}
	if s == Warn || o == Warn {
		return Warn
	}
	return OK
}

// The checks.
const (
	CheckNulls  = "nulls"
	CheckMean   = "mean"
	CheckMedian = "median"
	CheckMin    = "min"
	CheckMax    = "max"
	CheckDrift  = "drift"
)

// Verdict is what the rules say of a window.
type Verdict struct {
	Rows     uint64    `json:"rows"`
	Severity Severity  `json:"severity"`          // the worst of the findings
	Skipped  string    `json:"skipped,omitempty"` // why the window was not judged
	Findings []Finding `json:"findings,omitempty"`
}

// Finding is the outcome of one check of one column, good or bad. A number that is not defined is NaN, and absent in JSON.
type Finding struct {
	Column    string
	Check     string
	Metric    string // of drift
	Unit      string // of Value, Reference and Threshold, where a metric has one
	Value     float64
	Reference float64
	Threshold float64 // which Value is not to pass; of a calibrated check, what it came to for a window of these rows
	P         float64 // of calibrated checks: how likely such a value is without drift
	Severity  Severity
	Words     string // all of it in a sentence
}

// Checker checks windows against a reference. It keeps what it computed for windows of one size, for the next ones of about
// that size: the first takes longer. A Checker is for one goroutine at a time.
type Checker struct {
	reference *Profile
	rules     Rules
	checks    []check
	family    *family
}

// check is what is to be done with a column.
type check struct {
	name   string
	column int
	within float64
	metric Metric // of drift
	test   int    // index in the family; -1: fixed
}

// NewChecker returns a checker. The reference is not to change any more. An error names all that is wrong with the rules.
func NewChecker(reference *Profile, rules Rules) (*Checker, error) {
	if rules.MinRows == 0 {
		rules.MinRows = DefaultMinRows
	}
	if rules.FalseAlarms == 0 {
		rules.FalseAlarms = DefaultFalseAlarms
	}
	if rules.Name == "" {
		rules.Name = "training"
	}
	b := &builder{reference: reference, rules: rules}
	b.values()
	b.nulls()
	b.changes(CheckMean, rules.Mean)
	b.changes(CheckMedian, rules.Median)
	b.changes(CheckMin, rules.Range)
	b.changes(CheckMax, rules.Range)
	b.drift()
	if s := reference.Sample; s != nil {
		b.add(s.validate(reference.Columns))
	}
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(b.checks, func(x, y check) int { return x.column - y.column })
	return &Checker{reference, rules, b.checks, newFamily(reference, b.wanted, rules.FalseAlarms)}, nil
}

// builder reads rules.
type builder struct {
	reference *Profile
	rules     Rules
	checks    []check
	wanted    []wantedTest
	errs      []error
}

// add keeps an error, once.
func (b *builder) add(err error) {
	if err != nil && !slices.ContainsFunc(b.errs, func(e error) bool { return e.Error() == err.Error() }) {
		b.errs = append(b.errs, err)
	}
}

func (b *builder) values() {
	share := func(what string, x, most float64) {
		if !(x >= 0) || x > most {
			b.errs = append(b.errs, fmt.Errorf("%s is %v: it must be from 0 to %v", what, x, most))
		}
	}
	r := &b.rules
	share("false_alarms", r.FalseAlarms, 0.5)
	if r.Nulls != nil {
		share("nulls.max", r.Nulls.Max, 1)
	}
	for what, c := range map[string]*ChangeRule{"mean": r.Mean, "median": r.Median, "range": r.Range} {
		if c != nil {
			share(what+".within", c.Within, math.MaxFloat64)
		}
	}
	share("drift.warn", r.Drift.Warn, math.MaxFloat64)
	share("drift.fail", r.Drift.Fail, math.MaxFloat64)
	if r.Drift.Fail > 0 && r.Drift.Warn > r.Drift.Fail {
		b.errs = append(b.errs, fmt.Errorf("drift.warn is %v, above drift.fail, %v", r.Drift.Warn, r.Drift.Fail))
	}
}

// columns returns the indices of the columns of a rule. Of those that it does not name it leaves out what fits does not
// take; one that it names must fit.
func (b *builder) columns(where string, named []string, fits func(*Column) string) []int {
	if named == nil {
		named = b.rules.Columns
		where = "columns"
	} else {
		where += ".columns"
	}
	var out []int
	if named == nil {
		for i := range b.reference.Columns {
			if c := &b.reference.Columns[i]; c.Kind != Time && c.Role != Label && fits(c) == "" {
				out = append(out, i)
			}
		}
		return out
	}
	var names []string
	for i := range b.reference.Columns {
		names = append(names, b.reference.Columns[i].Name)
	}
	for _, name := range named {
		i := slices.Index(names, name)
		switch {
		case i < 0:
			b.add(fmt.Errorf("%s: the profile has no column %q%s", where, name, didYouMean(name, names)))
		case fits(&b.reference.Columns[i]) == "":
			out = append(out, i)
		case where != "columns":
			b.add(fmt.Errorf("%s: %s %s", where, name, fits(&b.reference.Columns[i])))
		}
	}
	return out
}

func (b *builder) nulls() {
	for _, i := range b.columns(CheckNulls, nil, func(*Column) string { return "" }) {
		c := check{name: CheckNulls, column: i, test: -1}
		if b.rules.Nulls == nil {
			c.test = b.calibrated(i, Metric{})
		}
		b.checks = append(b.checks, c)
	}
}

func (b *builder) calibrated(column int, m Metric) int {
	b.wanted = append(b.wanted, wantedTest{column, m})
	return len(b.wanted) - 1
}

func (b *builder) changes(name string, rule *ChangeRule) {
	if rule == nil {
		return
	}
	where := name
	if name == CheckMin || name == CheckMax {
		where = "range"
	}
	columns := b.columns(where, rule.Columns, func(c *Column) string {
		switch {
		case c.Kind != Number && c.Kind != Time:
			return "is no number"
		case math.IsNaN(c.Mean) || math.IsNaN(c.Min):
			return "has no number in the training data"
		}
		return ""
	})
	for _, i := range columns {
		b.checks = append(b.checks, check{name: name, column: i, within: rule.Within, test: -1})
	}
}

func (b *builder) drift() {
	d := b.rules.Drift
	if d.Off {
		return
	}
	fixed := d.Warn > 0 || d.Fail > 0
	var chosen Metric
	switch {
	case d.Metric != "":
		var err error
		if chosen, err = MetricNamed(d.Metric); err != nil {
			b.add(fmt.Errorf("drift.metric: %w: the metrics are %s", err, strings.Join(metricNames(), ", ")))
			return
		}
		if fixed && !chosen.Fixed {
			b.add(fmt.Errorf("drift: %s grows with the rows of a window: without warn and fail it is calibrated", chosen.Name))
		}
	case fixed:
		b.add(errors.New("drift: warn and fail need a metric"))
	}
	for _, i := range b.columns(CheckDrift, nil, comparableValues) {
		c := check{name: CheckDrift, column: i, metric: chosen, test: -1}
		own := chosen.Name == "" || !chosen.Takes(b.reference.Columns[i].Kind)
		if own {
			c.metric = defaultMetric(b.reference.Columns[i].Kind)
		}
		if own || !fixed {
			c.test = b.calibrated(i, c.metric)
		}
		b.checks = append(b.checks, c)
	}
}

// comparableValues says why a column's distribution cannot be compared with any other.
func comparableValues(c *Column) string {
	switch {
	case c.Kind == Text:
		return "is a text, which is not counted by value"
	case sum(c.Counts) == 0:
		return "has no value in the training data"
	}
	return ""
}

func metricNames() []string {
	var names []string
	for _, m := range Metrics() {
		names = append(names, m.Name)
	}
	return names
}

func defaultMetric(k Kind) Metric {
	name := DefaultNumbers
	if k == Level {
		name = DefaultLevels
	}
	for _, m := range Metrics() {
		if m.Name == name {
			return m
		}
	}
	panic("profile: no metric " + name)
}
