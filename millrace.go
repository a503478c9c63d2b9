// Package millrace runs stream applications, which package stream declares, on Kafka.
//
//	t := stream.New("words")
//	lines := stream.From(t, "lines", stream.String(), stream.String())
//	words := stream.FlatMapValues(lines, strings.Fields)
//	byWord := stream.GroupBy(words, stream.String(), func(_, word string) string { return word })
//	stream.Count(byWord, "counts").ToStream().To("counts")
//	app, err := millrace.NewApp(t, millrace.Config{Brokers: []string{"localhost:9092"}, StateDir: "state"})
//	...
//	err = app.Run(ctx)
//
// Any number of instances of one application share its partitions; nothing else coordinates them than Kafka.
package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/metrics"
	"millrace.dev/internal/query"
	"millrace.dev/internal/secret"
	"millrace.dev/stream"
)

// Guarantee is what a failure can do to the output.
type Guarantee string

// The guarantees.
const (
	// ExactlyOnce commits what was read, written and kept in stores in one transaction.
	ExactlyOnce Guarantee = "exactly_once"
	// AtLeastOnce may repeat output and updates of state after a failure.
	AtLeastOnce Guarantee = "at_least_once"
)

// TLS says how connections are encrypted. The zero value is not at all; settings without Enabled are a fault.
type TLS struct {
	Enabled    bool
	CAFile     string // PEM certificates to trust. Default: those of the system
	CertFile   string // PEM certificate of this client, with KeyFile. Default: none
	KeyFile    string
	ServerName string // the name that the brokers' certificates must have. Default: the host of each address
}

// SASL says who the application is. The zero value is nobody.
type SASL struct {
	Mechanism string // plain, scram-sha-256 or scram-sha-512
	Username  string
	Password  string // never logged
}

// Config says where and how an application runs.
type Config struct {
	Brokers []string // addresses, host:port, of one or more brokers
	TLS     TLS
	SASL    SASL
	Rack    string // the availability zone of this instance: it reads from the closest replicas. Default: none
	// Guarantee. Default: ExactlyOnce
	Guarantee Guarantee
	// StateDir is the folder for the state of tasks, of this instance alone. It can be deleted while the instance does not
	// run: state is then restored from the changelogs. Default: none; state is in memory, and restored at each start
	StateDir string
	// StateBytes bounds the memory for state: that of the state folder's files, changes that are not committed, decoded rows of
	// tables, stores in memory and global tables. Rows have to make room, and changes are committed early. Stores in memory and
	// global tables cannot: if they leave too little, the log, /readyz and the metrics say so, and the limit may be exceeded.
	// Default: 256 MiB; at least 16 MiB
	StateBytes int64
	// StateFileBytes is the part of StateBytes that is for the files in StateDir: blocks of them that were read, and what was committed and is not
	// in files yet. More of it saves reads from the disk where far more rows are used than fit into memory decoded, and leaves less for
	// those. Default: a quarter of StateBytes; at least 4 MiB, at most three quarters
	StateFileBytes int64
	// InstanceID names this instance for good: it must differ between the instances of an application and stay the same
	// when one is started again, which then takes over at once from its dead predecessor. Default: none
	InstanceID string
	// Threads is the number of goroutines that run tasks. Default: one for each CPU
	Threads int
	// CommitInterval is how long results wait for one another: a result can be read about that much later at most.
	// Default: 100 ms
	CommitInterval time.Duration
	// SessionTimeout is how long the others wait for an instance that does not answer. Default: 6 s
	SessionTimeout time.Duration
	// TransactionTimeout is how long a transaction may be open. Default: 5 s
	TransactionTimeout time.Duration
	// Compression of what is written: none, snappy, lz4 or zstd. Default: snappy
	Compression string
	// Query has the rows of stores be read over HTTP. Default: nobody can read them
	Query Query
	// Log. Default: nothing is logged
	Log *slog.Logger
}

// Query says whether the rows of stores can be read over HTTP: see [App.QueryHandler].
type Query struct {
	Enabled bool
	// Address is the URL at which the other instances reach the handler of this one, such as http://10.1.2.3:8090. They learn it
	// from the consumer group. Default: none; what this instance has can only be read from itself
	Address string
	// Transport is how this instance reaches the others: with certificates, say. They get the header Authorization of the request that
	// they are asked for. Default: without a proxy, and with the system's certificate authorities
	Transport http.RoundTripper
	// Timeout bounds an answer. Default: 5 s
	Timeout time.Duration
}

// App is a stream application on this instance.
type App struct {
	client  *kafka.Client
	engine  *engine.Engine
	handler http.Handler
	query   http.Handler
}

// NewApp makes an application that is ready to [App.Run]. Faults of the topology are returned together with those of
// brokers, TLS and SASL, each of the topology as [*stream.BuildError]; the rest of the configuration is looked at if there
// are none. It does not connect: brokers that cannot be reached, and topics that are missing, are found by Run.
func NewApp(t *stream.Topology, c Config) (*App, error) {
	p, err := t.Program()
	if c.TLS != (TLS{}) && !c.TLS.Enabled {
		err = errors.Join(err, errors.New("configure: TLS is not enabled, and has settings: set Enabled, or leave it empty"))
	}
	if c.Query != (Query{}) && !c.Query.Enabled {
		err = errors.Join(err, errors.New("configure: Query is not enabled, and has settings: set Enabled, or leave it empty"))
	}
	if a := c.Query.Address; a != "" {
		if _, fault := query.ParseAddress(a); fault != nil {
			err = errors.Join(err, fmt.Errorf("configure: Query.Address %q: %w", a, fault))
		}
	}
	client, fault := kafka.New(kafka.Config{
		Brokers: c.Brokers, Rack: c.Rack, Log: c.Log,
		TLS:  kafka.TLS{Enabled: c.TLS.Enabled, CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName},
		SASL: kafka.SASL{Mechanism: c.SASL.Mechanism, Username: c.SASL.Username, Password: secret.New(c.SASL.Password)},
	})
	if err = errors.Join(err, fault); err != nil {
		if client != nil {
			client.Close()
		}
		return nil, err
	}
	e, err := engine.New(engine.Options{
		Client: client, Program: p, Guarantee: engine.Guarantee(c.Guarantee), StateDir: c.StateDir, StateBytes: c.StateBytes, StateFileBytes: c.StateFileBytes,
		InstanceID: c.InstanceID, Threads: c.Threads, CommitInterval: c.CommitInterval, SessionTimeout: c.SessionTimeout,
		TransactionTimeout: c.TransactionTimeout, Compression: c.Compression, Address: c.Query.Address, Log: c.Log,
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	a := &App{client: client, engine: e}
	if a.handler, err = metrics.NewHandler(e, p); err != nil {
		client.Close()
		return nil, err
	}
	if c.Query.Enabled {
		q, err := query.New(query.Options{Engine: e, Program: p, Transport: c.Query.Transport, Timeout: c.Query.Timeout, Log: c.Log})
		if err != nil {
			client.Close()
			return nil, err
		}
		a.query = q.Handler()
	}
	return a, nil
}

// Run runs the application until ctx ends, and then returns nil once everything that was processed is committed and the
// group left. It returns an error when going on needs a person: a topic is missing, a right, or a function has failed
// that was not to fail. Brokers that do not answer are waited for. Run may be called once.
func (a *App) Run(ctx context.Context) error {
	defer a.client.Close()
	return a.engine.Run(ctx)
}

// Handler answers /metrics for Prometheus, /livez and /readyz for whoever starts instances, and /topology, the topology
// with live rates as JSON. It is safe for concurrent use.
func (a *App) Handler() http.Handler { return a.handler }

// QueryHandler answers questions about the rows of the stores, under /v1/stores: docs/queries.md says which. What is not committed is
// not shown. It asks nobody who they are: put it behind what does. It is nil unless [Config.Query] is enabled, and safe for
// concurrent use.
func (a *App) QueryHandler() http.Handler { return a.query }

// Stats returns what this instance has done so far. It is safe for concurrent use.
func (a *App) Stats() Stats {
	s := a.engine.Stats()
	return Stats{
		State: string(s.State), Records: s.Records, Written: s.Written, DeadLetters: s.TotalDeadLetters(), Commits: s.Commits,
		Aborts: s.Aborts, Rebalances: s.Rebalances, Lag: s.TotalLag(),
		RestoreLeft: s.Restoring.Left, RestoreETA: s.Restoring.ETA, StateBytes: s.Memory.Total(),
	}
}

// Stats is what an instance has done. Records and what became of them count when that is committed.
type Stats struct {
	State       string // starting, running, waiting_for_broker, recovering, stalled, stopping, stopped or failed
	Records     uint64 // that were read
	Written     uint64 // to the topics that the application is to write
	DeadLetters uint64
	Commits     uint64
	Aborts      uint64 // rounds that were undone, and processed again
	Rebalances  uint64
	Lag         int64         // offsets of this instance's partitions that are not committed
	StateBytes  int64         // memory for state: of Config.StateBytes
	RestoreLeft int64         // records of changelogs that are still to be read
	RestoreETA  time.Duration // 0 if it is not known, or there is nothing to do
}
