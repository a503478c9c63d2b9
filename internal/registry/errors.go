package registry

import "errors"

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
	// ErrCorrupt means that the folder does not hold what was written to it.
	ErrCorrupt = errors.New("damaged registry")
	// ErrNewer means that a later millrace wrote to the folder.
	ErrNewer = errors.New("registry of a later millrace")
)
