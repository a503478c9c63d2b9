package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/durable"
	"millrace.dev/internal/registry/objects"
	"millrace.dev/model"
)

func mustRetire(t testing.TB, r *Registry, ref string) {
	t.Helper()
	if _, err := r.Retire(t.Context(), ref, "house-prices", Decision{By: "eva", Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
}

func mustGC(t testing.TB, r *Registry, o GCOptions) GCReport {
	t.Helper()
	o.By = "gc"
	report, err := r.GC(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// versionsOf returns the versions that a report names.
func versionsOf(r GCReport) (refs []string) {
	for _, b := range r.Bundles {
		refs = append(refs, b.Versions...)
	}
	return refs
}

func TestGC(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		f, now := newFactory(t), time.Date(2014, 7, 10, 12, 0, 0, 0, time.UTC)
		r, err := Open(p.location, Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			mustRegister(t, r, f.make(i+1))
		}
		mustApprove(t, r, "@1") // approved
		mustReject(t, r, "@2")  // rejected long ago
		mustRetire(t, r, "@3")  // retired long ago
		now = now.Add(31 * 24 * time.Hour)
		mustReject(t, r, "@4") // rejected today

		if report := mustGC(t, r, GCOptions{}); len(report.Bundles) > 0 {
			t.Errorf("without an age: %+v", report)
		}
		o := GCOptions{OlderThan: 30 * 24 * time.Hour, DryRun: true}
		want := []string{"house-prices@2", "house-prices@3"}
		sorted := cmp.Transformer("sorted", func(s []string) map[string]bool {
			m := map[string]bool{}
			for _, x := range s {
				m[x] = true
			}
			return m
		})
		if diff := cmp.Diff(want, versionsOf(mustGC(t, r, o)), sorted); diff != "" {
			t.Error(diff)
		}
		if report := mustVerify(t, r); report.Blobs != 4 {
			t.Errorf("a dry run removed something: %+v", report)
		}
		o.DryRun = false
		report := mustGC(t, openAt(t, p.location, now), o)
		if diff := cmp.Diff(want, versionsOf(report), sorted); diff != "" {
			t.Error(diff)
		}
		for _, b := range report.Bundles {
			if b.Bytes != int64(len(f.make(2))) || !strings.HasSuffix(b.Reason, "more than 720h0m0s ago") {
				t.Errorf("%+v", b)
			}
		}
		if report := mustVerify(t, r); report.Blobs != 2 || report.Purged != 2 || report.Events != 10 {
			t.Errorf("%+v", report)
		}
		if report := mustGC(t, r, o); len(report.Bundles) > 0 {
			t.Errorf("a second time: %+v", report)
		}

		v, events, err := r.Show(t.Context(), "@3", "house-prices")
		if err != nil || !v.Purged || v.State != StateRetired || events[len(events)-1].Action != Purged {
			t.Errorf("%+v %+v %v", v, events, err)
		}
		_, approveErr := r.Approve(t.Context(), "@3", "house-prices", Decision{By: "anna", Reason: "x"})
		for _, err := range []error{approveErr, loadError(r, v)} {
			if !errors.Is(err, ErrPurged) || !containsAll(err.Error(), "its bundle was removed, some time after it was retired by eva (enough)", "register the same bundle again") {
				t.Error(err)
			}
		}
		if again := mustRegister(t, r, f.make(3)); again.Number != 5 || again.Purged {
			t.Errorf("%+v", again)
		}
		mustApprove(t, r, "@5")
		if data, err := r.Load(t.Context(), mustPromote(t, r, "@5")); err != nil || model.Digest(data) != v.Digest {
			t.Error(err)
		}
		if v, events, err = r.Show(t.Context(), "@5", "house-prices"); err != nil || v.Purged || len(events) != 3 {
			t.Errorf("%+v %+v %v", v, events, err)
		}
		mustVerify(t, openDir(t, p.location))
	})
}

func openNow(t testing.TB, location string) *Registry {
	t.Helper()
	r, err := Open(location, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openAt(t testing.TB, location string, now time.Time) *Registry {
	t.Helper()
	r, err := Open(location, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGCKeepsWhatAnotherModelHas forges what no command writes, two models of the same bytes: the bundle stays for the
// one that needs it.
func TestGCKeepsWhatAnotherModelHas(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	v := mustRegister(t, r, f.make(1))
	mustReject(t, r, "@1")
	err := r.add(t.Context(), nil, func(*state) (*Event, error) {
		return &Event{Actor: "train", Action: Registered, Model: "rents", Version: 1, Digest: v.Digest, Bytes: v.Bytes}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o := GCOptions{OlderThan: time.Nanosecond}
	if report := mustGC(t, r, o); len(report.Bundles) > 0 {
		t.Errorf("%+v", report)
	}
	if _, err := r.Reject(t.Context(), "rents@1", "", Decision{By: "bob", Reason: "bad"}); err != nil {
		t.Fatal(err)
	}
	if got := versionsOf(mustGC(t, r, o)); len(got) != 2 {
		t.Error(got)
	}
	for _, ref := range []string{"house-prices@1", "rents@1"} {
		if v, events, err := r.Show(t.Context(), ref, ""); err != nil || !v.Purged || events[len(events)-1].Action != Purged {
			t.Error(v, events, err)
		}
	}
	mustVerify(t, r)
}

// TestGCOfLitter leaves what crashes leave.
func TestGCOfLitter(t *testing.T) {
	t.Parallel()
	f, dir := newFactory(t), t.TempDir()
	r, files := openDir(t, dir), folder{dir}
	mustRegister(t, r, f.make(1))
	old := time.Now().Add(-2 * litterAge)
	age := func(path string) {
		t.Helper()
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	var paths []string
	for i, aged := range []bool{true, false} { // two bundles that no version has
		data := f.make(10 + i)
		b := blobID{digest: model.Digest(data)}
		if err := r.store.addBlob(t.Context(), b, data); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, files.blob(b.digest))
		if aged {
			age(paths[i])
		}
	}
	temp := files.tmp() + "/.millrace-1-a.tmp"
	for _, path := range []string{temp, files.blob(model.Digest(nil)) + ".bak"} {
		if err := os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		age(path)
	}
	for _, dry := range []bool{true, false} {
		report := mustGC(t, r, GCOptions{DryRun: dry})
		if len(report.Bundles) != 1 || len(report.Bundles[0].Versions) > 0 || report.Bundles[0].Reason != "no version has it" || report.Temporary != 1 {
			t.Errorf("dry %t: %+v", dry, report)
		}
	}
	if _, err := os.Stat(paths[0]); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(paths[1]); err != nil {
		t.Error("a registration may have been under way:", err)
	}
	log, err := r.Log(t.Context())
	if err != nil || len(log) != 2 || log[1].Action != Purged || log[1].Ref() != "-" {
		t.Error(log, err)
	}
	if v := mustRegister(t, r, f.make(10)); v.Number != 2 {
		t.Error(v)
	}
	if report := mustVerify(t, openDir(t, dir)); report.Blobs != 2 {
		t.Errorf("%+v", report)
	}
}

// hooked is a store that calls hook before each write.
type hooked struct {
	objects.Store

	hook func(op, name string)
}

func (h *hooked) Create(ctx context.Context, name string, data []byte) error {
	h.hook("create", name)
	return h.Store.Create(ctx, name, data)
}

func (h *hooked) Remove(ctx context.Context, name string) error {
	h.hook("remove", name)
	return h.Store.Remove(ctx, name)
}

// TestGCBesideARegistration lets a gc happen at each step of a registration of the bytes that it removes, and a
// registration at each step of a gc.
func TestGCBesideARegistration(t *testing.T) {
	t.Parallel()
	f := newFactory(t)
	data := f.make(1)
	gc := func(r *Registry) error {
		_, err := r.GC(t.Context(), GCOptions{By: "gc", OlderThan: time.Nanosecond})
		return err
	}
	register := func(r *Registry) error {
		_, err := r.Register(t.Context(), data, "train")
		return err
	}
	approve := func(r *Registry) error {
		_, err := r.Approve(t.Context(), "@1", "house-prices", Decision{By: "anna", Reason: "it was good"})
		if errors.Is(err, ErrPurged) {
			err = nil // the gc was first
		}
		return err
	}
	for name, tc := range map[string]struct{ outer, inner func(*Registry) error }{
		"gc in register": {register, gc}, "register in gc": {gc, register}, "gc in approve": {approve, gc}, "approve in gc": {gc, approve},
	} {
		for n := 0; ; n++ {
			dir := t.TempDir()
			r := openDir(t, dir)
			mustRegister(t, r, data)
			if strings.Contains(name, "approve") {
				mustRetire(t, r, "@1")
			} else {
				mustReject(t, r, "@1")
			}
			steps := 0
			var at string
			h := &hooked{Store: objects.NewFolder(dir, durable.OS())}
			h.hook = func(op, object string) {
				if steps++; steps-1 == n {
					at = op + " " + object
					if err := tc.inner(openAt(t, dir, time.Now())); err != nil {
						t.Errorf("%s, before %s: the inner one: %v", name, at, err)
					}
				}
			}
			outer, err := openStore(h, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.outer(outer); err != nil {
				t.Errorf("%s, before %s: %v", name, at, err)
			}
			wantUsable(t, openDir(t, dir), name+", before "+at)
			if at == "" {
				if n < 1 {
					t.Errorf("%s: %d steps", name, n)
				}
				break
			}
		}
	}
}

// wantUsable wants every version that can run, or may come to, to have its bundle.
func wantUsable(t *testing.T, r *Registry, when string) {
	t.Helper()
	if _, err := r.Verify(t.Context()); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	versions, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		if err := loadError(r, v); err != nil && !v.Purged || v.Purged && (v.State == StateCandidate || v.State == StateApproved) {
			t.Fatalf("%s: %+v: %v", when, v, err)
		}
	}
}

// TestGCRace runs everything at once on few bundles.
func TestGCRace(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		const workers, seed = 6, 20140710
		steps := 20
		if testing.Short() {
			steps = 8
		}
		f := newFactory(t)
		bundles := [][]byte{f.make(1), f.make(2)}
		var wg sync.WaitGroup
		for w := range workers {
			r, random := openNow(t, p.location), rand.New(rand.NewPCG(seed, uint64(w)))
			wg.Go(func() {
				for range steps {
					var err error
					switch random.IntN(2) {
					case 0:
						_, err = r.GC(t.Context(), GCOptions{By: "gc", OlderThan: time.Nanosecond})
					default:
						var v Version
						if v, err = r.Register(t.Context(), bundles[random.IntN(len(bundles))], "train"); err != nil {
							break
						}
						d := Decision{By: fmt.Sprint("w", w), Reason: "x"}
						decisions := []func(context.Context, string, string, Decision) (Version, error){r.Approve, r.Retire, r.Reject}
						for _, decide := range decisions[random.IntN(len(decisions)):] { // what stays approved could not be purged
							if err == nil {
								_, err = decide(t.Context(), v.Ref(), "", d)
							}
						}
						if errors.Is(err, ErrRejected) || errors.Is(err, ErrPurged) {
							err = nil // another was faster
						}
					}
					if err != nil {
						t.Errorf("seed %d: %v", seed, err)
						return
					}
				}
			})
		}
		wg.Wait()
		r := openNow(t, p.location)
		wantUsable(t, r, fmt.Sprint("seed ", seed))
		raced := mustVerify(t, r)
		versions, err := r.List(t.Context()) // now let everything go
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range versions {
			if v.State != StateRejected {
				mustReject(t, r, v.Ref())
			}
		}
		mustGC(t, r, GCOptions{OlderThan: time.Nanosecond})
		files, err := r.store.List(t.Context(), blobsDir, "")
		if report := mustVerify(t, r); err != nil || len(files) > 0 || report.Blobs > 0 || report.Purged != len(bundles) {
			t.Errorf("%q are left, %v: %+v", files, err, report)
		}
		t.Logf("%+v, and then %d versions", raced, len(versions))
	})
}
