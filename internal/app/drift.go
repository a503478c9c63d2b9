package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/report"
	"millrace.dev/internal/source"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// DriftOptions say which windows to explain.
type DriftOptions struct {
	File  string   // the pipeline file
	Set   []string // overrides of it
	Model string   // as in [PredictOptions]; "" is the model of the last window in the topic, and with Data the champion
	Data  string   // records to predict and to count; "" is the topic of results
	Topic string   // of the results; "" is that of the pipeline file
	Every string   // with Data: the size of a window, a duration or a number of records; "" is checks.window.every, else all is one window
	Since string   // only windows that end after this: a date, a time, or a duration before the end of the last window; "" is all
	Last  int      // only so many windows, the last ones; 0 is 1000
	// Labels is data that has the labels of Data by key; "" is train.labels of the pipeline file, else Data. LabelsKey is the
	// field with the key; "" is train.labels.key.
	Labels, LabelsKey string
	MinRecords        int      // windows with fewer are not judged; 0 is checks.window.min_records, else 200
	Columns           []string // only these are compared; nil is checks.window.columns, else all
	HTML              string   // the file for a page with the distributions of the last window; "" is none, "-" Stdout
	Stdout            io.Writer
	Fail              bool // the error is of code Refused where a training is recommended
}

// defaultLast is how many windows are kept.
const defaultLast = 1000

// Drift says what has become of the records since a model was trained, and what to do. With Fail the report is there beside
// the error.
func (a *App) Drift(ctx context.Context, o DriftOptions) (*drift.Report, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	o.Last = cmp.Or(o.Last, defaultLast)
	d := &drifting{app: a, p: p, o: o}
	if d.since, err = parseSince(o.Since); err != nil {
		return nil, &Error{Code: Usage, Op: "drift", Where: "--since", Err: err, Hint: "a date such as 2014-05-31, a time such as 2014-05-31T12:00:00Z, or how long before the last window, such as 7d"}
	}
	if o.Data == "" {
		err = d.ofTopic(ctx)
	} else {
		err = d.ofData(ctx)
	}
	if err != nil {
		return nil, err
	}
	r, err := d.report(ctx)
	if r == nil || o.HTML == "" {
		return r, err
	}
	if failed := writePage(r, o.HTML, o.Stdout); failed != nil {
		return nil, failed
	}
	return r, err
}

// writePage writes a report as a page.
func writePage(r *drift.Report, path string, stdout io.Writer) error {
	out, err := create(path, stdout)
	if err != nil {
		return err
	}
	defer out.discard()
	training, window := r.Last()
	err = report.Diff(out, report.Side{Name: "training of " + r.Model, Profile: training}, report.Side{Name: "last window of " + r.Data, Profile: window}, r.Remarks(), r.Marked())
	if err != nil {
		return err
	}
	return commit(out)
}

// drifting collects what a report needs.
type drifting struct {
	app     *App
	p       *config.Pipeline
	o       DriftOptions
	since   sinceMark
	model   *model.Loaded
	windows []*WindowResult
	of      []*batch.WatchedWindow // with Data: what the windows were made of
	watch   *batch.WatchOptions
	watched *batch.Watched
	found   *batch.Effects // nil: not looked for
	lacking []string
	older   int
	other   int // windows of other models and pipelines
	strange int // records that are no results
	name    string
}

// sinceMark is where the windows begin that are looked at: a time, or a time before the last window.
type sinceMark struct {
	at     time.Time
	before time.Duration
}

func parseSince(s string) (m sinceMark, err error) {
	if s == "" {
		return m, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if m.at, err = time.Parse(layout, s); err == nil {
			return m, nil
		}
	}
	text := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			text = fmt.Sprintf("%dh", 24*n)
		}
	}
	if m.before, err = time.ParseDuration(text); err != nil || m.before <= 0 {
		return m, fmt.Errorf("%q is neither a time nor a duration", s)
	}
	return m, nil
}

// choose keeps the windows that are asked for.
func (d *drifting) choose() {
	at := d.since.at.UnixMilli()
	if d.since.before > 0 && len(d.windows) > 0 {
		at = endOf(d.windows[len(d.windows)-1]) - d.since.before.Milliseconds()
	}
	first := max(0, len(d.windows)-d.o.Last)
	if d.o.Since != "" {
		for first < len(d.windows) && endOf(d.windows[first]) <= at {
			first++
		}
	}
	d.older += first
	d.windows = d.windows[first:]
	if d.of != nil {
		d.of = d.of[first:]
	}
}

// endOf returns when a window was over: in event time, or else by the clock.
func endOf(w *WindowResult) int64 {
	if w.To != nil {
		return *w.To
	}
	return w.Judged
}

// ofTopic reads the results that run has written.
func (d *drifting) ofTopic(ctx context.Context) error {
	topic := d.o.Topic
	if topic == "" {
		if d.p.Checks.Window == nil {
			return &Error{
				Code: Usage, Op: "drift", Where: d.o.File, Err: errors.New("the pipeline has no checks.window, so run writes no results that could be explained"),
				Hint: "add checks.window: {every: 1h} and run it, or compare data with the model: millrace drift --data FILE",
			}
		}
		topic = d.p.Checks.Window.Topic
	}
	name := samplesRange(topic, "", "")
	client, err := d.app.clientFor(d.p, name)
	if err != nil {
		return err
	}
	defer closeClient(client)
	d.name = topic
	if err := d.readResults(ctx, name, client); err != nil {
		return fmt.Errorf("drift: %w", err)
	}
	if len(d.windows) == 0 && d.other > 0 {
		return &Error{
			Code: Nothing, Op: "drift", Where: topic, Err: fmt.Errorf("none of %d windows is of the pipeline %s", d.other, d.p.Name),
			Hint: "run writes a result when a window is over; a pipeline that had another name: --set name=NAME",
		}
	}
	if len(d.windows) == 0 {
		return &Error{
			Code: Nothing, Op: "drift", Where: topic, Err: errors.New("no window is over yet"),
			Hint: "run writes a result when a window is over; millrace drift --data FILE compares data with the model at once",
		}
	}
	last := d.windows[len(d.windows)-1]
	if d.o.Model != "" {
		d.model, err = d.app.LoadModel(ctx, d.p.Model, d.p.Name, d.o.Model)
	} else {
		d.model, err = d.app.modelOf(ctx, d.p, last.Digest, last.Model, topic)
	}
	if err != nil {
		return err
	}
	all := len(d.windows)
	d.windows = slices.DeleteFunc(d.windows, func(w *WindowResult) bool { return w.Digest != d.model.Digest })
	if d.other += all - len(d.windows); len(d.windows) == 0 {
		return &Error{Code: Nothing, Op: "drift", Where: topic, Err: fmt.Errorf("none of %d windows is of the model %s", all, d.model.Ref), Hint: "leave --model out: the model of the last window is taken then"}
	}
	d.choose()
	return nil
}

// readResults reads the topic of results, of which it keeps the last windows of the pipeline. It passes over what is no
// result, if there is any that is.
func (d *drifting) readResults(ctx context.Context, name string, client *kafka.Client) error {
	schema, err := record.NewSchema(record.Field{Name: "version", Type: record.Numeric}) // nothing is decoded by it
	if err != nil {
		return err
	}
	data, err := source.Open(ctx, name, source.Options{Schema: schema, MaxBytes: 64 << 20, Client: client})
	if err != nil {
		return err
	}
	r := data.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	b := record.NewBatch(schema, nil)
	var strange *source.DataError // the first that is no result
	for {
		more, err := r.Fill(b)
		if err == nil && !more && len(d.windows)+d.other == 0 && strange != nil {
			return strange
		}
		if err != nil || !more {
			return err
		}
		for i := range b.Len() {
			raw := b.Raw(i)
			w, err := decodeResult(raw.Value)
			if err != nil {
				d.strange++
				strange = cmp.Or(strange, &source.DataError{
					Path: fmt.Sprintf("%s/%d/%d", raw.Topic, raw.Partition, raw.Offset), Err: err, Unfit: true,
					Hint: "name the topic that millrace run writes the results of checks.window to: --topic NAME",
				})
				continue
			}
			if w.Pipeline != d.p.Name {
				d.other++
				continue
			}
			if d.windows = append(d.windows, w); len(d.windows) > 2*d.o.Last {
				n := copy(d.windows, d.windows[d.o.Last:])
				clear(d.windows[n:])
				d.windows = d.windows[:n]
				d.older += d.o.Last
			}
		}
	}
}

// modelOf loads the model of a digest from the registry.
func (a *App) modelOf(ctx context.Context, p *config.Pipeline, digest, name, where string) (*model.Loaded, error) {
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	versions, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	var found *registry.Version
	for i := range versions {
		if versions[i].Digest == digest && (found == nil || versions[i].Ref() == name) {
			found = &versions[i]
		}
	}
	if found == nil {
		return nil, &Error{
			Code: Usage, Op: "drift", Where: where, Err: fmt.Errorf("the registry %s has no model %s, which the last window calls %s", p.Model.Registry, digest, name),
			Hint: "name the registry that run has used, --set model.registry=DIR, or the model: --model NAME@VERSION",
		}
	}
	return load(ctx, reg, *found)
}

// ofData predicts data, and counts and judges its windows as run does.
func (d *drifting) ofData(ctx context.Context) error {
	a, p := d.app, d.p
	var err error
	d.model, err = a.LoadModel(ctx, p.Model, p.Name, cmp.Or(d.o.Model, "@champion"))
	if errors.Is(err, registry.ErrNotApproved) {
		return &Error{Code: Refused, Op: "drift", Err: err, Hint: "a model that nobody has approved yet can be compared with, too: --model @candidate"}
	}
	if err != nil {
		return err
	}
	if _, err := compileChecks("drift", p, d.model); err != nil {
		return err
	}
	checks, err := d.checks()
	if err != nil {
		return err
	}
	if d.o.Since != "" && checks.Every.Records > 0 {
		return &Error{
			Code: Usage, Op: "drift", Where: "--since", Err: errors.New("windows of so many records have no times"),
			Hint: "choose windows with --last, or make windows of time with --every 1d",
		}
	}
	labels := batch.Labels(p.Train.Labels)
	if d.o.Labels != "" {
		labels.Data = d.o.Labels
	}
	labels.Key = cmp.Or(d.o.LabelsKey, labels.Key)
	client, err := a.clientFor(p, append(tableData(p, d.model.Bundle.Plan), d.o.Data, labels.Data)...)
	if err != nil {
		return err
	}
	defer closeClient(client)
	rows, err := a.batchRows(ctx, p, d.model.Bundle.Plan, client)
	if err != nil {
		return fmt.Errorf("drift: %w", err)
	}
	d.name = d.o.Data
	d.watch = &batch.WatchOptions{
		Data: d.o.Data, Client: client, MaxBytes: p.Source.MaxRecordBytes, Rows: rows, Required: pipelineTables(p), Checks: pipelineChecks(p),
		Windows: watchOptions(checks, d.model), Labels: labels, Now: a.Now(),
	}
	j, err := newJudge(p, checks, d.model, d.watch.Windows.Reference)
	if err != nil {
		return err
	}
	if d.watched, err = batch.Watch(ctx, d.model.Bundle, *d.watch); err != nil {
		return d.fault(err)
	}
	for i := range d.watched.Windows {
		w := &d.watched.Windows[i]
		r, err := j.result(&w.Closed, watch.Totals{Untimed: d.watched.Untimed}, d.watch.Now)
		if err != nil {
			return err
		}
		d.windows, d.of = append(d.windows, r), append(d.of, w)
	}
	d.choose()
	return d.effects(ctx)
}

// fault says what to do about an error of counting.
func (d *drifting) fault(err error) error {
	if errors.Is(err, batch.ErrManyWindows) {
		return &Error{Code: Usage, Op: "drift", Where: d.o.Data, Err: err, Hint: "take larger ones: --every 1d"}
	}
	return fmt.Errorf("drift: %w", err)
}

// checks returns the window checks that data is held to: those of the file, or the defaults with all data as one window.
func (d *drifting) checks() (*config.WindowChecks, error) {
	c := &config.WindowChecks{
		Every: config.Every{Records: math.MaxInt}, MinRecords: 200, FalseAlarms: 0.01, NullsMax: -1, Drift: config.DriftCheck{Warn: math.Inf(1), Fail: math.Inf(1)},
		OnFail: config.OnFailAlert,
	}
	if d.p.Checks.Window != nil {
		own := *d.p.Checks.Window
		c = &own
	}
	if d.o.Every != "" {
		every, ok := config.ParseEvery(d.o.Every)
		if !ok {
			return nil, &Error{Code: Usage, Op: "drift", Where: "--every", Err: fmt.Errorf("%q is neither a duration from 1s to 400d nor a number of records", d.o.Every), Hint: "such as 1d, or 1000"}
		}
		c.Every = every
	}
	c.MinRecords = cmp.Or(d.o.MinRecords, c.MinRecords)
	if d.o.Columns != nil {
		for _, name := range d.o.Columns {
			if !slices.Contains(d.columnNames(), name) {
				return nil, &Error{
					Code: Usage, Op: "drift", Where: "--columns", Err: fmt.Errorf("the model %s has no column %q to compare", d.model.Ref, name),
					Hint: "its columns are " + strings.Join(d.columnNames(), ", "),
				}
			}
		}
		c.Columns = d.o.Columns
	}
	return c, nil
}

func (d *drifting) columnNames() []string {
	var names []string
	for i := range d.model.Bundle.Profile.Columns {
		if c := &d.model.Bundle.Profile.Columns[i]; c.Role != profile.Label {
			names = append(names, c.Name)
		}
	}
	return names
}
