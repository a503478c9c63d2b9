package app

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/outcome"
)

// outcomesCollector makes metrics of outcomes when they are asked for: the engine has its own, the lag among them.
type outcomesCollector struct {
	r                              *OutcomesRunning
	written, cohort, share, behind *prometheus.Desc
}

func newOutcomesCollector(r *OutcomesRunning) *outcomesCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_"+name, help, labels, nil)
	}
	return &outcomesCollector{
		r:       r,
		written: desc("outcomes_total", "Committed outcomes."),
		cohort: desc("outcome_predictions", "Predictions of this instance's partitions, of all days: resolved, expired, pending or forced.",
			"topic", "experiment", "arm", "model", "status"),
		share:  desc("outcome_unresolved_ratio", "The share of these that have no label, yet or for good.", "topic", "experiment", "arm", "model"),
		behind: desc("outcome_time_seconds", "The event time as of which predictions expire (labels) and labels are forgotten (predictions): seconds since 1970; absent while it is not known.", "of"),
	}
}

// Describe implements [prometheus.Collector].
func (c *outcomesCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *outcomesCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.r.Stats()
	ch <- prometheus.MustNewConstMetric(c.written, prometheus.CounterValue, float64(s.Outcomes))
	at := c.r.watch.reached.Load()
	for of, ms := range map[string]int64{"labels": at.Labels, "predictions": at.Predictions} {
		if ms != outcome.Unknown {
			gauge(c.behind, float64(ms)/1000, of)
		}
	}
	for i := range s.Cohorts {
		k := &s.Cohorts[i]
		for _, n := range []struct {
			status string
			n      int64
		}{{"resolved", k.Resolved}, {"expired", k.Expired}, {"pending", k.Pending()}, {"forced", k.Forced}} {
			gauge(c.cohort, float64(n.n), k.Topic, k.Experiment, k.Arm, k.Model, n.status)
		}
		if share := k.unresolved(); !math.IsNaN(share) {
			gauge(c.share, share, k.Topic, k.Experiment, k.Arm, k.Model)
		}
	}
}
