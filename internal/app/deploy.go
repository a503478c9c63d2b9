package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// deployment has an instance run the model that the control topic names, and tells in the status topic how far it is. It loads
// models on a goroutine of its own, while records are predicted with the present one. What cannot be loaded is not gone over to:
// the present one goes on, and the status says why.
type deployment struct {
	app     *App
	p       *config.Pipeline
	client  *kafka.Client
	engine  *engine.Engine
	base    *Scoring // of the topology
	scoring ScoringOptions
	remotes *remotes // nil: models predict in this process
	pinned  bool     // to one model: what the control says is not looked at
	give    context.CancelCauseFunc

	wake chan struct{} // has room for one

	mu      sync.Mutex
	control rollout.Control
	behind  int64 // an epoch that a partition waits for
	running rollout.Deployment
	taken   bool      // another process has the name of this instance
	heard   time.Time // when the control topic has said something last

	// What follows belongs to the goroutine of follow.
	ready     *prepared
	readiness *rollout.Readiness
	tries     int
	retry     time.Time // when a model that could not be loaded is tried again
	since     time.Time // when a partition began to wait for a model that cannot be loaded
	said      []byte    // the last status, without its time
	producer  *kafka.Producer
	unsaid    time.Time // when telling the status is tried again
	mute      int       // how often in a row it could not be told
}

// prepared is a deployment whose models are ready to predict: one, or one for each arm.
type prepared struct {
	of     rollout.Deployment
	models []*Scoring
}

// How long an instance is patient.
const (
	lookEvery  = time.Second      // at its own state, where nobody says that it has changed
	tellWithin = 3 * time.Second  // the brokers take a status
	stuckFor   = 30 * time.Second // with partitions that wait for a model that it cannot load
)

// loaded is what a deployment is called in the log.
func loaded(d *rollout.Deployment) []slog.Attr {
	return []slog.Attr{slog.String("model", d.Model), slog.String("digest", d.Digest), slog.Int64("epoch", d.Epoch)}
}

func (d *deployment) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Behind notes that a partition waits for an epoch.
func (d *deployment) Behind(epoch int64) {
	d.mu.Lock()
	d.behind = max(d.behind, epoch)
	d.mu.Unlock()
	d.poke()
}

// tell takes records of the control topic. The last one about deployments counts.
func (d *deployment) tell(ctx context.Context, rs []record.Raw) {
	if c := d.controlIn(ctx, rs); c != nil {
		d.mu.Lock()
		d.control, d.heard = *c, d.app.Now()
		d.mu.Unlock()
		d.poke()
	}
}

// controlIn returns the last control among records of the control topic, or nil.
func (d *deployment) controlIn(ctx context.Context, rs []record.Raw) *rollout.Control {
	for _, r := range slices.Backward(rs) {
		if string(r.Key) != rollout.Key {
			continue
		}
		c, err := rollout.DecodeControl(r.Value)
		if err != nil {
			d.app.Log.LogAttrs(ctx, slog.LevelWarn, "a record of the control topic is no deployment, and changes nothing",
				slog.String("topic", r.Topic), slog.Int64("offset", r.Offset), slog.Any("error", err))
			continue
		}
		return c
	}
	return nil
}

// ended notes how the engine has ended.
func (d *deployment) ended(err error) {
	d.mu.Lock()
	d.taken = fenced(err)
	d.mu.Unlock()
}

// wanted returns the control, what runs, and the epoch that partitions wait for.
func (d *deployment) wanted() (c rollout.Control, running rollout.Deployment, behind int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.control, d.running, d.behind
}

// begin has the instance begin with what the control says at the moment.
func (d *deployment) begin(ctx context.Context) error {
	c, running, _ := d.wanted()
	if d.pinned {
		return nil
	}
	to := c.Current
	switch {
	case to != nil:
	case c.Before == "" || c.Before == running.Model:
		return nil
	default: // the registry has noted the first promotion of the group, and nobody was told to go over
		to = &rollout.Deployment{Model: c.Before, Reason: "it was the champion when a promotion began that was not finished"}
	}
	if to.Split == nil && to.Digest == running.Digest {
		return d.goOver(to, []*Scoring{d.base})
	}
	if to.Digest != running.Digest {
		d.app.Log.LogAttrs(ctx, slog.LevelWarn, "the champion of the registry is not what the group was told to run, which goes before it: promote a model, and both are the same",
			slog.String("champion", running.Model), slog.String("told", to.Model), slog.String("group", d.p.Group))
	}
	models, err := d.load(ctx, to)
	if err != nil {
		code, hint := Explain(err)
		if code == Refused {
			hint = "have the group run another one: see millrace model list, and millrace model promote"
		}
		return &Error{
			Code: code, Op: "load model", Where: to.Model, Err: fmt.Errorf("it is what %s was told to run: %w", d.p.Group, err), Hint: hint,
		}
	}
	begun := *to
	begun.Digest = models[0].Digest // of a champion before none was told
	return d.goOver(&begun, models)
}

// follow does what the control says until ctx ends.
func (d *deployment) follow(ctx context.Context) {
	defer d.leave()
	for {
		if !d.pinned {
			d.step(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		d.say(ctx)
		t := time.NewTimer(lookEvery)
		select {
		case <-d.wake:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// step does what is next.
func (d *deployment) step(ctx context.Context) {
	c, running, behind := d.wanted()
	if behind > running.Epoch && (c.Current == nil || c.Current.Epoch < behind) {
		if !d.catchUp(ctx, behind) {
			return
		}
		c, running, behind = d.wanted()
	}
	turn := c.Turns == nil || slices.Contains(c.Turns, d.engine.Instance()) || c.Current != nil && behind >= c.Current.Epoch
	switch ahead := c.Current != nil && c.Current.Epoch > running.Epoch; {
	case ahead && turn && d.ready != nil && d.ready.of.Is(c.Current):
		d.turn(c.Current)
	case c.Next != nil && c.Next.Epoch > running.Epoch: // also where the current one could not be loaded
		d.prepare(ctx, c.Next)
	case ahead: // one whose turn comes later stays ready
		if d.prepare(ctx, c.Current) && turn {
			d.turn(c.Current)
		}
	default:
		d.ready, d.readiness = nil, nil
		d.base.Expect()
	}
	d.escape()
	d.attended(ctx)
	d.base.scorers.models.forget(d.reached())
}

// reached returns the lowest epoch of the partitions.
func (d *deployment) reached() int64 {
	_, running, _ := d.wanted()
	low := running.Epoch
	for _, p := range d.engine.Stats().Epochs {
		low = min(low, p.Epoch)
	}
	return low
}

// catchUp reads the control topic to its end: a partition is in an epoch that nothing was read of. If there is none in it, the topic
// is not the one that there was, and the present model is all there is.
func (d *deployment) catchUp(ctx context.Context, behind int64) bool {
	// What it finds is kept apart from what obey tells, which may be far behind, and at older records at the moment.
	var found rollout.Control
	err := d.client.Tap(ctx, kafka.TapConfig{Topic: d.p.ControlTopic(), From: kafka.FromStart}, func(rs []record.Raw) error {
		if c := d.controlIn(ctx, rs); c != nil {
			found = *c
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return false // it may have read a part
	}
	if err != nil {
		d.app.Log.LogAttrs(ctx, slog.LevelWarn, "the control topic cannot be read, and partitions wait for what it says", slog.Any("error", err))
		return false
	}
	c, running, _ := d.wanted()
	if c.Current != nil && c.Current.Epoch >= behind {
		return true
	}
	if found.Current != nil && found.Current.Epoch >= behind {
		d.mu.Lock()
		d.control = found
		d.mu.Unlock()
		return true
	}
	d.app.Log.LogAttrs(ctx, slog.LevelWarn, "partitions were predicted with a model that the control topic knows nothing of: it was deleted or made anew. Going on with the present one",
		loaded(&running)...)
	running.Epoch = behind
	d.mu.Lock()
	d.running = running
	d.mu.Unlock()
	d.engine.SetEpoch(behind)
	return true
}

// prepare makes a deployment's model ready to predict, and tells whether it is. One that has failed is tried again from time to time,
// if that may help.
func (d *deployment) prepare(ctx context.Context, next *rollout.Deployment) bool {
	if d.ready != nil && d.ready.of.Is(next) {
		return true
	}
	if r := d.readiness; r != nil && r.Epoch == next.Epoch {
		if r.Final || d.app.Now().Before(d.retry) {
			return false
		}
	} else {
		d.tries = 0
	}
	d.ready, d.readiness = nil, &rollout.Readiness{Epoch: next.Epoch, Stage: rollout.Loading}
	d.say(ctx)
	models, err := d.load(ctx, next)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		d.failed(ctx, next, err)
		return false
	}
	d.ready = &prepared{*next, models}
	d.readiness.Stage = rollout.Ready
	d.base.Expect(models...)
	d.app.Log.LogAttrs(ctx, slog.LevelInfo, "the next model is ready", loaded(next)...)
	return true
}

// failed notes that a model could not be loaded.
func (d *deployment) failed(ctx context.Context, next *rollout.Deployment, err error) {
	code, hint := Explain(err)
	backoff := kafka.Backoff{Min: time.Second, Max: 30 * time.Second}
	d.tries++
	d.retry = d.app.Now().Add(backoff.Pause(d.tries))
	d.readiness = &rollout.Readiness{Epoch: next.Epoch, Stage: rollout.Failed, Error: Message(err), Hint: hint, Final: code == Refused}
	attrs := append(loaded(next), slog.String("error", Message(err)), slog.String("hint", hint))
	_, running, _ := d.wanted()
	d.app.Log.LogAttrs(ctx, slog.LevelError, "the next model cannot be loaded: going on with the present one", append(attrs, slog.String("present", running.Model))...)
}

// escape ends the run where partitions wait for a model that this instance cannot load: others may.
func (d *deployment) escape() {
	waits := slices.ContainsFunc(d.engine.Stats().Epochs, func(p engine.PartitionEpoch) bool { return p.Waits })
	if r := d.readiness; !waits || r == nil || r.Stage != rollout.Failed {
		d.since = time.Time{}
		return
	}
	if d.since.IsZero() {
		d.since = d.app.Now()
	}
	code := Failed
	if d.readiness.Final {
		code = Refused
	} else if d.app.Now().Sub(d.since) < stuckFor {
		return
	}
	d.give(&Error{
		Code: code, Op: "run", Where: d.p.Group, Hint: d.readiness.Hint,
		Err: fmt.Errorf("partitions came here that other instances predict with a model which this one cannot load: %s", d.readiness.Error),
	})
}

// errTurn ends a run that begins anew, with the model that the control names.
var errTurn = errors.New("it is the turn of another model")

// turn goes over to the model that is ready: at once, or in a rolling update with a new run.
func (d *deployment) turn(to *rollout.Deployment) {
	if d.p.Model.Update != config.Rolling {
		if err := d.goOver(to, d.ready.models); err != nil {
			d.failed(context.Background(), to, err)
			d.ready = nil
		}
		return
	}
	d.app.Log.LogAttrs(context.Background(), slog.LevelInfo, "leaving the group, to come back with another model",
		append(loaded(to), slog.String("by", to.By), slog.String("reason", to.Reason))...)
	d.give(errTurn)
}

// goOver has records predicted with the models of a deployment.
func (d *deployment) goOver(to *rollout.Deployment, models []*Scoring) error {
	if err := d.base.Serve(to.Epoch, to.Split, models...); err != nil {
		return err
	}
	d.mu.Lock()
	was := d.running
	d.running = *to
	d.mu.Unlock()
	d.ready, d.readiness = nil, nil
	d.engine.SetEpoch(to.Epoch)
	attrs := append(loaded(to), slog.String("before", was.Model), slog.String("by", to.By), slog.String("reason", to.Reason))
	switch {
	case to.Split != nil:
		d.app.Log.LogAttrs(context.Background(), slog.LevelInfo, "going over to the arms of an experiment",
			append(attrs, slog.String("experiment", to.Split.Experiment), slog.Any("arms", shares(to.Split)))...)
	case was.Split != nil:
		d.app.Log.LogAttrs(context.Background(), slog.LevelInfo, "an experiment has ended", append(attrs, slog.String("experiment", was.Split.Experiment))...)
	case was.Digest != to.Digest:
		d.app.Log.LogAttrs(context.Background(), slog.LevelInfo, "going over to another model", attrs...)
	}
	return nil
}

// load makes the models of a deployment ready to predict: each has to be approved, to have the digest that the deployment names, if it
// does, and to fit the pipeline file.
func (d *deployment) load(ctx context.Context, of *rollout.Deployment) ([]*Scoring, error) {
	if of.Split == nil {
		s, err := d.loadModel(ctx, of.Model, of.Digest)
		return []*Scoring{s}, err
	}
	if _, err := newSplit(d.p, of.Split); err != nil {
		return nil, err
	}
	var models []*Scoring
	for i := range of.Split.Arms {
		a := &of.Split.Arms[i]
		at := slices.IndexFunc(models, func(s *Scoring) bool { return s.Digest == a.Digest })
		if at >= 0 { // an A/A test
			models = append(models, models[at])
			continue
		}
		s, err := d.loadModel(ctx, a.Model, a.Digest)
		if err != nil {
			return nil, err
		}
		models = append(models, s)
	}
	return models, nil
}

// loadModel makes a model ready to predict; one that is in use it takes as it is.
func (d *deployment) loadModel(ctx context.Context, ref, digest string) (*Scoring, error) {
	m, err := d.app.approved(ctx, d.p, ref)
	if err != nil {
		return nil, err
	}
	if digest != "" && m.Digest != digest {
		return nil, &Error{
			Code: Refused, Op: "load model", Where: ref, Err: fmt.Errorf("the registry has %s, and %s was promoted", m.Digest, digest),
			Hint: "use the registry that the model was promoted from",
		}
	}
	if s := d.base.scorers.models.known(m.Digest); s != nil {
		return s, nil
	}
	if _, err := compileChecks("run", d.p, m); err != nil {
		return nil, err
	}
	s, err := NewScoring(d.p, m, d.scoring)
	if err != nil {
		return nil, err
	}
	return s, s.connect(ctx, m, d.remotes)
}

// status returns how the instance is.
func (d *deployment) status() *rollout.Status {
	_, running, _ := d.wanted()
	s := &rollout.Status{
		Instance: d.engine.Instance(), Member: d.engine.Member(), Program: d.app.Version, Update: string(d.p.Model.Update), Pinned: d.pinned,
		Model: running.Model, Digest: running.Digest, Epoch: running.Epoch, Next: d.readiness,
	}
	for _, p := range d.engine.Stats().Epochs {
		s.Partitions = append(s.Partitions, rollout.Partition{Topic: p.Topic, Partition: p.Partition.Partition, Epoch: p.Epoch, From: p.From})
	}
	s.Arms = d.base.scorers.models.armStatuses()
	return s
}

// say tells in the status topic how the instance is, if that has changed. What the brokers do not take is told later.
func (d *deployment) say(ctx context.Context) {
	s := d.status()
	value, err := s.Encode()
	if err != nil || string(value) == string(d.said) || d.app.Now().Before(d.unsaid) {
		return
	}
	s.At = d.app.Now().UnixMilli()
	timed, err := s.Encode()
	if err == nil {
		err = d.send(ctx, s.Instance, timed)
	}
	if err == nil {
		d.said, d.mute = value, 0
		return
	}
	if ctx.Err() == nil {
		d.app.Log.LogAttrs(ctx, slog.LevelWarn, "the status of this instance cannot be told", slog.String("topic", d.p.StatusTopic()), slog.Any("error", err))
	}
	d.mute++
	backoff := kafka.Backoff{Min: lookEvery, Max: 10 * time.Second}
	d.unsaid = d.app.Now().Add(backoff.Pause(d.mute))
}

func (d *deployment) send(ctx context.Context, key string, value []byte) (err error) {
	if d.producer == nil {
		if d.producer, err = d.client.NewProducer(kafka.ProducerConfig{Topic: d.p.StatusTopic()}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if err = d.producer.Send(ctx, &record.Raw{Key: []byte(key), Value: value, Timestamp: d.app.Now().UnixMilli()}); err == nil {
		err = d.producer.Flush(ctx)
	}
	if err != nil { // it returns its first failure for good
		d.producer.Close()
		d.producer = nil
	}
	return err
}

// leave takes the status away: the instance has ended. It is not this one's any more if another process has its name.
func (d *deployment) leave() {
	d.mu.Lock()
	taken := d.taken
	d.mu.Unlock()
	if d.said != nil && !taken {
		_ = d.send(context.Background(), d.engine.Instance(), nil) // who looks compares with the members of the group
	}
	if d.producer != nil {
		d.producer.Close()
		d.producer = nil
	}
}

var errNoControl = errors.New("the pipeline does not listen to its control topic")
