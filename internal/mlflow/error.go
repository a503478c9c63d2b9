package mlflow

import (
	"errors"
	"fmt"
	"net/http"
)

// Code is an error code of MLflow.
type Code string

// The codes that this package uses.
const (
	Missing          Code = "RESOURCE_DOES_NOT_EXIST"
	InvalidParameter Code = "INVALID_PARAMETER_VALUE"
	PermissionDenied Code = "PERMISSION_DENIED"
	Unauthenticated  Code = "UNAUTHENTICATED"
	BadRequest       Code = "BAD_REQUEST"
	NoEndpoint       Code = "ENDPOINT_NOT_FOUND"
	Conflict         Code = "RESOURCE_CONFLICT"
	Busy             Code = "REQUEST_LIMIT_EXCEEDED"
	Unavailable      Code = "TEMPORARILY_UNAVAILABLE"
	Internal         Code = "INTERNAL_ERROR"
)

// Status returns the HTTP status that goes with a code; 500 for one that is not known.
func (c Code) Status() int {
	switch c {
	case InvalidParameter, BadRequest:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case PermissionDenied:
		return http.StatusForbidden
	case Missing, NoEndpoint:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Busy:
		return http.StatusTooManyRequests
	case Unavailable:
		return http.StatusServiceUnavailable
	case Internal:
	}
	return http.StatusInternalServerError
}

// CodeOf returns the code that a client expects with an HTTP status.
func CodeOf(status int) Code {
	for _, c := range []Code{BadRequest, Unauthenticated, PermissionDenied, NoEndpoint, Conflict, Busy, Unavailable} {
		if c.Status() == status {
			return c
		}
	}
	if status >= 400 && status < 500 {
		return BadRequest
	}
	return Internal
}

// Error is an answer that says why something was not done: {"error_code", "message"}.
type Error struct {
	Code    Code
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func failed(c Code, format string, args ...any) *Error {
	return &Error{c, fmt.Sprintf(format, args...)}
}

// asError returns the error that a client is told.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Internal, "the registry has failed; the log of the server says why"}
}
