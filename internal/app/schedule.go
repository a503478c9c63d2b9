package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// ScheduleOptions say what to train at its times.
type ScheduleOptions struct {
	File         string   // the pipeline file
	Set          []string // overrides of it
	Threads      int
	By           string // who trains; for the audit log
	CreateTopics bool   // make the topics that are not there
	HTTP         string // the address for health; "" is none
}

// ScheduledRun is a training that is due.
type ScheduledRun struct {
	RunID    string
	Due      time.Time // when it begins
	Interval Interval
}

// scheduledRun returns the run of a time of the timetable.
func scheduledRun(p *config.Pipeline, due time.Time) ScheduledRun {
	i := p.Schedule.Times.Interval(due)
	return ScheduledRun{RunID: p.Name + "-" + instantText(due), Due: due, Interval: Interval(i)}
}

// loadScheduled reads a pipeline file that has a schedule. Variables of the data interval, which no training has named yet,
// stand for now.
func (a *App) loadScheduled(file string, set []string) (*config.Pipeline, error) {
	now := a.Now()
	env, err := Interval{From: now, To: now}.variables(a.Env)
	if err != nil {
		return nil, err
	}
	p, err := config.Load(file, config.Options{Set: set, Env: env.lookup})
	if err != nil {
		return nil, unreadable(file, err)
	}
	if p.Schedule == nil {
		return nil, &Error{Code: Usage, Op: "schedule", Where: file, Err: errors.New("the pipeline file has no schedule"), Hint: `add one, such as schedule: {cron: "0 3 * * 1", zone: Europe/Paris}`}
	}
	return p, nil
}

// timed wants a schedule with times.
func timed(file string, p *config.Pipeline) error {
	if p.Schedule.Times == nil {
		return &Error{Code: Usage, Op: "schedule", Where: file, Err: errors.New("the schedule has no times: only windows that fail lead to a training"), Hint: "add schedule.cron"}
	}
	return nil
}

// NextRuns returns the next n runs of a schedule.
func (a *App) NextRuns(file string, set []string, n int) ([]ScheduledRun, error) {
	p, err := a.loadScheduled(file, set)
	if err != nil {
		return nil, err
	}
	if err := timed(file, p); err != nil {
		return nil, err
	}
	var runs []ScheduledRun
	at := a.Now()
	for range n {
		at = p.Schedule.Times.Next(at)
		runs = append(runs, scheduledRun(p, at))
	}
	return runs, nil
}

// TrainLast trains for the last time of a schedule that has come. It takes no part in the group of the runners: what another one trains
// of the same run is the same version.
func (a *App) TrainLast(ctx context.Context, o ScheduleOptions) (*Trained, error) {
	p, err := a.loadScheduled(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if err := timed(o.File, p); err != nil {
		return nil, err
	}
	return a.Train(ctx, o.training(scheduledRun(p, p.Schedule.Times.Last(a.Now()))))
}

// training returns how a run is trained.
func (o *ScheduleOptions) training(r ScheduledRun) TrainOptions {
	return TrainOptions{File: o.File, Set: o.Set, Threads: o.Threads, By: o.By, RunID: r.RunID, Interval: r.Interval}
}

// Schedule trains at the times of a pipeline file, and when a window check asks for it, until ctx ends. Of several processes one
// trains, and the others stand by. No model is approved by that.
func (a *App) Schedule(ctx context.Context, o ScheduleOptions) error {
	p, err := a.loadScheduled(o.File, o.Set)
	if err != nil {
		return err
	}
	kc, err := a.cluster(p)
	if err != nil {
		return err
	}
	client, err := kafka.New(kc)
	if err != nil {
		return err
	}
	defer client.Close()
	s := &scheduler{app: a, pipeline: p, client: client, train: func(ctx context.Context, r ScheduledRun) (*Trained, error) { return a.Train(ctx, o.training(r)) }}
	if o.HTTP != "" {
		stop, err := a.serve(ctx, o.HTTP, s.health())
		if err != nil {
			return err
		}
		defer stop()
	}
	topics := []kafka.NewTopic{controlTopics(p)[0]}
	if s.retrains() {
		topics = append(topics, kafka.NewTopic{Name: p.Checks.Window.Topic, Partitions: 1})
	}
	if err := a.persist(ctx, func() {}, func() error { return needTopics(ctx, client, o.CreateTopics, topics...) }); err != nil {
		return err
	}
	return s.run(ctx)
}

// scheduler trains what is due.
type scheduler struct {
	app      *App
	pipeline *config.Pipeline
	client   *kafka.Client
	train    func(context.Context, ScheduledRun) (*Trained, error)
	status   status
}

// The pauses between the tries of a training that failed in a way that another try may mend, and how many tries there are.
const (
	firstRetry = 30 * time.Second
	lastRetry  = 10 * time.Minute
	mostTries  = 6
)

// wakeEvery is how often the clock is looked at: it can be set, and machines sleep.
const wakeEvery = time.Minute

// scheduleState is what is known of what was done: the text that the runners of a group keep with its offsets.
type scheduleState struct {
	// Last is the last time of the timetable whose training has ended, however.
	Last time.Time `json:"last,omitzero"`
	// Retrained is when the last training began that a window led to, and Windows are the last windows that have.
	Retrained time.Time `json:"retrained,omitzero"`
	Windows   []string  `json:"windows,omitempty"`
	// Checks are the offsets of the results that are not read yet, by partition.
	Checks map[int32]int64 `json:"checks,omitempty"`
}

// mostWindows is how many windows are remembered: brokers take 4 KiB of a state.
const mostWindows = 16

// scheduleGroup returns the consumer group of the runners of a pipeline.
func scheduleGroup(p *config.Pipeline) string { return p.Group + "-schedule" }

// retrains tells whether windows lead to trainings.
func (s *scheduler) retrains() bool {
	w := s.pipeline.Checks.Window
	return w != nil && w.OnFail == config.OnFailRetrain
}

// run trains what is due for as long as this process leads, until ctx ends.
func (s *scheduler) run(ctx context.Context) error {
	log := s.app.Log
	lc := kafka.LeaderConfig{Group: scheduleGroup(s.pipeline), Topic: s.pipeline.ControlTopic()}
	log.LogAttrs(ctx, slog.LevelInfo, "the schedule stands by", slog.String("group", lc.Group), slog.String("topic", lc.Topic))
	tell := func(err error) {
		log.LogAttrs(ctx, slog.LevelWarn, "the group of the schedule was left, and is joined again", slog.Any("error", err))
	}
	return s.client.Lead(ctx, lc, tell, func(ctx context.Context, l *kafka.Lead) error {
		err := s.leading(ctx, l)
		s.status.standBy()
		log.LogAttrs(context.WithoutCancel(ctx), slog.LevelInfo, "the schedule leads no more")
		return err
	})
}

// leading is the work of the leader: it ends with ctx.
func (s *scheduler) leading(ctx context.Context, l *kafka.Lead) error {
	var st scheduleState
	if text := l.State(); text != "" {
		if err := json.Unmarshal([]byte(text), &st); err != nil {
			s.app.Log.LogAttrs(ctx, slog.LevelWarn, "what the schedule has done is not known: its state cannot be read", slog.Any("error", err))
			st = scheduleState{}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var windows <-chan checkedWindow
	if s.retrains() {
		f, err := s.follow(ctx, &st)
		if err != nil {
			return err
		}
		defer f.wait()
		defer cancel() // before it waits
		windows = f.windows
		if err := s.save(ctx, l, &st); err != nil {
			return err
		}
	}
	s.app.Log.LogAttrs(ctx, slog.LevelInfo, "the schedule leads", slog.Time("done_until", st.Last))
	for ctx.Err() == nil {
		s.doubt(ctx, &st)
		if due, ok := s.due(&st); ok {
			if !s.attempt(ctx, scheduledRun(s.pipeline, due), due) {
				return ctx.Err() // it is done again, by whoever leads
			}
			st.Last = due
			if err := s.save(ctx, l, &st); err != nil {
				return err
			}
			continue
		}
		timer := time.NewTimer(s.untilNext())
		select {
		case <-timer.C:
		case w := <-windows:
			if err := s.window(ctx, l, &st, w); err != nil {
				return err
			}
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return ctx.Err()
}

// farAhead is more than the clocks of two runners may differ by.
const farAhead = 24 * time.Hour

// doubt forgets what was done at times that are yet to come, by a clock that went wrong: nothing would be trained until then. What is
// trained again is the same version.
func (s *scheduler) doubt(ctx context.Context, st *scheduleState) {
	limit := s.app.Now().Add(farAhead)
	for _, at := range []*time.Time{&st.Last, &st.Retrained} {
		if at.After(limit) {
			s.app.Log.LogAttrs(ctx, slog.LevelWarn, "a training is said to have been at a time that is yet to come: that is not believed", slog.Time("at", *at))
			*at = time.Time{}
		}
	}
}

// due returns the last time that has come, if nothing was trained for it: of several that were missed the last one counts.
func (s *scheduler) due(st *scheduleState) (time.Time, bool) {
	times := s.pipeline.Schedule.Times
	if times == nil {
		return time.Time{}, false
	}
	due := times.Last(s.app.Now())
	return due, due.After(st.Last)
}

// untilNext returns how long to wait for what comes next.
func (s *scheduler) untilNext() time.Duration {
	if s.pipeline.Schedule.Times == nil {
		s.status.lead(time.Time{})
		return wakeEvery
	}
	now := s.app.Now()
	next := s.pipeline.Schedule.Times.Next(now)
	s.status.lead(next)
	return min(next.Sub(now), wakeEvery)
}

// save keeps a state, and goes on trying where the brokers do not take it. Where somebody else leads by now, it waits until ctx ends
// for it.
func (s *scheduler) save(ctx context.Context, l *kafka.Lead, st *scheduleState) error {
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	backoff := kafka.Backoff{Min: 200 * time.Millisecond, Max: 10 * time.Second}
	for try := 1; ; try++ {
		switch err := l.Save(ctx, string(text)); {
		case ctx.Err() != nil || err == nil || kafka.Recover(err) == kafka.Fatal:
			return err
		case errors.Is(err, kafka.ErrNotLeader):
			<-ctx.Done()
			return ctx.Err()
		default:
			s.app.Log.LogAttrs(ctx, slog.LevelWarn, "what the schedule has done cannot be kept; trying again", slog.Any("error", err))
		}
		if err := pause(ctx, backoff.Pause(try)); err != nil {
			return err
		}
	}
}

// attempt trains a run, and again after a while where that may help, until something else is due than what was at due. It returns
// whether it came to an end before ctx did.
func (s *scheduler) attempt(ctx context.Context, r ScheduledRun, due time.Time) bool {
	backoff := kafka.Backoff{Min: firstRetry, Max: lastRetry}
	for try := 1; ; try++ {
		s.status.train(r.RunID)
		s.app.Log.LogAttrs(ctx, slog.LevelInfo, "a training begins", slog.String("run_id", r.RunID), slog.String("data_interval", r.Interval.String()), slog.Int("try", try))
		t, err := s.train(ctx, r)
		again := s.told(ctx, r, t, err)
		if !again || try == mostTries || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		if now, ok := s.due(&scheduleState{Last: due}); ok {
			s.app.Log.LogAttrs(ctx, slog.LevelWarn, "the training is given up: the next one is due", slog.String("run_id", r.RunID), slog.Time("due", now))
			return true
		}
		wait := backoff.Pause(try)
		s.app.Log.LogAttrs(ctx, slog.LevelInfo, "the training is tried again", slog.String("run_id", r.RunID), slog.Duration("in", wait.Round(time.Second)))
		if pause(ctx, wait) != nil {
			return false
		}
	}
}

// told logs what came of a training, and tells whether to try again.
func (s *scheduler) told(ctx context.Context, r ScheduledRun, t *Trained, err error) (again bool) {
	code, hint := Explain(err)
	level, result := slog.LevelInfo, "a candidate waits for review"
	attrs := []slog.Attr{slog.String("run_id", r.RunID), slog.Int("exit_code", int(code))}
	if t != nil {
		attrs = append(attrs, slog.String("model", t.Model), slog.String("state", string(t.State)), slog.Bool("existed", t.Existed))
	}
	switch {
	case ctx.Err() != nil && err != nil:
		result = "stopped"
	case code == OK:
	case code == Refused:
		level, result = slog.LevelWarn, "refused"
	case code == Nothing:
		result = "nothing to train on"
	default:
		level, result, again = slog.LevelError, "failed", code == Failed
	}
	attrs = append(attrs, slog.String("result", result))
	if err != nil && result != "stopped" {
		attrs = append(attrs, slog.String("error", Message(err)), slog.String("hint", hint))
	}
	s.status.done(r.RunID, result)
	s.app.Log.LogAttrs(context.WithoutCancel(ctx), level, "a training has ended", attrs...)
	return again
}

// checkedWindow is a result of a window check that asks for a training.
type checkedWindow struct {
	partition int32
	offset    int64
	retrain   bool // false: it only moves the offset on
	id        string
	to        time.Time // the end of the window
}

// window trains for a window that has failed, unless that was done, or is too soon.
func (s *scheduler) window(ctx context.Context, l *kafka.Lead, st *scheduleState, w checkedWindow) error {
	now := s.app.Now()
	if st.Checks == nil {
		st.Checks = map[int32]int64{}
	}
	switch {
	case !w.retrain:
	case slices.Contains(st.Windows, w.id):
		s.app.Log.LogAttrs(ctx, slog.LevelInfo, "a window has failed for which a model was trained", slog.String("window", w.id))
	case !st.Retrained.IsZero() && now.Before(st.Retrained.Add(s.pipeline.Schedule.RetrainAfter)):
		s.app.Log.LogAttrs(ctx, slog.LevelInfo, "a window has failed, and no model is trained: the last training for a window is too near",
			slog.String("window", w.id), slog.Time("trained", st.Retrained), slog.Duration("retrain_after", s.pipeline.Schedule.RetrainAfter))
	default:
		st.Retrained = now
		last := now
		if s.pipeline.Schedule.Times != nil {
			last = s.pipeline.Schedule.Times.Last(now)
		}
		if !s.attempt(ctx, s.windowRun(w), last) {
			return ctx.Err()
		}
		st.Windows = append(st.Windows, w.id)
		st.Windows = st.Windows[max(0, len(st.Windows)-mostWindows):]
	}
	st.Checks[w.partition] = w.offset + 1
	return s.save(ctx, l, st)
}

// windowRun returns the run of a window: its data interval ends with the window, and is as long as that of the last time of the
// timetable, if there is one.
func (s *scheduler) windowRun(w checkedWindow) ScheduledRun {
	r := ScheduledRun{RunID: s.pipeline.Name + "-window-" + w.id, Due: w.to}
	if times := s.pipeline.Schedule.Times; times != nil {
		i := times.Interval(times.Last(w.to))
		r.Interval = Interval{From: w.to.Add(-i.To.Sub(i.From)), To: w.to}
	}
	return r
}

// following reads the results of window checks.
type following struct {
	windows chan checkedWindow
	ended   []<-chan struct{}
}

func (f *following) wait() {
	for _, e := range f.ended {
		<-e
	}
}

// follow reads the results from where they were read to, the first time from their end. The offsets are put into the state.
func (s *scheduler) follow(ctx context.Context, st *scheduleState) (*following, error) {
	topic := s.pipeline.Checks.Window.Topic
	var end kafka.Offsets
	err := s.app.persist(ctx, func() {}, func() (err error) {
		end, err = s.client.EndOffsets(ctx, topic, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	from := maps.Clone(st.Checks)
	if from == nil {
		from = map[int32]int64{}
	}
	f := &following{windows: make(chan checkedWindow)}
	for p, at := range end {
		if _, known := from[p]; !known {
			from[p] = at
		}
		ended := make(chan struct{})
		f.ended = append(f.ended, ended)
		go func() {
			defer close(ended)
			s.followPartition(ctx, topic, p, from[p], f.windows)
		}()
	}
	st.Checks = maps.Clone(from)
	return f, nil
}

// followPartition reads a partition until ctx ends, through all that another try may mend.
func (s *scheduler) followPartition(ctx context.Context, topic string, partition int32, at int64, to chan<- checkedWindow) {
	backoff := kafka.Backoff{Min: 200 * time.Millisecond, Max: 10 * time.Second}
	for try := 1; ctx.Err() == nil; try++ {
		err := s.client.Tap(ctx, kafka.TapConfig{Topic: topic, Partitions: []int32{partition}, From: at, Follow: true}, func(rs []record.Raw) error {
			for i := range rs {
				at, try = rs[i].Offset+1, 1
				select {
				case to <- s.checked(&rs[i]):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			s.app.Log.LogAttrs(ctx, slog.LevelWarn, "the results of window checks cannot be read; trying again", slog.String("topic", topic), slog.Any("error", err))
			_ = pause(ctx, backoff.Pause(try)) // ctx ends the loop
		}
	}
}

// checked reads a record of the topic of results.
func (s *scheduler) checked(r *record.Raw) checkedWindow {
	w := checkedWindow{partition: r.Partition, offset: r.Offset}
	var x struct {
		Pipeline string `json:"pipeline"`
		Action   string `json:"action"`
		From     *int64 `json:"from"`
		To       *int64 `json:"to"`
		Judged   int64  `json:"judged"`
	}
	if err := json.Unmarshal(r.Value, &x); err != nil || x.Pipeline != s.pipeline.Name || x.Action != string(config.OnFailRetrain) {
		return w
	}
	w.retrain, w.to = true, time.UnixMilli(x.Judged).UTC()
	w.id = fmt.Sprintf("%d-%d", r.Partition, r.Offset) // of a window of so many records
	if x.From != nil && x.To != nil {
		w.to = time.UnixMilli(*x.To).UTC()
		w.id = instantText(time.UnixMilli(*x.From)) + "-" + instantText(w.to)
	}
	return w
}
