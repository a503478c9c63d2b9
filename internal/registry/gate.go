package registry

import (
	"encoding/json"
	"fmt"
	"math"

	"millrace.dev/model"
)

// Gate is the outcome of a gate that a version met in training.
type Gate struct {
	// Name is the key of the pipeline file below model.accept, such as metrics.rmse.
	Name   string `json:"gate"`
	Passed bool   `json:"passed"`
	// Value is what was measured, and Limit what it is judged by; nil where the gate has none.
	Value *float64 `json:"value"`
	Limit *float64 `json:"limit"`
	// Words say both for a person, and why a gate refuses: one line of plain text.
	Words string `json:"words"`
}

const (
	maxGates = 32
	maxWords = 1500 // bytes of what a gate says: an event has room for all of them
)

// checkGates returns what is wrong with gates.
func checkGates(gates []Gate) error {
	if len(gates) > maxGates {
		return fmt.Errorf("%w: %d gates, at most %d are possible", ErrInvalid, len(gates), maxGates)
	}
	for i := range gates {
		g := &gates[i]
		if !isClean(g.Name, maxActor) || !isClean(g.Words, maxWords) || !finite(g.Value) || !finite(g.Limit) {
			return fmt.Errorf("%w: gate %d has no name, no words or no figures that can be shown", ErrInvalid, i+1)
		}
	}
	return nil
}

// gatesDigest returns what stands for gates in a signature: the SHA-256 of their JSON, or "" for none.
func gatesDigest(gates []Gate) string {
	if len(gates) == 0 {
		return ""
	}
	text, err := json.Marshal(gates)
	if err != nil {
		panic("registry: " + err.Error()) // their figures are finite
	}
	return model.Digest(text)
}

func finite(x *float64) bool { return x == nil || !math.IsNaN(*x) && !math.IsInf(*x, 0) }

// checkPassed returns an error for a version that a gate refused. It is rejected right after it is registered: this holds
// for one whose training died between the two.
func (v *Version) checkPassed() error {
	for _, g := range v.Gates {
		if !g.Passed {
			return withHint(fmt.Errorf("%s: %w: the gate %s refused it in training: %s", v.Ref(), ErrNotApproved, g.Name, g.Words),
				"reject it; mend the data or the gate, and train again")
		}
	}
	return nil
}
