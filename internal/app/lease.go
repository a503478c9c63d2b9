package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
)

// leaseRetry is how long an instance waits after it could not take a canary back that nobody watches.
const leaseRetry = 5 * time.Second

// lease returns how long instances go on with the current deployment without a word; 0 is for good.
func lease(c *rollout.Control) time.Duration {
	if c.Current == nil || c.Current.Split == nil || c.Current.Split.Canary == nil {
		return 0
	}
	return time.Duration(c.Current.Split.Canary.Lease) * time.Millisecond
}

// attended takes a canary back that nobody watches any more: it has all instances go over to the control's model, which each of them has
// loaded. It goes by how long this instance has heard nothing, so that clocks need not agree.
func (d *deployment) attended(ctx context.Context) {
	d.mu.Lock()
	if d.heard.IsZero() {
		d.heard = d.app.Now()
	}
	c, heard := d.control, d.heard
	d.mu.Unlock()
	limit := lease(&c)
	if limit == 0 || d.app.Now().Sub(heard) < limit {
		return
	}
	done, err := d.takeBack(ctx, &c, limit)
	if ctx.Err() != nil {
		return
	}
	again := d.app.Now() // somebody else was faster, or watches: the control topic says it soon
	switch {
	case fenced(err):
	case err != nil:
		again = again.Add(min(leaseRetry, limit) - limit)
		d.app.Log.LogAttrs(ctx, slog.LevelError, "nobody watches the canary, and it cannot be taken back yet: trying again",
			slog.String("experiment", c.Current.Split.Experiment), slog.String("error", Message(err)))
	case done:
		d.app.Log.LogAttrs(ctx, slog.LevelWarn, "nobody watches the canary: all instances go back to the model of before",
			slog.String("experiment", c.Current.Split.Experiment), slog.String("model", c.Current.Model), slog.Duration("silence", d.app.Now().Sub(heard)))
	}
	d.mu.Lock()
	d.heard = again
	d.mu.Unlock()
}

// takeBack writes that the control's model predicts all records, unless the control topic says something newer than known. The id fences
// whoever watches after all, as a promotion does: it ends with an error.
func (d *deployment) takeBack(ctx context.Context, known *rollout.Control, limit time.Duration) (done bool, err error) {
	w, err := d.client.Transactions(ctx, kafka.TransactionConfig{ID: controlID(d.p)})
	if err != nil {
		return false, err
	}
	defer w.Close()
	now, err := d.app.readControl(ctx, d.client, d.p)
	if err != nil || now.Beat != known.Beat || !now.Current.Is(known.Current) {
		return false, err
	}
	back := rollout.Deployment{
		Model: known.Current.Model, Digest: known.Current.Digest, By: d.engine.Instance(),
		Reason: fmt.Sprintf("nobody has watched %s for %s", known.Current.Split.Experiment, limit),
	}
	var seen int64
	for _, p := range d.engine.Stats().Epochs {
		seen = max(seen, p.Epoch)
	}
	next, err := now.Prepare(back, "", seen, d.app.Now())
	if err != nil {
		return false, err
	}
	return true, sendControl(ctx, w, d.p, next.Switch(nil), d.app.Now())
}
