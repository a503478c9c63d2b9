package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// sizesTest returns overrides of the pipeline file that make an experiment.
func sizesTest(more ...string) []string {
	return append([]string{"ab.name=sizes", "ab.arms.control.model=flats@1", "ab.arms.control.weight=60", "ab.arms.new.model=flats@2", "ab.arms.new.weight=40"}, more...)
}

func (f *fleet) ab(set ...string) ABOptions {
	return ABOptions{File: f.file, Set: set, By: "ada", Reason: "a test"}
}

// produce writes records, good ones and every fifth without JSON.
func (f *fleet) produce(t *testing.T, from, n int) {
	t.Helper()
	p, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "flats"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := from; i < from+n; i++ {
		value := fmt.Sprintf(`{"size":%d}`, 20+i%90)
		if i%5 == 4 {
			value = `{"size":`
		}
		if err := p.Send(t.Context(), &record.Raw{Key: fmt.Appendf(nil, "k%d", i), Value: []byte(value), Timestamp: 1000 + int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// read returns the records of a topic.
func (f *fleet) read(t *testing.T, topic string) (all []record.Raw) {
	t.Helper()
	err := f.client.Tap(t.Context(), kafka.TapConfig{Topic: topic, From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			c := r
			c.Key, c.Headers = append([]byte(nil), r.Key...), nil
			for _, h := range r.Headers {
				c.Headers = append(c.Headers, record.Header{Key: strings.Clone(h.Key), Value: append([]byte(nil), h.Value...)})
			}
			all = append(all, c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// arms counts, by arm, predictions and dead letters of keys from a number on, and holds each to its arm.
func (f *fleet) arms(t *testing.T, a assign.Allocation, from int) map[string]int {
	t.Helper()
	slots, err := a.Table()
	if err != nil {
		t.Fatal(err)
	}
	counts, h := map[string]int{}, assign.NewHasher("sizes")
	for topic, model := range map[string]string{"out": "millrace.model", "dlq": "millrace.dlq.model"} {
		for _, r := range f.read(t, topic) {
			var n int
			if _, err := fmt.Sscanf(string(r.Key), "k%d", &n); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, h := range r.Headers {
				got[h.Key] = string(h.Value)
			}
			counts[topic+" "+got["millrace.arm"]]++
			if n < from {
				continue
			}
			arm := slots[h.Slot(r.Key)]
			want := []string{"control", "new"}[arm]
			if got["millrace.arm"] != want || got["millrace.experiment"] != "sizes" || got[model] != []string{"flats@1", "flats@2"}[arm] {
				t.Errorf("%s: %s has %v, want it in arm %s", topic, r.Key, got, want)
			}
			if _, has := got["millrace.baseline"]; has != (topic == "out" && arm == 1) {
				t.Errorf("%s: %s has %v", topic, r.Key, got)
			}
		}
	}
	return counts
}

// TestAB starts an experiment in two instances, changes its weights, has an instance killed and another one start, and ends it. Each record is
// predicted with the model of its arm, dead letters name it, and the audit log has all of it.
func TestAB(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, two := f.start(t, "one"), f.start(t, "two")
	f.settled(t, one, two)
	ctx := t.Context()
	if _, err := f.app.StopAB(ctx, f.ab()); err == nil {
		t.Error("an experiment ended that there was not")
	}
	if _, err := f.app.StartAB(ctx, f.ab()); err == nil || !strings.Contains(err.Error(), "no experiment") {
		t.Errorf("%v: the file has no experiment", err)
	}
	s, err := f.app.StartAB(ctx, f.ab(sizesTest()...))
	if err != nil {
		t.Fatal(err)
	}
	if s.Instances != 2 || !s.Changed || s.Moved != 0 || s.Epoch == 0 {
		t.Errorf("%+v", s)
	}
	f.produce(t, 0, 300)
	until(t, "300 results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == 300 })
	counts := f.arms(t, s.Split.Allocation(), 0)
	if counts["out new"] < 60 || counts["out control"] < 100 || counts["dlq new"] < 10 || counts["dlq control"] < 15 {
		t.Errorf("%v", counts)
	}
	if again, err := f.app.StartAB(ctx, f.ab(sizesTest()...)); err != nil || again.Changed {
		t.Errorf("%+v, %v: nothing has changed", again, err)
	}
	if _, err := f.app.StartAB(ctx, f.ab(sizesTest("ab.name=other")...)); err == nil || !strings.Contains(err.Error(), "sizes is running") {
		t.Errorf("%v: another experiment is running", err)
	}
	if _, err := f.app.StartAB(ctx, f.ab(sizesTest("ab.arms.new.model=flats@9")...)); err == nil {
		t.Error("an arm has a model that there is not")
	}

	more, err := f.app.StartAB(ctx, f.ab(sizesTest("ab.arms.control.weight=50", "ab.arms.new.weight=50")...))
	if err != nil {
		t.Fatal(err)
	}
	if more.Moved != 0.1 {
		t.Errorf("a share of %v of the keys has another arm, want 0.1", more.Moved)
	}
	one.end()
	three := f.start(t, "three")
	if err := <-one.done; err != nil {
		t.Error(err)
	}
	f.settled(t, two, three)
	f.produce(t, 300, 200)
	until(t, "500 results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == 500 })
	f.arms(t, more.Split.Allocation(), 300)

	stopped, err := f.app.StopAB(ctx, f.ab())
	if err != nil {
		t.Fatal(err)
	}
	if stopped.Model != "flats@1" || stopped.Experiment != "sizes" || stopped.Instances != 2 {
		t.Errorf("%+v", stopped)
	}
	before := f.arms(t, more.Split.Allocation(), 300)
	f.produce(t, 500, 50)
	until(t, "550 results", func() bool { return len(f.read(t, "out"))+len(f.read(t, "dlq")) == 550 })
	after := f.arms(t, more.Split.Allocation(), 1000)
	if before["out control"] != after["out control"] || before["out new"] != after["out new"] || after["out "] != 40 || after["dlq "] != 10 {
		t.Errorf("before %v, after %v: the experiment was over", before, after)
	}
	f.audited(t)
}

// audited wants the audit log to have the experiment of TestAB.
func (f *fleet) audited(t *testing.T) {
	t.Helper()
	events, err := f.registry(t).Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range events {
		if e.Action == registry.Tried {
			said = append(said, fmt.Sprint(e.Trial.Phase, " ", e.Ref(), " ", e.Trial.Arm, " ", e.Trial.Share, " ", e.Actor, " ", e.Group))
		}
	}
	want := "[started flats@2 new 0.4 ada flats changed flats@2 new 0.5 ada flats ended flats@2 new 0 ada flats]"
	if fmt.Sprint(said) != want {
		t.Errorf("%v, want %v", said, want)
	}
}

// TestABNoted changes an experiment in ways that the audit log has to follow: an arm gets another name, and an end was noted that no instance
// was told of.
func TestABNoted(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one := f.start(t, "one")
	f.settled(t, one)
	start := func(set ...string) *ABStarted {
		t.Helper()
		s, err := f.app.StartAB(t.Context(), f.ab(append([]string{"ab.name=sizes", "ab.arms.control.model=flats@1", "ab.arms.control.weight=60"}, set...)...))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	running := func(arm string, share float64) {
		t.Helper()
		v, _, err := f.registry(t).Show(t.Context(), "flats@2", "")
		if err != nil || len(v.Trials) != 1 || v.Trials[0].Arm != arm || v.Trials[0].Share != share {
			t.Errorf("%+v, %v, want %s with %v", v.Trials, err, arm, share)
		}
	}
	start("ab.arms.new.model=flats@2", "ab.arms.new.weight=40")
	running("new", 0.4)
	start("ab.arms.renamed.model=flats@2", "ab.arms.renamed.weight=40")
	running("renamed", 0.4)
	end := registry.Decision{By: "ada", Reason: "killed before it was told", Group: "flats", Trial: &registry.Trial{
		Experiment: "sizes", Kind: registry.TrialAB, Phase: registry.TrialEnded, Verdict: registry.VerdictStopped, Arm: "renamed", Control: "flats@1",
	}}
	if _, err := f.registry(t).Try(t.Context(), "flats@2", "", end); err != nil {
		t.Fatal(err)
	}
	start("ab.arms.renamed.model=flats@2", "ab.arms.renamed.weight=60")
	running("renamed", 0.5)
	if s := start("ab.arms.renamed.model=flats@2", "ab.arms.renamed.weight=60", "ab.salt=other"); s.Moved != 0.5 {
		t.Errorf("a share of %v of the keys has another arm with another salt, want 0.5", s.Moved)
	}
}

// TestABHints has errors of experiments name what undoes an experiment: to roll a champion back would have all instances go over to another one.
func TestABHints(t *testing.T) {
	t.Parallel()
	for back, want := range map[string]string{"millrace ab stop ends it": "as soon as they can: see their logs; millrace ab stop ends it", "": "as soon as they can: see their logs"} {
		w := &promotion{controller: &controller{p: &config.Pipeline{Group: "flats"}}, op: "ab start sizes", back: back}
		if _, hint := Explain(w.tooLong(Switching, time.Second, nil, nil)); !strings.HasSuffix(hint, want) {
			t.Errorf("the hint is %q, want %q", hint, want)
		}
	}
}

// TestLetterForced has dead letters of records that have named their arm say so: they count in no statistics.
func TestLetterForced(t *testing.T) {
	t.Parallel()
	a, err := assign.New([]float64{1, 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSplit(&config.Pipeline{}, &rollout.Split{Experiment: "sizes", By: rollout.ByKey, Salt: "x", Override: "x-arm", Arms: []rollout.Arm{
		{Name: "control", Slots: a[0]}, {Name: "new", Slots: a[1]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	letters := [][]record.Header{{{Key: headerArm, Value: []byte("control")}}, {{Key: headerArm, Value: []byte("new")}}}
	for named, want := range map[string]string{"control": "[{millrace.arm control} {millrace.forced true}]", "new": "[{millrace.arm new} {millrace.forced true}]"} {
		hs := s.letter(&record.Raw{Key: []byte("k"), Headers: []record.Header{{Key: "x-arm", Value: []byte(named)}}}, func(i int) []record.Header { return letters[i] })
		if got := fmt.Sprintf("%s", hs); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if hs := s.letter(&record.Raw{Key: []byte("k"), Headers: []record.Header{{Key: "x-arm", Value: []byte("none")}}}, func(i int) []record.Header { return letters[i] }); len(hs) != 1 {
		t.Errorf("%s: there is no such arm", hs)
	}
}
