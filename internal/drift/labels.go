package drift

import (
	"math"

	"millrace.dev/model"
)

// Errors accumulates the errors of predictions against labels: an error is the prediction minus the label. The zero value
// is empty. It is for one goroutine at a time.
type Errors struct {
	Rows                    int
	bias, absolute          float64 // sums of the error, without its sign, and
	squared, fourth         float64 // of its powers
	labelMean, labelSquares float64 // Welford's mean of the labels, and sum of squared deviations from it
}

// Add adds a prediction and its label.
func (e *Errors) Add(label, prediction float64) {
	e.Rows++
	d := prediction - label
	s := float64(d * d)
	e.bias += d
	e.absolute += math.Abs(d)
	e.squared += s
	e.fourth += float64(s * s)
	away := label - e.labelMean
	e.labelMean += away / float64(e.Rows)
	e.labelSquares += float64(away * (label - e.labelMean))
}

// merge adds the errors of other rows.
func (e *Errors) merge(o *Errors) {
	if o.Rows == 0 {
		return
	}
	n, m := float64(e.Rows), float64(o.Rows)
	away := o.labelMean - e.labelMean
	e.labelSquares += o.labelSquares + float64(away*away)*n*m/(n+m)
	e.labelMean += away * m / (n + m)
	e.Rows += o.Rows
	e.bias += o.bias
	e.absolute += o.absolute
	e.squared += o.squared
	e.fourth += o.fourth
}

// Scores are measures of errors, in the label's unit but for R2. What is not defined is NaN, null in JSON.
type Scores struct {
	Rows int    `json:"rows"`
	RMSE Number `json:"rmse"`
	MAE  Number `json:"mae"`
	Bias Number `json:"bias"` // the mean of prediction minus label
	R2   Number `json:"r2"`
}

// Scores returns the measures.
func (e *Errors) Scores() Scores {
	nan := Number(math.NaN())
	s := Scores{Rows: e.Rows, RMSE: nan, MAE: nan, Bias: nan, R2: nan}
	if e.Rows == 0 {
		return s
	}
	n := float64(e.Rows)
	s.RMSE, s.MAE, s.Bias = Number(math.Sqrt(e.squared/n)), Number(e.absolute/n), Number(e.bias/n)
	if e.labelSquares > 0 {
		s.R2 = Number(1 - e.squared/e.labelSquares)
	}
	return s
}

// Ratio is an error as a multiple of that on the test part, with its confidence interval.
type Ratio struct {
	Ratio Number `json:"ratio"`
	Low   Number `json:"low"`
	High  Number `json:"high"`
}

// Outcome says what labels say.
type Outcome string

// The outcomes.
const (
	Confirmed    Outcome = "loss confirmed"
	NotConfirmed Outcome = "loss not confirmed"
	TooFew       Outcome = "not enough labels"
)

// Loss compares errors with those of the test part of the training data.
//
// The interval of a ratio is that of its logarithm by the normal approximation: the standard error of a mean, as a part of
// the mean, is that of the window's errors; for the test part, of which only the mean is known, the same coefficient of
// variation is taken. There are four comparisons at most (two scopes, two measures), and z is chosen such that one of them
// is above 1 without a loss with a probability of 5 % at most (Bonferroni).
type Loss struct {
	Outcome Outcome `json:"outcome"`
	Scope   string  `json:"scope"` // which windows Scores, RMSE and MAE are of
	Scores  Scores  `json:"scores"`
	Test    Scores  `json:"test"` // bias is not known
	RMSE    Ratio   `json:"rmse_ratio"`
	MAE     Ratio   `json:"mae_ratio"`
	By      string  `json:"by,omitempty"` // the measure that confirms it: rmse or mae
	Worse   Number  `json:"worse"`        // by how much that measure is above the test part's, as a share
	// Dominated are the measures, rmse and mae, that a few large errors make up: chance decides them, and they confirm nothing.
	Dominated []string `json:"dominated,omitempty"`
	// Unlabelled are the records of the scope without a label.
	Unlabelled uint64 `json:"unlabelled"`
}

const (
	intervalZ   = 2.2414 // of a one-sided probability of 1.25 %
	leastLabels = 30     // below, means are not nearly normal,
	leastMade   = 10     // and where so few errors make up the mean: (Σx)²/Σx², Kish's effective size
	largeRatio  = 1.5    // of errors: labels that could not tell this from chance are not enough
)

// loss says what the labels say: of the windows since the columns have moved, or of all, and the last one.
func (r *Report) loss(in *Input) *Loss {
	var scopes []*Loss
	run := r.run()
	if run != nil {
		name := "the window that has moved"
		if run.Windows > 1 {
			name = "the windows since the columns have moved"
		}
		if run.Open && run.Windows == len(r.judged) {
			name = "all windows"
		}
		scopes = append(scopes, r.scope(in, name, run.Window-1))
	} else {
		scopes = append(scopes, r.scope(in, "all windows", 0))
	}
	if len(r.judged) > 1 && scopes[0].Scope != "the window that has moved" {
		scopes = append(scopes, r.scope(in, "the last window", len(r.judged)-1))
	}
	best := scopes[0]
	for _, s := range scopes[1:] {
		if s.Outcome == Confirmed && (best.Outcome != Confirmed || run == nil && s.Worse > best.Worse) {
			best = s
		}
	}
	return best
}

// run returns the longest run of a column that fails in the last window; nil if none does.
func (r *Report) run() *Since {
	var longest *Since
	for i := range r.Moved {
		if m := &r.Moved[i]; m.Severity == "fail" && (longest == nil || m.Since.Windows > longest.Windows) {
			longest = m.Since
		}
	}
	if p := r.Predicted; longest == nil && p != nil && p.Severity == "fail" {
		longest = p.Since
	}
	return longest
}

// scope compares the errors of the windows from a judged one on.
func (r *Report) scope(in *Input, name string, from int) *Loss {
	var e Errors
	rows := uint64(0)
	for _, w := range r.judged[from:] {
		e.merge(&w.Errors)
		rows += w.Rows
	}
	l := &Loss{
		Scope: name, Scores: e.Scores(), Unlabelled: rows - min(rows, uint64(e.Rows)), Outcome: TooFew, //nolint:gosec // a number of rows
		Test: Scores{Rows: in.Test.Rows, RMSE: Number(in.Test.RMSE), MAE: Number(in.Test.MAE), Bias: Number(math.NaN()), R2: Number(in.Test.R2)},
	}
	l.RMSE, l.MAE = ratios(&e, in.Test)
	if e.Rows < leastLabels || math.IsNaN(float64(l.MAE.Ratio)) {
		return l
	}
	made := map[string]float64{"mae": e.absolute * e.absolute / e.squared, "rmse": e.squared * e.squared / e.fourth}
	worse := func(r Ratio, name string) {
		if !(made[name] >= leastMade) {
			l.Dominated = append(l.Dominated, name)
			return
		}
		if r.Low > 1 && float64(r.Ratio)-1 > float64(l.Worse) {
			l.Outcome, l.By, l.Worse = Confirmed, name, r.Ratio-1
		}
	}
	if math.Sqrt(float64(l.MAE.High/l.MAE.Low)) <= largeRatio {
		l.Outcome = NotConfirmed
	}
	worse(l.MAE, "mae")
	worse(l.RMSE, "rmse")
	return l
}

// ratios returns the ratios of the errors to those of the test part. Of squared errors it is the root of the ratio.
func ratios(e *Errors, test model.Scores) (rmse, mae Ratio) {
	nan := Number(math.NaN())
	none := Ratio{nan, nan, nan}
	if e.Rows < 2 || test.Rows < 2 || !(test.MAE > 0) || !(e.absolute > 0) {
		return none, none
	}
	n, m := float64(e.Rows), float64(test.Rows)
	interval := func(mean, square, of, root float64) Ratio {
		relative := max(0, square/float64(mean*mean)-1) * n / (n - 1)
		deviation := math.Sqrt(relative * (1/n + 1/m))
		at := func(z float64) Number { return Number(math.Pow(mean/of*math.Exp(z*deviation), root)) }
		return Ratio{at(0), at(-intervalZ), at(intervalZ)}
	}
	return interval(e.squared/n, e.fourth/n, test.RMSE*test.RMSE, 0.5), interval(e.absolute/n, e.squared/n, test.MAE, 1)
}
