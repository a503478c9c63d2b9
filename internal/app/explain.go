package app

import (
	"errors"
	"io/fs"
	"syscall"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/source"
	"millrace.dev/internal/trust"
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
	if e, ok := errors.AsType[*source.DataError](err); ok {
		if e.Unfit {
			return Refused, e.Hint
		}
		return Usage, e.Hint
	}
	if faults := feature.Errors(err); len(faults) > 0 { // which only the training rows have shown
		return Usage, faults[0].Hint
	}
	code, hint := explainKind(err)
	if e, ok := errors.AsType[hinted](err); ok {
		hint = e.Hint()
	}
	return code, hint
}

// explainKind is Explain for errors that are told by what they match.
func explainKind(err error) (Code, string) {
	is := func(list ...error) bool {
		for _, e := range list {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case is(registry.ErrNotApproved, trust.ErrUntrusted):
		return Refused, ""
	case is(pipeline.ErrCheck):
		return Refused, "look at the record; where it is right, change the rule or its outcome, and start again: the record is then read again"
	case is(pipeline.ErrGolden):
		return Refused, "train the model again with this version of millrace"
	case is(model.ErrCorrupt, registry.ErrCorrupt, registry.ErrArchive):
		return Refused, "the file is not what was written: restore it from a backup"
	case is(registry.ErrNotFound, registry.ErrInvalid, registry.ErrRejected, registry.ErrNewer, registry.ErrPurged, registry.ErrSetup, trust.ErrInvalid):
		return Usage, ""
	case is(registry.ErrUnreachable):
		return Failed, "look at the network and at the server, and do it again"
	case is(model.ErrNewer, model.ErrNotBundle, model.ErrTooLarge):
		return Usage, ""
	case is(devbroker.ErrLocked):
		return Failed, "stop that process, or give this broker a folder of its own with --dir"
	case is(devbroker.ErrPortInUse):
		return Failed, "stop that process, or choose another address with --listen"
	case is(fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, syscall.ENOTDIR, syscall.EISDIR):
		return Usage, ""
	default:
		return Failed, ""
	}
}
