package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/experiment"
)

// Canary says how a model is let in by steps: see docs/canary.md.
type Canary struct {
	// Steps are the shares of the records that the model gets, one after the other, above 0 and rising. The last one is 1.
	Steps []float64
	// Hold is the least time of a step.
	Hold time.Duration
	// MinRecords is how many records of the model a step needs, and MinOutcomes how many of its units need an outcome before it is let in.
	MinRecords, MinOutcomes int
	// Timeout is how long a step may wait for that; 0 is as long as it takes.
	Timeout time.Duration
	// Lease is how long instances go on without a word of the command that is watching; 0 is for good.
	Lease time.Duration
	// Key is the field whose text decides to which model a record goes; "" is the key of the message.
	Key string
	// Alpha is the chance that a model is taken back which no guard has anything against: of all guards, looks and steps together.
	Alpha  float64
	Guards Guards
}

// Guards say what a model may do, for a canary. All tolerances are shares.
type Guards struct {
	// Without are the guards that are not to look.
	Without []string
	// Errors is by how much the share of records that it refuses may be above that of the control.
	Errors float64
	// Latency is how many times the control's time it may take for the same records.
	Latency float64
	// Drift is what share of its predictions may differ by more than DriftChange, a share, from the control's.
	Drift, DriftChange float64
	// Loss is by how much its error may be above that of the control; LossMetric says which error.
	Loss       float64
	LossMetric string
}

// The guards.
const (
	GuardErrors  = "errors"
	GuardLatency = "latency"
	GuardDrift   = "drift"
	GuardLoss    = "loss"
)

// GuardNames are the guards, in the order in which they are shown.
func GuardNames() []string { return []string{GuardErrors, GuardLatency, GuardDrift, GuardLoss} }

// Has tells whether a guard is to look.
func (g *Guards) Has(name string) bool { return !slices.Contains(g.Without, name) }

// LossName returns the metric of outcomes by which the guard of the loss judges.
func (g *Guards) LossName() string {
	if g.LossMetric == MetricMAE {
		return LossAbsolute
	}
	return LossSquared
}

// maxSteps bounds the steps of a canary.
const maxSteps = 20

// canaryFields are the keys of canary.
func canaryFields() []field {
	return []field{
		{
			key: "steps", kind: kindList, commas: true, least: 2, defDoc: "1%, 10%, 50%, 100%",
			doc:  "The shares of the records that the model gets, one after the other; the last one is 100%",
			item: &field{kind: kindShare, least: 0.0001, most: 1, doc: "A share"},
		},
		{key: "hold", kind: kindDuration, def: "10m", least: 0, most: float64(maxHistory), doc: "The least time of a step"},
		{key: "min_records", kind: kindInteger, def: "200", bounded: true, least: 1, most: math.MaxInt32, doc: "How many records of the model a step needs, at least"},
		{
			key: "min_outcomes", kind: kindInteger, defDoc: "100 with `outcomes`, else 0", bounded: true, least: 0, most: math.MaxInt32,
			doc: "How many keys of the model need a label before it gets all records; 0 where labels come too late for that",
		},
		{key: "timeout", kind: kindDuration, def: "24h", least: 0, most: float64(maxHistory), doc: "How long a step may wait for these, before the model is taken back; 0s is as long as it takes"},
		{
			key: "lease", kind: kindDuration, def: "2m", least: 0, most: float64(24 * time.Hour),
			doc: "How long the instances go on without a word of the command that watches, before they go back to the model of before; 0s is for good",
		},
		{key: "key", kind: kindText, defDoc: "the key of the message", example: "id", doc: "The enum or string field whose text decides to which model a record goes"},
		{
			key: "alpha", kind: kindShare, def: "5%", least: 1e-6, most: 0.4,
			doc: "The chance that a model is taken back which is within all tolerances: of all guards, at all looks of all steps together",
		},
		{key: "guards", kind: kindMapping, doc: "What the model may do", fields: guardFields()},
	}
}

func guardFields() []field {
	return []field{
		{
			key: "without", kind: kindList, commas: true, defDoc: "none",
			doc:  "The guards that are not to look",
			item: &field{kind: kindText, allowed: GuardNames(), doc: "A guard"},
		},
		{key: GuardErrors, kind: kindShare, def: "0.5%", least: 0, most: 1, doc: "By how much the share of the records that it refuses may be above that of the model of before"},
		{key: GuardLatency, kind: kindNumber, def: "2", bounded: true, least: 1, most: 1e6, doc: "How many times as long as the model of before it may take for the same records"},
		{key: GuardDrift, kind: kindShare, def: "10%", least: 0, most: 1, doc: "What share of its predictions may differ by more than drift_change from those of the model of before, for the same records"},
		{key: "drift_change", kind: kindShare, def: "50%", least: 0, most: 2, doc: "From where on a prediction differs: the difference as a share of the larger one of the two"},
		{key: GuardLoss, kind: kindShare, def: "2%", least: 0, most: 10, doc: "By how much its error may be above that of the model of before, for the same records, as a share of it"},
		{
			key: "loss_metric", kind: kindText, def: MetricRMSE, allowed: []string{MetricRMSE, MetricMAE}, doc: "Which error: rmse needs squared_error in outcomes.metrics, mae absolute_error",
		},
	}
}

// lintCanary makes what says how a model is let in. The outcomes are known.
func (d *decoder) lintCanary(v value) {
	f := v.fields
	c := &d.p.Canary
	*c = Canary{
		Hold: f["hold"].time, MinRecords: int(f["min_records"].integer), MinOutcomes: d.minOutcomes(f["min_outcomes"]),
		Timeout: f["timeout"].time, Lease: f["lease"].time, Key: f["key"].text, Alpha: f["alpha"].number,
	}
	guards := f["guards"]
	g, without := guards.fields, guards.fields["without"]
	c.Guards = Guards{
		Without: without.texts(), Errors: g[GuardErrors].number, Latency: g[GuardLatency].number, Drift: g[GuardDrift].number,
		DriftChange: g["drift_change"].number, Loss: g[GuardLoss].number, LossMetric: g["loss_metric"].text,
	}
	for _, s := range f["steps"].list {
		c.Steps = append(c.Steps, s.number)
	}
	if len(c.Steps) == 0 && !d.failed["canary.steps"] {
		c.Steps = []float64{0.01, 0.1, 0.5, 1}
	}
	if err := CheckSteps(c.Steps); err != nil && !d.failed["canary.steps"] {
		d.reportKey("canary.steps", "canary.steps: "+err.Error(), "such as 1%,10%,50%,100%")
	}
	d.lintTextKey("canary.key", c.Key)
	if metric := c.Guards.LossName(); d.at["canary.guards.loss"] != nil || d.at["canary.guards.loss_metric"] != nil {
		o := d.p.Outcomes
		switch {
		case d.failed["outcomes"]:
		case o == nil:
			d.reportKey("canary.guards", "canary.guards: a loss needs labels, and the file has no outcomes", "say under outcomes where labels come from, or leave the loss out")
		case !slices.ContainsFunc(o.Metrics, func(m experiment.Metric) bool { return m.String() == metric }):
			d.reportKey("canary.guards", "canary.guards: outcomes.metrics does not have "+metric, "add it there")
		}
	}
}

// minOutcomes returns how many keys need a label.
func (d *decoder) minOutcomes(v value) int {
	switch {
	case v.node != nil:
		return int(v.integer)
	case d.p.Outcomes != nil:
		return 100
	default:
		return 0
	}
}

// CheckSteps wants shares of records that rise to 1.
func CheckSteps(steps []float64) error {
	if len(steps) < 2 || len(steps) > maxSteps {
		return fmt.Errorf("want from 2 to %d steps, not %d", maxSteps, len(steps))
	}
	for i, s := range steps {
		if !(s >= 0.0001 && s <= 1) || i > 0 && s <= steps[i-1] {
			return errors.New("want shares from 0.01% to 100% that rise")
		}
	}
	if steps[len(steps)-1] != 1 {
		return errors.New("the last step has to be 100%")
	}
	return nil
}

// ParseSteps reads steps as a person writes them: 1%,10%,50%,100%. Without 100% at their end they get it.
func ParseSteps(text string) ([]float64, error) {
	var steps []float64
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		x, ok := parseShare(part)
		if !ok {
			return nil, fmt.Errorf("%.40q is no share", part)
		}
		steps = append(steps, x)
	}
	if steps[len(steps)-1] < 1 {
		steps = append(steps, 1)
	}
	return steps, CheckSteps(steps)
}
