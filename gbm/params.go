package gbm

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Label transforms.
const (
	// TransformNone trains on the label as it is.
	TransformNone = ""
	// TransformLog trains on the natural logarithm of the label and predicts its exponential. Labels must be
	// greater than 0. The prediction estimates the geometric mean of the label, which lies below its mean.
	TransformLog = "log"
)

// Stopping metrics.
const (
	MetricRMSE = "rmse" // root mean squared error
	MetricMAE  = "mae"  // mean absolute error
)

// The bounds of [Params].
const (
	maxTrees    = 100_000
	maxDepth    = 60
	maxBins     = 255
	maxCatBins  = 65_534
	maxRowLimit = 1 << 27
)

// Params are the parameters of training, under H2O's names. The zero value is not valid: start from
// [DefaultParams].
type Params struct {
	// NTrees is the largest number of trees, 1 to 100,000. Default: 50.
	NTrees int `json:"ntrees"`
	// MaxDepth is the largest number of splits between the root and a leaf, 1 to 60. Default: 5.
	MaxDepth int `json:"max_depth"`
	// LearnRate scales each tree's contribution, above 0 and at most 1. Default: 0.1.
	LearnRate float64 `json:"learn_rate"`
	// MinRows is the smallest number of rows in a leaf, at least 1. Default: 10.
	MinRows int `json:"min_rows"`
	// NBins is the largest number of bins of a numeric input, 2 to 255; missing values have a bin of their
	// own. Bins are global quantiles, found once. H2O bins anew in every node, between the node's smallest and
	// largest value, and so makes do with 20 bins (1,024 at the top); global bins need more to be as fine, and
	// up to 255 they cost nothing. Default: 255.
	NBins int `json:"nbins"`
	// NBinsCats is the largest number of bins of an enum input, 2 to 65,534. Beyond it, rare levels that are
	// neighbours in byte order share a bin. Above 255 bins an input takes a slower path. Default: 1024.
	NBinsCats int `json:"nbins_cats"`
	// SampleRate is the probability with which a row takes part in a tree, above 0 and at most 1. Default: 1.
	SampleRate float64 `json:"sample_rate"`
	// ColSampleRate is the share of the tree's inputs that a split may choose from, above 0 and at most 1; at
	// least one input is drawn. Default: 1.
	ColSampleRate float64 `json:"col_sample_rate"`
	// ColSampleRatePerTree is the share of the inputs that a tree may use, above 0 and at most 1; at least one
	// input is drawn. Default: 1.
	ColSampleRatePerTree float64 `json:"col_sample_rate_per_tree"`
	// MinSplitImprovement is the share of a node's squared error by which a split must lower it, 0 or more and
	// below 1. Default: 1e-5.
	MinSplitImprovement float64 `json:"min_split_improvement"`
	// CatMinRows is the number of rows in a node below which the levels of an enum are not looked at one by
	// one: all rarer ones go to the same side. It keeps a node from learning the labels of single rows by heart,
	// which is what enums with many levels tempt it to. 0 or more; H2O has no such parameter and behaves as with
	// 0; LightGBM's counterpart is min_data_per_group. Default: 5.
	CatMinRows int `json:"cat_min_rows"`
	// CatSmooth adds this many rows of the node's mean to each level of an enum before levels are sorted, so
	// that levels with few rows do not end up at the extremes by chance; 0 or more. H2O has no such parameter
	// and behaves as with 0. Default: 10.
	CatSmooth float64 `json:"cat_smooth"`
	// CatL2 adds this many rows of the node's mean to either side of an enum's split when its gain is computed,
	// which holds back splits that set few rows apart; 0 or more. H2O has no such parameter and behaves as
	// with 0. Default: 10.
	CatL2 float64 `json:"cat_l2"`
	// Seed drives the sampling of rows, of inputs, and of values for the bins of a large data set. Equal seeds
	// give equal forests. Default: 1. (H2O's default, -1, means the clock; here it is a seed like any other.)
	Seed int64 `json:"seed"`
	// LabelTransform is [TransformNone] or [TransformLog]. Default: none.
	LabelTransform string `json:"label_transform"`
	// StoppingRounds ends training when the stopping metric on the validation set has not improved for this
	// many trees, and keeps the trees up to the best value; 0 trains all trees and keeps them. (H2O compares
	// moving averages of this length.) Default: 0.
	StoppingRounds int `json:"stopping_rounds"`
	// StoppingTolerance is the share by which the metric must fall below the last improvement to count as a new
	// one, 0 or more and below 1. Default: 1e-3.
	StoppingTolerance float64 `json:"stopping_tolerance"`
	// StoppingMetric is [MetricRMSE] or [MetricMAE], on the label's scale. Default: rmse.
	StoppingMetric string `json:"stopping_metric"`
}

// DefaultParams returns the defaults.
func DefaultParams() Params {
	return Params{
		NTrees: 50, MaxDepth: 5, LearnRate: 0.1, MinRows: 10, NBins: maxBins, NBinsCats: 1024,
		SampleRate: 1, ColSampleRate: 1, ColSampleRatePerTree: 1, MinSplitImprovement: 1e-5,
		CatMinRows: 5, CatSmooth: 10, CatL2: 10, Seed: 1, StoppingTolerance: 1e-3, StoppingMetric: MetricRMSE,
	}
}

// ParamError is a parameter out of its range.
type ParamError struct {
	Param string // the parameter's name: ntrees, max_depth, ...
	Value string // its value
	Want  string // the values that are allowed
	Hint  string // what to do, or ""
}

// Error returns the fault in one line.
func (e *ParamError) Error() string {
	s := fmt.Sprintf("gbm: %s: %s: want %s", e.Param, e.Value, e.Want)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Validate returns every fault of p, joined in one error; each is a [*ParamError].
func (p *Params) Validate() error {
	var v validator
	v.integer("ntrees", p.NTrees, 1, maxTrees, "50 to 500 suit most data")
	v.integer("max_depth", p.MaxDepth, 1, maxDepth, "3 to 8 suit most data; each level can double the leaves")
	v.share("learn_rate", p.LearnRate, "a smaller rate needs more trees; 0.1 is usual")
	v.integer("min_rows", p.MinRows, 1, maxRowLimit, "larger values give smoother trees")
	v.integer("nbins", p.NBins, 2, maxBins, "bins are global quantiles: more than 255 are not needed")
	v.integer("nbins_cats", p.NBinsCats, 2, maxCatBins, "levels beyond the limit share bins")
	v.share("sample_rate", p.SampleRate, "1 uses every row for every tree")
	v.share("col_sample_rate", p.ColSampleRate, "1 lets every split choose from every input")
	v.share("col_sample_rate_per_tree", p.ColSampleRatePerTree, "1 lets every tree use every input")
	v.fraction("min_split_improvement", p.MinSplitImprovement, "it is a share of the squared error: 1e-5 is usual")
	v.integer("cat_min_rows", p.CatMinRows, 0, maxRowLimit, "a number of rows; 0 turns it off")
	v.atLeast0("cat_smooth", p.CatSmooth, "a number of rows; 0 turns it off")
	v.atLeast0("cat_l2", p.CatL2, "a number of rows; 0 turns it off")
	v.choice("label_transform", p.LabelTransform, TransformNone, TransformLog)
	v.integer("stopping_rounds", p.StoppingRounds, 0, maxTrees, "0 turns early stopping off")
	v.fraction("stopping_tolerance", p.StoppingTolerance, "it is a share of the metric: 1e-3 is usual")
	v.choice("stopping_metric", p.StoppingMetric, MetricRMSE, MetricMAE)
	return errors.Join(v.errs...)
}

// validator collects the faults of parameters.
type validator struct{ errs []error }

func (v *validator) fault(name string, value any, want, hint string) {
	v.errs = append(v.errs, &ParamError{Param: name, Value: fmt.Sprint(value), Want: want, Hint: hint})
}

func (v *validator) integer(name string, x, lo, hi int, hint string) {
	if x < lo || x > hi {
		v.fault(name, x, fmt.Sprintf("a whole number from %d to %d", lo, hi), hint)
	}
}

func (v *validator) share(name string, x float64, hint string) {
	if !(x > 0 && x <= 1) {
		v.fault(name, x, "a number above 0 and at most 1", hint)
	}
}

func (v *validator) fraction(name string, x float64, hint string) {
	if !(x >= 0 && x < 1) {
		v.fault(name, x, "a number of at least 0 and below 1", hint)
	}
}

func (v *validator) atLeast0(name string, x float64, hint string) {
	if !(x >= 0 && x <= math.MaxInt32) {
		v.fault(name, x, "a number of at least 0", hint)
	}
}

func (v *validator) choice(name, x string, allowed ...string) {
	if !slices.Contains(allowed, x) {
		v.fault(name, fmt.Sprintf("%q", x), fmt.Sprintf("one of %q", allowed), "")
	}
}
