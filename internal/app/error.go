package app

import "fmt"

// Code is what the process exits with.
type Code int

// The exit codes. A scheduler can rely on them.
const (
	OK      Code = 0  // done
	Failed  Code = 1  // failed: a retry may help
	Usage   Code = 2  // the command line, the pipeline file or the environment it names is wrong: a retry will not help
	Refused Code = 3  // a gate refused: a model that is not approved, or is not what was approved
	Nothing Code = 99 // there was nothing to do
)

// Error is an error for the person at the terminal: what failed, where, and what to do about it.
type Error struct {
	Code  Code
	Op    string // what was being done: "train", "open registry"
	Where string // file:line, topic/partition/offset, or ""
	Hint  string // what to do, or ""
	Err   error
}

// Error returns op, place and cause on one line.
func (e *Error) Error() string {
	s := e.Op
	if e.Where != "" {
		s += ": " + e.Where
	}
	return fmt.Sprintf("%s: %v", s, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
