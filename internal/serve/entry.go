package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"
)

// loadTimeout bounds how long a registry may take for an answer while it is followed.
const loadTimeout = time.Minute

// mostRetry is the longest time after which a version that could not be loaded is tried again.
const mostRetry = time.Minute

// entry is a model that is served.
type entry struct {
	name    string
	source  Source
	options *Options
	queue   *queue
	loading chan struct{} // has room for who loads a version, or reads the state: one at a time

	mu       sync.Mutex
	begun    bool // start is done
	state    State
	stale    error // why the state is not known to be that of now; nil: it is
	stales   uint64
	promoted *Version
	kept     []*Version // beside it, the one that was used last first
	unloaded bool
	failed   map[int]*failure // versions that could not be loaded
	stats    map[int]*stats   // by number, for good
	digests  map[int]string   // likewise
	swaps    uint64
}

// failure is a version that could not be loaded.
type failure struct {
	err   error
	tries int
	next  time.Time // not to be tried before
}

func newEntry(o *Options, q *queue, of ModelOptions) *entry {
	return &entry{
		name: of.Name, source: of.Source, options: o, queue: q, loading: make(chan struct{}, 1),
		failed: map[int]*failure{}, stats: map[int]*stats{}, digests: map[int]string{},
	}
}

// begin waits until nobody else loads.
func (e *entry) begin(ctx context.Context) error {
	select {
	case e.loading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *entry) end() { <-e.loading }

// start loads what is promoted, without which there is nothing to serve.
func (e *entry) start(ctx context.Context) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.end()
	s, err := e.source.State(ctx)
	if err != nil {
		return err
	}
	if s.Promoted == 0 {
		return fmt.Errorf("%w: no version of %s is promoted", ErrNotReady, e.name)
	}
	v, err := e.read(ctx, s.Promoted)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state, e.promoted, e.begun = s, v, true
	return nil
}

// follow looks at the registry again and again, until ctx ends.
func (e *entry) follow(ctx context.Context) {
	tick := time.NewTicker(e.options.Refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.mu.Lock()
		unloaded := e.unloaded
		e.mu.Unlock()
		if unloaded {
			continue
		}
		if err := e.refresh(ctx, false); err != nil && ctx.Err() == nil {
			e.options.Log.LogAttrs(ctx, slog.LevelDebug, "the registry was looked at in vain", slog.String("model", e.name), slog.Any("error", err))
		}
	}
}

// refresh goes over to what is promoted now. force tries a version again that could not be loaded a moment ago.
func (e *entry) refresh(ctx context.Context, force bool) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.end()
	s, err := e.source.State(ctx)
	if err != nil {
		e.isStale(ctx, err)
		return err
	}
	e.isCurrent(ctx, s)
	e.mu.Lock()
	next := s.Promoted
	present := e.promoted
	f := e.failed[next]
	e.mu.Unlock()
	switch {
	case next == 0 || present != nil && present.number == next:
		return nil
	case f != nil && !force && e.options.Now().Before(f.next):
		return f.err
	}
	v, err := e.get(ctx, next)
	if err != nil {
		e.options.Log.LogAttrs(ctx, slog.LevelError, "the version that is promoted cannot be served; the one before goes on",
			slog.String("version", ref(e.name, next)), slog.Any("error", err))
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unloaded { // meanwhile: nothing of it stays in memory
		return nil
	}
	e.promoted = v
	e.swaps++
	e.kept = slices.DeleteFunc(e.kept, func(k *Version) bool { return k == v })
	if present != nil && e.state.allows(present.number) {
		e.keep(present)
	}
	e.options.Log.LogAttrs(ctx, slog.LevelInfo, "another version has taken over", slog.String("version", v.Ref()), slog.String("digest", v.Digest()))
	return nil
}

// isStale notes that the registry did not answer.
func (e *entry) isStale(ctx context.Context, err error) {
	e.mu.Lock()
	first := e.stale == nil
	e.stale = err
	e.stales++
	e.mu.Unlock()
	if first && ctx.Err() == nil {
		e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the registry does not answer; the present versions go on", slog.String("model", e.name), slog.Any("error", err))
	}
}

// isCurrent takes over what the registry says, but for the version that is promoted: it has to be loaded first. What may not be served
// any more is let go.
func (e *entry) isCurrent(ctx context.Context, s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stale != nil {
		e.options.Log.LogAttrs(ctx, slog.LevelInfo, "the registry answers again", slog.String("model", e.name))
	}
	e.state, e.stale = s, nil
	e.kept = slices.DeleteFunc(e.kept, func(v *Version) bool { return !s.allows(v.number) })
	for n := range e.failed {
		if !s.allows(n) {
			delete(e.failed, n)
		}
	}
	if v := e.promoted; v != nil && (!s.allows(v.number) || s.Promoted == 0) {
		e.promoted = nil
		e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the version that was served is not promoted any more, and no other one is", slog.String("version", v.Ref()))
	}
}

// keep puts a version in front of those that are kept, of which the last one may have to go.
func (e *entry) keep(v *Version) {
	e.kept = slices.Insert(slices.DeleteFunc(e.kept, func(k *Version) bool { return k == v }), 0, v)
	if len(e.kept) > e.options.Keep {
		clear(e.kept[e.options.Keep:])
		e.kept = e.kept[:e.options.Keep]
	}
}

// present returns a version that is in memory, or nil. The caller holds mu.
func (e *entry) present(number int) *Version {
	if v := e.promoted; v != nil && v.number == number {
		return v
	}
	for _, v := range e.kept {
		if v.number == number {
			return v
		}
	}
	return nil
}

// get returns a version that is in memory, or reads it. The caller is the one that loads.
func (e *entry) get(ctx context.Context, number int) (*Version, error) {
	e.mu.Lock()
	v := e.present(number)
	e.mu.Unlock()
	if v != nil {
		return v, nil
	}
	v, err := e.read(ctx, number)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		delete(e.failed, number)
	case ctx.Err() != nil: // who asked has gone
	default:
		f := e.failed[number]
		if f == nil {
			f = &failure{}
			e.failed[number] = f
		}
		f.err = err
		f.next = e.options.Now().Add(min(mostRetry, e.options.Refresh<<min(f.tries, 16)))
		f.tries++
	}
	return v, err
}

// read reads a version from the registry.
func (e *entry) read(ctx context.Context, number int) (*Version, error) {
	l, err := e.source.Load(ctx, number)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &LoadError{Ref: ref(e.name, number), Err: err}
	}
	e.mu.Lock()
	s := e.stats[number]
	if s == nil {
		s = &stats{}
		e.stats[number] = s
	}
	e.digests[number] = l.Digest
	e.mu.Unlock()
	v, err := newVersion(e.name, number, l, e.queue, s)
	if err != nil {
		return nil, &LoadError{Ref: ref(e.name, number), Err: err}
	}
	return v, nil
}

// number returns the number that a request's version stands for; 0 is the promoted one.
func (e *entry) number(version string) (int, error) {
	if version == "" || version == Latest {
		return 0, nil
	}
	n, err := strconv.Atoi(version)
	if err != nil || n < 1 || strconv.Itoa(n) != version {
		return 0, fmt.Errorf("%w: %s has no version %.40q: versions are numbers from 1", ErrUnknownVersion, e.name, version)
	}
	return n, nil
}

// open returns a version to predict with.
func (e *entry) open(ctx context.Context, version string) (*Version, error) {
	number, err := e.number(version)
	if err != nil {
		return nil, err
	}
	v, err := e.find(number)
	if v != nil || err != nil {
		return v, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.end()
	if v, err = e.find(number); v != nil || err != nil { // while we waited
		return v, err
	}
	if v, err = e.get(ctx, number); err != nil {
		if !isContext(err) {
			e.options.Log.LogAttrs(ctx, slog.LevelError, "a version cannot be served", slog.String("version", ref(e.name, number)), slog.Any("error", err))
		}
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unloaded || !e.state.allows(number) {
		return nil, e.missing(number)
	}
	e.keep(v)
	return v, nil
}

// find returns a version that is in memory; nil without an error is one that can be loaded.
func (e *entry) find(number int) (*Version, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.missing(number); err != nil {
		return nil, err
	}
	if number == 0 {
		return e.promoted, nil
	}
	v := e.present(number)
	if v != nil && v != e.promoted {
		e.keep(v)
	}
	return v, nil
}

// missing returns why a version cannot be had; nil if it is in memory, or may be loaded. 0 is the promoted one. The caller holds mu.
func (e *entry) missing(number int) error {
	switch {
	case e.unloaded:
		return fmt.Errorf("%w: %s is unloaded", ErrNotReady, e.name)
	case !e.begun:
		return fmt.Errorf("%w: %s and its tables are being read", ErrNotReady, e.name)
	case number == 0 && e.promoted == nil:
		if f := e.failed[e.state.Promoted]; f != nil {
			return f.err
		}
		if e.state.Promoted != 0 {
			return fmt.Errorf("%w: %s is not loaded yet", ErrNotReady, ref(e.name, e.state.Promoted))
		}
		return fmt.Errorf("%w: no version of %s is promoted", ErrNotReady, e.name)
	case number == 0:
		return nil
	case !e.state.allows(number):
		return fmt.Errorf("%w: %s", ErrUnknownVersion, ref(e.name, number))
	}
	if f := e.failed[number]; f != nil && e.present(number) == nil && e.options.Now().Before(f.next) {
		return f.err
	}
	return nil
}

func (e *entry) ready(version string) error {
	number, err := e.number(version)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.missing(number)
}

func (e *entry) isUnloaded() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unloaded
}

func (e *entry) unload() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unloaded, e.promoted, e.kept = true, nil, nil
	e.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "a model was unloaded", slog.String("model", e.name))
}

func (e *entry) load(ctx context.Context) error {
	e.mu.Lock()
	e.unloaded = false
	e.mu.Unlock()
	if err := e.refresh(ctx, true); err != nil {
		if isContext(err) || errors.Is(err, ErrNotReady) {
			return err // it is in the log
		}
		e.options.Log.LogAttrs(ctx, slog.LevelError, "a model cannot be loaded: its registry does not answer", slog.String("model", e.name), slog.Any("error", err))
		return &LoadError{Ref: e.name, Err: err}
	}
	return e.ready("")
}

func (e *entry) index() []IndexEntry {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []IndexEntry
	for _, n := range e.state.Approved {
		v := e.present(n)
		i := IndexEntry{Name: e.name, Version: strconv.Itoa(n), Promoted: v != nil && v == e.promoted, Loaded: v != nil, Ready: true}
		if err := e.missing(n); err != nil {
			i.Ready, i.Reason = false, public(err)
		}
		all = append(all, i)
	}
	if len(all) == 0 {
		all = append(all, IndexEntry{Name: e.name, Reason: public(e.missing(0))})
	}
	return all
}
