package batch

import "errors"

// DataError is a data file that cannot be used as it is.
type DataError struct {
	Path string
	Err  error  // what is wrong with it; not nil
	Hint string // what to do, or ""
	// Unfit tells that the file can be read, but that so little of it fits the schema that training refuses it.
	Unfit bool
}

// Error returns the path and what is wrong.
func (e *DataError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *DataError) Unwrap() error { return e.Err }

var (
	errFormat = errors.New("unknown kind of data file")
	errNoFile = errors.New("not a file: it is a folder, a named pipe or a device")
)
