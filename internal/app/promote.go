package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/model"
)

// PromoteOptions say which model the instances of a pipeline are to run.
type PromoteOptions struct {
	File string // the pipeline file
	Set  []string
	// Model is NAME@VERSION, NAME@ALIAS or @ALIAS. Default, for a rollback alone: the champion before the present one
	Model    string
	Rollback bool
	By       string
	Reason   string
	// Timeout is how long instances may take to make the model ready, and then to go over to it. Default: 2 min
	Timeout time.Duration
	// Progress is called when an instance has got further.
	Progress func(Step)
}

// Step is how far an instance is.
type Step struct {
	rollout.Step

	Phase Phase
}

// Phase is what a promotion waits for.
type Phase string

// The phases.
const (
	Preparing Phase = "prepare" // all instances to be ready
	Switching Phase = "switch"  // all partitions to have gone over
)

// Promoted is what has become of a promotion.
type Promoted struct {
	Deployed

	Model  string
	Digest string
	Before string // the model before; "" is none
	Ended  string // the experiment, or the canary, that it has ended; "" is none
	Update config.Update
	Group  string
	Signed bool // there is a root document
}

const defaultPromoteTimeout = 2 * time.Minute

// Promote has all instances of a pipeline go over to an approved model: all of them, once all are ready, or none. It waits until they have.
func (a *App) Promote(ctx context.Context, o PromoteOptions) (*Promoted, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	if p.Model.Root == "" {
		o.By = a.actor(o.By)
	}
	if o.By, err = reg.Promoter(ctx, o.By); err != nil { // before any instance is told
		return nil, err
	}
	m, err := a.toPromote(ctx, p, reg, o)
	if err != nil {
		return nil, err
	}
	out := &Promoted{Model: m.Ref, Digest: m.Digest, Update: p.Model.Update, Group: p.Group, Signed: p.Model.Root != ""}
	if v, err := reg.Resolve(ctx, "@"+registry.AliasChampion, p.Name); err == nil {
		out.Before = v.Ref()
	}
	decide := func(ctx context.Context, t *registry.Trial) error {
		decide := reg.Promote
		if o.Rollback {
			decide, t = reg.RollBack, nil
		}
		_, err := decide(ctx, m.Ref, "", registry.Decision{By: o.By, Reason: o.Reason, Group: p.Group, Trial: t})
		return err
	}
	if p.Model.Update == config.RestartUpdate {
		return out, decide(ctx, nil)
	}
	c, err := a.controller(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := splitNow(c.control)
	note := func(ctx context.Context, to *rollout.Deployment) error {
		t, err := noteEnds(ctx, reg, p, to, s)
		if err != nil {
			return err
		}
		return decide(ctx, t)
	}
	if s != nil {
		out.Ended = s.Experiment
	}
	w := &promotion{
		controller: c, op: "promote " + m.Ref, champion: out.Before, note: note, timeout: o.Timeout, progress: o.Progress, back: "millrace model rollback goes back",
		next: rollout.Deployment{Model: m.Ref, Digest: m.Digest, By: o.By, Reason: o.Reason},
	}
	d, err := w.run(ctx)
	if d != nil {
		out.Deployed = *d
	}
	return out, err
}

// toPromote loads the model to promote, which has to be approved and to fit the pipeline file.
func (a *App) toPromote(ctx context.Context, p *config.Pipeline, reg *registry.Registry, o PromoteOptions) (*model.Loaded, error) {
	ref := o.Model
	if ref == "" && o.Rollback {
		v, err := reg.Before(ctx, p.Name)
		if err != nil {
			return nil, err
		}
		ref = v.Ref()
	}
	return a.approved(ctx, p, ref)
}

// promotion has the instances of a group go over to a deployment: all of them, once all are ready, or none.
type promotion struct {
	*controller

	op       string             // what the command does, for errors: promote house-prices@2
	back     string             // how to undo it, for hints; "" is no way
	next     rollout.Deployment // without an epoch
	champion string             // of the registry, NAME@VERSION; "" is none
	// note notes in the registry what is to run, before any record is predicted with it.
	note     func(context.Context, *rollout.Deployment) error
	timeout  time.Duration // Default: 2 min
	progress func(Step)    // nil: nobody looks
	// attend is called from time to time while it waits; nil is nothing.
	attend func(context.Context) error

	to    rollout.Deployment // next, with its epoch
	said  map[string]string
	began time.Time // of the phase
	turn  string    // the instance whose turn it is
	most  int       // how many instances there were
	fewer time.Time // since when there are fewer than that; zero is that there are not
	out   Deployed
}

// Deployed is what has become of a deployment.
type Deployed struct {
	Epoch int64 // 0 where no instance was told
	// Instances is how many instances have gone over, and Partitions since which offset.
	Instances  int
	Partitions []rollout.Partition
	// Ready and Switched are how long it took until all instances were ready, and then until all partitions had gone over.
	Ready, Switched time.Duration
}

// run takes the three steps.
func (w *promotion) run(ctx context.Context) (*Deployed, error) {
	w.said = map[string]string{}
	next, err := w.prepare(ctx)
	if err != nil {
		return nil, err
	}
	began := w.app.Now()
	if err := w.write(ctx, next); err != nil {
		return nil, err
	}
	if err := w.await(ctx, Preparing); err != nil {
		return nil, w.abort(ctx, err)
	}
	w.out.Ready = w.app.Now().Sub(began)
	if err := w.note(ctx, &w.to); err != nil { // before any record is predicted with it
		return nil, w.abort(ctx, err)
	}
	began = w.app.Now()
	if err := w.turns(ctx); err != nil {
		if ctx.Err() != nil { // nobody reads an error of a command that a signal has ended
			w.app.Log.LogAttrs(ctx, slog.LevelWarn, "it is decided, and goes on without this command", slog.String("model", w.next.Model), slog.String("group", w.p.Group))
		}
		return nil, err
	}
	w.out.Switched = w.app.Now().Sub(began)
	return &w.out, nil
}

// prepare returns the control that has the instances make the model ready. Its epoch is above what the group has used.
func (w *promotion) prepare(ctx context.Context) (*rollout.Control, error) {
	committed, err := w.client.Committed(ctx, w.p.Group)
	if err != nil {
		return nil, err
	}
	var seen int64
	for _, partitions := range committed {
		for _, at := range partitions {
			seen = max(seen, engine.ParseMark(at.Metadata).Epoch)
		}
	}
	next, err := w.control.Prepare(w.next, w.champion, seen, w.app.Now())
	if err != nil {
		return nil, &Error{
			Code: Usage, Op: w.op, Where: w.p.Group, Err: err,
			Hint: "it was not millrace that has set it: write no such records; choose another group, or delete the control topic and the group's offsets while no instance runs",
		}
	}
	w.to, w.out.Epoch = *next.Next, next.Next.Epoch
	return next, nil
}

// turns has the instances go over: all at once, or one after the other.
func (w *promotion) turns(ctx context.Context) error {
	if w.p.Model.Update == config.Rolling {
		members, _, err := w.members(ctx)
		if err != nil {
			return err
		}
		turns := []string{}
		for _, s := range rollout.ProgressOf(&w.to, members, w.last) {
			turns = append(turns, s.Instance)
			if err := w.decide(ctx, slices.Clone(turns)); err != nil {
				return err
			}
			if err := w.awaitOne(ctx, s.Instance, len(members)); err != nil {
				return err
			}
		}
	}
	if err := w.decide(ctx, nil); err != nil {
		return err
	}
	return w.await(ctx, Switching)
}

// decide has instances go over, nil being all. The registry says already that they are to.
func (w *promotion) decide(ctx context.Context, turns []string) error {
	err := w.write(ctx, w.control.Switch(turns))
	if err == nil || ctx.Err() != nil {
		return err
	}
	e := &Error{Code: Failed, Op: w.op, Where: w.p.Group}
	e.Err = fmt.Errorf("the registry has noted it, and whether the instances were told is not known: %w", err)
	e.Hint = w.orBack("try again, so that both say the same")
	if fenced(err) {
		e.Err = fmt.Errorf("the registry has noted it, but another command has begun, which says what the instances run: %w", err)
		e.Hint = "let that one finish; if it fails, try again, so that registry and instances say the same"
	}
	return e
}

// orBack returns a hint with how to undo what is under way.
func (w *promotion) orBack(hint string) string {
	if w.back == "" {
		return hint
	}
	return hint + "; " + w.back
}

// fenced tells whether an error is that another process has the name of this one: of an instance, or of who promotes.
func fenced(err error) bool {
	k, ok := errors.AsType[*kafka.Error](err)
	return ok && k.Code == kafka.CodeFenced
}

// abort takes the next deployment out again, since cause is in its way.
func (w *promotion) abort(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if errors.Is(cause, errSuperseded) {
		return cause // the other one has said what comes next
	}
	if err := w.write(ctx, w.control.Abort()); fenced(err) {
		return w.superseded()
	} else if err != nil {
		return errors.Join(cause, fmt.Errorf("the instances keep the model in memory, since they could not be told that it is not to come: %w", err))
	}
	return cause
}

var errSuperseded = errors.New("another command has begun to say what the instances run")

func (w *promotion) superseded() error {
	return &Error{
		Code: Failed, Op: w.op, Where: w.p.Group, Err: errSuperseded,
		Hint: "it goes before this one, of which nothing is left: let it finish, and try again if need be",
	}
}

// How often the group is looked at while nothing is said, and when it is worth a word that an instance has not answered.
const (
	lookAtGroup  = 500 * time.Millisecond
	answerWithin = 2 * time.Second
)

// await waits until all instances are ready, or have gone over.
func (w *promotion) await(ctx context.Context, phase Phase) error {
	return w.awaitProgress(ctx, phase, func(p rollout.Progress) bool {
		if phase == Preparing {
			return p.Ready()
		}
		return p.Done()
	})
}

// awaitOne waits until an instance has gone over. It leaves the group for that: who has no name for good comes back under another
// one, of n in all. If none comes back the next one does not leave: what has become of the first may become of all.
func (w *promotion) awaitOne(ctx context.Context, instance string, n int) error {
	w.turn = instance
	defer func() { w.turn = "" }()
	return w.awaitProgress(ctx, Switching, func(p rollout.Progress) bool {
		if i := slices.IndexFunc(p, func(s rollout.Step) bool { return s.Instance == instance }); i >= 0 {
			return p[i].Here
		}
		return len(p) >= n && p.Ready()
	})
}

func (w *promotion) awaitProgress(ctx context.Context, phase Phase, enough func(rollout.Progress) bool) error {
	limit := cmp.Or(w.timeout, defaultPromoteTimeout)
	w.began = w.app.Now()
	over := time.NewTimer(limit)
	defer over.Stop()
	var p rollout.Progress
	for {
		if w.attend != nil {
			if err := w.attend(ctx); err != nil {
				return err
			}
		}
		members, stable, err := w.members(ctx)
		if k, ok := errors.AsType[*kafka.Error](err); err != nil && (!ok || k.Code != kafka.CodeUnavailable) {
			return err
		}
		if err == nil {
			p = rollout.ProgressOf(&w.to, members, w.last)
			if stable {
				w.show(phase, p)
			}
			if err := w.hindered(phase, p); err != nil {
				return err
			}
			if stable && w.gathered(phase, len(p)) && enough(p) {
				w.out.Instances, w.out.Partitions = len(p), partitionsOf(p)
				return nil
			}
		}
		look := time.NewTimer(lookAtGroup)
		select {
		case w.last = <-w.statuses:
		case <-look.C:
		case err := <-w.deaf:
			look.Stop()
			if err = cmp.Or(err, ctx.Err()); err != nil {
				return err
			}
		case <-over.C:
			look.Stop()
			return w.tooLong(phase, limit, p, err)
		case <-ctx.Done():
			look.Stop()
			return ctx.Err()
		}
		look.Stop()
	}
}

// comeBack is how long instances may take to come back to a group that has lost them, such as after brokers were away, before the
// others decide without them.
const comeBack = 10 * time.Second

// gathered tells whether as many instances are in the group as there were, or those that are missing have had their time to come
// back. Without any there is nobody who could say that the model can be loaded.
func (w *promotion) gathered(phase Phase, n int) bool {
	now := w.app.Now()
	switch {
	case n >= w.most:
		w.most, w.fewer = n, time.Time{}
		return true
	case w.fewer.IsZero():
		w.fewer = now
	}
	return n > 0 && (phase == Switching || now.Sub(w.fewer) >= comeBack)
}

// hindered returns why the instances cannot all get ready, or nil.
func (w *promotion) hindered(phase Phase, p rollout.Progress) error {
	if phase != Preparing {
		return nil
	}
	if p.Superseded() {
		return w.superseded()
	}
	if f := p.Failed(); f != nil {
		return w.refused(f)
	}
	for i := range p {
		if s := &p[i]; s.Update != "" && s.Update != string(w.p.Model.Update) {
			return &Error{
				Code: Usage, Op: w.op, Where: s.Instance + " on " + s.Host,
				Err:  fmt.Errorf("the instance was started with model.update: %s, and the pipeline file here says %s", s.Update, w.p.Model.Update),
				Hint: "promote with the file that the instances run with, or start them again with this one; nothing has changed",
			}
		}
	}
	return nil
}

func partitionsOf(p rollout.Progress) []rollout.Partition {
	var all []rollout.Partition
	for i := range p {
		all = append(all, p[i].Partitions...)
	}
	slices.SortFunc(all, func(a, b rollout.Partition) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return all
}

// show tells of instances that have got further.
func (w *promotion) show(phase Phase, p rollout.Progress) {
	if w.progress == nil {
		return
	}
	for i := range p {
		s := &p[i]
		if w.turn != "" && w.turn != s.Instance && !s.Here { // it waits for its turn
			continue
		}
		if s.Stage == "" && w.app.Now().Sub(w.began) < answerWithin {
			continue
		}
		word := fmt.Sprint(phase, s.Stage, s.Error, s.Here, len(s.Partitions), len(s.Others))
		if w.said[s.Instance] != word {
			w.said[s.Instance] = word
			w.progress(Step{*s, phase})
		}
	}
}

// refused says why an instance is in the way.
func (w *promotion) refused(s *rollout.Step) error {
	e := &Error{Code: Refused, Op: w.op, Where: s.Instance + " on " + s.Host}
	if s.Pinned {
		e.Code, e.Err = Usage, fmt.Errorf("the instance was started with --model, for %s alone", s.Model)
		e.Hint = "start it without --model, so that it runs what is promoted; nothing has changed"
		return e
	}
	e.Err, e.Hint = errors.New(s.Error), strings.TrimPrefix(s.Hint+"; no instance has gone over to it", "; ")
	return e
}

// tooLong says what the promotion has waited for in vain. away is why the group could not be looked at last; nil is that it could.
func (w *promotion) tooLong(phase Phase, limit time.Duration, p rollout.Progress, away error) error {
	var waits []string
	if away != nil {
		waits = append(waits, Message(away))
	}
	if w.turn != "" && !slices.ContainsFunc(p, func(s rollout.Step) bool { return s.Instance == w.turn }) {
		waits = append(waits, w.turn+" has left the group to begin anew with it, and is not back")
	}
	for i := range p {
		s := &p[i]
		switch {
		case w.turn != "" && s.Instance != w.turn, phase == Switching && s.Here, phase == Preparing && s.Stage == rollout.Ready:
		case s.Error != "":
			waits = append(waits, fmt.Sprintf("%s: %s", s.Instance, s.Error))
		case phase == Switching:
			waits = append(waits, fmt.Sprintf("%s has %d partitions that have not gone over", s.Instance, len(s.Others)))
		case s.Stage == "":
			waits = append(waits, fmt.Sprintf("%s on %s says nothing", s.Instance, s.Host))
		default:
			waits = append(waits, fmt.Sprintf("%s is %s", s.Instance, s.Stage))
		}
	}
	switch {
	case waits != nil:
	case len(p) < min(w.most, 1):
		waits = []string{"all instances have left the group"}
	default:
		waits = []string{"the group is not at rest"}
	}
	e := &Error{Code: Failed, Op: w.op, Where: w.p.Group, Err: fmt.Errorf("after %v: %s", limit, strings.Join(waits, "; "))}
	e.Hint = "no instance has gone over to it: see the instance's log, and try again"
	switch {
	case w.turn != "":
		e.Hint = w.orBack("the instances that have not had their turn keep the model that they have: see the instance's log, and try again")
	case phase == Switching:
		e.Hint = w.orBack("it is decided, and the instances go over as soon as they can: see their logs")
	}
	return e
}
