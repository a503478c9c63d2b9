package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// groupsTest returns overrides of the pipeline file that make an experiment with groups.
func groupsTest(more ...string) []string {
	return sizesTest(append([]string{"ab.split=groups"}, more...)...)
}

// part is an arm, or the merge, at work.
type groupWorker struct {
	end  context.CancelFunc
	done chan error
	ran  *GroupRan
}

// stop ends it, and returns with what.
func (w *groupWorker) stop() error {
	w.end()
	return <-w.done
}

// group starts an arm, or the merge if it is "", and stops it at the end of the test.
func (f *fleet) group(t *testing.T, arm, id string) *groupWorker {
	t.Helper()
	w := &groupWorker{done: make(chan error, 1)}
	var ctx context.Context
	ctx, w.end = context.WithCancel(context.WithoutCancel(t.Context()))
	o := GroupOptions{File: f.file, Set: groupsTest(), Arm: arm, InstanceID: id, Threads: 1}
	run := f.app.RunArm
	if arm == "" {
		run = f.app.RunMerge
	}
	go func() {
		var err error
		w.ran, err = run(ctx, o)
		w.done <- err
		close(w.done)
	}()
	t.Cleanup(func() {
		if err := w.stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", arm, err)
		}
	})
	return w
}

// results counts predictions and dead letters, each of which has to be there once and in the order of its source.
func (f *fleet) results(t *testing.T) int {
	t.Helper()
	n := 0
	for topic, header := range map[string]string{"out": "millrace.source", "dlq": "millrace.dlq.offset"} {
		last := map[string]int64{}
		for _, r := range f.read(t, topic) {
			n++
			got := map[string]string{}
			for _, h := range r.Headers {
				got[h.Key] = string(h.Value)
			}
			at := got[header]
			if topic == "dlq" {
				at = "flats/" + got["millrace.dlq.partition"] + "/" + at
				if got["millrace.dlq.topic"] != "flats" || got["millrace.dlq.group"] != "flats" || got["millrace.dlq.node"] != "score" {
					t.Errorf("dead letter %v", got)
				}
			}
			i := strings.LastIndexByte(at, '/')
			var offset int64
			if _, err := fmt.Sscan(at[i+1:], &offset); err != nil {
				t.Fatal(err)
			}
			if before, ok := last[at[:i]]; ok && offset <= before {
				t.Errorf("%s comes after the record at %d", at, before)
			}
			last[at[:i]] = offset
		}
	}
	return n
}

// TestGroups goes from run to arms with groups and a merge, and back: each record has one result, in order, of the arm that its key goes to.
// Whoever would have records predicted twice, or not at all, is refused.
func TestGroups(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	refused := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want: %s", what, err, want)
		}
	}
	run := func(arm string) error {
		_, err := f.app.RunArm(ctx, GroupOptions{File: f.file, Set: groupsTest(), Arm: arm, Threads: 1})
		return err
	}
	refused("an arm before the start", run("new"), "has not begun")
	one := f.start(t, "one", groupsTest()...)
	f.settled(t, one)
	f.produce(t, 0, 100)
	_, err := f.app.StartAB(ctx, f.ab(groupsTest()...))
	refused("a start while production runs", err, "it has 1 members")
	until(t, "100 results", func() bool { return f.results(t) == 100 })
	one.end()
	if err := <-one.done; err != nil {
		t.Fatal(err)
	}
	f.produce(t, 100, 50)
	s, err := f.app.StartAB(ctx, f.ab(groupsTest()...))
	if err != nil {
		t.Fatal(err)
	}
	if at := s.From; len(at) != 3 || at[0]+at[1]+at[2] != 100 || !s.Changed || s.Moved != 0 {
		t.Errorf("%+v: want it to begin behind 100 records", s)
	}
	_, err = f.app.Run(ctx, RunOptions{File: f.file, Threads: 1})
	refused("run while the arms run", err, "predicted twice")
	refused("no such arm", run("newer"), "no such arm")

	control, merge := f.group(t, "control", "a"), f.group(t, "", "m")
	other := f.group(t, "new", "b")
	until(t, "150 results", func() bool { return f.results(t) == 150 })
	if again, err := f.app.StartAB(ctx, f.ab(groupsTest()...)); err != nil || again.Changed {
		t.Errorf("%+v, %v: nothing has changed", again, err)
	}
	_, err = f.app.StartAB(ctx, f.ab(groupsTest("ab.salt=other")...))
	refused("another salt", err, "another salt")
	_, err = f.app.StartAB(ctx, f.ab(groupsTest("ab.name=other")...))
	refused("another experiment", err, "another experiment runs")
	_, err = f.app.StopAB(ctx, f.ab(groupsTest()...))
	refused("a stop while the arms run", err, "members")
	if err := other.stop(); err != nil {
		t.Fatal(err)
	}
	if other.ran.Records != 50 {
		t.Errorf("the arm has predicted %d records, want all 50", other.ran.Records)
	}
	f.produce(t, 150, 50)
	status := f.groupsStatus(t, func(s *GroupsStatus) bool { return s.Arms[0].Lag == 0 && s.Arms[0].Ahead >= 50 })
	if len(status.Waits) != 1 || status.Waits[0] != "new" || status.Arms[1].Lag != 50 || status.Arms[1].Instances != 0 || status.Merging != 1 || f.results(t) != 150 {
		t.Errorf("%+v: want that the merge waits for new", status)
	}

	// Other weights hold from the next start of the merge on.
	more, err := f.app.StartAB(ctx, f.ab(groupsTest("ab.arms.control.weight=50", "ab.arms.new.weight=50")...))
	if err != nil || more.Moved != 0.1 || more.From != nil {
		t.Fatalf("%+v, %v: want a share of 0.1 to move", more, err)
	}
	if err := merge.stop(); err != nil {
		t.Fatal(err)
	}
	merge = f.group(t, "", "m")
	other = f.group(t, "new", "b")
	until(t, "200 results", func() bool { return f.results(t) == 200 })
	f.inArms(t, s.Split.Allocation(), 100, 150)
	f.inArms(t, more.Split.Allocation(), 150, 200)

	// The control goes on for a while without the others.
	if err := errors.Join(merge.stop(), other.stop()); err != nil {
		t.Fatal(err)
	}
	f.produce(t, 200, 40)
	f.groupsStatus(t, func(s *GroupsStatus) bool { return s.Arms[0].Lag == 0 && s.Arms[1].Lag == 40 })
	if err := control.stop(); err != nil {
		t.Fatal(err)
	}
	stopped, err := f.app.StopAB(ctx, f.ab(groupsTest()...))
	if err != nil {
		t.Fatal(err)
	}
	if at := stopped.From; len(at) != 3 || at[0]+at[1]+at[2] != 200 {
		t.Errorf("%+v: want production to go on behind the 200 records that are merged", stopped)
	}
	_, err = f.app.StopAB(ctx, f.ab(groupsTest()...))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != Nothing {
		t.Errorf("%v: there is nothing to stop", err)
	}
	refused("an arm after the end", run("new"), "has not begun")
	two := f.start(t, "two", groupsTest()...)
	f.settled(t, two)
	if err := f.client.Place(ctx, "flats", kafka.Positions{"flats": {0: {}}}); err == nil {
		t.Error("the offsets of a group with members were set")
	}
	f.produce(t, 240, 30)
	until(t, "270 results", func() bool { return f.results(t) == 270 })
	two.end()
	if err := <-two.done; err != nil {
		t.Fatal(err)
	}

	f.halfway(t)

	// A second experiment passes over what the arms have left of the first.
	if s, err = f.app.StartAB(ctx, f.ab(groupsTest()...)); err != nil {
		t.Fatal(err)
	}
	f.produce(t, 270, 30)
	f.group(t, "control", "a")
	f.group(t, "", "m")
	f.group(t, "new", "b")
	until(t, "300 results", func() bool { return f.results(t) == 300 })
	f.inArms(t, s.Split.Allocation(), 270, 300)
}

// halfway begins and ends the experiment halfway, as when the command is killed.
func (f *fleet) halfway(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	p, err := f.app.Load(f.file, groupsTest())
	if err != nil {
		t.Fatal(err)
	}
	at := func() kafka.Offsets {
		t.Helper()
		at, err := f.client.Committed(ctx, "flats")
		if err != nil {
			t.Fatal(err)
		}
		return at.Offsets("flats")
	}
	before := at()
	begin, err := whereProductionIs(ctx, f.client, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := markProduction(ctx, f.client, p, begin, "sizes"); err != nil {
		t.Fatal(err)
	}
	if err := notInGroups(ctx, f.client, p, "one"); err == nil {
		t.Error("run begins while the experiment does")
	}
	if _, err := runningGroups(ctx, f.client, p, "ab arm"); err == nil {
		t.Error("an arm begins before the experiment has")
	}
	_, err = f.app.StopAB(ctx, f.ab(groupsTest()...))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != Nothing {
		t.Errorf("%v: it had not begun", err)
	}
	if err := notInGroups(ctx, f.client, p, "one"); err != nil {
		t.Error(err)
	}

	if _, err := f.app.StartAB(ctx, f.ab(groupsTest()...)); err != nil {
		t.Fatal(err)
	}
	if begin, err = whereProductionIs(ctx, f.client, p); err != nil {
		t.Fatal(err)
	}
	if err := markProduction(ctx, f.client, p, begin, ""); err != nil { // or the brokers have forgotten the offsets
		t.Fatal(err)
	}
	if err := notInGroups(ctx, f.client, p, "one"); err == nil {
		t.Error("run begins while the experiment runs")
	}
	if _, err := f.app.StopAB(ctx, f.ab(groupsTest()...)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, at()); diff != "" {
		t.Errorf("production goes on elsewhere: %s", diff)
	}
}

// groupsStatus waits until the experiment is somewhere.
func (f *fleet) groupsStatus(t *testing.T, is func(*GroupsStatus) bool) (s *GroupsStatus) {
	t.Helper()
	p, err := f.app.Load(f.file, groupsTest())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the experiment is so far", func() bool {
		if s, err = f.app.GroupsStatus(t.Context(), p, f.client); err != nil {
			t.Fatal(err)
		}
		return is(s)
	})
	return s
}

// inArms holds the results of keys from one number up to another to their arms.
func (f *fleet) inArms(t *testing.T, a assign.Allocation, from, to int) {
	t.Helper()
	slots, err := a.Table()
	if err != nil {
		t.Fatal(err)
	}
	h, n := assign.NewHasher("sizes"), 0
	for topic, model := range map[string]string{"out": "millrace.model", "dlq": "millrace.dlq.model"} {
		for _, r := range f.read(t, topic) {
			var k int
			if _, err := fmt.Sscanf(string(r.Key), "k%d", &k); err != nil {
				t.Fatal(err)
			}
			if k < from || k >= to {
				continue
			}
			n++
			got := map[string]string{}
			for _, h := range r.Headers {
				got[h.Key] = string(h.Value)
			}
			arm := slots[h.Slot(r.Key)]
			if got["millrace.arm"] != []string{"control", "new"}[arm] || got["millrace.experiment"] != "sizes" || got[model] != []string{"flats@1", "flats@2"}[arm] {
				t.Errorf("%s: %s has %v, want it in arm %d", topic, r.Key, got, arm)
			}
		}
	}
	if n != to-from {
		t.Errorf("%d results of %d records", n, to-from)
	}
}

// TestGroupsMark holds what the offsets of production say.
func TestGroupsMark(t *testing.T) {
	t.Parallel()
	for _, was := range []string{"", "e1:5:100", "e1:5:100 other", "ab1:old", "e1:5:100 ab1:old other"} {
		with := marked(was, "sizes")
		if got := groupsMark(with); got != "sizes" {
			t.Errorf("%q has the mark %q", with, got)
		}
		without := marked(with, "")
		if got := groupsMark(without); got != "" || strings.Contains(was, "e1:5:100") != strings.Contains(without, "e1:5:100") || strings.Contains(was, "other") != strings.Contains(without, "other") {
			t.Errorf("%q without the mark is %q", with, without)
		}
	}
}

// TestGroupsRefuses holds what cannot be an experiment with groups.
func TestGroupsRefuses(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for want, set := range map[string][]string{
		"no experiment":                  nil,
		"have no groups":                 sizesTest(),
		"an arm is called merge":         groupsTest("ab.arms.merge.model=flats@3"),
		"is taken for an instance of an": nil,
	} {
		var err error
		if strings.HasPrefix(want, "is taken") {
			_, err = f.app.Run(t.Context(), RunOptions{File: f.file, Set: groupsTest(), InstanceID: "ab-new-1", Threads: 1})
		} else {
			_, err = f.app.RunMerge(t.Context(), GroupOptions{File: f.file, Set: set, Threads: 1})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want: %s", err, want)
		}
	}
	g := &rollout.Groups{Split: &rollout.Split{Experiment: "x", By: rollout.ByKey}}
	value, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.app.Load(f.file, groupsTest())
	if err != nil {
		t.Fatal(err)
	}
	if g, err := readGroups(t.Context(), f.client, p); err != nil || g.Split != nil {
		t.Errorf("%+v, %v: there is no control topic", g, err)
	}
	if err := needTopics(t.Context(), f.client, true, controlTopics(p)...); err != nil {
		t.Fatal(err)
	}
	producer, err := f.client.NewProducer(kafka.ProducerConfig{Topic: p.ControlTopic()})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Send(t.Context(), &record.Raw{Key: []byte(rollout.GroupsKey), Value: value}); err != nil {
		t.Fatal(err)
	}
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := readGroups(t.Context(), f.client, p); !errors.Is(err, rollout.ErrInvalid) {
		t.Errorf("%v: a split without arms was taken", err)
	}
}
