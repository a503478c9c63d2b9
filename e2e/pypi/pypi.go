//go:build unix

package pypi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace.dev/internal/testenv"
)

// pythons are the names of interpreters that will do, the best one first; variable names another.
const (
	pythons  = "python3.11 python3"
	variable = "MILLRACE_PYTHON"
)

// Environment returns the Python interpreter of the environment bin/NAME, which has the packages of the file
// requirements, a path that counts from the test's folder, and no others. The file lists all of them with their
// exact versions, as `pip freeze` does: what they need in turn is not looked for, and it is an error if something is
// missing. The environment is made where it is not there yet or was made from other requirements, and kept. Tests of
// several processes can ask for one environment at a time: one makes it and the others wait.
//
// The test is skipped unless MILLRACE_REQUIRE names pypi; how says with which command to run it. It fails where the
// environment cannot be made.
func Environment(t testing.TB, name, requirements, how string) (python string) {
	t.Helper()
	testenv.Asked(t, "pypi", how)
	want, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(testenv.Root(t), "bin", name)
	if err := prepare(t.Context(), dir, want); err != nil {
		t.Fatalf("make the Python environment %s from %s: %v", dir, requirements, err)
	}
	return interpreter(dir)
}

func interpreter(dir string) string { return filepath.Join(dir, "bin", "python") }

// installed is the file of an environment that holds the requirements it was made from. It is written last.
func installed(dir string) string { return filepath.Join(dir, "installed.txt") }

// prepare makes the environment in dir, unless it is there.
func prepare(ctx context.Context, dir string, requirements []byte) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if have, err := os.ReadFile(installed(dir)); err == nil && bytes.Equal(have, requirements) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	base, err := basePython()
	if err != nil {
		return err
	}
	if err := run(ctx, base, "-m", "venv", dir); err != nil {
		return err
	}
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return err
	}
	if err := run(ctx, interpreter(dir), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", list); err != nil {
		return err
	}
	if err := run(ctx, interpreter(dir), "-m", "pip", "check", "--disable-pip-version-check"); err != nil {
		return err
	}
	return os.Rename(list, installed(dir))
}

// basePython returns the interpreter that environments are made with.
func basePython() (string, error) {
	names := strings.Fields(pythons)
	if set := os.Getenv(variable); set != "" {
		names = []string{set}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s: install Python 3.11, or set %s to an interpreter", strings.Join(names, " and no "), variable)
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return nil
}

// lock waits for the lock on the file called name, which it creates. The system drops the lock when the process
// dies; the file stays, since removing it would let two processes lock two files of one name.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
}
