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

	"millrace.dev/internal/backtest"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/report"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
)

// MostTried is how many models a backtest compares.
const MostTried = 3

// BacktestOptions say which models to try on which records of the past.
type BacktestOptions struct {
	File   string   // the pipeline file
	Set    []string // overrides of it
	Models []string // as [App.LoadModel] takes them, one to [MostTried]; the others are compared with the first
	Topic  string   // the records; "" is that of the pipeline file, if Data is "" too
	Data   string   // a file, a pattern of files, or topic://NAME?from=A&to=B
	// From and To bound the records: a date, a time, offset:N, or a duration such as 7d before the end. In a topic times are those
	// of messages and the end is now; in files they are event times, the end is the latest of them, and N is the number
	// of a record. From is in the range, To is not. "" is the earliest and the latest record.
	From, To string
	Every    string // the size of a period: a duration of event time, or a number of records; "" is 1d
	// Labels is data that has the labels by key; "" is train.labels of the pipeline file, else the records themselves. LabelsKey
	// is the field with the key; "" is train.labels.key.
	Labels, LabelsKey string
	FailAbove         []string // bounds such as rmse=150000: the error is of code Refused where the total of a model is above one
	CSV, HTML         string   // the files for the periods, and for a page; "" is none, "-" Stdout
	Stdout            io.Writer
}

// Backtest replays records of the past through models, and says how right they would have been over time. Models need not be
// approved. With FailAbove the report is there beside the error.
func (a *App) Backtest(ctx context.Context, o BacktestOptions) (*backtest.Report, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	bounds, err := parseBounds(o.FailAbove)
	if err != nil {
		return nil, err
	}
	if err := distinct(named{"--csv", o.CSV}, named{"--html", o.HTML}, named{"--data", o.Data}); err != nil {
		return nil, &Error{Code: Usage, Op: "backtest", Err: err}
	}
	every, ok := config.ParseEvery(cmp.Or(o.Every, "1d"))
	if !ok {
		return nil, &Error{Code: Usage, Op: "backtest", Where: "--every", Err: fmt.Errorf("%q is neither a duration from 1s to 400d nor a number of records", o.Every), Hint: "such as 1d, or 1000"}
	}
	bo := batch.BacktestOptions{
		MaxBytes: p.Source.MaxRecordBytes, Required: pipelineTables(p), Checks: pipelineChecks(p), Labels: batch.Labels(p.Train.Labels),
		Every: watch.Every{Time: every.Time, Records: uint64(every.Records)}, Now: a.Now(), //nolint:gosec // no negative number
	}
	bo.Labels.Data, bo.Labels.Key = cmp.Or(o.Labels, bo.Labels.Data), cmp.Or(o.LabelsKey, bo.Labels.Key)
	if bo.Data, bo.Range, err = backtested(p, &o, a.Now()); err != nil {
		return nil, err
	}
	r, err := a.backtest(ctx, p, &o, bo)
	if err != nil {
		return nil, err
	}
	r.Pipeline, r.Every = p.Name, cmp.Or(o.Every, "1d")
	if err := writeBacktest(r, &o); err != nil {
		return nil, err
	}
	return r, exceeded(r, bounds)
}

// backtest loads the models and tries them.
func (a *App) backtest(ctx context.Context, p *config.Pipeline, o *BacktestOptions, bo batch.BacktestOptions) (*backtest.Report, error) {
	var models []backtest.Model
	var loaded []*model.Loaded
	names := []string{bo.Data, bo.Labels.Data}
	for _, ref := range o.Models {
		m, err := a.LoadModel(ctx, p.Model, p.Name, ref)
		if errors.Is(err, registry.ErrNotApproved) {
			return nil, &Error{Code: Refused, Op: "backtest", Err: err, Hint: "a model that nobody has approved yet can be tried, too: @candidate, or NAME@VERSION"}
		}
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(loaded, func(l *model.Loaded) bool { return l.Digest == m.Digest }) {
			return nil, &Error{Code: Usage, Op: "backtest", Where: ref, Err: errors.New("it is the same model as one before it"), Hint: "millrace model list shows which there are"}
		}
		if _, err := compileChecks("backtest", p, m); err != nil {
			return nil, err
		}
		models, loaded = append(models, backtest.Model{Ref: m.Ref, Digest: m.Digest}), append(loaded, m)
		names = append(names, tableData(p, m.Bundle.Plan)...)
	}
	client, err := a.clientFor(p, append(names, tableTopics(p)...)...)
	if err != nil {
		return nil, err
	}
	defer closeClient(client)
	bo.Client = client
	for _, m := range loaded {
		rows, err := a.backtestRows(ctx, p, m, bo.Data, client)
		if err != nil {
			return nil, fmt.Errorf("backtest: %w", err)
		}
		bo.Models = append(bo.Models, batch.Tried{Bundle: m.Bundle, Rows: rows})
	}
	r, err := batch.Backtest(ctx, bo)
	if errors.Is(err, backtest.ErrManyPeriods) {
		return nil, &Error{Code: Usage, Op: "backtest", Where: bo.Data, Err: err, Hint: "take larger ones: --every 30d"}
	}
	if errors.Is(err, batch.ErrUnlike) {
		return nil, &Error{Code: Usage, Op: "backtest", Err: err, Hint: "try them one by one"}
	}
	if err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	if r.Total.Records == 0 {
		return nil, nothingThere(r, o, bo.Data)
	}
	r.Models = models
	r.Notes = append(r.Notes, historyNotes(p, loaded, r.Untimed != nil)...)
	return r, nil
}

// nothingThere is the error of a range without records.
func nothingThere(r *backtest.Report, o *BacktestOptions, data string) error {
	hint := "there are none yet"
	if o.From != "" || o.To != "" || strings.Contains(data, "?") {
		hint = "choose another range, --from and --to"
	}
	return &Error{Code: Nothing, Op: "backtest", Where: cmp.Or(r.Data, data), Err: errors.New("the range has no records"), Hint: hint}
}

// tableTopics returns the names of the topics of all tables.
func tableTopics(p *config.Pipeline) []string {
	var names []string
	for i := range p.Tables {
		if p.Tables[i].Topic != "" {
			names = append(names, source.TopicScheme+p.Tables[i].Topic)
		}
	}
	return names
}

// backtestRows reads the tables of a model with their history: for the records of a topic what run reads, for files what
// predict reads.
func (a *App) backtestRows(ctx context.Context, p *config.Pipeline, m *model.Loaded, data string, client *kafka.Client) (map[string]table.Rows, error) {
	if source.IsTopic(data) {
		return a.historyRows(ctx, p, m.Bundle.Plan, client)
	}
	return a.batchRows(ctx, p, m.Bundle.Plan, client)
}

// historyNotes says which rows are not those of the time of a record, for nothing says which these were: of tables without a
// history, and of records without a time.
func historyNotes(p *config.Pipeline, models []*model.Loaded, untimed bool) []string {
	var notes []string
	if untimed && slices.ContainsFunc(models, func(m *model.Loaded) bool { return len(m.Bundle.Plan.Tables()) > 0 }) {
		notes = append(notes, "a record without an event time finds the latest row of a table, as in run; here that is the latest of now")
	}
	for i := range p.Tables {
		t := &p.Tables[i]
		used := slices.ContainsFunc(models, func(m *model.Loaded) bool {
			for _, of := range m.Bundle.Plan.Tables() {
				if of.Name == t.Name {
					return true
				}
			}
			return false
		})
		if used && t.History == 0 {
			notes = append(notes, fmt.Sprintf("the table %s keeps no history (tables.%s.history is 0): its rows are those of now, which may say what nobody knew then", t.Name, t.Name))
		}
	}
	return notes
}

// backtested returns the name of the data, and of files the range of it.
func backtested(p *config.Pipeline, o *BacktestOptions, now time.Time) (data string, r batch.Range, err error) {
	data = o.Data
	if data == "" {
		data = source.TopicScheme + cmp.Or(o.Topic, p.Source.Topic)
	}
	if !source.IsTopic(data) {
		r.From, err = fileEnd("--from", o.From)
		if err == nil {
			r.To, err = fileEnd("--to", o.To)
		}
		if err == nil && (r.From.Record != nil) != (r.To.Record != nil) && r.From.Set && r.To.Set {
			err = &Error{Code: Usage, Op: "backtest", Where: "--to", Err: errors.New("one end is the number of a record, and the other a time"), Hint: "give both as times, or both as offset:N"}
		}
		if err == nil && backwards(r) {
			err = &Error{Code: Usage, Op: "backtest", Where: "--to", Err: errors.New("the range ends before it begins"), Hint: "--from is in the range, and --to is not"}
		}
		return data, r, err
	}
	if o.From == "" && o.To == "" {
		return data, r, nil
	}
	if strings.Contains(data, "?") {
		return "", r, &Error{Code: Usage, Op: "backtest", Where: data, Err: errors.New("the name has a range, and --from or --to says another"), Hint: "give one of the two"}
	}
	from, err := topicEnd("--from", o.From, now)
	if err != nil {
		return "", r, err
	}
	to, err := topicEnd("--to", o.To, now)
	if err != nil {
		return "", r, err
	}
	return samplesRange(strings.TrimPrefix(data, source.TopicScheme), from, to), r, nil
}

// backwards tells whether a range of files, both of whose ends are known, ends before it begins.
func backwards(r batch.Range) bool {
	a, b := r.From, r.To
	switch {
	case !a.Set || !b.Set || (a.Before > 0) != (b.Before > 0):
		return false
	case a.Record != nil && b.Record != nil:
		return *b.Record < *a.Record
	default:
		return a.Before < b.Before || b.At < a.At && a.Before == 0
	}
}

const endHint = "a date such as 2014-05-31, a time such as 2014-05-31T12:00:00Z, how long before the end, such as 7d, or offset:N"

// topicEnd returns an end of a range as the name of a topic's range has it: a duration becomes a time.
func topicEnd(flag, text string, now time.Time) (string, error) {
	if text == "" || text == "earliest" || text == "latest" || strings.HasPrefix(text, "offset:") {
		return text, nil // what is wrong with it, openTopic says
	}
	m, err := parseSince(text)
	if err != nil {
		return "", &Error{Code: Usage, Op: "backtest", Where: flag, Err: err, Hint: endHint}
	}
	if m.before > 0 {
		return now.Add(-m.before).UTC().Format("2006-01-02T15:04:05.000Z07:00"), nil
	}
	return text, nil
}

// fileEnd returns an end of a range of files.
func fileEnd(flag, text string) (e batch.RangeEnd, err error) {
	fault := func(err error) error {
		return &Error{Code: Usage, Op: "backtest", Where: flag, Err: err, Hint: endHint}
	}
	if text == "" || text == "earliest" && flag == "--from" || text == "latest" && flag == "--to" {
		return e, nil
	}
	if number, ok := strings.CutPrefix(text, "offset:"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 {
			return e, fault(fmt.Errorf("%q: want offset:N, the number of a record from 0", text))
		}
		return batch.RangeEnd{Set: true, Record: &n}, nil
	}
	m, err := parseSince(text)
	if err != nil {
		return e, fault(err)
	}
	return batch.RangeEnd{Set: true, At: m.at.UnixMicro(), Before: m.before}, nil
}

// bound is what a measure of a model must not be above.
type bound struct {
	measure string
	most    float64
}

func parseBounds(texts []string) ([]bound, error) {
	var bounds []bound
	for _, text := range texts {
		name, number, _ := strings.Cut(text, "=")
		most, err := strconv.ParseFloat(number, 64)
		if err != nil || math.IsNaN(most) || !slices.Contains([]string{"rmse", "mae", "bias"}, name) {
			return nil, &Error{Code: Usage, Op: "backtest", Where: "--fail-above", Err: fmt.Errorf("%q: want rmse, mae or bias, = and a number", text), Hint: "such as rmse=150000"}
		}
		bounds = append(bounds, bound{name, most})
	}
	return bounds, nil
}

// exceeded returns the error of the totals that are above a bound, or not known.
func exceeded(r *backtest.Report, bounds []bound) error {
	var faults []string
	for _, b := range bounds {
		for i := range r.Models {
			s := &r.Total.Results[i].Scores
			is := math.Abs(float64(map[string]drift.Number{"rmse": s.RMSE, "mae": s.MAE, "bias": s.Bias}[b.measure]))
			switch {
			case math.IsNaN(is):
				faults = append(faults, fmt.Sprintf("the %s of %s is not known", b.measure, r.Models[i].Ref))
			case is > b.most:
				faults = append(faults, fmt.Sprintf("the %s of %s is %v, above %v", b.measure, r.Models[i].Ref, is, b.most))
			}
		}
	}
	if faults == nil {
		return nil
	}
	return &Error{Code: Refused, Op: "backtest", Where: r.Data, Err: errors.New(strings.Join(faults, "; ")), Hint: "the periods show when it was so; --fail-above sets the bound"}
}

// writeBacktest writes the files that are asked for.
func writeBacktest(r *backtest.Report, o *BacktestOptions) error {
	if o.CSV != "" {
		if err := WriteFile(o.CSV, o.Stdout, r.CSV); err != nil {
			return err
		}
	}
	if o.HTML == "" {
		return nil
	}
	return WriteFile(o.HTML, o.Stdout, func(w io.Writer) error { return report.Backtest(w, r) })
}
