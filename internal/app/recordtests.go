package app

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/record"
)

// SourceTopic stands for the topic that a pipeline reads.
const SourceTopic = "@source"

// RecordOptions say of which records to make tests.
type RecordOptions struct {
	File  string   // the pipeline file
	Set   []string // overrides of it
	Model string   // as in [TestOptions]
	Topic string   // or SourceTopic
	From  string   // where to begin, as a range of a topic has it
	Limit int      // at most so many records
}

// RecordTests writes tests made of the records of a topic, as YAML for a pipeline file, and returns how many. The records
// find the tables as they are now, with their history, and the windows as all records of the topic before From leave them.
func (a *App) RecordTests(ctx context.Context, o RecordOptions, out io.Writer) (n int, err error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return 0, err
	}
	in, err := a.inspect(ctx, "test", p, o.Model)
	if err != nil {
		return 0, err
	}
	if o.Topic == SourceTopic {
		o.Topic = p.Source.Topic
	}
	topic := source.TopicScheme + o.Topic
	client, err := a.clientFor(p, append(tableData(p, in.probe.Plan()), topic)...)
	if err != nil {
		return 0, err
	}
	defer closeClient(client)
	rows, err := a.batchRows(ctx, p, in.probe.Plan(), client)
	if err != nil {
		return 0, err
	}
	from := topic + "?from=" + cmp.Or(o.From, "earliest")
	if err := source.CheckTopic(from); err != nil {
		return 0, err
	}
	if err := a.replay(ctx, in, client, topic+"?to="+cmp.Or(o.From, "earliest")); err != nil {
		return 0, err
	}
	data, err := source.Open(ctx, from, source.Options{Schema: p.Schema, MaxBytes: p.Source.MaxRecordBytes, Client: client})
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriter(out)
	if _, err := w.WriteString("tests:\n"); err != nil {
		return 0, err
	}
	err = eachRecord(ctx, data, func(r *record.Raw) error {
		text, err := in.recordTest(r, rows)
		if err == nil {
			_, err = w.Write(text)
		}
		if n++; err == nil && n == o.Limit {
			return errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return n, cmp.Or(err, w.Flush())
}

// errEnough ends the reading of records.
var errEnough = errors.New("enough")

// replay brings the windows up to date with the records of some data, if there are windows.
func (a *App) replay(ctx context.Context, in *inspection, client *kafka.Client, data string) error {
	if len(in.probe.Plan().Windows()) == 0 {
		return nil
	}
	s, err := source.Open(ctx, data, source.Options{Schema: in.p.Schema, MaxBytes: in.p.Source.MaxRecordBytes, Client: client})
	if err != nil {
		return err
	}
	d, err := in.Decoder(pipeline.Options{Format: s.Format(), Header: s.Columns()})
	if err != nil {
		return err
	}
	return eachRecord(ctx, s, func(r *record.Raw) error {
		_, err := in.Remember(*r, d)
		return err
	})
}

// eachRecord calls fn with the records of some data, until it returns an error.
func eachRecord(ctx context.Context, s *source.Source, fn func(*record.Raw) error) error {
	return eachBatch(ctx, s, func(b *record.Batch) error {
		for i := range b.Len() {
			if err := fn(b.Raw(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachBatch calls fn with the records of some data, which are not decoded, until it returns an error.
func eachBatch(ctx context.Context, s *source.Source, fn func(*record.Batch) error) error {
	r := s.Read(ctx)
	defer r.Close()                                                                   //nolint:errcheck // it was only read
	schema, err := record.NewSchema(record.Field{Name: "value", Type: record.String}) // the batch is there for the bytes
	if err != nil {
		return err
	}
	b := record.NewBatch(schema, nil)
	for {
		more, err := r.Fill(b)
		if err != nil || !more {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
	}
}

// recordTest returns the test that a record makes, or a comment if no test can hold the record.
func (n *inspection) recordTest(r *record.Raw, rows map[string]table.Rows) ([]byte, error) {
	seen, err := n.Inspect(*r, pipeline.Given{Find: findIn(rows), Observe: true})
	if err != nil {
		return nil, err
	}
	t := config.Test{Name: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset), Given: givenOf(r, seen)}
	if p := seen.Problem; p != nil {
		t.DeadLetter = &config.Rejection{Stage: p.Stage, Class: p.Class, Field: p.Field}
	}
	for _, f := range seen.Features {
		for _, e := range f.Elements {
			if e.Known && t.DeadLetter == nil {
				t.Expect = append(t.Expect, config.Expectation{Name: e.Name, Want: e.Value})
			}
		}
	}
	if seen.Scored {
		t.Prediction = &config.Expectation{Want: feature.Value{Kind: feature.KindNumber, Number: seen.Prediction}}
	}
	text, err := n.p.AppendTest(nil, &t)
	if errors.Is(err, config.ErrNotText) {
		return fmt.Appendf(nil, "  # %s is not UTF-8 text, and no test can hold it\n", t.Name), nil
	}
	return text, err
}

// givenOf returns a record with what it has found.
func givenOf(r *record.Raw, seen *pipeline.Seen) config.Given {
	g := config.Given{Record: *r}
	for _, l := range seen.Lookups {
		if l.Row == nil {
			continue
		}
		if g.Tables == nil {
			g.Tables = map[string][]config.GivenRow{}
		}
		known := func(r config.GivenRow) bool { return r.Key == l.Key.S }
		if !slices.ContainsFunc(g.Tables[l.Table], known) {
			g.Tables[l.Table] = append(g.Tables[l.Table], config.GivenRow{Key: l.Key.S, Row: l.Row})
		}
	}
	for _, w := range seen.Windows {
		if g.Windows == nil {
			g.Windows = map[string]map[string]float64{}
		}
		g.Windows[w.Name] = map[string]float64{}
		for _, a := range w.Aggregates {
			x := a.Value.Number
			if a.Value.Missing {
				x = math.NaN()
			}
			g.Windows[w.Name][a.Name] = x
		}
	}
	return g
}
