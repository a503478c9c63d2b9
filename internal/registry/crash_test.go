package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"millrace.dev/internal/durable"
	"millrace.dev/internal/durable/errorfs"
	"millrace.dev/model"
)

// The environment of a test binary that was started to be a writer.
const (
	envDir    = "MILLRACE_TEST_REGISTRY"
	envBundle = "MILLRACE_TEST_BUNDLE"
	envName   = "MILLRACE_TEST_WRITER"
	envCount  = "MILLRACE_TEST_COUNT"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{ // whatever the machine has
		"AWS_ACCESS_KEY_ID": testAccessKey, "AWS_SECRET_ACCESS_KEY": testSecretKey, "AWS_SESSION_TOKEN": "", "AWS_REGION": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(envDir) != "" {
		if err := write(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// write registers and approves versions, and says so after each.
func write(out io.Writer) error {
	ctx, name := context.Background(), os.Getenv(envName)
	l, err := model.Open(os.Getenv(envBundle))
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(os.Getenv(envCount))
	if err != nil {
		return err
	}
	r, err := Open(os.Getenv(envDir), Options{})
	if err != nil {
		return err
	}
	for i := range count {
		data, err := variant(l.Bundle, "house-prices", fmt.Sprintf("%s-%d", name, i))
		if err != nil {
			return err
		}
		v, err := r.Register(ctx, data, name)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, v.Number, v.Digest, StateCandidate); err != nil {
			return err
		}
		if v, err = r.Approve(ctx, v.Ref(), "", Decision{By: name, Reason: "it is a test"}); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, v.Number, v.Digest, StateApproved); err != nil {
			return err
		}
	}
	return nil
}

// writer starts a process that writes count versions to the registry in dir.
func writer(t *testing.T, dir, bundle, name string, count int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), envDir+"="+dir, envBundle+"="+bundle, envName+"="+name, envCount+"="+strconv.Itoa(count))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewScanner(out)
}

// bundleFile writes a bundle for the writers to start from.
func bundleFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "houses"+model.Extension)
	if err := model.WriteFile(path, newFactory(t).make(0)); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkSaid wants every line that a writer has said to hold: a version was not lost, nor its approval.
func checkSaid(t *testing.T, r *Registry, lines []string) {
	t.Helper()
	versions, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		var n int
		var digest string
		var state State
		if _, err := fmt.Sscan(line, &n, &digest, &state); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if n < 1 || n > len(versions) || versions[n-1].Digest != digest || state == StateApproved && versions[n-1].State != StateApproved {
			t.Fatalf("a writer said %q, which does not hold", line)
		}
	}
}

func TestManyWritersInOneProcess(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		const writers, each = 8, 6
		f := newFactory(t)
		shared := openDir(t, p.location)
		var wg sync.WaitGroup
		numbers := make(chan int, writers*each)
		for w := range writers {
			r := shared
			if w%2 == 0 {
				r = openDir(t, p.location)
			}
			var bundles [][]byte
			for i := range each {
				bundles = append(bundles, f.make(w*each+i))
			}
			wg.Go(func() {
				for _, data := range bundles {
					v, err := r.Register(t.Context(), data, "train")
					if err == nil {
						_, err = r.Approve(t.Context(), v.Ref(), "", Decision{By: "anna", Reason: "good"})
					}
					if err != nil {
						t.Error(err)
						return
					}
					numbers <- v.Number
				}
			})
		}
		wg.Wait()
		close(numbers)
		seen := map[int]bool{}
		for n := range numbers {
			seen[n] = true
		}
		if len(seen) != writers*each {
			t.Errorf("%d numbers for %d versions", len(seen), writers*each)
		}
		if report := mustVerify(t, shared); report.Events != 2*writers*each || report.Blobs != writers*each {
			t.Errorf("%+v", report)
		}
	})
}

func TestManyWritersOfTheSameBytes(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		data := newFactory(t).make(1)
		var wg sync.WaitGroup
		for range 8 {
			r := openDir(t, p.location)
			wg.Go(func() {
				if v, err := r.Register(t.Context(), data, "train"); err != nil || v.Number != 1 {
					t.Error(v, err)
				}
			})
		}
		wg.Wait()
		if report := mustVerify(t, openDir(t, p.location)); report.Events != 1 {
			t.Errorf("%+v", report)
		}
	})
}

// TestOneDecision lets many decide on one version at once: what the loser decides is decided on what the winner
// has done, so that nothing is approved after it was rejected.
func TestOneDecision(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		mustRegister(t, openDir(t, p.location), newFactory(t).make(1))
		var wg sync.WaitGroup
		for i := range 8 {
			r := openDir(t, p.location)
			wg.Go(func() {
				decide := r.Approve
				if i%2 == 0 {
					decide = r.Reject
				}
				if _, err := decide(t.Context(), "house-prices@1", "", Decision{By: fmt.Sprint("by ", i), Reason: "x"}); err != nil && !errors.Is(err, ErrRejected) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		v, events, err := openDir(t, p.location).Show(t.Context(), "house-prices@1", "")
		if err != nil || v.State != StateRejected || events[len(events)-1].Action != Rejected {
			t.Error(v, events, err)
		}
	})
}

func TestManyProcesses(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		const writers, each = 4, 5
		bundle := bundleFile(t)
		var lines []string
		var processes []*exec.Cmd
		var outs []*bufio.Scanner
		for w := range writers {
			c, out := writer(t, p.location, bundle, fmt.Sprint("w", w), each)
			processes, outs = append(processes, c), append(outs, out)
		}
		for w, c := range processes {
			for outs[w].Scan() {
				lines = append(lines, outs[w].Text())
			}
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		}
		r := openDir(t, p.location)
		if len(lines) != 2*writers*each {
			t.Errorf("%d lines", len(lines))
		}
		checkSaid(t, r, lines)
		if report := mustVerify(t, r); report.Events != 2*writers*each || report.Blobs != writers*each {
			t.Errorf("%+v", report)
		}
	})
}

// TestKilledWriters kills a process with SIGKILL while it writes, and another beside it that goes on.
func TestKilledWriters(t *testing.T) {
	t.Parallel()
	rounds := 25
	if testing.Short() {
		rounds = 6
	}
	const seed = 20140710
	random := rand.New(rand.NewPCG(seed, 0))
	dir, bundle := filepath.Join(t.TempDir(), "models"), bundleFile(t)
	var lines []string
	for round := range rounds {
		c, out := writer(t, dir, bundle, fmt.Sprint("killed", round), 1000)
		live, liveOut := writer(t, dir, bundle, fmt.Sprint("live", round), 2)
		for range random.IntN(6) {
			if out.Scan() {
				lines = append(lines, out.Text())
			}
		}
		spin := 0
		for range random.IntN(2_000_000) { // a moment that is not the one of a line
			spin++
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for out.Scan() { // what it said before it died
			lines = append(lines, out.Text())
		}
		_ = c.Wait() // it was killed
		for liveOut.Scan() {
			lines = append(lines, liveOut.Text())
		}
		if err := live.Wait(); err != nil {
			t.Errorf("round %d of seed %d, after %d turns: the other writer: %v", round, seed, spin, err)
		}
		r := openDir(t, dir)
		mustVerify(t, r)
		checkSaid(t, r, lines)
	}
	r := openDir(t, dir)
	mustRegister(t, r, newFactory(t).make(1))
	report := mustVerify(t, r)
	litter, err := os.ReadDir(folder{r.Location()}.tmp())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills, %d events, %d blobs, %d temporary files left", rounds, report.Events, report.Blobs, len(litter))
}

// TestFailureAtEachStep fails each step of each action in each way; then a process that starts afterwards must
// find the folder as it was before the action or as it is after it, and be able to do the action.
func TestFailureAtEachStep(t *testing.T) {
	t.Parallel()
	f := newFactory(t)
	first, second := f.make(1), f.make(2)
	approve := func(r *Registry) error {
		_, err := r.Approve(t.Context(), "@1", "house-prices", Decision{By: "anna", Reason: "good"})
		return err
	}
	register := func(data []byte) func(*Registry) error {
		return func(r *Registry) error {
			_, err := r.Register(t.Context(), data, "train")
			return err
		}
	}
	for name, tc := range map[string]struct {
		before []func(*Registry) error
		action func(*Registry) error
		events int // after the action
	}{
		"first register":  {nil, register(first), 1},
		"second register": {[]func(*Registry) error{register(first)}, register(second), 2},
		"approve":         {[]func(*Registry) error{register(first)}, approve, 2},
	} {
		for _, mode := range errorfs.Modes() {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				for n := 0; ; n++ {
					dir := filepath.Join(t.TempDir(), "models")
					for _, b := range tc.before {
						if err := b(openDir(t, dir)); err != nil {
							t.Fatal(err)
						}
					}
					fsys := errorfs.New(durable.OS(), n, mode)
					r, err := open(dir, Options{Now: clock()}, fsys)
					if err != nil {
						t.Fatal(err)
					}
					err = tc.action(r)
					at := fmt.Sprintf("step %d of %s", n, strings.Join(fsys.Steps(), ", "))
					if !fsys.Failed() {
						if err != nil || n < 8 {
							t.Fatalf("%s: %v", at, err)
						}
						break
					}
					if err != nil && !errors.Is(err, errorfs.ErrInjected) {
						t.Fatalf("%s: %v", at, err)
					}
					next := openDir(t, dir)
					events := mustVerify(t, next).Events
					if events != tc.events && (err == nil || events != tc.events-1) {
						t.Fatalf("%s: %v, and %d events", at, err, events)
					}
					if err := tc.action(next); err != nil {
						t.Fatalf("%s: again: %v", at, err)
					}
					if mode == errorfs.Fail || mode == errorfs.Lie { // the same process goes on
						if err := tc.action(r); err != nil {
							t.Fatalf("%s: again in the same process: %v", at, err)
						}
					}
					if report := mustVerify(t, openDir(t, dir)); report.Events != tc.events {
						t.Fatalf("%s: after doing it again: %+v", at, report)
					}
				}
			})
		}
	}
}
