// Package objects keeps write-once objects by name: in a folder, or in a bucket of an object store that speaks S3.
// Both keep the same promises, so that what is built on them need not know which of the two it has.
//
// The promises: of several writers of one name exactly one wins, and the others learn of it; a reader sees an object
// whole or not at all; what was written is still there after a crash.
package objects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/internal/durable"
)

// Errors of this package, to be told apart with [errors.Is]. That there is no such object, or already one of that
// name, is an error that matches [io/fs.ErrNotExist] or [io/fs.ErrExist].
var (
	// ErrSetup means that the location, the bucket, the credentials or the server are not what they must be: doing
	// the same again will not help.
	ErrSetup = errors.New("set-up")
	// ErrUnreachable means that a server did not answer, or not in time: a retry may help. Whether what was to be
	// written was written is not known.
	ErrUnreachable = errors.New("unreachable")
)

// Info is what is known of an object without reading it.
type Info struct {
	Size     int64     // bytes
	Modified time.Time // when it was written, by the store's own clock
}

// Store is a set of objects. Names are slash-separated paths without dot elements. A Store is safe for concurrent use,
// also by several processes.
type Store interface {
	// Location returns where the store is, as [Open] takes it.
	Location() string
	// Name returns what a person calls the object name: its path, or its address.
	Name(name string) string
	// Create makes the object name hold data. When it returns nil, the object holds these bytes, and is there after a
	// crash; so are the objects of the same folder that could be seen before. An error matches [io/fs.ErrExist] if
	// there is one of that name; that one is then there after a crash too. After another error the object may be
	// there or not, or come to be there later: doing it again is always right.
	Create(ctx context.Context, name string, data []byte) error
	// Read returns the content of an object, but at most limit bytes of it, and one more if there are more. An error
	// matches [io/fs.ErrNotExist] if there is none of that name.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
	// Stat returns what is known of an object. An error matches [io/fs.ErrNotExist] if there is none of that name.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns the names of the objects in a folder and the folders below it, those that sort behind after,
	// sorted. A folder that does not exist has none.
	List(ctx context.Context, folder, after string) ([]string, error)
	// Remove removes an object, if it is there.
	Remove(ctx context.Context, name string) error
	// Now returns the time by the store's own clock, to tell the age of objects. It may need the right to write.
	Now(ctx context.Context) (time.Time, error)
	// Clean removes what crashed writers have left half-written and is older than age. It returns how many pieces
	// that are; with dry it only counts them.
	Clean(ctx context.Context, age time.Duration, dry bool) (int, error)
}

// Open returns the store at a location: the path of a folder, which need not exist, or the address of a bucket (see
// [ParseAddress]). It does not look for the bucket yet. An error matches [ErrSetup].
func Open(location string) (Store, error) {
	if !IsAddress(location) {
		return NewFolder(location, durable.OS()), nil
	}
	a, err := ParseAddress(location)
	if err != nil {
		return nil, err
	}
	return openS3(a)
}

// setup is an error that no retry mends. Programs that show hints apart ask for Hint; the text of the error has it at
// its end.
type setup struct {
	err  error
	hint string
}

func setupError(hint, format string, args ...any) error {
	return &setup{fmt.Errorf("%w: %w", ErrSetup, fmt.Errorf(format, args...)), hint}
}

// Error returns what is wrong, and the hint.
func (e *setup) Error() string { return e.err.Error() + ": " + e.hint }

// Hint returns what to do.
func (e *setup) Hint() string { return e.hint }

// Unwrap returns the error without the hint.
func (e *setup) Unwrap() error { return e.err }
