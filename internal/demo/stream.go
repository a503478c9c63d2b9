package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/house"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// listing is a house for sale as it is streamed.
type listing struct {
	key, value []byte
	fault      house.Fault
	times      int    // that it is sent
	want       []byte // the prediction's bytes; nil where a dead letter is due
	price      float64
}

// stream sends the houses through the pipeline: first at the rate that was asked for, to measure how long a prediction
// takes, then as fast as possible, to measure how many there can be, and then the mock houses.
func (d *demo) stream(ctx context.Context, addr string) (*Result, error) {
	listings, err := d.listings(ctx)
	if err != nil {
		return nil, err
	}
	mocks, err := d.mocks(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{addr}})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	check, checked := newChecker(slices.Concat(listings, mocks)), &windows{}
	running := make(chan struct{})
	stopped := make(chan struct{})
	pipelineCtx, stopPipeline := context.WithCancel(ctx)
	var level slog.LevelVar // of what the pipeline says
	level.Set(slog.LevelWarn)
	go func() {
		defer close(stopped)
		_, err := d.quiet(&level).Run(pipelineCtx, app.RunOptions{File: d.file, Set: d.set, InstanceID: "demo", Started: func(*app.Running) { close(running) }})
		if err != nil {
			cancel(err)
		}
	}()
	defer func() {
		stopPipeline()
		<-stopped
	}()
	takes := check.takes()
	takes[checks] = checked.take
	taps := tap(ctx, client, cancel, takes)
	defer func() {
		cancel(nil)
		taps.Wait()
	}()
	select {
	case <-running:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{Topic: topic})
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	took, err := d.send(ctx, producer, listings, check)
	if err != nil {
		return nil, err
	}
	level.Set(slog.LevelError) // of windows that fail the demo itself tells
	said, err := d.mock(ctx, producer, mocks, check, checked)
	if err != nil {
		return nil, err
	}
	better, err := d.better(ctx, client, producer, listings, check)
	if err != nil {
		return nil, err
	}
	r := check.result(listings)
	r.Better = *better
	r.RecordsPerSecond = float64(d.passes*len(listings)) / took.Seconds()
	if !math.IsNaN(d.ceiling) {
		r.Ceiling = &d.ceiling
	}
	r.Checks = *said
	return r, nil
}

// tap reads topics until ctx ends, each for the function that takes its records; a failure ends ctx with cancel.
func tap(ctx context.Context, client *kafka.Client, cancel context.CancelCauseFunc, takes map[string]func([]record.Raw) error) *sync.WaitGroup {
	var wg sync.WaitGroup
	for name, take := range takes {
		wg.Go(func() {
			if err := client.Tap(ctx, kafka.TapConfig{Topic: name, From: kafka.FromStart, Follow: true}, take); err != nil {
				cancel(err)
			}
		})
	}
	return &wg
}

// listings makes the records to stream, some of them broken.
func (d *demo) listings(ctx context.Context) ([]listing, error) {
	d.Show.Step("stream")
	breaker, err := house.NewBreaker(d.Seed, brokenShare)
	if err != nil {
		return nil, err
	}
	list := make([]listing, len(d.sales))
	for i := range d.sales {
		s, l := &d.sales[i], &list[i]
		s.ID = int64(i)
		l.fault, l.price, l.times = breaker.Fault(int64(i)), s.Price, 1+d.passes
		l.key, l.value = s.AppendKey(nil), l.fault.Break(s.AppendListing(nil))
	}
	p, err := d.predict(ctx, list, app.PredictOptions{Data: d.path("listings.jsonl"), Out: d.path("predicted.jsonl"), Rejects: d.path("rejected.jsonl")})
	if err != nil {
		return nil, err
	}
	d.Show.Say("predicted %s from the file first:", d.path("listings.jsonl"))
	d.Show.Say("%v predictions, %v rejected; %v null values, which a file cannot hold", p.Predictions, p.Rejected, len(list)-p.Records)
	return list, nil
}

// predict writes records to the file of data that o names and predicts that file: what comes out of the stream has to be
// the same.
func (d *demo) predict(ctx context.Context, list []listing, o app.PredictOptions) (*app.Predicted, error) {
	var file bytes.Buffer
	for i := range list {
		if v := list[i].value; v != nil { // a file of lines has no null
			file.Write(v)
			file.WriteByte('\n')
		}
	}
	if err := os.WriteFile(o.Data, file.Bytes(), 0o644); err != nil {
		return nil, err
	}
	o.File, o.Set, o.Model = d.file, d.set, "@champion"
	p, err := d.App.Predict(ctx, o)
	if err != nil {
		return nil, err
	}
	return p, expect(list, o.Out)
}

// expect reads what predicting a file gave into the listings.
func expect(list []listing, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for i := range list {
		if list[i].fault.Class() != "" {
			continue
		}
		if !lines.Scan() {
			return fmt.Errorf("%s ends before house %d: %w", f.Name(), i, errors.Join(lines.Err(), os.ErrNotExist))
		}
		list[i].want = bytes.Clone(lines.Bytes())
	}
	if lines.Scan() {
		return fmt.Errorf("%s has more predictions than there are houses to predict", f.Name())
	}
	return lines.Err()
}

// send writes the records to the topic and follows what becomes of them. It returns how long it took to have them answered
// that were sent as fast as possible.
func (d *demo) send(ctx context.Context, producer *kafka.Producer, list []listing, check *checker) (took time.Duration, err error) {
	live, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		d.live(live, check)
	}()
	defer func() {
		stop()
		<-shown
	}()
	d.Show.Say("streaming %v houses at %v a second, %.0f%% of them broken", len(list), d.Rate, 100*brokenShare)
	start := time.Now()
	for i := range list {
		if err := sleepUntil(ctx, start.Add(time.Duration(i)*time.Second/time.Duration(d.Rate))); err != nil {
			return 0, context.Cause(ctx)
		}
		if err := produce(ctx, producer, &list[i], check); err != nil {
			return 0, err
		}
	}
	if err := finish(ctx, producer, check); err != nil {
		return 0, err
	}
	check.pauseLatency()
	d.Show.Say("and all of them %v times more, as fast as possible", d.passes)
	burst := time.Now()
	for range d.passes {
		for i := range list {
			if err := produce(ctx, producer, &list[i], check); err != nil {
				return 0, err
			}
		}
	}
	if err := finish(ctx, producer, check); err != nil {
		return 0, err
	}
	return check.lastResult().Sub(burst), nil
}

func produce(ctx context.Context, p *kafka.Producer, l *listing, check *checker) error {
	check.sent.Add(1)
	err := p.Send(ctx, &record.Raw{Key: l.key, Value: l.value, Timestamp: -1})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// finish waits until everything that was sent is answered by a prediction or a dead letter, or nothing has come for
// a long time: then what is missing is reported as a mismatch.
func finish(ctx context.Context, p *kafka.Producer, check *checker) error {
	if err := p.Flush(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for check.answered() < check.sent.Load() {
		last := check.lastResult()
		if last.Before(began) {
			last = began
		}
		if time.Since(last) > verifyAfter {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// live shows how the stream goes, once a second.
func (d *demo) live(ctx context.Context, check *checker) {
	start, before := time.Now(), int64(0)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := start
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			l := check.live()
			l.Elapsed = now.Sub(start)
			l.PerSecond = float64(l.Predictions+l.Letters-before) / now.Sub(last).Seconds()
			before, last = l.Predictions+l.Letters, now
			d.Show.Live(l)
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d < time.Millisecond {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// predicted is the field of an output that the demo looks at.
type predicted struct {
	Price float64 `json:"predicted_price"`
}

func priceOf(output []byte) (float64, error) {
	var p predicted
	err := json.Unmarshal(output, &p)
	return p.Price, err
}
