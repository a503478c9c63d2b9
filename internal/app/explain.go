package app

import (
	"errors"

	"millrace.dev/internal/config"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

// Explain returns the exit code of an error and what to do about it, or "" where the error says so itself. It is the
// one place that turns the errors of the packages below into exit codes.
func Explain(err error) (Code, string) {
	if err == nil {
		return OK, ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code, e.Hint
	}
	if e, ok := errors.AsType[*kafka.Error](err); ok {
		return Code(e.Code.ExitStatus()), e.Hint
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return Usage, ""
	}
	is := func(list ...error) bool {
		for _, e := range list {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case is(registry.ErrNotApproved):
		return Refused, ""
	case is(model.ErrCorrupt, registry.ErrCorrupt):
		return Refused, "the file is not what was written: restore it from a backup, or train again"
	case is(registry.ErrNotFound, registry.ErrInvalid, registry.ErrRejected):
		return Usage, ""
	case is(registry.ErrNewer, model.ErrNewer, model.ErrNotBundle, model.ErrTooLarge):
		return Usage, ""
	case is(devbroker.ErrLocked, devbroker.ErrPortInUse):
		return Failed, ""
	default:
		return Failed, ""
	}
}
