package trial

import (
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/rollout"
)

// Setup is what an experiment is, and how it is judged.
type Setup struct {
	Pipeline, Group, Experiment string
	Topic                       string // of the predictions that count
	// Running tells whether instances divide records by it now.
	Running bool
	Since   time.Time // when it began; zero is not known
	By      rollout.By
	Key     string // the field whose text is the key; "" is the key of the message
	Arms    []Arm  // the control first
	// Settings are the shares that the arms have had, in the order of time; none: they are not known to have changed.
	Settings []Setting
	Audit    []Entry
	// Metrics are the losses that are judged, the one that decides first. None: there are no outcomes.
	Metrics []string
	// Wait is how long after a prediction its outcome is there at the latest.
	Wait time.Duration
	Judging
}

// Judging says how arms are compared.
type Judging struct {
	Test  experiment.Test
	Alpha float64 // the chance of a wrong verdict, over all metrics and arms
	// Correction allows for several metrics and arms; "" does not.
	Correction experiment.Correction
	MinUnits   int64 // in each arm, before it is judged
	Units      int64 // that the experiment is planned for, in all arms together
	// Margin is the relative difference up to which arms count as alike; 0 is none.
	Margin float64
}

// Arm is an arm.
type Arm struct {
	Name   string  `json:"name"`
	Model  string  `json:"model"` // NAME@VERSION
	Digest string  `json:"digest,omitempty"`
	Share  float64 `json:"share"` // of the records
}

// Setting is what the arms have got from a time on.
type Setting struct {
	At     time.Time
	Shares []float64 // by arm
}

// Entry is a line of the audit log.
type Entry struct {
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Words  string    `json:"words"` // what was done
	Reason string    `json:"reason"`
}

// arm returns the number of the arm of a name, or -1.
func (s *Setup) arm(name string) int {
	for i := range s.Arms {
		if s.Arms[i].Name == name {
			return i
		}
	}
	return -1
}
