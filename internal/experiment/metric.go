package experiment

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace.dev/internal/spell"
)

// Metric is a loss of a prediction beside the label. The zero value is none. It is comparable.
type Metric struct {
	kind     string
	quantile float64 // of the pinball loss
}

// The kinds of metrics, which but for the pinball loss are their names too.
const (
	squaredError  = "squared_error"
	absoluteError = "absolute_error"
	pinball       = "pinball"
	logLoss       = "log_loss"
	brier         = "brier"
	// MetricAUC is the name of the area under the curve, which is no mean of losses and so no [Metric]: see [Curve] and [AUC].
	MetricAUC = "auc"
)

// MetricNames returns the names of the metrics, for messages; Q stands for a quantile.
func MetricNames() []string {
	return []string{squaredError, absoluteError, pinball + "_Q", logLoss, brier}
}

// ParseMetric returns the metric of a name: squared_error, absolute_error, log_loss, brier, or pinball_Q for a quantile Q above 0 and below 1,
// such as pinball_0.9.
func ParseMetric(name string) (Metric, error) {
	switch name {
	case squaredError, absoluteError, logLoss, brier:
		return Metric{kind: name}, nil
	case MetricAUC:
		return Metric{}, errors.New("experiment: auc is no loss of a single record: it ranks all records of an arm")
	}
	if text, ok := strings.CutPrefix(name, pinball+"_"); ok {
		q, err := strconv.ParseFloat(text, 64)
		if err != nil || !(q > 0 && q < 1) {
			return Metric{}, fmt.Errorf("experiment: the metric %q needs a quantile above 0 and below 1, as in pinball_0.9", name)
		}
		return Metric{pinball, q}, nil
	}
	hint := ""
	if near := spell.Nearest(name, MetricNames()); near != "" {
		hint = fmt.Sprintf(": did you mean %q?", near)
	}
	return Metric{}, fmt.Errorf("experiment: there is no metric %q%s (there are %s)", name, hint, strings.Join(MetricNames(), ", "))
}

// String returns the name, which [ParseMetric] reads.
func (m Metric) String() string {
	if m.kind == pinball {
		return pinball + "_" + strconv.FormatFloat(m.quantile, 'g', -1, 64)
	}
	return m.kind
}

// Classification tells whether labels must be 0 or 1, and predictions probabilities.
func (m Metric) Classification() bool { return m.kind == logLoss || m.kind == brier }

// Squared tells whether the root of the mean is in the unit of the label: see [RootRatio].
func (m Metric) Squared() bool { return m.kind == squaredError || m.kind == brier }

// leastProbability is what the log loss takes for 0: an impossible event that happens would be an infinite loss otherwise, which no number
// of good predictions makes up for. It is scikit-learn's of float64.
const leastProbability = 0x1p-52

// Loss returns the loss of a prediction whose label is known, from 0 to [MostLoss].
//
// The squared error is (p-y)², the absolute error |p-y|, the pinball loss q(y-p) where the label is above the prediction and (1-q)(p-y)
// where it is below (Koenker and Bassett, Regression quantiles, Econometrica 46, 1978). The log loss is -ln p or -ln(1-p), with p at least
// 2^-52 away from 0 and 1; Brier's score is (p-y)². It is an error if a number is not finite, or is none for a classification.
func (m Metric) Loss(prediction, label float64) (float64, error) {
	d := prediction - label
	if !(math.Abs(d) <= MostLoss) {
		return 0, fmt.Errorf("experiment: there is no loss of the prediction %g for the label %g", prediction, label)
	}
	if m.Classification() {
		if err := classified(prediction, label); err != nil {
			return 0, err
		}
	}
	var loss float64
	switch m.kind {
	case squaredError, brier:
		loss = float64(d * d)
	case absoluteError:
		loss = math.Abs(d)
	case pinball:
		if loss = float64((1 - m.quantile) * d); d < 0 {
			loss = float64(-m.quantile * d)
		}
	case logLoss:
		p := min(max(prediction, leastProbability), 1-leastProbability)
		if loss = -math.Log(p); label == 0 {
			loss = -math.Log1p(-p)
		}
	default:
		return 0, errors.New("experiment: a loss of no metric")
	}
	if loss > MostLoss {
		return 0, fmt.Errorf("experiment: the loss of the prediction %g for the label %g is too large", prediction, label)
	}
	return loss, nil
}

// classified tells what is wrong with a prediction and a label of a classification.
func classified(prediction, label float64) error {
	switch {
	case label != 0 && label != 1:
		return fmt.Errorf("experiment: the label of a classification is 0 or 1, not %g", label)
	case !(prediction >= 0 && prediction <= 1):
		return fmt.Errorf("experiment: the prediction of a classification is a probability, not %g", prediction)
	default:
		return nil
	}
}

// Right tells whether a probability of at least one half goes with the label 1, and a smaller one with 0: for [McNemar].
func Right(prediction, label float64) (bool, error) {
	if err := classified(prediction, label); err != nil {
		return false, err
	}
	return (prediction >= 0.5) == (label == 1), nil
}
