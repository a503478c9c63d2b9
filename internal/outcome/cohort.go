package outcome

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/experiment"
)

// Group is what the records of a cohort have in common.
type Group struct {
	Topic      string `json:"topic"`      // of the predictions
	Experiment string `json:"experiment"` // "" is none
	Arm        string `json:"arm"`
	Model      string `json:"model"`
	Day        string `json:"day"` // of the predictions' event times in UTC: 2026-11-29
}

// Cohort adds up the predictions of a group that one partition of the application has seen: a record of the topic NAME.cohorts, whose
// last record of a key counts. Those of all partitions add up to the whole ([Cohort.Merge]).
//
// Records, Resolved, Expired, Unpaired, Refused, Delays and Curve are by the model and the day of the prediction. Units, Metrics and Excluded are
// by those of the unit's first prediction in the arm: a unit is in one cohort, with all its outcomes, so that sums over the models and days of an
// arm have each unit once, and variances are those of whole units.
//
// Predictions whose arm was forced count in Forced alone.
type Cohort struct {
	Version  int    `json:"version"`
	Pipeline string `json:"pipeline"`

	Group

	Partition int32 `json:"partition"` // of the application's task
	Records   int64 `json:"records"`   // predictions, with an outcome or without one yet
	Resolved  int64 `json:"resolved"`
	Expired   int64 `json:"expired"`
	Unpaired  int64 `json:"unpaired"` // of the resolved: the control could not predict them, and no metric has them
	Refused   int64 `json:"refused"`  // of the resolved: the arm's model could not predict them, and the control's prediction stands in its place
	Forced    int64 `json:"forced"`   // predictions beside Records
	// Units are the different keys. Outside of an experiment each record is a unit.
	Units int64 `json:"units"`
	// Delays counts the resolved by how long after the prediction the label's time is: [DelayBounds].
	Delays []int64 `json:"delays"`
	// Metrics has, by the names of [experiment.ParseMetric], the losses of the units that have a resolved record.
	Metrics map[string]*experiment.Cross `json:"metrics"`
	// Excluded counts by metric the resolved records whose loss is none: a probability that is none, a label other than 0 and 1, a
	// number beyond the range.
	Excluded map[string]int64 `json:"excluded"`
	// Curve counts the resolved records, by the day of the prediction, by prediction and label; nil where the file does not ask for the area
	// under the curve.
	Curve *experiment.Curve `json:"curve,omitempty"`
}

// DelayBounds returns the upper ends of all delay buckets but the last, in milliseconds; an end belongs to the bucket below it.
func DelayBounds() []int64 {
	const minute, hour, day = 60_000, 3_600_000, 86_400_000
	return []int64{minute, 5 * minute, 15 * minute, hour, 6 * hour, day, 3 * day, 7 * day, 14 * day, 30 * day, 90 * day}
}

// Key returns the key of the cohort's record.
func (c *Cohort) Key() string {
	parts := []string{c.Topic, c.Experiment, c.Arm, c.Model, c.Day, strconv.Itoa(int(c.Partition))}
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// Append appends the JSON text.
func (c *Cohort) Append(dst []byte) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return dst, fmt.Errorf("cohort: %w", err)
	}
	return append(dst, b...), nil
}

// DecodeCohort reads the text of a cohort. It fails for what [Cohort.Append] does not write; other fields are passed over.
func DecodeCohort(text []byte) (*Cohort, error) {
	var c Cohort
	if err := decode(text, &c, &c.Version); err != nil {
		return nil, fmt.Errorf("cohort: %w", err)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("cohort: %w", err)
	}
	return &c, nil
}

// mostCount bounds counts, so that they can be added up: far more records than there will be.
const mostCount = 1 << 53

// MaxMetrics bounds the metrics of a pipeline file.
const MaxMetrics = 32

// maxMetrics bounds those of a record, which may be of several files: where they change, a cohort keeps those that it had.
const maxMetrics = 256

func (c *Cohort) validate() error {
	for _, name := range []string{c.Pipeline, c.Topic, c.Experiment, c.Arm, c.Model} {
		if len(name) > maxName {
			return fmt.Errorf("a name has %d bytes: want %d at most", len(name), maxName)
		}
	}
	if _, err := time.Parse(time.DateOnly, c.Day); err != nil || c.Topic == "" || c.Partition < 0 {
		return errors.New("it does not say whose it is: want topic, day and partition")
	}
	counts := []int64{c.Records, c.Resolved, c.Expired, c.Unpaired, c.Refused, c.Forced, c.Units}
	delayed := int64(0)
	if len(c.Delays) != len(DelayBounds())+1 {
		return fmt.Errorf("it has %d delays: want %d", len(c.Delays), len(DelayBounds())+1)
	}
	if len(c.Metrics) > maxMetrics || len(c.Excluded) > maxMetrics {
		return fmt.Errorf("it has more than %d metrics", maxMetrics)
	}
	for _, n := range c.Delays {
		delayed += n // of few numbers within bounds, else the next loop finds it
	}
	counts = append(counts, c.Delays...)
	for _, n := range c.Excluded {
		counts = append(counts, n)
	}
	for _, n := range counts {
		if n < 0 || n > mostCount {
			return fmt.Errorf("a count of %d", n)
		}
	}
	if c.Resolved+c.Expired > c.Records || c.Unpaired > c.Resolved || c.Refused > c.Resolved || delayed != c.Resolved {
		return errors.New("its counts do not fit one another")
	}
	for name, x := range c.Metrics {
		if x == nil || len(name) > maxName {
			return errors.New("a metric has no sums")
		}
		if x.Units > c.Units {
			return errors.New("a metric has more units than there are")
		}
	}
	return nil
}

// Merge adds o, which stays as it is, of the same arm: another partition, or day. The group and the partition stay those of c.
func (c *Cohort) Merge(o *Cohort) {
	c.Records += o.Records
	c.Resolved += o.Resolved
	c.Expired += o.Expired
	c.Unpaired += o.Unpaired
	c.Refused += o.Refused
	c.Forced += o.Forced
	c.Units += o.Units
	if c.Delays == nil {
		c.Delays = make([]int64, len(DelayBounds())+1)
	}
	for i := range min(len(c.Delays), len(o.Delays)) {
		c.Delays[i] += o.Delays[i]
	}
	for name, x := range o.Metrics {
		c.metric(name).Merge(x)
	}
	for name, n := range o.Excluded {
		c.exclude(name, n)
	}
	if o.Curve != nil {
		c.curve().Merge(o.Curve)
	}
}

// curve returns the counts of predictions by label.
func (c *Cohort) curve() *experiment.Curve {
	if c.Curve == nil {
		c.Curve = &experiment.Curve{}
	}
	return c.Curve
}

// metric returns the sums of a metric.
func (c *Cohort) metric(name string) *experiment.Cross {
	if c.Metrics == nil {
		c.Metrics = map[string]*experiment.Cross{}
	}
	x := c.Metrics[name]
	if x == nil {
		x = &experiment.Cross{}
		c.Metrics[name] = x
	}
	return x
}

func (c *Cohort) exclude(name string, n int64) {
	if c.Excluded == nil {
		c.Excluded = map[string]int64{}
	}
	c.Excluded[name] += n
}
