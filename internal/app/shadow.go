package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"millrace.dev/internal/source"
	"millrace.dev/internal/task"
	"millrace.dev/model"
)

// shadowClient is the client id of shadows, by which the quotas of brokers can slow them down.
const shadowClient = "millrace-shadow"

// ShadowOptions say which candidate predicts the production topic, and which records of it.
type ShadowOptions struct {
	File         string   // the pipeline file
	Set          []string // overrides of it
	Model        string   // NAME@VERSION, NAME@ALIAS, @ALIAS or the file of a bundle; it need not be approved. Default: @candidate
	InstanceID   string   // as in [RunOptions]
	Threads      int      // Default: 1
	CreateTopics bool     // make the topics of the shadow, no others
	StateDir     string   // the folder of the state; "" is that of the file
	HTTP         string   // as in [RunOptions]
	// From and To are a range of the topic, as ends of topic://NAME?from=A&to=B. With To the shadow ends there. Default: from
	// where production is, and on.
	From, To string
	// WarmUp is how far before that windows begin to look, by the times of the messages: a duration, or "all". Default: as far as
	// they reach; all where they go by a field's time
	WarmUp string
	// MinFree is the share of the file system of the state folder that stays free: below it the shadow ends. 0 is not looked at.
	MinFree float64
	// Free returns which share of the file system of a folder is free. Default: it cannot be told
	Free    func(dir string) (float64, error)
	Started func(*Running)
	Began   func(*ShadowBegin) // called once the first offsets are known
}

// ShadowBegin says what a shadow does.
type ShadowBegin struct {
	Topic, Group string
	// From are the offsets of the first records whose predictions are written, by partition, and To those after the last; nil is
	// on and on. Read are the offsets at which reading begins, which are earlier where windows warm up.
	From, To, Read kafka.Offsets
	Resumed        bool // the group had begun before
}

// Shadow predicts the production topic with a candidate, into topics of its own, until ctx ends or the range is done.
func (a *App) Shadow(ctx context.Context, o ShadowOptions) (*Ran, error) {
	s, err := a.shadowing(ctx, &o)
	if err != nil {
		return nil, err
	}
	return a.Run(ctx, RunOptions{
		File: o.File, Set: o.Set, Model: s.model.Ref, InstanceID: o.InstanceID, Threads: max(o.Threads, 1), CreateTopics: o.CreateTopics,
		StateDir: s.stateDir(), HTTP: o.HTTP, Started: o.Started, shadow: s,
	})
}

// shadowing is a run of a shadow. Of a nil one, which is production, clientID and span can be asked.
type shadowing struct {
	options  *ShadowOptions
	produced *config.Pipeline // production
	pipeline *config.Pipeline // the shadow's
	model    *model.Loaded
	kept     *span
	from, to kafka.Offsets // of a range; nil is none
	id       string        // of a range; "" is none
}

func (s *shadowing) clientID() string {
	if s == nil {
		return ""
	}
	return shadowClient
}

func (s *shadowing) span() *span {
	if s == nil {
		return nil
	}
	return s.kept
}

// stateDir returns the folder of the state. One that is for a range has a folder of its own.
func (s *shadowing) stateDir() string {
	dir := cmp.Or(s.options.StateDir, s.pipeline.State.Dir)
	if s.id != "" {
		dir += "-" + s.id
	}
	return dir
}

// shadowing reads the pipeline file and loads the candidate, and refuses what could touch production.
func (a *App) shadowing(ctx context.Context, o *ShadowOptions) (*shadowing, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if err := a.apart(p, o); err != nil {
		return nil, err
	}
	if serve := p.Model.Serve; serve != nil && !serve.Bound() {
		return nil, &Error{
			Code: Refused, Op: "shadow", Where: o.File, Err: errors.New("the server of model.serve has one model, for the candidate and for production"),
			Hint: "have a server that knows the registry's models, and set model.serve.version: registry",
		}
	}
	m, err := a.LoadModel(ctx, p.Model, p.Name, cmp.Or(o.Model, "@candidate"))
	if err != nil {
		return nil, err
	}
	if err := sameFeatures(p, m.Bundle); err != nil {
		return nil, &Error{
			Code: Refused, Op: "shadow", Where: m.Ref, Err: err,
			Hint: "a shadow does with the records what production does, so it needs a model of the same schema and features; millrace backtest compares others",
		}
	}
	s := &shadowing{options: o, produced: p, pipeline: p.Shadowed(), model: m}
	if err := s.checkWarmUp(); err != nil {
		return nil, err
	}
	if o.From != "" || o.To != "" {
		if err := a.shadowRange(ctx, s); err != nil {
			return nil, err
		}
	}
	if len(m.Bundle.Plan.Windows()) > 0 || s.id != "" {
		s.kept = &span{}
	}
	return s, nil
}

// apart refuses a shadow that has anything in common with production, as the file has it, and as it is with the overrides: an
// override of production's topics would else hide them.
func (a *App) apart(p *config.Pipeline, o *ShadowOptions) error {
	plain, err := a.Load(o.File, nil)
	if err != nil {
		plain = p // it is of no use without the overrides
	}
	for _, of := range []*config.Pipeline{p, plain} {
		for _, c := range p.Shadow.Conflicts(of) {
			return &Error{Code: Refused, Op: "shadow", Where: o.File, Err: errors.New(c.String()), Hint: c.Hint}
		}
	}
	if o.StateDir != "" && sameFile(o.StateDir, p.State.Dir) {
		return &Error{Code: Refused, Op: "shadow", Where: o.StateDir, Err: errors.New("it is the folder of production's state"), Hint: "give --state-dir a folder of its own"}
	}
	return nil
}

// notShadow refuses an instance of production whose transactional id would be that of an instance of the shadow: one of them would
// shut the other one out.
func notShadow(p *config.Pipeline, instance string) error {
	if p.Guarantee != config.ExactlyOnce || instance == "" || !strings.HasPrefix(p.Group+"-"+instance, p.Shadow.Group+"-") {
		return nil
	}
	return &Error{
		Code: Usage, Op: "run", Where: "--instance-id " + instance, Err: fmt.Errorf("with the group %s before it, it is taken for an instance of the shadow %s", p.Group, p.Shadow.Group),
		Hint: "choose an id that begins otherwise, or another shadow.group",
	}
}

// shadowRange finds the offsets of a range, and gives it a group of its own: what it has done does not move the shadow that follows
// production, and the same range is done once.
func (a *App) shadowRange(ctx context.Context, s *shadowing) error {
	o, p := s.options, s.pipeline
	name := source.TopicScheme + p.Source.Topic + "?from=" + cmp.Or(o.From, "earliest")
	if o.To != "" {
		name += "&to=" + o.To
	}
	client, err := a.clientFor(p, name)
	if err != nil {
		return err
	}
	defer closeClient(client)
	r, err := source.Open(ctx, name, source.Options{Client: client})
	if err != nil {
		return err
	}
	from, to := r.Offsets()
	s.from = from
	var id strings.Builder
	for _, partition := range slices.Sorted(maps.Keys(from)) {
		fmt.Fprintf(&id, "%d=%d", partition, from[partition])
		if o.To != "" {
			fmt.Fprintf(&id, "-%d", to[partition])
		}
		id.WriteByte(',')
	}
	if o.To != "" {
		s.to = to
	}
	sum := sha256.Sum256([]byte(id.String() + s.model.Digest))
	s.id = hex.EncodeToString(sum[:4])
	p.Group += "-" + s.id
	return nil
}

// shadowed is what a shadow runs with.
type shadowed struct {
	p       *config.Pipeline
	m       *model.Loaded
	client  *kafka.Client
	program *task.Program
	engine  *engine.Engine
	state   string
	create  bool
}

var errRangeDone = errors.New("the range is done")

// beginShadow makes the shadow's topics, sets where its group begins, and watches for what ends it. done, which is never nil, waits
// for that after ctx has ended.
func (a *App) beginShadow(ctx context.Context, give context.CancelCauseFunc, s *shadowing, w *shadowed) (done func(), err error) {
	done = func() {}
	var b *ShadowBegin
	err = a.persist(ctx, w.engine.Wait, func() (err error) {
		if err := shadowTopics(ctx, s, w); err != nil { // before any offset is set
			return err
		}
		b, err = a.placeShadow(ctx, s, w)
		return err
	})
	if err != nil {
		return done, err
	}
	if s.kept != nil {
		s.kept.from, s.kept.to = b.From, b.To
	}
	a.Log.LogAttrs(ctx, slog.LevelInfo, "shadow begins", slog.String("model", s.model.Ref), slog.String("topic", b.Topic), slog.String("group", b.Group),
		slog.Any("from", b.From), slog.Any("to", b.To), slog.Any("read_from", b.Read), slog.Bool("resumed", b.Resumed))
	if s.options.Began != nil {
		s.options.Began(b)
	}
	var left []chan struct{}
	follow := func(f func()) {
		c := make(chan struct{})
		left = append(left, c)
		go func() {
			defer close(c)
			f()
		}()
	}
	if s.to != nil {
		follow(func() {
			if err := rangeDone(ctx, s, w); err != nil {
				give(asError("shadow", err))
			} else {
				give(errRangeDone)
			}
		})
	}
	if w.state != "" && s.options.MinFree > 0 && s.options.Free != nil {
		follow(func() { a.watchDisk(ctx, give, w.state, s.options) })
	}
	return func() {
		for _, c := range left {
			<-c
		}
	}, nil
}

// asError is err as one of the application.
func asError(op string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	code, hint := Explain(err)
	return &Error{Code: code, Op: op, Err: err, Hint: hint}
}

// shadowTopics wants the topics that a shadow writes, or makes them, with as many partitions as those of production have.
func shadowTopics(ctx context.Context, s *shadowing, w *shadowed) error {
	for _, t := range []struct{ own, like string }{{w.p.Sink.Topic, s.produced.Sink.Topic}, {w.p.DeadLetter.Topic, s.produced.DeadLetter.Topic}} {
		found, err := w.client.Topics(ctx, t.like)
		if err != nil && len(kafka.Missing(err)) > 0 {
			found, err = w.client.Topics(ctx, w.p.Source.Topic)
		}
		if err != nil {
			return err
		}
		if err := needTopics(ctx, w.client, w.create, kafka.NewTopic{Name: t.own, Partitions: len(found[0].Partitions)}); err != nil {
			return err
		}
	}
	return nil
}

// rangeDone returns when all of a range has been processed and committed.
func rangeDone(ctx context.Context, s *shadowing, w *shadowed) error {
	if err := passed(ctx, w, w.p.Source.Topic, s.to); err != nil {
		return err
	}
	// What the source has led to may be on its way to a window or a row, from one topic of the shadow's own to the next.
	for range w.program.Origins {
		for _, topic := range w.program.Origins {
			end, err := w.client.EndOffsets(ctx, topic, true)
			if err != nil {
				return err
			}
			if err := passed(ctx, w, topic, end); err != nil {
				return err
			}
		}
	}
	return nil
}

// passedPause is how long there is between two looks at how far a group is.
const passedPause = 300 * time.Millisecond

// passed waits until the group has committed all records of a topic before some offsets.
func passed(ctx context.Context, w *shadowed, topic string, goal kafka.Offsets) error {
	var before kafka.Offsets
	for {
		committed, err := w.client.Committed(ctx, w.p.Group)
		if err != nil && kafka.Recover(err) == kafka.Fatal {
			return err
		}
		if at := committed.Offsets(topic); err == nil {
			behind := kafka.Offsets{}
			for p, o := range goal {
				if at[p] < o {
					behind[p] = at[p]
				}
			}
			if len(behind) == 0 {
				return nil
			}
			if maps.Equal(before, behind) {
				// The last offsets may be those of markers, which no position need pass.
				if empty, err := nothingBetween(ctx, w.client, topic, behind, goal); err == nil && empty {
					return nil
				}
			}
			before = behind
		}
		if err := pause(ctx, passedPause); err != nil {
			return err
		}
	}
}

// nothingBetween tells whether there are no records of a topic between offsets.
func nothingBetween(ctx context.Context, c *kafka.Client, topic string, from, to kafka.Offsets) (bool, error) {
	start, err := c.StartOffsets(ctx, topic)
	if err != nil {
		return false, err
	}
	first, until := kafka.Offsets{}, kafka.Offsets{}
	for p, at := range from {
		if at = max(at, start[p]); at < to[p] {
			first[p], until[p] = at, to[p]
		}
	}
	if len(first) == 0 {
		return true, nil
	}
	rctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a transaction may be open
	defer cancel()
	found := errors.New("found")
	err = c.Read(rctx, kafka.ReadConfig{From: map[string]kafka.Offsets{topic: first}, Until: map[string]kafka.Offsets{topic: until}}, func(s kafka.Step) error {
		if s.Len() > 0 {
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return false, nil
	}
	return err == nil, err
}
