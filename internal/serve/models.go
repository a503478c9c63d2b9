package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/pipeline"
)

// Options say what is served, and how.
type Options struct {
	// Models are those that are served; the first is that of requests that name none. At least one
	Models []ModelOptions
	// Workers is how many batches are predicted at a time. Default: one for each processor
	Workers int
	// MaxRows is the largest number of rows in a batch. Default: 256
	MaxRows int
	// MaxWait is how long rows wait at most for others that make their batch full. Default: 0, they wait for a worker alone, and a row
	// that comes while one is idle is taken at once
	MaxWait time.Duration
	// Queue is how many rows may wait; a request that comes then gets [ErrBusy], unless nothing waits. Default: 64 batches of MaxRows
	Queue int
	// Keep is how many versions of a model are kept beside the one that is promoted; the least recently used one goes. Default: 2
	Keep int
	// Refresh is how often the registry is looked at. Default: 1 s
	Refresh time.Duration
	Now     func() time.Time // Default: time.Now
	Log     *slog.Logger     // Default: none
}

// ModelOptions say where a model comes from.
type ModelOptions struct {
	Name   string
	Source Source
}

// Models are the models that are served. They are safe for concurrent use.
type Models struct {
	options  Options
	entries  []*entry
	queue    *queue
	draining atomic.Bool
	stop     context.CancelFunc // of what follows the registry; nil before Start
	running  sync.WaitGroup
}

// New returns models of which none is loaded yet.
func New(o Options) (*Models, error) {
	if len(o.Models) == 0 {
		return nil, errors.New("serve: there is no model")
	}
	if o.Workers < 0 || o.MaxRows < 0 || o.MaxWait < 0 || o.Queue < 0 || o.Keep < 0 || o.Refresh < 0 {
		return nil, errors.New("serve: a number or a time is negative")
	}
	o.Workers = cmp.Or(o.Workers, runtime.GOMAXPROCS(0))
	o.MaxRows = cmp.Or(o.MaxRows, pipeline.BatchRows/4)
	o.Queue = cmp.Or(o.Queue, 64*o.MaxRows)
	o.Keep = cmp.Or(o.Keep, 2)
	o.Refresh = cmp.Or(o.Refresh, time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Models{options: o}
	m.queue = newQueue(&m.options)
	for _, of := range o.Models {
		if m.entry(of.Name) != nil {
			return nil, fmt.Errorf("serve: two models are called %s", of.Name)
		}
		m.entries = append(m.entries, newEntry(&m.options, m.queue, of))
	}
	for i := range o.Workers {
		m.running.Go(func() { m.queue.work(i) })
	}
	return m, nil
}

// Start loads what is promoted of each model, and follows the registries from then on. ctx bounds the loading alone.
func (m *Models) Start(ctx context.Context) error {
	for _, e := range m.entries {
		if err := e.start(ctx); err != nil {
			return fmt.Errorf("serve %s: %w", e.name, err)
		}
	}
	follow, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	for _, e := range m.entries {
		m.running.Go(func() { e.follow(follow) })
	}
	return nil
}

// Drain has all models say that they are not ready, so that no more requests are sent here. Those that come are answered until Close.
func (m *Models) Drain() { m.draining.Store(true) }

// Close has requests refused that come from now on, [ErrDraining], and returns when all that was taken before is predicted and nothing
// runs any more. It can be called once.
func (m *Models) Close() {
	m.Drain()
	m.queue.close()
	if m.stop != nil {
		m.stop()
	}
	m.running.Wait()
}

// Names returns the names of the models, in the order of the options.
func (m *Models) Names() []string {
	names := make([]string, len(m.entries))
	for i, e := range m.entries {
		names[i] = e.name
	}
	return names
}

// entry returns a model by its name; "" is the first. nil if there is none.
func (m *Models) entry(name string) *entry {
	for _, e := range m.entries {
		if name == "" || e.name == name {
			return e
		}
	}
	return nil
}

func (m *Models) find(name string) (*entry, error) {
	if e := m.entry(name); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w: %.80q", ErrUnknownModel, name)
}

// Open returns a version of a model to predict with: of "" and [Latest] the one that is promoted, else that of the number. An approved
// version that is not in memory is loaded. The error matches one of this package's, or is that of ctx.
func (m *Models) Open(ctx context.Context, name, version string) (*Version, error) {
	e, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return e.open(ctx, version)
}

// Ready returns nil where every model that nobody has unloaded can predict, and no drain has begun.
func (m *Models) Ready() error {
	if m.draining.Load() {
		return ErrDraining
	}
	for _, e := range m.entries {
		if err := e.ready(""); err != nil && !e.isUnloaded() {
			return err
		}
	}
	return nil
}

// ModelReady returns nil where a version of a model can predict: without loading it.
func (m *Models) ModelReady(name, version string) error {
	if m.draining.Load() {
		return ErrDraining
	}
	e, err := m.find(name)
	if err != nil {
		return err
	}
	return e.ready(version)
}

// IndexEntry is a version of a model that may be served.
type IndexEntry struct {
	Name     string
	Version  string
	Promoted bool
	Loaded   bool   // it is in memory: else the first request that asks for it loads it
	Ready    bool   // it can be asked for
	Reason   string // why not
}

// Index returns the versions that may be served, by model in the order of the options, rising. A model without one has an entry without
// a version.
func (m *Models) Index() []IndexEntry {
	var all []IndexEntry
	for _, e := range m.entries {
		all = append(all, e.index()...)
	}
	return all
}

// Load has a model be served again that was unloaded, and looks at the registry now.
func (m *Models) Load(ctx context.Context, name string) error {
	e, err := m.find(name)
	if err != nil {
		return err
	}
	return e.load(ctx)
}

// Unload has a model not be served until [Models.Load]. Requests under way are answered.
func (m *Models) Unload(name string) error {
	e, err := m.find(name)
	if err != nil {
		return err
	}
	e.unload()
	return nil
}
