package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/stat"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// Tested are the rows of the test part of a training, by their numbers, ascending.
type Tested struct {
	Rows                []int64 // counted from 0
	Labels, Predictions []float64
}

// ContestOptions say which two models are compared, and on what.
type ContestOptions struct {
	Candidate *model.Bundle // that the training has made
	Tested    Tested        // of that training
	Champion  *model.Bundle
	Data      string                // of the training, as [source.Open] names it: the same records
	Client    *kafka.Client         // for data in topics. Default: none
	Rows      map[string]table.Rows // of the tables of the champion, by name, with their history
	Required  []pipeline.Table
	MaxBytes  int  // of a record. Default: 1 MiB
	Squared   bool // compare by the squared error, so by RMSE; else by the absolute error, so by MAE
	// WorseBy is the share by which the candidate's metric may be above the champion's.
	WorseBy float64
	// Confidence is that of a one-sided test, from 0.5 to below 1.
	Confidence float64
}

// Contest says how a candidate and the champion compare on the same rows.
type Contest struct {
	Rows     int // that both have a prediction for
	Unscored int // test rows of the candidate that the champion rejects
	// Candidate and Champion are RMSE or MAE of the two, over Rows.
	Candidate, Champion float64
	// Difference is the mean over the rows of the candidate's loss less what it may be; Low and High bound its confidence
	// interval, which lies above 0 as a whole exactly if the candidate is worse. Losses are squared or absolute errors.
	Difference, Low, High float64
	// Level is the coverage of that interval, 2·Confidence - 1.
	Level float64
	// P is how probable such a difference would be, or a larger one, if the candidate were as much worse as it may be.
	P     float64
	Worse bool // P is below 1 - Confidence
	// Known is how many of the rows the champion was trained on, or was stopped by; negative: that is not known, since it was
	// trained on other data.
	Known int
}

// ErrNoContest is matched by errors for a champion that cannot be compared with, whatever the rows.
var ErrNoContest = errors.New("the champion cannot be compared with")

// contestField takes the predictions, which nobody reads. No record has a field of this name.
const contestField = "millrace.contest\x00"

// Compete has the champion predict the test rows of a candidate, as a stream would, and compares the errors of the two row by
// row: by Student's test of the paired differences, one-sided. That the champion may have been trained on some of the rows is in
// its favour. An error that matches [ErrNoContest] says why the two cannot be compared.
func Compete(ctx context.Context, o ContestOptions) (*Contest, error) {
	if o.Champion.Manifest.Label != o.Candidate.Manifest.Label {
		return nil, fmt.Errorf("%w: it predicts %s", ErrNoContest, o.Champion.Manifest.Label)
	}
	r, err := newReplay(ctx, o.Champion, replayed{
		data: o.Data, client: o.Client, field: contestField, maxBytes: o.MaxBytes, rows: o.Rows, required: o.Required,
	})
	if e, ok := errors.AsType[*source.DataError](err); ok || errors.Is(err, pipeline.ErrGolden) {
		if ok {
			err = e.Err
		}
		return nil, fmt.Errorf("%w: its path cannot read the data: %w", ErrNoContest, err)
	}
	if err != nil {
		return nil, err
	}
	if absent := absentColumns(r.data.Columns(), o.Champion); len(absent) > 0 {
		return nil, fmt.Errorf("%w: its inputs need columns that the data does not have: %s", ErrNoContest, strings.Join(absent, ", "))
	}
	c := &Contest{Known: -1, Level: math.Round((2*o.Confidence-1)*1e9) / 1e9}
	p := pairing{o: &o, c: c}
	if err := r.each(ctx, nil, func(b *record.Batch, first int64, _ [][]float64) error { p.add(r.worker, b, first); return nil }); err != nil {
		return nil, err
	}
	if r.digest != o.Candidate.Lineage.DataDigest {
		return nil, &source.DataError{Path: o.Data, Err: source.ErrChanged, Hint: "train again when nothing writes to it"}
	}
	if err := p.blind(r.worker); err != nil {
		return nil, err
	}
	if c.Rows < 2 {
		return nil, fmt.Errorf("%w: it has a prediction for %d of the %d test rows", ErrNoContest, c.Rows, len(o.Tested.Rows))
	}
	if p.judge(); p.beyond || !finite(c.Candidate, c.Champion, c.Difference, c.Low, c.High) {
		return nil, fmt.Errorf("%w: the errors of the two are too large to be squared or added", ErrNoContest)
	}
	return c, nil
}

func finite(numbers ...float64) bool {
	return !slices.ContainsFunc(numbers, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

// absentColumns returns the columns that the inputs of a model need and data with columns does not have. It would predict with
// gaps, and lose for it.
func absentColumns(columns []string, b *model.Bundle) []string {
	return slices.DeleteFunc(slices.Clone(b.Plan.Used()), func(name string) bool { return columns == nil || slices.Contains(columns, name) })
}

// blind returns an error for a champion of which an input is missing in every row, though it was not in training.
func (p *pairing) blind(w *pipeline.Worker) error {
	for i, n := range w.Counts() {
		in := p.o.Champion.Inputs[i].Name
		was, ok := p.o.Champion.Profile.Column(in)
		if p.predicted > 0 && n.Missing >= p.predicted && ok && was.Missing < was.Rows {
			return fmt.Errorf("%w: its input %q is missing in every row", ErrNoContest, in)
		}
	}
	return nil
}

// pairing collects the differences of a contest.
type pairing struct {
	o           *ContestOptions
	c           *Contest
	at          int       // of the next test row
	predicted   uint64    // rows of any part
	differences []float64 // in the order of the rows
	mine, its   stat.Sum  // losses
	beyond      bool      // one of them is beyond the range of float64: a sum would leave it out
}

// add compares the test rows among the records of a batch.
func (p *pairing) add(w *pipeline.Worker, b *record.Batch, first int64) {
	t := &p.o.Tested
	p.predicted += uint64(b.Len() - b.Rejected())
	for ; p.at < len(t.Rows) && t.Rows[p.at] < first+int64(b.Len()); p.at++ {
		i := int(t.Rows[p.at] - first)
		if b.Problem(i) != nil {
			p.c.Unscored++
			continue
		}
		mine, its, may := t.Predictions[p.at]-t.Labels[p.at], w.Prediction(i)-t.Labels[p.at], 1+p.o.WorseBy
		if p.o.Squared {
			mine, its, may = float64(mine*mine), float64(its*its), float64(may*may)
		} else {
			mine, its = math.Abs(mine), math.Abs(its)
		}
		difference := mine - float64(may*its)
		p.mine.Add(mine)
		p.its.Add(its)
		p.beyond = p.beyond || !finite(mine, its, difference)
		p.differences = append(p.differences, difference)
		p.c.Rows++
		p.know(t.Rows[p.at])
	}
}

// know counts a row that the champion knows.
func (p *pairing) know(row int64) {
	its := &p.o.Champion.Lineage
	if its.DataDigest != p.o.Candidate.Lineage.DataDigest {
		return
	}
	p.c.Known = max(p.c.Known, 0)
	s := Split{Train: its.Split.Train, Validation: its.Split.Validation, Test: its.Split.Test, Seed: its.Split.Seed}
	if s.Part(row) != Test {
		p.c.Known++
	}
}

// judge tests whether the mean difference is above 0.
func (p *pairing) judge() {
	c, n := p.c, float64(p.c.Rows)
	c.Candidate, c.Champion = p.mine.Float64()/n, p.its.Float64()/n
	if p.o.Squared {
		c.Candidate, c.Champion = math.Sqrt(c.Candidate), math.Sqrt(c.Champion)
	}
	var sum, squares stat.Sum
	sum.AddSlice(p.differences)
	c.Difference = sum.Float64() / n
	for _, d := range p.differences {
		squares.Add(float64((d - c.Difference) * (d - c.Difference)))
	}
	deviation := math.Sqrt(squares.Float64() / (n - 1) / n) // of the mean
	switch {
	case deviation > 0:
		c.P = stat.StudentTail(c.Difference/deviation, float64(c.Rows-1))
	case c.Difference > 0: // the same in every row
		c.P = 0
	default:
		c.P = 1
	}
	width := 0.0
	if p.o.Confidence > 0.5 {
		width = float64(deviation * stat.StudentQuantile(1-p.o.Confidence, float64(c.Rows-1)))
	}
	c.Low, c.High = c.Difference-width, c.Difference+width
	c.Worse = c.P < 1-p.o.Confidence
}

// tested returns the rows of the test part, whose numbers were kept.
func (s *set) tested(predictions []float64) Tested {
	return Tested{Rows: s.rows, Labels: slices.Clone(s.label), Predictions: predictions}
}
