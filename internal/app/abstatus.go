package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/report"
	"millrace.dev/internal/rollout"
	"millrace.dev/internal/trial"
	"millrace.dev/record"
)

// ABStatusOptions say which experiment to judge.
type ABStatusOptions struct {
	File       string // the pipeline file
	Set        []string
	Experiment string // "" is the one that runs, or else that of the pipeline file
	// Require is what the error is of code Refused without; "" is nothing.
	Require Require
	HTML    string // the file for a page; "" is none, "-" Stdout
	Stdout  io.Writer
}

// Require is what an experiment is to have come to.
type Require string

// The requirements. None is met by an experiment whose checks have failed.
const (
	RequireBetter   Require = "better"    // an arm's model is better, and is to be promoted
	RequireNotWorse Require = "not-worse" // no arm is worse by any metric
	RequireDecided  Require = "decided"   // there is nothing to wait for
	RequireTrusted  Require = "trusted"   // the checks of the experiment hold
)

// Requirements returns all of them.
func Requirements() []string {
	return []string{string(RequireBetter), string(RequireNotWorse), string(RequireDecided), string(RequireTrusted)}
}

var errNothingOfAB = errors.New("no experiment is running, and there are no outcomes of one")

// ABStatus judges the experiment of a pipeline: by what instances say, by the cohorts of its outcomes, and by the audit log. With Require
// the report is there beside the error. It fails with code Nothing where there is no experiment and no outcome of one.
func (a *App) ABStatus(ctx context.Context, o ABStatusOptions) (*trial.Report, error) {
	if o.Require != "" && !slices.Contains(Requirements(), string(o.Require)) {
		return nil, &Error{Code: Usage, Op: "ab status", Err: fmt.Errorf("no such requirement: %q", o.Require), Hint: "better, not-worse, decided or trusted"}
	}
	if err := CheckOutput(o.HTML, o.Stdout); err != nil { // before what takes long
		return nil, err
	}
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	r, err := a.judgeAB(ctx, p, o.Experiment)
	if err != nil {
		return nil, err
	}
	if o.HTML != "" {
		if err := WriteFile(o.HTML, o.Stdout, func(w io.Writer) error { return report.Trial(w, r) }); err != nil {
			return nil, err
		}
	}
	return r, met(r, o.Require)
}

// met returns why an experiment has not come to what is required.
func met(r *trial.Report, require Require) error {
	action := r.Advice.Action
	ok := true
	switch require {
	case RequireBetter:
		ok = action == trial.Promote
	case RequireNotWorse:
		ok = action != trial.Distrust && !slices.ContainsFunc(r.Comparisons, func(c trial.Comparison) bool { return c.Verdict == experiment.Worse })
	case RequireDecided:
		ok = action != trial.Distrust && action != trial.Wait && action != trial.Remove
	case RequireTrusted:
		ok = action != trial.Distrust
	}
	if ok {
		return nil
	}
	return &Error{Code: Refused, Op: "ab status", Where: r.Experiment, Err: fmt.Errorf("it is not %s: %s", require, r.Advice.Words)}
}

// abReading reads what is known of an experiment.
type abReading struct {
	app    *App
	p      *config.Pipeline
	client *kafka.Client
	setup  *trial.Setup
	seen   *trial.Seen
	found  bool // something says that there is such an experiment
}

func (a *App) judgeAB(ctx context.Context, p *config.Pipeline, name string) (*trial.Report, error) {
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	client, err := kafka.New(cluster)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r := &abReading{app: a, p: p, client: client, setup: &trial.Setup{Pipeline: p.Name, Group: p.Group, Topic: p.Sink.Topic}, seen: &trial.Seen{}}
	r.setup.Judging = judging(p.AB)
	split, since, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case name != "":
	case split != nil:
		name = split.Experiment
	case p.AB != nil:
		name = p.AB.Name
	default:
		return nil, r.nothing()
	}
	r.setup.Experiment = name
	if split != nil && split.Experiment == name {
		if err := r.take(ctx, split); err != nil {
			return nil, err
		}
		r.setup.Since = since
	}
	if err := r.cohorts(ctx); err != nil {
		return nil, err
	}
	if err := r.history(ctx); err != nil {
		return nil, err
	}
	if !r.found || len(r.setup.Arms) < 2 {
		return nil, r.nothing()
	}
	return trial.Judge(r.setup, r.seen, a.Now())
}

func (r *abReading) nothing() error {
	return &Error{Code: Nothing, Op: "ab status", Where: r.p.Group, Err: errNothingOfAB, Hint: "millrace ab start begins the experiment of the pipeline file; docs/ab.md has the whole way"}
}

// judging says how a pipeline file has its arms compared; nil is by the defaults.
func judging(ab *config.AB) trial.Judging {
	j := trial.Judging{Test: experiment.Sequential, Alpha: 0.05, Correction: experiment.Holm, MinUnits: 100, Units: 5000}
	if ab == nil {
		return j
	}
	j.Alpha, j.MinUnits, j.Units, j.Margin = ab.Alpha, int64(ab.MinUnits), int64(ab.Units), ab.Margin
	if ab.Test == config.TestFixed {
		j.Test = experiment.Fixed
	}
	switch ab.Correction {
	case config.CorrectBenjamini:
		j.Correction = experiment.BenjaminiHochberg
	case config.CorrectNone:
		j.Correction = ""
	case config.CorrectHolm:
	}
	return j
}

// tap reads what is in a topic, and nothing if there is no such topic.
func (r *abReading) tap(ctx context.Context, topic string, read func(*record.Raw)) error {
	err := r.client.Tap(ctx, kafka.TapConfig{Topic: topic, From: kafka.FromStart}, func(rs []record.Raw) error {
		for i := range rs {
			read(&rs[i])
		}
		return ctx.Err()
	})
	return cmp.Or(unlessUnknown(err), ctx.Err())
}

// unlessUnknown passes errors on, but for those that say that there is no such topic.
func unlessUnknown(err error) error {
	if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnknownTopic {
		return nil
	}
	return err
}

// mostCohorts bounds the sums that are kept: for a hundred arms and partitions, some years.
const mostCohorts = 500_000

// cohorts reads the sums of the experiment.
func (r *abReading) cohorts(ctx context.Context) error {
	o := r.p.Outcomes
	if o == nil {
		r.seen.Notes = append(r.seen.Notes, trial.Warning{
			Kind:  "no_outcomes",
			Words: "the pipeline file does not say how predictions find their labels: add outcomes, and run millrace outcomes, to know which arm is better",
		})
		return nil
	}
	for _, m := range o.Metrics {
		r.setup.Metrics = append(r.setup.Metrics, m.String())
	}
	r.setup.Wait = o.Join.Horizon + o.Join.Grace
	all, strange, err := readCohorts(ctx, r.tap, o.Cohorts, func(c *outcome.Cohort) bool { return c.Topic == r.setup.Topic && c.Experiment == r.setup.Experiment })
	if err != nil {
		return err
	}
	r.seen.Cohorts, r.seen.Strange = all, strange
	r.found = r.found || len(all) > 0
	if len(all) == 0 {
		r.seen.Notes = append(r.seen.Notes, trial.Warning{
			Kind: "no_cohorts", Words: "no outcome of the experiment is counted yet: is millrace outcomes running?",
		})
	}
	return nil
}

// readCohorts returns the last cohorts of their keys that are wanted, and how many records of the topic are none.
func readCohorts(ctx context.Context, tap func(context.Context, string, func(*record.Raw)) error, topic string, want func(*outcome.Cohort) bool) (all []*outcome.Cohort, strange int64, err error) {
	byKey, newer := map[string]*outcome.Cohort{}, map[string]error{}
	full := false
	err = tap(ctx, topic, func(raw *record.Raw) {
		key := string(raw.Key)
		delete(newer, key) // what comes later counts
		if raw.Value == nil {
			delete(byKey, key)
			return
		}
		c, err := outcome.DecodeCohort(raw.Value)
		switch {
		case errors.Is(err, outcome.ErrNewer) && len(raw.Key) > 0: // without a key it is nobody's cohort, of whatever version
			if len(newer) < mostCohorts {
				newer[key] = err
			}
		case err != nil || c.Key() != key:
			strange++
		case !want(c):
		case len(byKey) >= mostCohorts && byKey[key] == nil:
			full = true
		default:
			byKey[key] = c
		}
	})
	switch {
	case err != nil:
		return nil, 0, err
	case len(newer) > 0:
		key := slices.Min(slices.Collect(maps.Keys(newer)))
		return nil, 0, &Error{
			Code: Usage, Op: "read cohorts", Where: topic, Err: fmt.Errorf("the record of key %.100q: %w", key, newer[key]),
			Hint: "use the version of millrace that runs millrace outcomes, or a later one; if the record is not one of its own, write a null value for its key",
		}
	case full:
		return nil, 0, &Error{Code: Failed, Op: "read cohorts", Where: topic, Err: fmt.Errorf("there are more than %d", mostCohorts), Hint: "begin a new experiment, with a name of its own"}
	}
	for _, c := range byKey {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *outcome.Cohort) int { return cmp.Compare(a.Key(), b.Key()) }) // sums of floats depend on their order
	return all, strange, nil
}

// shareOfAll returns the share of the records that an arm of a running split gets.
func (r *abReading) shareOfAll(ctx context.Context, s *rollout.Split) ([]float64, error) {
	shares := make([]float64, len(s.Arms))
	partitions := 0
	if s.By == rollout.ByPartition {
		topics, err := r.client.Topics(ctx, r.p.Source.Topic)
		if err = unlessUnknown(err); err != nil {
			return nil, err
		}
		if len(topics) > 0 {
			partitions = len(topics[0].Partitions)
		}
		left := float64(1)
		for i := 1; i < len(s.Arms); i++ {
			shares[i] = shareOf(s, i, partitions)
			left -= shares[i]
		}
		shares[0] = max(0, left) // a partition that no arm has goes to the control
		return shares, nil
	}
	for i, size := range s.Allocation().Sizes() {
		shares[i] = float64(size) / assign.Slots
	}
	return shares, nil
}
