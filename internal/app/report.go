package app

import (
	"context"
	"io"
	"strings"

	"millrace.dev/internal/report"
	"millrace.dev/model"
)

// ReportOptions say of which model a report is, and where it goes.
type ReportOptions struct {
	Model    string // NAME@VERSION, NAME@ALIAS, @ALIAS, or the file of a bundle
	File     string // the pipeline file that names the registry
	Registry string // the registry's folder; "" is that of the pipeline file
	HTML     bool   // a page; else a text for a terminal
	Out      string // a file; "-" is Stdout
	Stdout   io.Writer
}

// Report writes the report of a model. A file takes its name once the report is complete.
func (a *App) Report(ctx context.Context, o ReportOptions) error {
	s, err := a.subject(ctx, o)
	if err != nil {
		return err
	}
	out, err := create(o.Out, o.Stdout)
	if err != nil {
		return err
	}
	defer out.discard()
	if o.HTML {
		err = report.Model(out, s)
	} else {
		err = report.ModelText(out, s)
	}
	if err != nil {
		return err
	}
	return commit(out)
}

// subject returns a model with what is known of it. Of the file of a bundle the registry knows nothing.
func (a *App) subject(ctx context.Context, o ReportOptions) (*report.Subject, error) {
	if strings.HasSuffix(o.Model, model.Extension) {
		m, err := openBundle(o.Model)
		if err != nil {
			return nil, err
		}
		return &report.Subject{Bundle: m.Bundle, Ref: m.Ref, Digest: m.Digest}, nil
	}
	models, err := a.Models(ModelsOptions{Dir: o.Registry, File: o.File})
	if err != nil {
		return nil, err
	}
	shown, err := models.Show(ctx, o.Model)
	if err != nil {
		return nil, err
	}
	v := shown.Version
	s := &report.Subject{
		Bundle: shown.Bundle, Ref: v.Ref(), Digest: v.Digest, Bytes: v.Bytes, State: string(v.State), RegisteredBy: v.RegisteredBy, RegisteredAt: v.RegisteredAt,
		DecidedBy: v.DecidedBy, DecidedAt: v.DecidedAt, Reason: v.Reason,
	}
	for _, alias := range v.Aliases {
		s.Aliases = append(s.Aliases, "@"+alias)
	}
	for _, g := range v.Gates {
		s.Gates = append(s.Gates, report.Gate{Name: g.Name, Words: g.Words, Passed: g.Passed})
	}
	for _, e := range shown.Events {
		s.Log = append(s.Log, report.Event{At: e.Time, Action: string(e.Action), Actor: e.Actor, Reason: e.Reason})
	}
	return s, nil
}
