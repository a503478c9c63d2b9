package registry

import (
	"bufio"
	"bytes"
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
	"time"

	"millrace.dev/internal/durable"
	"millrace.dev/internal/durable/errorfs"
	"millrace.dev/internal/registry/objects"
	"millrace.dev/model"
)

// The environment of a test binary that was started to be a writer.
const (
	envDir    = "MILLRACE_TEST_REGISTRY"
	envBundle = "MILLRACE_TEST_BUNDLE"
	envName   = "MILLRACE_TEST_WRITER"
	envCount  = "MILLRACE_TEST_COUNT"
	envKill   = "MILLRACE_TEST_KILL" // how the writer is to end itself: see killer
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

// write does everything that there is to do with a registry, and says after each step what is so from now on.
func write(out io.Writer) error {
	l, err := model.Open(os.Getenv(envBundle))
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(os.Getenv(envCount))
	if err != nil {
		return err
	}
	s, err := killerStore(os.Getenv(envDir), os.Getenv(envKill))
	if err != nil {
		return err
	}
	r, err := openStore(s, Options{})
	if err != nil {
		return err
	}
	w := scribe{r: r, bundle: l.Bundle, name: os.Getenv(envName), out: out}
	for i := range count {
		if err := w.write(i); err != nil {
			return err
		}
	}
	return nil
}

// scribe is a writer, which touches no versions but its own.
type scribe struct {
	r      *Registry
	bundle *model.Bundle
	name   string
	out    io.Writer
}

func (w scribe) write(i int) error {
	ctx, d := context.Background(), Decision{By: w.name, Reason: "it is a test"}
	for _, what := range []string{"good", "bad", "old"} {
		data, err := variant(w.bundle, "house-prices", fmt.Sprintf("%s-%d-%s", w.name, i, what))
		if err != nil {
			return err
		}
		v, err := w.r.Register(ctx, data, w.name)
		if err = w.say(v, err); err != nil {
			return err
		}
		for _, decide := range map[string][]func(context.Context, string, string, Decision) (Version, error){
			"good": {w.r.Approve, w.r.Promote}, "bad": {w.r.Reject}, "old": {w.r.Approve, w.r.Retire},
		}[what] {
			v, err := decide(ctx, v.Ref(), "", d)
			if what == "old" && err == nil {
				v.State = StateCandidate // it is going to change
			}
			if err = w.say(v, err); err != nil {
				return err
			}
		}
		if _, err := w.r.GC(ctx, GCOptions{By: w.name, OlderThan: time.Nanosecond}); err != nil {
			return err
		}
	}
	return nil
}

func (w scribe) say(v Version, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(w.out, v.Number, v.Digest, v.State)
	}
	return err
}

// writer starts a process that writes count times to the registry at a location, and ends itself as kill says.
func writer(t *testing.T, location, bundle, name string, count int, kill string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), envDir+"="+location, envBundle+"="+bundle, envName+"="+name, envCount+"="+strconv.Itoa(count), envKill+"="+kill)
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
			c, out := writer(t, p.location, bundle, fmt.Sprint("w", w), each, "")
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
		if len(lines) != 8*writers*each {
			t.Errorf("%d lines", len(lines))
		}
		checkSaid(t, r, lines)
		if report := mustVerify(t, r); report.Blobs != writers*each || report.Purged != 2*writers*each {
			t.Errorf("%+v", report)
		}
	})
}

// TestKilledWriters has processes kill themselves with SIGKILL in the middle of what they write, at random, three at
// once beside one that goes on. MILLRACE_KILLS says how many. Whatever a process has said before it died must hold.
func TestKilledWriters(t *testing.T) {
	t.Parallel()
	inFolder, inBucket := 40, 8
	if testing.Short() {
		inFolder = 12
	}
	if text := os.Getenv("MILLRACE_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		inFolder, inBucket = n, n
	}
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		if objects.IsAddress(p.location) {
			killWriters(t, p, inBucket, false)
		} else {
			killWriters(t, p, inFolder, true)
		}
	})
}

func killWriters(t *testing.T, p place, kills int, inFiles bool) {
	t.Helper()
	const seed, together, longest = 20140710, 3, 450 // steps of a writer
	random, bundle := rand.New(rand.NewPCG(seed, 0)), bundleFile(t)
	base, done, escaped := p, 0, 0
	for round := 0; done < kills; round++ {
		if round%10 == 0 { // a long log takes long to verify
			p = base.below(t, strconv.Itoa(round))
		}
		var lines []string
		var processes []*exec.Cmd
		var outs []*bufio.Scanner
		for i := range together + 1 {
			kill := fmt.Sprintf("step %d %d", random.IntN(longest), random.IntN(3))
			if !inFiles {
				kill = fmt.Sprintf("object %d %d", random.IntN(16), random.IntN(400_000))
			}
			if i == together {
				kill = ""
			}
			c, out := writer(t, p.location, bundle, fmt.Sprintf("w%d-%d", round, i), 1, kill)
			processes, outs = append(processes, c), append(outs, out)
		}
		for i, c := range processes {
			for outs[i].Scan() { // what it said before it died
				lines = append(lines, outs[i].Text())
			}
			err := c.Wait()
			switch {
			case c.ProcessState.ExitCode() == -1 && i < together:
				done++
			case err == nil && i < together:
				escaped++ // it was through before
			case err != nil:
				t.Fatalf("round %d of seed %d, writer %d: %v", round, seed, i, err)
			}
		}
		r := openDir(t, p.location)
		mustVerify(t, r)
		checkSaid(t, r, lines)
	}
	r := openDir(t, p.location)
	mustRegister(t, r, newFactory(t).make(1))
	t.Logf("%d writers were killed in the middle of a write, %d were through before; the last registry: %+v", done, escaped, mustVerify(t, r))
}

// TestFailureAtEachStep fails each step of each action in each way; then a process that starts afterwards must
// find the folder as it was before the action or as it is after it, and be able to do the action.
func TestFailureAtEachStep(t *testing.T) {
	t.Parallel()
	f := newFactory(t)
	type action = func(*Registry) error
	decide := func(by func(*Registry) func(context.Context, string, string, Decision) (Version, error)) action {
		return func(r *Registry) error {
			_, err := by(r)(t.Context(), "@1", "house-prices", Decision{By: "anna", Reason: "good"})
			return err
		}
	}
	approve := decide(func(r *Registry) func(context.Context, string, string, Decision) (Version, error) { return r.Approve })
	reject := decide(func(r *Registry) func(context.Context, string, string, Decision) (Version, error) { return r.Reject })
	retire := decide(func(r *Registry) func(context.Context, string, string, Decision) (Version, error) { return r.Retire })
	promote := decide(func(r *Registry) func(context.Context, string, string, Decision) (Version, error) { return r.Promote })
	register := func(i int) action {
		data := f.make(i)
		return func(r *Registry) error {
			_, err := r.Register(t.Context(), data, "train")
			return err
		}
	}
	gc := func(r *Registry) error {
		for range 5 { // seconds, by the test's clock
			r.now()
		}
		_, err := r.GC(t.Context(), GCOptions{By: "gc", OlderThan: time.Nanosecond})
		return err
	}
	elsewhere := openDir(t, t.TempDir())
	mustRegister(t, elsewhere, f.make(1))
	archive := mustExport(t, elsewhere, "@1")
	imports := func(r *Registry) error {
		_, err := r.Import(t.Context(), bytes.NewReader(archive), "carl")
		return err
	}
	for name, tc := range map[string]step{
		"first register":  {action: register(1), events: 1, blobs: 1},
		"second register": {before: []action{register(1)}, action: register(2), events: 2, blobs: 2},
		"approve":         {before: []action{register(1)}, action: approve, events: 2, blobs: 1},
		"reject":          {before: []action{register(1)}, action: reject, events: 2, blobs: 1},
		"retire":          {before: []action{register(1), approve}, action: retire, events: 3, blobs: 1},
		"promote":         {before: []action{register(1), approve}, action: promote, events: 3, blobs: 1, repeats: true},
		"gc":              {before: []action{register(1), reject, register(2)}, action: gc, events: 4, blobs: 1},
		"register purged": {before: []action{register(1), reject, gc}, action: register(1), events: 4, blobs: 1},
		"import":          {action: imports, events: 1, blobs: 1},
	} {
		for _, mode := range errorfs.Modes() {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				n := 0
				for tc.fail(t, n, mode) {
					n++
				}
			})
		}
	}
}

// step is an action of which each step fails.
type step struct {
	before  []func(*Registry) error
	action  func(*Registry) error
	events  int  // after the action
	blobs   int  // files of bundles after the action
	repeats bool // doing the action again is another event
}

// fail fails step n, and tells whether there is one.
func (tc step) fail(t *testing.T, n int, mode errorfs.Mode) bool {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "models")
	for _, b := range tc.before {
		if err := b(openDir(t, dir)); err != nil {
			t.Fatal(err)
		}
	}
	fsys := errorfs.New(quickFS{durable.OS()}, n, mode)
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
		return false
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
	report := mustVerify(t, openDir(t, dir))
	if report.Events != tc.events && (!tc.repeats || report.Events < tc.events) {
		t.Fatalf("%s: after doing it again: %+v", at, report)
	}
	files, err := next.store.List(t.Context(), blobsDir, "")
	if err != nil || len(files) != tc.blobs {
		t.Fatalf("%s: after doing it again: the bundles %q, %v", at, files, err)
	}
	return true
}
