//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child at work.
type process struct {
	cmd   *exec.Cmd
	log   string        // the file that has what it wrote to standard error
	ended chan struct{} // is closed when it has ended
	err   error         // how, once it has
}

// start starts a child; its standard error goes to a file called name.
func (b *bench) start(ctx context.Context, name string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the child by SIGTERM.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	const terminated = 128 + int(syscall.SIGTERM)
	if p.err != nil && p.cmd.ProcessState.ExitCode() != terminated {
		text, err := os.ReadFile(p.log)
		return errors.Join(fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), p.err, text), err)
	}
	return nil
}

// alive returns an error once the child has ended.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return errors.New("it has ended by itself")
	default:
		return nil
	}
}

// cpu returns the processor time of the child so far, all threads together.
func (p *process) cpu() (time.Duration, error) {
	files, err := filepath.Glob(p.proc("task/*/schedstat"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("%s: the kernel does not say what threads have used", p.proc("task"))
	}
	var total time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that has ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f, err)
		}
		total += time.Duration(n)
	}
	return total, nil
}

// Lines of a process's status.
const (
	residentNow  = "VmRSS:"
	residentMost = "VmHWM:" // getrusage's maximum would have the parent's memory at the fork in it
)

// resident returns the memory that the child holds, in MiB.
func (p *process) resident(which string) (float64, error) {
	text, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, which); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return float64(n) / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", p.proc("status"), which)
}

func (p *process) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
