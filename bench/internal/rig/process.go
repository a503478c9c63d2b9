//go:build linux

package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killAfter is how long a child that was told to end, because the caller's context is done, may take.
const killAfter = 20 * time.Second

// Command is a child to start. Its standard input is empty.
type Command struct {
	Args []string // the program and its arguments
	Env  []string // over those of the caller. Default: none
	Dir  string   // to run in, and for the log
	Name string   // of the log: NAME.log has what the child writes to standard error, and to standard output
	// Line is called for each line that the child writes to standard output, without its end, as soon as it is
	// written, from a goroutine of its own. Default: lines go to the log.
	Line func(p *Process, line string)
}

// Process is a child at work.
type Process struct {
	cmd   *exec.Cmd
	start time.Time
	log   string
	ended chan struct{} // is closed when it has ended
	err   error         // how, once it has
}

// Start starts a child, which gets a SIGTERM when ctx is done.
func Start(ctx context.Context, c Command) (*Process, error) {
	log, err := os.Create(filepath.Join(c.Dir, c.Name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, log, log
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	var lines io.Reader = strings.NewReader("")
	if c.Line != nil {
		cmd.Stdout = nil
		if lines, err = cmd.StdoutPipe(); err != nil {
			return nil, err
		}
	}
	p := &Process{cmd: cmd, start: time.Now(), log: log.Name(), ended: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for s := bufio.NewScanner(lines); s.Scan(); {
			c.Line(p, s.Text())
		}
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Started returns the time just before the child was started.
func (p *Process) Started() time.Time { return p.start }

// Ended returns a channel that is closed when the child has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Terminate tells the child to end, by SIGTERM, and does not wait.
func (p *Process) Terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stop ends the child by SIGTERM and waits until it is gone. A child that ends with a status other than 0 and that of
// a SIGTERM is an error, which has the child's log in it.
func (p *Process) Stop() error {
	if err := p.Terminate(); err != nil {
		return err
	}
	<-p.ended
	const terminated = 128 + int(syscall.SIGTERM)
	if p.err != nil && p.cmd.ProcessState.ExitCode() != terminated {
		return p.failed(p.err)
	}
	return nil
}

// Alive returns an error, with the child's log in it, once the child has ended.
func (p *Process) Alive() error {
	select {
	case <-p.ended:
		return p.failed(errors.New("it has ended by itself"))
	default:
		return nil
	}
}

func (p *Process) failed(err error) error {
	text, logErr := os.ReadFile(p.log)
	return errors.Join(fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), err, text), logErr)
}

// CPU returns the processor time that the child has used so far, or until it ended: all its threads together, also
// those that have ended.
func (p *Process) CPU() (time.Duration, error) {
	// The id of the clock of a process, as clock_getcpuclockid(3) makes it: of the process, and precise to the
	// nanosecond (CPUCLOCK_SCHED).
	const precise = 2
	clock := ^int32(p.cmd.Process.Pid)<<3 | precise //nolint:gosec // ids of processes are far below 1 << 29
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err == nil {
		return time.Duration(t.Nano()), nil
	}
	select { // there is no such clock any more
	case <-p.ended:
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
	case <-time.After(killAfter):
		return 0, fmt.Errorf("%s: the kernel does not say what it has used", filepath.Base(p.cmd.Path))
	}
}

// Memory says which memory of a process is meant.
type Memory string

// Lines of a process's status.
const (
	ResidentNow  Memory = "VmRSS:" // held at the moment
	ResidentMost Memory = "VmHWM:" // the most that was ever held; getrusage's maximum would have the parent's at the fork in it
)

// Resident returns the memory that the child holds, in MiB. It fails once the child has ended.
func (p *Process) Resident(which Memory) (float64, error) {
	file := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status")
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, string(which)); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return float64(n) / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, which)
}
