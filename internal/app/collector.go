package app

import (
	"cmp"
	"math"

	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/remote"
	"millrace.dev/profile"
)

// collector makes metrics of a pipeline's model, its tables and its windows, when they are asked for: the engine has its own.
type collector struct {
	r                                            *Running
	predictions, samples, model                  *prometheus.Desc
	missing, unseen, fittedMissing, fittedUnseen *prometheus.Desc
	lookups, rows, refused, windows, rules       *prometheus.Desc
	checked, checkedUntil, left                  *prometheus.Desc
	checkValue, checkThreshold, checkSeverity    *prometheus.Desc
	armRecords, armRefused, armSeconds           *prometheus.Desc
	calls, callRows, callSeconds                 *prometheus.Desc
	callsUnderWay, breaker                       *prometheus.Desc
}

func newCollector(r *Running) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_"+name, help, labels, nil)
	}
	return &collector{
		r:              r,
		predictions:    desc("predictions_total", "Committed predictions."),
		samples:        desc("samples_total", "Committed samples of what was known of a record."),
		model:          desc("model_info", "1 for the model in use; in an experiment for that of each arm.", "model", "digest"),
		armRecords:     desc("arm_records_total", "Records of an arm of an experiment, predicted or refused.", "experiment", "arm", "model"),
		armRefused:     desc("arm_refused_total", "Records of an arm of an experiment that were refused.", "experiment", "arm", "model"),
		armSeconds:     desc("arm_scoring_seconds_total", "How long the models of an arm and of the control took for the records of the arm, to compare.", "experiment", "arm", "of"),
		calls:          desc("remote_calls_total", "Calls to the server that has the model: ok, or what has gone wrong.", "result"),
		callRows:       desc("remote_rows_total", "Records that the server has predicted or refused."),
		callSeconds:    desc("remote_call_seconds", "How long calls to the server have taken."),
		callsUnderWay:  desc("remote_calls_in_flight", "Calls to the server that are under way."),
		breaker:        desc("remote_breaker_open", "1 while the server is taken to be down, and is asked once a second whether it is well again."),
		missing:        desc("input_missing_total", "Values that a model input lacked.", "input"),
		unseen:         desc("input_unseen_total", "Levels of a model input that training has not seen.", "input"),
		fittedMissing:  desc("fitted_missing_total", "Records in which a fitted function had no value to work on.", "feature"),
		fittedUnseen:   desc("fitted_unseen_total", "Records in which a fitted function met what training has not seen.", "feature"),
		lookups:        desc("table_lookups_total", "Look-ups in a table: found, no_row or missing_key.", "table", "result"),
		rows:           desc("table_rows", "Rows of a table that this instance holds in memory.", "table"),
		refused:        desc("table_refused_changes_total", "Records of a table's topic that could not be taken.", "table"),
		checked:        desc("checked_windows_total", "Windows that this instance has compared with the training data: ok, warn, fail or skipped.", "result"),
		checkedUntil:   desc("checked_window_end_seconds", "The end of the last window that this instance has compared, in event time: seconds since 1970."),
		left:           desc("checked_windows_left_out_total", "What is in no window: late and untimed records, parts that were counted for another model, window or list of columns.", "reason"),
		checkValue:     desc("check_value", "What a check came to in the last window, in the unit of the metric.", "column", "check", "metric"),
		checkThreshold: desc("check_threshold", "What the value of the check is not to pass.", "column", "check", "metric"),
		checkSeverity:  desc("check_severity", "0 where the last window is as expected in a check, 1 for a warning, 2 for a failure.", "column", "check", "metric"),
		rules:          desc("record_checks_total", "Records that break a rule of checks.record, and what becomes of them.", "rule", "outcome"),
		windows:        desc("window_records_total", "Records that a window has seen: added, late, too_late, untimed, keyless or filtered.", "window", "result"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	number := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) { number(d, float64(v), labels...) }
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.r.Stats()
	counter(c.predictions, s.Predictions)
	if s.SamplesTopic != "" {
		counter(c.samples, s.Samples)
	}
	for _, m := range c.r.models() {
		gauge(c.model, 1, m.Model, m.Digest)
	}
	c.collectArms(number)
	if r := c.r.remotes; r != nil {
		calls, state, under := r.state()
		for class, n := range calls.Calls {
			counter(c.calls, n, cmp.Or(string(class), "ok"))
		}
		counter(c.callRows, calls.Rows)
		ch <- calls.histogram(c.callSeconds)
		gauge(c.callsUnderWay, float64(under))
		open := 0.0
		if state != remote.Closed {
			open = 1
		}
		gauge(c.breaker, open)
	}
	for _, in := range s.Inputs {
		counter(c.missing, in.Missing, in.Input)
		counter(c.unseen, in.Unseen, in.Input)
	}
	for _, f := range s.Fitted {
		counter(c.fittedMissing, f.Missing, f.Feature)
		counter(c.fittedUnseen, f.Unseen, f.Feature)
	}
	for i := range s.Checks {
		k := &s.Checks[i]
		counter(c.rules, k.Broken, k.Rule, k.Otherwise)
	}
	for i := range s.Tables {
		t := &s.Tables[i]
		counter(c.lookups, t.Found, t.Table, "found")
		counter(c.lookups, t.NoRow, t.Table, "no_row")
		counter(c.lookups, t.Missing, t.Table, "missing_key")
		counter(c.refused, t.Refused, t.Table)
		if t.Rows >= 0 {
			gauge(c.rows, float64(t.Rows), t.Table)
		}
	}
	if s.Checked != nil {
		c.collectChecked(s.Checked, counter, gauge)
	}
	for i := range s.Windows {
		w := &s.Windows[i]
		for _, n := range []struct {
			result string
			n      uint64
		}{{"added", w.Added}, {"late", w.Late}, {"too_late", w.TooLate}, {"untimed", w.Untimed}, {"keyless", w.Keyless}, {"filtered", w.Filtered}} {
			counter(c.windows, n.n, w.Window, n.result)
		}
	}
}

// histogram returns calls by their duration.
func (c *callCounts) histogram(d *prometheus.Desc) prometheus.Metric {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, n := range c.Seconds {
		sum += n
		if bounds := callBounds(); i < len(bounds) {
			buckets[bounds[i]] = sum
		}
	}
	return prometheus.MustNewConstHistogram(d, sum, c.Sum.Seconds(), buckets)
}

// collectArms makes metrics of the arms of an experiment.
func (c *collector) collectArms(counter func(*prometheus.Desc, float64, ...string)) {
	for _, a := range c.r.scoring.scorers.models.armStatuses() {
		counter(c.armRecords, float64(a.Records), a.Experiment, a.Arm, a.Model)
		counter(c.armRefused, float64(a.Refused), a.Experiment, a.Arm, a.Model)
		if a.Seconds != nil {
			counter(c.armSeconds, a.Seconds.Y.Float64(), a.Experiment, a.Arm, "arm")
			counter(c.armSeconds, a.Seconds.X.Float64(), a.Experiment, a.Arm, "control")
		}
	}
}

// collectChecked makes metrics of the windows that were compared with the training data.
func (c *collector) collectChecked(
	s *CheckedWindows, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string),
) {
	for result, n := range s.Windows {
		counter(c.checked, n, result)
	}
	counter(c.left, s.Late, "late")
	counter(c.left, s.Untimed, "untimed")
	counter(c.left, s.Foreign, "other_model")
	if s.Last == nil {
		return
	}
	if s.Last.To != nil {
		gauge(c.checkedUntil, float64(*s.Last.To)/1000)
	}
	for i := range s.Last.Findings {
		f := &s.Last.Findings[i]
		severity := map[profile.Severity]float64{profile.OK: 0, profile.Warn: 1, profile.Fail: 2}[f.Severity]
		gauge(c.checkSeverity, severity, f.Column, f.Check, f.Metric)
		for desc, x := range map[*prometheus.Desc]float64{c.checkValue: f.Value, c.checkThreshold: f.Threshold} {
			if !math.IsNaN(x) {
				gauge(desc, x, f.Column, f.Check, f.Metric)
			}
		}
	}
}
