package registry

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func canary(phase TrialPhase, share float64) *Trial {
	return &Trial{Experiment: "canary", Kind: TrialCanary, Phase: phase, Arm: "canary", Share: share, Control: "house-prices@1", Epoch: 7}
}

func ended(verdict Verdict) *Trial {
	t, x, limit := canary(TrialEnded, 0), 0.061, 0.02
	t.Verdict, t.Guard = verdict, "loss"
	t.Guards = []GuardReading{{Guard: "loss", Records: 900, Value: &x, Bound: &x, Limit: &limit, Words: "the RMSE is 6.1 % above that of house-prices@1"}}
	t.Touched = []Touched{{Topic: "predictions", Records: 3, Partitions: []TouchedPartition{{Partition: 2, From: 10, To: 15, Records: 3}}}}
	return t
}

func try(t *testing.T, r *Registry, ref string, what *Trial) (Version, error) {
	t.Helper()
	return r.Try(t.Context(), ref, "house-prices", Decision{By: "anna", Reason: "the review", Group: "houses", Trial: what})
}

// twoApproved returns a registry with two approved versions, of which the first is the champion, and four events.
func twoApproved(t *testing.T) *Registry {
	t.Helper()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))
	mustRegister(t, r, f.make(2))
	mustApprove(t, r, "@1")
	mustApprove(t, r, "@2")
	return r
}

func mustTry(t *testing.T, r *Registry, ref string, what *Trial) Version {
	t.Helper()
	v, err := try(t, r, ref, what)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTrial follows a trial from its start to its end, also for whoever opens the registry anew. It changes no state and no champion.
func TestTrial(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	for _, share := range []float64{0.01, 0.01, 0.1} { // the second changes nothing, and writes nothing
		phase := TrialStarted
		if share > 0.01 {
			phase = TrialChanged
		}
		v := mustTry(t, r, "@2", canary(phase, share))
		if len(v.Trials) != 1 || v.Trials[0].Share != share || v.Trials[0].Group != "houses" || v.State != StateApproved || len(v.Aliases) > 0 {
			t.Fatalf("%+v", v)
		}
	}
	if v := mustTry(t, r, "@2", ended(VerdictRolledBack)); len(v.Trials) != 0 {
		t.Errorf("%+v", v.Trials)
	}
	_, events, err := openDir(t, r.Location()).Show(t.Context(), "@2", "house-prices")
	if err != nil || len(events) != 5 {
		t.Fatal(len(events), err)
	}
	if diff := cmp.Diff(ended(VerdictRolledBack), events[4].Trial); diff != "" || events[4].Format != trialFormat || events[1].Format != eventFormat {
		t.Error(diff, events[4].Format, events[1].Format)
	}
	if v, err := r.Resolve(t.Context(), "@champion", "house-prices"); err != nil || v.Number != 1 {
		t.Error(v, err)
	}
	mustVerify(t, r)
}

// TestTrialPassed ends a trial with the promotion of its version, and any other promotion in its group too.
func TestTrialPassed(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	mustTry(t, r, "@2", canary(TrialStarted, 0.1))
	passed := canary(TrialEnded, 1)
	passed.Verdict = VerdictPassed
	d := Decision{By: "anna", Reason: "the review", Group: "houses", Trial: passed}
	v, err := r.Promote(t.Context(), "@2", "house-prices", d)
	if err != nil || len(v.Trials) != 0 || v.Aliases[0] != AliasChampion {
		t.Error(v, err)
	}
	mustTry(t, r, "@1", canary(TrialStarted, 0.1))
	d.Trial = nil
	if _, err := r.Promote(t.Context(), "@2", "house-prices", d); err != nil {
		t.Error(err)
	}
	if v, err := openDir(t, r.Location()).Resolve(t.Context(), "@1", "house-prices"); err != nil || len(v.Trials) != 0 {
		t.Error(v.Trials, err)
	}
}

// TestTrialOfTheRefused lets nobody try what may not run, and everybody end what may run no more.
func TestTrialOfTheRefused(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	mustTry(t, r, "@2", canary(TrialStarted, 0.1))
	mustReject(t, r, "@2")
	if _, err := try(t, r, "@2", canary(TrialChanged, 0.5)); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	if v := mustTry(t, r, "@2", ended(VerdictRolledBack)); len(v.Trials) != 0 || v.State != StateRejected {
		t.Errorf("%+v", v)
	}
	mustVerify(t, openDir(t, r.Location()))
	f := newFactory(t)
	v := mustRegister(t, r, f.make(3))
	if _, err := try(t, r, v.Ref(), canary(TrialStarted, 0.1)); !errors.Is(err, ErrNotApproved) {
		t.Error(err)
	}
	if _, err := try(t, r, "@1", ended(VerdictStopped)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no trial canary of it is under way in houses") {
		t.Error(err)
	}
}

func TestTrialInvalid(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	nan := math.NaN()
	for name, change := range map[string]func(*Trial){
		"no name":            func(x *Trial) { x.Experiment = "" },
		"escape codes":       func(x *Trial) { x.Arm = "\x1b[2J" },
		"no control":         func(x *Trial) { x.Control = "" },
		"no kind":            func(x *Trial) { x.Kind = "" },
		"no phase":           func(x *Trial) { x.Phase = "paused" },
		"more than all":      func(x *Trial) { x.Share = 1.01 },
		"a share that is no": func(x *Trial) { x.Share = nan },
		"an epoch":           func(x *Trial) { x.Epoch = -1 },
		"an end in between":  func(x *Trial) { x.Verdict = VerdictStopped },
		"passed by itself":   func(x *Trial) { *x = *ended(VerdictPassed) },
		"no verdict":         func(x *Trial) { *x = *ended("") },
		"NaN":                func(x *Trial) { *x = *ended(VerdictStopped); x.Guards[0].Value = &nan },
		"no words":           func(x *Trial) { *x = *ended(VerdictStopped); x.Guards[0].Words = "" },
		"many guards":        func(x *Trial) { x.Guards = make([]GuardReading, mostGuards+1) },
		"touched backwards":  func(x *Trial) { *x = *ended(VerdictStopped); x.Touched[0].Partitions[0].To = 9 },
		"touched too many":   func(x *Trial) { *x = *ended(VerdictStopped); x.Touched[0].Partitions[0].Records = 7 },
		"no topic":           func(x *Trial) { *x = *ended(VerdictStopped); x.Touched[0].Topic = "" },
	} {
		x := canary(TrialStarted, 0.1)
		change(x)
		if _, err := try(t, r, "@2", x); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := try(t, r, "@2", nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := r.Approve(t.Context(), "@2", "house-prices", Decision{By: "anna", Reason: "x", Trial: canary(TrialStarted, 0.1)}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if events, err := r.Log(t.Context()); err != nil || len(events) != 4 {
		t.Error(len(events), err)
	}
}

// TestForgedTrials reads no log in which a trial does not follow from what was before it.
func TestForgedTrials(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]Event{
		"not approved":  {Format: 3, Version: 3, Trial: canary(TrialStarted, 0.1)},
		"not started":   {Format: 3, Version: 2, Trial: ended(VerdictStopped)},
		"earlier form":  {Format: 2, Version: 2, Trial: canary(TrialStarted, 0.1)},
		"without one":   {Format: 3, Version: 2},
		"more than all": {Format: 3, Version: 2, Trial: canary(TrialStarted, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := twoApproved(t)
			f := newFactory(t)
			mustRegister(t, r, f.make(3))
			s := r.state
			format := e.Format
			e.Actor, e.Action, e.Model, e.Reason, e.Group, e.Digest = "eve", Tried, "house-prices", "x", "houses", s.models["house-prices"].versions[e.Version-1].Digest
			e.placed(s, r.now())
			e.Format = format
			if err := r.store.addEvent(t.Context(), &e); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(r.Location(), Options{}); !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
		})
	}
}

// TestSignedTrial counts what somebody has signed who may promote, word for word, and an end by anybody.
func TestSignedTrial(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	d := Decision{Reason: "the review", Group: "houses", Trial: canary(TrialStarted, 0.1)}
	_, err := c.as("Rita").Try(t.Context(), "@1", "house-prices", d)
	wantUntrusted(t, err, "Rita has none of the roles that promote: deployer")
	v, err := c.as("Dan").Try(t.Context(), "@1", "house-prices", d)
	if err != nil || len(v.Trials) != 1 {
		t.Fatal(v, err)
	}
	e := Event{Actor: "Dan", Action: Tried, Model: "house-prices", Version: 1, Reason: "x", Group: "houses", Trial: canary(TrialChanged, 0.5)}
	c.insert("Dan", e, func(e *Event) { e.Format, e.Trial = trialFormat, canary(TrialChanged, 1) })
	c.insert("", e, func(e *Event) { e.Format = trialFormat })
	if v = c.version("@1"); len(v.Ignored) != 2 || v.Trials[0].Share != 0.1 || !strings.Contains(v.Ignored[0].Err.Error(), "signed for another trial") {
		t.Errorf("%+v", v)
	}
	d.Trial = ended(VerdictRolledBack)
	if v, err = c.as("Rita").Try(t.Context(), "@1", "house-prices", d); err != nil || len(v.Trials) != 0 {
		t.Error(v, err)
	}
	if r, err := c.as("").Verify(t.Context()); !errors.Is(err, ErrUntrusted) || r.Events != 8 {
		t.Error(r, err)
	}
}
