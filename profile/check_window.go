package profile

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Check judges a window, whose columns were counted in the bins of the reference. Columns that the rules do not check can
// be absent. It is an error if one that they check is, or has other bins.
//
// Calibrated checks are judged together. In ascending order of their probabilities the i-th is compared with i times a
// limit, and all up to the last that is below are found to fail (Benjamini and Hochberg, "Controlling the false discovery
// rate", 1995). The limit is not the declared rate divided by the number of tests, as it would be for independent tests
// with any value: it is the one which that share of windows passes that were drawn from the reference's sample, whole rows
// at a time, so that dependent columns and values that are few are accounted for.
func (k *Checker) Check(window *Profile) (*Verdict, error) {
	columns, err := k.columns(window)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Rows: window.Rows, Severity: OK}
	if window.Rows < k.rules.MinRows {
		v.Skipped = fmt.Sprintf("%s rows are too few to judge: at least %s are needed", figure(float64(window.Rows)), figure(float64(k.rules.MinRows)))
		return v, nil
	}
	calibrated, err := k.calibrated(window, columns)
	if err != nil {
		return nil, err
	}
	for i := range k.checks {
		c := &k.checks[i]
		reference, w := &k.reference.Columns[c.column], columns[c.column]
		f := Finding{Column: reference.Name, Check: c.name, Value: math.NaN(), Reference: math.NaN(), Threshold: math.NaN(), P: math.NaN(), Severity: OK}
		switch c.name {
		case CheckDrift:
			f.Metric, f.Unit = c.metric.Name, c.metric.Unit
			if err := k.driftOf(c, reference, w, &f); err != nil {
				return nil, err
			}
		case CheckNulls:
			f.Value, f.Reference = w.MissingShare(), reference.MissingShare()
			if c.test < 0 {
				f.Threshold = k.rules.Nulls.Max
				f.limit()
			}
		default:
			changeOf(c, reference, w, &f)
		}
		if c.test >= 0 {
			calibrated.finish(c.test, &f)
		}
		f.Words = words(c, reference, k.rules.Name, &f)
		v.Severity = v.Severity.worse(f.Severity)
		v.Findings = append(v.Findings, f)
	}
	return v, nil
}

// columns returns the window's columns in the order of the reference's; nil for one that nothing checks.
func (k *Checker) columns(window *Profile) ([]*Column, error) {
	byName := make(map[string]*Column, len(window.Columns))
	for i := range window.Columns {
		byName[window.Columns[i].Name] = &window.Columns[i]
	}
	out := make([]*Column, len(k.reference.Columns))
	for i := range k.checks {
		reference := &k.reference.Columns[k.checks[i].column]
		w := byName[reference.Name]
		if w == nil {
			return nil, fmt.Errorf("the window has no column %q, which is to be checked", reference.Name)
		}
		if err := sameBins(reference, w); err != nil {
			return nil, err
		}
		out[k.checks[i].column] = w
	}
	return out, nil
}

// judged is what the calibrated tests say of a window.
type judged struct {
	family   *family
	size     *size
	outcomes []outcome // by test; p is 1 where there is nothing to test
	limit    float64   // up to which a probability fails
}

func (k *Checker) calibrated(window *Profile, columns []*Column) (*judged, error) {
	j := &judged{family: k.family}
	if len(k.family.tests) == 0 {
		return j, nil
	}
	rows := float64(window.Rows)
	if !k.rules.Known && k.reference.Rows > 0 {
		rows *= float64(k.reference.Rows) / (float64(k.reference.Rows) + rows)
	}
	j.size = k.family.size(rows)
	p := make([]float64, len(k.family.tests))
	j.outcomes = make([]outcome, len(p))
	for t, x := range k.family.tests {
		reference, w := &k.reference.Columns[x.column], columns[x.column]
		o := outcome{value: math.NaN(), p: 1}
		if x.axis == nil || sum(w.Counts) > 0 {
			var err error
			if o, err = x.judge(reference, w, k.rules.Known, j.size.of[t]); err != nil {
				return nil, fmt.Errorf("%s: %w", reference.Name, err)
			}
		}
		j.outcomes[t], p[t] = o, o.p
	}
	slices.Sort(p)
	j.limit = j.size.limit
	for i, x := range p {
		if step := j.size.limit * float64(i+1); x <= step {
			j.limit = step
		}
	}
	return j, nil
}

// finish fills in what a test says.
func (j *judged) finish(t int, f *Finding) {
	o := &j.outcomes[t]
	f.P = o.p
	if o.p <= j.limit {
		f.Severity = Fail
	}
	if d := j.size.of[t]; d != nil && o.rows > 0 {
		f.Threshold = j.family.tests[t].unscaled(d.value(j.limit), o.rows)
	}
}

func (k *Checker) driftOf(c *check, reference, w *Column, f *Finding) error {
	if sum(w.Counts) == 0 {
		return nil // how many are missing is a check of its own
	}
	v, err := c.metric.Between(reference, w)
	if err != nil {
		return fmt.Errorf("%s: %w", reference.Name, err)
	}
	f.Value = v
	if d := k.rules.Drift; c.test < 0 {
		switch f.Threshold = d.Fail; {
		case d.Fail > 0 && v >= d.Fail:
			f.Severity = Fail
		case d.Warn > 0 && v >= d.Warn:
			f.Severity, f.Threshold = Warn, d.Warn
		case d.Fail == 0:
			f.Threshold = d.Warn
		}
	}
	return nil
}

// changeOf compares a value with the reference's. Of a window without a number there is nothing to compare.
func changeOf(c *check, reference, w *Column, f *Finding) {
	unit := reference.Max - reference.Min
	switch c.name {
	case CheckMean:
		f.Value, f.Reference = w.Mean, reference.Mean
	case CheckMedian:
		f.Value, f.Reference = medianOf(reference, w), reference.Median()
	case CheckMin:
		f.Value, f.Reference = w.Min, reference.Min
	case CheckMax:
		f.Value, f.Reference = w.Max, reference.Max
	}
	if (c.name == CheckMean || c.name == CheckMedian) && reference.Kind == Number {
		unit = math.Abs(f.Reference)
	}
	if w.Present() == 0 {
		f.Value = math.NaN()
	}
	allowed := float64(c.within * unit)
	low, high := f.Reference-allowed, f.Reference+allowed
	// A window has fewer rows than the training data, so that it reaches less far: that says nothing.
	switch {
	case c.name == CheckMin || c.name != CheckMax && f.Value < f.Reference:
		f.Threshold = low
	default:
		f.Threshold = high
	}
	if f.Value < low && c.name != CheckMax || f.Value > high && c.name != CheckMin {
		f.Severity = Fail
	}
}

// limit judges a value that is not to be above its threshold.
func (f *Finding) limit() {
	if f.Value > f.Threshold {
		f.Severity = Fail
	}
}

// findingJSON is a finding as it is written.
type findingJSON struct {
	Column    string   `json:"column"`
	Check     string   `json:"check"`
	Metric    string   `json:"metric,omitempty"`
	Unit      string   `json:"unit,omitempty"`
	Value     *float64 `json:"value,omitempty"`
	Reference *float64 `json:"reference,omitempty"`
	Threshold *float64 `json:"threshold,omitempty"`
	P         *float64 `json:"p,omitempty"`
	Severity  Severity `json:"severity"`
	Words     string   `json:"words"`
}

// MarshalJSON leaves out the numbers that are not finite.
func (f Finding) MarshalJSON() ([]byte, error) {
	defined := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(findingJSON{
		f.Column, f.Check, f.Metric, f.Unit, defined(f.Value), defined(f.Reference), defined(f.Threshold), defined(f.P),
		f.Severity, f.Words,
	})
}

// UnmarshalJSON makes the numbers that are absent NaN.
func (f *Finding) UnmarshalJSON(b []byte) error {
	var j findingJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	number := func(x *float64) float64 {
		if x == nil {
			return math.NaN()
		}
		return *x
	}
	*f = Finding{j.Column, j.Check, j.Metric, j.Unit, number(j.Value), number(j.Reference), number(j.Threshold), number(j.P), j.Severity, j.Words}
	return nil
}
