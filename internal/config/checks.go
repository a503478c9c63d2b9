package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	dataprofile "millrace.dev/profile"
	"millrace.dev/record"
)

// Checks say what the records of the stream have to be like.
type Checks struct {
	Record []RecordCheck // in the order of the file
	Window *WindowChecks // nil: none
}

// predictionColumn is how checks.window calls the prediction.
const predictionColumn = "prediction"

// WindowChecks compare the records of a window of time, or so many records, with the training data.
type WindowChecks struct {
	Every Every
	// Grace is how long a window of time waits for late records, in event time; 0 for windows of so many records.
	Grace      time.Duration
	MinRecords int // fewer are not judged
	// Columns are what is compared: fields, features and prediction, in the order of the file; nil is all that the training
	// profile has.
	Columns []string
	// FalseAlarms is the probability of an alarm for a window without drift, over all calibrated tests together.
	FalseAlarms float64
	// NullsMax is the share of missing values beyond which a column fails; negative: the share is a calibrated test.
	NullsMax float64
	// Mean, Median and Range bound how far the column's mean, its median, and its smallest and largest value may be from
	// those of training; nil: not compared.
	Mean, Median, Range *ShiftCheck
	Drift               DriftCheck
	OnFail              OnFail
	Topic               string // of the results
}

// Every is the size of a window: one of the two is above 0.
type Every struct {
	Time    time.Duration // of event time
	Records int
}

// ShiftCheck bounds how far a figure of columns may be from that of training.
type ShiftCheck struct {
	Columns []string // nil: all numeric ones that are compared
	// Within is a share: of the training figure, for mean and median; of the width of the training range, for range.
	Within float64
}

// DriftCheck compares distributions.
type DriftCheck struct {
	Metric string // as package profile calls it; "" is ks for numbers and g for levels
	// Warn and Fail are fixed thresholds of the metric; +Inf is one that the file does not have. Both +Inf: the threshold
	// is calibrated by FalseAlarms.
	Warn, Fail float64
}

// Calibrated tells whether the threshold comes from the declared rate of false alarms.
func (c *DriftCheck) Calibrated() bool { return math.IsInf(c.Warn, 1) && math.IsInf(c.Fail, 1) }

// OnFail is what happens when a window fails.
type OnFail string

// What happens when a window fails.
const (
	OnFailAlert   OnFail = "alert"
	OnFailPause   OnFail = "pause"
	OnFailRetrain OnFail = "retrain"
)

func driftMetrics() []string {
	var names []string
	for _, m := range dataprofile.Metrics() {
		names = append(names, m.Name)
	}
	return names
}

func checkFields() []field {
	return []field{
		{
			key: "record", kind: kindList, defDoc: "none", doc: "Rules that each record has to keep, in any order: see [checks](../checks.md)",
			item: &field{kind: kindMapping, whole: true, doc: "A rule", fields: ruleFields()},
		},
		{key: "window", kind: kindMapping, doc: "Compares the records of a window with the training data; it is done where the key is there", fields: windowCheckFields()},
	}
}

func windowCheckFields() []field {
	columns := func(def, doc string) field {
		return field{key: "columns", kind: kindList, defDoc: def, doc: doc, item: &field{kind: kindText, doc: "The name of a field or feature, or prediction"}}
	}
	shift := func(key, doc, of string) field {
		return field{key: key, kind: kindMapping, doc: doc, fields: []field{
			columns("all with numbers", "The columns"),
			{key: "within", kind: kindShare, required: true, example: "15%", least: 0, most: 1000, doc: "By how much the figure may differ, as a share of " + of},
		}}
	}
	const noThreshold = "none"
	return []field{
		{
			key: "every", kind: kindText, required: true, example: "1h", check: checkEvery, want: "a duration, or a whole number of records",
			doc: "The size of a window: of event time, from 1s to 400d, or so many records",
		},
		{
			key: "grace", kind: kindDuration, defDoc: "a tenth of every", least: 0, most: float64(maxHistory),
			doc: "How long a window of time waits for late records, in event time",
		},
		{
			key: "min_records", kind: kindInteger, def: "200", bounded: true, least: 1, most: math.MaxInt32,
			doc: "A window with fewer records is reported, and not judged",
		},
		columns("all of the training profile", "What is compared: fields, features, and prediction"),
		{
			key: "false_alarms", kind: kindShare, def: "1%", least: 1e-6, most: 0.5,
			doc: "How probable an alarm is for a window without drift, over all calibrated tests of the window together",
		},
		{key: "nulls", kind: kindMapping, doc: "A fixed bound for missing values; without it, their share is one of the calibrated tests", fields: []field{
			{key: "max", kind: kindShare, required: true, example: "1%", least: 0, most: 1, doc: "The share of missing values beyond which a column fails"},
		}},
		shift("mean", "A bound for the mean, which is not compared otherwise", "the training mean"),
		shift("median", "A bound for the median, which is not compared otherwise", "the training median"),
		shift("range", "A bound for how far the smallest and largest values may lie outside of the training range, which is not compared otherwise", "its width"),
		{key: "drift", kind: kindMapping, doc: "How distributions are compared", fields: []field{
			{
				key: "metric", kind: kindText, defDoc: "ks of numbers, g of levels", allowed: driftMetrics(),
				doc: "The distance between the distributions of the window and of training; columns that it is not defined for have the default",
			},
			{
				key: "warn", kind: kindNumber, defDoc: noThreshold, bounded: true, least: 0, most: 1e9,
				doc: "The distance from which a column is reported; without warn and fail, the threshold is calibrated by false_alarms",
			},
			{key: "fail", kind: kindNumber, defDoc: noThreshold, bounded: true, least: 0, most: 1e9, doc: "The distance from which a column fails"},
		}},
		{
			key: "on_fail", kind: kindText, def: string(OnFailAlert), allowed: []string{string(OnFailAlert), string(OnFailPause), string(OnFailRetrain)},
			doc: "What happens when a window fails: it is reported; the pipeline pauses; or a model is trained",
		},
		{
			key: "topic", kind: kindText, defDoc: "the name, with .checks behind", check: checkTopic, example: "housing.checks",
			doc: "The topic of the results, one record for each window",
		},
	}
}

func checkEvery(s string) *fault {
	if _, ok := ParseEvery(s); ok {
		return nil
	}
	return &fault{"want a duration from 1s to 400d, or a whole number of records", "such as 1h, or 10000"}
}

// ParseEvery reads the size of a window: a duration from 1s to 400d, or a number of records above 0.
func ParseEvery(s string) (Every, bool) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return Every{Records: int(n)}, n > 0
	}
	t, err := parseDuration(s)
	return Every{Time: t}, err == nil && t >= time.Second && t <= maxHistory
}

// parseShare reads a number, which may be a percentage.
func parseShare(s string) (float64, bool) {
	text, percent := strings.CutSuffix(s, "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		x /= 100
	}
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) && !strings.ContainsAny(text, "xXpP_")
}

// lintChecks makes the checks, and holds what they name against the schema and the features.
func (d *decoder) lintChecks(checks value) {
	d.lintRules(checks.fields["record"])
	if w := checks.fields["window"]; w.node != nil && !d.failed["checks.window"] {
		d.lintWindowChecks(w.fields)
	}
}

// windowChecks returns what f, the decoded checks.window, says.
func (d *decoder) windowChecks(f map[string]value) *WindowChecks {
	every, _ := ParseEvery(f["every"].text)
	w := &WindowChecks{
		Every: every, Grace: every.Time / 10, MinRecords: int(f["min_records"].integer), FalseAlarms: f["false_alarms"].number, NullsMax: -1,
		Drift: DriftCheck{Metric: f["drift"].fields["metric"].text, Warn: math.Inf(1), Fail: math.Inf(1)}, OnFail: OnFail(f["on_fail"].text),
		Topic: cmp.Or(f["topic"].text, d.p.Name+".checks"),
	}
	if d.at["checks.window.columns"] != nil {
		columns := f["columns"]
		w.Columns = columns.texts()
	}
	if v := f["grace"]; v.node != nil {
		w.Grace = v.time
	}
	if v := f["nulls"]; v.node != nil {
		w.NullsMax = v.fields["max"].number
	}
	drift := f["drift"].fields
	if v := drift["warn"]; v.node != nil {
		w.Drift.Warn = v.number
	}
	if v := drift["fail"]; v.node != nil {
		w.Drift.Fail = v.number
	}
	w.Mean, w.Median, w.Range = shiftCheck(f["mean"]), shiftCheck(f["median"]), shiftCheck(f["range"])
	return w
}

func shiftCheck(v value) *ShiftCheck {
	if v.node == nil {
		return nil
	}
	s := &ShiftCheck{Within: v.fields["within"].number}
	if columns := v.fields["columns"]; columns.node != nil {
		s.Columns = columns.texts()
	}
	return s
}

func (d *decoder) lintWindowChecks(f map[string]value) {
	const path = "checks.window"
	w := d.windowChecks(f)
	d.p.Checks.Window = w
	if len(d.columns) > 0 {
		d.lintChecked(w)
	}
	switch {
	case w.Every.Records > 0 && d.at[path+".grace"] != nil:
		d.reportAt(path+".grace", path+".grace: a window of so many records waits for none", "take grace out, or give every as a duration")
	case w.Every.Records > 0 && w.Every.Records < w.MinRecords:
		d.reportAt(path+".min_records", fmt.Sprintf("%s.min_records: a window has %d records, and is never judged", path, w.Every.Records), "make every larger, or min_records smaller")
	}
	d.lintDrift(w, f["drift"])
	others := []string{d.p.Source.Topic, d.p.Sink.Topic, d.p.DeadLetter.Topic}
	if d.p.Samples.Rate > 0 {
		others = append(others, d.p.Samples.Topic)
	}
	for i := range d.p.Tables {
		others = append(others, d.p.Tables[i].Topic)
	}
	if slices.Contains(others, w.Topic) {
		d.reportAt(path+".topic", fmt.Sprintf("%s.topic, which is %s, is another topic of the pipeline", path, w.Topic), "the results need a topic of their own")
	}
}

// lintDrift checks the thresholds of the metric.
func (d *decoder) lintDrift(w *WindowChecks, f value) {
	const path = "checks.window.drift"
	if warn, fail := w.Drift.Warn, w.Drift.Fail; !math.IsInf(warn, 1) && warn > fail {
		d.reportAt(path+".warn", path+".warn is above fail: a column would fail before it is reported", "swap them")
	}
	metric, err := dataprofile.MetricNamed(w.Drift.Metric)
	most := map[string]float64{"js": 1, "js_divergence": 1, "ks": 1, "hellinger": 1, "l_infinity": 1, "l_infinity_robust": 1, "total_variation": 1}[w.Drift.Metric]
	for _, key := range []string{"warn", "fail"} {
		at := path + "." + key
		switch x := f.fields[key].number; {
		case d.at[at] == nil || d.failed[at]:
		case w.Drift.Metric == "":
			d.reportAt(at, at+" needs a metric: the default, of numbers and of levels, is not the same", "such as metric: psi; or leave warn and fail out")
		case err == nil && !metric.Fixed:
			d.reportAt(at, fmt.Sprintf("%s: %s grows with the records of a window, and has no fixed threshold", at, w.Drift.Metric), "leave warn and fail out, or take another metric, such as psi")
		case x <= 0:
			d.reportAt(at, at+": every window is at least that far away", "write a number above 0")
		case most > 0 && x > most:
			d.reportAt(at, fmt.Sprintf("%s: %s is never above 1", at, w.Drift.Metric), "")
		}
	}
}

// lintChecked checks the names of columns in checks.window.
func (d *decoder) lintChecked(w *WindowChecks) {
	const path = "checks.window"
	known := make([]string, 0, len(d.columns)+len(d.p.Features)+1)
	for i := range d.columns {
		if i != d.label {
			known = append(known, d.columns[i].Name)
		}
	}
	known = append(append(known, d.featureNames()...), predictionColumn)
	all := d.checkedNames(path+".columns", w.Columns, known)
	for _, part := range []struct {
		key   string
		check *ShiftCheck
	}{{"mean", w.Mean}, {"median", w.Median}, {"range", w.Range}} {
		if part.check == nil {
			continue
		}
		at := join(path, part.key) + ".columns"
		d.checkedNames(at, part.check.Columns, known)
		for i, name := range part.check.Columns {
			item := fmt.Sprintf("%s[%d]", at, i)
			c, field := d.column(name)
			switch {
			case field && d.columns[c].Type != record.Numeric:
				d.reportAt(item, fmt.Sprintf("%s: %s is a field of type %s, and has no %s", at, d.shown(item, name), d.columns[c].Type, part.key), "")
			case w.Columns != nil && !all[name] && slices.Contains(known, name):
				d.reportAt(item, fmt.Sprintf("%s: %s is not in %s.columns", at, d.shown(item, name), path), "add it there")
			}
		}
	}
}

func (d *decoder) checkedNames(path string, list, known []string) map[string]bool {
	if list != nil && len(list) == 0 {
		d.reportAt(path, path+" is empty: nothing would be compared", "name columns, or leave the key out")
	}
	if d.label >= 0 && slices.Contains(list, d.p.Train.Label) {
		item := fmt.Sprintf("%s[%d]", path, slices.Index(list, d.p.Train.Label))
		d.reportAt(item, path+": the records of a stream do not have the label yet", "prediction is what the model says of it")
		known = append(slices.Clone(known), d.p.Train.Label)
	}
	return d.names(path, list, known, "the schema and the features have no")
}
