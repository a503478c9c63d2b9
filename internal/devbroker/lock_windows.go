package devbroker

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errHeld says that another process holds the lock.
const errHeld = windows.ERROR_LOCK_VIOLATION

// tryLock locks f for this process, or returns [errHeld]. The locked byte lies far beyond the text, which others
// could not read otherwise.
func tryLock(f *os.File) error {
	at := windows.Overlapped{OffsetHigh: 1}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
}

func addrInUse(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }
