package app

import (
	"slices"
	"strings"

	"millrace.dev/feature"
)

// Code is what the process exits with.
type Code int

// The exit codes. A scheduler can rely on them.
const (
	OK      Code = 0  // done
	Failed  Code = 1  // failed: a retry may help
	Usage   Code = 2  // the command line, the pipeline file or what they name is wrong: a retry will not help
	Refused Code = 3  // a gate refused: a model that is not approved, or is not what was approved; data that does not fit the schema; samples that differ
	Nothing Code = 99 // there was nothing to do
)

// Error is an error for the person at the terminal: what failed, where, and what to do about it.
type Error struct {
	Code  Code
	Op    string // what was being done: "train", "open registry"; or ""
	Where string // file:line, topic/partition/offset, or ""
	Hint  string // what to do, or ""
	Err   error
}

// Error returns op, place and cause on one line.
func (e *Error) Error() string { return e.prefix() + e.Err.Error() }

func (e *Error) prefix() string {
	s := e.Op
	if e.Op != "" && e.Where != "" {
		s += ": "
	}
	if s += e.Where; s != "" {
		s += ": "
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// hinted is an error whose text ends in what to do, and which also gives that apart.
type hinted interface {
	error
	Hint() string
	Unwrap() error
}

// Message returns the text of an error for a person: on one line, without its hint and without the names of packages
// that errors begin with for programmers.
func Message(err error) string {
	switch e := err.(type) { //nolint:errorlint // it walks the chain itself
	case *Error:
		return e.prefix() + Message(e.Err)
	case hinted:
		return Message(e.Unwrap())
	case *feature.Error:
		return (&feature.Error{Feature: e.Feature, Msg: e.Msg}).Error()
	case interface{ Unwrap() []error }:
		if text := joined(e.Unwrap()); strings.Join(text, "\n") == err.Error() {
			var parts []string
			for _, err := range e.Unwrap() {
				parts = append(parts, Message(err))
			}
			return strings.Join(parts, "; ")
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			if head, ok := strings.CutSuffix(err.Error(), inner.Error()); ok {
				return trim(head) + Message(inner)
			}
		}
	}
	return trim(strings.ReplaceAll(err.Error(), "\n", "; "))
}

func joined(errs []error) []string {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return texts
}

// trim removes the names of packages, and of kinds of errors that say nothing, from the beginning of a text.
func trim(text string) string {
	noise := []string{
		"batch", "codec", "config", "engine", "feature", "gbm", "infer", "invalid", "kafka", "mlflow", "model", "not found", "pipeline", "profile", "record", "registry", "set-up", "trust",
	}
	for {
		word, rest, ok := strings.Cut(text, ": ")
		if !ok || !slices.Contains(noise, word) {
			return text
		}
		text = rest
	}
}
