package serve

import (
	"errors"
	"fmt"
	"time"
)

// Why a request is not answered with predictions.
var (
	// ErrUnknownModel says that no model has the name.
	ErrUnknownModel = errors.New("there is no such model")
	// ErrUnknownVersion says that the model has no version of the number that may be served.
	ErrUnknownVersion = errors.New("there is no such version that is approved")
	// ErrNotReady says that the version is not served now: the model is unloaded, no version is promoted, or it cannot be loaded.
	ErrNotReady = errors.New("the model is not ready")
	// ErrBusy says that too many rows wait: what is asked again a little later may find room. The error is a [BusyError].
	ErrBusy = errors.New("too many records wait to be predicted")
	// ErrDraining says that no more requests are taken, since the server is about to end.
	ErrDraining = errors.New("the server is about to end")
	// ErrWindows says that the model needs aggregates of the records before one, which a request does not bring.
	ErrWindows = errors.New("the model uses windows, which only a stream knows: send the inputs of the model, or predict with millrace run")
)

// LoadError says that a model, or a version of one, cannot be had from its registry. It matches [ErrNotReady]. Its text says why, with
// the files and addresses of the registry in it: that is for the log, and Public for clients.
type LoadError struct {
	Ref string // the model or the version
	Err error
}

// Error says what cannot be loaded, and why.
func (e *LoadError) Error() string { return fmt.Sprintf("%v: load %s: %v", ErrNotReady, e.Ref, e.Err) }

// Public says what cannot be loaded, and where it is said why.
func (e *LoadError) Public() string {
	return fmt.Sprintf("%v: %s cannot be loaded: the log of the server says why", ErrNotReady, e.Ref)
}

// Is tells whether the target is [ErrNotReady].
func (*LoadError) Is(target error) bool { return target == ErrNotReady }

// Unwrap returns why it cannot be loaded.
func (e *LoadError) Unwrap() error { return e.Err }

// public returns the text of an error as anybody may see it.
func public(err error) string {
	if load, ok := errors.AsType[*LoadError](err); ok {
		return load.Public()
	}
	return err.Error()
}

// BusyError says that too many rows wait. It matches [ErrBusy].
type BusyError struct {
	Waiting    int // rows
	RetryAfter time.Duration
}

// Error says how many rows wait.
func (e *BusyError) Error() string { return fmt.Sprintf("%v: %d", ErrBusy, e.Waiting) }

// Is tells whether the target is [ErrBusy].
func (e *BusyError) Is(target error) bool { return target == ErrBusy }
