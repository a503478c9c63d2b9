package registry

import (
	"errors"

	"millrace.dev/internal/registry/objects"
	"millrace.dev/internal/trust"
)

// Errors of this package, to be told apart with [errors.Is].
var (
	// ErrNotFound means that there is no such model, version or alias.
	ErrNotFound = errors.New("not found")
	// ErrNotApproved means that a version may not run because nobody approved it, or because it was rejected.
	ErrNotApproved = errors.New("not approved")
	// ErrRejected means that a version was rejected, which is final.
	ErrRejected = errors.New("already rejected")
	// ErrInvalid means that an argument is not what it should be.
	ErrInvalid = errors.New("invalid")
	// ErrCorrupt means that the registry does not hold what was written to it.
	ErrCorrupt = errors.New("damaged registry")
	// ErrUntrusted means that a signature is missing or wrong, or that who signed may not do that.
	ErrUntrusted = trust.ErrUntrusted
	// ErrNoKey means that a signature is demanded, and there is no key to sign with.
	ErrNoKey = errors.New("there is no key")
	// ErrNewer means that a later millrace wrote to the registry.
	ErrNewer = errors.New("registry of a later millrace")
	// ErrPurged means that a bundle is not there any more: it was removed on purpose.
	ErrPurged = errors.New("purged")
	// ErrArchive means that a file is not what an export has written.
	ErrArchive = errors.New("not an exported model, or a damaged one")
	// ErrSetup means that the location, the bucket, the credentials or the server are not what they must be.
	ErrSetup = objects.ErrSetup
	// ErrUnreachable means that the server did not answer: a retry may help.
	ErrUnreachable = objects.ErrUnreachable
)

// hinted is an error that says what to do about it. Programs that show hints apart ask for Hint; the text of the
// error has it at its end.
type hinted struct {
	error

	hint string
}

// withHint adds to err what to do about it.
func withHint(err error, hint string) error { return &hinted{err, hint} }

// Error returns what is wrong, and the hint.
func (h *hinted) Error() string { return h.error.Error() + ": " + h.hint }

// Hint returns what to do.
func (h *hinted) Hint() string { return h.hint }

// Unwrap returns the error without the hint.
func (h *hinted) Unwrap() error { return h.error }
