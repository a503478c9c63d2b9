package oip

import (
	"fmt"
	"net/http"
)

// Error is a failure in the words of the protocol: the body of an HTTP response with this status is {"error": Message}.
type Error struct {
	Status  int // of HTTP: 400, 404, 405, 413, 415, 500, 501, 503
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Errorf returns an error with a status of HTTP.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// invalid returns the error of what is not as the protocol has it.
func invalid(format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, format, args...)
}
