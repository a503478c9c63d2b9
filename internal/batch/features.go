package batch

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"millrace.dev/codec"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// FeaturesOptions say which records' inputs to write.
type FeaturesOptions struct {
	Data     string        // the records, as [source.Open] names them
	Labels   Labels        // where the label is. Default: in the records
	Client   *kafka.Client // for data in topics. Default: none
	Out      io.Writer     // gets rows of CSV, the first with the names
	MaxBytes int           // of a record. Default: 1 MiB
	// Rows are those of the tables of the model, by name, with their history; Required are the tables in which a record has
	// to have a row.
	Rows     map[string]table.Rows
	Required []pipeline.Table
	Checks   []pipeline.Check // records that break one that rejects or fails are left out
}

// Features sums up what [WriteFeatures] did.
type Features struct {
	Records   int            `json:"records"`
	Rows      int            `json:"rows"`      // that were written
	Rejected  int            `json:"rejected"`  // records that a stream would reject
	Unlabeled int            `json:"unlabeled"` // rows whose label is an empty cell: the record has none, or training would leave it out
	Classes   map[string]int `json:"classes"`   // of the rejected records, by the class of their problem
	Inputs    []string       `json:"inputs"`
	Label     string         `json:"label,omitempty"`    // "" where the data has none
	NoLabel   string         `json:"no_label,omitempty"` // why it has none
}

// The columns beside the inputs and the label.
const (
	featuresRow  = "millrace.row"  // the record's number in the data, from 0
	featuresPart = "millrace.part" // of the training's split
)

// WriteFeatures writes what a model is given of each record, computed by the path that a stream runs through, so that a model of
// another kind can be trained on just that: a column for each input, then the label, if the data has it, the part that the
// training had the record in, and its number. A missing value is an empty cell, and so is the label of a record that training would
// leave out. Records that a stream would reject are left out.
func WriteFeatures(ctx context.Context, b *model.Bundle, o FeaturesOptions) (*Features, error) {
	r, err := newReplay(ctx, b, replayed{
		data: o.Data, client: o.Client, field: contestField, maxBytes: o.MaxBytes, rows: o.Rows, required: o.Required, checks: withoutFail(o.Checks),
	})
	if err != nil {
		return nil, err
	}
	w := &featureWriter{replay: r, out: csv.NewWriter(o.Out), sum: &Features{Classes: map[string]int{}}}
	split := b.Lineage.Split
	w.split = Split{Train: split.Train, Validation: split.Validation, Test: split.Test, Seed: split.Seed}
	w.labels, w.sum.NoLabel, err = newLabeller(ctx, b, b.Schema, r.data, labelling{data: o.Data, client: o.Client, maxBytes: o.MaxBytes, from: o.Labels})
	if err != nil {
		return nil, err
	}
	for _, in := range b.Inputs {
		w.sum.Inputs = append(w.sum.Inputs, in.Name)
	}
	names := slices.Clone(w.sum.Inputs)
	if w.labels != nil {
		w.sum.Label = b.Manifest.Label
		names = append(names, w.sum.Label)
	}
	if err := w.out.Write(append(names, featuresPart, featuresRow)); err != nil {
		return nil, fmt.Errorf("write features: %w", err)
	}
	err = r.each(ctx, nil, func(b *record.Batch, first int64, _ [][]float64) error { return w.write(b, first) })
	if w.out.Flush(); err == nil {
		err = w.out.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("write features: %w", err)
	}
	return w.sum, nil
}

type featureWriter struct {
	*replay

	out    *csv.Writer
	labels *labeller // nil: there are none
	split  Split
	label  []float64 // of the batch
	sum    *Features
	cells  []string
}

func (w *featureWriter) write(b *record.Batch, first int64) error {
	w.label = slices.Grow(w.label[:0], b.Len())[:b.Len()]
	for i := range w.label {
		w.label[i] = math.NaN()
	}
	if w.labels != nil {
		w.labels.add(b, func(i int, label float64) { w.label[i] = label })
	}
	frame := w.worker.Frame()
	for i := range b.Len() {
		w.sum.Records++
		if p := b.Problem(i); p != nil && p.Stage != record.StageScore { // the forest's prediction is not written
			w.sum.Rejected++
			w.sum.Classes[p.Class]++
			continue
		}
		w.cells = w.cells[:0]
		for j := range frame.Columns {
			w.cells = append(w.cells, cell(&frame.Columns[j], i))
		}
		if w.labels != nil {
			if math.IsNaN(w.label[i]) {
				w.sum.Unlabeled++
			}
			w.cells = append(w.cells, decimal(w.label[i]))
		}
		row := first + int64(i)
		w.cells = append(w.cells, w.split.Part(row).String(), strconv.FormatInt(row, 10))
		w.sum.Rows++
		if err := w.out.Write(w.cells); err != nil {
			return err
		}
	}
	return nil
}

// cell returns a value of an input as CSV has it.
func cell(c *record.Column, row int) string {
	switch {
	case c.Type != record.Numeric && (c.Codes[row] < 0 || int(c.Codes[row]) >= len(c.Levels)):
		return ""
	case c.Type != record.Numeric:
		return c.Levels[c.Codes[row]]
	default:
		return decimal(c.Numbers[row])
	}
}

// decimal returns a number as CSV has it, and NaN as an empty cell.
func decimal(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return string(codec.AppendFloat(nil, v))
}
