package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"millrace.dev/model"
)

// Trial is what an event says of an experiment: a version predicts a share of the records of a group, beside the control's version.
type Trial struct {
	Experiment string     `json:"experiment"` // its name, which the predictions carry
	Kind       TrialKind  `json:"kind"`
	Phase      TrialPhase `json:"phase"`
	Arm        string     `json:"arm"`     // that the version is
	Share      float64    `json:"share"`   // of the records that the version gets from now on, 0 to 1
	Control    string     `json:"control"` // NAME@VERSION of what predicts the others
	// Epoch is that of the deployment by which the instances do it; 0 is not known.
	Epoch int64 `json:"epoch,omitempty"`
	// Verdict is how the trial ended; "" of another phase.
	Verdict Verdict `json:"verdict,omitempty"`
	// Guard is the guard that ended it; "" is none.
	Guard string `json:"guard,omitempty"`
	// Guards are what the guards had seen by then.
	Guards []GuardReading `json:"guards,omitempty"`
	// Touched are the records that the version has predicted or refused in the trial, by topic; of one that has ended.
	Touched []Touched `json:"touched,omitempty"`
}

// TrialKind is what an experiment is for.
type TrialKind string

// The kinds.
const (
	TrialAB     TrialKind = "ab"     // to compare models
	TrialCanary TrialKind = "canary" // to let a model in by steps
)

// TrialPhase is what has happened to a trial.
type TrialPhase string

// The phases.
const (
	TrialStarted TrialPhase = "started"
	TrialChanged TrialPhase = "changed" // the version gets another share
	TrialEnded   TrialPhase = "ended"
)

// Verdict is how a trial ended.
type Verdict string

// The verdicts.
const (
	VerdictPassed     Verdict = "passed"      // the version gets all records: it is the Trial of a promotion
	VerdictRolledBack Verdict = "rolled_back" // a guard, a failure or a person took the version out
	VerdictStopped    Verdict = "stopped"     // the experiment is over
)

// GuardReading is what a guard of a trial has seen.
type GuardReading struct {
	Guard string `json:"guard"`
	// Records is how many of the version's records it has looked at.
	Records int64 `json:"records"`
	// Value is what was measured, Bound what it is at least, given the chance of error of the trial, and Limit what it may be; nil is none.
	Value *float64 `json:"value"`
	Bound *float64 `json:"bound"`
	Limit *float64 `json:"limit"`
	// Words say it for a person: one line of plain text.
	Words string `json:"words"`
}

// Touched are records of a topic.
type Touched struct {
	Topic   string `json:"topic"`
	Records int64  `json:"records"` // in all partitions
	// Partitions are those with such records, the first [MostTouched] of them.
	Partitions []TouchedPartition `json:"partitions"`
}

// TouchedPartition are records of a partition.
type TouchedPartition struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"` // the offset of the first
	To        int64 `json:"to"`   // and of the last
	Records   int64 `json:"records"`
}

// MostTouched is how many partitions of a topic an event names.
const MostTouched = 100

const (
	mostGuards        = 16
	mostTouchedTopics = 4
	maxGuardWords     = 500 // bytes
	maxTopic          = 249 // bytes of a topic's name
)

// RunningTrial is a trial that has not ended.
type RunningTrial struct {
	Trial

	Seq   int    // of the event that said so last
	Group string // whose records they are
}

// Try notes that a trial of a version has started, was changed, or has ended; d.Trial says which. Whoever has a share of records predicted
// with a version notes that before. A version has to be approved for it; a trial that has not started has no end. Where nothing has
// changed nothing is written. Arguments and errors are those of [Registry.Promote]. A trial that the version has passed is noted with its
// promotion: [Registry.Promote], with d.Trial.
func (r *Registry) Try(ctx context.Context, ref, defaultModel string, d Decision) (Version, error) {
	return r.decide(ctx, Tried, ref, defaultModel, d)
}

// checkTrial returns what is wrong with the trial of an event.
func checkTrial(e *Event) error {
	t := e.Trial
	if t == nil {
		if e.Action == Tried {
			return fmt.Errorf("%w: there is no trial", ErrInvalid)
		}
		return nil
	}
	ends := t.Phase == TrialEnded
	known := slices.Contains([]TrialKind{TrialAB, TrialCanary}, t.Kind) &&
		slices.Contains([]TrialPhase{TrialStarted, TrialChanged, TrialEnded}, t.Phase)
	switch {
	case e.Action != Tried && e.Action != Promoted:
		return fmt.Errorf("%w: a trial has no place in %s", ErrInvalid, e.Action)
	case !known:
		return fmt.Errorf("%w: a trial of the kind %.40q, %.40q", ErrInvalid, t.Kind, t.Phase)
	case !isClean(t.Experiment, maxActor) || !isClean(t.Arm, maxActor) || !isClean(t.Control, 2*maxActor) || t.Guard != "" && !isClean(t.Guard, maxActor):
		return fmt.Errorf("%w: a trial has no name, no arm or no control that can be shown", ErrInvalid)
	case !(t.Share >= 0 && t.Share <= 1) || t.Epoch < 0 || t.Epoch > 1<<53:
		return fmt.Errorf("%w: a trial has the share %v and the epoch %d", ErrInvalid, t.Share, t.Epoch)
	case e.Action == Promoted && (!ends || t.Verdict != VerdictPassed),
		e.Action == Tried && ends && t.Verdict != VerdictRolledBack && t.Verdict != VerdictStopped,
		!ends && (t.Verdict != "" || t.Guard != "" || len(t.Touched) > 0):
		return fmt.Errorf("%w: a trial that has %s has the verdict %.40q", ErrInvalid, t.Phase, t.Verdict)
	}
	return t.checkNumbers()
}

// checkNumbers returns what is wrong with the numbers of a trial.
func (t *Trial) checkNumbers() error {
	if len(t.Guards) > mostGuards || len(t.Touched) > mostTouchedTopics {
		return fmt.Errorf("%w: a trial with %d guards, and records of %d topics", ErrInvalid, len(t.Guards), len(t.Touched))
	}
	for i := range t.Guards {
		g := &t.Guards[i]
		if !isClean(g.Guard, maxActor) || !isClean(g.Words, maxGuardWords) || g.Records < 0 || !finite(g.Value) || !finite(g.Bound) || !finite(g.Limit) {
			return fmt.Errorf("%w: guard %d has no name, no words or no figures that can be shown", ErrInvalid, i+1)
		}
	}
	for i := range t.Touched {
		of := &t.Touched[i]
		if !isClean(of.Topic, maxTopic) || of.Records < 0 || len(of.Partitions) > MostTouched {
			return fmt.Errorf("%w: %d records of topic %d, in %d partitions", ErrInvalid, of.Records, i+1, len(of.Partitions))
		}
		for _, p := range of.Partitions {
			if p.Partition < 0 || p.From < 0 || p.To < p.From || p.Records < 1 || p.Records > p.To-p.From+1 {
				return fmt.Errorf("%w: %d records of partition %d, from %d to %d", ErrInvalid, p.Records, p.Partition, p.From, p.To)
			}
		}
	}
	return nil
}

// trialDigest returns what stands for a trial in a signature: the SHA-256 of its JSON, or "" for none.
func trialDigest(t *Trial) string {
	if t == nil {
		return ""
	}
	text, err := json.Marshal(t)
	if err != nil {
		panic("registry: " + err.Error()) // its figures are finite
	}
	return model.Digest(text)
}

// ends tells whether an event ends a trial, which may be said of every version: it is the safe side.
func (e *Event) ends() bool {
	return e.Action == Tried && e.Trial != nil && e.Trial.Phase == TrialEnded
}

// refuses tells whether an event lets a version do less than before.
func (e *Event) refuses() bool { return e.Action == Rejected || e.Action == Retired || e.ends() }

// trial returns the place of a trial of the version that has not ended, or -1.
func (v *Version) trial(group, experiment string) int {
	return slices.IndexFunc(v.Trials, func(t RunningTrial) bool { return t.Group == group && t.Experiment == experiment })
}

// try applies an event about a trial of v.
func (s *state) try(v *registered, e *Event, counts bool) error {
	at := v.trial(e.Group, e.Trial.Experiment)
	if !s.lenient() && (!e.ends() && v.State != StateApproved || e.Trial.Phase != TrialStarted && at < 0) {
		return fmt.Errorf("%w: it says that a trial has %s of %s, which is %s", ErrCorrupt, e.Trial.Phase, v.Ref(), v.State)
	}
	if !e.ends() && (!counts || v.State != StateApproved) {
		return nil
	}
	trials := slices.Clone(v.Trials) // versions that were handed out keep theirs
	if at >= 0 {
		trials = slices.Delete(trials, at, at+1)
	}
	if !e.ends() {
		trials = append(trials, RunningTrial{Trial: *e.Trial, Seq: e.Seq, Group: e.Group})
	}
	v.Trials = trials
	return nil
}

// settle ends the trials of a group that goes over to one model.
func (m *entry) settle(group string) {
	for _, v := range m.versions {
		if slices.ContainsFunc(v.Trials, func(t RunningTrial) bool { return t.Group == group }) {
			v.Trials = slices.DeleteFunc(slices.Clone(v.Trials), func(t RunningTrial) bool { return t.Group == group })
		}
	}
}

// admitTrial tells whether an event about a trial of v says something new, or why it cannot be.
func (v *Version) admitTrial(e *Event) (news bool, err error) {
	at := v.trial(e.Group, e.Trial.Experiment)
	if at < 0 && e.Trial.Phase != TrialStarted {
		return false, fmt.Errorf("%s: %w: no trial %s of it is under way in %s", v.Ref(), ErrInvalid, e.Trial.Experiment, e.Group)
	}
	if at < 0 {
		return true, nil
	}
	return trialDigest(&v.Trials[at].Trial) != trialDigest(e.Trial), nil
}
