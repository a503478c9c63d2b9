package pipeline_test

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime returns the processor time that this thread has used: other work of the machine does not count.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
