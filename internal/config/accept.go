package config

import (
	"fmt"
	"math"
)

// Accept are the gates that a model has to pass, when it is trained, to be left to a person for review.
type Accept struct {
	Metrics  []MetricGate  // in the order of the file
	Champion *ChampionGate // nil: the champion is not compared with
	// Skew wants the golden rows reproduced by the path of a stream, from the bytes that are registered.
	Skew bool
	// Profile wants a training profile that is compatible with the champion's: the same fields of the same kinds and units,
	// and no jump of missing values.
	Profile bool
}

// The metrics of gates, all on the test part.
const (
	MetricRMSE = "rmse"
	MetricMAE  = "mae"
	MetricR2   = "r2"
)

// MetricGate bounds a metric.
type MetricGate struct {
	Metric string  // MetricRMSE, MetricMAE or MetricR2
	Limit  float64 // the largest value of an error, the least one of r2
}

// ChampionGate compares with the champion on the same test rows.
type ChampionGate struct {
	Metric string // MetricRMSE or MetricMAE
	// WorseBy is the share by which the metric may be above the champion's.
	WorseBy float64
	// Confidence is how sure it has to be, from 0.5 to below 1, that the model is worse, for the gate to refuse it.
	Confidence float64
}

// profileCompatible is the value of model.accept.profile that sets Accept.Profile.
const profileCompatible = "compatible"

// acceptField is the key of the gates.
func acceptField() field {
	return field{
		key: "accept", kind: kindMapping, fields: acceptFields(),
		doc: "The gates that a model has to pass in training; one that does not is rejected; they are there where the key is: see [retraining](../retraining.md)",
	}
}

func acceptFields() []field {
	return []field{
		{
			key: "metrics", kind: kindList, defDoc: "none", doc: "Bounds for what the model is worth on the test part",
			item: &field{kind: kindMapping, whole: true, doc: "A bound", fields: []field{
				{key: "metric", kind: kindText, required: true, allowed: []string{MetricRMSE, MetricMAE, MetricR2}, example: MetricRMSE, doc: "The metric"},
				{key: "max", kind: kindNumber, defDoc: "none", bounded: true, least: 0, most: math.MaxFloat64, want: "a number of at least 0", doc: "The largest value, of rmse and mae, in the unit of the label"},
				{key: "min", kind: kindNumber, defDoc: "none", want: "a number of at most 1", bounded: true, least: -math.MaxFloat64, most: 1, doc: "The least value, of r2"},
			}},
		},
		{key: "champion", kind: kindMapping, doc: "Compares the model with the champion, on the test rows of the model, by a paired test; without a champion it passes", fields: []field{
			{key: "metric", kind: kindText, def: MetricRMSE, allowed: []string{MetricRMSE, MetricMAE}, doc: "The metric"},
			{key: "worse_by", kind: kindShare, def: "0", least: 0, most: 10, doc: "By how much the metric may be above the champion's, as a share of it"},
			{
				key: "confidence", kind: kindShare, def: "95%", least: 0.5, most: 0.999999,
				doc: "How sure it has to be that the model is worse than that, for it to be refused: the level of a one-sided paired t-test",
			},
		}},
		{key: "skew", kind: kindBool, def: "true", doc: "Whether the golden rows have to come out of the path of a stream, bit for bit, from the bytes that are registered"},
		{
			key: "profile", kind: kindText, allowed: []string{profileCompatible}, defDoc: "not compared",
			doc: "Compares the training data with the champion's: the same fields and features, of the same kinds and units, and no jump of missing values",
		},
	}
}

// lintAccept makes the gates.
func (d *decoder) lintAccept(model value) {
	const path = "model.accept"
	v := model.fields["accept"]
	if v.node == nil || d.failed[path] {
		return
	}
	a := &Accept{Skew: v.fields["skew"].yes, Profile: v.fields["profile"].text == profileCompatible}
	for i, item := range v.fields["metrics"].list {
		d.lintMetricGate(a, fmt.Sprintf("%s.metrics[%d]", path, i), item.fields)
	}
	if c := v.fields["champion"]; d.keys[path+".champion"] != nil && !d.failed[path+".champion"] {
		a.Champion = &ChampionGate{Metric: c.fields["metric"].text, WorseBy: c.fields["worse_by"].number, Confidence: c.fields["confidence"].number}
	}
	d.p.Model.Accept = a
}

func (d *decoder) lintMetricGate(a *Accept, path string, f map[string]value) {
	metric, low, high := f["metric"], f["min"], f["max"]
	if metric.node == nil {
		return
	}
	bound, other, key, wrong := high, low, "max", "min"
	if metric.text == MetricR2 {
		bound, other, key, wrong = low, high, "min", "max"
	}
	switch {
	case other.node != nil:
		d.reportAt(path+"."+wrong, fmt.Sprintf("%s.%s: %s is bounded by %s", path, wrong, metric.text, key), fmt.Sprintf("write %s instead", key))
	case bound.node == nil && !d.failed[path+"."+key]:
		d.reportKey(path, path+" bounds nothing", fmt.Sprintf("add %s, the %s value of %s", key, map[string]string{"max": "largest", "min": "least"}[key], metric.text))
	}
	for _, g := range a.Metrics {
		if g.Metric == metric.text {
			d.reportAt(path+".metric", fmt.Sprintf("%s: %s is bounded twice", path, metric.text), "leave one of them out")
		}
	}
	a.Metrics = append(a.Metrics, MetricGate{Metric: metric.text, Limit: bound.number})
}
