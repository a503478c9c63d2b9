package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// The kinds of errors that a caller may have to tell apart, with errors.Is.
var (
	// ErrCorrupt means that the state on disk is damaged. Nothing is lost: close the DB, [Wipe] its folder, open it
	// again, and restore the stores from their changelogs.
	ErrCorrupt = errors.New("the state on disk is damaged")
	// ErrLocked means that another process, or another DB of this one, has the state folder.
	ErrLocked = errors.New("it is in use")
	// ErrNewer means that a newer version wrote the state folder.
	ErrNewer = errors.New("a newer version wrote it")
	// ErrUnwritable means that the disk does not take the state: it is full, or it fails. Nothing is lost: what is
	// on disk is an older state, with its checkpoints.
	ErrUnwritable = errors.New("it cannot be written")
	// ErrTooLarge means that more is uncommitted than can be committed in one step.
	ErrTooLarge = errors.New("there is too much in one commit")
	// ErrOpen means that a task, or a store of a task, is open already, or still.
	ErrOpen = errors.New("it is open")
	// ErrClosed means that the DB or the task is closed.
	ErrClosed = errors.New("it is closed")
)

// Error is an error that a person has to act on. Its text ends in what to do.
type Error struct {
	Op    string // what was tried: "open the state folder"
	Where string // the state folder, or a task or store in it
	Err   error  // the cause; it matches one of the kinds above where one fits
	hint  string
}

// Error returns what failed, where, why, and what to do.
func (e *Error) Error() string {
	s := "store: " + e.Op + " " + e.Where + ": " + e.Err.Error()
	if e.hint != "" {
		s += ": " + e.hint
	}
	return s
}

// Hint returns what to do, or "".
func (e *Error) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func corruptError(op, dir string, cause error) error {
	return &Error{op, dir, fmt.Errorf("%w: %w", ErrCorrupt, cause), "delete the folder; the state is restored from its changelog topics"}
}

func unwritableError(dir string, cause error) error {
	hint := "see to the disk, then start again"
	if isFull(cause) {
		hint = "free space on its disk, then start again"
	}
	return &Error{"write the state folder", dir, fmt.Errorf("%w: %w", ErrUnwritable, cause), hint + "; nothing is lost: the state is restored from its changelog topics"}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// openError gives an error of opening the folder its kind. What the file system refuses is said as it is; for
// all else there is one explanation: the files are not what Pebble has written.
func openError(dir string, err error) error {
	const op = "open the state folder"
	errno, system := errors.AsType[syscall.Errno](err)
	switch {
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist):
		return corruptError(op, dir, err)
	case isFull(err), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		return unwritableError(dir, err)
	case errors.Is(err, fs.ErrPermission):
		return &Error{op, dir, err, "let this user read and write the folder and everything in it"}
	case system && errno != 0:
		return &Error{op, dir, err, ""}
	default:
		return corruptError(op, dir, err)
	}
}
