//go:build unix

// Package leash runs commands that die with the process that started them, whatever ends that: a test that panics
// or is killed leaves no broker and no pipeline behind.
package leash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// script runs a command that dies with the caller's process. A process in the background reads a pipe (descriptor
// 3) into which nobody writes: it gets to the end when the last holder of the other side is gone, and kills the
// process group. The command takes the shell's place, so that its process id is the group's, and signals and the
// exit status need no go-between. The watcher is there before the command: there is no moment at which a kill
// leaves the command behind.
//
// Linux's parent-death signal would not do: it comes when the thread that started the child ends, not the process.
const script = `{ read -r _ <&3; kill -9 -$$; } & exec 3<&-; exec "$@"`

// Command is what to run. Stdin is empty.
type Command struct {
	Args           []string // the program, by its path or a name on the PATH, and its arguments
	Dir            string   // to run in. Default: that of the caller
	Env            []string // as of [exec.Cmd]. Default: that of the caller
	Stdout, Stderr *os.File // Default: nowhere
}

// Process is a command that was started. Its methods are safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and was waited for
}

// Start starts a command. The caller may close the command's files at once. A program that cannot be run ends with
// status 126 or 127.
func Start(c Command) (*Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // the child has its own
	// It ends by signal or by leash; a context would kill it when the test's own is done, before its cleanup.
	cmd := exec.CommandContext(context.Background(), "sh", append([]string{"-c", script, "sh"}, c.Args...)...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = c.Dir, c.Env, []*os.File{r}
	if c.Stdout != nil { // a nil file in an interface is not nil
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C in the terminal is for the caller alone
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended stands in cmd.ProcessState
		_ = w.Close()  // lets the watcher go; until then it keeps the group's id from being given to others
		close(p.done)
	}()
	return p, nil
}

// Pid returns the id of the process, which is also that of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended tells whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// State returns how the process ended, once it has; nil before.
func (p *Process) State() *os.ProcessState {
	if !p.Ended() {
		return nil
	}
	return p.cmd.ProcessState
}

// Signal sends a signal to the process, and nothing to one that has ended.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// End sends sig and waits until the process is gone. When ctx is done first, the process is killed and the
// result is ctx's error.
func (p *Process) End(ctx context.Context, sig os.Signal) error {
	if err := p.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		_ = p.cmd.Process.Kill() // it may just have ended
		<-p.done
		return fmt.Errorf("no end after %v, killed: %w", sig, ctx.Err())
	}
}
