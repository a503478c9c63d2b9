package outcome

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace.dev/internal/experiment"
)

// Loss is a measure of how wrong a prediction is, smaller being better.
type Loss struct {
	Name string
	of   func(prediction, label float64) float64 // NaN where there is none
}

// The names of losses.
const (
	SquaredError  = "squared_error"
	AbsoluteError = "absolute_error"
	LogLoss       = "log_loss" // of a probability, for labels 0 and 1
	Brier         = "brier"    // the same
	pinball       = "pinball_" // and the quantile: pinball_0.9
)

// ParseLoss returns the loss of a name.
func ParseLoss(name string) (Loss, error) {
	switch name {
	case SquaredError:
		return Loss{name, squared}, nil
	case AbsoluteError:
		return Loss{name, func(p, label float64) float64 { return math.Abs(label - p) }}, nil
	case LogLoss:
		return Loss{name, logLoss}, nil
	case Brier:
		return Loss{name, func(p, label float64) float64 {
			if !isBinary(p, label) {
				return math.NaN()
			}
			return squared(p, label)
		}}, nil
	}
	if text, ok := strings.CutPrefix(name, pinball); ok {
		q, err := strconv.ParseFloat(text, 64)
		if err == nil && q > 0 && q < 1 && strconv.FormatFloat(q, 'f', -1, 64) == text {
			return Loss{name, func(p, label float64) float64 { return quantile(q, p, label) }}, nil
		}
	}
	return Loss{}, fmt.Errorf("no such loss: %q: want %s, %s, %s0.9 with a quantile above 0 and below 1, %s or %s", name, SquaredError, AbsoluteError, pinball, LogLoss, Brier)
}

func squared(p, label float64) float64 {
	d := label - p
	return float64(d * d)
}

// isBinary tells whether p is a probability, and the label one of 0 and 1.
func isBinary(p, label float64) bool { return p >= 0 && p <= 1 && (label == 0 || label == 1) }

// leastProbability keeps a sure prediction that is wrong from an infinite loss.
const leastProbability = 1e-15

func logLoss(p, label float64) float64 {
	if !isBinary(p, label) {
		return math.NaN()
	}
	if label == 0 {
		p = 1 - p
	}
	return -math.Log(max(p, leastProbability))
}

// quantile is the pinball loss (Koenker and Bassett, Regression quantiles, Econometrica 46, 1978).
func quantile(q, p, label float64) float64 {
	if label >= p {
		return float64(q * (label - p))
	}
	return float64((1 - q) * (p - label))
}

// Of returns the loss, and whether there is one that can be added up.
func (l *Loss) Of(prediction, label float64) (loss float64, ok bool) {
	loss = l.of(prediction, label)
	return loss, loss <= experiment.MostLoss // not so for NaN
}
