package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/model"
	"millrace.dev/record"
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
	Model  string
	Digest string
	Before string // the model before; "" is none
	Update config.Update
	Group  string
	Signed bool  // there is a root document
	Epoch  int64 // 0 where no instance was told
	// Instances is how many instances run the model now, and Partitions since which offset.
	Instances  int
	Partitions []rollout.Partition
	// Ready and Switched are how long it took until all instances were ready, and then until all partitions had gone over.
	Ready, Switched time.Duration
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
	w := &promotion{app: a, p: p, o: o, registry: reg, model: m, out: &Promoted{Model: m.Ref, Digest: m.Digest, Update: p.Model.Update, Group: p.Group, Signed: p.Model.Root != ""}}
	if v, err := reg.Resolve(ctx, "@"+registry.AliasChampion, p.Name); err == nil {
		w.out.Before = v.Ref()
	}
	if p.Model.Update == config.RestartUpdate {
		return w.out, w.record(ctx)
	}
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	if w.client, err = kafka.New(cluster); err != nil {
		return nil, err
	}
	defer w.client.Close()
	if err := needTopics(ctx, w.client, true, controlTopics(p)...); err != nil {
		return nil, err
	}
	return w.out, w.run(ctx)
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

// promotion is a promotion under way.
type promotion struct {
	app      *App
	p        *config.Pipeline
	o        PromoteOptions
	registry *registry.Registry
	model    *model.Loaded
	client   *kafka.Client
	writer   *kafka.Transactions
	control  *rollout.Control
	statuses chan map[string]*rollout.Status // what the status topic says, when that has changed
	last     map[string]*rollout.Status      // the last word of every instance that said something
	said     map[string]string
	began    time.Time // of the phase
	out      *Promoted
}

// run takes the three steps.
func (w *promotion) run(ctx context.Context) (err error) {
	// Whoever holds the id alone writes the control topic: what is read of it then is what there is.
	if w.writer, err = w.client.Transactions(ctx, kafka.TransactionConfig{ID: w.p.ControlTopic()}); err != nil {
		return err
	}
	defer w.writer.Close()
	if err := w.read(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.watch(ctx)
	next := w.control.Prepare(rollout.Deployment{Model: w.model.Ref, Digest: w.model.Digest, By: w.o.By, Reason: w.o.Reason}, w.app.Now())
	w.out.Epoch = next.Next.Epoch
	began := w.app.Now()
	if err := w.write(ctx, next); err != nil {
		return err
	}
	if err := w.await(ctx, Preparing); err != nil {
		return w.abort(ctx, err)
	}
	w.out.Ready = w.app.Now().Sub(began)
	if err := w.record(ctx); err != nil { // before any record is predicted with it
		return w.abort(ctx, err)
	}
	began = w.app.Now()
	if err := w.turns(ctx); err != nil {
		return err
	}
	w.out.Switched = w.app.Now().Sub(began)
	return nil
}

// turns has the instances go over: all at once, or one after the other.
func (w *promotion) turns(ctx context.Context) error {
	if w.p.Model.Update == config.Rolling {
		members, _, err := w.members(ctx)
		if err != nil {
			return err
		}
		turns := []string{}
		for _, s := range rollout.ProgressOf(w.out.Epoch, members, w.last) {
			turns = append(turns, s.Instance)
			if err := w.write(ctx, w.control.Switch(slices.Clone(turns))); err != nil {
				return err
			}
			if err := w.awaitOne(ctx, s.Instance, len(members)); err != nil {
				return err
			}
		}
	}
	if err := w.write(ctx, w.control.Switch(nil)); err != nil {
		return err
	}
	return w.await(ctx, Switching)
}

// record notes in the registry what is to run.
func (w *promotion) record(ctx context.Context) error {
	decide := w.registry.Promote
	if w.o.Rollback {
		decide = w.registry.RollBack
	}
	_, err := decide(ctx, w.model.Ref, "", registry.Decision{By: w.o.By, Reason: w.o.Reason, Group: w.p.Group})
	return err
}

// abort takes the next deployment out again, since cause is in its way.
func (w *promotion) abort(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if k, ok := errors.AsType[*kafka.Error](cause); ok && k.Code == kafka.CodeFenced {
		return cause // another promotion has begun, and said what comes next
	}
	if err := w.write(ctx, w.control.Abort()); err != nil {
		return errors.Join(cause, fmt.Errorf("the instances keep the model in memory, since they could not be told that it is not to come: %w", err))
	}
	return cause
}

// read reads what the control topic says.
func (w *promotion) read(ctx context.Context) error {
	w.control = &rollout.Control{}
	return w.client.Tap(ctx, kafka.TapConfig{Topic: w.p.ControlTopic(), From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			if string(r.Key) != rollout.Key {
				continue
			}
			c, err := rollout.DecodeControl(r.Value)
			if err != nil {
				return &Error{
					Code: Usage, Op: "promote", Where: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset), Err: err,
					Hint: "it was not written by this version of millrace: use a later one, or find out who writes there",
				}
			}
			w.control = c
		}
		return ctx.Err()
	})
}

// write tells all instances.
func (w *promotion) write(ctx context.Context, c *rollout.Control) error {
	value, err := c.Encode()
	if err != nil {
		return err
	}
	if err := w.writer.Begin(); err != nil {
		return err
	}
	w.writer.Send(&record.Raw{Topic: w.p.ControlTopic(), Key: []byte(rollout.Key), Value: value, Timestamp: w.app.Now().UnixMilli()})
	if err := w.writer.Commit(ctx); err != nil {
		return err
	}
	w.control = c
	return nil
}

// watch follows the statuses of the instances until ctx ends.
func (w *promotion) watch(ctx context.Context) {
	w.statuses, w.said = make(chan map[string]*rollout.Status, 1), map[string]string{}
	all := map[string]*rollout.Status{}
	go func() {
		_ = w.app.persist(ctx, func() {}, func() error {
			return w.client.Tap(ctx, kafka.TapConfig{Topic: w.p.StatusTopic(), From: kafka.FromStart, Follow: true}, func(rs []record.Raw) error {
				all = maps.Clone(all)
				for _, r := range rs {
					if s, err := rollout.DecodeStatus(r.Value); r.Value != nil && err == nil {
						all[string(r.Key)] = s
					} else {
						delete(all, string(r.Key)) // it has ended, or speaks another language: it is then missed in the group
					}
				}
				select {
				case <-w.statuses:
				default:
				}
				w.statuses <- all
				return ctx.Err()
			})
		})
	}()
}

// members returns who is in the group.
func (w *promotion) members(ctx context.Context) ([]rollout.Member, bool, error) {
	list, stable, err := w.client.Members(ctx, w.p.Group)
	members := make([]rollout.Member, 0, len(list))
	for _, m := range list {
		members = append(members, rollout.Member{ID: m.ID, Host: m.Host})
	}
	return members, stable, err
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

// comeBack is how long an instance that has left the group may take to come back before the next one has its turn.
const comeBack = 20 * time.Second

// awaitOne waits until an instance has gone over. It leaves the group for that: who has no name for good comes back under another
// one, of n in all, and who has ended does not.
func (w *promotion) awaitOne(ctx context.Context, instance string, n int) error {
	var away time.Time
	return w.awaitProgress(ctx, Switching, func(p rollout.Progress) bool {
		if i := slices.IndexFunc(p, func(s rollout.Step) bool { return s.Instance == instance }); i >= 0 {
			return p[i].Here
		}
		if away.IsZero() {
			away = w.app.Now()
		}
		back := len(p) >= n && !slices.ContainsFunc(p, func(s rollout.Step) bool { return s.Stage == "" })
		return back || w.app.Now().Sub(away) > comeBack
	})
}

func (w *promotion) awaitProgress(ctx context.Context, phase Phase, enough func(rollout.Progress) bool) error {
	limit := w.o.Timeout
	if limit == 0 {
		limit = defaultPromoteTimeout
	}
	w.began = w.app.Now()
	over := time.NewTimer(limit)
	defer over.Stop()
	for {
		members, stable, err := w.members(ctx)
		if err != nil {
			return err
		}
		p := rollout.ProgressOf(w.out.Epoch, members, w.last)
		w.show(phase, p)
		if f := p.Failed(); f != nil && phase == Preparing {
			return w.refused(f)
		}
		if stable && enough(p) {
			w.out.Instances, w.out.Partitions = len(p), partitionsOf(p)
			return nil
		}
		look := time.NewTimer(lookAtGroup)
		select {
		case w.last = <-w.statuses:
		case <-look.C:
		case <-over.C:
			look.Stop()
			return w.tooLong(phase, limit, p)
		case <-ctx.Done():
			look.Stop()
			return ctx.Err()
		}
		look.Stop()
	}
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
	if w.o.Progress == nil {
		return
	}
	for i := range p {
		s := &p[i]
		if s.Stage == "" && w.app.Now().Sub(w.began) < answerWithin {
			continue
		}
		word := fmt.Sprint(phase, s.Stage, s.Error, s.Here, len(s.Partitions), len(s.Others))
		if w.said[s.Instance] != word {
			w.said[s.Instance] = word
			w.o.Progress(Step{*s, phase})
		}
	}
}

// refused says why an instance is in the way.
func (w *promotion) refused(s *rollout.Step) error {
	e := &Error{Code: Refused, Op: "promote " + w.model.Ref, Where: s.Instance + " on " + s.Host}
	if s.Pinned {
		e.Code, e.Err = Usage, fmt.Errorf("the instance was started with --model, for %s alone", s.Model)
		e.Hint = "start it without --model, so that it runs what is promoted; nothing has changed"
		return e
	}
	e.Err, e.Hint = errors.New(s.Error), strings.TrimPrefix(s.Hint+"; no instance has gone over to it", "; ")
	return e
}

// tooLong says what the promotion has waited for in vain.
func (w *promotion) tooLong(phase Phase, limit time.Duration, p rollout.Progress) error {
	var waits []string
	for i := range p {
		s := &p[i]
		switch {
		case phase == Switching && s.Here, phase == Preparing && s.Stage == rollout.Ready:
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
	if waits == nil {
		waits = []string{"the group is not at rest"}
	}
	e := &Error{Code: Failed, Op: "promote " + w.model.Ref, Where: w.p.Group, Err: fmt.Errorf("after %v: %s", limit, strings.Join(waits, "; "))}
	e.Hint = "no instance has gone over to it: see the instance's log, and promote again"
	if phase == Switching {
		e.Hint = "it is decided, and the instances go over as soon as they can: see their logs; millrace model rollback goes back"
	}
	return e
}
