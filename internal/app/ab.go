package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/model"
)

// ABOptions say what is to be done with an experiment.
type ABOptions struct {
	File   string // the pipeline file
	Set    []string
	By     string
	Reason string
	// Timeout is how long instances may take to make the models ready, and then to go over to them. Default: 2 min
	Timeout time.Duration
	// Progress is called when an instance has got further.
	Progress func(Step)
}

// ABStarted is what has become of the start of an experiment.
type ABStarted struct {
	Deployed

	Group string
	Split *rollout.Split
	// Moved is the share of the keys that have another arm than before, 0 where the experiment has just begun.
	Moved float64
	// Changed tells whether there was anything to do.
	Changed bool
	// Groups says that arms have groups of their own.
	Groups bool
	// From are, where arms have groups that begin now, the offsets of the source from which on they predict; else nil.
	From kafka.Offsets
}

// Share returns how much of the records an arm gets, in words.
func (s *ABStarted) Share(arm int) string {
	if s.Split.By == rollout.ByPartition {
		return fmt.Sprintf("%d partitions", len(s.Split.Arms[arm].Partitions))
	}
	return fmt.Sprintf("%.4g%%", 100*shareOf(s.Split, arm, 0))
}

var (
	errNoAB        = errors.New("the pipeline file has no experiment")
	errNoRunningAB = errors.New("no experiment is running")
)

// StartAB has all instances of a pipeline predict with the arms of its experiment, or with other weights or arms if it runs already: all of
// them, once all are ready, or none.
func (a *App) StartAB(ctx context.Context, o ABOptions) (*ABStarted, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if p.AB == nil {
		return nil, &Error{Code: Usage, Op: "ab start", Where: o.File, Err: errNoAB, Hint: "add ab: with its arms: see docs/ab.md"}
	}
	reg, err := a.decider(ctx, p, &o)
	if err != nil {
		return nil, err
	}
	if p.AB.Split == config.SplitGroups {
		return a.startGroups(ctx, p, reg, &o)
	}
	var arms []*model.Loaded
	for _, arm := range p.AB.Arms {
		m, err := a.approved(ctx, p, arm.Model)
		if err != nil {
			return nil, err
		}
		arms = append(arms, m)
	}
	c, err := a.controller(ctx, p, func(now *rollout.Control) error { return noOther(p, now) })
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := a.withoutGroups(ctx, c, "ab start "+p.AB.Name); err != nil {
		return nil, err
	}
	old := splitNow(c.control)
	partitions, err := c.partitions(ctx)
	if err != nil {
		return nil, err
	}
	split, err := splitOf(p.AB, arms, old, partitions)
	if err != nil {
		return nil, err
	}
	out := &ABStarted{Group: p.Group, Split: split, Changed: !reflect.DeepEqual(old, split)}
	if !out.Changed {
		return out, nil
	}
	out.Moved = moved(old, split, partitions)
	w := &promotion{
		controller: c, op: "ab start " + split.Experiment, timeout: o.Timeout, progress: o.Progress, champion: championRef(ctx, reg, p),
		next: rollout.Deployment{Model: split.Arms[0].Model, Digest: split.Arms[0].Digest, Split: split, By: o.By, Reason: o.Reason},
		back: "millrace ab stop ends it",
		note: func(ctx context.Context, to *rollout.Deployment) error {
			return noteArms(ctx, reg, p, to, old, partitions)
		},
	}
	d, err := w.run(ctx)
	if d != nil {
		out.Deployed = *d
	}
	return out, err
}

// splitNow returns the split that the instances are to run, or nil.
func splitNow(c *rollout.Control) *rollout.Split {
	if c.Current == nil {
		return nil
	}
	return c.Current.Split
}

// noOther wants that no canary is under way, and no other experiment than that of a pipeline file.
func noOther(p *config.Pipeline, now *rollout.Control) error {
	switch old := splitNow(now); {
	case old == nil:
		return nil
	case old.Canary != nil:
		return &Error{
			Code: Usage, Op: "ab start " + p.AB.Name, Where: p.Group, Err: fmt.Errorf("the canary %s is under way, of %s", old.Experiment, old.Arms[1].Model),
			Hint: "let it come to its end, or end it with millrace ab stop",
		}
	case old.Experiment != p.AB.Name:
		return &Error{
			Code: Usage, Op: "ab start " + p.AB.Name, Where: p.Group, Err: fmt.Errorf("the experiment %s is running", old.Experiment),
			Hint: "end it with millrace ab stop, or give this one its name to go on with it",
		}
	default:
		return nil
	}
}

// decider returns the registry, after it has found out who decides.
func (a *App) decider(ctx context.Context, p *config.Pipeline, o *ABOptions) (*registry.Registry, error) {
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	if p.Model.Root == "" {
		o.By = a.actor(o.By)
	}
	o.By, err = reg.Promoter(ctx, o.By)
	return reg, err
}

// championRef returns the champion of the registry, NAME@VERSION; "" is none.
func championRef(ctx context.Context, reg *registry.Registry, p *config.Pipeline) string {
	v, err := reg.Resolve(ctx, "@"+registry.AliasChampion, p.Name)
	if err != nil {
		return ""
	}
	return v.Ref()
}

// partitions returns how many partitions the source has.
func (c *controller) partitions(ctx context.Context) (int, error) {
	topics, err := c.client.Topics(ctx, c.p.Source.Topic)
	if err != nil {
		return 0, err
	}
	return len(topics[0].Partitions), nil
}

// splitOf returns the split that the pipeline file asks for. Keys stay in their arms of old, as far as weights allow.
func splitOf(ab *config.AB, models []*model.Loaded, old *rollout.Split, partitions int) (*rollout.Split, error) {
	s := &rollout.Split{Experiment: ab.Name, By: rollout.ByKey, Key: ab.Key, Salt: ab.Salt, Override: ab.Override}
	weights, from := make([]float64, len(ab.Arms)), make([]int, len(ab.Arms))
	for i, a := range ab.Arms {
		s.Arms = append(s.Arms, rollout.Arm{Name: a.Name, Model: models[i].Ref, Digest: models[i].Digest})
		weights[i], from[i] = a.Weight, -1
		if old != nil {
			from[i] = old.Arm(a.Name)
		}
	}
	allocation, err := assign.New(weights)
	if err != nil {
		return nil, err
	}
	if ab.Split == config.SplitPartition {
		s.By, s.Salt = rollout.ByPartition, ""
		return s, sharePartitions(s, allocation.Sizes(), partitions)
	}
	if old != nil && old.By == s.By && old.Salt == s.Salt && old.Key == s.Key {
		if allocation, err = old.Allocation().Resize(weights, from); err != nil {
			return nil, err
		}
	}
	for i := range s.Arms {
		s.Arms[i].Slots = allocation[i]
	}
	return s, s.Validate()
}

// sharePartitions gives each arm its part of n partitions, in their order, by how many slots it would have. One with a weight gets one at least.
func sharePartitions(s *rollout.Split, sizes []int, n int) error {
	counts, left := make([]int, len(sizes)), n
	for i, size := range sizes {
		if size > 0 {
			counts[i] = max(1, n*size/assign.Slots)
		}
		left -= counts[i]
	}
	for ; left != 0; left -= sign(left) { // whom it brings nearer to its share
		best := -1
		for i := range counts {
			if sizes[i] == 0 || left < 0 && counts[i] == 1 {
				continue
			}
			if best < 0 || sign(left)*(n*sizes[i]-counts[i]*assign.Slots) > sign(left)*(n*sizes[best]-counts[best]*assign.Slots) {
				best = i
			}
		}
		if best < 0 {
			return &Error{
				Code: Usage, Op: "ab start " + s.Experiment, Err: fmt.Errorf("the source has %d partitions, fewer than the experiment has arms", n),
				Hint: "divide by key, or give the source more partitions",
			}
		}
		counts[best] += sign(left)
	}
	next := int32(0)
	for i := range s.Arms {
		for range counts[i] {
			s.Arms[i].Partitions = append(s.Arms[i].Partitions, next)
			next++
		}
	}
	return s.Validate()
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

// moved returns the share of the keys, or of the partitions, that have another arm than in old. Where keys are hashed anew it is the share
// that is to be expected.
func moved(old, s *rollout.Split, partitions int) float64 {
	if old == nil {
		return 0
	}
	if old.By != s.By || s.By == rollout.ByKey && (old.Salt != s.Salt || old.Key != s.Key) {
		stays := 0.0
		for i := range s.Arms {
			if was := old.Arm(s.Arms[i].Name); was >= 0 {
				stays += float64(shareOf(old, was, partitions) * shareOf(s, i, partitions))
			}
		}
		return max(0, 1-stays)
	}
	if s.By == rollout.ByPartition {
		n, all := 0, 0
		for i := range s.Arms {
			was := old.Arm(s.Arms[i].Name)
			for _, p := range s.Arms[i].Partitions {
				all++
				if was < 0 || !slices.Contains(old.Arms[was].Partitions, p) {
					n++
				}
			}
		}
		return float64(n) / float64(max(1, all))
	}
	x, errX := old.Allocation().Table()
	y, errY := s.Allocation().Table()
	if errX != nil || errY != nil { // neither was valid
		return 1
	}
	n := 0
	for slot := range x {
		if old.Arms[x[slot]].Name != s.Arms[y[slot]].Name {
			n++
		}
	}
	return float64(n) / assign.Slots
}

// shareOf returns the share of the records that an arm gets, of a source with so many partitions.
func shareOf(s *rollout.Split, arm, partitions int) float64 {
	if s.By == rollout.ByPartition {
		return float64(len(s.Arms[arm].Partitions)) / float64(max(1, partitions))
	}
	return float64(s.Allocation().Sizes()[arm]) / assign.Slots
}

// noteArms notes in the registry which models get which part of the records from now on, before any record is predicted with them.
func noteArms(ctx context.Context, reg *registry.Registry, p *config.Pipeline, to *rollout.Deployment, old *rollout.Split, partitions int) error {
	for i := 1; i < len(to.Split.Arms); i++ {
		a := &to.Split.Arms[i]
		phase := registry.TrialStarted
		if old != nil && slices.ContainsFunc(old.Arms[1:], func(was rollout.Arm) bool { return was.Model == a.Model }) {
			phase = registry.TrialChanged
		}
		t := &registry.Trial{
			Experiment: to.Split.Experiment, Kind: registry.TrialAB, Phase: phase, Arm: a.Name, Share: shareOf(to.Split, i, partitions),
			Control: to.Model, Epoch: to.Epoch,
		}
		d := registry.Decision{By: to.By, Reason: to.Reason, Group: p.Group, Trial: t}
		_, err := reg.Try(ctx, a.Model, "", d)
		if errors.Is(err, registry.ErrInvalid) && phase == registry.TrialChanged { // the log has an end that the instances were not told of
			t.Phase = registry.TrialStarted
			_, err = reg.Try(ctx, a.Model, "", d)
		}
		if err != nil {
			return err
		}
	}
	if old == nil {
		return nil
	}
	for i := 1; i < len(old.Arms); i++ { // arms that are gone
		a := &old.Arms[i]
		// One that has another name goes on: a version has one trial in an experiment.
		if !slices.ContainsFunc(to.Split.Arms[1:], func(now rollout.Arm) bool { return now.Model == a.Model }) {
			if err := noteEnd(ctx, reg, p, to, old, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteEnd notes that an arm gets no records any more. One whose start was not noted has no end.
func noteEnd(ctx context.Context, reg *registry.Registry, p *config.Pipeline, to *rollout.Deployment, old *rollout.Split, a *rollout.Arm) error {
	_, err := reg.Try(ctx, a.Model, "", registry.Decision{By: to.By, Reason: to.Reason, Group: p.Group, Trial: &registry.Trial{
		Experiment: old.Experiment, Kind: trialKind(old), Phase: registry.TrialEnded, Verdict: registry.VerdictStopped, Arm: a.Name,
		Control: old.Arms[0].Model, Epoch: to.Epoch,
	}})
	if errors.Is(err, registry.ErrInvalid) {
		return nil
	}
	return err
}

// noteEnds notes that the arms of old, which may be nil, get no records any more, but for the one whose model is to have all of them: how
// its trial ended is returned, and belongs to its promotion.
func noteEnds(ctx context.Context, reg *registry.Registry, p *config.Pipeline, to *rollout.Deployment, old *rollout.Split) (passed *registry.Trial, err error) {
	if old == nil {
		return nil, nil //nolint:nilnil // there was none
	}
	for i := 1; i < len(old.Arms); i++ {
		a := &old.Arms[i]
		if a.Model != to.Model {
			if err := noteEnd(ctx, reg, p, to, old, a); err != nil {
				return nil, err
			}
			continue
		}
		passed = &registry.Trial{
			Experiment: old.Experiment, Kind: trialKind(old), Phase: registry.TrialEnded, Verdict: registry.VerdictPassed, Arm: a.Name, Share: 1,
			Control: old.Arms[0].Model, Epoch: to.Epoch,
		}
	}
	return passed, nil
}

// trialKind returns what an experiment is for.
func trialKind(s *rollout.Split) registry.TrialKind {
	if s.Canary != nil {
		return registry.TrialCanary
	}
	return registry.TrialAB
}

// ABStopped is what has become of the end of an experiment.
type ABStopped struct {
	Deployed

	Group      string
	Experiment string
	Model      string // that predicts all records from now on: the control's
	// From are, where arms had groups, the offsets of the source from which on the pipeline's own group goes on, with the model that it is
	// started with; else nil.
	From kafka.Offsets
}

// StopAB ends the experiment of a pipeline: its instances predict all records with the control's model. It waits until they do.
func (a *App) StopAB(ctx context.Context, o ABOptions) (*ABStopped, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	reg, err := a.decider(ctx, p, &o)
	if err != nil {
		return nil, err
	}
	if p.AB != nil && p.AB.Split == config.SplitGroups {
		out, err := a.stopGroups(ctx, p, reg, &o)
		if code, _ := Explain(err); err == nil || code != Nothing || p.Model.Update == config.RestartUpdate {
			return out, err
		} // a canary is in the instances
	}
	c, err := a.controller(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if a.withoutGroups(ctx, c, "ab stop") != nil { // the pipeline file has changed since
		return a.stopGroups(ctx, p, reg, &o)
	}
	if c.control.Current == nil || c.control.Current.Split == nil {
		return nil, &Error{Code: Nothing, Op: "ab stop", Where: p.Group, Err: errNoRunningAB}
	}
	old := c.control.Current.Split
	m, err := a.approved(ctx, p, old.Arms[0].Model)
	if err != nil {
		return nil, err
	}
	out := &ABStopped{Group: p.Group, Experiment: old.Experiment, Model: m.Ref}
	w := &promotion{
		controller: c, op: "ab stop " + old.Experiment, timeout: o.Timeout, progress: o.Progress, champion: championRef(ctx, reg, p),
		next: rollout.Deployment{Model: m.Ref, Digest: m.Digest, By: o.By, Reason: o.Reason},
		note: func(ctx context.Context, to *rollout.Deployment) error {
			for i := 1; i < len(old.Arms); i++ {
				if err := noteEnd(ctx, reg, p, to, old, &old.Arms[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	d, err := w.run(ctx)
	if d != nil {
		out.Deployed = *d
	}
	return out, err
}
