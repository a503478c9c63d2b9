package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/trial"
)

// ABPlanOptions say what an experiment is to find. Numbers that are nil come from the cohorts.
type ABPlanOptions struct {
	File   string // the pipeline file
	Set    []string
	Metric string  // "" is the first one of the outcomes
	Effect float64 // the relative difference to be found; of the squared error that of the RMSE
	Power  float64 // the probability with which it is found
	// Rate is how many new keys there are in a day; Mean and Deviation are those of a key's loss, Correlation that with the loss of the
	// control's model on the same records, and Labels the share of predictions that get a label.
	Rate, Mean, Deviation, Correlation, Labels *float64
}

// ABPlan says how many keys and days the experiment of a pipeline file needs. No experiment need be running.
func (a *App) ABPlan(ctx context.Context, o ABPlanOptions) (*trial.Plan, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if p.AB == nil {
		return nil, &Error{Code: Usage, Op: "ab plan", Where: o.File, Err: errNoAB, Hint: "add ab: with its arms: see docs/ab.md"}
	}
	w := &abPlanning{app: a, p: p, o: &o, known: map[string]string{}}
	w.plan = trial.Planning{
		Metric: o.Metric, Judging: judging(p.AB), Effect: o.Effect, Power: o.Power, Comparisons: len(p.AB.Arms) - 1, Labels: trial.Labels{Share: 1},
	}
	if p.Outcomes != nil {
		w.plan.Labels.Horizon = p.Outcomes.Join.Horizon.Hours() / 24
	}
	if err := w.metric(); err != nil {
		return nil, err
	}
	total := 0.0
	for i := range p.AB.Arms {
		total += p.AB.Arms[i].Weight
	}
	for i := range p.AB.Arms {
		w.plan.Arms = append(w.plan.Arms, trial.Arm{Name: p.AB.Arms[i].Name, Model: p.AB.Arms[i].Model, Share: p.AB.Arms[i].Weight / total})
	}
	if err := w.past(ctx); err != nil {
		return nil, err
	}
	if err := w.given(); err != nil {
		return nil, err
	}
	out, err := w.plan.Plan()
	if err != nil {
		return nil, &Error{Code: Usage, Op: "ab plan", Err: err, Hint: "what the cohorts do not know, or is to be otherwise, is said by flags: see millrace ab plan --help"}
	}
	out.Known = w.known
	return out, nil
}

// abPlanning collects what a plan is made from.
type abPlanning struct {
	app   *App
	p     *config.Pipeline
	o     *ABPlanOptions
	plan  trial.Planning
	known map[string]string
}

// metric decides which metric is planned for.
func (w *abPlanning) metric() error {
	if w.p.Outcomes != nil {
		var names []string
		for _, m := range w.p.Outcomes.Metrics {
			names = append(names, m.String())
		}
		w.plan.Comparisons *= max(1, len(names))
		if w.plan.Metric == "" && len(names) > 0 {
			w.plan.Metric = names[0]
		}
		if w.plan.Metric != "" && !slices.Contains(names, w.plan.Metric) {
			return &Error{
				Code: Usage, Op: "ab plan", Where: w.o.File, Err: fmt.Errorf("outcomes.metrics does not have %q", w.plan.Metric),
				Hint: "it has " + strings.Join(names, ", "),
			}
		}
	}
	if w.plan.Metric == "" {
		w.plan.Metric = "squared_error"
	}
	if _, err := experiment.ParseMetric(w.plan.Metric); err != nil {
		return &Error{Code: Usage, Op: "ab plan", Where: "--metric", Err: err}
	}
	return nil
}

// complete tells whether nothing has to be looked up.
func (w *abPlanning) complete() bool {
	o := w.o
	return o.Rate != nil && o.Mean != nil && o.Deviation != nil && o.Correlation != nil && o.Labels != nil
}

// past takes what the cohorts know: of the experiment, or else of the predictions outside of one.
func (w *abPlanning) past(ctx context.Context) error {
	oc := w.p.Outcomes
	if oc == nil || w.complete() {
		return nil
	}
	cluster, err := w.app.cluster(w.p)
	if err != nil {
		return err
	}
	client, err := kafka.New(cluster)
	if err != nil {
		return err
	}
	defer client.Close()
	r := &abReading{app: w.app, p: w.p, client: client}
	all, _, err := readCohorts(ctx, r.tap, oc.Cohorts, func(c *outcome.Cohort) bool {
		return c.Topic == w.p.Sink.Topic && (c.Experiment == "" || c.Experiment == w.p.AB.Name)
	})
	if err != nil {
		return err
	}
	now := w.app.Now()
	mature := func(day string) bool {
		at, err := time.Parse(time.DateOnly, day)
		return err == nil && !at.AddDate(0, 0, 1).Add(oc.Join.Horizon+oc.Join.Grace).After(now)
	}
	name, control := w.p.AB.Name, w.p.AB.Arms[0].Name
	past := trial.PastOf(all, w.p.Sink.Topic, name, control, w.plan.Metric, mature)
	from := "the experiment " + name
	if past.Control.Units < 2 {
		past = trial.PastOf(all, w.p.Sink.Topic, "", "", w.plan.Metric, mature)
		from = "the predictions outside of an experiment, each as a key of its own"
	}
	w.take(past, from)
	return nil
}

// sameModel is the correlation of losses from which on the models have been one: it says nothing of another one.
const sameModel = 0.9999

// take takes what was seen.
func (w *abPlanning) take(past *trial.Past, from string) {
	p := &w.plan
	if past.Control.Units < 2 {
		return
	}
	note := func(name string) { w.known[name] = from }
	p.Mean, p.Deviation = past.Control.Mean, past.Control.Deviation
	note("mean")
	note("deviation")
	if past.PerDay > 0 {
		p.PerDay = past.PerDay
		note("rate")
	}
	if c := past.Treatment.Correlation; past.Treatment.Units >= p.MinUnits && c < sameModel {
		p.Correlation = past.Treatment.Correlation
		note("correlation")
	}
	delays := int64(0)
	for _, n := range past.Labels.Delays {
		delays += n
	}
	if past.Labels.Share > 0 && delays > 0 {
		p.Labels.Share, p.Labels.Delays, p.Labels.Bounds = past.Labels.Share, past.Labels.Delays, past.Labels.Bounds
		note("labels")
		note("delays")
	}
}

var errUnknownLosses = errors.New("how large the loss of a key is, and how much it varies, is not known")

// given takes what the command line says, and wants what there is no plan without.
func (w *abPlanning) given() error {
	p := &w.plan
	for _, x := range []struct {
		name string
		from *float64
		to   *float64
	}{
		{"rate", w.o.Rate, &p.PerDay},
		{"mean", w.o.Mean, &p.Mean},
		{"deviation", w.o.Deviation, &p.Deviation},
		{"correlation", w.o.Correlation, &p.Correlation},
		{"labels", w.o.Labels, &p.Labels.Share},
	} {
		if x.from != nil {
			*x.to, w.known[x.name] = *x.from, "the command line"
		}
	}
	if w.known["mean"] == "" || w.known["deviation"] == "" {
		return &Error{
			Code: Usage, Op: "ab plan", Where: w.o.File, Err: errUnknownLosses,
			Hint: "run millrace outcomes on past predictions, or give them: --mean, the mean loss, and --sd, its standard deviation from key to key, both in the unit of the metric; and --rate, new keys a day",
		}
	}
	return nil
}
