//go:build unix

package leash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, c Command) *Process {
	t.Helper()
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.End(context.Background(), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestExit(t *testing.T) {
	t.Parallel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, Command{Args: []string{"sh", "-c", `echo "$0 $WORD" "$PWD"; exit 7`, "a  b"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin", "WORD=c"}, Stdout: out})
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.State().ExitCode(); got != 7 || !p.Ended() {
		t.Errorf("exit status %d", got)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil || string(text) != "a  b c /\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal to one that has ended: %v", err)
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	p := start(t, Command{Args: []string{"sleep", "600"}})
	if p.Ended() || p.State() != nil {
		t.Error("it has ended")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.End(ctx, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s, ok := p.State().Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGTERM {
		t.Errorf("%v", p.State())
	}
}

// TestStubborn ends a process that does not listen.
func TestStubborn(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, Command{Args: []string{"sh", "-c", `trap "" TERM; echo; while :; do sleep 1; done`}, Stdout: w})
	_ = w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil { // the trap is set
		t.Fatal(err)
	}
	_ = r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.End(ctx, syscall.SIGTERM); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if s, ok := p.State().Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		t.Errorf("%v", p.State())
	}
}

const (
	childEnv  = "MILLRACE_LEASH_CHILD"
	childSays = "process "
)

// TestOrphan kills a process that has another one on the leash, and sees that go.
func TestOrphan(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrphanChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := 0
	for lines := bufio.NewScanner(out); group == 0 && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), childSays); ok {
			if group, err = strconv.Atoi(text); err != nil {
				t.Error(err)
			}
		}
	}
	if group == 0 {
		t.Fatal("the child has started no process")
	}
	if err := syscall.Kill(-group, 0); err != nil {
		t.Errorf("the process group %d: %v", group, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child has ended by itself")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the process outlives the one that started it")
		}
	}
}

// TestOrphanChild is the process that TestOrphan kills, and nothing in any other.
func TestOrphanChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	p := start(t, Command{Args: []string{"sleep", "600"}})
	fmt.Printf("\n%s%d\n", childSays, p.Pid())
	<-p.Done()
}
