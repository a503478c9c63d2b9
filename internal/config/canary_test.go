package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const canaryFile = `version: 1
name: house-prices
schema: {numeric: [price, sqft], enum: [id]}
source: {topic: housing}
train: {data: houses.csv, label: price}
sink: {topic: predictions}
dead_letter: {topic: housing.dlq}
`

func TestCanary(t *testing.T) {
	t.Parallel()
	want := Canary{
		Steps: []float64{0.01, 0.1, 0.5, 1}, Hold: 10 * time.Minute, MinRecords: 200, Timeout: 24 * time.Hour, Lease: 2 * time.Minute, Alpha: 0.05,
		Guards: Guards{Without: []string{}, Errors: 0.005, Latency: 2, Drift: 0.1, DriftChange: 0.5, Loss: 0.02, LossMetric: MetricRMSE},
	}
	p, err := Parse("x.yaml", []byte(canaryFile), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, p.Canary); d != "" {
		t.Error(d)
	}
	p, err = Parse("x.yaml", []byte(canaryFile+`outcomes: {topic: sold, horizon: 1h, metrics: [absolute_error]}
canary:
  steps: 5%,100%
  hold: 1m
  key: id
  guards: {without: [latency, drift], errors: 0, loss: 10%, loss_metric: mae}
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want.Steps, want.Hold, want.Key, want.MinOutcomes = []float64{0.05, 1}, time.Minute, "id", 100
	want.Guards.Without, want.Guards.Errors, want.Guards.Loss, want.Guards.LossMetric = []string{GuardLatency, GuardDrift}, 0, 0.1, MetricMAE
	if d := cmp.Diff(want, p.Canary); d != "" {
		t.Error(d)
	}
	if g := p.Canary.Guards; g.Has(GuardDrift) || !g.Has(GuardLoss) || g.LossName() != "absolute_error" {
		t.Error(g)
	}
}

func TestBadCanary(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"canary: {steps: [10%, 5%, 100%]}":        "that rise",
		"canary: {steps: [10%, 50%]}":             "the last step has to be 100%",
		"canary: {steps: []}":                     "canary.steps",
		"canary: {steps: [0, 100%]}":              "want a number from 0.0001 to 1",
		"canary: {key: sqft}":                     "a key is a text",
		"canary: {guards: {latency: 0.5}}":        "want a number from 1",
		"canary: {guards: {without: [lateness]}}": "want errors, latency, drift or loss",
		"canary: {guards: {loss: 5%}}":            "the file has no outcomes",
		"canary: {alpha: 0}":                      "alpha",
		"outcomes: {topic: sold, horizon: 1h, metrics: [absolute_error]}\ncanary: {guards: {loss: 5%}}": "does not have squared_error",
	} {
		_, err := Parse("x.yaml", []byte(canaryFile+text+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

func TestParseSteps(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]float64{"1%,10%,50%,100%": {0.01, 0.1, 0.5, 1}, "5%": {0.05, 1}, "0.5, 1": {0.5, 1}} {
		got, err := ParseSteps(text)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Error(text, err, d)
		}
	}
	for _, text := range []string{"", "x", "100%", "10%,5%", "-1%", "200%", "0", "NaN", strings.Repeat("1%,", 30)} {
		if got, err := ParseSteps(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}
