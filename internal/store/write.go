package store

import (
	"errors"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// How far committed writes may run ahead of the files. Pebble itself would wait without end where a disk is full.
const (
	// tries is how often a flush or a compaction has to fail in a row before a write that waits for it fails, too.
	tries = 3
	// maxSublevels is how many layers of files a read may have to look at before writes wait for the compactions.
	maxSublevels = 20
	// look is how often a write that waits looks whether there is room, whatever Pebble tells.
	look = 100 * time.Millisecond
)

// apply writes a batch to Pebble, once there is room for it.
func (db *DB) apply(b *pebble.Batch) error {
	if err := db.admit(int64(b.Len())); err != nil {
		return err
	}
	return db.applyAdmitted(b)
}

// applyAdmitted writes a batch that there is room for.
func (db *DB) applyAdmitted(b *pebble.Batch) error {
	if err := db.pebble.Apply(b, pebble.NoSync); err != nil {
		return unwritableError(db.folder.dir, err)
	}
	return db.health.report().fatal // of some errors Pebble tells its logger only
}

// admit waits until there is room for n more bytes in memory.
func (db *DB) admit(n int64) error {
	if r := db.health.report(); r.fatal != nil {
		return r.fatal
	}
	if db.unseen.Add(n) < db.memTable/4 {
		return nil // asking Pebble costs more than a small write
	}
	for {
		r := db.health.report()
		if r.fatal != nil {
			return r.fatal
		}
		m := db.metrics()
		if m == nil {
			continue // it has died: the report says so now
		}
		flush, compact := int64(m.MemTable.Size) >= db.memTables, m.Levels[0].Sublevels >= maxSublevels
		switch {
		case !flush && !compact:
			db.unseen.Store(0)
			return nil
		case flush && r.flush != nil && r.failures >= tries:
			return unwritableError(db.folder.dir, r.flush)
		case compact && r.compact != nil && r.failures >= tries:
			return unwritableError(db.folder.dir, r.compact)
		}
		timer := time.NewTimer(look)
		select {
		case <-r.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// metrics asks Pebble for its metrics, for which it needs what a Pebble that has died never gives back: then it
// returns nil.
func (db *DB) metrics() *pebble.Metrics {
	got := make(chan *pebble.Metrics, 1)
	go func() { got <- db.pebble.Metrics() }()
	select {
	case m := <-got:
		return m
	case <-db.health.died:
		return nil
	}
}

// Flush brings everything that is committed to the disk, so that a restart restores nothing. Errors match
// [ErrUnwritable] or [ErrCorrupt]; what is on disk is then an older state.
func (db *DB) Flush() error {
	leave, err := db.enter("flush the state folder")
	if err != nil {
		return err
	}
	defer leave()
	if db.pebble == nil {
		return nil
	}
	r := db.health.report()
	if r.fatal != nil {
		return r.fatal
	}
	flushed, err := db.pebble.AsyncFlush()
	if err != nil {
		return unwritableError(db.folder.dir, err)
	}
	for before := r.flushes; ; {
		r := db.health.report()
		if r.fatal != nil {
			return r.fatal
		}
		if r.flush != nil && r.failures >= tries && r.flushes-before >= tries {
			return unwritableError(db.folder.dir, r.flush)
		}
		select {
		case <-flushed:
			return db.health.report().fatal
		case <-r.changed:
		}
	}
}

// readError gives an error of reading its kind.
func (db *DB) readError(err error) error {
	if err == nil {
		return nil
	}
	const op = "read the state folder"
	if pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) {
		db.health.damage(err)
		return corruptError(op, db.folder.dir, err)
	}
	return &Error{op, db.folder.dir, err, "see to the disk, then start again"}
}
