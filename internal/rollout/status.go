package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/experiment"
)

// Stage is how far an instance is with making a deployment ready.
type Stage string

// The stages.
const (
	Loading Stage = "loading"
	Ready   Stage = "ready"
	Failed  Stage = "failed" // it tries again where that may help
)

// Readiness is how far an instance is with a deployment.
type Readiness struct {
	Epoch int64  `json:"epoch"` // of the deployment
	Stage Stage  `json:"stage"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Final says of a failure that no second try mends it.
	Final bool `json:"final,omitempty"`
}

// Partition is which epoch the records of a partition are predicted in.
type Partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Epoch     int64  `json:"epoch"`
	From      int64  `json:"from"` // the offset from which on they are
}

// Status is what an instance says of itself: the value of a record of the status topic, whose key is the instance's name.
type Status struct {
	Version  int    `json:"version"`
	Instance string `json:"instance"`
	Member   string `json:"member"` // its id in the consumer group; "" while it is in none
	Program  string `json:"program"`
	At       int64  `json:"at"` // milliseconds since 1970
	// Model, Digest and Epoch are what it predicts with.
	Model  string `json:"model"`
	Digest string `json:"digest"`
	Epoch  int64  `json:"epoch"`
	// Update is how it goes over, as model.update of its pipeline file says; "" is of a version that does not say.
	Update string `json:"update,omitempty"`
	// Pinned says that it was started for one model and follows no control.
	Pinned     bool        `json:"pinned,omitempty"`
	Next       *Readiness  `json:"next,omitempty"`
	Partitions []Partition `json:"partitions"`
	// Arms are the arms of experiments that it has predicted for since it started, by experiment and name.
	Arms []ArmStatus `json:"arms,omitempty"`
}

// ArmStatus is what an instance has done for an arm since it started, records of transactions that were undone included.
type ArmStatus struct {
	Experiment string `json:"experiment"`
	Arm        string `json:"arm"`
	Model      string `json:"model"`
	Records    int64  `json:"records"` // all, those too that were refused
	Refused    int64  `json:"refused"`
	// Seconds is, over batches, how long the arm's model took (y), how long the control's took for the same records (x), and how many
	// records these were; nil is none, as for the control.
	Seconds *experiment.Cross `json:"seconds,omitempty"`
	// Ratios counts these batches by how many times as long the arm's model took, by [RatioBucket]; nil is none.
	Ratios []int64 `json:"ratios,omitempty"`
}

// Ratios of times are counted in buckets, each 9 % wide: eight to an octave, from a quarter to 32.
const (
	ratiosPerOctave = 8
	lowestRatio     = -2 * ratiosPerOctave // the upper end of the first bucket, as a power
	// RatioBuckets is how many there are.
	RatioBuckets = 7*ratiosPerOctave + 2
)

// RatioBucket returns the bucket of a ratio.
func RatioBucket(x float64) int {
	return int(max(0, min(math.Floor(math.Log2(x)*ratiosPerOctave)-lowestRatio+1, RatioBuckets-1)))
}

// RatioFrom returns the lower end of a bucket.
func RatioFrom(bucket int) float64 {
	if bucket <= 0 {
		return 0
	}
	return math.Exp2(float64(bucket-1+lowestRatio) / ratiosPerOctave)
}

// DecodeStatus reads the value of a record of the status topic. An error matches [ErrInvalid], or [ErrNewer].
func DecodeStatus(value []byte) (*Status, error) {
	s := &Status{}
	if err := decode(value, version, s); err != nil {
		return nil, err
	}
	if s.Instance == "" {
		return nil, fmt.Errorf("%w: a status names no instance", ErrInvalid)
	}
	return s, nil
}

// Encode returns the value of a record of the status topic.
func (s *Status) Encode() ([]byte, error) {
	s.Version = version
	return json.Marshal(s)
}

// Member is a member of the consumer group.
type Member struct {
	ID   string // that the group gave it
	Host string
	// Assigned are the partitions that the group has given to it, by topic; nil is not known. What it says of others is old.
	Assigned map[string][]int32
}

// Step is how far an instance is on its way to a deployment.
type Step struct {
	Instance string // its name; of a member that has said nothing its id in the group
	Host     string
	Stage    Stage // "" is not known: it has said nothing about this deployment
	Error    string
	Hint     string
	Final    bool
	Pinned   bool
	Update   string // how it goes over; "" is not known
	Model    string
	Here     bool // it predicts all of its partitions in the epoch
	Later    bool // it was told of a later deployment
	// Partitions are those that it predicts in the epoch, and Others those that it does not.
	Partitions, Others []Partition
}

// Progress is how far the members of a group are with a deployment, by instance.
type Progress []Step

// ProgressOf returns how far the members of a group are with a deployment, by what they have said last.
// Statuses of instances that are not in the group are not looked at: they have ended.
func ProgressOf(to *Deployment, members []Member, statuses map[string]*Status) Progress {
	byMember := map[string]*Status{}
	for _, s := range statuses {
		if s.Member != "" {
			byMember[s.Member] = s
		}
	}
	p := Progress{}
	for _, m := range members {
		step := Step{Instance: m.ID, Host: m.Host}
		if s := byMember[m.ID]; s != nil {
			step.take(s, to, m.Assigned)
		}
		p = append(p, step)
	}
	slices.SortFunc(p, func(a, b Step) int {
		if a.Instance < b.Instance {
			return -1
		}
		return 1
	})
	return p
}

func (step *Step) take(s *Status, to *Deployment, assigned map[string][]int32) {
	step.Instance, step.Pinned, step.Update, step.Model = s.Instance, s.Pinned, s.Update, s.Model
	step.Later = s.Epoch > to.Epoch || s.Next != nil && s.Next.Epoch > to.Epoch
	runs := s.Epoch > to.Epoch || s.Epoch == to.Epoch && s.Digest == to.Digest
	switch {
	case runs:
		step.Stage = Ready
	case s.Next != nil && s.Next.Epoch == to.Epoch:
		step.Stage, step.Error, step.Hint, step.Final = s.Next.Stage, s.Next.Error, s.Next.Hint, s.Next.Final
	}
	for _, p := range current(s.Partitions, assigned) {
		if p.Epoch >= to.Epoch {
			step.Partitions = append(step.Partitions, p)
		} else {
			step.Others = append(step.Others, p)
		}
	}
	step.Here = runs && len(step.Others) == 0
}

// current returns what is said of the partitions that a member has. Of one that it has said nothing about no record is predicted yet.
func current(said []Partition, assigned map[string][]int32) []Partition {
	if assigned == nil {
		return said
	}
	var all []Partition
	for topic, ps := range assigned {
		for _, p := range ps {
			is := func(o Partition) bool { return o.Topic == topic && o.Partition == p }
			if i := slices.IndexFunc(said, is); i >= 0 {
				all = append(all, said[i])
			} else {
				all = append(all, Partition{Topic: topic, Partition: p})
			}
		}
	}
	return all
}

// Ready tells whether every member can predict with the deployment.
func (p Progress) Ready() bool {
	return !slices.ContainsFunc(p, func(s Step) bool { return s.Stage != Ready })
}

// Done tells whether every member predicts all of its partitions with the deployment.
func (p Progress) Done() bool { return !slices.ContainsFunc(p, func(s Step) bool { return !s.Here }) }

// Superseded tells whether a member was told of a later deployment.
func (p Progress) Superseded() bool {
	return slices.ContainsFunc(p, func(s Step) bool { return s.Later })
}

// Failed returns the first member that has failed for good, or follows no control; nil is none.
func (p Progress) Failed() *Step {
	for i := range p {
		if p[i].Pinned || p[i].Stage == Failed && p[i].Final {
			return &p[i]
		}
	}
	return nil
}
