//go:build unix

package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// watchReader calls gone when the last reader of the pipe w has closed it, which a command that waits for something
// to write would not notice. stop ends the watch and waits for its goroutine.
func watchReader(w io.Writer, gone func()) (stop func()) {
	f, ok := w.(*os.File)
	if !ok {
		return func() {}
	}
	wake, end, err := os.Pipe()
	if err != nil {
		return func() {} // the command notices at its next write
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fds := []unix.PollFd{{Fd: int32(f.Fd())}, {Fd: int32(wake.Fd())}} // errors and ends are always reported
		for {
			n, err := unix.Poll(fds, -1)
			if err == unix.EINTR {
				continue
			}
			if err == nil && n > 0 && fds[1].Revents == 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
				gone()
			}
			return
		}
	}()
	return func() {
		_ = end.Close() // both ends of a pipe that nobody else knows
		<-done
		_ = wake.Close()
	}
}
