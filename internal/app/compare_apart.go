package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"millrace.dev/codec"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/shadow"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// mostReplayed bounds the records that are read for windows to know what they knew of a record.
const mostReplayed = 2_000_000

// apart takes predictions apart.
type apart struct {
	c    *comparing
	r    *shadow.Report
	rows map[string]table.Rows
}

// all takes apart those of the report that have a model of production.
func (a *apart) all(ctx context.Context, production map[modelName]*model.Loaded, candidate *model.Loaded) error {
	top := a.c.tally.Top()
	for name, m := range production {
		var mine []int
		for i := range top {
			if a.c.models[top[i].Production.Model] == name {
				mine = append(mine, i)
			}
		}
		if m == nil || len(mine) == 0 {
			continue
		}
		was, err := a.of(ctx, m, m.Bundle.Golden, mine)
		if err == nil {
			var is map[int]batch.Attribution
			if is, err = a.of(ctx, candidate, m.Bundle.Golden, mine); err == nil {
				for _, i := range mine {
					a.beside(i, was[i], is[i])
				}
				continue
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, i := range mine {
			a.r.Top[i].Lacks = sentence(err)
		}
	}
	return nil
}

// of takes predictions of a model apart, by their indexes in the report. What is not there any more is absent.
func (a *apart) of(ctx context.Context, m *model.Loaded, background []model.GoldenRow, mine []int) (map[int]batch.Attribution, error) {
	top := a.c.tally.Top()
	at := map[uint64]int{}
	for _, i := range mine {
		at[spot(top[i].Stream.Source, top[i].Production.Offset)] = i
	}
	ranges, err := a.ranges(ctx, m, mine)
	if err != nil {
		return nil, err
	}
	out := map[int]batch.Attribution{}
	for _, data := range ranges {
		found, err := batch.Attribute(ctx, m.Bundle, batch.AttributeOptions{
			Data: data, Client: a.c.client, MaxBytes: a.c.p.Source.MaxRecordBytes, Rows: a.rows, Required: pipelineTables(a.c.p), Checks: pipelineChecks(a.c.p),
			Background: background,
			Wanted: func(r *record.Raw) bool {
				_, ok := at[spot(r.Partition, r.Offset)]
				return ok
			},
		})
		if _, ok := errors.AsType[*source.DataError](err); ok && len(ranges) > 1 {
			continue // the record is not there any more
		}
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out[at[spot(f.Record.Partition, f.Record.Offset)]] = f
		}
	}
	return out, nil
}

// ranges returns what to read: each record by itself, or, for windows, the topic from its beginning.
func (a *apart) ranges(ctx context.Context, m *model.Loaded, mine []int) ([]string, error) {
	top, topic := a.c.tally.Top(), a.c.p.Source.Topic
	if len(m.Bundle.Plan.Windows()) > 0 {
		n, err := size(ctx, a.c.client, topic)
		if err == nil && n > mostReplayed {
			err = fmt.Errorf("the windows would have to see %d records, and at most %d are read for that", n, mostReplayed)
		}
		return []string{source.TopicScheme + topic}, err
	}
	var out []string
	for _, i := range mine {
		p, o := top[i].Stream.Source, top[i].Production.Offset
		out = append(out, fmt.Sprintf("%s%s?from=offset:%d=%d&to=offset:%d=%d", source.TopicScheme, topic, p, o, p, o+1))
	}
	return out, nil
}

// size returns how many offsets a topic has.
func size(ctx context.Context, c *kafka.Client, topic string) (int64, error) {
	start, err := c.StartOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	end, err := c.EndOffsets(ctx, topic, false)
	n := int64(0)
	for p := range end {
		n += end[p] - start[p]
	}
	return n, err
}

// beside puts what two models make of a record beside each other.
func (a *apart) beside(i int, was, is batch.Attribution) {
	t := &a.r.Top[i]
	switch {
	case len(was.Inputs) == 0 && was.Problem == nil || len(is.Inputs) == 0 && is.Problem == nil:
		t.Lacks = "the record is not in the topic any more"
		return
	case was.Problem != nil || is.Problem != nil:
		t.Lacks = "the record is rejected now: rows of tables, or the rules, have changed since"
		return
	}
	t.Expected = &[2]float64{was.Expected, is.Expected}
	adds := map[string]float64{}
	for _, in := range is.Inputs {
		adds[in.Name] = in.Adds
	}
	for _, in := range was.Inputs {
		t.Inputs = append(t.Inputs, shadow.Input{Name: in.Name, Value: attributedText(&in), Production: drift.Number(in.Adds), Candidate: drift.Number(adds[in.Name])})
	}
	slices.SortStableFunc(t.Inputs, func(x, y shadow.Input) int {
		return cmp.Compare(math.Abs(float64(y.Candidate-y.Production)), math.Abs(float64(x.Candidate-x.Production)))
	})
	if math.Float64bits(was.Prediction) != math.Float64bits(t.Production) || math.Float64bits(is.Prediction) != math.Float64bits(t.Candidate) {
		t.Lacks = fmt.Sprintf("computed again, the predictions are %s and %s: the rows of tables, or what windows know, have changed since",
			codec.AppendFloat(nil, was.Prediction), codec.AppendFloat(nil, is.Prediction))
	}
}

func attributedText(in *pipeline.AttributedInput) string {
	switch {
	case in.Missing:
		return "missing"
	case in.Enum:
		return strconv.Quote(in.Level)
	default:
		return string(codec.AppendFloat(nil, in.Number))
	}
}
