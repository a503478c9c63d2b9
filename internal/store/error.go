package store

import "errors"

// The kinds of errors that a caller may have to tell apart, with errors.Is.
var (
	// ErrCorrupt means that the state on disk is damaged. Nothing is lost: [Wipe] the folder, open it again, and
	// restore the stores from their changelogs.
	ErrCorrupt = errors.New("the state on disk is damaged")
	// ErrLocked means that another process, or another DB of this one, has the state folder.
	ErrLocked = errors.New("the state folder is in use")
	// ErrNewer means that a newer version wrote the state folder.
	ErrNewer = errors.New("a newer version wrote the state folder")
	// ErrUnwritable means that the disk does not take the state: it is full, or it fails.
	ErrUnwritable = errors.New("the state cannot be written")
	// ErrOpen means that a task, or a store of a task, is open already.
	ErrOpen = errors.New("it is open already")
	// ErrClosed means that the DB or the task is closed.
	ErrClosed = errors.New("it is closed")
)

// Error is an error that a person has to act on. Its text ends in what to do.
type Error struct {
	Op    string // what was tried: "open the state folder"
	Where string // the state folder, or a task or store in it
	Err   error  // the cause; it matches one of the kinds above
	hint  string
}

// Error returns what failed, where, why, and what to do.
func (e *Error) Error() string {
	s := "store: " + e.Op
	if e.Where != "" {
		s += " " + e.Where
	}
	s += ": " + e.Err.Error()
	if e.hint != "" {
		s += ": " + e.hint
	}
	return s
}

// Hint returns what to do, or "".
func (e *Error) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
