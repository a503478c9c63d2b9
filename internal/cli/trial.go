package cli

import (
	"fmt"
	"strings"

	"millrace.dev/internal/registry"
)

// listedTrial is a trial that has not ended.
type listedTrial struct {
	Experiment string  `json:"experiment"`
	Kind       string  `json:"kind"`
	Arm        string  `json:"arm"`
	Share      float64 `json:"share"`
	Control    string  `json:"control"`
	Group      string  `json:"group"`
	Seq        int     `json:"seq"` // of the event that said so last
}

func listedTrials(v registry.Version) []listedTrial {
	var list []listedTrial
	for i := range v.Trials {
		t := &v.Trials[i]
		list = append(list, listedTrial{t.Experiment, string(t.Kind), t.Arm, t.Share, t.Control, t.Group, t.Seq})
	}
	return list
}

// percent returns a share as people write it.
func percent(share float64) string { return fmt.Sprintf("%.4g%%", 100*share) }

// onTrial returns the trials of v that have not ended, as they are written beside its aliases.
func onTrial(v registry.Version) []string {
	var list []string
	for i := range v.Trials {
		list = append(list, v.Trials[i].Experiment+":"+percent(v.Trials[i].Share))
	}
	return list
}

// why returns the reason of an event, with what has happened where it is one of a trial.
func why(e *registry.Event) string {
	if e.Note != nil {
		return noted(e.Note) + ": " + e.Reason
	}
	t := e.Trial
	if t == nil {
		return e.Reason
	}
	said := fmt.Sprintf("%s %s: ", t.Experiment, t.Phase)
	if t.Phase == registry.TrialEnded {
		return said + strings.ReplaceAll(string(t.Verdict), "_", " ") + ": " + e.Reason
	}
	said += fmt.Sprintf("%s of the records, beside %s", percent(t.Share), t.Control)
	return said + ": " + e.Reason
}

// noted says what is noted, on one line.
func noted(n *registry.Note) string {
	said := string(n.Kind)
	if n.Key != "" {
		said += " " + n.Key
	}
	switch {
	case n.Gone:
		return said + " is gone"
	case n.Kind == registry.NoteAlias:
		return said
	}
	return fmt.Sprintf("%s = %q", said, n.Value)
}

// trialLines are the numbers of a trial, for people.
func trialLines(t *registry.Trial) []string {
	if t == nil {
		return nil
	}
	var lines []string
	for i := range t.Guards {
		lines = append(lines, t.Guards[i].Guard+": "+t.Guards[i].Words)
	}
	for i := range t.Touched {
		of := &t.Touched[i]
		lines = append(lines, fmt.Sprintf("%s: %s, in %s", of.Topic, count(int(of.Records), "record"), count(len(of.Partitions), "partition")))
	}
	return lines
}
