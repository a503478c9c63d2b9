package source

import (
	"errors"
	"fmt"
	"io/fs"
)

// DataError is data that cannot be used as it is.
type DataError struct {
	Path string // the file, the pattern or the topic's range
	Err  error  // what is wrong with it; not nil
	Hint string // what to do, or ""
	// Unfit tells that the data can be read, but that so little of it fits the schema that training refuses it.
	Unfit bool
}

// Error returns the path and what is wrong.
func (e *DataError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *DataError) Unwrap() error { return e.Err }

// What errors match that programs tell apart.
var (
	// ErrFormat is a name that does not say what is in the file.
	ErrFormat = errors.New("unknown kind of data file")
	// ErrNoFile is a path that leads to something else than a file.
	ErrNoFile = errors.New("not a file: it is a folder, a named pipe or a device")
	// ErrNoMatch is a pattern that no file matches.
	ErrNoMatch = errors.New("no file matches")
	// ErrChanged is data that is not what it was when it was opened.
	ErrChanged = errors.New("it changed while it was read")
	// ErrDamaged is data that was cut short, or whose bytes are not those that were written.
	ErrDamaged = errors.New("damaged")
)

// damage is what is wrong inside a file, before somebody knows its name.
type damage struct {
	err  error
	hint string
}

// Error returns what is wrong.
func (d *damage) Error() string { return d.err.Error() }

// Unwrap returns what is wrong.
func (d *damage) Unwrap() error { return d.err }

// Is tells that d is [ErrDamaged].
func (d *damage) Is(target error) bool { return target == ErrDamaged }

// inFile names the file of an error that was met in it. What the system says is no fault of the data.
func inFile(path string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	e := &DataError{Path: path, Err: err}
	if d, ok := errors.AsType[*damage](err); ok {
		e.Hint = d.hint
	}
	return e
}

// copyAgain is what to do about bytes that are not those that were written.
const copyAgain = "copy the file again, or make it anew"
