package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/drift"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// decodeResult reads the value of a record of the topic of results.
func decodeResult(value []byte) (*WindowResult, error) {
	w := &WindowResult{}
	if err := json.Unmarshal(value, w); err != nil || w.Version != 1 || w.Verdict == nil || w.Digest == "" {
		return nil, errors.New("the record is not the result of a window")
	}
	if err := (&profile.Profile{Columns: w.Columns}).Validate(); err != nil {
		return nil, fmt.Errorf("the record is not the result of a window: %w", err)
	}
	return w, nil
}

// mostEffects is for how many columns predictions are made again: each takes about as long as predicting them once.
const mostEffects = 12

// input returns what the report is made of.
func (d *drifting) input() *drift.Input {
	b := d.model.Bundle
	in := &drift.Input{Reference: b.Profile, Inputs: b.Inputs, Uses: b.Plan.Uses(), Test: b.Metrics.Test}
	for i := range b.Schema.Len() {
		if f := b.Schema.Field(i); f.Type == record.Time {
			in.Times = append(in.Times, f.Name)
		}
	}
	for i, w := range d.windows {
		window := drift.Window{From: w.From, To: w.To, Rows: w.Rows, Result: w.Result, Findings: w.Findings, Columns: w.Columns}
		if d.of != nil {
			window.Errors = d.of[i].Errors
			in.Labelled = in.Labelled || window.Errors.Rows > 0
		}
		in.Windows = append(in.Windows, window)
	}
	return in
}

// effects finds out what the moved columns do to the predictions of the last window.
func (d *drifting) effects(ctx context.Context) error {
	in := d.input()
	r, err := drift.Analyze(in)
	if err != nil {
		return nil //nolint:nilerr // there is nothing to be explained, which report says
	}
	last := -1
	for i := range d.windows {
		if d.windows[i].Result != resultSkipped {
			last = i
		}
	}
	var columns []string
	for i := range r.Moved {
		if m := &r.Moved[i]; m.Reach > 0 && len(m.Causes) == 0 && (m.Kind == profile.Number || m.Kind == profile.Level) {
			columns = append(columns, m.Column)
		}
	}
	if len(columns) > mostEffects {
		d.lacking = append(d.lacking, fmt.Sprintf("what the columns beyond the first %d do to predictions", mostEffects))
		columns = columns[:mostEffects]
	}
	if len(columns) == 0 {
		return nil
	}
	if d.found, err = batch.FindEffects(ctx, d.model.Bundle, *d.watch, d.of[last], columns); err != nil {
		return d.fault(err)
	}
	return nil
}

// report says what there is to say.
func (d *drifting) report(ctx context.Context) (*drift.Report, error) {
	in := d.input()
	if d.found != nil {
		in.Unseen = d.found.Unseen
	}
	r, err := drift.Analyze(in)
	if errors.Is(err, drift.ErrNothing) {
		return nil, d.nothing()
	}
	if err != nil {
		return nil, &Error{Code: Refused, Op: "drift", Where: d.name, Err: err, Hint: "compare with the model that the windows are of: leave --model out"}
	}
	b := d.model.Bundle
	r.Pipeline, r.Model, r.Digest, r.Data, r.Unit = d.p.Name, d.model.Ref, d.model.Digest, d.name, b.Manifest.LabelUnit
	r.Windows.Older, r.Windows.Other = d.older, d.other
	if d.found != nil {
		r.Together = d.found.Together
		for i := range r.Moved {
			r.Moved[i].Effect = d.found.By[r.Moved[i].Column]
		}
	}
	d.remarks(r, in)
	r.Conclude()
	if d.o.Fail && r.Action == drift.Retrain {
		return r, &Error{Code: Refused, Op: "drift", Where: d.name, Err: errors.New("a training is recommended"), Hint: "millrace train" + fileOption(d.o.File)}
	}
	return r, ctx.Err()
}

// fileOption names the pipeline file in a command, where it is not the default.
func fileOption(file string) string {
	if file == defaultPipeline {
		return ""
	}
	return " " + file
}

// remarks adds what is to be known of the data, and what was not computed.
func (d *drifting) remarks(r *drift.Report, in *drift.Input) {
	r.Lacking = d.lacking
	if d.strange > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("Left out of the topic, since they are no results of windows: %d.", d.strange))
	}
	if d.watched == nil {
		if len(r.Moved) > 0 {
			r.Lacking = append(r.Lacking, "what each column does to predictions: the results of windows have no records; --data has them")
		}
		r.Lacking = append(r.Lacking, "the error of the predictions: the results of windows have no labels; --data with labels, or --labels, has them")
		return
	}
	w := d.watched
	if w.Rejected > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d of %d records have no prediction and are in no window: millrace predict --rejects FILE says why.", w.Rejected, w.Records))
	}
	if w.Untimed > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d records have no event time, or one more than a day ahead, and are in no window.", w.Untimed))
	}
	if w.Digest != "" && w.Digest == d.model.Bundle.Lineage.DataDigest {
		r.Notes = append(r.Notes, "This is the data that the model was trained on: its errors there are smaller than elsewhere.")
	}
	switch {
	case w.Unlabelled != "":
		r.Lacking = append(r.Lacking, "the error of the predictions: "+w.Unlabelled)
	case !in.Labelled:
		r.Lacking = append(r.Lacking, "the error of the predictions: no record has the label, "+d.model.Bundle.Manifest.Label)
	}
	if names := d.aggregated(r); len(names) > 0 {
		r.Lacking = append(r.Lacking, fmt.Sprintf("what moved fields do through aggregates of windows (%s): these stay as they are where a field is put back", strings.Join(names, ", ")))
	}
}

// aggregated returns the windows that aggregate a field that has moved.
func (d *drifting) aggregated(r *drift.Report) []string {
	var names []string
	for _, u := range d.model.Bundle.Plan.Uses() {
		for i := range r.Moved {
			m := &r.Moved[i]
			if m.Role == profile.Field && slices.Contains(u.Fields, m.Column) {
				names = append(names, u.Windows...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nothing says why there is nothing to say.
func (d *drifting) nothing() error {
	e := &Error{Code: Nothing, Op: "drift", Where: d.name}
	switch {
	case len(d.windows) == 0 && d.older > 0:
		e.Err, e.Hint = fmt.Errorf("no window ends after %s: %d do before", d.o.Since, d.older), "leave --since out"
	case len(d.windows) == 0 && d.watched != nil && d.watched.Untimed > 0:
		e.Err = fmt.Errorf("none of %d records has an event time that could be believed", d.watched.Records)
		e.Hint = "take windows of so many records, --every 1000, or name the time field in source.event_time and train again"
	case len(d.windows) == 0:
		e.Err, e.Hint = errors.New("no record has a prediction"), "millrace predict --rejects FILE says why"
	default:
		e.Err = fmt.Errorf("none of %d windows has enough records to be judged: the largest has %d", len(d.windows), d.largest())
		if len(d.windows) == 1 {
			e.Err = fmt.Errorf("the only window has too few records to be judged: %d", d.largest())
		}
		switch {
		case d.o.Data != "":
			e.Hint = "take larger windows, --every, or judge smaller ones, --min-records"
		case d.older > 0:
			e.Hint = "look at more of them: leave --last and --since out"
		default:
			e.Hint = "make checks.window.every larger, or checks.window.min_records smaller; --data judges any data anew"
		}
	}
	return e
}

func (d *drifting) largest() uint64 {
	most := uint64(0)
	for _, w := range d.windows {
		most = max(most, w.Rows)
	}
	return most
}
