package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// inspection runs single records through the path of a pipeline file, and of a model if there is one.
type inspection struct {
	*pipeline.Inspector

	p     *config.Pipeline
	probe *feature.Probe
	model *model.Loaded // nil without one
}

// inspect returns an inspection; ref is a model as [App.LoadModel] takes it, or "" for none.
func (a *App) inspect(ctx context.Context, op string, p *config.Pipeline, ref string) (*inspection, error) {
	probe, err := feature.NewProbe(p.Declaration())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	n := &inspection{p: p, probe: probe}
	o := pipeline.InspectorOptions{
		Options: pipeline.Options{Field: p.Sink.Field, MaxBytes: p.Source.MaxRecordBytes, Tables: pipelineTables(p), Checks: pipelineChecks(p)},
		Label:   p.Train.Label, EventTime: p.Source.EventTime,
	}
	if ref != "" {
		if n.model, err = a.LoadModel(ctx, p.Model, p.Name, ref); err != nil {
			if errors.Is(err, registry.ErrNotApproved) {
				return nil, &Error{Code: Refused, Op: op, Err: err, Hint: "a model that nobody has approved yet can be looked at, too: --model @candidate"}
			}
			return nil, err
		}
		if err := sameFeatures(p, n.model.Bundle); err != nil {
			return nil, &Error{
				Code: Refused, Op: op, Where: n.model.Ref, Err: err,
				Hint: "train a model with this file, or name the file that the model was trained with",
			}
		}
		if o.Rules, err = compileChecks(op, p, n.model); err != nil {
			return nil, err
		}
		if o.Path, err = pipeline.New(n.model.Bundle, o.Options); err != nil {
			return nil, &Error{Code: Refused, Op: "load model", Where: n.model.Ref, Err: err, Hint: "train the model again with this version of millrace"}
		}
	}
	if n.model == nil {
		plan, err := feature.Compile(p.Declaration())
		if err == nil {
			o.Rules, err = plan.CompileRules(p.Train.Label, p.Checks.Rules(), nil)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	n.Inspector, err = pipeline.NewInspector(probe, o)
	return n, err
}

// findIn returns how an inspection finds rows among those of tables.
func findIn(tables map[string]table.Rows) func(name, key string, at int64) *record.Row {
	return func(name, key string, at int64) *record.Row {
		if rows := tables[name]; rows != nil {
			return rows.Get(key, at)
		}
		return nil
	}
}

// showValue returns a value for a person: exact, and a text in quotes.
func showValue(v feature.Value) string {
	switch {
	case v.Missing:
		return "missing"
	case v.Kind == feature.KindNumber:
		return string(codec.AppendFloat(nil, v.Number))
	case v.Kind == feature.KindBool:
		return strconv.FormatBool(v.Flag)
	case v.Kind == feature.KindTime:
		return showTime(v.Time)
	default:
		return fmt.Sprintf("%q", v.Text)
	}
}

// showTime returns an instant in RFC 3339; the argument is in microseconds since 1970.
func showTime(at int64) string { return time.UnixMicro(at).UTC().Format(time.RFC3339Nano) }

// showProblem returns why a record has no prediction.
func showProblem(p *record.Problem) string {
	text := p.Stage + "/" + p.Class
	if p.Field != "" {
		text += " " + p.Field
	}
	return text
}
