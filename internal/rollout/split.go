package rollout

import (
	"fmt"
	"slices"
	"strings"

	"millrace.dev/internal/assign"
)

// By is what decides to which arm a record goes.
type By string

// The ways to decide.
const (
	ByKey       By = "key"       // a hash of its key
	ByPartition By = "partition" // its partition
)

// Split is an experiment: several models, each for a part of the records.
type Split struct {
	Experiment string `json:"experiment"`
	By         By     `json:"by"`
	// Key is the field whose text is the key; "" is the key of the message.
	Key  string `json:"key,omitempty"`
	Salt string `json:"salt"`
	// Override is the header of a record that may name its arm, for tests; "" is none.
	Override string `json:"override,omitempty"`
	// Arms are the arms. The first one is the control, which also says what it makes of the records of the others.
	Arms []Arm `json:"arms"`
	// Canary says that the second of two arms is let in by steps; nil is an experiment.
	Canary *Canary `json:"canary,omitempty"`
}

// Canary is what a split says of a model that is let in by steps. A command watches it, and writes the control again from time to time
// ([Control.Beat]).
type Canary struct {
	Steps []float64 `json:"steps"` // the shares of the records, rising to 1
	// Lease is how many milliseconds instances go on without a word in the control topic, before they go back to the control's model; 0 is
	// for good.
	Lease int64 `json:"lease"`
	// Since is, by topic and partition, the offset from which on the model's records stand; what is missing is from the start.
	Since map[string][]int64 `json:"since"`
	// Records is how many records the model had been given when the step began.
	Records int64 `json:"records"`
}

// Arm is a model for a part of the records.
type Arm struct {
	Name   string `json:"name"`
	Model  string `json:"model"` // NAME@VERSION
	Digest string `json:"digest"`
	// Slots are those of the keys that go to the arm: see package assign.
	Slots []assign.Range `json:"slots,omitempty"`
	// Partitions are those that go to the arm, where the partition decides. One that no arm has goes to the control.
	Partitions []int32 `json:"partitions,omitempty"`
}

// The bounds of a split.
const (
	mostText       = 249
	mostPartitions = 10_000
	mostSteps      = 20
	mostSince      = 4 // topics
)

// Allocation returns which slots the arms have.
func (s *Split) Allocation() assign.Allocation {
	a := make(assign.Allocation, len(s.Arms))
	for i := range s.Arms {
		a[i] = s.Arms[i].Slots
	}
	return a
}

// Arm returns the number of the arm of a name, or -1.
func (s *Split) Arm(name string) int {
	return slices.IndexFunc(s.Arms, func(a Arm) bool { return a.Name == name })
}

// Validate wants arms with names of their own and models, of which exactly one has each slot, or at most one each partition. An error
// matches [ErrInvalid].
func (s *Split) Validate() error {
	if len(s.Arms) < 2 || len(s.Arms) > assign.MaxArms {
		return fmt.Errorf("%w: a split has %d arms, from 2 to %d can be", ErrInvalid, len(s.Arms), assign.MaxArms)
	}
	for _, text := range []string{s.Experiment, s.Key, s.Salt, s.Override} {
		if len(text) > mostText {
			return fmt.Errorf("%w: a text of a split has %d bytes", ErrInvalid, len(text))
		}
	}
	if c := s.Canary; c != nil && (len(s.Arms) != 2 || c.Lease < 0 || c.Records < 0 || len(c.Steps) > mostSteps || len(c.Since) > mostSince) {
		return fmt.Errorf("%w: a canary with %d arms, %d steps, a lease of %d ms", ErrInvalid, len(s.Arms), len(c.Steps), c.Lease)
	}
	if s.Experiment == "" {
		return fmt.Errorf("%w: a split has no name", ErrInvalid)
	}
	for i := range s.Arms {
		a := &s.Arms[i]
		if a.Name == "" || len(a.Name) > mostText || a.Model == "" || !strings.HasPrefix(a.Digest, "sha256:") {
			return fmt.Errorf("%w: an arm has no name, no model or no digest", ErrInvalid)
		}
		if s.Arm(a.Name) != i {
			return fmt.Errorf("%w: two arms have the name %.80q", ErrInvalid, a.Name)
		}
	}
	switch s.By {
	case ByKey:
		if _, err := s.Allocation().Table(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return nil
	case ByPartition:
		return s.validatePartitions()
	default:
		return fmt.Errorf("%w: a split by %.80q", ErrInvalid, s.By)
	}
}

func (s *Split) validatePartitions() error {
	known := map[int32]bool{}
	for i := range s.Arms {
		for _, p := range s.Arms[i].Partitions {
			if p < 0 || known[p] {
				return fmt.Errorf("%w: partition %d has two arms, or there cannot be one", ErrInvalid, p)
			}
			if known[p] = true; len(known) > mostPartitions {
				return fmt.Errorf("%w: a split of more than %d partitions", ErrInvalid, mostPartitions)
			}
		}
	}
	return nil
}
