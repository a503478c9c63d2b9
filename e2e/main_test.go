//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The environment of these tests.
const (
	// seedEnv chooses the records and the faults. Default: a random seed, which is printed.
	seedEnv = "MILLRACE_SEED"
	// tortureEnv is the number of long runs that TestThreeInstances makes, each with a seed of its own, instead of
	// a short one.
	tortureEnv = "MILLRACE_TORTURE"
	// poisonEnv is for how many seconds TestPoisonLatency measures. Default: not at all.
	poisonEnv = "MILLRACE_POISON"
	// oldBinaryEnv is the binary of an old release, which TestRollingRestart begins with. Default: this one, under another version.
	oldBinaryEnv = "MILLRACE_OLD_BINARY"
	// binaryEnv is where this run has its binary; TestMain sets it.
	binaryEnv = "MILLRACE_E2E_BINARY"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "millrace-e2e-")
	if err == nil {
		err = os.Setenv(binaryEnv, filepath.Join(dir, "millrace"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(dir) // what is left lies in the system's temporary folder
	os.Exit(code)
}

// binary returns the path of the binary, which the first test builds. Tests of this package do not run in parallel,
// a broker more on the machine being a fault that nobody planned, but for those that call [beside].
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv(binaryEnv)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	made := fmt.Sprintf("%s.%08x", path, rand.Uint32())
	build(t, made)
	must(t, os.Rename(made, path))
	return path
}

// beside lets a test run beside others, after those that run alone: it waits most of its time, and bears slow brokers.
func beside(t *testing.T) {
	t.Helper()
	t.Parallel()
}

// build builds the binary at a path; flags are those of go build.
func build(t *testing.T, path string, flags ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", path}, flags...), "millrace.dev/cmd/millrace")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

// newSeed returns the seed of a test and prints it.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64N(1_000_000)
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("%s=%d", seedEnv, seed)
	return seed
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// deadline returns a context for waits that end far earlier.
func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// poll calls cond 20 times a second until it is true, fails, or ctx is done.
func poll(ctx context.Context, cond func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause waits for d, which the schedule of a fault asks for: nothing is expected to have happened after it.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// must ends the test where err is not nil.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
