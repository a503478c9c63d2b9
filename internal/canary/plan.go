package canary

import (
	"fmt"
	"time"
)

// Plan says how a candidate is let in.
type Plan struct {
	Steps []float64 // shares of the records, rising to 1
	// Hold is the least time of a step, and Timeout how long it may go on beyond that; 0 is as long as it takes.
	Hold, Timeout time.Duration
	// MinRecords is how many of the candidate's records each step needs, and MinOutcomes how many keys with labels there have to be before the
	// candidate gets all records.
	MinRecords, MinOutcomes int64
	Limits                  Limits
}

// Position is where a canary is.
type Position struct {
	Step    int       // the place of its share in the steps
	Since   time.Time // when all records went by it
	Records int64     // of the candidate, from before
}

// Action is what is next.
type Action string

// The actions.
const (
	Wait     Action = "wait"
	Advance  Action = "advance"   // to the next step
	Finish   Action = "finish"    // the candidate gets all records
	RollBack Action = "roll_back" // it gets none any more
)

// Decision is what is next, and why.
type Decision struct {
	Action   Action
	Readings []Reading
	// Guard is the one that has raised its alarm; nil where none has.
	Guard *Reading
	// Why says what is waited for, or why the candidate is taken back; "" where it goes on.
	Why string
}

// Decide says what is next. It depends on its arguments alone. An error is as of [Limits.Read].
func (p *Plan) Decide(at Position, e *Evidence, now time.Time) (Decision, error) {
	d := Decision{Action: Wait}
	var err error
	if d.Readings, err = p.Limits.Read(e); err != nil {
		return d, err
	}
	for i := range d.Readings {
		if r := &d.Readings[i]; r.Alarm {
			d.Action, d.Guard, d.Why = RollBack, r, r.Guard+": "+r.Words
			return d, nil
		}
	}
	last := at.Step+2 >= len(p.Steps) // the next step is all records
	held, records := now.Sub(at.Since), e.Records-at.Records
	switch {
	case records < p.MinRecords:
		d.Why = fmt.Sprintf("%d of %d records", max(0, records), p.MinRecords)
	case last && e.Losses.Units < p.MinOutcomes:
		d.Why = fmt.Sprintf("%d of %d keys with labels", e.Losses.Units, p.MinOutcomes)
	case held < p.Hold:
		d.Why = fmt.Sprintf("another %s", (p.Hold - held).Round(time.Second))
		return d, nil
	case last:
		d.Action = Finish
		return d, nil
	default:
		d.Action = Advance
		return d, nil
	}
	if p.Timeout > 0 && held >= p.Hold+p.Timeout {
		d.Action, d.Why = RollBack, fmt.Sprintf("too little was seen in %s at %s: %s", held.Round(time.Second), percent(p.Steps[at.Step]), d.Why)
	}
	return d, nil
}

// Next returns the place of the first step above a share, of which a candidate has nothing yet at 0.
func (p *Plan) Next(share float64) int {
	for i, s := range p.Steps {
		if s > share {
			return i
		}
	}
	return len(p.Steps) - 1
}
