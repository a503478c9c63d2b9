package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const checkedFile = `
version: 1
name: x
schema: {numeric: [y, a, b], enum: [city], time: [at]}
source: {topic: t}
features: {ratio: a / b}
train: {data: d.csv, label: y, ignore: [at]}
sink: {topic: p}
dead_letter: {topic: q}
`

func TestChecks(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		checks string
		want   Checks
	}{
		"none":  {"", Checks{}},
		"empty": {"checks: {}", Checks{}},
		"rules": {`
checks:
  record:
    - {rule: a between 200 and 15000, otherwise: dead_letter}
    - {name: sane, rule: a == 0 or b >= a}
    - {rule: city in training, otherwise: fail}`, Checks{Record: []RecordCheck{
			{Name: "a_between_200_and_15000", Rule: "a between 200 and 15000", Otherwise: RejectRecord, Line: 13},
			{Name: "sane", Rule: "a == 0 or b >= a", Otherwise: Warn, Line: 14},
			{Name: "city_in_training", Rule: "city in training", Otherwise: FailPipeline, Line: 15, Trained: true},
		}}},
		"defaults": {"checks: {window: {every: 1h}}", Checks{Window: &WindowChecks{
			Every: Every{Time: time.Hour}, Grace: 6 * time.Minute, MinRecords: 200, FalseAlarms: 0.01, NullsMax: -1,
			Drift: DriftCheck{Warn: inf, Fail: inf}, OnFail: OnFailAlert, Topic: "x.checks",
		}}},
		"records": {"checks: {window: {every: 1000}}", Checks{Window: &WindowChecks{
			Every: Every{Records: 1000}, MinRecords: 200, FalseAlarms: 0.01, NullsMax: -1,
			Drift: DriftCheck{Warn: inf, Fail: inf}, OnFail: OnFailAlert, Topic: "x.checks",
		}}},
		"all": {`
checks:
  window:
    every: 1d
    grace: 0s
    min_records: 500
    columns: [a, ratio, city, prediction]
    false_alarms: 5%
    nulls: {max: 1%}
    mean: {within: 0.15}
    median: {columns: [a, prediction], within: 15%}
    range: {columns: [a], within: 10 %}
    drift: {metric: psi, warn: 0.10, fail: 0.25}
    on_fail: retrain
    topic: own`, Checks{Window: &WindowChecks{
			Every: Every{Time: 24 * time.Hour}, MinRecords: 500, Columns: []string{"a", "ratio", "city", "prediction"}, FalseAlarms: 0.05, NullsMax: 0.01,
			Mean: &ShiftCheck{Within: 0.15}, Median: &ShiftCheck{Columns: []string{"a", "prediction"}, Within: 0.15}, Range: &ShiftCheck{Columns: []string{"a"}, Within: 0.1},
			Drift: DriftCheck{Metric: "psi", Warn: 0.1, Fail: 0.25}, OnFail: OnFailRetrain, Topic: "own",
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse("x.yaml", []byte(checkedFile+c.checks+"\n"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.Checks); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadChecks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ checks, want, hint string }{
		"no window size":    {"checks: {window: {}}", "checks.window.every is missing", "such as every: 1h"},
		"null":              {"checks: {window: }", "checks.window.every is missing", "such as every: 1h"},
		"bad size":          {"checks: {window: {every: often}}", "want a duration from 1s to 400d, or a whole number of records", "such as 1h"},
		"no records":        {"checks: {window: {every: 0}}", "want a duration", ""},
		"column":            {"checks: {window: {every: 1h, columns: [ratoi]}}", `the schema and the features have no "ratoi"`, `did you mean "ratio"?`},
		"label":             {"checks: {window: {every: 1h, columns: [y]}}", "the records of a stream do not have the label yet", "prediction is what the model says of it"},
		"median of an enum": {"checks: {window: {every: 1h, median: {columns: [city], within: 1%}}}", `"city" is a field of type enum, and has no median`, ""},
		"mean elsewhere":    {"checks: {window: {every: 1h, columns: [a], mean: {columns: [b], within: 1%}}}", `"b" is not in checks.window.columns`, "add it there"},
		"metric":            {"checks: {window: {every: 1h, drift: {metric: kolmogorov}}}", "want psi, js, ", ""},
		"near metric":       {"checks: {window: {every: 1h, drift: {metric: helinger}}}", "want psi", `did you mean "hellinger"?`},
		"never reached":     {"checks: {window: {every: 1h, drift: {metric: ks, fail: 2}}}", "ks is never above 1", ""},
		"no metric":         {"checks: {window: {every: 1h, drift: {fail: 2}}}", "drift.fail needs a metric", "such as metric: psi"},
		"statistic":         {"checks: {window: {every: 1h, drift: {metric: chi_square, warn: 2}}}", "chi_square grows with the records of a window", "leave warn and fail out"},
		"always":            {"checks: {window: {every: 1h, drift: {metric: psi, fail: 0}}}", "every window is at least that far away", "above 0"},
		"no columns":        {"checks: {window: {every: 1h, columns: []}}", "checks.window.columns is empty", "leave the key out"},
		"mean of no column": {"checks: {window: {every: 1h, mean: {columns: [], within: 1%}}}", "checks.window.mean.columns is empty", "leave the key out"},
		"warn above fail":   {"checks: {window: {every: 1h, drift: {metric: psi, warn: 0.3, fail: 0.1}}}", "warn is above fail", ""},
		"share":             {"checks: {window: {every: 1h, false_alarms: 80%}}", "want a number from 0.000001 to 0.5, or a percentage", "such as 0.05 or 5%"},
		"no within":         {"checks: {window: {every: 1h, mean: {columns: [a]}}}", "checks.window.mean.within is missing", ""},
		"grace":             {"checks: {window: {every: 1000, grace: 1m}}", "waits for none", ""},
		"never judged":      {"checks: {window: {every: 100}}", "a window has 100 records, and is never judged", ""},
		"topic":             {"checks: {window: {every: 1h, topic: q}}", "is another topic of the pipeline", ""},
		"control topic":     {"checks: {window: {every: 1h, topic: x-control, on_fail: pause}}", "is the topic that instances are controlled by", ""},
		"on fail":           {"checks: {window: {every: 1h, on_fail: panic}}", "want alert, pause or retrain", ""},
		"outcome":           {"checks: {record: [{rule: a > 0, otherwise: drop}]}", "want warn, dead_letter or fail", ""},
		"no rule":           {"checks: {record: [{otherwise: warn}]}", "checks.record[0].rule is missing", "such as rule: "},
		"rule as text":      {"checks: {record: [a > 0]}", "checks.record[0] is a mapping of keys to values", ""},
		"twice":             {"checks: {record: [{rule: a > 0}, {rule: a  >  0}]}", `another rule is called "a_above_0"`, "such as name: a_above_0_2"},
		"name":              {"checks: {record: [{rule: a > 0, name: a-b}]}", "want a name of at most 63 letters, digits and _", ""},
		"unknown in a rule": {"checks: {record: [{rule: rato > 0}]}", `checks.record[0].rule: no column or feature is called "rato"`, `did you mean "ratio"?`},
		"no condition":      {"checks: {record: [{rule: a + 1}]}", "the rule is a number, not a condition", ""},
		"constant":          {"checks: {record: [{rule: 1 < 2}]}", "the rule is true for every record", ""},
		"label in a rule":   {"checks: {record: [{rule: y > 1}]}", "it uses the label", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("x.yaml", []byte(checkedFile+c.checks+"\n"), Options{})
			ps, ok := err.(Problems) //nolint:errorlint // as documented
			if !ok {
				t.Fatalf("got %v", err)
			}
			if len(ps) != 1 || !strings.Contains(ps[0].Message, c.want) || !strings.Contains(ps[0].Hint, c.hint) {
				t.Errorf("got %+v", ps)
			}
			if ps[0].Line < 10 {
				t.Errorf("line %d", ps[0].Line)
			}
		})
	}
}

func TestCheckOverride(t *testing.T) {
	t.Parallel()
	p, err := Parse("x.yaml", []byte(checkedFile), Options{Set: []string{"checks.window.every=5m", "checks.window.drift.metric=ks"}})
	if err != nil {
		t.Fatal(err)
	}
	if w := p.Checks.Window; w == nil || w.Every.Time != 5*time.Minute || w.Drift.Metric != "ks" {
		t.Errorf("got %+v", w)
	}
}

func TestRuleName(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"sqft_living between 200 and 15000":             "sqft_living_between_200_and_15000",
		"yr_renovated == 0 or yr_renovated >= yr_built": "yr_renovated_is_0_or_yr_renovated_at_least_yr_built",
		"not is_missing(a)":                             "not_is_missing_a",
		"0 < a":                                         "rule_0_below_a",
		"é":                                             "rule",
		strings.Repeat("a", 80):                         strings.Repeat("a", 63),
	} {
		if got := RuleName(rule); got != want || checkRuleName(got) != nil {
			t.Errorf("%s: got %s", rule, got)
		}
	}
}
