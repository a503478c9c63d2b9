// Package app wires the parts of millrace to what its commands do: it reads the pipeline file, opens the registry and
// the cluster, and calls the drivers. Everything that a command needs from outside comes in through [App]; there is no
// global state.
package app

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/source"
)

// App holds what the commands need from outside.
type App struct {
	Log     *slog.Logger
	Now     func() time.Time
	Env     func(name string) (string, bool)
	Version string // of millrace
	Key     string // the file of the private key that signs decisions; "" is that of $MILLRACE_KEY
}

// Load reads a pipeline file with overrides of the form key=value.
func (a *App) Load(file string, set []string) (*config.Pipeline, error) {
	p, err := config.Load(file, config.Options{Set: set, Env: a.Env})
	if err != nil {
		return nil, unreadable(file, err)
	}
	return p, nil
}

// unreadable says what to do about a pipeline file that cannot be read; other errors of loading it stay as they are.
func unreadable(file string, err error) error {
	path, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return err
	}
	e := &Error{Code: Usage, Op: "read pipeline file", Where: file, Err: path.Err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Hint = "name the file, or write one: millrace init DIR --from data.csv --label COLUMN"
	}
	return e
}

// cluster returns how to reach the cluster of a pipeline.
func (a *App) cluster(p *config.Pipeline) (kafka.Config, error) {
	password, err := p.Kafka.SASL.Secret()
	if err != nil {
		return kafka.Config{}, &Error{Code: Usage, Op: "read secret", Err: err}
	}
	return kafka.Config{
		Brokers: p.Kafka.Brokers, Log: a.Log,
		TLS:  kafka.TLS{Enabled: p.Kafka.TLS.Enabled, CAFile: p.Kafka.TLS.CAFile, CertFile: p.Kafka.TLS.CertFile, KeyFile: p.Kafka.TLS.KeyFile},
		SASL: kafka.SASL{Mechanism: p.Kafka.SASL.Mechanism, Username: p.Kafka.SASL.Username, Password: password},
	}, nil
}

// clientFor returns a client of the cluster of a pipeline where one of the names of data is a topic, and else nil. The
// caller closes it.
func (a *App) clientFor(p *config.Pipeline, data ...string) (*kafka.Client, error) {
	if !slices.ContainsFunc(data, source.IsTopic) {
		return nil, nil // none is needed
	}
	c, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	return kafka.New(c)
}

func closeClient(c *kafka.Client) {
	if c != nil {
		c.Close()
	}
}
