package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
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
	to       rollout.Deployment              // what the model becomes
	statuses chan map[string]*rollout.Status // what the status topic says, when that has changed
	deaf     chan error                      // has why the status topic cannot be read
	last     map[string]*rollout.Status      // the last word of every instance that said something
	said     map[string]string
	began    time.Time // of the phase
	turn     string    // the instance whose turn it is
	most     int       // how many instances there were
	fewer    time.Time // since when there are fewer than that; zero is that there are not
	out      *Promoted
}

// run takes the three steps.
func (w *promotion) run(ctx context.Context) (err error) {
	// Whoever holds the id alone writes the control topic: what is read of it then is what there is. The ids of instances begin with
	// the group and a hyphen.
	if w.writer, err = w.client.Transactions(ctx, kafka.TransactionConfig{ID: w.p.Group + "/control"}); err != nil {
		return err
	}
	defer w.writer.Close()
	if err := w.read(ctx); err != nil {
		return err
	}
	next, err := w.prepare(ctx)
	if err != nil {
		return err
	}
	defer w.watch(ctx)()
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
		if ctx.Err() != nil { // nobody reads an error of a command that a signal has ended
			w.app.Log.LogAttrs(ctx, slog.LevelWarn, "it is decided, and goes on without this command", slog.String("model", w.model.Ref), slog.String("group", w.p.Group))
		}
		return err
	}
	w.out.Switched = w.app.Now().Sub(began)
	return nil
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
	d := rollout.Deployment{Model: w.model.Ref, Digest: w.model.Digest, By: w.o.By, Reason: w.o.Reason}
	next, err := w.control.Prepare(d, w.out.Before, seen, w.app.Now())
	if err != nil {
		return nil, &Error{
			Code: Usage, Op: "promote", Where: w.p.Group, Err: err,
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
	e := &Error{Code: Failed, Op: "promote " + w.model.Ref, Where: w.p.Group}
	e.Err = fmt.Errorf("the registry has it as the champion, and whether the instances were told is not known: %w", err)
	e.Hint = "promote it again, so that both say the same, or go back with millrace model rollback"
	if fenced(err) {
		e.Err = fmt.Errorf("the registry has it as the champion, but another promotion has begun, which says what the instances run: %w", err)
		e.Hint = "let that one finish; if it fails, promote again, so that registry and instances say the same"
	}
	return e
}

// fenced tells whether an error is that another process has the name of this one: of an instance, or of who promotes.
func fenced(err error) bool {
	k, ok := errors.AsType[*kafka.Error](err)
	return ok && k.Code == kafka.CodeFenced
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

var errSuperseded = errors.New("another promotion has begun")

func (w *promotion) superseded() error {
	return &Error{
		Code: Failed, Op: "promote " + w.model.Ref, Where: w.p.Group, Err: errSuperseded,
		Hint: "it goes before this one, of which nothing is left: let it finish, and promote again if need be",
	}
}

// read reads what the control topic says. A record that says nothing changes nothing, as for the instances.
func (w *promotion) read(ctx context.Context) error {
	w.control = &rollout.Control{}
	return w.client.Tap(ctx, kafka.TapConfig{Topic: w.p.ControlTopic(), From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			if string(r.Key) != rollout.Key {
				continue
			}
			switch c, err := rollout.DecodeControl(r.Value); {
			case errors.Is(err, rollout.ErrNewer):
				return &Error{
					Code: Usage, Op: "promote", Where: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset), Err: err,
					Hint: "use the version of millrace that the last promotion was made with, or a later one",
				}
			case err != nil:
				w.app.Log.LogAttrs(ctx, slog.LevelWarn, "a record of the control topic is no deployment, and changes nothing",
					slog.String("topic", r.Topic), slog.Int64("offset", r.Offset), slog.Any("error", err))
			default:
				w.control = c
			}
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

// watch follows the statuses of the instances until stop is called, which waits for it.
func (w *promotion) watch(ctx context.Context) (stop func()) {
	w.statuses, w.deaf, w.said = make(chan map[string]*rollout.Status, 1), make(chan error, 1), map[string]string{}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	all := map[string]*rollout.Status{}
	go func() {
		defer close(ended)
		w.deaf <- w.app.persist(ctx, func() {}, func() error {
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
	return func() {
		cancel()
		<-ended
	}
}

// members returns who is in the group.
func (w *promotion) members(ctx context.Context) ([]rollout.Member, bool, error) {
	list, stable, err := w.client.Members(ctx, w.p.Group)
	members := make([]rollout.Member, 0, len(list))
	for _, m := range list {
		one := rollout.Member{ID: m.ID, Host: m.Host}
		if stable { // else it is about to change, and may be told as none
			one.Assigned = m.Assigned
		}
		members = append(members, one)
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
	limit := w.o.Timeout
	if limit == 0 {
		limit = defaultPromoteTimeout
	}
	w.began = w.app.Now()
	over := time.NewTimer(limit)
	defer over.Stop()
	var p rollout.Progress
	for {
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
				Code: Usage, Op: "promote " + w.model.Ref, Where: s.Instance + " on " + s.Host,
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
	if w.o.Progress == nil {
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
	e := &Error{Code: Failed, Op: "promote " + w.model.Ref, Where: w.p.Group, Err: fmt.Errorf("after %v: %s", limit, strings.Join(waits, "; "))}
	e.Hint = "no instance has gone over to it: see the instance's log, and promote again"
	switch {
	case w.turn != "":
		e.Hint = "the instances that have not had their turn keep the model that they have: see the instance's log, and promote again; millrace model rollback goes back"
	case phase == Switching:
		e.Hint = "it is decided, and the instances go over as soon as they can: see their logs; millrace model rollback goes back"
	}
	return e
}
