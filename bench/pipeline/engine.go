//go:build linux

package main

import (
	"context"
	"io"
	"os"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
)

// engineMain runs the engine and the data path as `millrace run` does, with a compression that a pipeline file cannot
// ask for, until ctx is done.
func engineMain(ctx context.Context, args []string, messages io.Writer) error {
	var j job
	if err := j.parse("engine", args, messages); err != nil {
		return err
	}
	a := &app.App{Now: time.Now, Env: os.LookupEnv, Version: "bench"}
	file, state := pipelines, ""
	if j.checks != "" {
		file, state = checkedPipeline, j.group
	}
	p, err := a.Load(file, nil)
	if err != nil {
		return err
	}
	if j.checks != "" {
		p.Checks.Window.Topic, p.Group = j.checks, j.group
	}
	m, err := a.LoadModel(ctx, p.Model, p.Name, modelRef)
	if err != nil {
		return err
	}
	p.Source.Topic, p.Sink.Topic, p.DeadLetter.Topic = j.source, j.sink, j.letters
	scoring, err := app.NewScoring(p, m, app.ScoringOptions{})
	if err != nil {
		return err
	}
	program, err := app.Topology(p, m.Bundle.Plan, scoring).Program()
	if err != nil {
		return err
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{j.broker}})
	if err != nil {
		return err
	}
	defer client.Close()
	e, err := engine.New(engine.Options{
		Client: client, Program: program, Group: j.group, Guarantee: engine.Guarantee(j.guarantee), Compression: j.compression,
		StateDir: state,
	})
	if err != nil {
		return err
	}
	stop, err := j.startProfile()
	if err != nil {
		return err
	}
	defer stop()
	return e.Run(ctx)
}
