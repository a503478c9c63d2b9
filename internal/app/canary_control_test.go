package app

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
)

// slowly are the options of a canary that stays at its first step.
func (f *fleet) slowly(set ...string) CanaryOptions {
	return CanaryOptions{
		File: f.file, Set: append([]string{"canary.steps=30%,100%", "canary.hold=1h", "canary.guards.without=latency", "canary.lease=10s"}, set...),
		Model: "flats@2", By: "ada", Reason: "a test", Timeout: 20 * time.Second, Every: 10 * time.Millisecond,
	}
}

// watching is a command that watches a canary.
type watching struct {
	looks chan CanaryLook // the last one
	end   context.CancelFunc
	done  chan error
	out   *Canaried // once it is done
}

func (f *fleet) watch(t *testing.T, o CanaryOptions) *watching {
	t.Helper()
	w := &watching{looks: make(chan CanaryLook, 1), done: make(chan error, 1)}
	var ctx context.Context
	ctx, w.end = context.WithCancel(t.Context())
	o.Look = func(l CanaryLook) {
		select {
		case <-w.looks:
		default:
		}
		w.looks <- l
	}
	go func() {
		var err error
		w.out, err = f.app.Canary(ctx, o)
		w.done <- err
	}()
	t.Cleanup(w.end)
	return w
}

// sees waits until a command has seen so many records of the model.
func (w *watching) sees(t *testing.T, records int64) CanaryLook {
	t.Helper()
	for {
		select {
		case l := <-w.looks:
			if l.Records >= records {
				return l
			}
		case err := <-w.done:
			t.Fatal("it has ended: ", err)
		case <-t.Context().Done():
			t.Fatal("never")
		}
	}
}

// canaryRecords counts the records that the model of a canary has, of whichever topic.
func (f *fleet) canaryRecords(t *testing.T) (n int64) {
	t.Helper()
	for _, topic := range []string{"out", "dlq"} {
		for _, r := range f.read(t, topic) {
			for _, h := range r.Headers {
				if h.Key == headerArm && string(h.Value) == canaryArm {
					n++
				}
			}
		}
	}
	return n
}

// TestCanaryResumed has a second command take a canary over: the first one ends, and leaves it alone; the second finds the same evidence,
// each record once, and stays at the step. A command that is ended takes the model back, or with Keep leaves it, for the next one.
func TestCanaryResumed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, two := f.start(t, "one"), f.start(t, "two")
	f.settled(t, one, two)
	first := f.watch(t, f.slowly())
	first.sees(t, 0)
	f.produce(t, 0, 300)
	until(t, "300 results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == 300 })
	n := f.canaryRecords(t)
	// What is refused does not end the command that watches.
	if _, err := f.app.StartAB(t.Context(), f.ab(sizesTest()...)); codeIs(err) != Usage || !strings.Contains(err.Error(), "is under way, of flats@2") {
		t.Errorf("%v: a canary is under way", err)
	}
	if _, err := f.app.StartAB(t.Context(), f.ab(sizesTest("ab.name="+first.sees(t, n).Experiment)...)); codeIs(err) != Usage {
		t.Errorf("%v: an experiment goes on with a canary", err)
	}
	other := f.slowly()
	other.Model = "flats@3"
	if _, err := f.app.Canary(t.Context(), other); codeIs(err) != Usage || !strings.Contains(err.Error(), "is under way, of flats@2") {
		t.Errorf("%v: a canary is under way", err)
	}
	beaten := f.controls(t)
	until(t, "it watches", func() bool {
		c := f.controls(t)
		return len(c) > len(beaten) && c[len(c)-1].Beat > beaten[len(beaten)-1].Beat
	})
	if n < 50 || n > 150 {
		t.Fatalf("%d of 300 records at 30 %%", n)
	}
	seen := first.sees(t, n)

	second := f.watch(t, f.slowly())
	look := second.sees(t, n)
	if look.Records != n || look.Experiment != seen.Experiment || look.Step != 0 || len(look.Decision.Readings) != len(seen.Decision.Readings) {
		t.Errorf("%+v, want the %d records of %+v", look, n, seen)
	}
	for i, r := range look.Decision.Readings {
		if r != seen.Decision.Readings[i] {
			t.Errorf("%+v, before %+v", r, seen.Decision.Readings[i])
		}
	}
	if err := f.lapse(first); !strings.Contains(err.Error(), "another command watches this canary now") || first.out.Verdict != "" {
		t.Errorf("%v, %+v", err, first.out)
	}

	keep := f.slowly()
	keep.Keep = true
	third := f.watch(t, keep)
	third.sees(t, n)
	third.end()
	if err := <-third.done; err != nil || third.out.Verdict != "" || !third.out.Resumed {
		t.Errorf("%v, %+v", err, third.out)
	}
	if c := f.controls(t); c[len(c)-1].Current.Split == nil || c[len(c)-1].Current.Split.Canary.Lease != 0 {
		t.Errorf("%+v", c[len(c)-1].Current)
	}
	fourth := f.watch(t, f.slowly())
	fourth.sees(t, n)
	if c := f.controls(t); c[len(c)-1].Current.Split.Canary.Lease != 10_000 {
		t.Errorf("%+v", c[len(c)-1].Current.Split.Canary)
	}
	fourth.end()
	if err := <-fourth.done; codeIs(err) != Failed || fourth.out.Verdict != registry.VerdictRolledBack || !fourth.out.Complete || fourth.out.Touched[len(fourth.out.Touched)-1].Topic != "out" {
		t.Errorf("%v, %+v", err, fourth.out)
	}
	one.says(t, "flats@1")
	if c := f.controls(t); c[len(c)-1].Current.Split != nil {
		t.Errorf("%+v", c[len(c)-1].Current)
	}
	v, events, err := f.registry(t).Show(t.Context(), "flats@2", "")
	if err != nil || len(v.Trials) != 0 {
		t.Fatal(v, err)
	}
	var phases []string
	var counted int64
	for _, e := range events {
		if e.Trial != nil {
			phases = append(phases, string(e.Trial.Phase))
			for _, of := range e.Trial.Touched {
				counted += of.Records
			}
		}
	}
	if !slices.Equal(phases, []string{"started", "ended"}) || counted != n {
		t.Errorf("%v, %d records, want %d", phases, counted, n)
	}
}

// lapse waits until a command has noticed that another one has taken its place.
func (f *fleet) lapse(w *watching) error {
	for {
		select {
		case <-w.looks:
		case err := <-w.done:
			return err
		}
	}
}

// TestCanaryUnattended leaves a canary without anybody who watches: the instances take it back by themselves, one of them, once. A command that
// comes later notes its end, and begins anew.
func TestCanaryUnattended(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, two := f.start(t, "one"), f.start(t, "two")
	f.settled(t, one, two)
	f.promote(t, "flats@1", 2) // there is a control topic
	before := f.controls(t)
	c := *before[len(before)-1]
	current := *c.Current
	current.Epoch++
	versions, err := f.registry(t).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	current.Split = &rollout.Split{Experiment: "canary-2-1", By: rollout.ByKey, Salt: "x", Canary: &rollout.Canary{Steps: []float64{0.3, 1}, Lease: 300}, Arms: []rollout.Arm{
		{Name: controlArm, Model: current.Model, Digest: current.Digest, Slots: []assign.Range{{From: 0, To: 7000}}},
		{Name: canaryArm, Model: "flats@2", Digest: versions[1].Digest, Slots: []assign.Range{{From: 7000, To: assign.Slots}}},
	}}
	c.Current, c.Next = &current, nil
	d := registry.Decision{By: "ada", Reason: "x", Group: "flats", Trial: &registry.Trial{
		Experiment: "canary-2-1", Kind: registry.TrialCanary, Phase: registry.TrialStarted, Arm: canaryArm, Share: 0.3, Control: "flats@1",
	}}
	if _, err := f.registry(t).Try(t.Context(), "flats@2", "", d); err != nil {
		t.Fatal(err)
	}
	value, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, value)
	until(t, "the instances have gone back", func() bool {
		all := f.controls(t)
		last := all[len(all)-1].Current
		return last.Split == nil && last.Epoch > current.Epoch && strings.Contains(last.Reason, "nobody has watched canary-2-1")
	})
	until(t, "they are there", func() bool { return f.logs.count("an experiment has ended") == 2 })
	if n := f.logs.count("nobody watches the canary: all instances go back"); n != 1 {
		t.Errorf("%d instances have taken it back, want one", n)
	}
	w := f.watch(t, f.slowly())
	if l := w.sees(t, 0); l.Experiment == "canary-2-1" {
		t.Errorf("%+v", l)
	}
	w.end()
	if err := <-w.done; err == nil {
		t.Error("ended without an error")
	}
	_, events, err := f.registry(t).Show(t.Context(), "flats@2", "")
	if err != nil {
		t.Fatal(err)
	}
	noted := slices.ContainsFunc(events, func(e registry.Event) bool {
		return e.Trial != nil && e.Trial.Experiment == "canary-2-1" && e.Trial.Phase == registry.TrialEnded
	})
	if !noted {
		t.Error("nobody has noted the end of the canary")
	}
}

// TestCanaryRefused begins no canary that cannot be one.
func TestCanaryRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	canary := func(change func(*CanaryOptions)) error {
		o := f.slowly()
		change(&o)
		_, err := f.app.Canary(t.Context(), o)
		return err
	}
	for name, tc := range map[string]struct {
		change func(*CanaryOptions)
		code   Code
		text   string
	}{
		"the champion":   {func(o *CanaryOptions) { o.Model = "flats@1" }, Nothing, "flats@1 predicts all records already"},
		"no such model":  {func(o *CanaryOptions) { o.Model = "flats@9" }, Usage, "flats@9"},
		"steps":          {func(o *CanaryOptions) { o.Steps = []float64{0.5, 0.1, 1} }, Usage, "that rise"},
		"all at once":    {func(o *CanaryOptions) { o.Steps = []float64{1} }, Usage, "want from 2 to 20 steps"},
		"with a restart": {func(o *CanaryOptions) { o.Set = append(o.Set, "model.update=restart") }, Usage, "does not listen to its control topic"},
		"no labels":      {func(o *CanaryOptions) { o.Set = append(o.Set, "outcomes.topic=let", "outcomes.horizon=1h") }, Usage, "flats.cohorts"},
	} {
		if err := canary(tc.change); codeIs(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.app.StartAB(t.Context(), f.ab(sizesTest()...)); err != nil {
		t.Fatal(err)
	}
	if err := canary(func(*CanaryOptions) {}); codeIs(err) != Usage || !strings.Contains(err.Error(), "sizes is under way") {
		t.Error(err)
	}
	if _, err := f.app.StopAB(t.Context(), f.ab()); err != nil {
		t.Fatal(err)
	}
	o := f.slowly("canary.timeout=1ms", "canary.hold=0s")
	if r, err := f.app.Canary(t.Context(), o); codeIs(err) != Failed || !strings.Contains(err.Error(), "too little was seen") || r.Verdict != registry.VerdictRolledBack {
		t.Error(err)
	}
	if events, err := f.registry(t).Log(t.Context()); err != nil || events[len(events)-1].Trial.Verdict != registry.VerdictRolledBack {
		t.Error(events, err)
	}
}

// TestCanaryOvertaken promotes a model while a canary is under way, which ends with it, and says how.
func TestCanaryOvertaken(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one := f.start(t, "one")
	f.settled(t, one)
	for model, want := range map[string]registry.Verdict{"flats@3": registry.VerdictStopped, "flats@2": registry.VerdictPassed, "flats@1": registry.VerdictRolledBack} {
		f.promote(t, "flats@1", 1)
		w := f.watch(t, f.slowly())
		seen := w.sees(t, 0)
		if p := f.promote(t, model, 1); p.Ended != seen.Experiment {
			t.Errorf("%s has ended %q, want %s", model, p.Ended, seen.Experiment)
		}
		if err := f.lapse(w); !strings.Contains(err.Error(), "it is over: ada has the instances run "+model) || w.out.Verdict != want {
			t.Errorf("%s: %v, verdict %s, want %s", model, err, w.out.Verdict, want)
		}
		if v, _, err := f.registry(t).Show(t.Context(), "flats@2", ""); err != nil || len(v.Trials) != 0 {
			t.Errorf("%v, %v: it has ended", v.Trials, err)
		}
		ended := slices.DeleteFunc(f.events(t), func(e registry.Event) bool {
			return e.Trial == nil || e.Trial.Experiment != seen.Experiment || e.Trial.Phase != registry.TrialEnded
		})
		if len(ended) != 1 || ended[0].Ref() != "flats@2" || (ended[0].Trial.Verdict == registry.VerdictPassed) != (model == "flats@2") {
			t.Errorf("%s: the log says of the end %+v", model, ended)
		}
	}
}

// TestCanaryPassed has a command that is begun again bring to its end what was noted, and not told, when the one before was killed.
func TestCanaryPassed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one := f.start(t, "one")
	f.settled(t, one)
	o := f.slowly()
	o.Keep = true
	first := f.watch(t, o)
	seen := first.sees(t, 0)
	first.end()
	if err := <-first.done; err != nil {
		t.Fatal(err)
	}
	d := registry.Decision{By: "ada", Reason: "a test", Group: "flats", Trial: &registry.Trial{
		Experiment: seen.Experiment, Kind: registry.TrialCanary, Phase: registry.TrialEnded, Verdict: registry.VerdictPassed, Arm: canaryArm, Share: 1, Control: "flats@1",
	}}
	if _, err := f.registry(t).Promote(t.Context(), "flats@2", "", d); err != nil {
		t.Fatal(err)
	}
	events := len(f.events(t))
	second := f.watch(t, f.slowly())
	select {
	case l := <-second.looks:
		t.Fatalf("it goes on with what has passed: %+v", l)
	case err := <-second.done:
		if err != nil || second.out.Verdict != registry.VerdictPassed || second.out.Deployed.Instances != 1 {
			t.Errorf("%v, %+v", err, second.out)
		}
	}
	one.says(t, "flats@2")
	if n := len(f.events(t)); n != events {
		t.Errorf("%d events are noted again", n-events)
	}
}

func (f *fleet) events(t *testing.T) []registry.Event {
	t.Helper()
	events, err := f.registry(t).Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return events
}
