package auth

import "errors"

// ErrUnavailable is that who sends a request cannot be told now, for a reason that is not the request's: the keys of an issuer
// cannot be fetched.
var ErrUnavailable = errors.New("auth: who sends a request cannot be told now")

// Error is why what a request shows is not believed. Its text is for whoever sent the request: it has nothing of a token in it,
// and no more than they need. The cause, for a log at level debug, is in Unwrap.
type Error struct {
	Reason string
	cause  error
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }
