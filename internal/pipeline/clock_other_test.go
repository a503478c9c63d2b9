//go:build !linux

package pipeline_test

import "time"

var processStart = time.Now() //nolint:gochecknoglobals // a reading of a clock needs a zero

// threadTime returns the time on the wall: processor time of a thread is not to be had everywhere.
func threadTime() time.Duration { return time.Since(processStart) }
