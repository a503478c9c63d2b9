package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/letter"
	"millrace.dev/internal/shadow"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// report says what was found so far.
func (c *comparing) report() (*shadow.Report, error) {
	r := &shadow.Report{Pipeline: c.p.Name, Source: c.p.Source.Topic, Label: c.p.Train.Label, Unit: c.p.Train.LabelUnit, Notes: c.notes}
	c.tally.Into(r, func(m int32) string { return c.models[m].ref })
	for w, side := range []*shadow.Side{&r.Production, &r.Candidate} {
		s, which := c.sides[w], shadow.Which(w)
		side.Topic, side.Read, side.Again, side.Other = s.topic, s.read, c.merger.Again(which), s.other
		side.Alone = shadow.Absences{
			Lacking: c.merger.Alone(which, shadow.Lacking), Before: c.merger.Alone(which, shadow.Before),
			Behind: c.merger.Alone(which, shadow.Behind), GivenUp: c.merger.Alone(which, shadow.GivenUp),
		}
		if n := s.late.N(); n > 0 {
			side.Latency = &shadow.Latency{
				Records: n, P50: drift.Number(s.latency.Quantile(0.5)), P99: drift.Number(s.latency.Quantile(0.99)), Max: drift.Number(s.late.Max()),
			}
		}
	}
	r.Candidate.Model = c.o.Model
	if c.labels.topic != "" {
		r.Labels = &shadow.Labels{Topic: c.labels.topic, Expired: c.labels.expired}
		if err := c.losses.Into(r.Labels); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// finish says what was found, with what takes more reading: the dead letters, and the largest differences.
func (c *comparing) finish(ctx context.Context) (*shadow.Report, error) {
	r, err := c.report()
	if err != nil {
		return nil, err
	}
	if r.Pairs == 0 {
		return nil, c.nothing(r)
	}
	if err := c.readLetters(ctx, r); err != nil {
		return nil, err
	}
	for _, f := range c.tally.Top() {
		r.Top = append(r.Top, c.topOf(&f))
	}
	if err := c.explain(ctx, r); err != nil {
		return nil, err
	}
	c.remarks(r)
	c.bounds(r)
	return r, nil
}

// nothing says why there is no pair.
func (c *comparing) nothing(r *shadow.Report) error {
	e := &Error{Code: Nothing, Op: "compare", Where: r.Candidate.Topic}
	a, b := &r.Production, &r.Candidate
	switch {
	case b.Read == 0 && b.Other > 0 && c.o.Model != "":
		e.Err = fmt.Errorf("it has no predictions of %s in the range, and %d of others", c.o.Model, b.Other)
		e.Hint = "name another model, --model, or another range, --from and --to"
	case b.Read == 0:
		e.Err, e.Hint = errors.New("it has no predictions in the range"), "run a candidate first: millrace shadow"+fileOption(c.o.File)
	case a.Read == 0:
		e.Where, e.Err = a.Topic, errors.New("it has no predictions of these records")
		e.Hint = "has the topic been made anew, or do its records outlive those of the source? --from and --to choose another range"
	default:
		e.Err = fmt.Errorf("no record is predicted by both: %d only in %s, %d only in %s", a.Read, a.Topic, b.Read, b.Topic)
		e.Hint = "wait until the one that is behind has caught up"
	}
	return e
}

// remarks says what to know about the figures.
func (c *comparing) remarks(r *shadow.Report) {
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	if r.Sampled > 0 {
		note("quantiles, the histogram, the groups and the rank correlation are of a sample of %d pairs; counts, means and tolerances by share are of all", r.Sampled)
	}
	for _, s := range []*shadow.Side{&r.Production, &r.Candidate} {
		if s.Again > 0 {
			note("%d predictions in %s came again, or not in the order of the source, and were left out: at least once a prediction can come twice", s.Again, s.Topic)
		}
		if s.Alone.GivenUp > 0 {
			note("%d predictions in %s found no partner among as many as are held, and were given up", s.Alone.GivenUp, s.Topic)
		}
		if s.Other > 0 {
			note("%d records in %s are of other models, or no predictions of %s", s.Other, s.Topic, r.Source)
		}
	}
	if r.Production.Latency == nil && r.Candidate.Latency == nil {
		note("how late predictions came cannot be told from the topics: their timestamps are those of the records; with message.timestamp.type=LogAppendTime on a topic they are the brokers'")
	}
	for i := range r.Models {
		if m := &r.Models[i]; m.Model == r.Candidate.Model {
			note("%d of the pairs are %s beside itself: they weigh in all figures, and say nothing of how it differs; --from and --to choose records that another model has predicted", m.Pairs, m.Model)
		}
	}
	if w := r.Candidate.Topic; w != c.p.Sink.Topic && w != c.p.Shadow.Topic {
		note("the dead letters of %s are not counted, since nothing says where they are: --set shadow.topic=%s does", w, w)
	}
	if c.labels.dropped > 0 {
		note("%d labels or pairs that wait for one were left out: there is room for %d", c.labels.dropped, mostLabels)
	}
}

// readLetters counts the dead letters of records that lie between pairs.
func (c *comparing) readLetters(ctx context.Context, r *shadow.Report) error {
	ranges := map[int32]shadow.Range{}
	for _, p := range r.Partitions {
		ranges[p.Partition] = p
	}
	for w, side := range []*shadow.Side{&r.Production, &r.Candidate} {
		if side.Topic != c.p.Sink.Topic && side.Topic != c.p.Shadow.Topic {
			continue // of another topic nobody says where its dead letters are
		}
		err := c.client.Tap(ctx, kafka.TapConfig{Topic: c.sides[w].letters, From: kafka.FromStart}, func(rs []record.Raw) error {
			for i := range rs {
				l, ok := letter.Parse(rs[i])
				of, known := ranges[l.Source.Partition]
				if !ok || !known || l.Source.Topic != r.Source || l.Source.Offset < of.From || l.Source.Offset >= of.To {
					continue
				}
				if shadow.Which(w) == shadow.Candidate && l.Model != "" && l.Model != c.o.Model {
					continue
				}
				if side.Letters == nil {
					side.Letters = map[string]int64{}
				}
				side.Letters[l.Stage+"/"+l.Class]++
			}
			return nil
		})
		if len(kafka.Missing(err)) > 0 {
			continue
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// topOf is one of the largest differences.
func (c *comparing) topOf(f *shadow.Found) shadow.Top {
	t := shadow.Top{
		Source: fmt.Sprintf("%s/%d/%d", c.p.Source.Topic, f.Stream.Source, f.Production.Offset), Model: c.models[f.Production.Model].ref,
		Production: f.Production.Value, Candidate: f.Candidate.Value, Label: drift.Number(c.labels.of(spot(f.Stream.Source, f.Production.Offset))),
	}
	if at := f.Production.Timestamp; at >= 0 {
		t.Timestamp = &at
	}
	return t
}

// explain takes the predictions of the largest differences apart, and takes the time of both models.
func (c *comparing) explain(ctx context.Context, r *shadow.Report) error {
	top := c.tally.Top()
	if c.o.Top == 0 {
		return nil
	}
	candidate, why := c.loaded(ctx, c.models[c.sides[shadow.Candidate].candidate])
	if candidate == nil {
		c.lack(r, why)
		return nil
	}
	rows, err := c.app.historyRows(ctx, c.p, candidate.Bundle.Plan, c.client)
	if err != nil {
		c.lack(r, "the tables cannot be read: "+err.Error())
		return ctx.Err()
	}
	production := map[modelName]*model.Loaded{}
	first := c.models[c.tally.Leading()]
	for i := range top {
		name := c.models[top[i].Production.Model]
		if _, ok := production[name]; !ok {
			production[name], why = c.loaded(ctx, name)
		}
		if production[name] == nil {
			r.Top[i].Lacks = why
		}
	}
	if _, ok := production[first]; !ok {
		production[first], _ = c.loaded(ctx, first)
	}
	a := &apart{c: c, r: r, rows: rows}
	if err := a.all(ctx, production, candidate); err != nil {
		return err
	}
	if m := production[first]; m != nil {
		return c.time(ctx, r, m, candidate, rows)
	}
	return nil
}

// lack notes why no difference is explained.
func (c *comparing) lack(r *shadow.Report, why string) {
	for i := range r.Top {
		r.Top[i].Lacks = why
	}
}

// loaded returns a model by the headers of its predictions, or says why it cannot be had.
func (c *comparing) loaded(ctx context.Context, name modelName) (*model.Loaded, string) {
	m, err := c.app.LoadModel(ctx, c.p.Model, c.p.Name, name.ref)
	switch {
	case err != nil:
		return nil, fmt.Sprintf("the model %s cannot be read: %v", name.ref, err)
	case name.digest != "" && m.Digest != name.digest:
		return nil, fmt.Sprintf("%s is another model now: it was %s", name.ref, name.digest)
	case sameFeatures(c.p, m.Bundle) != nil:
		return nil, name.ref + " was trained with another pipeline file"
	}
	return m, ""
}

// timedRecords is how many records the time of a model is taken with.
const timedRecords = 1000

// time takes the time of two models, with the records before where the candidate ends.
func (c *comparing) time(ctx context.Context, r *shadow.Report, production, candidate *model.Loaded, rows map[string]table.Rows) error {
	var records []record.Raw
	last := r.Partitions[0]
	for _, p := range r.Partitions {
		if p.Pairs > last.Pairs {
			last = p
		}
	}
	err := c.client.Tap(ctx, kafka.TapConfig{Topic: r.Source, Partitions: []int32{last.Partition}, From: max(last.From, last.To-timedRecords)}, func(rs []record.Raw) error {
		if records = append(records, rs...); len(records) >= timedRecords {
			records = records[:timedRecords]
			return kafka.StopTap()
		}
		return nil
	})
	if err != nil || len(records) == 0 {
		return err
	}
	o := batch.TimeOptions{Rows: rows, Required: pipelineTables(c.p), Checks: pipelineChecks(c.p), MaxBytes: c.p.Source.MaxRecordBytes, Field: c.p.Sink.Field, Now: time.Now}
	a, err := batch.Time(production.Bundle, records, o)
	if err != nil {
		return nil //nolint:nilerr // a model that does not run here is told of where it is explained
	}
	b, err := batch.Time(candidate.Bundle, records, o)
	if err != nil {
		return nil //nolint:nilerr // as before
	}
	r.Scoring = &shadow.Scoring{Records: len(records), Production: float64(a.Nanoseconds()), Candidate: float64(b.Nanoseconds())}
	return nil
}

// sentence begins with a small letter, and ends without a stop.
func sentence(err error) string { return strings.TrimSuffix(err.Error(), ".") }
