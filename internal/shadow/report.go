package shadow

import (
	"millrace.dev/internal/drift"
	"millrace.dev/internal/experiment"
)

// Report is what a comparison has found. A difference is the candidate's prediction minus production's.
type Report struct {
	Pipeline   string     `json:"pipeline"`
	Source     string     `json:"source"` // the topic of the records
	Label      string     `json:"label"`
	Unit       string     `json:"unit,omitempty"` // of the label
	Production Side       `json:"production"`
	Candidate  Side       `json:"candidate"`
	Pairs      int64      `json:"pairs"`
	Partitions []Range    `json:"partitions"`
	From       *int64     `json:"from,omitempty"` // the times of the records that were paired, in milliseconds since 1970
	To         *int64     `json:"to,omitempty"`
	Sampled    int        `json:"sampled,omitempty"` // pairs in the sample that quantiles are of; 0 where it has them all
	Difference Difference `json:"difference"`
	Agreement  Agreement  `json:"agreement"`
	Bins       []Bin      `json:"bins,omitempty"`
	Groups     []Group    `json:"groups,omitempty"`
	Times      []Group    `json:"times,omitempty"`
	Edges      []float64  `json:"edges,omitempty"` // of Grid
	Grid       []int      `json:"grid,omitempty"`  // sampled pairs by the bin of the candidate's, then by that of production's prediction
	Models     []ByModel  `json:"models"`
	Top        []Top      `json:"top,omitempty"`
	Labels     *Labels    `json:"labels,omitempty"`
	Scoring    *Scoring   `json:"scoring,omitempty"`
	Bounds     []Bound    `json:"tolerance,omitempty"`
	Notes      []string   `json:"notes,omitempty"`
}

// Side is one of the two topics.
type Side struct {
	Topic string   `json:"topic"`
	Model string   `json:"model,omitempty"` // the candidate; production may have several
	Read  int64    `json:"read"`            // predictions in the range
	Again int64    `json:"again,omitempty"` // predictions that came a second time, or out of order, and were left out
	Other int64    `json:"other,omitempty"` // predictions of other models, and records that are no predictions
	Alone Absences `json:"alone"`
	// Letters counts the dead letters of records in the range, by stage/class.
	Letters map[string]int64 `json:"dead_letters,omitempty"`
	Latency *Latency         `json:"latency,omitempty"`
}

// Absences counts predictions without a partner.
type Absences struct {
	Lacking int64 `json:"lacking"` // the other one has predicted what is around them
	Before  int64 `json:"before"`  // the other one begins behind them
	Behind  int64 `json:"behind"`  // the other one ends before them
	GivenUp int64 `json:"given_up,omitempty"`
}

// Latency is how long after the time of its record a prediction was in its topic, in milliseconds.
type Latency struct {
	Records int64        `json:"records"`
	P50     drift.Number `json:"p50"`
	P99     drift.Number `json:"p99"`
	Max     drift.Number `json:"max"`
}

// Range are the offsets of a partition of the source between which pairs lie, From in it and To not.
type Range struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
	Pairs     int64 `json:"pairs"`
}

// Difference describes the differences.
type Difference struct {
	Mean      drift.Number `json:"mean"`
	Deviation drift.Number `json:"deviation"`
	MeanSize  drift.Number `json:"mean_size"` // of the magnitudes
	Least     drift.Number `json:"least"`
	Largest   drift.Number `json:"largest"`
	Quantiles []Quantile   `json:"quantiles"` // of the differences
	Sizes     []Quantile   `json:"sizes"`     // of the magnitudes
}

// Quantile is a quantile.
type Quantile struct {
	Of    float64      `json:"of"`
	Value drift.Number `json:"value"`
}

// Agreement says how much alike predictions are.
type Agreement struct {
	Same        int64        `json:"same"`      // the same, bit for bit
	Different   int64        `json:"different"` // differ by more than Beyond
	Beyond      float64      `json:"beyond"`
	Within      []Within     `json:"within"`
	Correlation drift.Number `json:"correlation"` // Pearson's
	Ranks       drift.Number `json:"ranks"`       // Spearman's
}

// Within is which share of the pairs differ by no more than a part of production's prediction.
type Within struct {
	Part  float64      `json:"part"`
	Share drift.Number `json:"share"`
}

// Bin counts sampled differences from Low to High.
type Bin struct {
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Pairs int     `json:"pairs"`
}

// Group are pairs that are alike in something: in the size of production's prediction, or in their time.
type Group struct {
	Upper  drift.Number `json:"upper"` // the largest of what they are alike in; times in seconds since 1970
	Pairs  int          `json:"pairs"`
	Low    drift.Number `json:"low"` // 10 % of their differences are below, and 10 % above High
	Median drift.Number `json:"median"`
	High   drift.Number `json:"high"`
	Mean   drift.Number `json:"mean"`
}

// ByModel are the pairs with a model of production.
type ByModel struct {
	Model    string       `json:"model"`
	Pairs    int64        `json:"pairs"`
	Mean     drift.Number `json:"mean"`
	MeanSize drift.Number `json:"mean_size"`
}

// Top is a record for which the two differ most.
type Top struct {
	Source     string       `json:"source"` // topic/partition/offset
	Timestamp  *int64       `json:"timestamp,omitempty"`
	Model      string       `json:"model"` // of production
	Production float64      `json:"production"`
	Candidate  float64      `json:"candidate"`
	Label      drift.Number `json:"label"` // NaN where it is not known
	Inputs     []Input      `json:"inputs,omitempty"`
	// Expected are what the models predict of the golden rows in the mean, from which the inputs lead to the predictions.
	Expected *[2]float64 `json:"expected,omitempty"`
	// Lacks says why there are no inputs, or why these are not what the models had; "" is nothing.
	Lacks string `json:"lacks,omitempty"`
}

// Input is an input of both models, with what its value adds to their predictions: Shapley values, in the order of how much they
// differ.
type Input struct {
	Name       string       `json:"name"`
	Value      string       `json:"value"` // for a person
	Production drift.Number `json:"production"`
	Candidate  drift.Number `json:"candidate"`
}

// Labels says which of the two is nearer to the truth.
type Labels struct {
	Topic    string                `json:"topic"`
	Metric   string                `json:"metric"`
	Pairs    int64                 `json:"pairs"`             // that have a label
	Expired  int64                 `json:"expired,omitempty"` // whose label did not come in time
	Loss     [2]drift.Number       `json:"loss"`              // the mean losses, production's and the candidate's
	RMSE     [2]drift.Number       `json:"rmse"`
	MAE      [2]drift.Number       `json:"mae"`
	Verdict  *experiment.Judgement `json:"verdict"`
	Progress []Look                `json:"progress,omitempty"`
	Skipped  int64                 `json:"skipped,omitempty"` // pairs whose loss is too large to be added up
}

// Look is what the labels said after so many pairs.
type Look struct {
	Pairs int64        `json:"pairs"`
	Mean  drift.Number `json:"mean"`
	Low   drift.Number `json:"low"`
	High  drift.Number `json:"high"`
}

// Scoring is how long models take for a record, on one thread of the machine that compares.
type Scoring struct {
	Records    int     `json:"records"`
	Production float64 `json:"production_ns"`
	Candidate  float64 `json:"candidate_ns"`
}

// Bound is what the pipeline file tolerates.
type Bound struct {
	Name     string       `json:"name"`
	Limit    drift.Number `json:"limit"`
	Value    drift.Number `json:"value"`
	Percent  bool         `json:"-"` // both are shares
	Exceeded bool         `json:"exceeded"`
	Why      string       `json:"why,omitempty"`
}

// NewBound returns a bound with what was found, which exceeds it or does not.
func NewBound(name string, limit, value float64, percent bool) Bound {
	return Bound{Name: name, Limit: drift.Number(limit), Value: drift.Number(value), Percent: percent, Exceeded: value > limit}
}
