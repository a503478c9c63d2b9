//go:build unix

package devbroker

import (
	"errors"
	"os"
	"syscall"
)

// errHeld says that another process holds the lock.
const errHeld = syscall.EWOULDBLOCK

// tryLock locks f for this process, or returns [errHeld].
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func addrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
