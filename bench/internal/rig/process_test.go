//go:build linux

package rig

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if name := os.Getenv("RIG_CHILD"); name != "" {
		child(name)
		return
	}
	goleak.VerifyTestMain(m)
}

// child is what this test's binary does as a child of itself.
func child(name string) {
	switch name {
	case "lines":
		_, _ = os.Stdout.WriteString("one\ntwo\n")
	case "busy":
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM)
		for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
			continue // it is to use the processor
		}
		_, _ = os.Stdout.WriteString("done\n")
		<-told
	case "broken":
		_, _ = os.Stderr.WriteString("it broke\n")
		os.Exit(3)
	}
}

func start(t *testing.T, name string, line func(*Process, string)) *Process {
	t.Helper()
	p, err := Start(t.Context(), Command{Args: []string{os.Args[0]}, Env: []string{"RIG_CHILD=" + name}, Dir: t.TempDir(), Name: name, Line: line})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLines(t *testing.T) {
	t.Parallel()
	var lines []string
	p := start(t, "lines", func(_ *Process, line string) { lines = append(lines, line) })
	<-p.Ended()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, lines); diff != "" {
		t.Error(diff)
	}
	if p.Alive() == nil {
		t.Error("a child that has ended is alive")
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	type figures struct {
		cpu      time.Duration
		resident float64
		err      error
	}
	seen := make(chan figures, 1)
	p := start(t, "busy", func(p *Process, _ string) {
		var f figures
		if f.cpu, f.err = p.CPU(); f.err == nil {
			f.resident, f.err = p.Resident(ResidentMost)
		}
		seen <- f
	})
	at := <-seen
	if at.err != nil || at.cpu < time.Millisecond || at.resident < 1 {
		t.Errorf("processor time %v, %v MiB, %v", at.cpu, at.resident, at.err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	after, err := p.CPU()
	if err != nil || after < at.cpu {
		t.Errorf("processor time after the end: %v, %v: want at least %v", after, err, at.cpu)
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	p := start(t, "broken", nil)
	<-p.Ended()
	err := p.Stop()
	if err == nil || !cmp.Equal(err.Error(), "rig.test: exit status 3: it broke\n") {
		t.Errorf("error %v", err)
	}
}
