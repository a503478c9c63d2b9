package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/canary"
	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/model"
)

// The arms of a canary.
const (
	controlArm = "champion"
	canaryArm  = "canary"
)

// CanaryOptions say which model is to be let in by steps.
type CanaryOptions struct {
	File   string // the pipeline file
	Set    []string
	Model  string // NAME@VERSION, NAME@ALIAS or @ALIAS
	By     string
	Reason string
	// Steps are the shares of the records, rising to 1. Default: those of the pipeline file
	Steps []float64
	// Keep leaves the canary where it is when ctx ends, with nobody who watches. Default: the model is taken back
	Keep bool
	// Timeout is how long instances may take to make the model ready, and then to go over to it. Default: 2 min
	Timeout time.Duration
	// Progress is called when an instance has got further.
	Progress func(Step)
	// Look is called after each look at the guards, and Every is how often they are looked at. Default: 1 s
	Look  func(CanaryLook)
	Every time.Duration
}

// CanaryLook is where a canary is.
type CanaryLook struct {
	Experiment string
	Step       int // from 0
	Steps      []float64
	Records    int64 // of the model, in all steps
	Decision   canary.Decision
}

// CanaryStep is a step that was taken.
type CanaryStep struct {
	Share   float64   `json:"share"`
	Epoch   int64     `json:"epoch"`
	At      time.Time `json:"at"`
	Records int64     `json:"records"` // the model had been given before it
}

// Canaried is what has become of a canary.
type Canaried struct {
	Model      string
	Digest     string
	Control    string // the model of before
	Group      string
	Experiment string // the name that the headers of its records carry
	Resumed    bool
	Verdict    registry.Verdict // "" is that it goes on
	Guard      string           // that has taken it back; "" is none
	Why        string           // it was taken back
	Steps      []CanaryStep     // that this command has taken
	Readings   []canary.Reading // what the guards have seen last
	Touched    []registry.Touched
	// Complete says that Touched has all of its records.
	Complete bool
	Deployed Deployed // of the last deployment
}

// canaryRun is a canary under way.
type canaryRun struct {
	*controller

	o        *CanaryOptions
	registry *registry.Registry
	model    *model.Loaded
	before   *model.Loaded // what predicts the other records
	plan     canary.Plan
	split    *rollout.Split // of the present step
	at       canary.Position
	decided  bool // a command before has noted that it has passed, and the instances were not told
	watched  *canaryWatch
	beaten   time.Time // when the control was written last
	out      *Canaried
}

// Canary lets an approved model in by steps, as guards decide, and takes it back when one of them raises its alarm, or when ctx ends. One that is
// under way goes on where it is. It returns when all records are predicted with the model, or none; what has become of it is not nil once it
// has begun. An error of code Refused says that a guard has taken it back.
func (a *App) Canary(ctx context.Context, o CanaryOptions) (*Canaried, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if o.Steps == nil {
		o.Steps = p.Canary.Steps
	}
	if err := config.CheckSteps(o.Steps); err != nil {
		return nil, &Error{Code: Usage, Op: "promote --canary", Err: err, Hint: "such as --canary 1%,10%,50%,100%"}
	}
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	if p.Model.Root == "" {
		o.By = a.actor(o.By)
	}
	if o.By, err = reg.Promoter(ctx, o.By); err != nil {
		return nil, err
	}
	m, err := a.approved(ctx, p, o.Model)
	if err != nil {
		return nil, err
	}
	// What is begun is brought to an end, also when ctx ends.
	c, err := a.controller(context.WithoutCancel(ctx), p, func(now *rollout.Control) error { return canaryFits(p, now, m) })
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := a.withoutGroups(ctx, c, "promote --canary "+m.Ref); err != nil {
		return nil, err
	}
	r := &canaryRun{
		controller: c, o: &o, registry: reg, model: m, plan: canaryPlan(p, o.Steps),
		out: &Canaried{Model: m.Ref, Digest: m.Digest, Group: p.Group},
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return r.out, r.run(ctx)
}

// canaryPlan returns the plan of a pipeline file.
func canaryPlan(p *config.Pipeline, steps []float64) canary.Plan {
	c := &p.Canary
	plan := canary.Plan{
		Steps: steps, Hold: c.Hold, Timeout: c.Timeout, MinRecords: int64(c.MinRecords), MinOutcomes: int64(c.MinOutcomes),
		Limits: canary.Limits{Alpha: c.Alpha, Change: c.Guards.DriftChange, Squared: c.Guards.LossMetric == config.MetricRMSE},
	}
	for _, g := range []struct {
		name  string
		to    **float64
		limit *float64
	}{
		{config.GuardErrors, &plan.Limits.Errors, &c.Guards.Errors},
		{config.GuardLatency, &plan.Limits.Latency, &c.Guards.Latency},
		{config.GuardDrift, &plan.Limits.Drift, &c.Guards.Drift},
		{config.GuardLoss, &plan.Limits.Loss, &c.Guards.Loss},
	} {
		if c.Guards.Has(g.name) && (g.name != config.GuardLoss || p.Outcomes != nil) {
			*g.to = g.limit
		}
	}
	return plan
}

// canaryFits wants that no other canary is under way than that of a model, and no experiment.
func canaryFits(p *config.Pipeline, now *rollout.Control, m *model.Loaded) error {
	s := splitNow(now)
	if s == nil || s.Canary != nil && s.Arms[1].Digest == m.Digest {
		return nil
	}
	return &Error{
		Code: Usage, Op: "promote --canary", Where: p.Group, Err: fmt.Errorf("%s is under way, of %s", s.Experiment, s.Arms[1].Model),
		Hint: "end it with millrace ab stop, or let it come to its end",
	}
}

// open finds out what there is: a canary of the model that goes on, or a model that predicts all records.
func (r *canaryRun) open(ctx context.Context) error {
	now, p := r.control.Current, r.p
	running := championRef(ctx, r.registry, p)
	if now != nil {
		running = now.Model
	}
	if running == "" {
		return &Error{
			Code: Usage, Op: "promote --canary", Where: p.Group, Err: errors.New("no model is there that could predict the other records"),
			Hint: "promote a first one without --canary",
		}
	}
	var err error
	if r.before, err = r.app.approved(ctx, p, running); err != nil {
		return err
	}
	r.out.Control = r.before.Ref
	switch {
	case now != nil && now.Split != nil:
		r.split, r.out.Resumed = now.Split, true
		if r.decided, err = r.passed(ctx); err != nil {
			return err
		}
	case r.before.Digest == r.model.Digest:
		return &Error{Code: Nothing, Op: "promote --canary", Where: p.Group, Err: fmt.Errorf("%s predicts all records already", r.model.Ref)}
	default:
		if r.split, err = r.first(ctx); err != nil {
			return err
		}
	}
	r.out.Experiment = r.split.Experiment
	if err := r.settle(ctx); err != nil {
		return err
	}
	if r.watched, err = newCanaryWatch(p, r.split); err != nil {
		return err
	}
	return r.watched.begin(ctx, r.client, r.split.Canary.Since)
}

// passed tells whether the registry says that the canary has passed: the model is the champion, and its trial is over.
func (r *canaryRun) passed(ctx context.Context) (bool, error) {
	v, err := r.registry.Resolve(ctx, r.model.Ref, r.p.Name)
	if err != nil {
		return false, err
	}
	runs := func(t registry.RunningTrial) bool { return t.Group == r.p.Group && t.Experiment == r.split.Experiment }
	return championRef(ctx, r.registry, r.p) == r.model.Ref && !slices.ContainsFunc(v.Trials, runs), nil
}

// first returns the split of the first step. Its name, with which keys are hashed too, is of this canary alone.
func (r *canaryRun) first(ctx context.Context) (*rollout.Split, error) {
	c := &rollout.Canary{Steps: r.plan.Steps, Lease: r.p.Canary.Lease.Milliseconds(), Since: map[string][]int64{}}
	for _, topic := range []string{r.p.Sink.Topic, r.p.DeadLetter.Topic} {
		end, err := r.client.EndOffsets(ctx, topic, true)
		if err != nil {
			return nil, err
		}
		if len(end) > mostSinceOffsets { // they would not fit into the control
			continue
		}
		offsets := make([]int64, len(end))
		for p, offset := range end {
			if int(p) < len(offsets) {
				offsets[p] = offset
			}
		}
		c.Since[topic] = offsets
	}
	name := fmt.Sprintf("canary-%s-%d", r.model.Ref[strings.LastIndexByte(r.model.Ref, '@')+1:], r.app.Now().Unix())
	return r.sized(&rollout.Split{Experiment: name, By: rollout.ByKey, Key: r.p.Canary.Key, Salt: name, Canary: c, Arms: []rollout.Arm{
		{Name: controlArm, Model: r.before.Ref, Digest: r.before.Digest, Slots: []assign.Range{{From: 0, To: assign.Slots}}},
		{Name: canaryArm, Model: r.model.Ref, Digest: r.model.Digest},
	}}, r.plan.Steps[0])
}

// mostSinceOffsets is for how many partitions of a topic a control says where a canary began.
const mostSinceOffsets = 4000

// sized returns a split in which the model has another share, and as few keys as possible another arm.
func (r *canaryRun) sized(s *rollout.Split, share float64) (*rollout.Split, error) {
	a, err := s.Allocation().Resize([]float64{1 - share, share}, []int{0, 1})
	if err != nil {
		return nil, err
	}
	next, c := *s, *s.Canary
	next.Arms, next.Canary = slices.Clone(s.Arms), &c
	for i := range next.Arms {
		next.Arms[i].Slots = a[i]
	}
	return &next, next.Validate()
}

// settle notes the end of trials of the group that are not under way any more: those whose end nobody has noted.
func (r *canaryRun) settle(ctx context.Context) error {
	versions, err := r.registry.List(ctx)
	if err != nil {
		return err
	}
	for _, v := range versions {
		for i := range v.Trials {
			t := &v.Trials[i]
			if t.Kind != registry.TrialCanary || t.Group != r.p.Group || r.out.Resumed && t.Experiment == r.split.Experiment {
				continue
			}
			over := registry.Trial{
				Experiment: t.Experiment, Kind: t.Kind, Phase: registry.TrialEnded, Arm: t.Arm, Control: t.Control, Epoch: t.Epoch, Verdict: registry.VerdictRolledBack,
			}
			d := registry.Decision{By: r.o.By, Reason: "it had ended before, and nobody was there to note it", Group: r.p.Group, Trial: &over}
			if _, err := r.registry.Try(ctx, v.Ref(), "", d); err != nil {
				return err
			}
		}
	}
	return nil
}

// run takes the steps, until the model has all records, or none.
func (r *canaryRun) run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	following, stop := context.WithCancel(base)
	go r.watched.follow(following, r.app, r.client)
	defer func() {
		stop()
		<-r.watched.ended
	}()
	var err error
	if r.decided {
		return r.finish(ctx, base)
	}
	if r.out.Resumed {
		err = r.resume(ctx)
	} else {
		err = r.step(ctx, 0)
	}
	for err == nil {
		var d canary.Decision
		if d, err = r.look(ctx); err != nil {
			break
		}
		switch d.Action {
		case canary.Advance:
			err = r.step(ctx, r.at.Step+1)
		case canary.Finish:
			return r.finish(ctx, base)
		case canary.RollBack:
			return r.takenBack(base, d)
		default:
		}
	}
	return r.stopped(ctx, base, err)
}

// resume goes on with a canary whose command has ended: at its step, and with all that came of its records so far.
func (r *canaryRun) resume(ctx context.Context) error {
	next, current, c := r.control.Abort(), *r.control.Current, *r.split.Canary
	split := *r.split
	c.Lease = r.p.Canary.Lease.Milliseconds() // one that was left alone has none
	split.Canary, current.Split, next.Current = &c, &split, &current
	r.split, r.control = &split, next
	r.at = canary.Position{Step: max(0, r.plan.Next(shareOf(r.split, 1, 0))-1), Since: time.UnixMilli(current.At), Records: c.Records}
	w := r.promotion(current, nil)
	w.to, w.said, w.out.Epoch = current, map[string]string{}, current.Epoch
	if err := w.turns(ctx); err != nil { // it may have been ended in the middle of a step
		return err
	}
	r.beaten, r.out.Deployed = r.app.Now(), w.out
	if !r.watched.drain(ctx, r.client) {
		r.app.Log.LogAttrs(ctx, slog.LevelWarn, "not all records of the canary could be read yet", slog.String("experiment", r.split.Experiment))
	}
	return nil
}

// promotion returns the way to a deployment.
func (r *canaryRun) promotion(next rollout.Deployment, note func(context.Context, *rollout.Deployment) error) *promotion {
	next.By, next.Reason = r.o.By, r.o.Reason
	return &promotion{
		controller: r.controller, op: "promote --canary " + r.model.Ref, next: next, champion: r.before.Ref, note: note, timeout: r.o.Timeout,
		back: "millrace ab stop ends the canary", progress: r.o.Progress, attend: r.attend,
	}
}

// step gives the model the share of a step.
func (r *canaryRun) step(ctx context.Context, n int) error {
	share, phase, s := r.plan.Steps[n], registry.TrialStarted, r.split
	if n > 0 {
		phase = registry.TrialChanged
		var err error
		if s, err = r.sized(s, share); err != nil {
			return err
		}
		s.Canary.Records = r.watched.sum().Records
	}
	w := r.promotion(rollout.Deployment{Model: r.before.Ref, Digest: r.before.Digest, Split: s}, func(ctx context.Context, to *rollout.Deployment) error {
		t := r.trial(phase, to.Epoch)
		t.Share = share
		return r.note(ctx, t, r.o.Reason)
	})
	d, err := w.run(ctx)
	if err != nil {
		return err
	}
	now := r.app.Now()
	r.split, r.out.Deployed, r.beaten = s, *d, now
	r.at = canary.Position{Step: n, Since: now, Records: s.Canary.Records}
	r.out.Steps = append(r.out.Steps, CanaryStep{share, d.Epoch, now, s.Canary.Records})
	return nil
}

// trial returns what the audit log says, but for what is of a phase alone.
func (r *canaryRun) trial(phase registry.TrialPhase, epoch int64) *registry.Trial {
	t := &registry.Trial{
		Experiment: r.split.Experiment, Kind: registry.TrialCanary, Phase: phase, Arm: canaryArm, Control: r.before.Ref, Epoch: epoch,
	}
	for i := range r.out.Readings {
		g := &r.out.Readings[i]
		t.Guards = append(t.Guards, registry.GuardReading{Guard: g.Guard, Records: g.Seen, Value: &g.Value, Bound: &g.Bound, Limit: &g.Limit, Words: g.Words})
	}
	return t
}

func (r *canaryRun) note(ctx context.Context, t *registry.Trial, reason string) error {
	_, err := r.registry.Try(ctx, r.model.Ref, "", registry.Decision{By: r.o.By, Reason: reason, Group: r.p.Group, Trial: t})
	return err
}

// look waits until it is time to look at the guards, and says what they say.
func (r *canaryRun) look(ctx context.Context) (canary.Decision, error) {
	every := r.o.Every
	if every <= 0 {
		every = time.Second
	}
	t := time.NewTimer(every)
	defer t.Stop()
	for waits := true; waits; {
		select {
		case r.last = <-r.statuses:
			r.watched.told(r.last)
		case <-t.C:
			waits = false
		case err := <-r.deaf:
			if err != nil {
				return canary.Decision{}, err
			}
		case <-r.watched.ended:
			return canary.Decision{}, r.watched.failure
		case <-ctx.Done():
			return canary.Decision{}, ctx.Err()
		}
	}
	if err := r.attend(ctx); err != nil {
		return canary.Decision{}, err
	}
	e := r.watched.sum()
	d, err := r.plan.Decide(r.at, e, r.app.Now())
	r.out.Readings = d.Readings
	if err == nil && r.o.Look != nil {
		r.o.Look(CanaryLook{Experiment: r.split.Experiment, Step: r.at.Step, Steps: r.plan.Steps, Records: e.Records, Decision: d})
	}
	return d, err
}

// Parts of a lease after which the control is written again, and how long it may be silent without one: who has begun another promotion is
// noticed then.
const (
	beatsOfLease = 4
	beatAtLeast  = 30 * time.Second
)

// attend writes the control again when it is time to, so that the instances know that somebody watches.
func (r *canaryRun) attend(ctx context.Context) error {
	every := beatAtLeast
	if l := lease(r.control); l > 0 {
		every = min(every, l/beatsOfLease)
	}
	if r.app.Now().Sub(r.beaten) < every {
		return nil
	}
	return r.beat(ctx)
}

// beat writes the control again. Where the brokers do not answer it tries again later: instances that hear nothing for the lease go back.
func (r *canaryRun) beat(ctx context.Context) error {
	next := *r.control
	next.Beat = r.app.Now().UnixMilli()
	err := r.write(ctx, &next)
	if err == nil {
		r.beaten = r.app.Now()
		return nil
	}
	if fenced(err) || ctx.Err() != nil {
		return err
	}
	r.app.Log.LogAttrs(ctx, slog.LevelWarn, "the instances cannot be told that somebody watches the canary: trying again", slog.Any("error", err))
	return r.reopen(ctx)
}
