//go:build linux

package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// engineMain runs the engine and the data path as `millrace run` does, with a compression that a pipeline file cannot
// ask for, until ctx is done.
func engineMain(ctx context.Context, args []string, messages io.Writer) error {
	var j job
	if err := j.parse("engine", args, messages); err != nil {
		return err
	}
	a := &app.App{Now: time.Now, Env: os.LookupEnv, Version: "bench"}
	p, err := a.Load(pipelines, nil)
	if err != nil {
		return err
	}
	m, err := a.LoadModel(ctx, p.Model.Registry, p.Name, modelRef)
	if err != nil {
		return err
	}
	path, err := pipeline.New(m.Bundle, pipeline.Options{
		Field:   p.Sink.Field,
		Headers: []record.Header{{Key: engine.HeaderModel, Value: []byte(m.Ref)}, {Key: "millrace.digest", Value: []byte(m.Digest)}},
	})
	if err != nil {
		return err
	}
	workers := make([]engine.Worker, runtime.GOMAXPROCS(0))
	for i := range workers {
		if workers[i], err = path.NewWorker(); err != nil {
			return err
		}
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{j.broker}})
	if err != nil {
		return err
	}
	defer client.Close()
	e, err := engine.New(engine.Options{
		Client: client, Workers: workers, Group: j.group, Source: j.source, Sink: j.sink, DeadLetter: j.letters,
		Guarantee: engine.Guarantee(j.guarantee), BatchRows: pipeline.BatchRows, Compression: j.compression,
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
