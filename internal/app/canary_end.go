package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"millrace.dev/internal/canary"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
)

// takeBackWithin is how long taking a model back may take beside what instances need to go over.
const takeBackWithin = time.Minute

// finish has the model predict all records.
func (r *canaryRun) finish(ctx, base context.Context) error {
	w := r.promotion(rollout.Deployment{Model: r.model.Ref, Digest: r.model.Digest}, func(ctx context.Context, to *rollout.Deployment) error {
		if r.decided { // and noted
			r.out.Verdict = registry.VerdictPassed
			return nil
		}
		t := r.trial(registry.TrialEnded, to.Epoch)
		t.Share, t.Verdict = 1, registry.VerdictPassed
		_, err := r.registry.Promote(ctx, r.model.Ref, "", registry.Decision{By: r.o.By, Reason: r.o.Reason, Group: r.p.Group, Trial: t})
		if err == nil {
			r.out.Verdict = registry.VerdictPassed
		}
		return err
	})
	d, err := w.run(ctx)
	switch {
	case err == nil:
		r.out.Deployed, r.out.Touched = *d, r.watched.touchedRecords()
		r.out.Steps = append(r.out.Steps, CanaryStep{1, d.Epoch, r.app.Now(), r.watched.sum().Records})
		return nil
	case r.decided || r.out.Verdict == registry.VerdictPassed: // it is noted
		return err
	default:
		return r.stopped(ctx, base, err)
	}
}

// takenBack takes the model back, since a guard demands it, or nothing comes.
func (r *canaryRun) takenBack(ctx context.Context, d canary.Decision) error {
	code, hint := Failed, "see why so little comes: the group's lag, the labels, canary.min_records and canary.min_outcomes; then promote it again"
	if d.Guard != nil {
		code, hint = Refused, "see its records by their headers: millrace.experiment is "+r.split.Experiment
		r.out.Guard = d.Guard.Guard
	}
	err := r.takeBack(ctx, d.Why)
	e := &Error{Code: code, Op: "promote --canary " + r.model.Ref, Where: r.p.Group, Err: fmt.Errorf("it was taken back: %s", d.Why), Hint: hint}
	if err != nil {
		e.Code, e.Err = Failed, errors.Join(fmt.Errorf("it has to be taken back: %s", d.Why), err)
		e.Hint = "millrace ab stop has all instances go back to " + r.before.Ref
	}
	return e
}

// interrupted brings a canary to an end whose command was ended.
func (r *canaryRun) interrupted(ctx context.Context) error {
	if r.o.Keep {
		return r.leave(ctx)
	}
	if err := r.takeBack(ctx, "the command that watched was ended"); err != nil {
		return err
	}
	return &Error{
		Code: Failed, Op: "promote --canary " + r.model.Ref, Where: r.p.Group, Err: errors.New("it was taken back, since this command was ended and nobody watches any more"),
		Hint: "promote it again; with --keep it stays where it is when the command is ended",
	}
}

// leave lets a canary go on with nobody who watches.
func (r *canaryRun) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackWithin)
	defer cancel()
	next := *r.control
	if next.Current == nil || next.Current.Split == nil {
		return nil // it is over
	}
	current, split, c := *next.Current, *next.Current.Split, *next.Current.Split.Canary
	c.Lease = 0
	split.Canary, current.Split, next.Current, next.Next = &c, &split, &current, nil
	if err := r.write(ctx, &next); err != nil {
		return err
	}
	r.app.Log.LogAttrs(ctx, slog.LevelWarn, "the canary goes on, and nobody watches it: the same command goes on with it, and millrace ab stop ends it",
		slog.String("experiment", r.split.Experiment))
	return nil
}

// stopped brings a canary to an end that cannot go on because of cause, or since ctx has ended.
func (r *canaryRun) stopped(ctx, base context.Context, cause error) error {
	if ctx.Err() != nil && r.ours(r.control) && !fenced(cause) && !errors.Is(cause, errSuperseded) {
		return r.interrupted(base)
	}
	return r.failed(base, cause)
}

// failed brings a canary to an end that cannot go on because of cause.
func (r *canaryRun) failed(ctx context.Context, cause error) error {
	if _, ok := errors.AsType[*kafka.Error](cause); ok && !fenced(cause) {
		if err := r.reopen(ctx); err != nil { // what was written last may stand there all the same
			cause = err
		}
	}
	if fenced(cause) || errors.Is(cause, errSuperseded) {
		return r.over(ctx, cause)
	}
	if !r.ours(r.control) {
		// No record was predicted with it, but its start may be noted.
		t := r.trial(registry.TrialEnded, 0)
		t.Verdict = registry.VerdictRolledBack
		if err := r.note(ctx, t, "it could not begin: "+plain(cause)); err != nil && !errors.Is(err, registry.ErrInvalid) {
			return errors.Join(cause, err)
		}
		return cause
	}
	if err := r.takeBack(ctx, plain(cause)); err != nil {
		return errors.Join(cause, err)
	}
	return &Error{
		Code: Failed, Op: "promote --canary " + r.model.Ref, Where: r.p.Group, Err: fmt.Errorf("it was taken back: %w", cause), Hint: hintOf(cause),
	}
}

func hintOf(err error) string {
	_, hint := Explain(err)
	return hint
}

// plain returns the words of an error for the audit log.
func plain(err error) string {
	text := strings.ToValidUTF8(Message(err), "?")
	return strings.Join(strings.Fields(text[:min(len(text), 2000)]), " ")
}

// takeBack has all instances predict all records with the control's model, and notes which the other one has predicted. All have it loaded,
// so that none has to get ready.
func (r *canaryRun) takeBack(ctx context.Context, why string) error {
	limit := takeBackWithin + max(r.o.Timeout, defaultPromoteTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := r.promotion(rollout.Deployment{Model: r.before.Ref, Digest: r.before.Digest}, nil)
	w.next.Reason, w.attend, w.said = why, nil, map[string]string{}
	next, err := w.prepare(ctx)
	if err != nil {
		return err
	}
	r.control = next // what turns goes over to; nobody has to hear of it before
	switched := w.turns(ctx)
	if fenced(switched) {
		return r.over(ctx, switched)
	}
	r.out.Verdict, r.out.Why, r.out.Deployed = registry.VerdictRolledBack, why, w.out
	r.out.Complete = r.watched.drain(ctx, r.client) && switched == nil
	r.out.Touched = r.watched.touchedRecords()
	t := r.trial(registry.TrialEnded, w.to.Epoch)
	t.Verdict, t.Guard, t.Touched = registry.VerdictRolledBack, r.out.Guard, r.out.Touched
	err = r.note(ctx, t, why)
	if errors.Is(err, registry.ErrInvalid) { // a promotion has ended the trial in the log meanwhile
		err = nil
	}
	return errors.Join(switched, err)
}

// over says what has become of a canary that somebody else has taken over, and notes it where nobody else did.
func (r *canaryRun) over(ctx context.Context, cause error) error {
	e := &Error{Code: Failed, Op: "promote --canary " + r.model.Ref, Where: r.p.Group}
	now, err := r.app.readControl(ctx, r.client, r.p)
	if err != nil {
		e.Err = errors.Join(cause, err)
		return e
	}
	switch c := now.Current; {
	case r.ours(now) && now.Next != nil && !r.ours(&rollout.Control{Current: now.Next}):
		e.Err = fmt.Errorf("%s has begun to have the instances run %s: %s", now.Next.By, now.Next.Model, now.Next.Reason)
		e.Hint = "if that fails the canary goes on with nobody who watches: the same command goes on with it, else the instances take it back after the lease"
	case r.ours(now):
		e.Err = errors.New("another command watches this canary now, and goes on with it")
		e.Hint = "look there; if that has ended too, the same command goes on with the canary, else the instances take it back after the lease"
	case c == nil:
		e.Err = errors.New("the control topic was made anew, and says nothing of it")
	default:
		e.Err = fmt.Errorf("it is over: %s has the instances run %s: %s", c.By, c.Model, c.Reason)
		e.Hint = "promote it again if need be"
		r.out.Verdict, r.out.Why = registry.VerdictRolledBack, c.Reason
		switch {
		case c.Split != nil || c.Digest != r.model.Digest && c.Digest != r.before.Digest:
			r.out.Verdict = registry.VerdictStopped
		case c.Digest == r.model.Digest:
			r.out.Verdict, e.Hint = registry.VerdictPassed, ""
		}
		r.out.Complete = r.watched.drain(ctx, r.client)
		r.out.Touched = r.watched.touchedRecords()
		t := r.trial(registry.TrialEnded, c.Epoch)
		t.Verdict, t.Touched = r.out.Verdict, r.out.Touched
		if t.Verdict == registry.VerdictPassed { // the promotion that has let it in stands in the log, and has ended it there
			return e
		}
		if err := r.note(ctx, t, "it was over: "+c.Reason); err != nil && !errors.Is(err, registry.ErrInvalid) {
			e.Err = errors.Join(e.Err, err)
		}
	}
	return e
}

// reopen takes the control topic again after it could not be written, unless somebody else has.
func (r *canaryRun) reopen(ctx context.Context) error {
	w, err := r.client.Transactions(ctx, kafka.TransactionConfig{ID: controlID(r.p)})
	if err != nil {
		if fenced(err) {
			return err
		}
		return nil // not yet
	}
	now, err := r.app.readControl(ctx, r.client, r.p)
	if err != nil {
		w.Close()
		return nil //nolint:nilerr // not yet
	}
	r.writer.Close()
	r.writer = w
	if !r.ours(now) && !now.Current.Is(r.control.Current) {
		return errSuperseded
	}
	r.control = now
	return nil
}

// ours tells whether a control has the instances run this canary.
func (r *canaryRun) ours(c *rollout.Control) bool {
	return c.Current != nil && c.Current.Split != nil && c.Current.Split.Experiment == r.split.Experiment
}
