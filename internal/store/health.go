package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// health knows whether the disk takes what Pebble writes in the background. Pebble tells its listener and its
// logger; those who write ask.
//
// There are two kinds of trouble. A flush or a compaction that fails is tried again, with growing pauses, and may
// succeed later: nothing is lost meanwhile, but memory fills. After an error of the manifest, which says what files
// there are, Pebble cannot go on, and would end the process. Instead the goroutine that met the error stops
// there for ever, with the right to write the manifest in its hands and no lock, so that no other can make a change
// of files, and the folder stays as it is, as if the process had died. Reading goes on; every write is
// refused until the state is opened anew, and this Pebble is never closed.
type health struct {
	dir    string
	logger *slog.Logger
	after  func(time.Duration) <-chan time.Time // time.After, save in tests

	mu       sync.Mutex
	opened   bool  // from here on a file that is to be created waits where it makes sense to wait
	dead     error // why Pebble cannot go on
	corrupt  error // damage that was found
	flush    error // why the last flush failed
	compact  error // why the last compaction failed
	failures int   // of flushes and compactions in a row
	flushes  int   // how many have ended
	changed  chan struct{}
	died     chan struct{} // closed when dead is set
	closing  chan struct{} // closed when the DB is
	onDamage func(error)   // called once, on a goroutine of its own
	onFile   func()        // called when files have changed; must not block
	running  sync.WaitGroup
}

func newHealth(dir string, logger *slog.Logger) *health {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &health{
		dir: dir, logger: logger, after: time.After,
		changed: make(chan struct{}), died: make(chan struct{}), closing: make(chan struct{}),
		onDamage: func(error) {}, onFile: func() {},
	}
}

// begin is called when the DB is open, or before Pebble does anything in the background.
func (h *health) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened = true
}

// The pauses between the tries of a flush or a compaction that fails.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// update changes the state, and wakes who waits for that.
func (h *health) update(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// report is what health knows at a moment.
type report struct {
	fatal          error // every write has to be refused with it
	flush, compact error // why the last flush, the last compaction has failed
	failures       int   // in a row
	flushes        int   // how many have ended, well or not
	changed        <-chan struct{}
}

func (h *health) report() report {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := report{flush: h.flush, compact: h.compact, failures: h.failures, flushes: h.flushes, changed: h.changed}
	if h.corrupt != nil {
		r.fatal = corruptError("use the state folder", h.dir, h.corrupt)
	} else if h.dead != nil {
		r.fatal = unwritableError(h.dir, h.dead)
	}
	return r
}

// alive tells whether the files may still change.
func (h *health) alive() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead != nil {
		return fmt.Errorf("after an error of the state folder: %w", h.dead)
	}
	return nil
}

// die notes that Pebble cannot go on.
func (h *health) die(err error) {
	h.mu.Lock()
	again := h.dead != nil
	h.mu.Unlock()
	if again {
		return
	}
	h.logger.Error("the state folder has failed", slog.String("folder", h.dir), slog.String("error", err.Error()))
	h.update(func() {
		if h.dead == nil {
			h.dead = err
			close(h.died)
		}
	})
}

// fatal is called with an error of what Pebble cannot do without. It does not return once the DB is open.
func (h *health) fatal(err error) error {
	h.die(err)
	h.mu.Lock()
	opened := h.opened
	h.mu.Unlock()
	if opened {
		select {}
	}
	return err
}

// damage notes that a file is corrupt.
func (h *health) damage(err error) {
	h.mu.Lock()
	again := h.corrupt != nil
	h.mu.Unlock()
	if again {
		return
	}
	h.logger.Error("the state folder is damaged", slog.String("folder", h.dir), slog.String("error", err.Error()))
	h.update(func() { h.corrupt = err })
	h.running.Go(func() { h.onDamage(err) })
}

// pause waits before the next file is created, the longer the more often that was in vain, and for ever where Pebble
// cannot go on.
func (h *health) pause() {
	h.mu.Lock()
	opened, dead, n := h.opened, h.dead != nil, h.failures
	h.mu.Unlock()
	if !opened {
		return
	}
	if dead {
		select {}
	}
	if n > 0 {
		select {
		case <-h.after(min(firstPause<<min(n-1, 10), lastPause)):
		case <-h.closing:
		}
	}
}

// ended notes how a flush or compaction ended.
func (h *health) ended(what string, state *error, err error) {
	if err != nil && pebble.IsCorruptionError(err) {
		h.damage(err)
	}
	h.mu.Lock()
	before := *state
	h.mu.Unlock()
	if err != nil && before == nil {
		h.logger.Warn("the state folder cannot be written: trying again", slog.String("folder", h.dir), slog.String("what", what), slog.String("error", err.Error()))
	} else if err == nil && before != nil {
		h.logger.Info("the state folder can be written again", slog.String("folder", h.dir), slog.String("what", what))
	}
	h.update(func() {
		if state == &h.flush {
			h.flushes++
		}
		if *state = err; err != nil {
			h.failures++
		} else {
			h.failures = 0
		}
	})
	h.onFile()
}

// nothingToFlush is the text of the error with which a flush ends well whose writes have cancelled each other out.
// Pebble does not export it.
const nothingToFlush = "pebble: empty table"

// listener returns what Pebble tells of its background work. Pebble holds its lock meanwhile.
func (h *health) listener() *pebble.EventListener {
	return &pebble.EventListener{
		FlushEnd: func(info pebble.FlushInfo) {
			err := info.Err
			if err != nil && err.Error() == nothingToFlush {
				err = nil
			}
			h.ended("flush", &h.flush, err)
		},
		BackgroundError: func(err error) {
			if pebble.IsCorruptionError(err) {
				h.damage(err)
			}
		},
		FlushBegin:      func(pebble.FlushInfo) { h.begin() },
		CompactionBegin: func(pebble.CompactionInfo) { h.begin() },
		CompactionEnd: func(info pebble.CompactionInfo) {
			if !errors.Is(info.Err, pebble.ErrCancelledCompaction) {
				h.ended("compaction", &h.compact, info.Err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) { h.damage(fmt.Errorf("%s: %w", info.Path, info.Details)) },
	}
}

// pebbleLogger is what Pebble takes for its logger.
type pebbleLogger struct{ h *health }

// Infof is called for every flush and compaction, which is of no interest here.
func (pebbleLogger) Infof(string, ...any) {}

// Errorf is called for what the listener is told of, too.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.h.logger.Debug("pebble", slog.String("error", fmt.Sprintf(format, args...)))
}

// Fatalf is called where Pebble wants the process to end; [health.fatal] has most of the reasons for that before. It
// returns, and the error comes out of the next write.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if e, ok := a.(error); ok {
			err = e
		}
	}
	l.h.die(err)
}
