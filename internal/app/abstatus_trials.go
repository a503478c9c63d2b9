package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/internal/trial"
	"millrace.dev/record"
)

// running returns the split that the instances have been told of, and when; nil is none. It also reads what they say of themselves.
func (r *abReading) running(ctx context.Context) (*rollout.Split, time.Time, error) {
	groups, err := readGroups(ctx, r.client, r.p)
	if err != nil {
		return nil, time.Time{}, err
	}
	if groups.Split != nil {
		return groups.Split, time.UnixMilli(groups.At).UTC(), nil
	}
	if r.p.Model.Update == config.RestartUpdate {
		return nil, time.Time{}, nil
	}
	control, err := r.app.readControl(ctx, r.client, r.p)
	if err = unlessUnknown(err); err != nil {
		return nil, time.Time{}, err
	}
	all := map[string]*rollout.Status{}
	err = r.tap(ctx, r.p.StatusTopic(), func(raw *record.Raw) {
		if s, err := rollout.DecodeStatus(raw.Value); raw.Value != nil && err == nil {
			all[string(raw.Key)] = s
		} else {
			delete(all, string(raw.Key)) // it has ended, or speaks another language
		}
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, s := range all {
		r.seen.Statuses = append(r.seen.Statuses, s)
	}
	slices.SortFunc(r.seen.Statuses, func(a, b *rollout.Status) int { return cmp.Compare(a.Instance, b.Instance) })
	if control == nil || control.Current == nil || control.Current.Split == nil {
		return nil, time.Time{}, nil
	}
	return control.Current.Split, time.UnixMilli(control.Current.At).UTC(), nil
}

// take sets the arms to those of a split.
func (r *abReading) take(ctx context.Context, split *rollout.Split) error {
	shares, err := r.shareOfAll(ctx, split)
	if err != nil {
		return err
	}
	s := r.setup
	s.Running, s.By, s.Key, r.found = true, split.By, split.Key, true
	for i := range split.Arms {
		a := &split.Arms[i]
		s.Arms = append(s.Arms, trial.Arm{Name: a.Name, Model: a.Model, Digest: a.Digest, Share: shares[i]})
	}
	return nil
}

// history reads the audit log: what the experiment was before now, and, of one that is over, what it was at last.
func (r *abReading) history(ctx context.Context) error {
	reg, err := r.app.Registry(r.p.Model)
	if err != nil {
		return err
	}
	events, err := reg.Log(ctx)
	if err != nil {
		if r.setup.Running {
			r.seen.Notes = append(r.seen.Notes, trial.Warning{Kind: "registry", Words: "the audit log cannot be read, so changes of the shares are not known: " + Message(err)})
			return nil
		}
		return err
	}
	settings := newSettings()
	for i := range events {
		e := &events[i]
		if e.Group == r.p.Group && (e.Action == registry.Promoted || e.Action == registry.RolledBack) {
			settings.over(e.Time)
		}
		if e.Trial == nil || e.Trial.Experiment != r.setup.Experiment || e.Group != r.p.Group {
			continue
		}
		settings.take(e)
		r.setup.Audit = append(r.setup.Audit, trial.Entry{At: e.Time, Actor: e.Actor, Words: trialWords(e), Reason: e.Reason})
	}
	if len(settings.all) > 0 {
		r.found = true
		if first := settings.all[0].at; r.setup.Since.IsZero() || first.Before(r.setup.Since) {
			r.setup.Since = first
		}
	}
	if !r.setup.Running && r.found { // of what nobody has begun, the models need not even be there
		if err := r.formerArms(ctx, reg, settings.last()); err != nil {
			return err
		}
	}
	r.setup.Settings = settings.of(r.setup.Arms)
	return nil
}

// formerArms finds the arms of an experiment that does not run: by the audit log, by the pipeline file, and by the cohorts.
func (r *abReading) formerArms(ctx context.Context, reg *registry.Registry, last *setting) error {
	s := r.setup
	s.By = rollout.ByKey
	if ab := r.p.AB; ab != nil && ab.Name == s.Experiment {
		s.Key = ab.Key
		if ab.Split == config.SplitPartition {
			s.By = rollout.ByPartition
		}
		if last == nil {
			return r.declaredArms(ctx, reg, ab)
		}
	}
	if last == nil {
		return nil
	}
	left := 1.0
	for _, a := range last.arms {
		left -= a.Share
	}
	s.Arms = append([]trial.Arm{{Name: r.controlName(last), Model: last.control, Share: max(0, left)}}, last.arms...)
	return nil
}

// declaredArms takes the arms of the pipeline file, for an experiment that nobody has noted.
func (r *abReading) declaredArms(ctx context.Context, reg *registry.Registry, ab *config.AB) error {
	total := 0.0
	for i := range ab.Arms {
		total += ab.Arms[i].Weight
	}
	for i := range ab.Arms {
		v, err := reg.Resolve(ctx, ab.Arms[i].Model, r.p.Name)
		if err != nil {
			return err
		}
		r.setup.Arms = append(r.setup.Arms, trial.Arm{Name: ab.Arms[i].Name, Model: v.Ref(), Digest: v.Digest, Share: ab.Arms[i].Weight / total})
	}
	return nil
}

// controlName returns the name of the control, which the audit log does not say.
func (r *abReading) controlName(last *setting) string {
	if ab := r.p.AB; ab != nil && ab.Name == r.setup.Experiment {
		return ab.Arms[0].Name
	}
	for _, c := range r.seen.Cohorts {
		other := slices.ContainsFunc(last.arms, func(a trial.Arm) bool { return a.Name == c.Arm })
		if c.Model == last.control && !other {
			return c.Arm
		}
	}
	return "control"
}

// setting is what the arms get from a time on.
type setting struct {
	at      time.Time
	control string
	arms    []trial.Arm // without the control, by name
}

// settings are those of an experiment, as the audit log has them.
type settings struct {
	all   []setting
	now   setting
	epoch int64
}

func newSettings() *settings { return &settings{} }

// take notes an event. Those of one deployment belong together.
func (s *settings) take(e *registry.Event) {
	t := e.Trial
	if t.Phase == registry.TrialEnded && len(s.now.arms) == 0 { // the end of what was over by then
		return
	}
	same := func(a trial.Arm) bool { return a.Name == t.Arm }
	if t.Phase == registry.TrialEnded {
		// An arm that goes may have come back with another model in the same deployment.
		s.now.arms = slices.DeleteFunc(slices.Clone(s.now.arms), func(a trial.Arm) bool { return same(a) && a.Model == e.Ref() })
	} else {
		s.now.arms = append(slices.DeleteFunc(slices.Clone(s.now.arms), same), trial.Arm{Name: t.Arm, Model: e.Ref(), Digest: e.Digest, Share: t.Share})
		slices.SortFunc(s.now.arms, func(a, b trial.Arm) int { return strings.Compare(a.Name, b.Name) })
	}
	s.now.at, s.now.control = e.Time, t.Control
	if last := len(s.all) - 1; last >= 0 && t.Epoch != 0 && t.Epoch == s.epoch {
		s.all[last] = s.now
	} else {
		s.all = append(s.all, s.now)
	}
	s.epoch = t.Epoch
}

// over notes that the group has gone over to one model, which ends what it had of the experiment.
func (s *settings) over(at time.Time) {
	if len(s.now.arms) > 0 {
		s.now = setting{at: at, control: s.now.control}
		s.all, s.epoch = append(s.all, s.now), 0
	}
}

// last returns the last setting with an arm, or nil.
func (s *settings) last() *setting {
	for i := range slices.Backward(s.all) {
		if len(s.all[i].arms) > 0 {
			return &s.all[i]
		}
	}
	return nil
}

// of returns the shares of arms over time, without settings that change nothing, and without those in which the experiment did not run.
func (s *settings) of(arms []trial.Arm) []trial.Setting {
	var out []trial.Setting
	var before string
	for _, one := range s.all {
		if len(one.arms) == 0 {
			continue
		}
		shares := make([]float64, len(arms))
		left := 1.0
		for _, a := range one.arms {
			left -= a.Share
			if i := slices.IndexFunc(arms, func(b trial.Arm) bool { return b.Name == a.Name }); i > 0 {
				shares[i] = a.Share
			}
		}
		if len(shares) > 0 {
			shares[0] = max(0, left)
		}
		if word := fmt.Sprint(one.control, one.arms); word != before {
			out, before = append(out, trial.Setting{At: one.at, Shares: shares}), word
		}
	}
	return out
}

// trialWords say what an event did.
func trialWords(e *registry.Event) string {
	t := e.Trial
	switch {
	case t.Phase == registry.TrialEnded && t.Guard != "":
		return fmt.Sprintf("%s, %s, has ended: %s by the guard %s", t.Arm, e.Ref(), strings.ReplaceAll(string(t.Verdict), "_", " "), t.Guard)
	case t.Phase == registry.TrialEnded:
		return fmt.Sprintf("%s, %s, has ended: %s", t.Arm, e.Ref(), strings.ReplaceAll(string(t.Verdict), "_", " "))
	default:
		return fmt.Sprintf("%s, %s, %s: %s of the records, beside %s", t.Arm, e.Ref(), t.Phase, chart.Percent(t.Share), t.Control)
	}
}
