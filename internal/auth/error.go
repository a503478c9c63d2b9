package auth

import "errors"

// ErrUnavailable is that who sends a request cannot be told now, for a reason that is not the request's: the keys of an issuer
// cannot be fetched.
var ErrUnavailable = errors.New("auth: who sends a request cannot be told now")
