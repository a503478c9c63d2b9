package trial

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
)

// MostScores is how many predictions of an arm the area under its curve is computed from.
const MostScores = 100_000

// Scores are the predictions of an arm with their labels, for the area under the curve: all of them, or a sample that depends on the
// records alone. Its memory is bounded.
type Scores struct {
	arm, topic, experiment string
	models                 []string // the arm's, and the control's for what that refused
	seen                   int64
	kept                   sample
}

// scored is a prediction with its label.
type scored struct {
	rank                 uint64 // of a hash of where the record came from
	prediction, baseline float64
	paired, label        bool
}

// sample is a heap whose first element is the one to be dropped next.
type sample []scored

func (s sample) Len() int           { return len(s) }
func (s sample) Less(i, j int) bool { return s[i].rank > s[j].rank }
func (s sample) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push and Pop are for package heap.
func (s *sample) Push(x any) { *s = append(*s, x.(scored)) } //nolint:forcetypeassert // nothing else is pushed
func (s *sample) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}

// NewScores returns scores of each arm of an experiment.
func NewScores(s *Setup) []*Scores {
	var all []*Scores
	for _, a := range s.Arms {
		all = append(all, &Scores{arm: a.Name, models: []string{a.Model, s.Arms[0].Model}, topic: s.Topic, experiment: s.Experiment})
	}
	return all
}

// Add takes an outcome in, if it is one of the arm, and its label is 0 or 1. Predictions whose arm was forced, or that the control could not
// make, do not count.
func (s *Scores) Add(o *outcome.Outcome) {
	if o.Topic != s.topic || o.Experiment != s.experiment || o.Arm != s.arm || !slices.Contains(s.models, o.Model) || o.Forced || o.Unpaired {
		return
	}
	if o.Status != outcome.Resolved || o.Label == nil || *o.Label != 0 && *o.Label != 1 {
		return
	}
	s.seen++
	hash := sha256.Sum256([]byte(o.Source))
	one := scored{rank: binary.BigEndian.Uint64(hash[:]), prediction: o.Prediction, label: *o.Label == 1}
	if o.Baseline != nil {
		one.paired, one.baseline = true, *o.Baseline
	}
	switch {
	case len(s.kept) < MostScores:
		heap.Push(&s.kept, one)
	case one.rank < s.kept[0].rank:
		s.kept[0] = one
		heap.Fix(&s.kept, 0)
	}
}

// curves returns the areas of the arm's predictions, and of the control's model on the same records; nil is that there are too few.
func (s *Scores) curves() (own, baseline *experiment.AUC) {
	var predictions, baselines []float64
	var labels []bool
	paired := len(s.kept) > 0
	kept := slices.SortedFunc(slices.Values(s.kept), func(a, b scored) int { return cmp.Compare(a.rank, b.rank) }) // the order decides how sums are rounded
	for i := range kept {
		o := &kept[i]
		predictions, baselines, labels = append(predictions, o.prediction), append(baselines, o.baseline), append(labels, o.label)
		paired = paired && o.paired
	}
	// An error is that a class has too few: there is no area yet.
	own, _ = experiment.NewAUC(predictions, labels)
	if paired && own != nil {
		baseline, _ = experiment.NewAUC(baselines, labels)
	}
	return own, baseline
}

// areas says how well arms rank records, where their labels are classes.
func (t *tally) areas(all []*Scores) {
	var control *experiment.AUC
	for i, s := range all {
		if s.seen == 0 {
			continue
		}
		own, baseline := s.curves()
		a := AUC{Arm: s.arm, Records: int64(len(s.kept)), Sampled: s.seen > int64(len(s.kept))}
		if own != nil {
			a.Area = &own.Area
		}
		if i == 0 {
			control = own
		}
		if i > 0 && own != nil && control != nil {
			d, err := control.Unpaired(own, t.Alpha)
			if err == nil { // else too few to say
				a.Control = &d.Difference
			}
		}
		if own != nil && baseline != nil {
			if d, err := baseline.Paired(own, t.Alpha); err == nil {
				a.Paired = &d.Difference
			}
		}
		t.out.AUC = append(t.out.AUC, a)
	}
}
