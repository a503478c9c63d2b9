//go:build linux || darwin || freebsd

package cli

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// niceness lowers the priority of this process to nice level n, from 0 to 19, so that others run first. Threads that begin later have
// it too.
func niceness(n int) error {
	if runtime.GOOS != "linux" {
		return unix.Setpriority(unix.PRIO_PROCESS, 0, n)
	}
	// On Linux each thread has a priority of its own, and one that begins has that of the thread that began it: all of those that
	// are there are set, until none is new.
	done := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return unix.Setpriority(unix.PRIO_PROCESS, 0, n)
		}
		for _, t := range tasks {
			id, err := strconv.Atoi(t.Name())
			if err != nil || done[id] {
				continue
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, n); err != nil && err != unix.ESRCH {
				return os.NewSyscallError("setpriority", err)
			}
			done[id], fresh = true, true
		}
	}
	return nil
}

// freeShare returns which share of a file system is free for this user.
func freeShare(dir string) (float64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	if s.Blocks == 0 {
		return 1, nil
	}
	return float64(s.Bavail) / float64(s.Blocks), nil
}
