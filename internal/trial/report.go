package trial

import (
	"time"

	"millrace.dev/internal/experiment"
)

// Report says how an experiment stands.
type Report struct {
	Pipeline   string     `json:"pipeline"`
	Group      string     `json:"group"`
	Experiment string     `json:"experiment"`
	Topic      string     `json:"topic"`
	Running    bool       `json:"running"`
	Since      *time.Time `json:"since"` // null is not known
	At         time.Time  `json:"at"`    // as of when it is judged
	Advice     Advice     `json:"advice"`
	Warnings   []Warning  `json:"warnings"`

	Test       experiment.Test `json:"test"`
	Alpha      float64         `json:"alpha"`
	Correction string          `json:"correction"` // "none" is none
	Level      float64         `json:"level"`      // the error rate of each interval
	Margin     float64         `json:"margin"`
	Planned    int64           `json:"planned_units"`
	MinUnits   int64           `json:"min_units"`

	Arms        []ArmReport  `json:"arms"`
	Metrics     []string     `json:"metrics"`     // the first one decides
	Comparisons []Comparison `json:"comparisons"` // by metric, then by arm
	Ratio       *Ratio       `json:"sample_ratio,omitempty"`
	// Mature are the arrivals of labels of days whose time is over, Recent those of the others.
	Mature *Arrivals `json:"arrivals_mature,omitempty"`
	Recent *Arrivals `json:"arrivals_recent,omitempty"`
	Alike  []Alike   `json:"baselines"`
	Days   []Day     `json:"days"`
	// DelayBounds are the upper ends of the delay buckets but the last, in milliseconds.
	DelayBounds []int64   `json:"delay_bounds_ms"`
	Scoring     []Scoring `json:"scoring_time"`
	AUC         []AUC     `json:"auc,omitempty"`
	History     []Point   `json:"history"`
	LeftOut     LeftOut   `json:"left_out"`
	Audit       []Entry   `json:"audit"`
}

// Advice is what to do.
type Advice struct {
	Action Action `json:"action"`
	Arm    string `json:"arm,omitempty"` // of Promote and Remove
	Model  string `json:"model,omitempty"`
	Words  string `json:"words"` // one line
}

// Action is what to do.
type Action string

// The actions.
const (
	Wait     Action = "wait"
	Promote  Action = "promote"      // the arm's model is better
	Remove   Action = "remove"       // the arm is worse, and others are not decided
	Stop     Action = "stop"         // go on with the control
	Look     Action = "look"         // better by one metric and worse by another: a person decides
	Distrust Action = "do_not_trust" // a check has failed
)

// Warning is what must be known before a figure is believed.
type Warning struct {
	Kind  string `json:"kind"`
	Words string `json:"words"`
}

// ArmReport is what an arm has done.
type ArmReport struct {
	Arm

	Predictions int64 `json:"predictions"` // without those whose arm was forced
	Units       int64 `json:"units"`       // different keys
	Resolved    int64 `json:"resolved"`
	Expired     int64 `json:"expired"`
	Pending     int64 `json:"pending"`
	Unpaired    int64 `json:"unpaired"`
	Forced      int64 `json:"forced"`
	// Instead are the predictions that are the control's, since the arm's model refused the record; they count for the arm.
	Instead int64 `json:"instead"`
	// Delays counts the resolved by how long their labels took.
	Delays   []int64          `json:"delays"`
	Excluded map[string]int64 `json:"excluded,omitempty"`
	// Refused of Served records were refused by the model, in the instances of now, since they started.
	Served  int64 `json:"served"`
	Refused int64 `json:"refused"`
}

// Comparison is an arm beside the control, by a metric.
type Comparison struct {
	Metric string `json:"metric"`
	Arm    string `json:"arm"`

	*experiment.Comparison

	// RMSE is the relative difference of the root mean squared errors; of the squared error.
	RMSE *experiment.Interval `json:"rmse,omitempty"`
	// Adjusted is P, held to the error rate of all comparisons together.
	AdjustedP float64            `json:"adjusted_p"`
	Verdict   experiment.Verdict `json:"verdict"`
	Why       string             `json:"why"`
}

// Shown returns the relative difference in the unit that people think in: of the squared error, that of the RMSE.
func (c *Comparison) Shown() experiment.Interval {
	if c.RMSE != nil {
		return *c.RMSE
	}
	return c.Relative
}

// Ratio is the sample-ratio check.
type Ratio struct {
	Tested bool   `json:"tested"`
	Why    string `json:"why"` // it was not, or of which days it is
	*experiment.Ratio
	Broken bool `json:"broken"`
}

// Arrivals are the labels that have come, by arm.
type Arrivals struct {
	Days        int     `json:"days"`
	Predictions []int64 `json:"predictions"`
	Resolved    []int64 `json:"resolved"`
	// Size is by how much counts were divided, as the records of one key share their fate.
	Size      float64 `json:"size"`
	ChiSquare float64 `json:"chi_square"`
	P         float64 `json:"p"`
	AnytimeP  float64 `json:"anytime_p"`
	Unequal   bool    `json:"unequal"`
}

// Share returns the share of an arm's predictions that have their label; 0 of none.
func (a *Arrivals) Share(arm int) float64 { return share(a.Resolved[arm], a.Predictions[arm]) }

// Alike is what the control's model makes of the records of an arm, beside what it makes of those of the control.
type Alike struct {
	Arm    string `json:"arm"`
	Metric string `json:"metric"`
	*experiment.Comparison
	Differ bool `json:"differ"`
}

// Day is the predictions of a day.
type Day struct {
	Day string `json:"day"`
	// Mature tells whether the time of all its labels is over.
	Mature bool       `json:"mature"`
	Arms   []DayCount `json:"arms"` // by arm
}

// DayCount counts the predictions of a day.
type DayCount struct {
	Predictions int64 `json:"predictions"`
	Resolved    int64 `json:"resolved"`
	Expired     int64 `json:"expired"`
	Units       int64 `json:"units"` // seen for the first time
}

// Pending returns those that wait for their label.
func (d DayCount) Pending() int64 { return d.Predictions - d.Resolved - d.Expired }

// Total returns the counts of all arms.
func (d *Day) Total() (all DayCount) {
	for _, c := range d.Arms {
		all.Predictions += c.Predictions
		all.Resolved += c.Resolved
		all.Expired += c.Expired
		all.Units += c.Units
	}
	return all
}

// Scoring is how long an arm's model takes.
type Scoring struct {
	Arm     string `json:"arm"`
	Batches int64  `json:"batches"`
	Records int64  `json:"records"`
	// Seconds is the mean of a record.
	Seconds float64 `json:"seconds"`
	// Ratio is by which share it takes longer than the control's model for the same records.
	Ratio experiment.Interval `json:"ratio"`
}

// AUC is the area under the ROC curve of an arm, at one look.
type AUC struct {
	Arm string `json:"arm"`
	// Area is nil where there are too few of a class; Ones and Zeros count the classes.
	Area  *float64 `json:"area"`
	Ones  int64    `json:"ones"`
	Zeros int64    `json:"zeros"`
	// Control is the difference from the control's area, at one look.
	Control *experiment.Interval `json:"difference,omitempty"`
}

// Point is a comparison with the keys that were first seen up to the end of a day.
type Point struct {
	Day        string              `json:"day"`
	Metric     string              `json:"metric"`
	Arm        string              `json:"arm"`
	Units      int64               `json:"units"`      // of both arms, with an outcome
	Difference experiment.Interval `json:"difference"` // as [Comparison.Shown] has it
}

// LeftOut are predictions that no figure has.
type LeftOut struct {
	OtherModels int64            `json:"other_models"` // that the arms had before
	OtherArms   int64            `json:"other_arms"`   // that the experiment does not have now
	Forced      int64            `json:"forced"`
	Unpaired    int64            `json:"unpaired"` // the control's model could not predict them: in no metric
	Excluded    map[string]int64 `json:"excluded"` // by metric: the loss is none
	Strange     int64            `json:"strange"`  // records of the topic that are no cohorts
}

func share(part, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}
