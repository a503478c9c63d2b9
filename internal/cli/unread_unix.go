//go:build unix

package cli

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchReader calls gone when the last reader of the pipe w has closed it, which a command that waits for something
// to write would not notice. stop ends the watch and waits for its goroutine.
func watchReader(w io.Writer, gone func()) (stop func()) {
	f, ok := w.(*os.File)
	if !ok {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		const look = 100 * time.Millisecond
		for {
			fds := []unix.PollFd{{Fd: int32(f.Fd())}} // errors are always reported
			n, err := unix.Poll(fds, int(look.Milliseconds()))
			select {
			case <-end:
				return
			default:
			}
			if err == nil && n > 0 {
				if fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
					gone()
				}
				return
			}
			if err != nil && err != unix.EINTR {
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
