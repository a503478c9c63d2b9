package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/sample"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// VerifyOptions say what to verify.
type VerifyOptions struct {
	File     string   // the pipeline file
	Set      []string // overrides of it
	Topic    string   // of the samples; "" is that of the pipeline file
	From, To string   // the range of the topic, as in topic://NAME?from=A&to=B; "" is all of it
	Model    string   // NAME@VERSION, NAME@ALIAS, @ALIAS or the path of a bundle; "" is each sample's own
	History  string   // the data that the samples' records are part of, or ""
	Examples int      // of differences, for each feature
}

// Verified is the outcome of verifying samples.
type Verified struct {
	Topic   string            `json:"topic"`
	Samples int               `json:"samples"` // that were verified
	Skipped int               `json:"skipped"` // of other models than the one that was asked for
	Models  []VerifiedModel   `json:"models"`
	Path    *batch.Comparison `json:"path"`
	History *batch.Comparison `json:"history,omitempty"`
	Skew    bool              `json:"skew"` // anything differs
}

// VerifiedModel is a model of samples.
type VerifiedModel struct {
	Model   string `json:"model"`
	Digest  string `json:"digest"`
	Samples int    `json:"samples"`
}

// Verify computes again in batch what a stream has noted in the topic of its samples, and compares bits. The error is of
// code Refused where something differs, and of code Nothing where there is no sample; the outcome is there with the former.
func (a *App) Verify(ctx context.Context, o VerifyOptions) (*Verified, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	name := samplesRange(cmp.Or(o.Topic, p.Samples.Topic), o.From, o.To)
	client, err := a.clientFor(p, name)
	if err != nil {
		return nil, err
	}
	defer closeClient(client)
	samples, err := readSamples(ctx, p, name, client)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	models, err := a.sampledModels(ctx, p, o.Model, samples)
	if err != nil {
		return nil, err
	}
	v := &Verified{Topic: cmp.Or(o.Topic, p.Samples.Topic), Path: batch.NewComparison(o.Examples)}
	if o.History != "" {
		v.History = batch.NewComparison(o.Examples)
	}
	for _, m := range models {
		if err := a.verifyModel(ctx, p, o, m, samples, client, v); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	v.Skipped = len(samples) - v.Samples
	return v, v.refusal()
}

// refusal returns the error that stops a scheduler where samples differ.
func (v *Verified) refusal() error {
	differing := v.Path.Differing
	if v.History != nil {
		differing = max(differing, v.History.Differing)
	}
	if v.Skew = differing > 0; !v.Skew {
		return nil
	}
	return &Error{
		Code: Refused, Op: "verify", Where: v.Topic, Err: fmt.Errorf("%d of %d samples differ between stream and batch", differing, v.Samples),
		Hint: "the features with differences are named above; docs/skew.md says what can be behind them",
	}
}

// samplesRange returns the name of a range of a topic.
func samplesRange(topic, from, to string) string {
	return source.TopicScheme + topic + "?from=" + cmp.Or(from, "earliest") + "&to=" + cmp.Or(to, "latest")
}

// readSamples reads a range of a topic of samples.
func readSamples(ctx context.Context, p *config.Pipeline, name string, client *kafka.Client) ([]*sample.Sample, error) {
	schema, err := record.NewSchema(record.Field{Name: "version", Type: record.Numeric}) // nothing is decoded by it
	if err != nil {
		return nil, err
	}
	// A sample holds the value, in which each character can take six, and what was found for it.
	data, err := source.Open(ctx, name, source.Options{Schema: schema, MaxBytes: 6*p.Source.MaxRecordBytes + 64<<20, Client: client})
	if err != nil {
		return nil, err
	}
	r := data.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	b := record.NewBatch(schema, nil)
	var samples []*sample.Sample
	for {
		more, err := r.Fill(b)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		for i := range b.Len() {
			raw := b.Raw(i)
			s, err := sample.Decode(raw.Value)
			if err != nil {
				return nil, &source.DataError{
					Path: fmt.Sprintf("%s/%d/%d", raw.Topic, raw.Partition, raw.Offset), Err: err, Unfit: true,
					Hint: "name the topic that millrace run writes its samples to, --topic NAME, or leave the record out with --from and --to",
				}
			}
			samples = append(samples, s)
		}
	}
	if len(samples) == 0 {
		return nil, &Error{
			Code: Nothing, Where: name, Err: errors.New("there are no samples"),
			Hint: "have run take some: millrace run --sample-features 0.01, or sample_features.rate in the pipeline file",
		}
	}
	return samples, nil
}

// sampledModels returns the models of samples, in the order in which they occur, or the one that ref names.
func (a *App) sampledModels(ctx context.Context, p *config.Pipeline, ref string, samples []*sample.Sample) ([]*model.Loaded, error) {
	if ref != "" {
		m, err := a.LoadModel(ctx, p.Model, p.Name, ref)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(samples, func(s *sample.Sample) bool { return s.Digest == m.Digest }) {
			return nil, &Error{
				Code: Nothing, Op: "verify", Where: m.Ref, Err: fmt.Errorf("none of %d samples is of %s", len(samples), m.Digest),
				Hint: "leave --model out, so that each sample is verified with its own model",
			}
		}
		return []*model.Loaded{m}, nil
	}
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	versions, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	var models []*model.Loaded
	for _, s := range samples {
		if slices.ContainsFunc(models, func(m *model.Loaded) bool { return m.Digest == s.Digest }) {
			continue
		}
		i := -1
		for k := range versions {
			if versions[k].Digest == s.Digest && (i < 0 || versions[k].Ref() == s.Model) {
				i = k
			}
		}
		if i < 0 {
			return nil, &Error{
				Code: Usage, Op: "verify", Where: s.Source(), Err: fmt.Errorf("the registry %s has no model %s, which the sample calls %s", p.Model.Registry, s.Digest, s.Model),
				Hint: "name the registry that run has used, --set model.registry=DIR, or verify one model alone with --model",
			}
		}
		m, err := load(ctx, reg, versions[i])
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return models, nil
}

// verifyModel verifies the samples of one model.
func (a *App) verifyModel(ctx context.Context, p *config.Pipeline, o VerifyOptions, m *model.Loaded, samples []*sample.Sample, client *kafka.Client, v *Verified) error {
	var rows map[string]table.Rows
	if o.History != "" {
		if err := sameFeatures(p, m.Bundle); err != nil {
			return &Error{
				Code: Refused, Where: m.Ref, Err: err,
				Hint: "name the pipeline file that the model was trained with, or leave --history out: the path of a model needs no pipeline file",
			}
		}
		var err error
		if rows, err = a.historyRows(ctx, p, m.Bundle.Plan, client); err != nil {
			return err
		}
	}
	err := batch.Verify(ctx, batch.VerifyOptions{
		Samples: samples, Model: m, Field: p.Sink.Field, MaxBytes: p.Source.MaxRecordBytes, Required: pipelineTables(p),
		History: o.History, Client: client, Rows: rows,
	}, v.Path, v.History)
	if err != nil {
		return err
	}
	n := 0
	for _, s := range samples {
		if s.Digest == m.Digest {
			n++
		}
	}
	v.Models = append(v.Models, VerifiedModel{Model: m.Ref, Digest: m.Digest, Samples: n})
	v.Samples += n
	return nil
}
