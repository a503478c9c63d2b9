package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// controller tells the instances of a group what to run. It alone does, until another one begins to.
type controller struct {
	app      *App
	p        *config.Pipeline
	client   *kafka.Client
	writer   *kafka.Transactions
	control  *rollout.Control
	statuses chan map[string]*rollout.Status // what the status topic says, when that has changed
	deaf     chan error                      // has why the status topic cannot be read
	last     map[string]*rollout.Status      // the last word of every instance that said something
	stop     func()                          // following the statuses
}

// controller begins to control the group of a pipeline, which ends what another one does, unless allow returns an error for what the control
// topic says; nil allows all. The caller closes it. Following the statuses ends with ctx too.
func (a *App) controller(ctx context.Context, p *config.Pipeline, allow func(*rollout.Control) error) (*controller, error) {
	if p.Model.Update == config.RestartUpdate {
		return nil, &Error{
			Code: Usage, Op: "control", Where: p.Group, Err: errNoControl,
			Hint: "that is for pipelines with model.update: hot_swap or rolling",
		}
	}
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	c := &controller{app: a, p: p, stop: func() {}}
	if c.client, err = kafka.New(cluster); err != nil {
		return nil, err
	}
	if allow == nil {
		allow = func(*rollout.Control) error { return nil }
	}
	if err := c.open(ctx, allow); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *controller) open(ctx context.Context, allow func(*rollout.Control) error) (err error) {
	if err := needTopics(ctx, c.client, true, controlTopics(c.p)...); err != nil {
		return err
	}
	now, err := c.app.readControl(ctx, c.client, c.p) // whoever watches a canary goes on where this is refused
	if err != nil {
		return err
	}
	if err := allow(now); err != nil {
		return err
	}
	if c.writer, err = c.client.Transactions(ctx, kafka.TransactionConfig{ID: controlID(c.p)}); err != nil {
		return err
	}
	if c.control, err = c.app.readControl(ctx, c.client, c.p); err != nil {
		return err
	}
	if err := allow(c.control); err != nil {
		return err
	}
	c.stop = c.watch(ctx)
	return nil
}

func (c *controller) close() {
	c.stop()
	if c.writer != nil {
		c.writer.Close()
	}
	c.client.Close()
}

// controlID is a transactional id: whoever holds it alone writes the control topic, and what is read of it then is what there is. The ids of
// instances begin with the group and a hyphen.
func controlID(p *config.Pipeline) string { return p.Group + "/control" }

// readControl reads what the control topic says. A record that says nothing changes nothing, as for the instances.
func (a *App) readControl(ctx context.Context, client *kafka.Client, p *config.Pipeline) (*rollout.Control, error) {
	control := &rollout.Control{}
	err := client.Tap(ctx, kafka.TapConfig{Topic: p.ControlTopic(), From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			if string(r.Key) != rollout.Key {
				continue
			}
			switch c, err := rollout.DecodeControl(r.Value); {
			case errors.Is(err, rollout.ErrNewer):
				return &Error{
					Code: Usage, Op: "read control", Where: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset), Err: err,
					Hint: "use the version of millrace that the last promotion was made with, or a later one",
				}
			case err != nil:
				a.Log.LogAttrs(ctx, slog.LevelWarn, "a record of the control topic is no deployment, and changes nothing",
					slog.String("topic", r.Topic), slog.Int64("offset", r.Offset), slog.Any("error", err))
			default:
				control = c
			}
		}
		return ctx.Err()
	})
	return control, err
}

// write tells all instances.
func (c *controller) write(ctx context.Context, to *rollout.Control) error {
	err := sendControl(ctx, c.writer, c.p, to, c.app.Now())
	if err == nil {
		c.control = to
	}
	return err
}

// sendControl writes a control.
func sendControl(ctx context.Context, w *kafka.Transactions, p *config.Pipeline, to *rollout.Control, now time.Time) error {
	value, err := to.Encode()
	if err != nil {
		return err
	}
	if err := w.Begin(); err != nil {
		return err
	}
	w.Send(&record.Raw{Topic: p.ControlTopic(), Key: []byte(rollout.Key), Value: value, Timestamp: now.UnixMilli()})
	return w.Commit(ctx)
}

// watch follows the statuses of the instances until stop is called, which waits for it.
func (c *controller) watch(ctx context.Context) (stop func()) {
	c.statuses, c.deaf = make(chan map[string]*rollout.Status, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	all := map[string]*rollout.Status{}
	go func() {
		defer close(ended)
		c.deaf <- c.app.persist(ctx, func() {}, func() error {
			return c.client.Tap(ctx, kafka.TapConfig{Topic: c.p.StatusTopic(), From: kafka.FromStart, Follow: true}, func(rs []record.Raw) error {
				all = maps.Clone(all)
				for _, r := range rs {
					if s, err := rollout.DecodeStatus(r.Value); r.Value != nil && err == nil {
						all[string(r.Key)] = s
					} else {
						delete(all, string(r.Key)) // it has ended, or speaks another language: it is then missed in the group
					}
				}
				select {
				case <-c.statuses:
				default:
				}
				c.statuses <- all
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
func (c *controller) members(ctx context.Context) ([]rollout.Member, bool, error) {
	list, stable, err := c.client.Members(ctx, c.p.Group)
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
