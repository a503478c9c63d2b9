package demo

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/shadow"
	"millrace.dev/record"
)

// sold is the topic of what houses were sold for.
const sold = "housing.sold"

// betterParams are the parameters of the candidate: many small trees, each of a part of the rows and columns.
func betterParams() []string {
	return []string{
		"train.gbm.ntrees=1000", "train.gbm.max_depth=4", "train.gbm.learn_rate=0.03", "train.gbm.sample_rate=0.7",
		"train.gbm.col_sample_rate=0.5", "train.gbm.stopping_rounds=40",
	}
}

// Better is what has become of a candidate.
type Better struct {
	Model   string             `json:"model"`
	Pairs   int64              `json:"pairs"`   // of predictions, the shadow's and production's, of one house
	Labels  int64              `json:"labels"`  // pairs with a price that is known
	Verdict experiment.Verdict `json:"verdict"` // by these
	// MAE and Before are the mean absolute errors of the candidate and of the champion, over the pairs with a price.
	MAE    float64 `json:"mae"`
	Before float64 `json:"mae_before"`
	Live   bool    `json:"live"` // it was promoted
	// Predictions is how many the stream has of it.
	Predictions int64 `json:"predictions"`
}

// better trains another candidate, and lets it take over while houses go on: it predicts them in the shadow, is compared by what they were
// sold for, approved and promoted. One that is not shown to be better is not.
func (d *demo) better(ctx context.Context, client *kafka.Client, producer *kafka.Producer, list []listing, check *checker) (*Better, error) {
	d.Show.Step("a better model")
	t, err := d.App.Train(ctx, app.TrainOptions{File: d.file, Set: append(betterParams(), d.set...), By: "demo", Progress: d.Show.Round})
	if err != nil {
		return nil, err
	}
	d.Show.Trained(t)
	b := &Better{Model: t.Model}
	next, err := d.predictAgain(ctx, list, t.Model)
	if err != nil {
		return nil, err
	}
	check.mayBecome(t.Model, next)
	f := d.flow(ctx, producer, list, check)
	defer func() { _ = f.end() }()
	if err := d.shadow(ctx, b, f); err != nil {
		return nil, err
	}
	if err := d.compare(ctx, client, b, list); err != nil {
		return nil, err
	}
	if b.Verdict == experiment.Better {
		if err := d.promote(ctx, b); err != nil {
			return nil, err
		}
		if err := f.more(ctx, int64(d.Rate)); err != nil { // a second of houses for the new model
			return nil, err
		}
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	if err := finish(ctx, producer, check); err != nil {
		return nil, err
	}
	b.Predictions = check.ofNext()
	if b.Live {
		d.Show.Say("%v predictions so far are the new model's", int(b.Predictions))
	} else {
		d.Show.Say("%s is not promoted: it is not shown to be better on so few houses", b.Model)
	}
	return b, nil
}

// predictAgain returns what another model predicts for the houses, from a file; nil where a dead letter is due.
func (d *demo) predictAgain(ctx context.Context, list []listing, ref string) ([][]byte, error) {
	other := make([]listing, len(list))
	for i := range list {
		other[i] = listing{value: list[i].value, fault: list[i].fault}
	}
	path := d.path("predicted-next.jsonl")
	o := app.PredictOptions{File: d.file, Set: d.set, Model: ref, Data: d.path("listings.jsonl"), Out: path, Rejects: d.path("rejected-next.jsonl")}
	if _, err := d.App.Predict(ctx, o); err != nil {
		return nil, err
	}
	if err := expect(other, path); err != nil {
		return nil, err
	}
	next := make([][]byte, len(list))
	for i := range other {
		next[i] = other[i].want
	}
	return next, nil
}

// shadow has the candidate predict the houses that flow, beside the champion.
func (d *demo) shadow(ctx context.Context, b *Better, f *flow) error {
	houses := max(1, int64(float64(d.Rate)*d.Duration.Seconds()/2))
	d.Show.Say("%s predicts the stream in the shadow, into a topic of its own, until it has %v houses", b.Model, int(houses))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun, running, ended := make(chan struct{}), make(chan *app.Running, 1), make(chan error, 1)
	go func() {
		_, err := d.quiet(slog.LevelError).Shadow(ctx, app.ShadowOptions{
			File: d.file, Set: d.set, Model: b.Model, CreateTopics: true, Began: func(*app.ShadowBegin) { close(begun) },
			Started: func(r *app.Running) { running <- r },
		})
		ended <- err
		cancel(err) // nothing waits for a shadow that has failed
	}()
	stop := func(err error) error {
		cancel(nil)
		if e := <-ended; e != nil && err == nil {
			err = e
		}
		return err
	}
	select {
	case <-begun:
	case <-ctx.Done():
		return stop(context.Cause(ctx))
	}
	if err := f.more(ctx, houses); err != nil {
		return stop(err)
	}
	var r *app.Running
	select {
	case r = <-running:
	case <-ctx.Done():
		return stop(context.Cause(ctx))
	}
	if err := until(ctx, func() bool { return int64(r.Stats().Predictions) >= houses/2 }); err != nil { //nolint:gosec // far fewer than 2^63
		return stop(err)
	}
	return stop(nil)
}

// compare tells what the houses were sold for, and judges the candidate by that.
func (d *demo) compare(ctx context.Context, client *kafka.Client, b *Better, list []listing) error {
	labels, err := client.NewProducer(kafka.ProducerConfig{Topic: sold})
	if err != nil {
		return err
	}
	defer labels.Close()
	for i := range list {
		price := strconv.FormatFloat(list[i].price, 'f', -1, 64)
		if err := labels.Send(ctx, &record.Raw{Key: list[i].key, Value: []byte(`{"price":` + price + `}`), Timestamp: -1}); err != nil {
			return err
		}
	}
	if err := labels.Flush(ctx); err != nil {
		return err
	}
	quiet := d.quiet(slog.LevelError)
	if _, err := quiet.Outcomes(ctx, app.OutcomesOptions{File: d.file, Set: d.set, CreateTopics: true, Once: true}); err != nil {
		return err
	}
	r, err := quiet.CompareShadow(ctx, app.CompareOptions{File: d.file, Set: d.set, Model: b.Model, Metric: shadow.Absolute, HTML: d.path("compare.html"), Top: 3})
	if err != nil {
		return err
	}
	b.Pairs, b.Verdict = r.Pairs, experiment.NotYet
	d.Show.Say("%v houses have a prediction of both, which differ by %v in the mean", int(r.Pairs), int(r.Difference.MeanSize))
	if l := r.Labels; l != nil {
		b.Labels, b.Before, b.MAE = l.Pairs, float64(l.MAE[shadow.Production]), float64(l.MAE[shadow.Candidate])
		if l.Verdict != nil {
			b.Verdict = l.Verdict.Verdict
		}
		d.Show.Say("%v of them are sold: mean absolute error %v, before %v", int(l.Pairs), int(b.MAE), int(b.Before))
		if l.Verdict != nil {
			d.Show.Say("the verdict, which holds however often one looks: %s", b.Verdict)
		}
	}
	d.Show.Say("the whole comparison is in %s", d.path("compare.html"))
	return nil
}

// promote approves the candidate and has it take over.
func (d *demo) promote(ctx context.Context, b *Better) error {
	m, err := d.App.Models(app.ModelsOptions{File: d.file})
	if err != nil {
		return err
	}
	reason := fmt.Sprintf("better in the shadow: mean absolute error %.0f on %d houses, where the champion has %.0f", b.MAE, b.Labels, b.Before)
	if _, err := m.Registry.Approve(ctx, b.Model, m.Name, registry.Decision{By: "demo", Reason: reason}); err != nil {
		return err
	}
	p, err := d.quiet(slog.LevelError).Promote(ctx, app.PromoteOptions{File: d.file, Set: d.set, Model: b.Model, By: "demo", Reason: reason})
	if err != nil {
		return err
	}
	b.Live = true
	d.Show.Say("%s is approved and live, without a restart: gone over in %s", b.Model, (p.Ready + p.Switched).Round(time.Millisecond))
	return nil
}

// flow sends houses on and on, in their order, at the chosen rate.
type flow struct {
	mu     sync.Mutex
	sent   int64
	err    error
	cancel context.CancelFunc
	done   chan struct{}
}

func (d *demo) flow(ctx context.Context, producer *kafka.Producer, list []listing, check *checker) *flow {
	f := &flow{done: make(chan struct{})}
	ctx, f.cancel = context.WithCancel(ctx)
	go func() {
		defer close(f.done)
		start := time.Now()
		for n := 0; ; n++ {
			if sleepUntil(ctx, start.Add(time.Duration(n)*time.Second/time.Duration(d.Rate))) != nil {
				return
			}
			i := n % len(list)
			check.again(i)
			err := produce(context.WithoutCancel(ctx), producer, &list[i], check)
			f.mu.Lock()
			f.sent, f.err = f.sent+1, err
			f.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return f
}

// more waits until so many houses more are sent.
func (f *flow) more(ctx context.Context, n int64) error {
	sent := func() int64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.sent
	}
	target := sent() + n
	return until(ctx, func() bool {
		select {
		case <-f.done:
			return true
		default:
			return sent() >= target
		}
	})
}

// end stops it.
func (f *flow) end() error {
	f.cancel()
	<-f.done
	return f.err
}

// until waits until something is so.
func until(ctx context.Context, is func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// again notes that house i is sent once more.
func (c *checker) again(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list[i].times++
}

// mayBecome notes that predictions may be those of another model, which are due in the order of the houses.
func (c *checker) mayBecome(model string, predictions [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextModel, c.next = model, predictions
}

// ofNext returns how many predictions were of the other model.
func (c *checker) ofNext() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nexts
}

// due returns what is due for house i, by the model that its prediction names.
func (c *checker) due(i int, r *record.Raw) []byte {
	for _, h := range r.Headers {
		if h.Key == "millrace.model" && c.nextModel != "" && bytes.Equal(h.Value, []byte(c.nextModel)) && i < len(c.next) {
			c.nexts++
			return c.next[i]
		}
	}
	return c.list[i].want
}
